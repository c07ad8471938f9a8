package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	catalog "github.com/assay-oci/assay/catalog-schema"
	"github.com/assay-oci/assay/reconcile/openvex"
)

func newExportVEX(io stdio) *cobra.Command {
	var o catalogOptions
	var about openvex.About
	var at string
	c := &cobra.Command{
		Use:   "vex --id IRI --author AUTHOR",
		Short: "Write the catalog's waivers of vulnerabilities as an OpenVEX document, without any network call",
		Long: `Vex writes an OpenVEX document (v0.2.0) about the approved images: a waiver with a justification becomes not_affected, one without accepts
the risk and becomes affected. Waivers that have expired are left out. With --time or SOURCE_DATE_EPOCH the same catalog gives the same bytes.`,
		Example: "  assay export vex --catalog . --id https://example.com/vex/acme --author security@example.com > acme.vex.json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if about.Time, err = documentTime(at, os.Getenv("SOURCE_DATE_EPOCH"), time.Now()); err != nil {
				return err
			}
			return runExportVEX(c.Context(), io, o, about)
		},
	}
	o.flags(c)
	f := c.Flags()
	f.StringVar(&about.ID, "id", "", "the document's identifier, an `IRI`")
	f.StringVar(&about.Author, "author", "", "who answers for it")
	f.StringVar(&at, "time", "", "the document's `time`, as 2026-05-01T12:00:00Z; default: SOURCE_DATE_EPOCH, or now")
	return c
}

// documentTime is what a person says, or what the build says, or now.
func documentTime(said, epoch string, now time.Time) (time.Time, error) {
	switch {
	case said != "":
		t, err := time.Parse(time.RFC3339, said)
		if err != nil {
			return t, fmt.Errorf("time %q is not written as 2026-05-01T12:00:00Z", said)
		}
		return t, nil
	case epoch != "":
		n, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH %q is no number of seconds", epoch)
		}
		return time.Unix(n, 0), nil
	}
	return now, nil
}

func runExportVEX(ctx context.Context, io stdio, o catalogOptions, about openvex.About) error {
	if about.ID == "" || about.Author == "" {
		return errors.New("the document needs --id and --author")
	}
	o.workingTree = o.workingTree || o.ref == "" && o.commit == ""
	src, err := openSource(ctx, o, "")
	if err != nil {
		return err
	}
	d, diags := catalog.LoadCommit(src.FS(), catalog.Options{Rules: ruleDecoders(), VEX: readVEX})
	if diags.HasErrors() {
		return refuse(io, diags)
	}
	b, err := openvex.Export(d, about)
	if err != nil {
		return err
	}
	_, err = io.out.Write(b)
	return err
}
