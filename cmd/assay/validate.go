package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	catalog "github.com/assay-oci/assay/catalog-schema"
	"github.com/assay-oci/assay/reconcile"
)

func newValidate(io stdio) *cobra.Command {
	var o catalogOptions
	var output string
	c := &cobra.Command{
		Use:   "validate [FOLDER]",
		Short: "Check a catalog and report all its mistakes, without any network call",
		Long:  `Validate checks the catalog in a folder as it is, committed or not. With --ref or --commit it checks that state of the repository instead.`,
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.location = args[0]
			}
			return runValidate(c.Context(), io, o, output)
		},
	}
	o.flags(c)
	c.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return c
}

func runValidate(ctx context.Context, io stdio, o catalogOptions, output string) error {
	o.workingTree = o.workingTree || o.ref == "" && o.commit == ""
	src, err := openSource(ctx, o, "")
	if err != nil {
		return err
	}
	d, diags := catalog.LoadCommit(src.FS(), catalog.Options{Now: time.Now(), Rules: ruleDecoders(), VEX: readVEX, Key: checkKey})
	switch output {
	case "json":
		err = validateJSON(io.out, d, diags)
	case "text":
		err = validateText(io, d, diags)
	default:
		err = fmt.Errorf("output %q is none of text, json", output)
	}
	if err != nil {
		return err
	}
	if diags.HasErrors() {
		return exit(exitError)
	}
	return nil
}

func validateText(io stdio, d reconcile.Desired, diags *catalog.Diagnostics) error {
	if err := diags.Print(io.err, 0, coloured(io.err)); err != nil {
		return fmt.Errorf("print mistakes: %w", err)
	}
	if diags.HasErrors() {
		return nil
	}
	_, err := fmt.Fprintf(io.out, "The catalog is valid: %s of %s for %s.\n",
		counted(len(d.Wants), "version", "versions"), counted(countImages(d), "image", "images"), counted(len(d.Registries), "registry", "registries"))
	return err
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func countImages(d reconcile.Desired) int {
	seen := map[string]bool{}
	for _, w := range d.Wants {
		seen[w.Scope+"\x00"+w.Name] = true
	}
	return len(seen)
}

func validateJSON(w io.Writer, d reconcile.Desired, diags *catalog.Diagnostics) error {
	findings := diags.Findings()
	if findings == nil {
		findings = []reconcile.Finding{}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Schema   string              `json:"schema"`
		Valid    bool                `json:"valid"`
		Versions int                 `json:"versions"`
		Findings []reconcile.Finding `json:"findings"`
	}{"assay.validate/v1", !diags.HasErrors(), len(d.Wants), findings})
}
