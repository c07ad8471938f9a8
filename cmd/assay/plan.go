package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/report"
)

type planOptions struct {
	runOptions
	base     string
	detailed bool
	gaps     bool // whether it may pass though something could not be read
}

func newPlan(io stdio) *cobra.Command {
	var o planOptions
	c := &cobra.Command{
		Use:   "plan",
		Short: "Show what reconcile would do, without the means to write",
		Example: `  assay plan --catalog ./catalog
  assay plan --catalog https://git.example.com/acme/catalog --commit 4f2a… --base main -o markdown`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runPlan(c.Context(), io, o) },
	}
	o.flags(c)
	c.Flags().StringVar(&o.base, "base", "", "judge by the policy of this `ref` or commit, as on a pull request: what is wrong there already decides nothing, unless policy is changed; COMMIT^ is its first parent, for a commit that merges one")
	c.Flags().BoolVar(&o.detailed, "detailed-exitcode", false, "exit with 2 when changes are pending")
	c.Flags().BoolVar(&o.gaps, "allow-gaps", false, "exit as if all had been read, as on a fork's pull request, which has no credentials; the report names what was not")
	return c
}

func runPlan(ctx context.Context, io stdio, o planOptions) error {
	rep, err := preview(ctx, io, o)
	if err != nil {
		return unmade(ctx, io.out, o.runOptions, reconcile.Report{}, err)
	}
	shown := rep
	if o.output != "json" {
		shown = report.Proposed(rep)
	}
	if err := render(io.out, o.runOptions, shown); err != nil {
		return err
	}
	return verdict(report.Proposed(rep), o.detailed, o.gaps)
}

func preview(ctx context.Context, io stdio, o planOptions) (reconcile.Report, error) {
	run, err := openRun(ctx, io, o.runOptions, o.base)
	if err != nil {
		return reconcile.Report{}, err
	}
	defer run.close()
	sensors, observed, err := run.sensors(ctx)
	if err != nil {
		return reconcile.Report{}, err
	}
	rep := reconcile.Preview(ctx, run.desired, observed, sensors, time.Now())
	rep.Plan.Files = run.proposed
	return rep, nil
}

// unmade writes, for those who read JSON, the report of a run that ended before its time: so its pull request learns why.
func unmade(ctx context.Context, w io.Writer, o runOptions, r reconcile.Report, err error) error {
	if o.output != "json" || ctx.Err() != nil {
		return err
	}
	r.Error = report.Plain(err.Error())
	return errors.Join(err, render(w, o, r))
}

// verdict turns a report into the exit code that the manual promises. With gaps, what could not be read makes no difference.
func verdict(r reconcile.Report, detailed, gaps bool) error {
	s := report.Summarize(r)
	switch {
	case s.Failed+s.Stale > 0 || s.Gaps > 0 && !gaps:
		return exit(exitFailed)
	case s.Blocked+s.Violations > 0:
		return exit(exitBlocked)
	case detailed && r.Result == nil && !r.Plan.Empty():
		return exit(exitChanges)
	}
	return nil
}

func render(w io.Writer, o runOptions, r reconcile.Report) error {
	switch o.output {
	case "json":
		return report.JSON(w, r)
	case "markdown":
		return report.Markdown(w, r, report.MarkdownOptions{})
	case "sarif":
		return report.SARIF(w, r, report.SARIFOptions{Folder: o.path, Version: programVersion()})
	case "text":
		return report.Text(w, r, coloured(w))
	}
	return fmt.Errorf("output %q is none of text, json, markdown, sarif", o.output)
}
