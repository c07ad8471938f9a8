package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-oci/assay/reconcile"
)

func newReconcile(io stdio) *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use:   "reconcile",
		Short: "Make the registries match the catalog",
		Long: `Reconcile compares the catalog with the registries and removes every difference: it copies, scans, signs and tags what is approved,
deletes what is revoked, and corrects what was changed by hand. It may be interrupted at any moment and run again.`,
		Example: `  assay reconcile --catalog https://git.example.com/acme/catalog
  assay reconcile --catalog . --ref main -o json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runReconcile(c.Context(), io, o) },
	}
	o.flags(c)
	return c
}

func runReconcile(ctx context.Context, io stdio, o runOptions) error {
	rep, err := apply(ctx, io, o)
	if err != nil {
		return unmade(ctx, io.out, o, reconcile.Report{Result: &reconcile.Result{Ended: ended()}}, err)
	}
	if err := render(io.out, o, rep); err != nil {
		return err
	}
	return verdict(rep, false, false)
}

func apply(ctx context.Context, io stdio, o runOptions) (reconcile.Report, error) {
	run, err := openRun(ctx, io, o, "")
	if err != nil {
		return reconcile.Report{}, err
	}
	defer run.close()
	sensors, observed, err := run.sensors(ctx)
	if err != nil {
		return reconcile.Report{}, err
	}
	effects, err := run.effects(ctx)
	if err != nil {
		return reconcile.Report{}, err
	}
	rep := reconcile.Reconcile(ctx, run.desired, observed, sensors, effects, time.Now())
	rep.Result.Ended = ended()
	run.remember(rep)
	return rep, nil
}

// ended is the time at which a run ends.
func ended() time.Time { return time.Now().UTC().Truncate(time.Second) }
