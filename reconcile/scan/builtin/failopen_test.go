package builtin

import (
	"archive/tar"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/scan/scantest"
)

// Each way in which scanners are known to say "clean" where they should not, as far as it concerns this one. That false diffIDs don't poison
// what is remembered is TestFalseDiffIDIsNoticed; that an old database says so is TestScanWithoutAUsableDatabase.

func TestFailOpenNoDatabaseIsNotClean(t *testing.T) {
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "absent")} {
		got, err := New(Options{Dir: dir}).Scan(t.Context(), scantest.Vulnerable(t), reconcile.Image{})
		if err != nil || got.NoVerdict == "" {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

func TestFailOpenAnUnknownFieldDoesNotDropARecord(t *testing.T) {
	dir := t.TempDir()
	mustImport(t, dir, zipOf(t, strings.Replace(goodRecord, `"aliases"`, `"field_of_tomorrow":{"x":[1]},"aliases"`, 1)))
	if got := lookup(t, dir, "npm", "lodash", "4.0.0"); len(got) != 1 {
		t.Errorf("found %v", got)
	}
}

func TestFailOpenAnUnknownEcosystemIsAnErrorAndNoPanic(t *testing.T) {
	if _, err := Import(t.Context(), t.TempDir(), zipOf(t, strings.Replace(goodRecord, `"npm"`, `"Plan 9"`, 1))); err == nil {
		t.Error("it was imported")
	}
	s := New(Options{Dir: imported(t)})
	got, err := s.Rescan(t.Context(), reconcile.Inventory{Lister: Name, Packages: []reconcile.Package{{Name: "x", Version: "1", Ecosystem: "Plan 9"}}}, reconcile.Image{})
	if err != nil || got.NoVerdict == "" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestFailOpenNothingToScanIsNotClean(t *testing.T) {
	got, err := New(Options{Dir: imported(t)}).Scan(t.Context(), scantest.Empty(t), reconcile.Image{})
	if err != nil || !strings.Contains(got.NoVerdict, "no packages were found") {
		t.Errorf("%+v, %v", got, err)
	}
}

// grype drops this one by a rule of its own, invisibly.
func TestFailOpenNoVulnerabilityIsHiddenByARuleOfOurOwn(t *testing.T) {
	got := lookup(t, imported(t), "Debian:12", "zlib", "1:1.2.13.dfsg-1")
	if len(got) != 1 || got[0].ID != "CVE-2023-45853" || got[0].Severity != reconcile.Critical {
		t.Errorf("found %+v", got)
	}
}

// An SBOM of another tool, or of another scanner, isn't read: it says less than it seems to.
func TestFailOpenAnInventoryOfAnotherScannerIsNotJudged(t *testing.T) {
	inv := inventoryOf(t, scantest.Tar(t, module("lodash", "4.17.4")))
	inv.Lister = "syft"
	got, err := New(Options{Dir: imported(t)}).Rescan(t.Context(), inv, reconcile.Image{})
	if err != nil || got.NoVerdict == "" || len(got.Vulnerabilities) > 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

// Layers that an attacker might make.

// What is said of a hundred thousand entries here holds for a million, the limit that is usual: memory grows with their number.
func TestLayerWithTooManyEntriesEndsInBoundedMemory(t *testing.T) {
	const limit = 100_000
	name := filepath.Join(t.TempDir(), "layer")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	z, _ := gzip.NewWriterLevel(f, gzip.BestSpeed)
	w := tar.NewWriter(z)
	for i := range limit + 1 {
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("d/%d", i), Typeflag: tar.TypeReg, Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []io.Closer{w, z, f} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	limits := DefaultLimits
	limits.Entries = limit
	s := New(Options{Dir: t.TempDir(), Limits: limits})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	_, err = s.readLayer(t.Context(), name, reconcile.MustDigest("sha256:"+strings.Repeat("0", 64)))
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "more than 100000 files") {
		t.Errorf("got %v", err)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 50<<20 {
		t.Errorf("it took %d MiB", grown>>20)
	}
}

func TestHostileEntriesTouchNothing(t *testing.T) {
	outside := t.TempDir()
	target := filepath.Join(outside, "x")
	files := []scantest.File{
		{Name: target, Content: "absolute"},
		{Name: "../../../../" + target, Content: "above"},
		{Name: "etc/link", Type: tar.TypeSymlink, Link: target},
		{Name: "app/node_modules/a/package.json", Type: tar.TypeSymlink, Link: "/etc/passwd"},
		{Name: "app/node_modules/b/package.json", Type: tar.TypeChar},
		{Name: "app/node_modules/c/package.json", Type: tar.TypeFifo},
		{Name: "usr/share/doc/x", Type: tar.TypeSymlink, Link: "../../../../../../etc"},
		{Name: "usr/share/doc/y", Type: tar.TypeSymlink, Link: "y"},
		module("lodash", "4.17.4"),
	}
	got, reason := list(t, scantest.Tar(t, files...))
	if reason != "" || fmt.Sprint(got) != "[npm lodash 4.17.4]" {
		t.Errorf("got %v %s", got, reason)
	}
	if left, _ := os.ReadDir(outside); len(left) > 0 {
		t.Errorf("written outside: %v", left)
	}
}

// Links of copyright files in a circle end.
func TestCopyrightFilesThatLinkInACircle(t *testing.T) {
	files := append(scantest.Debian12(), scantest.Dpkg(scantest.Deb{Name: "a", Version: "1"}),
		scantest.File{Name: "usr/share/doc/a", Type: tar.TypeSymlink, Link: "b"}, scantest.File{Name: "usr/share/doc/b", Type: tar.TypeSymlink, Link: "a"})
	if inv := inventoryOf(t, scantest.Tar(t, files...)); len(inv.Packages) != 1 || inv.Packages[0].License != "" {
		t.Errorf("%+v", inv)
	}
}
