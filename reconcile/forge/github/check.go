package github

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/google/go-github/v60/github"
)

// Bounds of a check run ("Create a check run" in GitHub's documentation).
const (
	MaxCheckText    = 65_000 // characters of its summary; GitHub takes 65,535
	maxCheckBatch   = 50     // annotations of one request
	maxAnnotations  = 1_000  // of one check run: more is not shown
	maxCheckMessage = 16_000 // bytes of one annotation's message; GitHub takes 64 KiB
)

const needChecks = "checks=write"

// A Check is a check run: what is shown beside a commit, and on the lines of its files.
type Check struct {
	Name       string
	Commit     string
	Conclusion string // success, failure or neutral
	Title      string
	Summary    string // Markdown
	Link       string // of the details; may be empty
	Marks      []Mark
}

// A Mark is an annotation on a line.
type Mark struct {
	File    string
	Line    int
	Level   string // failure, warning or notice
	Title   string
	Message string
}

// id names what a check run says.
func (k Check) id() string {
	b, _ := json.Marshal(k) //nolint:errchkjson // strings and numbers
	sum := sha256.Sum256(b)
	return "assay-" + hex.EncodeToString(sum[:16])
}

// Check makes a check run beside a commit, and returns its URL. One that says the same already is there once: it isn't made again, and one that a crash left
// unfinished is completed.
func (c *Client) Check(ctx context.Context, k Check) (string, error) {
	if len(k.Marks) > maxAnnotations {
		k.Marks = k.Marks[:maxAnnotations]
	}
	id := k.id()
	found, err := pages(func(o *github.ListOptions) ([]*github.CheckRun, *github.Response, error) {
		r, resp, err := c.api.Checks.ListCheckRunsForRef(ctx, c.owner, c.name, k.Commit, &github.ListCheckRunsOptions{CheckName: &k.Name, ListOptions: *o})
		if err != nil {
			return nil, resp, err
		}
		return r.CheckRuns, resp, nil
	})
	what := fmt.Sprintf("write the check run %q of %.12s", k.Name, k.Commit)
	if err != nil {
		return "", failed(what, needChecks, err)
	}
	for _, x := range found {
		if x.GetExternalID() != id {
			continue
		}
		if x.GetStatus() == "completed" {
			return x.GetHTMLURL(), nil
		}
		return c.complete(ctx, k, x, what)
	}
	started := "in_progress"
	made, _, err := c.api.Checks.CreateCheckRun(ctx, c.owner, c.name, github.CreateCheckRunOptions{Name: k.Name, HeadSHA: k.Commit, ExternalID: &id, Status: &started, DetailsURL: optional(k.Link)})
	if err != nil {
		return "", failed(what, needChecks, err)
	}
	return c.complete(ctx, k, made, what)
}

// complete adds the annotations that a check run lacks, in as many requests as it takes, and ends it with the last one.
func (c *Client) complete(ctx context.Context, k Check, run *github.CheckRun, what string) (string, error) {
	has := min(run.GetOutput().GetAnnotationsCount(), len(k.Marks))
	for {
		some := k.Marks[has:min(has+maxCheckBatch, len(k.Marks))]
		has += len(some)
		o := github.UpdateCheckRunOptions{Name: k.Name, Output: &github.CheckRunOutput{Title: &k.Title, Summary: &k.Summary, Annotations: annotations(some)}}
		if has == len(k.Marks) {
			o.Status, o.Conclusion = github.String("completed"), &k.Conclusion
		}
		r, _, err := c.api.Checks.UpdateCheckRun(ctx, c.owner, c.name, run.GetID(), o)
		if err != nil {
			return "", failed(what, needChecks, err)
		}
		if has == len(k.Marks) {
			return r.GetHTMLURL(), nil
		}
	}
}

func annotations(marks []Mark) []*github.CheckRunAnnotation {
	var out []*github.CheckRunAnnotation
	for _, m := range marks {
		line := max(m.Line, 1)
		message := m.Message
		if len(message) > maxCheckMessage {
			message = clean(message[:maxCheckMessage], maxCheckMessage)
		}
		out = append(out, &github.CheckRunAnnotation{Path: &m.File, StartLine: &line, EndLine: &line, AnnotationLevel: &m.Level, Title: optional(clean(m.Title, 200)), Message: &message})
	}
	return out
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
