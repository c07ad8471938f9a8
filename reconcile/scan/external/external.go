// Package external holds what the adapters of other people's scanners have in common: their options, when their word counts, and how names of
// packages, ecosystems and vulnerabilities are written alike, whoever reports them.
package external

import (
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/scan/program"
)

// Options configure one scanner. Zero values stand for the scanner's defaults.
type Options struct {
	Name     string           // the scanner's name in the catalog
	Program  string           // a name to be looked up in PATH, or a path; empty: the scanner's usual name
	Version  string           // that it must have, with or without a leading v; empty for any
	Checksum reconcile.Digest // that the program's file must have; zero for any
	Database string           // the folder with its database; empty: where the scanner keeps it for this user
	MaxAge   time.Duration    // how old its database may be
	Timeout  time.Duration    // of one scan
	Memory   int64            // bytes that it may use
	Required bool             // refuse to run where the system can't confine it entirely
	Now      func() time.Time // nil: time.Now
}

// Find fills in defaults and looks the program up.
func (o *Options) Find(usual string, maxAge time.Duration) (*program.Program, error) {
	if o.Program == "" {
		o.Program = usual
	}
	if o.MaxAge <= 0 {
		o.MaxAge = maxAge
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return program.Find(program.Options{Name: o.Name, Path: o.Program, Checksum: o.Checksum, Timeout: o.Timeout, Memory: o.Memory, Required: o.Required})
}

// Scan makes a Scan of what a scanner said. A failure of its is no verdict: then nothing of what it found counts. Other errors mean that it
// could not be run.
func (o Options) Scan(s reconcile.Scan, err error) (reconcile.Scan, error) {
	var f program.Failure
	switch {
	case errors.As(err, &f):
		s.NoVerdict = program.Printable(err.Error())
		s.Vulnerabilities, s.Inventory, s.Support = nil, nil, nil
	case err != nil:
		return reconcile.Scan{}, fmt.Errorf("scan with %q: %w", o.Name, err)
	}
	s.Scanner, s.Finished = o.Name, o.Now().UTC()
	return s, nil
}

// Fresh refuses a database that is older than allowed, or of which nobody knows how old it is.
func (o Options) Fresh(made time.Time) error {
	age := o.Now().Sub(made)
	switch {
	case made.IsZero():
		return program.Failf("the age of its database is unknown")
	case age > o.MaxAge:
		return program.Failf("its database is of %s, %s old; at most %s is allowed: update it, or raise max_age", made.UTC().Format(time.DateOnly), days(age), days(o.MaxAge))
	case age < -24*time.Hour: // a clock that is wrong would make every database fresh
		return program.Failf("its database is of %s, which is still to come: look at the clock", made.UTC().Format(time.DateOnly))
	}
	return nil
}

func days(d time.Duration) string {
	if d < 48*time.Hour {
		return d.Round(time.Minute).String()
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// Versioned refuses a program of another version than the catalog asks for.
func (o Options) Versioned(version string) error {
	if o.Version != "" && strings.TrimPrefix(o.Version, "v") != strings.TrimPrefix(version, "v") {
		return program.Failf("it is version %s, not %s as the catalog says", version, o.Version)
	}
	return nil
}

// Covered refuses an image in which there is nothing, or something that the scanner's database knows nothing of: no finding would mean nothing.
func Covered(ecosystems []string, packages []reconcile.Package) error {
	if len(packages) == 0 {
		return program.Failf("it saw no packages: nothing can be said about this image")
	}
	missing := map[string]int{}
	for _, p := range packages {
		if !covers(ecosystems, p.Ecosystem) {
			missing[p.Ecosystem]++
		}
	}
	if len(missing) == 0 {
		return nil
	}
	var list []string
	for e, n := range missing {
		list = append(list, fmt.Sprintf("%s (%d packages)", e, n))
	}
	slices.Sort(list)
	return program.Failf("its database has nothing about %s", strings.Join(list, ", "))
}

// covers: "Debian" covers "Debian:12", and "Debian:12" doesn't cover "Debian:13".
func covers(ecosystems []string, e string) bool {
	base, _, _ := strings.Cut(e, ":")
	return e != "" && slices.ContainsFunc(ecosystems, func(have string) bool { return strings.EqualFold(have, e) || strings.EqualFold(have, base) })
}

// Decode reads the one JSON document that a scanner printed. Fields that aren't known are no mistake: scanners add some with each version.
func Decode(b []byte, into any) error {
	if err := json.Unmarshal(b, into); err != nil {
		return program.Failf("its output is not what it should be: %v", err)
	}
	return nil
}

// MaxItems is how many packages, or findings, one scan may name.
const MaxItems = 200_000

// Bounded refuses output that no image explains.
func Bounded(n int) error {
	if n > MaxItems {
		return program.Failf("its output is not what it should be: it names more than %d packages or findings", MaxItems)
	}
	return nil
}

// One checks that a layout holds one manifest, and that it is the one meant: trivy would take the first of several in silence.
func One(ctx context.Context, l reconcile.Layout) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	index, err := readIndex(l)
	if err != nil {
		return err
	}
	if len(index.Manifests) != 1 || index.Manifests[0].Digest != l.Manifest.String() {
		return fmt.Errorf("the layout %s must hold the manifest %s and no other", l.Dir, l.Manifest)
	}
	return nil
}

var versionLike = regexp.MustCompile(`^v?[0-9][0-9A-Za-z.+-]{0,63}$`)

// ProgramVersion returns the version that a program says it has or, where it was built without being told, the one that the compiler wrote into
// its file.
func ProgramVersion(said, path string) string {
	if versionLike.MatchString(said) {
		return strings.TrimPrefix(said, "v")
	}
	if info, err := buildinfo.ReadFile(path); err == nil && versionLike.MatchString(info.Main.Version) {
		return strings.TrimPrefix(info.Main.Version, "v")
	}
	return "unknown"
}

// License makes one SPDX expression of the licences that a package's files name: all of them bind. Words that are none of SPDX's own become
// references (SPDX specification v2.3, annex D).
func License(names []string) string {
	var out []string
	for _, n := range names {
		n = strings.TrimSpace(n)
		if n == "" || len(n) > maxLicense {
			continue
		}
		switch {
		case expression.MatchString(n):
			n = "(" + n + ")"
		case !licenseID.MatchString(n):
			n = "LicenseRef-" + strings.Trim(notInID.ReplaceAllString(n, "-"), "-")
		}
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	if len(out) == 1 {
		return strings.TrimSuffix(strings.TrimPrefix(out[0], "("), ")")
	}
	return strings.Join(out, " AND ")
}

const maxLicense = 200 // bytes

var (
	licenseID  = regexp.MustCompile(`^[A-Za-z0-9.-]+\+?$`)
	notInID    = regexp.MustCompile(`[^A-Za-z0-9.-]+`)
	expression = regexp.MustCompile(`^[A-Za-z0-9.+-]+( (AND|OR|WITH) [A-Za-z0-9.+-]+)+$`)
)
