package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
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
	std    stdio
	url    string // of the comment that was written last
	client *forgeClient
}

// forge is the client of all that is published, made when it is first needed: without anything to publish nobody has to name a repository.
func (p *publication) forge() (*forgeClient, error) {
	if p.client != nil {
		return p.client, nil
	}
	c, err := openForge(p.o.repository)
	if err != nil {
		return nil, err
	}
	p.client = c
	return c, nil
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
			notPublished(p.std, err)
		}
	}
	return nil
}

// notPublished tells what could not be published, in a workflow where people see it.
func notPublished(std stdio, err error) {
	fmt.Fprintln(std.err, "assay: not published: "+report.Plain(err.Error()))
	if os.Getenv("GITHUB_ACTIONS") == "true" {
		fmt.Fprint(std.out, report.Notice("not published: "+err.Error()))
	}
}

// comment writes on the pull request of the event, or on those that a push has merged.
func (p *publication) comment(ctx context.Context) error {
	switch e := p.about; {
	case e.Pull > 0:
		if err := p.newest(ctx, e); err != nil {
			return err
		}
		return p.on(ctx, e.Pull, p.report, "")
	case e.Run != (finished{}):
		c, err := p.forge()
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

// newest makes sure that a run which somebody starts again doesn't put the plan of an older commit in the place of the newest one's. Where the token may not know, it
// is taken for that.
func (p *publication) newest(ctx context.Context, e event) error {
	if e.Commit == "" || p.report.Result != nil {
		return nil
	}
	c, err := p.forge()
	if err != nil {
		return err
	}
	head, err := c.Head(ctx, e.Pull)
	if err == nil && head != e.Commit {
		err = fmt.Errorf("comment on #%d: the plan is of the commit %.12s, and the newest one is %.12s: %w", e.Pull, e.Commit, head, reconcile.ErrNotFound)
	} else if refused(err) || outdated(err) {
		err = nil
	}
	return err
}

// fromOutside warns of a report that a run of a pull request left behind: who may change the workflow there may change the report.
const fromOutside = "> **This report was made by a run of the pull request itself**, and whoever wrote that may have changed what it says. Look at the files, too.\n\n"

// merged brings the comments of the pull requests that a push has merged to their end, each with what concerns its own files.
func (p *publication) merged(ctx context.Context, push pushed) error {
	c, err := p.forge()
	if err != nil {
		return err
	}
	all, err := c.Push(ctx, push.Before, push.After, push.Branch)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		fmt.Fprintf(p.std.err, "assay: no pull request brought the commits up to %.12s; there is nothing to comment on\n", push.After)
	}
	for _, m := range all {
		switch err := p.on(ctx, m.Number, p.own(m.Files), ""); {
		case refused(err) || outdated(err):
			notPublished(p.std, err) // the others are told all the same
		case err != nil:
			return fmt.Errorf("pull request #%d: %w", m.Number, err)
		}
	}
	return p.overtaken(ctx, c, push)
}

// overtaken brings the comments of earlier pull requests to their end whose own run never began: of the runs that wait for another, GitHub keeps the newest alone,
// and that has done the work of all. It goes back to the first comment that has its end.
func (p *publication) overtaken(ctx context.Context, c *forgeClient, push pushed) error {
	return c.Earlier(ctx, push.Before, push.Branch, func(number int) (more bool, err error) {
		var own reconcile.Report
		_, err = c.Comment(ctx, number, p.o.path, func(before string) (string, error) {
			if more = before != "" && !strings.HasPrefix(before, reconciledWhole); !more {
				return "", nil
			}
			files, err := c.Files(ctx, number)
			if err != nil {
				return "", err
			}
			own = p.own(files)
			return p.body(own, before, "")
		})
		if err == nil && more && p.o.labels {
			err = c.Label(ctx, number, labelFamily(p.o.path), labels(own, labelFamily(p.o.path)))
		}
		return more, err
	})
}

// own is what the report says about the files that a pull request changes; all of it where those aren't known.
func (p *publication) own(files []string) reconcile.Report {
	if files == nil {
		return p.report
	}
	return report.Only(p.report, p.inCatalog(files))
}

// inCatalog turns paths in the repository into those in the catalog's folder.
func (p *publication) inCatalog(files []string) []string {
	if p.o.path == "" {
		return files
	}
	var out []string
	for _, f := range files {
		if name, ok := strings.CutPrefix(f, p.o.path+"/"); ok {
			out = append(out, name)
		}
	}
	return out
}

// on writes the comment on one pull request, and its labels. What was planned is kept in it, so that what is done after the merge can be compared with that.
func (p *publication) on(ctx context.Context, number int, r reconcile.Report, warning string) error {
	c, err := p.forge()
	if err != nil {
		return err
	}
	p.url, err = c.Comment(ctx, number, p.o.path, func(before string) (string, error) { return p.body(r, before, warning) })
	if err != nil {
		return err
	}
	if p.o.labels {
		return c.Label(ctx, number, labelFamily(p.o.path), labels(r, labelFamily(p.o.path)))
	}
	return nil
}

// What a comment begins with whose pull request was reconciled: with something left to do, or whole.
const (
	reconciled      = "<!-- assay:reconciled"
	reconciledPart  = reconciled + " part -->"
	reconciledWhole = reconciled + " whole -->"
)

// body is the text of a comment that says so far what before is; empty if that shall stay: nothing that was reconciled becomes a plan again, and what is whole stays as
// it is when nothing more was to do.
func (p *publication) body(r reconcile.Report, before, warning string) (string, error) {
	switch {
	case r.Result == nil && strings.HasPrefix(before, reconciled):
		return "", nil
	case r.Result != nil && nothing(r) && (before == "" || strings.HasPrefix(before, reconciledWhole)):
		return "", nil // nobody asked for anything, or all of it is told
	}
	o := report.MarkdownOptions{Link: p.o.link, Folder: p.o.path}
	head := ""
	if r.Result == nil {
		if r.Error == "" && warning == "" { // what others may have made isn't what was approved
			head = hidden(report.Trace(r))
		}
	} else {
		o.Ended = r.Result.Ended
		head = state(r) + "\n"
		if a, ok := report.ReadTrace(before); ok {
			o.Approved = &a
			head += hidden(a.Trace())
		}
	}
	head += warning
	o.Limit = maxComment - len([]rune(head))
	text, err := markdown(r, o)
	return head + text, err
}

func hidden(trace string) string {
	if trace == "" {
		return ""
	}
	return "<!-- " + trace + " -->\n"
}

// state tells whether anything is left to do of what a report was applied for.
func state(r reconcile.Report) string {
	if s := report.Summarize(r); s.Failed+s.Stale+s.Skipped+s.Blocked+s.Gaps > 0 {
		return reconciledPart
	}
	return reconciledWhole
}

// nothing tells that a report has nothing to say about what it concerns.
func nothing(r reconcile.Report) bool {
	return r.Error == "" && r.Plan.Empty() && len(r.Plan.Blocked)+len(r.Plan.Violations)+len(r.Plan.Notes)+len(r.Plan.Profiles) == 0
}

// maxFamily leaves room for the rest of a label, which may have 50 characters.
const maxFamily = 40

// labelFamily is what our labels about the catalog in a folder begin with: each catalog of a repository has its own.
func labelFamily(folder string) string {
	folder = path.Clean("/" + folder)[1:]
	if folder == "" {
		return "assay:"
	}
	name := []rune("assay/" + strings.TrimSpace(report.Plain(folder)))
	return string(name[:min(len(name), maxFamily)]) + ":"
}

// labels tell the state of a pull request in lists.
func labels(r reconcile.Report, family string) []string {
	s := report.Summarize(r)
	var out []string
	switch {
	case s.Failed+s.Stale > 0:
		out = append(out, "failed")
	case s.Blocked > 0:
		out = append(out, "blocked")
	case r.Result != nil:
		out = append(out, "done")
	case s.Add+s.Change+s.Remove > 0:
		out = append(out, "ready")
	}
	if s.Remove > 0 {
		out = append(out, "removes")
	}
	if slices.ContainsFunc(r.Plan.Notes, func(f reconcile.Finding) bool { return f.Rule == "policy-change" }) {
		out = append(out, "policy")
	}
	for i := range out {
		out[i] = family + out[i]
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
	c, err := p.forge()
	if err != nil {
		return err
	}
	text, err := markdown(p.report, report.MarkdownOptions{Link: p.o.link, Folder: p.o.path, Limit: maxCheck})
	if err != nil {
		return err
	}
	return publishCheck(ctx, c, p.report, p.commit(), p.o.path, text, p.o.link)
}

func (p *publication) upload(ctx context.Context) error {
	c, err := p.forge()
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
