// Package grype runs grype (https://github.com/anchore/grype).
package grype

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/scan/external"
	"github.com/assay-oci/assay/reconcile/scan/program"
)

const (
	usualName = "grype"
	maxAge    = 5 * 24 * time.Hour // what grype itself allows
)

// A Scanner implements reconcile.Rescanner. It may be used concurrently.
type Scanner struct {
	o       external.Options
	program *program.Program
}

var _ reconcile.Rescanner = (*Scanner)(nil)

// New looks the program up. Its database is the folder that grype calls its database cache, by default the one in the user's folder for caches.
func New(o external.Options) (*Scanner, error) {
	p, err := o.Find(usualName, maxAge)
	if err != nil {
		return nil, err
	}
	if o.Database == "" {
		if o.Database = os.Getenv("GRYPE_DB_CACHE_DIR"); o.Database == "" {
			user, err := os.UserCacheDir()
			if err != nil {
				return nil, err
			}
			o.Database = filepath.Join(user, "grype", "db")
		}
	}
	if o.Database, err = filepath.Abs(o.Database); err != nil {
		return nil, err
	}
	return &Scanner{o: o, program: p}, nil
}

// Scan runs grype on a layout. Whatever it does wrong is no verdict; the error is the context's, or that it could not be run.
func (s *Scanner) Scan(ctx context.Context, l reconcile.Layout, _ reconcile.Image) (reconcile.Scan, error) {
	if err := external.One(ctx, l); err != nil {
		return s.o.Scan(reconcile.Scan{}, err)
	}
	out, err := s.scan(ctx, program.Job{Read: []string{l.Dir}}, "oci-dir:"+l.Dir)
	if err == nil {
		err = external.Seen(ctx, l, out.Inventory.Packages)
	}
	if err == nil {
		err = s.prove(ctx, &out)
	}
	return s.o.Scan(out, err)
}

// prove sees that the SBOM which Rescan reads gives the same findings right now. If it doesn't, the scan lists no packages: then an aged one is
// made anew from the content.
func (s *Scanner) prove(ctx context.Context, out *reconcile.Scan) error {
	again, err := s.rescan(ctx, out.Inventory.Native)
	var f program.Failure
	switch {
	case err != nil && !errors.As(err, &f):
		return err
	case err != nil || !external.SameFindings(*out, again):
		out.Inventory = nil
	}
	return nil
}

// Rescan has grype judge its own SBOM again. It gives what a scan of the content would: see reconcile/scan/README.md.
func (s *Scanner) Rescan(ctx context.Context, i reconcile.Inventory, _ reconcile.Image) (reconcile.Scan, error) {
	if i.Native == "" {
		return s.o.Scan(reconcile.Scan{}, program.Failf("there is no SBOM of its own to judge again"))
	}
	out, err := s.rescan(ctx, i.Native)
	if err == nil && out.Packages != len(i.Packages) {
		err = program.Failf("of the %d packages of its SBOM it saw %d", len(i.Packages), out.Packages)
	}
	out.Inventory = nil
	return s.o.Scan(out, err)
}

func (s *Scanner) rescan(ctx context.Context, sbom string) (reconcile.Scan, error) {
	const again = "again.cdx.json"
	j := program.Job{Prepare: func(dir string) error { return os.WriteFile(filepath.Join(dir, again), []byte(sbom), 0o600) }}
	return s.scan(ctx, j, "sbom:"+again)
}

// sbomName is the file that it writes its SBOM to.
const sbomName = "sbom.cdx.json"

// scan runs grype on a source, and says whether its answer counts.
func (s *Scanner) scan(ctx context.Context, j program.Job, source string) (reconcile.Scan, error) {
	var out reconcile.Scan
	if _, err := os.Stat(s.o.Database); err != nil {
		return out, program.Failf("there is no database in %s; run `grype db update`", s.o.Database)
	}
	j.Args = func(string) []string {
		return []string{"--quiet", "--output", "json", "--output", "cyclonedx-json=" + sbomName, source}
	}
	j.Env = func(string) []string {
		return []string{"GRYPE_DB_CACHE_DIR=" + s.o.Database, "GRYPE_DB_AUTO_UPDATE=false", "GRYPE_DB_VALIDATE_AGE=false", "GRYPE_CHECK_FOR_APP_UPDATE=false"}
	}
	j.Read, j.Keep = append(j.Read, s.o.Database), []string{sbomName} // only there are the packages in which it found nothing
	r, err := s.program.Run(ctx, j)
	if err != nil {
		return out, err
	}
	out, err = parse(r.Stdout)
	if err != nil {
		return out, err
	}
	packages, err := parseSBOM(r.Files[sbomName], out.Distribution)
	if err != nil {
		return out, err
	}
	out.Version, out.Packages = external.ProgramVersion(out.Version, s.program.Path()), len(packages)
	native, err := external.SBOM(r.Files[sbomName])
	if err != nil {
		return out, err
	}
	out.Inventory = &reconcile.Inventory{Lister: s.o.Name, Version: out.Version, Distribution: out.Distribution, Packages: packages, Native: native}
	if err := s.o.Versioned(out.Version); err != nil {
		return out, err
	}
	if err := s.o.Fresh(out.Database); err != nil {
		return out, err
	}
	return out, external.Covered(out.Ecosystems, packages)
}
