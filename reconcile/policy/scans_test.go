package policy

import (
	"math/rand"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

func scan(name string, vs ...reconcile.Vulnerability) reconcile.Scan {
	return reconcile.Scan{Scanner: name, Packages: 10, Ecosystems: []string{"npm", "Debian:12"}, Database: now.Add(-24 * time.Hour), Vulnerabilities: vs}
}

func silent(name, why string) reconcile.Scan { return reconcile.Scan{Scanner: name, NoVerdict: why} }

func vuln(id string, severity reconcile.Severity, more ...func(*reconcile.Vulnerability)) reconcile.Vulnerability {
	v := reconcile.Vulnerability{ID: id, Severity: severity, FixedIn: []string{"4.17.12"},
		Package: reconcile.Package{Name: "lodash", Version: "4.17.4", Ecosystem: "npm", PURL: "pkg:npm/lodash@4.17.4"}}
	for _, f := range more {
		f(&v)
	}
	return v
}

func alias(ids ...string) func(*reconcile.Vulnerability) {
	return func(v *reconcile.Vulnerability) { v.Aliases = ids }
}

func published(t time.Time) func(*reconcile.Vulnerability) {
	return func(v *reconcile.Vulnerability) { v.Published = t }
}

func in(p reconcile.Package) func(*reconcile.Vulnerability) {
	return func(v *reconcile.Vulnerability) { v.Package = p }
}

func unfixed(v *reconcile.Vulnerability) { v.FixedIn = nil }

func TestScanners(t *testing.T) {
	for _, c := range []struct {
		name, body string
		scans      []reconcile.Scan
		want       string
	}{
		{"two of two", "minimum = 2", []reconcile.Scan{scan("trivy"), scan("grype")}, ""},
		{"one of two", "minimum = 2", []reconcile.Scan{scan("trivy"), silent("grype", "no database")}, "too-few-scanners: 1 of the 2 required scanners gave a verdict on linux/amd64"},
		{"none", "", nil, "too-few-scanners: 0 of the 1 required scanners gave a verdict on linux/amd64"},
		{"a required one", `require = ["grype"]`, []reconcile.Scan{scan("trivy"), silent("grype", "no database")}, "scanner-missing: the scanner grype gave no verdict on linux/amd64"},
		{"the same data", "minimum = 2", []reconcile.Scan{scan("builtin"), scan("osv-scanner")}, "too-few-scanners: 1 of the 2 required scanners gave a verdict on linux/amd64"},
		{"one scanner twice", "minimum = 2", []reconcile.Scan{scan("trivy"), scan("trivy")}, "too-few-scanners: 1 of the 2 required scanners gave a verdict on linux/amd64"},
		{"a verdict after none", "", []reconcile.Scan{scan("trivy"), silent("trivy", "failed once")}, ""},
		{"fresh", `max_age = "2d"`, []reconcile.Scan{scan("trivy")}, ""},
		{"stale", `max_age = "12h"`, []reconcile.Scan{scan("trivy")}, "too-few-scanners: 0 of the 1 required scanners gave a verdict on linux/amd64"},
		{"of unknown age", `max_age = "7d"`, []reconcile.Scan{{Scanner: "trivy", Packages: 1}}, "too-few-scanners: 0 of the 1 required scanners gave a verdict on linux/amd64"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := lines(rule(t, "scanners", c.body).Check(scanned(subjectOn(t, "linux/amd64"), "linux/amd64", c.scans...), now)); got != c.want {
				t.Error(got)
			}
		})
	}
}

func TestScannersSaysWhy(t *testing.T) {
	s := scanned(subjectOn(t, "linux/amd64"), "linux/amd64", scan("trivy"), silent("grype", "no database"))
	s.Expected = []reconcile.ScannerSpec{{Name: "trivy"}, {Name: "grype"}, {Name: "builtin"}}
	got := rule(t, "scanners", "minimum = 4").Check(s, now)
	want := "no verdict of builtin: it has not scanned this platform; grype: no database; the catalog must declare more scanners"
	if len(got) != 1 || got[0].Detail != want {
		t.Errorf("%+v", got)
	}
}

func TestScannersJudgesEachPlatform(t *testing.T) {
	s := scanned(subjectOn(t, "linux/amd64", "linux/arm64", "unknown/unknown"), "linux/amd64", scan("trivy"))
	if got := lines(rule(t, "scanners", "").Check(s, now)); got != "too-few-scanners: 0 of the 1 required scanners gave a verdict on linux/arm64" {
		t.Error(got)
	}
}

func TestVulnerabilities(t *testing.T) {
	zlib := reconcile.Package{Name: "zlib1g", Version: "1:1.2.13", Ecosystem: "Debian:12", PURL: "pkg:deb/debian/zlib1g@1.2.13?arch=amd64&epoch=1"}
	zlibOSV := reconcile.Package{Name: "zlib1g", Version: "1:1.2.13", Ecosystem: "Debian:12"}
	old := published(now.AddDate(-1, 0, 0))
	for _, c := range []struct {
		name, body string
		scans      []reconcile.Scan
		want       string
	}{
		{"high is denied", "", []reconcile.Scan{scan("trivy", vuln("CVE-2026-1", reconcile.High))}, "CVE-2026-1: high CVE-2026-1 in lodash 4.17.4 (trivy)"},
		{"medium is not", "", []reconcile.Scan{scan("trivy", vuln("CVE-2026-1", reconcile.Medium))}, ""},
		{"medium where it is", `deny = "medium"`, []reconcile.Scan{scan("trivy", vuln("CVE-2026-1", reconcile.Medium))}, "CVE-2026-1: medium CVE-2026-1 in lodash 4.17.4 (trivy)"},
		{"the highest severity counts", "", []reconcile.Scan{scan("trivy", vuln("CVE-2026-1", reconcile.Low)), scan("grype", vuln("CVE-2026-1", reconcile.Critical))}, "CVE-2026-1: critical CVE-2026-1 in lodash 4.17.4 (grype, trivy)"},
		{"an unknown severity is denied", `deny = "critical"`, []reconcile.Scan{scan("trivy", vuln("CVE-2026-1", reconcile.Unknown))}, "CVE-2026-1: CVE-2026-1 of unknown severity in lodash 4.17.4 (trivy)"},
		{"a word for severity that is none is denied", `deny = "critical"`, []reconcile.Scan{scan("trivy", vuln("CVE-2026-1", "mild"))}, "CVE-2026-1: CVE-2026-1 of unknown severity in lodash 4.17.4 (trivy)"},
		{"or allowed", `unknown = "allow"`, []reconcile.Scan{scan("trivy", vuln("CVE-2026-1", ""))}, ""},
		{"known by one", `unknown = "allow"`, []reconcile.Scan{scan("trivy", vuln("CVE-2026-1", "")), scan("grype", vuln("CVE-2026-1", reconcile.High))}, "CVE-2026-1: high CVE-2026-1 in lodash 4.17.4 (grype, trivy)"},
		{"only the fixable", "fixable = true", []reconcile.Scan{scan("trivy", vuln("CVE-2026-1", reconcile.High, unfixed), vuln("CVE-2026-2", reconcile.High))}, "CVE-2026-2: high CVE-2026-2 in lodash 4.17.4 (trivy)"},
		{"fixable if one scanner knows the fix", "fixable = true", []reconcile.Scan{scan("trivy", vuln("CVE-2026-1", reconcile.High, unfixed)), scan("grype", vuln("CVE-2026-1", reconcile.High))}, "CVE-2026-1: high CVE-2026-1 in lodash 4.17.4 (grype, trivy)"},
		{"in grace", `grace = "7d"`, []reconcile.Scan{scan("trivy", vuln("CVE-2026-1", reconcile.High, published(now.Add(-time.Hour))))}, ""},
		{"after grace", `grace = "7d"`, []reconcile.Scan{scan("trivy", vuln("CVE-2026-1", reconcile.High, published(now.AddDate(0, 0, -7))))}, "CVE-2026-1: high CVE-2026-1 in lodash 4.17.4 (trivy)"},
		{"an unknown date has no grace", `grace = "7d"`, []reconcile.Scan{scan("trivy", vuln("CVE-2026-1", reconcile.High))}, "CVE-2026-1: high CVE-2026-1 in lodash 4.17.4 (trivy)"},
		{"nor has a date to come", `grace = "7d"`, []reconcile.Scan{scan("trivy", vuln("CVE-2026-1", reconcile.High, published(now.AddDate(1, 0, 0))))}, "CVE-2026-1: high CVE-2026-1 in lodash 4.17.4 (trivy)"},
		{"the earliest date counts", `grace = "7d"`, []reconcile.Scan{scan("trivy", vuln("CVE-2026-1", reconcile.High, published(now.Add(-time.Hour)))), scan("grype", vuln("CVE-2026-1", reconcile.High, old))}, "CVE-2026-1: high CVE-2026-1 in lodash 4.17.4 (grype, trivy)"},
		{"one of two is no quorum", "quorum = 2", []reconcile.Scan{scan("trivy", vuln("CVE-2026-1", reconcile.High)), scan("grype")}, ""},
		{"two of two are", "quorum = 2", []reconcile.Scan{scan("trivy", vuln("CVE-2026-1", reconcile.High)), scan("grype", vuln("CVE-2026-1", reconcile.High))}, "CVE-2026-1: high CVE-2026-1 in lodash 4.17.4 (grype, trivy)"},
		{"one is, where the other gave no verdict", "quorum = 2", []reconcile.Scan{scan("trivy", vuln("CVE-2026-1", reconcile.High)), silent("grype", "x")}, "CVE-2026-1: high CVE-2026-1 in lodash 4.17.4 (trivy)"},
		{"or does not cover the ecosystem", "quorum = 2", []reconcile.Scan{scan("trivy", vuln("CVE-2026-1", reconcile.High)), {Scanner: "grype", Packages: 5, Ecosystems: []string{"Debian"}}}, "CVE-2026-1: high CVE-2026-1 in lodash 4.17.4 (trivy)"},
		{"or saw nothing", "quorum = 2", []reconcile.Scan{scan("trivy", vuln("CVE-2026-1", reconcile.High)), {Scanner: "grype", Ecosystems: []string{"npm"}}}, "CVE-2026-1: high CVE-2026-1 in lodash 4.17.4 (trivy)"},
		{"or reads the same data", "quorum = 2", []reconcile.Scan{scan("builtin", vuln("CVE-2026-1", reconcile.High)), scan("osv-scanner", vuln("CVE-2026-1", reconcile.High))}, "CVE-2026-1: high CVE-2026-1 in lodash 4.17.4 (builtin, osv-scanner)"},
		{"a quorum above their number", "quorum = 9", []reconcile.Scan{scan("trivy", vuln("CVE-2026-1", reconcile.High)), scan("grype", vuln("CVE-2026-1", reconcile.High))}, "CVE-2026-1: high CVE-2026-1 in lodash 4.17.4 (grype, trivy)"},
		{"aliases unite", "quorum = 2", []reconcile.Scan{scan("trivy", vuln("GHSA-aaaa-bbbb-cccc", reconcile.High)), scan("grype", vuln("CVE-2026-1", reconcile.High, alias("ghsa-AAAA-bbbb-cccc")))}, "CVE-2026-1: high CVE-2026-1 in lodash 4.17.4 (grype, trivy)"},
		{"a GHSA where there is no CVE", "", []reconcile.Scan{scan("trivy", vuln("SNYK-1", reconcile.High, alias("GHSA-aaaa-bbbb-cccc")))}, "GHSA-aaaa-bbbb-cccc: high GHSA-aaaa-bbbb-cccc in lodash 4.17.4 (trivy)"},
		{"distributions' names", "quorum = 2", []reconcile.Scan{scan("builtin", vuln("DEBIAN-CVE-2026-1", reconcile.High, in(zlibOSV))), scan("trivy", vuln("CVE-2026-1", reconcile.High, in(zlib)))}, "CVE-2026-1: high CVE-2026-1 in zlib1g 1:1.2.13 (builtin, trivy)"},
		{"one record for two CVEs", "", []reconcile.Scan{scan("builtin", vuln("GO-2026-1", reconcile.High, alias("CVE-2026-1", "CVE-2026-2")))}, "CVE-2026-1: high CVE-2026-1 in lodash 4.17.4 (builtin)\nCVE-2026-2: high CVE-2026-2 in lodash 4.17.4 (builtin)"},
		{"not in another package", "quorum = 2", []reconcile.Scan{scan("trivy", vuln("CVE-2026-1", reconcile.High)), scan("grype", vuln("CVE-2026-1", reconcile.High, in(zlib)))}, ""},
		{"no verdict", "", []reconcile.Scan{silent("trivy", "no database")}, "no-verdict: no scanner gave a verdict on linux/amd64"},
		{"no scan", "", nil, "no-verdict: no scanner has looked at linux/amd64"},
		{"no packages", "", []reconcile.Scan{{Scanner: "trivy"}, silent("grype", "x")}, "no-packages: no scanner saw a package on linux/amd64, so nothing can be said about its vulnerabilities"},
		{"clean", "", []reconcile.Scan{scan("trivy")}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := scanned(subjectOn(t, "linux/amd64"), "linux/amd64", c.scans...)
			got := rule(t, "vulnerabilities", c.body).Check(s, now)
			if lines(got) != c.want {
				t.Errorf("got  %s\nwant %s", lines(got), c.want)
			}
			for range 5 {
				rand.Shuffle(len(s.Evidence.Scans), func(i, j int) {
					s.Evidence.Scans[i], s.Evidence.Scans[j] = s.Evidence.Scans[j], s.Evidence.Scans[i]
				})
				if again := rule(t, "vulnerabilities", c.body).Check(s, now); !reflect.DeepEqual(got, again) {
					t.Errorf("another order gives %v", again)
				}
			}
		})
	}
}

func TestVulnerabilitiesOfSeveralPlatformsAreOneFinding(t *testing.T) {
	s := subjectOn(t, "linux/amd64", "linux/arm64")
	s = scanned(s, "linux/amd64", scan("trivy", vuln("CVE-2026-1", reconcile.High), vuln("CVE-2026-2", reconcile.High)))
	s = scanned(s, "linux/arm64", scan("trivy", vuln("CVE-2026-1", reconcile.Critical)))
	want := "CVE-2026-1: critical CVE-2026-1 in lodash 4.17.4 (trivy)\nCVE-2026-2: high CVE-2026-2 in lodash 4.17.4 on linux/amd64 (trivy)"
	if got := lines(rule(t, "vulnerabilities", "").Check(s, now)); got != want {
		t.Error(got)
	}
}

func TestVulnerabilitiesSayWhatWouldHelp(t *testing.T) {
	s := scanned(subjectOn(t, "linux/amd64"), "linux/amd64", scan("trivy", vuln("CVE-2026-1", reconcile.High), vuln("CVE-2026-2", reconcile.High, unfixed)))
	got := rule(t, "vulnerabilities", "").Check(s, now)
	if got[0].Detail != "update lodash 4.17.4 to 4.17.12, or ask for a waiver" || got[0].Package != "lodash" || got[0].Severity != reconcile.High {
		t.Errorf("%+v", got[0])
	}
	if !strings.Contains(got[1].Detail, "no version with a fix is known") {
		t.Errorf("%+v", got[1])
	}
}

func TestHostileTextOfScannersIsCutAndCleaned(t *testing.T) {
	v := vuln("CVE-2026-1\n\x1b[31m", reconcile.High, in(reconcile.Package{Name: "a\u202eb\n" + strings.Repeat("x", 1<<16), Version: "1\x00", Ecosystem: "npm"}))
	v.Summary = "\xff<script>" + strings.Repeat("s", 1<<20)
	v.FixedIn = []string{strings.Repeat("9", 1<<20)}
	for _, f := range rule(t, "vulnerabilities", "").Check(scanned(subjectOn(t, "linux/amd64"), "linux/amd64", scan("trivy", v), silent("grype", strings.Repeat("e\n", 1<<16))), now) {
		all := f.ID + f.Package + f.Summary + f.Detail
		if strings.ContainsAny(all, "\n\x1b\x00\u202e") || len(all) > 3000 {
			t.Errorf("%d bytes: %.300q", len(all), all)
		}
	}
}
