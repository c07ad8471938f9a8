package main

import (
	"context"
	"errors"
	"strings"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/forge/github"
	"github.com/assay-oci/assay/reconcile/report"
)

// Where a report is published: the forge.

// maxComment is how many characters a comment or an issue may have, maxCheck those of a check run.
const (
	maxComment = github.MaxComment
	maxCheck   = github.MaxCheckText
)

// forgeClient is the forge that reports are published at.
type forgeClient = github.Client

// openForge speaks with the forge about a repository, "owner/name", as the environment says.
func openForge(repository string) (*forgeClient, error) {
	o, err := github.Environment()
	if err != nil {
		return nil, err
	}
	o.Repository = repository
	return github.New(o)
}

// refused tells that the token may not do something, or that nobody may, which is no mistake of ours.
func refused(err error) bool {
	var p *github.PermissionError
	var c *github.ClosedError
	return errors.As(err, &p) || errors.As(err, &c)
}

// outdated tells that there is no such thing any more.
func outdated(err error) bool { return errors.Is(err, reconcile.ErrNotFound) }

// publishCheck makes a check run of a report.
func publishCheck(ctx context.Context, c *github.Client, r reconcile.Report, commit, folder, summary, link string) error {
	k := github.Check{Name: "assay/plan", Commit: commit, Conclusion: conclusion(r), Title: report.Summarize(r).Line(r.Result != nil), Summary: summary, Link: link}
	if r.Result != nil {
		k.Name = "assay/reconcile"
	}
	if folder != "" { // each catalog of a repository has its own
		k.Name += " " + report.Plain(folder)
	}
	mark := func(level string, fs []reconcile.Finding) {
		for _, f := range fs {
			if f.Origin.File != "" {
				k.Marks = append(k.Marks, github.Mark{File: report.InFolder(folder, f.Origin.File), Line: f.Origin.Line, Level: level,
					Title: report.Plain(strings.TrimSpace(f.Rule + " " + f.Image)), Message: report.Plain(strings.TrimSpace(f.Summary + " " + f.Detail))})
			}
		}
	}
	mark("failure", report.Blocked(r))
	mark("warning", r.Plan.Violations)
	mark("notice", r.Plan.Notes)
	_, err := c.Check(ctx, k)
	return err
}

// conclusion is that of a check run: what could not be read is neither good nor bad.
func conclusion(r reconcile.Report) string {
	s := report.Summarize(r)
	switch {
	case s.Blocked+s.Violations+s.Failed+s.Stale > 0:
		return "failure"
	case s.Gaps > 0:
		return "neutral"
	}
	return "success"
}
