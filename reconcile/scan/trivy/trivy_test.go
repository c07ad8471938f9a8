package trivy

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

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

func fake(behaviour string, args []string) int {
	command, last := args[0], args[len(args)-1]
	var image string
	var err error
	switch command {
	case "image":
		if err = checkFlags(args); err == nil {
			err = remember(behaviour, args)
		}
		if err == nil {
			dir, _, _ := strings.Cut(last, "@")
			image, err = scantest.WhichLayout(dir)
		}
	case "sbom":
		if err = checkFlags(args); err == nil {
			image, err = whose(last)
		}
	case "convert":
		image, err = whose(last)
	default:
		err = fmt.Errorf("unknown command %q", command)
	}
	if err != nil {
		return scantest.Replay(scantest.Record{}, err)
	}
	r, err := scantest.ReadRecord(records(), image, command)
	switch behaviour {
	case "-fails":
		r = scantest.Record{Exit: 1, Errors: "FATAL fatal error\n"}
	case "-prints-nonsense":
		r.Output = "{]"
	case "-prints-another-schema":
		r.Output = `{"SchemaVersion":3,"Results":[]}`
	case "-finds-less-in-its-sbom":
		if command == "sbom" {
			r.Output = strings.ReplaceAll(r.Output, "CVE-2026-8376", "CVE-2026-99999")
		}
	case "-lists-no-packages":
		r.Output = strings.ReplaceAll(r.Output, `"Packages"`, `"Pkgs"`)
	case "-says-end-of-life":
		r.Output = strings.Replace(r.Output, `"Family": "debian",`, `"Family": "debian", "EOSL": true,`, 1)
	}
	return scantest.Replay(r, err)
}

// checkFlags sees to it that what makes the real one touch a network is turned off, and that it finds its database.
func checkFlags(args []string) error {
	for _, f := range []string{"--skip-db-update", "--skip-java-db-update", "--offline-scan", "--skip-version-check", "--disable-telemetry", "--skip-vex-repo-update", "--list-all-pkgs"} {
		if !slices.Contains(args, f) {
			return fmt.Errorf("%s is missing", f)
		}
	}
	_, err := os.ReadFile(filepath.Join(args[slices.Index(args, "--cache-dir")+1], "db", "metadata.json"))
	return err
}

// remember does what trivy's cache of layers does: it fails if something is still there from another scan.
func remember(behaviour string, args []string) error {
	cache := args[slices.Index(args, "--cache-dir")+1]
	if _, err := os.Stat(filepath.Join(cache, "fanal")); err == nil {
		return fmt.Errorf("the cache has layers of another scan")
	}
	if behaviour == "-writes-to-its-database" {
		if err := os.WriteFile(filepath.Join(cache, "db", "metadata.json"), []byte("{}"), 0o600); err != nil {
			return fmt.Errorf("can't write: %w", err)
		}
	}
	if err := os.Mkdir(filepath.Join(cache, "fanal"), 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(cache, "fanal", "fanal.db"), []byte("layers"), 0o600)
}

// whose names the image that a report or an SBOM is of. That of the liar has only one package.
func whose(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if image, err := scantest.Which(b); err == nil {
		return image, nil
	}
	return "liar", nil
}

// database makes one that covers what the sources are about.
func advisories(t testing.TB, updated time.Time, sources ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "db"), 0o700); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(map[string]any{"Version": schema, "UpdatedAt": updated})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "db", "metadata.json"), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(filepath.Join(dir, "db", "trivy.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte("data-source"))
		for _, s := range sources {
			if err == nil {
				err = b.Put([]byte(s), []byte("{}"))
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var all = []string{"debian 12", "npm::GitHub Security Advisory Npm", "go::GitHub Security Advisory Go"}

func scanner(t testing.TB, o external.Options) *Scanner {
	t.Helper()
	o.Name = usualName
	if o.Program == "" {
		o.Program = scantest.Fake(t, usualName)
	}
	if o.Database == "" {
		o.Database = advisories(t, time.Now(), all...)
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

func scan(t *testing.T, s *Scanner) reconcile.Scan {
	t.Helper()
	l := scantest.Vulnerable(t)
	got, err := s.Scan(t.Context(), l, reconcile.Image{Digest: l.Manifest})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func noVerdict(t *testing.T, s *Scanner, want string) {
	t.Helper()
	if got := scan(t, s); !strings.Contains(got.NoVerdict, want) || len(got.Vulnerabilities) > 0 {
		t.Errorf("no verdict %q, %d vulnerabilities; want %q", got.NoVerdict, len(got.Vulnerabilities), want)
	}
}

func TestWithoutADatabaseThereIsNoVerdict(t *testing.T) {
	noVerdict(t, scanner(t, external.Options{Database: t.TempDir()}), "there is no database")
}

// With --skip-db-update the real one takes a database of any age, and says nothing.
func TestAStaleDatabase(t *testing.T) {
	old := time.Now().Add(-73 * time.Hour)
	noVerdict(t, scanner(t, external.Options{Database: advisories(t, old, all...)}), "3 days old; at most 3 days is allowed")
	if got := scan(t, scanner(t, external.Options{Database: advisories(t, old, all...), MaxAge: 96 * time.Hour})); got.NoVerdict != "" {
		t.Errorf("no verdict: %s", got.NoVerdict)
	}
	noVerdict(t, scanner(t, external.Options{Database: advisories(t, time.Time{}, all...)}), "the age of its database is unknown")
}

func TestADamagedDatabase(t *testing.T) {
	for name, content := range map[string]string{"metadata.json": "{]", "trivy.db": "no database at all"} {
		dir := advisories(t, time.Now(), all...)
		if err := os.WriteFile(filepath.Join(dir, "db", name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		noVerdict(t, scanner(t, external.Options{Database: dir}), "can't be read")
	}
	dir := advisories(t, time.Now(), all...)
	if err := os.WriteFile(filepath.Join(dir, "db", "metadata.json"), []byte(`{"Version":1,"UpdatedAt":"2026-11-26T00:00:00Z"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	noVerdict(t, scanner(t, external.Options{Database: dir}), "its database has schema 1, not 2")
}

func TestAnEcosystemThatTheDatabaseDoesNotCover(t *testing.T) {
	db := advisories(t, time.Now(), "debian 11", "npm::GitHub Security Advisory Npm", "go::GitHub Security Advisory Go")
	noVerdict(t, scanner(t, external.Options{Database: db}), "its database has nothing about Debian:12 (4 packages)")
}

func TestWhatGoesWrong(t *testing.T) {
	for behaviour, want := range map[string]string{
		"-fails":                  "it failed (exit status 1): FATAL fatal error",
		"-prints-nonsense":        "its output is not what it should be",
		"-prints-another-schema":  "its schema is 3, not 2",
		"-lists-no-packages":      "which is not in its list of packages",
		"-writes-to-its-database": "can't write",
	} {
		t.Run(behaviour, func(t *testing.T) {
			noVerdict(t, scanner(t, external.Options{Program: scantest.Fake(t, usualName+behaviour)}), want)
		})
	}
	noVerdict(t, scanner(t, external.Options{Version: "v0.69.4"}), "as the catalog says")
	noVerdict(t, scanner(t, external.Options{Checksum: reconcile.MustDigest("sha256:" + strings.Repeat("0", 64))}), "it was not run")
}

// The real one takes the first of several manifests in silence; it isn't even asked.
func TestALayoutWithTwoManifests(t *testing.T) {
	l := scantest.Vulnerable(t)
	b, err := os.ReadFile(filepath.Join(l.Dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	other := `"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":1,"digest":"sha256:` + strings.Repeat("0", 64) + `"},`
	if err := os.WriteFile(filepath.Join(l.Dir, "index.json"), []byte(strings.Replace(string(b), `"manifests":[`, other, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := scanner(t, external.Options{}).Scan(t.Context(), l, reconcile.Image{Digest: l.Manifest}); err == nil || !strings.Contains(err.Error(), "and no other") {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestEndOfLife(t *testing.T) {
	got := scan(t, scanner(t, external.Options{Program: scantest.Fake(t, usualName+"-says-end-of-life")}))
	if got.Support == nil || !got.Support.Ended {
		t.Errorf("%+v", got.Support)
	}
	if got := scan(t, scanner(t, external.Options{})); got.Support != nil { // it may not know the release
		t.Errorf("%+v", got.Support)
	}
}

// An SBOM isn't portable: one from which it doesn't find the same again is no inventory.
func TestAnSBOMInWhichItFindsLess(t *testing.T) {
	s := scanner(t, external.Options{Program: scantest.Fake(t, usualName+"-finds-less-in-its-sbom")})
	if got := scan(t, s); got.NoVerdict != "" || got.Inventory != nil || len(got.Vulnerabilities) == 0 {
		t.Errorf("%+v", got)
	}
	if got, err := s.Rescan(t.Context(), reconcile.Inventory{}, reconcile.Image{}); err != nil || !strings.Contains(got.NoVerdict, "no SBOM") {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestSources(t *testing.T) {
	for source, want := range map[string]string{
		"debian 12": "Debian:12", "alpine 3.18": "Alpine:v3.18", "ubuntu 22.04": "Ubuntu:22.04", "Red Hat": "Red Hat,CentOS", "rocky 9": "Rocky Linux:9", "alma 8": "AlmaLinux:8",
		"amazon linux 2": "Amazon Linux:2", "Oracle Linux 9": "Oracle Linux:9", "wolfi": "Wolfi", "pip::GitHub Security Advisory pip": "PyPI", "k8s::Official": "", "nonsense": "",
	} {
		if got := strings.Join(ecosystemsOf(source), ","); got != want {
			t.Errorf("%s: %q, want %q", source, got, want)
		}
	}
}

func TestParse(t *testing.T) {
	b, err := fs.ReadFile(records(), "vulnerable.image.json")
	if err != nil {
		t.Fatal(err)
	}
	s, packages, err := parse(b)
	if err != nil || s.Distribution != "debian:12" || len(s.Vulnerabilities) != 10 {
		t.Fatalf("%q, %d vulnerabilities, %v", s.Distribution, len(s.Vulnerabilities), err)
	}
	i := slices.IndexFunc(packages, func(p reconcile.Package) bool { return p.Name == "lodash" })
	if p := packages[i]; p.License != "MIT" || p.Ecosystem != "npm" || p.Layer == "" || p.Path != "app/node_modules/lodash/package.json" {
		t.Errorf("%+v", p)
	}
	i = slices.IndexFunc(s.Vulnerabilities, func(v reconcile.Vulnerability) bool { return v.ID == "CVE-2020-7598" })
	if v := s.Vulnerabilities[i]; !slices.Equal(v.FixedIn, []string{"0.2.1", "1.2.3"}) || v.Published.IsZero() || !slices.Equal(v.Aliases, []string{"GHSA-vh95-rmgr-6w4m"}) {
		t.Errorf("%+v", v)
	}
	i = slices.IndexFunc(packages, func(p reconcile.Package) bool { return p.Name == "libssl3" })
	if p := packages[i]; p.Source != "openssl" || p.Ecosystem != "Debian:12" {
		t.Errorf("%+v", p)
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"vulnerable.image.json", "clean.image.json", "vulnerable.sbom.json"} {
		f.Add(scantest.Trimmed(f, records(), name))
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
