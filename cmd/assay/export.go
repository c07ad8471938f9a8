package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/bom"
)

func newExport(io stdio) *cobra.Command {
	c := &cobra.Command{Use: "export", Short: "Write what is known in the formats of others"}
	c.AddCommand(newExportSBOM(io), newExportVEX(io))
	return c
}

type sbomOptions struct {
	scanOptions
	layout string
	format string
}

func newExportSBOM(io stdio) *cobra.Command {
	var o sbomOptions
	c := &cobra.Command{
		Use:   "sbom IMAGE|--layout FOLDER",
		Short: "Write an image's bill of materials as CycloneDX 1.6 or SPDX 2.3",
		Long: `Sbom lists what is installed in an image, with the built-in scanner, and prints it as a software bill of materials. The image lies in a registry, or in
a folder that is an OCI image layout. It needs no advisory database. The same image gives the same bytes.`,
		Example: `  assay export sbom --layout ./layout --format spdx > nginx.spdx.json
  assay export sbom docker.io/library/nginx:1.27.3 --platform linux/arm64`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			name := o.layout
			switch {
			case len(args) == 1 && o.layout == "":
				name = args[0]
			case len(args) == 1 || o.layout == "":
				return errors.New("name an image, or a folder with --layout")
			case !isLayout(o.layout):
				return fmt.Errorf("%s is no OCI image layout: it has no file oci-layout", o.layout)
			}
			return runExportSBOM(c.Context(), io, o, name)
		},
	}
	o.stage = 20 << 30
	f := c.Flags()
	f.StringVar(&o.layout, "layout", "", "the `folder` of an OCI image layout")
	f.StringVar(&o.format, "format", "cyclonedx", "cyclonedx or spdx")
	f.StringVar(&o.platform, "platform", "", "the `platform` of an image that has several, such as linux/amd64")
	f.StringVar(&o.cache, "cache", "", "the `folder` for what may vanish; default: assay in the user's cache folder")
	f.Var(&o.stage, "stage", "how much `content` may be staged at a time, such as 20GiB")
	f.StringSliceVar(&o.insecure, "insecure-registry", nil, "a `host` to speak plain http with; loopback addresses need no mention")
	return c
}

// sbomFormats are the writers by their names.
var sbomFormats = map[string]func(reconcile.Inventory, bom.Subject) ([]byte, error){"cyclonedx": bom.CycloneDX, "spdx": bom.SPDX}

func runExportSBOM(ctx context.Context, io stdio, o sbomOptions, name string) error {
	write, ok := sbomFormats[o.format]
	if !ok {
		return fmt.Errorf("format %q is none of cyclonedx, spdx", o.format)
	}
	_, image, evidence, err := o.examine(ctx, io, name)
	if err != nil {
		return err
	}
	s, err := onlyScan(evidence)
	if err != nil {
		return fmt.Errorf("export %s: %w", name, err)
	}
	subject := bom.Subject{Digest: s.Manifest, Platform: s.Platform, Created: created(evidence, s.Manifest)}
	if o.layout == "" {
		subject.Name = image.Repo.String()
	}
	b, err := write(*s.Scan.Inventory, subject)
	if err != nil {
		return err
	}
	_, err = io.out.Write(b)
	return err
}

// onlyScan returns the scan of the one platform that is asked for, with its inventory.
func onlyScan(e reconcile.Evidence) (reconcile.PlatformScan, error) {
	switch len(e.Scans) {
	case 0:
		return reconcile.PlatformScan{}, errors.New("it has no such platform that runs")
	case 1:
	default:
		return reconcile.PlatformScan{}, errors.New("it has several platforms; choose one with --platform")
	}
	if e.Scans[0].Scan.Inventory == nil {
		return reconcile.PlatformScan{}, fmt.Errorf("what is installed can't be listed: %s", e.Scans[0].Scan.NoVerdict)
	}
	return e.Scans[0], nil
}

// created is the image's own time, and not that of the export, so that the same image gives the same bytes.
func created(e reconcile.Evidence, manifest reconcile.Digest) time.Time {
	for _, m := range e.Tree.Manifests {
		if m.Digest == manifest && m.Config.Created.Year() > 1 {
			return m.Config.Created
		}
	}
	return time.Unix(0, 0)
}
