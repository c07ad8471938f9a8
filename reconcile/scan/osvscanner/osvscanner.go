// Package osvscanner runs osv-scanner (https://github.com/google/osv-scanner) version 2. It reads the same advisories as the built-in scanner:
// a check of its matching, not an independent opinion.
package osvscanner

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/scan/external"
	"github.com/assay-oci/assay/reconcile/scan/program"
)

const (
	usualName  = "osv-scanner"
	maxAge     = 7 * 24 * time.Hour
	maxArchive = 64 << 30 // bytes of an image as an archive
	found      = 1        // exit status: there are vulnerabilities
	nothing    = 128      // exit status: there are no packages
)

// A Scanner implements reconcile.Scanner. It may be used concurrently.
type Scanner struct {
	o       external.Options
	program *program.Program
	db      *database
}

var _ reconcile.Scanner = (*Scanner)(nil)

// New looks the program up. Its database is the folder that holds "osv-scalibr/<ecosystem>/all.zip", as osv-scanner downloads it, by default the one in the
// user's folder for caches.
func New(o external.Options) (*Scanner, error) {
	p, err := o.Find(usualName, maxAge)
	if err != nil {
		return nil, err
	}
	if o.Database == "" {
		if o.Database = os.Getenv("OSV_SCANNER_LOCAL_DB_CACHE_DIRECTORY"); o.Database == "" {
			if o.Database, err = os.UserCacheDir(); err != nil {
				return nil, err
			}
		}
	}
	if o.Database, err = filepath.Abs(o.Database); err != nil {
		return nil, err
	}
	return &Scanner{o: o, program: p, db: &database{dir: filepath.Join(o.Database, "osv-scalibr"), now: o.Now}}, nil
}

// Scan runs osv-scanner on a layout. Whatever it does wrong is no verdict; the error is the context's, or that it could not be run.
func (s *Scanner) Scan(ctx context.Context, l reconcile.Layout, _ reconcile.Image) (reconcile.Scan, error) {
	out, err := s.scan(ctx, l)
	return s.o.Scan(out, err)
}

func (s *Scanner) scan(ctx context.Context, l reconcile.Layout) (reconcile.Scan, error) {
	if err := external.One(ctx, l); err != nil {
		return reconcile.Scan{}, err
	}
	var out reconcile.Scan
	ecosystems, err := s.db.ecosystems() // without a database osv-scanner finds nothing, and exits as if that were true
	if err != nil {
		return out, err
	}
	if out.Version, err = s.version(ctx); err != nil {
		return out, err
	}
	out.Ecosystems = ecosystems
	if err := s.o.Versioned(out.Version); err != nil {
		return out, err
	}
	r, err := s.program.Run(ctx, s.job(ctx, l))
	if err != nil {
		return out, err
	}
	found, packages, err := parse(r.Stdout)
	if err != nil {
		return out, err
	}
	out.Distribution, out.Packages, out.Vulnerabilities = found.Distribution, len(packages), found.Vulnerabilities
	if err := external.Covered(ecosystems, packages); err != nil {
		return out, err
	}
	if err := external.Seen(ctx, l, packages); err != nil {
		return out, err
	}
	if out.Database, err = s.db.newest(ctx, packages); err != nil {
		return out, err
	}
	return out, s.o.Fresh(out.Database)
}

// job makes a command that touches no network, reads no configuration but an empty one, and leaves nothing out: neither packages without findings nor
// findings that it takes for unimportant. Its usual plugins don't see an npm package that no lock file names.
func (s *Scanner) job(ctx context.Context, l reconcile.Layout) program.Job {
	return program.Job{
		Prepare: func(dir string) error {
			if err := os.WriteFile(filepath.Join(dir, "config.toml"), nil, 0o600); err != nil {
				return err
			}
			return external.DockerArchive(ctx, l, filepath.Join(dir, "image.tar"), maxArchive)
		},
		Args: func(dir string) []string {
			return []string{"scan", "image", "--offline", "--archive", "--format", "json", "--all-packages", "--all-vulns", "--config", filepath.Join(dir, "config.toml"),
				"--experimental-plugins", "artifact", "--experimental-plugins", "javascript/packagejson", filepath.Join(dir, "image.tar")}
		},
		Env:   func(string) []string { return []string{"OSV_SCANNER_LOCAL_DB_CACHE_DIRECTORY=" + s.o.Database} },
		Read:  []string{s.o.Database},
		Exits: []int{found, nothing},
	}
}

var versionLine = regexp.MustCompile(`(?m)^osv-scanner version: v?([0-9][0-9A-Za-z.+-]{0,63})$`)

// version asks the program: its report doesn't say.
func (s *Scanner) version(ctx context.Context) (string, error) {
	r, err := s.program.Run(ctx, program.Job{Args: func(string) []string { return []string{"--version"} }})
	if err != nil {
		return "", err
	}
	m := versionLine.FindSubmatch(r.Stdout)
	if m == nil {
		return "", program.Failf("it doesn't say its version; is it osv-scanner?")
	}
	return string(m[1]), nil
}
