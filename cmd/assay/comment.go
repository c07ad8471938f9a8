package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/report"
)

type commentOptions struct {
	report     string
	repository string
	number     int
	merged     string
	branch     string
	path       string
	link       string
	check      bool
	sarif      bool
	labels     bool
}

func newComment(io stdio) *cobra.Command {
	var o commentOptions
	c := &cobra.Command{
		Use:   "comment",
		Short: "Publish a plan or a report on its pull request, and in the workflow's summary",
		Long: `Comment reads what plan or reconcile wrote with -o json, and keeps one comment on the pull request up to date. In a workflow of GitHub Actions it finds
by the event which one that is: of a push, the pull requests that it has merged, each with what concerns its own files; of another workflow's run, the one that
the run was for. It also writes the job's summary, annotations on the catalog's lines, and outputs. Where the token may not publish something, as for a fork,
that is said, the rest is done, and the exit code is 0.`,
		Example: `  assay plan --catalog . --ref request --base main -o json > plan.json
  assay comment --report plan.json --pull-request 7
  assay comment --report report.json --merged 4f2a…..9c1e… --branch main`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runComment(c.Context(), io, o) },
	}
	f := c.Flags()
	f.StringVar(&o.report, "report", "-", "the JSON `file` to publish; - is standard input")
	f.IntVar(&o.number, "pull-request", 0, "the `number` of the pull request; default: by the workflow's event")
	f.StringVar(&o.merged, "merged", "", "the `commits` that were pushed, BEFORE..AFTER: the comments of the pull requests that they merged are brought to their end")
	f.StringVar(&o.branch, "branch", "main", "with --merged: the `branch` that was pushed to")
	f.BoolVar(&o.check, "check", false, "publish a check run, too")
	f.BoolVar(&o.sarif, "sarif", false, "upload the findings to code scanning, too")
	f.BoolVar(&o.labels, "labels", false, "label the pull request, too: assay:ready, assay:blocked, …")
	publishFlags(c, &o.repository, &o.path, &o.link)
	return c
}

// publishFlags are those of everything that publishes.
func publishFlags(c *cobra.Command, repository, folder, link *string) {
	f := c.Flags()
	f.StringVar(repository, "repository", os.Getenv("GITHUB_REPOSITORY"), "the `repository`, as owner/name; default: that of the workflow")
	f.StringVar(folder, "path", "", "the `folder` within the repository that holds the catalog")
	f.StringVar(link, "link", runLink(), "the `URL` of the whole report, for one that is too long; default: the workflow's run")
}

// Bounds of the report that is read. One that a pull request's own run left behind, others may have made: its bounds are such that it costs seconds at most.
const (
	maxReport  = 64 << 20 // bytes
	maxOutside = 16 << 20
	maxEntries = 50_000 // actions, findings and whatever else a list of an outside plan holds
)

func runComment(ctx context.Context, std stdio, o commentOptions) error {
	about, err := o.about()
	if err != nil {
		return err
	}
	o.path = report.InFolder(o.path, "")
	read := readReport
	if about.Run != (finished{}) {
		read = readOutside
	}
	rep, err := read(std.in, o.report)
	if err != nil {
		return err
	}
	p := publication{report: rep, about: about, o: o, std: std}
	if err := p.publish(ctx); err != nil {
		return err
	}
	return inWorkflow(std.out, rep, o, p.url)
}

var pushRange = regexp.MustCompile(`^([0-9a-f]{40,64})\.\.([0-9a-f]{40,64})$`)

// about is what the report is about: as the flags say, or else the workflow's event.
func (o commentOptions) about() (event, error) {
	if o.number < 0 {
		return event{}, fmt.Errorf("%d is no pull request", o.number)
	}
	e, err := readEvent()
	if err != nil {
		return e, err
	}
	switch m := pushRange.FindStringSubmatch(o.merged); {
	case o.number > 0 && o.merged != "":
		return e, errors.New("give --pull-request or --merged, not both")
	case o.number > 0 && o.number != e.Pull:
		return event{Pull: o.number}, nil
	case m != nil:
		return event{Commit: m[2], Push: pushed{Before: m[1], After: m[2], Branch: o.branch}}, nil
	case o.merged != "":
		return e, fmt.Errorf("--merged %q is not two whole commits with .. between them", report.Plain(o.merged))
	}
	return e, nil
}

func markdown(r reconcile.Report, o report.MarkdownOptions) (string, error) {
	var text bytes.Buffer
	if err := report.Markdown(&text, r, o); err != nil {
		return "", fmt.Errorf("render the report: %w", err)
	}
	return text.String(), nil
}

// readReport reads a report as data: what it says is hostile.
func readReport(in io.Reader, name string) (reconcile.Report, error) {
	return decodeReport(in, name, maxReport)
}

// readOutside reads the report that a run of a pull request left behind. It can be a plan alone: who can't reconcile can't tell of it.
func readOutside(in io.Reader, name string) (reconcile.Report, error) {
	r, err := decodeReport(in, name, maxOutside)
	if err != nil {
		return r, err
	}
	p := r.Plan
	n := len(p.Actions) + len(p.Blocked) + len(p.Violations) + len(p.Notes) + len(p.Gaps) + len(p.Profiles) + len(p.Registries) + len(p.Owners) + len(p.Files)
	for _, x := range p.Profiles {
		n += len(x.Vulnerabilities) + len(x.Rules) + len(x.Scanners) + len(x.Licenses) + len(x.Disputed)
	}
	switch {
	case r.Result != nil:
		return r, errors.New("the report of a pull request's run is none of a plan; nothing is published of it")
	case n > maxEntries:
		return r, fmt.Errorf("the report of a pull request's run has %d entries, more than %d; nothing is published of it", n, maxEntries)
	}
	return r, nil
}

func decodeReport(in io.Reader, name string, most int64) (reconcile.Report, error) {
	var r struct {
		Schema string `json:"schema"`
		reconcile.Report
	}
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return r.Report, fmt.Errorf("read the report: %w", err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, most+1))
	if err != nil {
		return r.Report, fmt.Errorf("read the report: %w", err)
	}
	if int64(len(data)) > most {
		return r.Report, fmt.Errorf("the report is longer than %d bytes", most)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r.Report, fmt.Errorf("the report is not what plan or reconcile write with -o json: %s", misread(err))
	}
	if r.Schema != report.Schema {
		return r.Report, fmt.Errorf("the report has the schema %q and not %q; make it with this version of assay", report.Plain(r.Schema), report.Schema)
	}
	if r.Result != nil && len(r.Result.Outcomes) != len(r.Plan.Actions) {
		return r.Report, errors.New("the report is damaged: it has not one outcome for each action")
	}
	return report.Proposed(r.Report), nil
}

// misread says why something is no JSON of the shape that it should have: in bounds, since the reason may quote it, and without the names of our types.
func misread(err error) string {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return report.Plain(fmt.Sprintf("%q is of another kind: %s", wrong.Field, wrong.Value))
	}
	return report.Plain(err.Error())
}

// runLink is the page of the workflow's run.
func runLink() string {
	server, repo, id := os.Getenv("GITHUB_SERVER_URL"), os.Getenv("GITHUB_REPOSITORY"), os.Getenv("GITHUB_RUN_ID")
	if server == "" || repo == "" || id == "" {
		return ""
	}
	return server + "/" + repo + "/actions/runs/" + id
}

// inWorkflow writes what GitHub Actions shows beside a comment, where it runs us.
func inWorkflow(out io.Writer, r reconcile.Report, o commentOptions, link string) error {
	if name := os.Getenv("GITHUB_STEP_SUMMARY"); name != "" {
		text, err := markdown(r, report.MarkdownOptions{Limit: maxSummary, Folder: o.path})
		if err != nil {
			return err
		}
		if err := appendTo(name, text); err != nil {
			return fmt.Errorf("write the job's summary: %w", err)
		}
	}
	if name := os.Getenv("GITHUB_OUTPUT"); name != "" {
		if err := appendTo(name, outputs(r, link)); err != nil {
			return fmt.Errorf("write the step's outputs: %w", err)
		}
	}
	if os.Getenv("GITHUB_ACTIONS") != "true" {
		return nil
	}
	_, err := io.WriteString(out, report.Annotations(r, o.path))
	return err
}

// maxSummary is less than the 1 MiB that a job's summary may have, however many bytes a character takes.
const maxSummary = 1 << 18

func appendTo(name, text string) error {
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
