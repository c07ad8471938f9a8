package reconcile

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var updateGolden = flag.Bool("update", false, "write the golden files anew")

// recorded are the findings of three scanners, run on one image of Debian packages, an npm application and a Go binary.
func recorded(t *testing.T) []Scan {
	t.Helper()
	var out []Scan
	for _, name := range []string{"grype", "osv-scanner", "trivy"} {
		b, err := os.ReadFile(filepath.Join("testdata", "merge", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var s Scan
		if err := json.Unmarshal(b, &s); err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

func TestRecordedScansMerge(t *testing.T) {
	scans := recorded(t)
	raw := 0
	for _, s := range scans {
		raw += len(s.Vulnerabilities)
	}
	var b bytes.Buffer
	by := map[int]int{}
	merged := Merge(scans)
	for _, m := range merged {
		by[len(m.Scanners())]++
		fmt.Fprintf(&b, "%s %s %s", m.ID, m.Key, m.Severity)
		if !m.Published.IsZero() {
			fmt.Fprintf(&b, " published %s", m.Published.UTC().Format(time.DateOnly))
		}
		fmt.Fprintf(&b, "\n")
		for _, s := range m.Scanners() {
			var ids, fixed []string
			for _, c := range m.Reports {
				if c.Scanner == s {
					ids, fixed = append(ids, c.ID), append(fixed, c.FixedIn...)
				}
			}
			fmt.Fprintf(&b, "  %s: %s as %s, fixed in %v\n", s, m.Severities()[s], strings.Join(ids, ", "), fixed)
		}
		if len(m.Silent) > 0 {
			fmt.Fprintf(&b, "  silent: %s\n", strings.Join(m.Silent, ", "))
		}
	}
	if raw != 80 || len(merged) != 37 || by[3] != 21 || by[2] != 1 || by[1] != 15 {
		t.Errorf("%d raw findings became %d: %v", raw, len(merged), by)
	}
	golden := filepath.Join("testdata", "merge", "merged.golden.txt")
	if *updateGolden {
		if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("got\n%s", b.String())
	}
}

// someScans makes scans with few names, so that many of their aliases meet.
func someScans(r *rand.Rand) []Scan {
	ids := []string{"CVE-2026-1", "CVE-2026-2", "DEBIAN-CVE-2026-1", "GHSA-aaaa-bbbb-cccc", "ghsa-AAAA-bbbb-cccc", "GHSA-x", "GO-2026-1", "", "SNYK-\x00\u202e1"}
	packages := []Package{
		{Name: "lodash", Version: "1", Ecosystem: "npm"}, {Name: "lodash", Version: "1", PURL: "pkg:npm/lodash@1"},
		{Name: "x", Version: "2:1", Ecosystem: "Debian:12"}, {Name: "x", Version: "1", PURL: "pkg:deb/debian/x@1?epoch=2"}, {},
	}
	severities := []Severity{Unknown, Low, High, Critical, "odd", ""}
	var out []Scan
	for _, name := range []string{"trivy", "grype", "builtin", "osv-scanner"}[:1+r.Intn(4)] {
		s := Scan{Scanner: name, Packages: r.Intn(2) * 3, Ecosystems: [][]string{{"npm"}, {"Debian"}, {"npm", "Debian:12"}, nil}[r.Intn(4)]}
		for range r.Intn(6) {
			v := Vulnerability{ID: ids[r.Intn(len(ids))], Package: packages[r.Intn(len(packages))], Severity: severities[r.Intn(len(severities))], EPSS: float64(r.Intn(3)) / 3, Exploited: r.Intn(5) == 0}
			for range r.Intn(3) {
				v.Aliases = append(v.Aliases, ids[r.Intn(len(ids))])
			}
			if r.Intn(2) == 0 {
				v.Published, v.FixedIn = time.Unix(int64(r.Intn(5)+1), 0).UTC(), []string{fmt.Sprint(r.Intn(3))}
			}
			s.Vulnerabilities = append(s.Vulnerabilities, v)
		}
		if r.Intn(8) == 0 {
			s.NoVerdict = "failed"
		}
		out = append(out, s)
	}
	return out
}

// again says what was merged as scans, one for each claim, so that merged scans can be merged once more.
func again(merged []Merged, of []Scan) []Scan {
	var out []Scan
	for _, s := range of { // what a scanner covers isn't in what it found
		s.Vulnerabilities = nil
		out = append(out, s)
	}
	for _, m := range merged {
		for _, c := range m.Reports {
			out = append(out, Scan{Scanner: c.Scanner, Vulnerabilities: []Vulnerability{c.Vulnerability}})
		}
	}
	return out
}

func TestMergeIsAssociativeAndCommutative(t *testing.T) {
	for seed := range int64(600) {
		r := rand.New(rand.NewSource(seed))
		a, b, c := someScans(r), someScans(r), someScans(r)
		all := slices.Concat(a, b, c)
		want := Merge(all)
		left := again(Merge(slices.Concat(a, b)), slices.Concat(a, b))
		right := again(Merge(slices.Concat(b, c)), slices.Concat(b, c))
		shuffled := slices.Clone(all)
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		for name, scans := range map[string][]Scan{
			"(a+b)+c": slices.Concat(left, c), "a+(b+c)": slices.Concat(a, right), "c+b+a": slices.Concat(c, b, a), "shuffled": shuffled,
			"split": split(r, all), "twice": slices.Concat(all, all),
		} {
			if got := Merge(scans); !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d, %s:\n%+v\nwant\n%+v", seed, name, got, want)
			}
		}
	}
}

// split spreads what each scan found over two scans.
func split(r *rand.Rand, scans []Scan) []Scan {
	var out []Scan
	for _, s := range scans {
		one, two := s, s
		at := r.Intn(len(s.Vulnerabilities) + 1)
		one.Vulnerabilities, two.Vulnerabilities = s.Vulnerabilities[at:], s.Vulnerabilities[:at]
		out = append(out, one, two)
	}
	return out
}

func TestMergeKeepsAllThatWasSaid(t *testing.T) {
	for seed := range int64(500) {
		scans := someScans(rand.New(rand.NewSource(seed)))
		merged := Merge(scans)
		for _, s := range scans {
			for _, v := range s.Vulnerabilities {
				found := slices.ContainsFunc(merged, func(m Merged) bool {
					return slices.ContainsFunc(m.Reports, func(c Claim) bool { return compareClaims(c, Claim{s.Scanner, v}) == 0 })
				})
				if found == (s.NoVerdict != "") {
					t.Fatalf("seed %d: %+v of %s", seed, v, s.Scanner)
				}
			}
		}
	}
}

func TestMergeSaysWhoDisagrees(t *testing.T) {
	zlib := Package{Name: "zlib1g", Version: "1", Ecosystem: "Debian:12"}
	found := Vulnerability{ID: "CVE-2026-1", Package: zlib, Severity: Critical, EPSS: 0.2}
	got := Merge([]Scan{
		{Scanner: "trivy", Packages: 1, Ecosystems: []string{"Debian"}, Vulnerabilities: []Vulnerability{found}},
		{Scanner: "grype", Packages: 1, Ecosystems: []string{"debian:12"}},
		{Scanner: "npm-only", Packages: 1, Ecosystems: []string{"npm"}},
		{Scanner: "other-release", Packages: 1, Ecosystems: []string{"Debian:11"}},
		{Scanner: "blind", Ecosystems: []string{"Debian:12"}},
		{Scanner: "failed", Packages: 1, Ecosystems: []string{"Debian:12"}, NoVerdict: "x"},
	})
	if len(got) != 1 || !slices.Equal(got[0].Silent, []string{"grype"}) {
		t.Fatalf("%+v", got)
	}
	if reported, able := got[0].Votes(); reported != 1 || able != 2 {
		t.Errorf("%d of %d", reported, able)
	}
}

func TestPackagesAreTheSameWhoeverNamesThem(t *testing.T) {
	for _, c := range []struct{ a, b Package }{
		{Package{PURL: "pkg:golang/golang.org/x/net@v0.1.0"}, Package{Name: "golang.org/x/net", Version: "0.1.0", Ecosystem: "Go"}},
		{Package{PURL: "pkg:pypi/zope.interface@1.0"}, Package{Name: "Zope_Interface", Version: "1.0", Ecosystem: "PyPI"}},
		{Package{PURL: "pkg:maven/org.a/b@1"}, Package{Name: "org.a:b", Version: "1", Ecosystem: "Maven"}},
		{Package{PURL: "pkg:npm/%40angular/core@1"}, Package{Name: "@angular/core", Version: "1", Ecosystem: "npm"}},
		{Package{PURL: "pkg:npm/@angular/core@1"}, Package{Name: "@angular/core", Version: "1", Ecosystem: "npm"}},
		{Package{PURL: "pkg:npm/@angular/core", Version: "1"}, Package{Name: "@angular/core", Version: "1", Ecosystem: "npm"}},
		{Package{PURL: "pkg:deb/debian/a@2%3A1?distro=debian-12"}, Package{PURL: "pkg:deb/debian/a@1?epoch=2"}},
		{Package{PURL: "pkg:rpm/redhat/a@0:1"}, Package{PURL: "pkg:rpm/redhat/a@1?epoch=0"}},
		{Package{PURL: "pkg:deb/debian/a@1#sub?epoch=2"}, Package{Name: "a", Version: "1", Ecosystem: "Debian:12"}},
	} {
		if a, b := PackageKey(c.a), PackageKey(c.b); a != b {
			t.Errorf("%s and %s", a, b)
		}
	}
}

func TestAPackageByItsNameOrPURL(t *testing.T) {
	p := Package{Name: "lodash", Version: "4.17.4", PURL: "pkg:npm/lodash@4.17.4"}
	for name, want := range map[string]bool{
		"lodash": true, "Lodash": false, "pkg:npm/lodash": true, "pkg:npm/lodash@4.17.4": true, "pkg:npm/lodash@4.17.4?x=y": true, "pkg:npm/lodash@4.17.5": false,
		"pkg:pypi/lodash": false, "pkg:npm/lodas": false, "pkg:": false, "pkg:npm": false, "": false,
	} {
		if got := p.Is(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
	if (Package{Name: "lodash"}).Is("pkg:npm/lodash") {
		t.Error("what has no purl is no purl's package")
	}
}

func TestCanonicalNames(t *testing.T) {
	for _, c := range []struct{ ids, want []string }{
		{[]string{"GHSA-AAAA-b", "CVE-2026-2", "CVE-2026-1"}, []string{"CVE-2026-1", "CVE-2026-2"}},
		{[]string{"GO-1", "ghsa-aaaa-b"}, []string{"GHSA-aaaa-b"}},
		{[]string{"UBUNTU-CVE-2026-1", "CVE-2026-1"}, []string{"CVE-2026-1"}},
		{[]string{"RHSA-2026:1", "ALSA-1"}, []string{"ALSA-1"}},
		{nil, nil}, {[]string{" \n"}, nil},
	} {
		if got := Canonical(c.ids); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q", c.ids, got)
		}
	}
}

func FuzzPackageKey(f *testing.F) {
	f.Add("pkg:deb/debian/a@2%3A1?distro=debian-12&epoch=1#x", "a", "1", "Debian:12")
	f.Add("pkg:npm/@a/b", "@a/b", "", "npm")
	f.Add("pkg:@?#", "", "", "")
	f.Fuzz(func(t *testing.T, purl, name, version, ecosystem string) {
		p := Package{Name: name, Version: version, Ecosystem: ecosystem, PURL: purl}
		if key := PackageKey(p); key != PackageKey(p) || !strings.Contains(key, "@") {
			t.Errorf("%q", key)
		}
		p.Is(purl)
		p.Is("pkg:" + name + "@" + version)
		Scan{Ecosystems: []string{ecosystem, name}}.Covers(p)
		Merge([]Scan{{Scanner: "a", Vulnerabilities: []Vulnerability{{ID: name, Aliases: []string{purl, version}, Package: p}}}})
	})
}
