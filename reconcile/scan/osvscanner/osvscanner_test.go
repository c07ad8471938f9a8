package osvscanner

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/scan/external"
	"github.com/assay-oci/assay/reconcile/scan/scantest"
)

//go:embed testdata/recorded
var recorded embed.FS

func records() fs.FS {
	sub, err := fs.Sub(recorded, "testdata/recorded")
	if err != nil {
		panic(err)
	}
	return sub
}

// The test's own binary is the scanner, where it is started under one of these names.
func TestMain(m *testing.M) {
	name := filepath.Base(os.Args[0])
	if !strings.HasPrefix(name, usualName) {
		os.Exit(m.Run())
	}
	os.Exit(fake(strings.TrimPrefix(name, usualName), os.Args[1:]))
}

func fake(behaviour string, args []string) int {
	if slices.Contains(args, "--version") {
		fmt.Print("osv-scanner version: 2.5.1\nosv-scalibr version: 0.5.2\ncommit: n/a\nbuilt at: n/a\n")
		return 0
	}
	if dir := os.Getenv("OSV_SCANNER_LOCAL_DB_CACHE_DIRECTORY"); dir == "" {
		return 98
	} else if _, err := os.Stat(filepath.Join(dir, "osv-scalibr")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 98
	}
	switch behaviour {
	case "-fails":
		fmt.Fprintln(os.Stderr, "it went wrong")
		return 127
	case "-prints-nonsense":
		fmt.Print("{]")
		return 0
	case "-floods":
		for {
			if _, err := os.Stdout.Write(make([]byte, 1<<20)); err != nil {
				return 1
			}
		}
	}
	image, err := scantest.WhichArchive(args[len(args)-1])
	if err != nil {
		return scantest.Replay(scantest.Record{}, err)
	}
	return scantest.Replay(scantest.ReadRecord(records(), image, "image"))
}

const years = 50 * 365 * 24 * time.Hour // the advisories are as old as they are

func advisories(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Rename(scantest.OSV(t), filepath.Join(dir, "osv-scalibr")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func scanner(t testing.TB, o external.Options) *Scanner {
	t.Helper()
	o.Name = usualName
	if o.Program == "" {
		o.Program = scantest.Fake(t, usualName)
	}
	if o.Database == "" {
		o.Database = advisories(t)
	}
	if o.MaxAge == 0 {
		o.MaxAge = years
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	scantest.Run(t, func(t *testing.T) reconcile.Scanner { return scanner(t, external.Options{}) })
}

func noVerdict(t *testing.T, s *Scanner, want string) {
	t.Helper()
	l := scantest.Vulnerable(t)
	got, err := s.Scan(t.Context(), l, reconcile.Image{Digest: l.Manifest})
	if err != nil || !strings.Contains(got.NoVerdict, want) || len(got.Vulnerabilities) > 0 {
		t.Errorf("no verdict %q, %d vulnerabilities, %v; want %q", got.NoVerdict, len(got.Vulnerabilities), err, want)
	}
}

// Without a database the real one exits as if there were nothing to find.
func TestWithoutADatabaseThereIsNoVerdict(t *testing.T) {
	empty := t.TempDir()
	if err := os.MkdirAll(filepath.Join(empty, "osv-scalibr", "npm"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "none"), empty} {
		noVerdict(t, scanner(t, external.Options{Database: dir}), "there is no database")
	}
}

func TestAnEcosystemThatTheDatabaseDoesNotCover(t *testing.T) {
	db := advisories(t)
	if err := os.RemoveAll(filepath.Join(db, "osv-scalibr", "Go")); err != nil {
		t.Fatal(err)
	}
	noVerdict(t, scanner(t, external.Options{Database: db}), "its database has nothing about Go (3 packages)")
}

// Only one archive was updated: that of the packages in question was not.
func TestAStaleDatabaseOfOneEcosystem(t *testing.T) {
	db := advisories(t)
	scantest.Zip(t, filepath.Join(db, "osv-scalibr", "npm", "all.zip"), map[string]string{"X.json": `{"id":"X","modified":"2026-11-25T00:00:00Z"}`})
	now := func() time.Time { return time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC) }
	noVerdict(t, scanner(t, external.Options{Database: db, MaxAge: 7 * 24 * time.Hour, Now: now}), "its database is of 2024-05-02")
}

func TestADamagedDatabase(t *testing.T) {
	db := advisories(t)
	if err := os.WriteFile(filepath.Join(db, "osv-scalibr", "Debian", "all.zip"), []byte("PK no zip"), 0o600); err != nil {
		t.Fatal(err)
	}
	noVerdict(t, scanner(t, external.Options{Database: db}), "can't be read")
}

func TestWhatGoesWrong(t *testing.T) {
	for behaviour, want := range map[string]string{"-fails": "it failed (exit status 127): it went wrong", "-prints-nonsense": "its output is not what it should be", "-floods": "it printed more than"} {
		t.Run(behaviour, func(t *testing.T) {
			noVerdict(t, scanner(t, external.Options{Program: scantest.Fake(t, usualName+behaviour)}), want)
		})
	}
	noVerdict(t, scanner(t, external.Options{Version: "2.6.0"}), "it is version 2.5.1, not 2.6.0 as the catalog says")
	noVerdict(t, scanner(t, external.Options{Checksum: reconcile.MustDigest("sha256:" + strings.Repeat("0", 64))}), "it was not run")
}

func TestParse(t *testing.T) {
	b, err := fs.ReadFile(records(), "vulnerable.image.json")
	if err != nil {
		t.Fatal(err)
	}
	s, packages, err := parse(b)
	if err != nil || s.Distribution != "debian:12" || len(packages) != 9 || len(s.Vulnerabilities) != 10 {
		t.Fatalf("%q, %d packages, %d vulnerabilities, %v", s.Distribution, len(packages), len(s.Vulnerabilities), err)
	}
	i := slices.IndexFunc(packages, func(p reconcile.Package) bool { return p.Name == "libssl3" })
	if p := packages[i]; p.PURL != "pkg:deb/debian/libssl3@3.0.20-1~deb12u2" || p.Source != "openssl" || p.Path != "var/lib/dpkg/status" {
		t.Errorf("%+v", p)
	}
	i = slices.IndexFunc(s.Vulnerabilities, func(v reconcile.Vulnerability) bool { return v.ID == "CVE-2020-7598" })
	if v := s.Vulnerabilities[i]; !slices.Equal(v.FixedIn, []string{"0.2.1", "1.2.3"}) || v.Published.IsZero() || !slices.Equal(v.Aliases, []string{"GHSA-vh95-rmgr-6w4m"}) {
		t.Errorf("%+v", v)
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"vulnerable", "clean", "liar"} {
		f.Add(scantest.Trimmed(f, records(), name+".image.json"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, packages, err := parse(b)
		if err != nil {
			return
		}
		for _, v := range s.Vulnerabilities {
			if v.ID == "" || len(packages) == 0 {
				t.Errorf("%+v of %d packages", v, len(packages))
			}
		}
	})
}
