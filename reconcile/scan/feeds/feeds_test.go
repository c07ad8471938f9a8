package feeds

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/google/go-cmp/cmp"
)

const (
	scores = "#model_version:v2025.03.14,score_date:2026-11-20T12:55:00Z\ncve,epss,percentile\nCVE-2021-44228,0.94358,0.99957\nCVE-2026-0001,0.00012,0.01\n"
	known  = `{"catalogVersion":"2026.11.20","dateReleased":"2026-11-20T18:00:00.1Z","count":1,"vulnerabilities":[{"cveID":"CVE-2021-44228","vendorProject":"Apache"}]}`
	dates  = `{"schema_version":"1.2.0","generated_at":"2026-11-20T00:00:00+00:00","total":3,"result":[` +
		`{"name":"debian","releases":[{"name":"12","isEol":true,"eolFrom":"2026-06-10","eoesFrom":"2028-06-30"}]},` +
		`{"name":"alpine-linux","releases":[{"name":"3.20","isEol":true,"eolFrom":"2026-04-01"},{"name":"3.99","isEol":false,"eolFrom":null}]},` +
		`{"name":"other","releases":[{"name":"1"}]}]}`
)

func file(t testing.TB, name, content string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func zipped(t testing.TB, content string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func imported(t testing.TB, dir string, k Kind, files ...string) Feed {
	t.Helper()
	f, err := Import(t.Context(), dir, k, files...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A fixed scanner says always the same.
type fixed reconcile.Scan

func (f fixed) Scan(context.Context, reconcile.Layout, reconcile.Image) (reconcile.Scan, error) {
	return reconcile.Scan(f), nil
}

type fixedRescanner struct{ fixed }

func (f fixedRescanner) Rescan(context.Context, reconcile.Inventory, reconcile.Image) (reconcile.Scan, error) {
	return reconcile.Scan(f.fixed), nil
}

func TestAnnotations(t *testing.T) {
	dir := t.TempDir()
	plain := reconcile.Scan{Scanner: "x", Distribution: "debian:12", Vulnerabilities: []reconcile.Vulnerability{{ID: "CVE-2021-44228"}, {ID: "GHSA-1", Aliases: []string{"CVE-2026-0001"}}, {ID: "CVE-2026-9"}}}
	s := Annotate(fixedRescanner{fixed(plain)}, dir)
	want := plain
	want.Support = &reconcile.Support{Until: time.Date(2028, 6, 30, 0, 0, 0, 0, time.UTC), Data: builtinData}
	scan := func() reconcile.Scan {
		got, err := s.Scan(t.Context(), reconcile.Layout{}, reconcile.Image{})
		if err != nil {
			t.Fatal(err)
		}
		again, err := s.(reconcile.Rescanner).Rescan(t.Context(), reconcile.Inventory{}, reconcile.Image{})
		if err != nil || cmp.Diff(got, again) != "" {
			t.Errorf("the rescan says something else: %v, %s", err, cmp.Diff(got, again))
		}
		return got
	}
	if d := cmp.Diff(want, scan()); d != "" {
		t.Errorf("without a feed: -want +got:\n%s", d)
	}
	imported(t, dir, EPSS, file(t, "e.csv.gz", zipped(t, scores)))
	imported(t, dir, KEV, file(t, "kev.json", known))
	f := imported(t, dir, Support, file(t, "full.json", dates))
	want.Vulnerabilities = []reconcile.Vulnerability{{ID: "CVE-2021-44228", EPSS: 0.94358, Exploited: true}, {ID: "GHSA-1", Aliases: []string{"CVE-2026-0001"}, EPSS: 0.00012}, {ID: "CVE-2026-9"}}
	want.Support.Data = f.Data
	if d := cmp.Diff(want, scan()); d != "" {
		t.Errorf("with feeds, which are seen at once: -want +got:\n%s", d)
	}
	if plain.Vulnerabilities[0].EPSS != 0 {
		t.Error("the scanner's own slice was changed")
	}
	if _, ok := Annotate(fixed(plain), dir).(reconcile.Rescanner); ok {
		t.Error("a scanner that can't rescan can")
	}
	said := &reconcile.Support{Ended: true}
	got, err := Annotate(fixed(reconcile.Scan{Distribution: "debian:12", Support: said}), dir).Scan(t.Context(), reconcile.Layout{}, reconcile.Image{})
	if err != nil || got.Support != said {
		t.Errorf("what the scanner said about support was replaced: %+v, %v", got.Support, err)
	}
}

func TestDamagedFeedIsAnError(t *testing.T) {
	dir := t.TempDir()
	imported(t, dir, KEV, file(t, "kev.json", known))
	for _, damage := range []string{"", "nonsense", zipped(t, "{"), zipped(t, `{"feed":{"kind":"epss"}}`)} {
		if err := os.WriteFile(path(dir, KEV), []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Annotate(fixed{}, dir).Scan(t.Context(), reconcile.Layout{}, reconcile.Image{}); err == nil || !strings.Contains(err.Error(), "import it again") {
			t.Errorf("%q: %v", damage, err)
		}
		if _, err := Info(dir); err == nil {
			t.Errorf("%q: it was described", damage)
		}
	}
}

func TestFeedsSayWhenTheyWereMade(t *testing.T) {
	dir := t.TempDir()
	if got, err := Info(dir); err != nil || len(got) != 0 {
		t.Errorf("nothing was imported: %v, %v", got, err)
	}
	e := imported(t, dir, EPSS, file(t, "e.csv", scores))
	k := imported(t, dir, KEV, file(t, "kev.json", known))
	s := imported(t, dir, Support, file(t, "full.json", dates))
	day := func(f Feed) string { return f.Data.Format(time.DateOnly) }
	if day(e) != "2026-11-20" || e.Entries != 2 || day(k) != "2026-11-20" || k.Entries != 1 || day(s) != "2026-11-20" || s.Entries != 3 {
		t.Errorf("%+v, %+v, %+v", e, k, s)
	}
	got, err := Info(dir)
	if d := cmp.Diff([]Feed{e, k, s}, got); err != nil || d != "" {
		t.Errorf("%v\n%s", err, d)
	}
}

func TestEndOfSupport(t *testing.T) {
	dir := t.TempDir()
	imported(t, dir, Support, file(t, "full.json", dates),
		file(t, "ubuntu.csv", "version,codename,series,created,release,eol,eol-server,eol-esm\n24.04 LTS,Noble,noble,2023-10-12,2024-04-25,2029-05-31,2029-05-31,2034-04-25\n26.10,X,x,2026-01-01\n"),
		file(t, "debian.csv", "version,codename,series,created,release,eol,eol-lts,eol-elts\n11,Bullseye,bullseye,2019-07-06,2021-08-14,2024-08-14,2026-08-31,2031-06-30\n,Sid,sid,1993-08-16\n"),
		file(t, "rocky-linux.json", `[{"cycle":"9","eol":"2032-05-31","extendedSupport":"2040-01-01"},{"cycle":8,"eol":true}]`))
	for distribution, want := range map[string]string{
		"debian:12": "2028-06-30", "debian:11": "2026-08-31", "ubuntu:24.04": "2029-05-31", "alpine:3.20.3": "2026-04-01", "rocky:9.3": "2032-05-31", "rocky:8.10": "ended",
		"alpine:3.99.1": "open", "rhel:9.4": "2032-05-31", // of the list that is always there
		"plan9:4": "unknown", "debian:": "unknown", "debian": "unknown", "": "unknown", "wolfi:20230201": "unknown",
	} {
		got, err := Annotate(fixed{Distribution: distribution}, dir).Scan(t.Context(), reconcile.Layout{}, reconcile.Image{})
		if err != nil {
			t.Fatal(err)
		}
		said := "unknown"
		switch s := got.Support; {
		case s == nil:
		case s.Ended:
			said = "ended"
		case s.Until.IsZero():
			said = "open"
		default:
			said = s.Until.Format(time.DateOnly)
		}
		if said != want {
			t.Errorf("%q: %s, want %s", distribution, said, want)
		}
	}
	for key, r := range fallback() {
		if _, err := time.Parse(time.DateOnly, r.Until); err != nil {
			t.Errorf("support.csv: %s ends on %q", key, r.Until)
		}
	}
}

func TestOneEntryThatIsNotUnderstoodFailsTheImport(t *testing.T) {
	tests := map[string]struct {
		kind    Kind
		name    string
		content string
		want    string
	}{
		"no such kind":                      {"x", "a", "x", "no such kind"},
		"EPSS of nothing":                   {EPSS, "a", "", "no list of EPSS scores"},
		"EPSS, another list":                {EPSS, "a", "a,b\n1,2\n", "columns"},
		"EPSS, no number":                   {EPSS, "a", scores + "CVE-2026-0002,high,0.1\n", "line 5"},
		"EPSS, above 1":                     {EPSS, "a", scores + "CVE-2026-0002,1.5,0.1\n", "line 5"},
		"EPSS, not a number":                {EPSS, "a", scores + "CVE-2026-0002,NaN,0.1\n", "line 5"},
		"EPSS, no CVE":                      {EPSS, "a", scores + "GHSA-1,0.5,0.1\n", "line 5"},
		"EPSS, cut off":                     {EPSS, "a", zipped(t, scores)[:len(zipped(t, scores))-10], "unexpected EOF"},
		"EPSS, no entry":                    {EPSS, "a", "cve,epss,percentile\n", "no entries"},
		"EPSS, a future one":                {EPSS, "a", strings.Replace(scores, "2026-11-20", "2999-01-01", 1), "future"},
		"KEV, no JSON":                      {KEV, "a", "<html>", "not CISA's catalog"},
		"KEV, cut list":                     {KEV, "a", strings.Replace(known, `"count":1`, `"count":2`, 1), "says that it has 2"},
		"KEV, no CVE":                       {KEV, "a", strings.Replace(known, "CVE-2021-44228", "x", 1), "entry 1"},
		"KEV, empty":                        {KEV, "a", `{"count":0,"vulnerabilities":[]}`, "no entries"},
		"support, nothing":                  {Support, "debian.json", "", "empty"},
		"support, no date":                  {Support, "debian.json", `[{"cycle":"12","eol":"soon"}]`, "no date"},
		"support, no end":                   {Support, "debian.json", `[{"cycle":"12"}]`, "no end of life"},
		"support, a product without a name": {Support, "a.json", `{"result":[{"releases":[{"name":"1","eolFrom":"2026-01-01"}]}]}`, "no product"},
		"support, a table of something":     {Support, "fedora.csv", "version,eol\n1,2\n", "neither"},
		"support, other columns":            {Support, "debian.csv", "a,b\n1,2\n", "columns"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			before := imported(t, dir, KEV, file(t, "kev.json", known))
			if _, err := Import(t.Context(), dir, test.kind, file(t, test.name, test.content)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if got, err := Info(dir); err != nil || len(got) != 1 || got[0] != before {
				t.Errorf("a feed changed: %+v, %v", got, err)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "import-*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func FuzzFeeds(f *testing.F) {
	f.Add([]byte(scores))
	f.Add([]byte(known))
	f.Add([]byte(dates))
	f.Add([]byte(`[{"cycle":"9","eol":"2032-05-31"},{"cycle":8,"eol":true}]`))
	f.Add([]byte("version,codename,series,created,release,eol,eol-lts\n12,B,b,x,x,2026-01-01,2028-06-30\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func(*stored, string, io.Reader) error{parseEPSS, parseKEV, parseSupport} {
			s := stored{Scores: map[string]float64{}, CVEs: map[string]bool{}, Releases: map[string]release{}}
			if parse(&s, "debian.csv", bytes.NewReader(b)) != nil {
				continue
			}
			for id, score := range s.Scores {
				if !cve.MatchString(id) || !(score >= 0 && score <= 1) {
					t.Errorf("%q has the score %v", id, score)
				}
			}
			for name, r := range s.Releases {
				if _, err := time.Parse(time.DateOnly, r.Until); r.Until != "" && err != nil {
					t.Errorf("%q ends on %q", name, r.Until)
				}
			}
		}
	})
}
