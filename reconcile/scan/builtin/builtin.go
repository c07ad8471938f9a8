// Package builtin is the scanner that is always there: osv-scalibr reads what is installed in an image, and an index of OSV records, held
// on disk, says what is known about it. It needs no network, and no other program.
//
// Whatever it can't read or doesn't know ends in "no verdict", never in "clean".
package builtin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/scan/layer"
	"github.com/google/osv-scalibr/version"
)

// Name is the scanner's name.
const Name = "builtin"

// Version is the scanner's version. It changes when the same image and database may give another result.
const Version = "2+scalibr." + version.ScannerVersion

// DefaultMaxAge is how old the newest advisory may be where nobody says otherwise: there are new ones every day.
const DefaultMaxAge = 7 * 24 * time.Hour

// Options configure a Scanner.
type Options struct {
	// Dir holds the database, where Import put it, and what is known of layers, by diffID.
	Dir string
	// MaxAge is how old the newest advisory in the database may be; zero for any age.
	MaxAge time.Duration
	// Hint says what a person can do if the database is missing or too old, such as "run `assay db update`".
	Hint string
	// Limits bound what is read of an image; zero for DefaultLimits.
	Limits Limits
	// Now is the clock; nil for time.Now.
	Now func() time.Time
}

// Limits bound what an image can make the scanner do. Beyond them there is no verdict.
type Limits struct {
	Layer   layer.Limits
	Entries int   // files of one layer
	Paths   int64 // bytes of all file names of one layer
	File    int64 // bytes of one file that may hold packages
	Found   int   // packages of one layer
}

// DefaultLimits let real images pass.
var DefaultLimits = Limits{Layer: layer.DefaultLimits, Entries: 1_000_000, Paths: 128 << 20, File: 2 << 30, Found: 200_000}

// A Scanner implements reconcile.Scanner. It may be used concurrently, and sees a new database at once.
type Scanner struct {
	o     Options
	cache cache
}

var _ reconcile.Rescanner = (*Scanner)(nil)

// New returns a scanner. A database isn't needed until Scan.
func New(o Options) *Scanner {
	silence()
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Scanner{o: o, cache: cache{dir: filepath.Join(o.Dir, "layers")}}
}

// noVerdict is why nothing can be said about an image.
type noVerdict string

func (n noVerdict) Error() string { return string(n) }

func unsure(format string, args ...any) error { return noVerdict(fmt.Sprintf(format, args...)) }

// Scan reads an image from its layout and looks up what is installed in it. The answer has the inventory even if there is no verdict,
// provided that all of it could be read. The error is the context's, or of this machine.
func (s *Scanner) Scan(ctx context.Context, l reconcile.Layout, _ reconcile.Image) (reconcile.Scan, error) {
	return s.say("scan "+l.Manifest.Short(), ctx, func(out *reconcile.Scan) error {
		inv, err := s.inventory(ctx, l)
		if err != nil {
			return err
		}
		out.Inventory = &inv
		return s.judge(ctx, inv, out)
	})
}

// Rescan judges an inventory that Scan made, also that of an older version of the scanner, against the database that is there now.
func (s *Scanner) Rescan(ctx context.Context, inv reconcile.Inventory, i reconcile.Image) (reconcile.Scan, error) {
	return s.say("rescan "+i.Digest.Short(), ctx, func(out *reconcile.Scan) error {
		if inv.Lister != Name {
			return unsure("the inventory was made by another scanner, %q", clip(inv.Lister))
		}
		if len(inv.Packages) > s.o.Limits.Found {
			return unsure("the inventory has more than %d packages", s.o.Limits.Found)
		}
		return s.judge(ctx, inv, out)
	})
}

// say makes an answer, and tells what can't be known from what went wrong.
func (s *Scanner) say(what string, ctx context.Context, do func(*reconcile.Scan) error) (reconcile.Scan, error) {
	out := reconcile.Scan{Scanner: Name, Version: Version}
	err := do(&out)
	out.Finished = s.o.Now().UTC()
	var unknown noVerdict
	switch {
	case ctx.Err() != nil:
		return reconcile.Scan{}, fmt.Errorf("%s: %w", what, ctx.Err())
	case errors.As(err, &unknown):
		out.Vulnerabilities, out.NoVerdict = nil, string(unknown)
	case err != nil:
		return reconcile.Scan{}, fmt.Errorf("%s: %w", what, err)
	}
	return out, nil
}

func (s *Scanner) judge(ctx context.Context, inv reconcile.Inventory, out *reconcile.Scan) error {
	out.Distribution, out.Packages = inv.Distribution, len(inv.Packages)
	packages, err := known(inv)
	if err != nil {
		return err
	}
	db, err := s.database()
	if err != nil {
		return err
	}
	defer db.close()
	out.Database, out.Ecosystems = db.info.Newest, db.info.Names()
	if err := s.covered(db, packages); err != nil {
		return err
	}
	out.Vulnerabilities, err = db.match(ctx, packages)
	return err
}

func (s *Scanner) database() (*database, error) {
	db, err := openDatabase(s.o.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, unsure("there is no advisory database%s", s.hint())
	}
	if err != nil {
		return nil, err
	}
	if age := s.o.Now().Sub(db.info.Newest); s.o.MaxAge > 0 && age > s.o.MaxAge {
		db.close()
		return nil, unsure("the advisory database is %s old, more than %s%s", days(age), days(s.o.MaxAge), s.hint())
	}
	return db, nil
}

func (s *Scanner) hint() string {
	if s.o.Hint == "" {
		return ""
	}
	return "; " + s.o.Hint
}

func days(d time.Duration) string {
	if d < 48*time.Hour {
		return d.Round(time.Minute).String()
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// covered refuses to judge packages of which the database knows nothing.
func (s *Scanner) covered(db *database, packages []installed) error {
	missing := map[string]int{}
	for _, p := range packages {
		if db.info.Ecosystems[p.Ecosystem] == 0 {
			missing[p.Ecosystem]++
		}
	}
	if len(missing) == 0 {
		return nil
	}
	var list []string
	for e, n := range missing {
		list = append(list, fmt.Sprintf("%s (%d packages)", clip(e), n))
	}
	slices.Sort(list)
	return unsure("the advisory database has nothing about %s%s", strings.Join(list[:min(len(list), 20)], ", "), s.hint())
}
