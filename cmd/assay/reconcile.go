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
	run, err := openRun(ctx, io, o, "")
	if err != nil {
		return err
	}
	defer run.close()
	sensors, observed, err := run.sensors(ctx)
	if err != nil {
		return err
	}
	effects, err := run.effects(ctx)
	if err != nil {
		return err
	}
	rep := reconcile.Reconcile(ctx, run.desired, observed, sensors, effects, time.Now())
	run.progress.end()
	rep.Result.Ended = time.Now().UTC().Truncate(time.Second)
	run.remember(rep)
	if err := render(io.out, o, rep); err != nil {
		return err
	}
	return verdict(rep, false, false)
}
