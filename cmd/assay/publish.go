package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/report"
)

// A publication is a report on its way to the pull requests that it is about.
type publication struct {
	report reconcile.Report
	about  event
	o      commentOptions
	err    io.Writer
	url    string // of the comment that was written last
}

// publish writes everything that the options ask for. What the token may not do is told, and the rest is done.
func (p *publication) publish(ctx context.Context) error {
	steps := []func(context.Context) error{p.comment}
	if p.o.check {
		steps = append(steps, p.check)
	}
	if p.o.sarif {
		steps = append(steps, p.upload)
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			if !refused(err) && !outdated(err) {
				return err
			}
			fmt.Fprintln(p.err, "assay: not published: "+report.Plain(err.Error()))
		}
	}
	return nil
}

// comment writes on the pull request of the event, or on those that a push has merged.
func (p *publication) comment(ctx context.Context) error {
	switch e := p.about; {
	case e.Pull > 0:
		return p.on(ctx, e.Pull, p.report, "")
	case e.Run != (finished{}):
		c, err := openForge(p.o.repository)
		if err != nil {
			return err
		}
		number, err := c.Proposal(ctx, e.Run.Owner, e.Run.Branch, e.Run.Commit)
		if err != nil {
			return err
		}
		return p.on(ctx, number, p.report, fromOutside)
	case e.Push != (pushed{}):
		return p.merged(ctx, e.Push)
	}
	return nil
}

// fromOutside warns of a report that a run of a pull request left behind: who may change the workflow there may change the report.
const fromOutside = "> **This report was made by a run of the pull request itself**, and whoever wrote that may have changed what it says. Look at the files, too.\n\n"

// merged brings the comments of the pull requests that a push has merged to their end, each with what concerns its own files.
func (p *publication) merged(ctx context.Context, push pushed) error {
	c, err := openForge(p.o.repository)
	if err != nil {
		return err
	}
	all, err := c.Push(ctx, push.Before, push.After, push.Branch)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		fmt.Fprintf(p.err, "assay: no pull request brought the commits up to %.12s; there is nothing to comment on\n", push.After)
	}
	for _, m := range all {
		if err := p.on(ctx, m.Number, report.Only(p.report, p.inCatalog(m.Files)), ""); err != nil {
			return fmt.Errorf("pull request #%d: %w", m.Number, err)
		}
	}
	return nil
}

// inCatalog turns paths in the repository into those in the catalog's folder.
func (p *publication) inCatalog(files []string) []string {
	folder := path.Clean("/" + p.o.path)[1:]
	if folder == "" {
		return files
	}
	var out []string
	for _, f := range files {
		if name, ok := strings.CutPrefix(f, folder+"/"); ok {
			out = append(out, name)
		}
	}
	return out
}

// on writes the comment on one pull request, and its labels. What was planned is kept in it, so that what is done after the merge can be compared with that.
func (p *publication) on(ctx context.Context, number int, r reconcile.Report, warning string) error {
	c, err := openForge(p.o.repository)
	if err != nil {
		return err
	}
	p.url, err = c.Comment(ctx, number, func(before string) (string, error) { return p.body(r, before, warning) })
	if err != nil {
		return err
	}
	if p.o.labels {
		return c.Label(ctx, number, labelPrefix, labels(r))
	}
	return nil
}

// body is the text of a comment that says so far what before is.
func (p *publication) body(r reconcile.Report, before, warning string) (string, error) {
	o := report.MarkdownOptions{Link: p.o.link}
	trace := ""
	if r.Result == nil {
		trace = report.Trace(r)
	} else {
		o.Ended = r.Result.Ended
		if a, ok := report.ReadTrace(before); ok {
			o.Approved, trace = &a, a.Trace()
		}
		if before == "" && nothing(r) {
			return "", nil // nobody asked for anything, and nothing was done
		}
	}
	if trace != "" {
		trace = "<!-- " + trace + " -->\n"
	}
	o.Limit = maxComment - len([]rune(trace+warning))
	text, err := markdown(r, o)
	return trace + warning + text, err
}

// nothing tells that a report has nothing to say about what it concerns.
func nothing(r reconcile.Report) bool {
	return r.Plan.Empty() && len(r.Plan.Blocked)+len(r.Plan.Violations)+len(r.Plan.Notes)+len(r.Plan.Profiles) == 0
}

// labelPrefix is that of our labels.
const labelPrefix = "assay:"

// labels tell the state of a pull request in lists.
func labels(r reconcile.Report) []string {
	s := report.Summarize(r)
	var out []string
	switch {
	case s.Failed+s.Stale > 0:
		out = append(out, "assay:failed")
	case s.Blocked > 0:
		out = append(out, "assay:blocked")
	case r.Result != nil:
		out = append(out, "assay:done")
	case s.Add+s.Change+s.Remove > 0:
		out = append(out, "assay:ready")
	}
	if s.Remove > 0 {
		out = append(out, "assay:removes")
	}
	if slices.ContainsFunc(r.Plan.Notes, func(f reconcile.Finding) bool { return f.Rule == "policy-change" }) {
		out = append(out, "assay:policy")
	}
	return out
}

// commit is the one that the report is about.
func (p *publication) commit() string {
	if p.about.Commit != "" {
		return p.about.Commit
	}
	return p.report.Plan.Commit
}

func (p *publication) check(ctx context.Context) error {
	c, err := openForge(p.o.repository)
	if err != nil {
		return err
	}
	text, err := markdown(p.report, report.MarkdownOptions{Link: p.o.link, Limit: maxCheck})
	if err != nil {
		return err
	}
	return publishCheck(ctx, c, p.report, p.commit(), p.o.path, text, p.o.link)
}

func (p *publication) upload(ctx context.Context) error {
	c, err := openForge(p.o.repository)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := report.SARIF(&text, p.report, report.SARIFOptions{Folder: p.o.path, Version: programVersion()}); err != nil {
		return fmt.Errorf("render the report: %w", err)
	}
	ref := p.about.Ref
	if ref == "" {
		return fmt.Errorf("upload to code scanning: it isn't known which branch the commit %.12s belongs to; that is for a workflow", p.commit())
	}
	return c.Upload(ctx, ref, p.commit(), text.Bytes())
}
