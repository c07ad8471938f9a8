package builtin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/scan/scantest"
)

const goodRecord = `{"id":"GHSA-aaaa-bbbb-cccc","modified":"2026-01-01T00:00:00Z","aliases":["CVE-2026-0001"],` +
	`"affected":[{"package":{"ecosystem":"npm","name":"lodash"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"5.0.0"}]}]}]}`

func zipOf(t testing.TB, records ...string) string {
	t.Helper()
	files := map[string]string{}
	for i, r := range records {
		files[fmt.Sprintf("%d.json", i)] = r
	}
	return scantest.Zip(t, filepath.Join(t.TempDir(), "all.zip"), files)
}

func mustImport(t testing.TB, dir string, from ...string) Database {
	t.Helper()
	d, err := Import(t.Context(), dir, from...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestImportSaysWhatItRead(t *testing.T) {
	dir := t.TempDir()
	osv := scantest.OSV(t)
	d := mustImport(t, dir, osv)
	if want := []string{"Debian:12", "Go", "npm"}; !slices.Equal(d.Names(), want) {
		t.Errorf("ecosystems %v, want %v", d.Names(), want)
	}
	if want := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC); d.Records != 14 || !d.Newest.Equal(want) || !strings.HasPrefix(d.Digest, "sha256:") {
		t.Errorf("%+v", d)
	}
	again, err := Info(dir)
	if err != nil || again.Digest != d.Digest || again.Records != d.Records || !again.Imported.Equal(d.Imported) {
		t.Errorf("%+v, %v", again, err)
	}
	if same := mustImport(t, t.TempDir(), filepath.Join(osv, "npm"), filepath.Join(osv, "Go"), filepath.Join(osv, "Debian", "all.zip")); same.Digest != d.Digest {
		t.Error("the same files in another order have another digest")
	}
	if _, err := Info(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no database: %v", err)
	}
}

func TestOneRecordThatIsNotUnderstoodFailsTheImport(t *testing.T) {
	change := func(old, new string) string {
		s := strings.Replace(goodRecord, old, new, 1)
		if s == goodRecord {
			t.Fatalf("%q is not in the record", old)
		}
		return s
	}
	tests := map[string]struct{ record, want string }{
		"no JSON":               {"{", "not an OSV record"},
		"another shape":         {change(`"aliases":["CVE-2026-0001"]`, `"aliases":"CVE-2026-0001"`), "not an OSV record"},
		"a list":                {"[]", "not an OSV record"},
		"no id":                 {change(`"GHSA-aaaa-bbbb-cccc"`, `""`), "no id"},
		"no time":               {change(`"modified"`, `"mod"`), "modified"},
		"no affected":           {`{"id":"X","modified":"2026-01-01T00:00:00Z"}`, "what is affected"},
		"unknown ecosystem":     {change(`"npm"`, `"Plan 9"`), `ecosystem "Plan 9" is not known`},
		"unknown range":         {change(`"SEMVER"`, `"LUNAR"`), "unknown type"},
		"unknown event":         {change(`"fixed"`, `"repaired"`), "event that is not understood"},
		"two events in one":     {change(`{"introduced":"0"},{"fixed":"5.0.0"}`, `{"introduced":"0","fixed":"5.0.0"}`), "event that is not understood"},
		"a range without start": {change(`{"introduced":"0"},`, ``), "begins nowhere"},
		"package without name":  {change(`"lodash"`, `""`), "no name"},
		"from the future":       {change(`2026-01-01`, `2999-01-01`), "future"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			before := mustImport(t, dir, zipOf(t, goodRecord))
			_, err := Import(t.Context(), dir, zipOf(t, goodRecord, strings.Replace(test.record, "GHSA-aaaa", "GHSA-zzzz", 1)))
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "1.json") {
				t.Errorf("got %v, want %q and the file's name", err, test.want)
			}
			after, err := Info(dir)
			if err != nil || after.Digest != before.Digest {
				t.Errorf("the database changed: %+v, %v", after, err)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "import-*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestImportOfNothing(t *testing.T) {
	empty := t.TempDir()
	noZip := filepath.Join(empty, "x.zip")
	if err := os.WriteFile(noZip, []byte("no zip"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, from := range map[string][]string{
		"no file is named":  nil,
		"holds no zip file": {t.TempDir()},
		"no such file":      {filepath.Join(empty, "absent.zip")},
		"not a valid zip":   {noZip},
		"holds no records":  {scantest.Zip(t, filepath.Join(t.TempDir(), "a.zip"), map[string]string{"readme.txt": "x"})},
	} {
		if _, err := Import(t.Context(), t.TempDir(), from...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Import(ctx, t.TempDir(), zipOf(t, goodRecord)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestWhatIsLeftOutOfADatabase(t *testing.T) {
	withdrawn := strings.Replace(goodRecord, `"aliases"`, `"withdrawn":"2026-02-01T00:00:00Z","aliases"`, 1)
	withdrawn = strings.Replace(withdrawn, "2026-01-01", "2026-02-01", 1)
	dir := t.TempDir()
	mustImport(t, dir, zipOf(t, withdrawn, goodRecord)) // the newer one counts, whatever the order
	if got := lookup(t, dir, "npm", "lodash", "4.0.0"); len(got) != 0 {
		t.Errorf("a withdrawn record was found: %v", got)
	}
	actions := strings.Replace(goodRecord, `"affected":[`, `"new_field":{},"affected":[{"package":{"ecosystem":"GitHub Actions","name":"x"},"versions":["1"]},`+
		`{"ranges":[{"type":"GIT","repo":"https://example.com/x","events":[{"introduced":"0"}]}]},`, 1)
	mustImport(t, dir, zipOf(t, actions))
	if got := lookup(t, dir, "npm", "lodash", "4.0.0"); len(got) != 1 {
		t.Errorf("a record that also speaks of what can't be installed: %v", got)
	}
}

func lookup(t testing.TB, dir, ecosystem, name, version string) []reconcile.Vulnerability {
	t.Helper()
	db, err := openDatabase(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer db.close()
	out, err := db.match(t.Context(), []installed{{reconcile.Package{Name: name, Version: version, Ecosystem: ecosystem}, []string{name}, version}})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestScanWithoutAUsableDatabase(t *testing.T) {
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	npmOnly := t.TempDir()
	mustImport(t, npmOnly, zipOf(t, goodRecord))
	tests := map[string]struct {
		options Options
		want    string
	}{
		"none":         {Options{Dir: t.TempDir(), Hint: "run `assay db update`"}, "there is no advisory database; run `assay db update`"},
		"too old":      {Options{Dir: imported(t), MaxAge: 240 * time.Hour, Hint: "update it"}, "is 20 days old, more than 10 days; update it"},
		"not covering": {Options{Dir: npmOnly}, "nothing about Debian:12 (4 packages), Go (3 packages)"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.options.Now = func() time.Time { return now }
			l := scantest.Vulnerable(t)
			got, err := New(test.options).Scan(t.Context(), l, reconcile.Image{})
			if err != nil || !strings.Contains(got.NoVerdict, test.want) || len(got.Vulnerabilities) > 0 {
				t.Errorf("%+v, %v; want %q", got, err, test.want)
			}
		})
	}
}

func TestDamagedDatabaseIsAnError(t *testing.T) {
	dir := imported(t)
	path := filepath.Join(dir, databaseFile)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, damaged := range [][]byte{nil, []byte("nonsense"), b[:3*os.Getpagesize()]} {
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		l := scantest.Clean(t)
		if got, err := New(Options{Dir: dir}).Scan(t.Context(), l, reconcile.Image{}); err == nil && got.NoVerdict == "" {
			t.Errorf("%d bytes: a verdict: %+v", len(damaged), got)
		}
	}
}

func TestScansGoOnWhileTheDatabaseIsReplaced(t *testing.T) {
	dir := imported(t)
	l := scantest.Clean(t)
	s := New(Options{Dir: dir})
	osv := scantest.OSV(t)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 3 {
				if _, err := Import(t.Context(), dir, osv); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 20 {
		got, err := s.Scan(t.Context(), l, reconcile.Image{})
		if err != nil || got.NoVerdict != "" {
			t.Fatalf("%v %s", err, got.NoVerdict)
		}
	}
	wg.Wait()
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(goodRecord), "4.17.4")
	f.Add([]byte(`{"id":"x","modified":"2026-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"Debian:12","name":"lodash"},"versions":["1"],"severity":[{"score":"CVSS:4.0/AV:N"}]}]}`), "1:2-3")
	f.Fuzz(func(t *testing.T, b []byte, version string) {
		r, err := parseRecord(b)
		if err != nil {
			return
		}
		for _, a := range r.Affected {
			if a.Package.Name == "" || a.Package.Ecosystem == "" {
				t.Errorf("an affected package without a name: %+v", a)
			}
		}
		for key, e := range r.entries() {
			ecosystem, name, _ := strings.Cut(strings.TrimSuffix(key, "\x00"), "\x00")
			p := installed{reconcile.Package{Ecosystem: ecosystem}, []string{name}, version}
			_, fixed, severity := e.affects(p)
			for _, v := range r.about(p, fixed, severity) {
				if v.ID == "" {
					t.Error("a vulnerability without a name")
				}
			}
		}
	})
}
