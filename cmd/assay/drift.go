package main

import (
	"bytes"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/assay-oci/assay/reconcile/report"
)

type driftOptions struct {
	report     string
	repository string
	path       string
	link       string
	mention    bool
}

// driftTitle is the title of the one issue about the catalog in a folder of the repository.
func driftTitle(folder string) string {
	if folder == "" {
		return "Assay: the registries differ from the catalog"
	}
	return "Assay: the registries differ from the catalog in " + report.Plain(folder)
}

func newDrift(io stdio) *cobra.Command {
	var o driftOptions
	c := &cobra.Command{
		Use:   "drift",
		Short: "Keep one issue about what the registries and the catalog differ in",
		Long: `Drift reads what plan or reconcile wrote with -o json, and keeps one issue up to date: it is open while something differs from the catalog, or an approved
image violates its policy, and closed when that is over. Of a report in which something could not be read and nothing differs nobody knows, so it changes
nothing. After a reconcile, what it has corrected is over. In a workflow of GitHub Actions it also writes the job's summary, annotations and outputs.`,
		Example: `  assay reconcile --catalog . -o json > report.json
  assay drift --report report.json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runDrift(c.Context(), io, o) },
	}
	f := c.Flags()
	f.StringVar(&o.report, "report", "-", "the JSON `file` to publish; - is standard input")
	f.BoolVar(&o.mention, "mention", false, "mention the owners of images, who are notified then")
	publishFlags(c, &o.repository, &o.path, &o.link)
	return c
}

func runDrift(ctx context.Context, std stdio, o driftOptions) error {
	o.path = report.InFolder(o.path, "")
	rep, err := readReport(std.in, o.report)
	if err != nil {
		return err
	}
	var body bytes.Buffer
	drifted, err := report.Drift(&body, rep, report.DriftOptions{Limit: maxComment, Link: o.link, Mention: o.mention})
	if err != nil {
		return fmt.Errorf("render the report: %w", err)
	}
	url := ""
	if drifted || len(rep.Plan.Gaps) == 0 && rep.Error == "" {
		forge, err := openForge(o.repository)
		if err != nil {
			return err
		}
		if url, err = forge.Issue(ctx, o.path, driftTitle(o.path), body.String(), drifted); err != nil {
			if !refused(err) {
				return err
			}
			notPublished(std, err)
		}
	}
	return inWorkflow(std.out, rep, commentOptions{path: o.path, link: o.link}, url)
}
