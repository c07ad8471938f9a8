package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	catalog "github.com/assay-oci/assay/catalog-schema"
	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry"
	"github.com/assay-oci/assay/reconcile/scan/builtin"
	"github.com/assay-oci/assay/reconcile/scan/command"
	"github.com/assay-oci/assay/reconcile/scan/external"
	"github.com/assay-oci/assay/reconcile/scan/feeds"
	"github.com/assay-oci/assay/reconcile/scan/grype"
	"github.com/assay-oci/assay/reconcile/scan/osvscanner"
	"github.com/assay-oci/assay/reconcile/scan/program"
	"github.com/assay-oci/assay/reconcile/scan/stage"
	"github.com/assay-oci/assay/reconcile/scan/trivy"
)

// What examines images: the scanners.

// anyAge is more than any database has.
const anyAge = 100 * 365 * 24 * time.Hour

// openScan reads the catalog that an image is to be judged by; without one, there is the built-in scanner and no policy.
func openScan(ctx context.Context, io stdio, o scanOptions) (*assembly, error) {
	cache, err := o.folder()
	if err != nil {
		return nil, err
	}
	a := &assembly{options: o.runOptions, cache: cache, progress: newProgress(io.err), io: io}
	a.desired.Scanners = []reconcile.ScannerSpec{{Name: "builtin", MaxAge: anyAge}} // the answer says how old it is
	if !o.policy {
		return a, nil
	}
	if a.source, err = openSource(ctx, o.catalogOptions, cache); err != nil {
		return nil, err
	}
	desired, rules, diags := catalog.LoadScope(a.source.FS(), o.scope, catalog.Options{Now: time.Now(), Commit: a.source.Commit(), Rules: ruleDecoders(), VEX: readVEX})
	if err := diags.Print(io.err, 0, coloured(io.err)); err != nil {
		return nil, fmt.Errorf("print mistakes: %w", err)
	}
	if diags.HasErrors() {
		return nil, errors.New("the catalog has mistakes, so its policy can't judge")
	}
	if len(desired.Scanners) == 0 {
		desired.Scanners = a.desired.Scanners
	}
	a.desired, a.rules = desired, rules
	return a, nil
}

// examiner builds what stages and scans one image, which lies in a registry or in a layout.
func (a *assembly) examiner(ctx context.Context, name string) (reconcile.Image, reconcile.Sensors, error) {
	var s reconcile.Sensors
	image, err := a.locate(ctx, name)
	if err != nil {
		return image, s, err
	}
	if a.stage, err = stage.New(stage.Options{Dir: filepath.Join(a.cache, "stage"), Budget: int64(a.options.stage)}, stageSource{a.reader}); err != nil {
		return image, s, fmt.Errorf("%w (--cache names the folder)", err)
	}
	s = reconcile.Sensors{Content: a.reader, Stage: a.stage, Asking: a.progress.asking}
	s.Scanners, err = a.scanners()
	return image, s, err
}

// locate opens what holds an image: a layout's folder, with "@" and a digest where it holds several, or a registry.
func (a *assembly) locate(ctx context.Context, name string) (image reconcile.Image, err error) {
	o := a.registries(name)
	dir, digest, _ := strings.Cut(name, "@")
	if !isLayout(dir) {
		a.reader = registry.NewReader(o)
		return resolve(ctx, a.reader, name)
	}
	var d reconcile.Digest
	if digest != "" {
		if d, err = reconcile.ParseDigest(digest); err != nil {
			return image, err
		}
	}
	a.reader, image, err = registry.OpenLayout(dir, d, o)
	return image, err
}

// scanners builds those of the catalog, and says what the system can't take away from other people's programs.
func (a *assembly) scanners() (map[string]reconcile.Scanner, error) {
	out := map[string]reconcile.Scanner{}
	programs := false
	for _, spec := range a.desired.Scanners {
		s, err := a.scanner(spec)
		if err != nil {
			return nil, err
		}
		out[spec.Name], programs = feeds.Annotate(s, advisoryFolder(a.cache)), programs || spec.Name != "builtin"
	}
	if lack := program.Missing(); programs && lack != "" {
		fmt.Fprintf(a.io.err, "assay: this system doesn't give scanners %s; confined = true in the catalog makes that no verdict\n", lack)
	}
	return out, nil
}

func (a *assembly) scanner(spec reconcile.ScannerSpec) (reconcile.Scanner, error) {
	if len(spec.Command) > 0 {
		return command.New(command.Options{Name: spec.Name, Command: spec.Command, Version: spec.Version, Checksum: spec.Checksum, Database: spec.Database, MaxAge: spec.MaxAge,
			Timeout: spec.Timeout, Memory: spec.Memory, Required: spec.Confined})
	}
	o := external.Options{Name: spec.Name, Program: spec.Program, Version: spec.Version, Checksum: spec.Checksum, Database: spec.Database, MaxAge: spec.MaxAge,
		Timeout: spec.Timeout, Memory: spec.Memory, Required: spec.Confined}
	switch spec.Name {
	case "builtin":
		return builtin.New(builtin.Options{Dir: advisoryFolder(a.cache), MaxAge: cmp.Or(spec.MaxAge, builtin.DefaultMaxAge), Hint: "run `assay db update`"}), nil
	case "trivy":
		return trivy.New(o)
	case "grype":
		return grype.New(o)
	case "osv-scanner":
		return osvscanner.New(o)
	}
	return nil, fmt.Errorf("scanner %q has no command, and is not one that this version knows; write command = [\"program\", \"{layout}\"]", spec.Name)
}

func advisoryFolder(cache string) string { return filepath.Join(cache, "advisories") }
