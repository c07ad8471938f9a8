package scantest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/assay-oci/assay/reconcile"
)

// Vulnerable returns an image of which Expected are known: a Debian 12 system, an npm application and a Go program.
func Vulnerable(t testing.TB) reconcile.Layout {
	t.Helper()
	base := append(Debian12(), Dpkg(
		Deb{"libssl3", "3.0.20-1~deb12u2", "openssl"},
		Deb{"perl-base", "5.36.0-7+deb12u3", "perl"},
		Deb{"libssh2-1", "1.10.0-3+b1", "libssh2 (1.10.0-3)"},
		Deb{"base-files", "12.4+deb12u12", ""},
	))
	app := []File{
		NodeModule("app", "lodash", "4.17.4"),
		NodeModule("app", "minimist", "0.0.8"),
		GoBinary(t, "usr/bin/server", "golang.org/x/net", "v0.7.0"),
	}
	return Layout(t, Tar(t, base...), Tar(t, app...))
}

// A Known vulnerability must be found by each scanner in Vulnerable.
type Known struct {
	ID, Package string
	Fix         string // one of the fixes; empty if there is none
	Severity    reconcile.Severity
}

// Expected are the vulnerabilities of Vulnerable that every database has. A scanner may know more.
var Expected = []Known{
	{"CVE-2026-63072", "libssl3", "3.0.22-1~deb12u1", reconcile.High},
	{"CVE-2026-75805", "libssl3", "3.0.22-1~deb12u2", reconcile.Medium},
	{"CVE-2026-8376", "perl-base", "5.36.0-7+deb12u4", reconcile.Critical},
	{"CVE-2011-4116", "perl-base", "", reconcile.Low},
	{"CVE-2026-66032", "libssh2-1", "1.10.0-3+deb12u1", reconcile.High},
	{"CVE-2019-10744", "lodash", "4.17.12", reconcile.Critical},
	{"CVE-2020-7598", "minimist", "0.2.1", reconcile.Medium},
	{"CVE-2021-44906", "minimist", "0.2.4", reconcile.Critical},
	{"CVE-2023-39325", "golang.org/x/net", "0.17.0", reconcile.High},
	{"CVE-2023-45288", "golang.org/x/net", "0.23.0", reconcile.Medium},
}

// Liar returns an image whose layers are harmless, and which claims that they are those of Vulnerable. (What is staged was checked; a
// scanner that remembers layers by what images claim must not be fooled all the same.)
func Liar(t testing.TB) reconcile.Layout {
	t.Helper()
	claimed := diffIDs(t, Vulnerable(t))
	harmless := Tar(t, append(Debian12(), Dpkg(Deb{"base-files", "12.4+deb12u12", ""}))...)
	return LayoutClaiming(t, claimed, harmless, Tar(t, File{Name: "note.txt", Content: "nothing to see\n"}))
}

// Clean returns an image like Vulnerable with versions in which everything is fixed.
func Clean(t testing.TB) reconcile.Layout {
	t.Helper()
	base := append(Debian12(), Dpkg(
		Deb{"libssl3", "3.0.22-1~deb12u2", "openssl"},
		Deb{"libssh2-1", "1.10.0-3+deb12u1", "libssh2"},
		Deb{"base-files", "12.4+deb12u12", ""},
	))
	return Layout(t, Tar(t, base...), Tar(t, NodeModule("app", "lodash", "4.17.21"), NodeModule("app", "minimist", "1.2.8")))
}

// Empty returns an image in which nothing is installed.
func Empty(t testing.TB) reconcile.Layout {
	t.Helper()
	return Layout(t, Tar(t, File{Name: "hello.txt", Content: "hello\n"}))
}

// Broken returns images that can't be read, by what is wrong with them.
func Broken(t testing.TB) map[string]reconcile.Layout {
	t.Helper()
	return map[string]reconcile.Layout{
		"layer that is no archive":     Layout(t, []byte(strings.Repeat("no archive ", 100))),
		"package database of nonsense": Layout(t, Tar(t, append(Debian12(), File{Name: "var/lib/dpkg/status", Content: "\x00\x01 nonsense\n:\n"})...)),
		"system without its database":  Layout(t, Tar(t, Debian12()...)),
	}
}

// Run tests a scanner that knows at least the advisories of OSV. New is called once for each test.
func Run(t *testing.T, newScanner func(*testing.T) reconcile.Scanner) {
	t.Run("a vulnerable image", func(t *testing.T) { vulnerable(t, scan(t, newScanner(t), Vulnerable(t))) })
	t.Run("a clean image has a verdict, and no vulnerabilities", func(t *testing.T) {
		got := scan(t, newScanner(t), Clean(t))
		if got.NoVerdict != "" || len(got.Vulnerabilities) > 0 {
			t.Errorf("no verdict: %q; vulnerabilities: %v", got.NoVerdict, got.Vulnerabilities)
		}
		if got.Packages < 5 {
			t.Errorf("%d packages were seen, want 5", got.Packages)
		}
	})
	t.Run("an empty image has no verdict", func(t *testing.T) { refuse(t, newScanner(t), Empty(t)) })
	t.Run("an image that can't be read has no verdict", func(t *testing.T) {
		for name, l := range Broken(t) {
			t.Run(name, func(t *testing.T) { refuse(t, newScanner(t), l) })
		}
	})
	t.Run("an image that lies about its layers hides nothing in the next one", func(t *testing.T) {
		s := newScanner(t)
		liar := Liar(t)
		if got, err := s.Scan(t.Context(), liar, reconcile.Image{Digest: liar.Manifest}); err != nil {
			t.Logf("the liar is refused: %v", err)
		} else if got.NoVerdict != "" {
			t.Logf("the liar is refused: %s", got.NoVerdict)
		}
		vulnerable(t, scan(t, s, Vulnerable(t)))
	})
	t.Run("what it lists is whole, and can be judged again", func(t *testing.T) { listed(t, newScanner(t)) })
	t.Run("concurrent scans agree", func(t *testing.T) { concurrent(t, newScanner(t)) })
	t.Run("a cancelled scan ends with an error", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		l := Clean(t)
		got, err := newScanner(t).Scan(ctx, l, reconcile.Image{Digest: l.Manifest})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

func scan(t *testing.T, s reconcile.Scanner, l reconcile.Layout) reconcile.Scan {
	t.Helper()
	got, err := s.Scan(t.Context(), l, reconcile.Image{Digest: l.Manifest})
	if err != nil {
		t.Fatal(err)
	}
	if got.Scanner == "" || got.Version == "" || got.Finished.IsZero() {
		t.Errorf("scanner %q, version %q, finished %v; want all three", got.Scanner, got.Version, got.Finished)
	}
	return got
}

// refuse checks that an image gets no verdict. An error will do too: it is never "clean".
func refuse(t *testing.T, s reconcile.Scanner, l reconcile.Layout) {
	t.Helper()
	got, err := s.Scan(t.Context(), l, reconcile.Image{Digest: l.Manifest})
	if err == nil && got.NoVerdict == "" {
		t.Errorf("a verdict: %+v", got)
	}
	if strings.ContainsAny(got.NoVerdict, "\n\x00") {
		t.Errorf("the reason is not one line: %q", got.NoVerdict)
	}
}

func vulnerable(t *testing.T, got reconcile.Scan) {
	t.Helper()
	if got.NoVerdict != "" {
		t.Fatalf("no verdict: %s", got.NoVerdict)
	}
	if got.Database.IsZero() || len(got.Ecosystems) == 0 {
		t.Errorf("database of %v covers %v", got.Database, got.Ecosystems)
	}
	if got.Distribution != "debian:12" {
		t.Errorf("distribution %q, want debian:12", got.Distribution)
	}
	for _, want := range Expected {
		i := slices.IndexFunc(got.Vulnerabilities, func(v reconcile.Vulnerability) bool { return v.ID == want.ID && v.Package.Name == want.Package })
		if i < 0 {
			t.Errorf("%s in %s was not found", want.ID, want.Package)
			continue
		}
		v := got.Vulnerabilities[i]
		if want.Fix == "" && len(v.FixedIn) > 0 || want.Fix != "" && !slices.Contains(v.FixedIn, want.Fix) {
			t.Errorf("%s in %s is fixed in %v, want %q", want.ID, want.Package, v.FixedIn, want.Fix)
		}
		if v.Severity != want.Severity && !(want.Severity == reconcile.Low && v.Severity == reconcile.Negligible) { // grype's word for what Debian won't fix
			t.Errorf("%s in %s is %s, want %s", want.ID, want.Package, v.Severity, want.Severity)
		}
		if strings.Contains(v.Package.PURL, "UNKNOWN") || v.Package.Version == "" || v.Package.PURL == "" || v.Package.Ecosystem == "" {
			t.Errorf("%s: the package %+v is not described", want.ID, v.Package)
		}
	}
}

// listed checks the inventory of a scanner that makes one, and that it says the same of its own inventory as of the image.
func listed(t *testing.T, s reconcile.Scanner) {
	t.Helper()
	got := scan(t, s, Vulnerable(t))
	i := got.Inventory
	if i == nil {
		return
	}
	if i.Lister != got.Scanner || i.Version != got.Version || i.Distribution != got.Distribution || len(i.Packages) != got.Packages {
		t.Errorf("%d packages are listed by %q %q in %q; the scan saw %d by %q %q in %q", len(i.Packages), i.Lister, i.Version, i.Distribution, got.Packages, got.Scanner, got.Version, got.Distribution)
	}
	for _, p := range i.Packages {
		if p.Name == "" || p.Version == "" || p.Ecosystem == "" || p.PURL == "" {
			t.Errorf("%+v is not described", p)
		}
	}
	for _, want := range Expected {
		if !slices.ContainsFunc(i.Packages, func(p reconcile.Package) bool { return p.Name == want.Package }) {
			t.Errorf("%s is not listed", want.Package)
		}
	}
	r, ok := s.(reconcile.Rescanner)
	if !ok {
		return
	}
	again, err := r.Rescan(t.Context(), *i, reconcile.Image{})
	if err != nil {
		t.Fatal(err)
	}
	vulnerable(t, again)
	if again.Inventory != nil || again.Packages != got.Packages || len(again.Vulnerabilities) != len(got.Vulnerabilities) {
		t.Errorf("of its own inventory it says %d packages and %d vulnerabilities, of the image %d and %d", again.Packages, len(again.Vulnerabilities), got.Packages, len(got.Vulnerabilities))
	}
}

func concurrent(t *testing.T, s reconcile.Scanner) {
	t.Helper()
	l, clean := Vulnerable(t), Clean(t)
	var wg sync.WaitGroup
	counts := make([]int, 6)
	for i := range counts {
		wg.Go(func() {
			in := l
			if i%2 == 1 {
				in = clean
			}
			got, err := s.Scan(t.Context(), in, reconcile.Image{Digest: in.Manifest})
			if err != nil || got.NoVerdict != "" {
				t.Errorf("%v, no verdict: %q", err, got.NoVerdict)
			}
			counts[i] = len(got.Vulnerabilities)
		})
	}
	wg.Wait()
	for i, n := range counts {
		if n != counts[i%2] {
			t.Errorf("scan %d found %d vulnerabilities, another one of the same image %d", i, n, counts[i%2])
		}
	}
}
