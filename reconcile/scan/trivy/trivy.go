// Package trivy runs trivy (https://trivy.dev).
package trivy

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
	usualName = "trivy"
	maxAge    = 72 * time.Hour // its database is made anew every six hours
)

// A Scanner implements reconcile.Rescanner. It may be used concurrently.
type Scanner struct {
	o       external.Options
	program *program.Program
}

var _ reconcile.Rescanner = (*Scanner)(nil)

// New looks the program up. Its database is the folder that trivy calls its cache, by default the one in the user's folder for caches; only the
// databases in it are used, never what trivy remembers there about layers.
func New(o external.Options) (*Scanner, error) {
	p, err := o.Find(usualName, maxAge)
	if err != nil {
		return nil, err
	}
	if o.Database == "" {
		if o.Database = os.Getenv("TRIVY_CACHE_DIR"); o.Database == "" {
			user, err := os.UserCacheDir()
			if err != nil {
				return nil, err
			}
			o.Database = filepath.Join(user, "trivy")
		}
	}
	if o.Database, err = filepath.Abs(o.Database); err != nil {
		return nil, err
	}
	return &Scanner{o: o, program: p}, nil
}

// Scan runs trivy on a layout. Whatever it does wrong is no verdict; the error is the context's, or that it could not be run.
func (s *Scanner) Scan(ctx context.Context, l reconcile.Layout, _ reconcile.Image) (reconcile.Scan, error) {
	if err := external.One(ctx, l); err != nil {
		return s.o.Scan(reconcile.Scan{}, err)
	}
	input := l.Dir + "@" + l.Manifest.String() // of several manifests it would take the first
	out, report, err := s.judge(ctx, program.Job{Read: []string{l.Dir}}, "image", "--scanners", "vuln,license", "--parallel", "1", "--input", input)
	if err == nil {
		err = external.Seen(ctx, l, out.Inventory.Packages)
	}
	if err == nil {
		err = s.inventory(ctx, &out, report)
	}
	return s.o.Scan(out, err)
}

// inventory adds the SBOM that Rescan reads. It must give the same findings right now, or the scan lists no packages: then an aged one is made
// anew from the content.
func (s *Scanner) inventory(ctx context.Context, out *reconcile.Scan, report []byte) error {
	sbom, err := s.sbom(ctx, report)
	if err != nil {
		return err
	}
	again, err := s.rescan(ctx, sbom)
	var f program.Failure
	switch {
	case err != nil && !errors.As(err, &f):
		return err
	case err != nil || !external.SameFindings(*out, again):
		out.Inventory = nil
	default:
		out.Inventory.Native = sbom
	}
	return nil
}

// Rescan has trivy judge its own SBOM again. It gives what a scan of the content would: see reconcile/scan/README.md.
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
	j := program.Job{Prepare: func(dir string) error { return os.WriteFile(filepath.Join(dir, sbomName), []byte(sbom), 0o600) }}
	out, _, err := s.judge(ctx, j, "sbom", "--scanners", "vuln", sbomName)
	return out, err
}

const sbomName = "sbom.cdx.json"

// judge runs a command of trivy that looks for vulnerabilities, and says whether its answer counts. It also returns the report as it was printed.
func (s *Scanner) judge(ctx context.Context, j program.Job, command string, args ...string) (reconcile.Scan, []byte, error) {
	var out reconcile.Scan
	db, err := readDatabase(s.o.Database)
	if err != nil {
		return out, nil, err
	}
	out.Database, out.Ecosystems = db.updated, db.ecosystems
	if err := s.o.Fresh(db.updated); err != nil { // with --skip-db-update trivy takes any, and says nothing
		return out, nil, err
	}
	prepare := j.Prepare
	j.Prepare = func(dir string) error {
		if prepare != nil {
			if err := prepare(dir); err != nil {
				return err
			}
		}
		return s.cache(dir)
	}
	j.Args = func(dir string) []string {
		return append([]string{command, "--cache-dir", filepath.Join(dir, "cache"), "--skip-db-update", "--skip-java-db-update", "--offline-scan", "--skip-version-check",
			"--disable-telemetry", "--skip-vex-repo-update", "--quiet", "--list-all-pkgs", "--format", "json"}, args...)
	}
	j.Read = append(j.Read, s.o.Database)
	r, err := s.program.Run(ctx, j)
	if err != nil {
		return out, nil, err
	}
	found, packages, err := parse(r.Stdout)
	if err != nil {
		return out, nil, err
	}
	found.Database, found.Ecosystems, found.Packages = out.Database, out.Ecosystems, len(packages)
	found.Version = external.ProgramVersion(found.Version, s.program.Path())
	found.Inventory = &reconcile.Inventory{Lister: s.o.Name, Version: found.Version, Distribution: found.Distribution, Packages: packages}
	if err := s.o.Versioned(found.Version); err != nil {
		return found, nil, err
	}
	return found, r.Stdout, external.Covered(found.Ecosystems, packages)
}

// cache makes an empty cache that shares the databases, read-only. What trivy remembers about layers goes by their diffIDs, so that an image which lies
// about its own would make it find nothing in another one (a cache can be poisoned): nothing is remembered from one scan to the next.
func (s *Scanner) cache(dir string) error {
	if err := os.Mkdir(filepath.Join(dir, "cache"), 0o700); err != nil {
		return err
	}
	for _, name := range []string{"db", "java-db"} {
		if err := os.Symlink(filepath.Join(s.o.Database, name), filepath.Join(dir, "cache", name)); err != nil {
			return err
		}
	}
	return nil
}

// sbom turns a report into trivy's own SBOM, without findings: what Rescan reads.
func (s *Scanner) sbom(ctx context.Context, report []byte) (string, error) {
	r, err := s.program.Run(ctx, program.Job{
		Prepare: func(dir string) error { return os.WriteFile(filepath.Join(dir, "report.json"), report, 0o600) },
		Args: func(dir string) []string {
			return []string{"convert", "--cache-dir", filepath.Join(dir, "cache"), "--quiet", "--format", "cyclonedx", "report.json"}
		},
	})
	if err != nil {
		return "", err
	}
	return external.SBOM(r.Stdout)
}
