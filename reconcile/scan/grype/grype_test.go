package grype

import (
	"bytes"
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
	if !strings.HasPrefix(name, usualName) || strings.HasSuffix(name, ".test") {
		os.Exit(m.Run())
	}
	os.Exit(fake(strings.TrimPrefix(name, usualName), os.Args[1:]))
}

// fake sees to it that what makes the real one touch a network, or refuse an old database before we can say why, is turned off.
func fake(behaviour string, args []string) int {
	for _, e := range []string{"GRYPE_DB_AUTO_UPDATE=false", "GRYPE_DB_VALIDATE_AGE=false", "GRYPE_CHECK_FOR_APP_UPDATE=false"} {
		if !slices.Contains(os.Environ(), e) {
			fmt.Fprintln(os.Stderr, "missing:", e)
			return 98
		}
	}
	command, image, err := "image", "", error(nil)
	source := args[len(args)-1]
	if dir, ok := strings.CutPrefix(source, "oci-dir:"); ok {
		image, err = scantest.WhichLayout(dir)
	} else if path, ok := strings.CutPrefix(source, "sbom:"); ok {
		command = "sbom"
		var b []byte
		if b, err = os.ReadFile(path); err == nil {
			image, err = whose(b)
		}
	}
	if err != nil {
		return scantest.Replay(scantest.Record{}, err)
	}
	r, err := scantest.ReadRecord(records(), image, command)
	if err != nil {
		return scantest.Replay(r, err)
	}
	sbom, err := scantest.ReadRecord(records(), image, command+"-sbom")
	if err != nil {
		return scantest.Replay(sbom, err)
	}
	switch behaviour {
	case "-fails":
		r = scantest.Record{Exit: 1, Errors: "1 error occurred: failed to load vulnerability db\n"}
	case "-prints-nonsense":
		r.Output = "{]"
	case "-prints-another-report":
		r.Output = `{"results":[]}`
	case "-has-an-invalid-database":
		r.Output = strings.Replace(r.Output, `"valid":true`, `"valid":false`, 1)
	case "-writes-no-sbom":
		return scantest.Replay(r, nil)
	case "-finds-less-in-its-sbom":
		if command == "sbom" {
			r.Output = strings.ReplaceAll(r.Output, `"id":"CVE-2026-8376"`, `"id":"CVE-2026-99999"`)
		}
	}
	for i, a := range args {
		if name, ok := strings.CutPrefix(a, "cyclonedx-json="); ok && args[i-1] == "--output" {
			if err := os.WriteFile(name, []byte(sbom.Output), 0o600); err != nil {
				return scantest.Replay(r, err)
			}
		}
	}
	return scantest.Replay(r, nil)
}

// whose names the image that an SBOM is of. That of the liar has only one package, of the broken ones none.
func whose(b []byte) (string, error) {
	if image, err := scantest.Which(b); err == nil {
		return image, nil
	}
	if bytes.Contains(b, []byte("base-files")) {
		return "liar", nil
	}
	return "empty", nil
}

// now is a little after the database of the records was made.
func now(t testing.TB) func() time.Time {
	t.Helper()
	b, err := fs.ReadFile(records(), "vulnerable.image.json")
	if err != nil {
		t.Fatal(err)
	}
	s, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return func() time.Time { return s.Database.Add(time.Hour) }
}

func scanner(t testing.TB, o external.Options) *Scanner {
	t.Helper()
	o.Name = usualName
	if o.Program == "" {
		o.Program = scantest.Fake(t, usualName)
	}
	if o.Database == "" {
		o.Database = t.TempDir()
	}
	if o.Now == nil {
		o.Now = now(t)
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

func TestWithoutADatabaseThereIsNoVerdict(t *testing.T) {
	noVerdict(t, scanner(t, external.Options{Database: filepath.Join(t.TempDir(), "none")}), "there is no database")
}

func TestAStaleDatabase(t *testing.T) {
	later := func() time.Time { return now(t)().Add(5 * 24 * time.Hour) }
	noVerdict(t, scanner(t, external.Options{Now: later}), "5 days old; at most 5 days is allowed")
}

func TestWhatGoesWrong(t *testing.T) {
	for behaviour, want := range map[string]string{
		"-fails":                   "it failed (exit status 1): 1 error occurred: failed to load vulnerability db",
		"-prints-nonsense":         "its output is not what it should be",
		"-prints-another-report":   "it is no report of grype's",
		"-has-an-invalid-database": "its database is not valid",
		"-writes-no-sbom":          "its output is not what it should be",
	} {
		t.Run(behaviour, func(t *testing.T) {
			noVerdict(t, scanner(t, external.Options{Program: scantest.Fake(t, usualName+behaviour)}), want)
		})
	}
	noVerdict(t, scanner(t, external.Options{Version: "0.111.0"}), "it is version 0.110.0, not 0.111.0 as the catalog says")
	noVerdict(t, scanner(t, external.Options{Checksum: reconcile.MustDigest("sha256:" + strings.Repeat("0", 64))}), "it was not run")
}

// An SBOM isn't portable: one from which it doesn't find the same again is no inventory.
func TestAnSBOMInWhichItFindsLess(t *testing.T) {
	s := scanner(t, external.Options{Program: scantest.Fake(t, usualName+"-finds-less-in-its-sbom")})
	l := scantest.Vulnerable(t)
	got, err := s.Scan(t.Context(), l, reconcile.Image{Digest: l.Manifest})
	if err != nil || got.NoVerdict != "" || got.Inventory != nil || len(got.Vulnerabilities) == 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := s.Rescan(t.Context(), reconcile.Inventory{}, reconcile.Image{}); err != nil || !strings.Contains(got.NoVerdict, "no SBOM") {
		t.Errorf("%+v, %v", got, err)
	}
}

// The real one refuses a layout with two manifests; it isn't even asked.
func TestALayoutWithTwoManifests(t *testing.T) {
	l := scantest.Vulnerable(t)
	b, err := os.ReadFile(filepath.Join(l.Dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(b, []byte(`"manifests":[`)) + len(`"manifests":[`)
	other := `{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":1,"digest":"sha256:` + strings.Repeat("0", 64) + `"},`
	if err := os.WriteFile(filepath.Join(l.Dir, "index.json"), append(append(slices.Clone(b[:i]), other...), b[i:]...), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := scanner(t, external.Options{}).Scan(t.Context(), l, reconcile.Image{Digest: l.Manifest}); err == nil || !strings.Contains(err.Error(), "and no other") {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestParse(t *testing.T) {
	b, err := fs.ReadFile(records(), "vulnerable.image.json")
	if err != nil {
		t.Fatal(err)
	}
	s, err := parse(b)
	if err != nil || len(s.Vulnerabilities) != 10 || s.Database.IsZero() {
		t.Fatalf("%d vulnerabilities, database of %v, %v", len(s.Vulnerabilities), s.Database, err)
	}
	if !slices.Contains(s.Ecosystems, "Debian") || !slices.Contains(s.Ecosystems, "npm") || slices.Contains(s.Ecosystems, "Alpine") {
		t.Errorf("it covers %v", s.Ecosystems)
	}
	i := slices.IndexFunc(s.Vulnerabilities, func(v reconcile.Vulnerability) bool {
		return v.Package.Name == "golang.org/x/net" && v.ID == "CVE-2023-39325"
	})
	if v := s.Vulnerabilities[i]; v.Package.Version != "0.7.0" || v.Package.PURL != "pkg:golang/golang.org/x/net@0.7.0" || !slices.Equal(v.Aliases, []string{"GHSA-4374-p667-p6c8"}) || v.Package.Layer == "" {
		t.Errorf("%+v", v)
	}
	i = slices.IndexFunc(s.Vulnerabilities, func(v reconcile.Vulnerability) bool { return v.ID == "CVE-2011-4116" })
	if v := s.Vulnerabilities[i]; v.Severity != reconcile.Negligible || v.Package.Source != "perl" {
		t.Errorf("%+v", v)
	}
	if b, err = fs.ReadFile(records(), "vulnerable.image-sbom.json"); err != nil {
		t.Fatal(err)
	}
	packages, err := parseSBOM(b, s.Distribution)
	if err != nil || len(packages) != 8 {
		t.Fatalf("%d packages, %v", len(packages), err)
	}
	i = slices.IndexFunc(packages, func(p reconcile.Package) bool { return p.Name == "lodash" })
	if p := packages[i]; p.License != "MIT" || p.Ecosystem != "npm" || p.Layer == "" || p.Path != "app/node_modules/lodash/package.json" {
		t.Errorf("%+v", p)
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"vulnerable.image.json", "clean.image.json", "vulnerable.image-sbom.json", "clean.image-sbom.json"} {
		f.Add(scantest.Trimmed(f, records(), name))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := parse(b); err == nil {
			for _, v := range s.Vulnerabilities {
				if v.ID == "" {
					t.Errorf("no identifier: %+v", v)
				}
			}
		}
		_, _ = parseSBOM(b, "debian:12")
	})
}
