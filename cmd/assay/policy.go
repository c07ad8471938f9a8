package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	catalog "github.com/assay-oci/assay/catalog-schema"
	"github.com/assay-oci/assay/reconcile/policy/expect"
)

func newPolicy(io stdio) *cobra.Command {
	c := &cobra.Command{Use: "policy", Short: "Work on the policies of a catalog"}
	c.AddCommand(newPolicyTest(io))
	return c
}

func newPolicyTest(io stdio) *cobra.Command {
	var o catalogOptions
	var output string
	c := &cobra.Command{
		Use:   "test [FOLDER]",
		Short: "Run the catalog's expectations of its own policies, without any network call",
		Long: `Test runs the tests in the files *.policytest.hcl of a catalog: images with made-up evidence, and the verdict that the policies should give.
It reads the folder as it is, committed or not; with --ref or --commit it reads that state of the repository instead. It exits with 1 if a test fails.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.location = args[0]
			}
			return runPolicyTest(c.Context(), io, o, output)
		},
	}
	o.flags(c)
	c.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return c
}

func runPolicyTest(ctx context.Context, io stdio, o catalogOptions, output string) error {
	if output != "text" && output != "json" {
		return fmt.Errorf("output %q is none of text, json", output)
	}
	o.workingTree = o.workingTree || o.ref == "" && o.commit == ""
	src, err := openSource(ctx, o, "")
	if err != nil {
		return err
	}
	// waivers are judged at each test's own time, so that none of them expires here
	policies, diags := catalog.LoadPolicies(src.FS(), catalog.Options{Rules: ruleDecoders(), VEX: readVEX})
	if diags.HasErrors() {
		return refuse(io, diags)
	}
	tests, diags := readTests(src.FS())
	if diags.HasErrors() {
		return refuse(io, diags)
	}
	results, err := runTests(policies, tests)
	if err != nil {
		return err
	}
	passed, err := printTests(io.out, results, output)
	if err != nil {
		return err
	}
	if passed < len(results) {
		return exit(exitError)
	}
	return nil
}

func refuse(io stdio, diags *catalog.Diagnostics) error {
	if err := diags.Print(io.err, 0, coloured(io.err)); err != nil {
		return fmt.Errorf("print mistakes: %w", err)
	}
	return exit(exitError)
}

func runTests(policies *catalog.Policies, tests []expect.Test) ([]expect.Result, error) {
	results := []expect.Result{}
	for _, t := range tests {
		rules, scope, err := policies.Rules(t.Folder)
		if err != nil {
			return nil, err
		}
		results = append(results, t.Run(expect.Place{Rules: rules, Scope: scope, Waivers: policies.Waivers(), Scanners: policies.Scanners()}))
	}
	return results, nil
}

// printTests writes the results and counts the tests that passed.
func printTests(w io.Writer, results []expect.Result, output string) (passed int, err error) {
	for _, r := range results {
		if r.Passed {
			passed++
		}
	}
	if output == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return passed, e.Encode(struct {
			Schema string          `json:"schema"`
			Passed int             `json:"passed"`
			Failed int             `json:"failed"`
			Tests  []expect.Result `json:"tests"`
		}{Schema: "assay.policytest/v1", Passed: passed, Failed: len(results) - passed, Tests: results})
	}
	for _, r := range results {
		word := "ok  "
		if !r.Passed {
			word = "FAIL"
		}
		if _, err := fmt.Fprintf(w, "%s  %-9s  %s  (%s:%d)\n", word, r.Verdict, r.Name, r.File, r.Line); err != nil {
			return passed, err
		}
		for _, p := range r.Problems {
			if _, err := fmt.Fprintf(w, "      %s\n", p); err != nil {
				return passed, err
			}
		}
	}
	if len(results) == 0 {
		_, err = fmt.Fprintln(w, "There are no tests: no file of the catalog is named *.policytest.hcl.")
		return passed, err
	}
	_, err = fmt.Fprintf(w, "%d of %s passed.\n", passed, counted(len(results), "test", "tests"))
	return passed, err
}
