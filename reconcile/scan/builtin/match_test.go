package builtin

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestVersionsInRanges(t *testing.T) {
	r := func(events ...event) []span { return []span{{Type: "ECOSYSTEM", Events: events}} }
	in, fix, last, lim := func(v string) event { return event{Introduced: v} }, func(v string) event { return event{Fixed: v} },
		func(v string) event { return event{LastAffected: v} }, func(v string) event { return event{Limit: v} }
	tests := []struct {
		eco, version string
		a            versions
		want         bool
		fixes        []string
	}{
		{"npm", "1.0.0", versions{Ranges: r(in("0"), fix("1.2.3"))}, true, []string{"1.2.3"}},
		{"npm", "1.2.3", versions{Ranges: r(in("0"), fix("1.2.3"))}, false, nil},
		{"npm", "1.2.3-rc.1", versions{Ranges: r(in("0"), fix("1.2.3"))}, true, []string{"1.2.3"}},
		{"npm", "0.9.0", versions{Ranges: r(in("1.0.0"), fix("1.2.3"))}, false, nil},
		{"npm", "1.0.0", versions{Ranges: r(in("1.0.0"), last("1.0.0"))}, true, nil},
		{"npm", "1.0.1", versions{Ranges: r(in("1.0.0"), last("1.0.0"))}, false, nil},
		{"npm", "9.0.0", versions{Ranges: r(in("0"))}, true, nil},
		{"npm", "9.0.0", versions{Ranges: r(in("0"), lim("*"))}, true, nil},
		{"npm", "9.0.0", versions{Ranges: r(in("0"), lim("2.0.0"))}, false, nil},
		{"npm", "2.1.0", versions{Ranges: r(in("0"), fix("1.0.0"), in("2.0.0"), fix("2.2.0"))}, true, []string{"2.2.0"}},
		{"npm", "2.1.0", versions{Ranges: r(fix("2.2.0"), in("2.0.0"), fix("1.0.0"), in("0"))}, true, []string{"2.2.0"}},
		{"npm", "1.5.0", versions{Ranges: r(in("0"), fix("1.0.0"), in("2.0.0"), fix("2.2.0"))}, false, nil},
		{"npm", "1.5.0", versions{Versions: []string{"1.4.0", "1.5.0"}}, true, nil},
		{"npm", "1.5.1", versions{Versions: []string{"1.4.0", "1.5.0"}}, false, nil},
		{"Go", "1.5.0", versions{Versions: []string{"v1.5.0"}}, true, nil},
		{"npm", "", versions{Ranges: r(in("0"), fix("1.0.0"))}, true, []string{"1.0.0"}},
		{"Debian:12", "1:1.2.13.dfsg-1", versions{Ranges: r(in("0"))}, true, nil},
		{"Debian:12", "3.0.20-1~deb12u2", versions{Ranges: r(in("0"), fix("3.0.22-1~deb12u1"))}, true, []string{"3.0.22-1~deb12u1"}},
		{"Debian:12", "3.0.22-1", versions{Ranges: r(in("0"), fix("3.0.22-1~deb12u1"))}, false, nil},
		{"Alpine:v3.20", "3.3.2-r0", versions{Ranges: r(in("0"), fix("3.3.2-r1"))}, true, []string{"3.3.2-r1"}},
		{"Red Hat:enterprise_linux:9", "1:3.0.7-24.el9", versions{Ranges: r(in("0"), fix("1:3.0.7-25.el9"))}, true, []string{"1:3.0.7-25.el9"}},
		{"PyPI", "3.0", versions{Ranges: r(in("0"), fix("3.0.post1"))}, true, []string{"3.0.post1"}},
		// what can't be compared counts as affected
		{"Debian:12", "nonsense:1", versions{Ranges: r(in("0"), fix("1.0"))}, true, []string{"1.0"}},
		{"Debian:12", "2.0", versions{Ranges: r(in("0"), fix("x:1.0"))}, true, []string{"x:1.0"}},
		{"Plan 9", "2.0", versions{Ranges: r(in("0"), fix("1.0"))}, true, []string{"1.0"}},
	}
	for _, test := range tests {
		hit, fixes := test.a.affects(test.version, test.eco)
		if hit != test.want || !slices.Equal(fixes, test.fixes) {
			t.Errorf("%s %q in %+v: %v, fixed in %v; want %v, %v", test.eco, test.version, test.a, hit, fixes, test.want, test.fixes)
		}
	}
}

// Every ecosystem that this scanner finds packages of has an order of versions that is its own.
func TestRangesOfEveryEcosystem(t *testing.T) {
	for ecosystem, v := range map[string]struct{ before, fixed, after string }{
		"Debian:12":                  {"1.0-1~deb12u1", "1.0-1", "1.0-1+b1"},
		"Ubuntu:24.04":               {"1:2.0-0ubuntu1", "1:2.0-0ubuntu1.1", "2:1.0"},
		"Alpine:v3.20":               {"3.3.2_rc1-r0", "3.3.2-r0", "3.3.2-r10"},
		"Wolfi":                      {"8.1.0-r2", "8.1.0-r10", "8.10.0-r0"},
		"Chainguard":                 {"8.1.0-r2", "8.1.0-r10", "8.10.0-r0"},
		"MinimOS":                    {"8.1.0-r2", "8.1.0-r10", "8.10.0-r0"},
		"Alpaquita:23":               {"8.1.0-r2", "8.1.0-r10", "8.10.0-r0"},
		"Red Hat:enterprise_linux:9": {"1:3.0.7-24.el9", "1:3.0.7-25.el9", "2:1.0-1.el9"},
		"Rocky Linux:9":              {"3.0.7-9.el9", "3.0.7-24.el9", "3.0.10-1.el9"},
		"AlmaLinux:9":                {"3.0.7-9.el9", "3.0.7-24.el9", "3.0.10-1.el9"},
		"Mageia:9":                   {"8.5.0~rc1-1.mga9", "8.5.0-1.mga9", "8.5.0-1.1.mga9"},
		"openSUSE:Leap 15.6":         {"4.17.1-150500.3.9.1", "4.17.1-150500.3.12.1", "4.18.0-1.1"},
		"Azure Linux:3":              {"8.8.0-1.azl3", "8.8.0-2.azl3", "8.11.0-1.azl3"},
		"npm":                        {"1.2.3-rc.1", "1.2.3", "1.10.0"},
		"Go":                         {"0.0.0-20200101000000-000000000000", "0.7.0", "0.17.0"},
		"PyPI":                       {"3.0rc1", "3.0", "3.0.post1"},
		"Maven":                      {"1.0-alpha-1", "1.0", "1.0-sp"},
		"RubyGems":                   {"2.2.4.pre", "2.2.4", "2.2.10"},
		"NuGet":                      {"12.0.1-beta", "12.0.1", "12.0.1.1"},
		"Packagist":                  {"v5.4.0-RC1", "5.4.0", "v5.4.10"},
		"crates.io":                  {"0.6.9", "0.6.13", "0.10.0"},
	} {
		a := versions{Ranges: []span{{Type: "ECOSYSTEM", Events: []event{{Introduced: "0"}, {Fixed: v.fixed}}}}}
		for version, want := range map[string]bool{v.before: true, v.fixed: false, v.after: false} {
			if hit, _ := a.affects(version, ecosystem); hit != want {
				t.Errorf("%s %s, fixed in %s: affected %v", ecosystem, version, v.fixed, hit)
			}
		}
		if known, err := canCompare(ecosystem); !known || err != nil {
			t.Errorf("%s is not imported: %v, %v", ecosystem, known, err)
		}
	}
}

func recordAbout(id string, aliases, upstream []string) string {
	list := func(s []string) string {
		out := ""
		for i, x := range s {
			if i > 0 {
				out += ","
			}
			out += fmt.Sprintf("%q", x)
		}
		return "[" + out + "]"
	}
	return fmt.Sprintf(`{"id":%q,"modified":"2026-01-01T00:00:00Z","published":"2025-0%d-01T00:00:00Z","aliases":%s,"upstream":%s,"details":"first line\nsecond line",`+
		`"affected":[{"package":{"ecosystem":"Debian:12","name":"x"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"%d"}]}]}]}`,
		id, len(id)%9+1, list(aliases), list(upstream), len(id))
}

func TestNamesOfVulnerabilities(t *testing.T) {
	tests := map[string]struct {
		records []string
		want    map[string][]string
	}{
		"a CVE goes before all":             {[]string{recordAbout("GHSA-1", []string{"CVE-2026-1"}, nil)}, map[string][]string{"CVE-2026-1": {"GHSA-1"}}},
		"then a GHSA":                       {[]string{recordAbout("GO-1", []string{"GHSA-1"}, nil)}, map[string][]string{"GHSA-1": {"GO-1"}}},
		"then its own":                      {[]string{recordAbout("MAL-1", nil, nil)}, map[string][]string{"MAL-1": nil}},
		"a distribution's record":           {[]string{recordAbout("DEBIAN-CVE-2026-1", nil, []string{"CVE-2026-1"})}, map[string][]string{"CVE-2026-1": {"DEBIAN-CVE-2026-1"}}},
		"a record about several":            {[]string{recordAbout("DSA-1", nil, []string{"CVE-2026-1", "CVE-2026-2"})}, map[string][]string{"CVE-2026-1": {"DSA-1"}, "CVE-2026-2": {"DSA-1"}}},
		"several records about one are one": {[]string{recordAbout("DSA-1", nil, []string{"CVE-2026-1"}), recordAbout("DEBIAN-CVE-2026-1", nil, []string{"CVE-2026-1"})}, map[string][]string{"CVE-2026-1": {"DEBIAN-CVE-2026-1", "DSA-1"}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			mustImport(t, dir, zipOf(t, test.records...))
			got := map[string][]string{}
			for _, v := range lookup(t, dir, "Debian:12", "x", "0.1") {
				got[v.ID] = v.Aliases
				if v.Summary != "first line" {
					t.Errorf("summary %q", v.Summary)
				}
			}
			if d := cmp.Diff(test.want, got, cmpopts.EquateEmpty()); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func TestUnitedVulnerability(t *testing.T) {
	day := func(d int) time.Time { return time.Date(2026, 1, d, 0, 0, 0, 0, time.UTC) }
	a := reconcile.Vulnerability{ID: "CVE-1", Aliases: []string{"B"}, FixedIn: []string{"2"}, Severity: reconcile.Low, Published: day(2)}
	b := reconcile.Vulnerability{ID: "CVE-1", Aliases: []string{"A", "B"}, FixedIn: []string{"1"}, Severity: reconcile.High, Published: day(1), Summary: "s"}
	want := reconcile.Vulnerability{ID: "CVE-1", Aliases: []string{"A", "B"}, FixedIn: []string{"1", "2"}, Severity: reconcile.High, Published: day(1), Summary: "s"}
	for _, got := range []reconcile.Vulnerability{unite(a, b), unite(b, a)} {
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
	}
}

func TestSeverities(t *testing.T) {
	tests := map[reconcile.Severity][]score{
		reconcile.Critical:   {{"CVSS_V3", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}, {"CVSS_V4", "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"}},
		reconcile.High:       {{"CVSS_V3", "CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}, {"CVSS_V2", "AV:N/AC:L/Au:N/C:C/I:C/A:C"}},
		reconcile.Medium:     {{"CVSS_V3", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:L"}, {"Ubuntu", "medium"}},
		reconcile.Low:        {{"CVSS_V3", "CVSS:3.1/AV:P/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"}, {"CVSS_V2", "AV:L/AC:H/Au:N/C:P/I:N/A:N"}},
		reconcile.Negligible: {{"CVSS_V3", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N"}, {"Ubuntu", "negligible"}},
		reconcile.Unknown:    {{"CVSS_V3", "CVSS:3.1/nonsense"}, {"CVSS_V4", "CVSS:4.0/"}, {"CVSS_V2", "nonsense"}, {"", ""}, {"Ubuntu", "untriaged"}},
	}
	for want, scores := range tests {
		for _, s := range scores {
			if got := rate(s); got != want {
				t.Errorf("%+v is %s, want %s", s, got, want)
			}
		}
	}
	var r record
	var a affected
	a.Ecosystem.Urgency = "unimportant"
	if got := severityOf(r, a); got != reconcile.Negligible {
		t.Errorf("Debian's word: %s", got)
	}
	r.Database.Severity = "MODERATE"
	if got := severityOf(r, a); got != reconcile.Medium {
		t.Errorf("the database's word: %s", got)
	}
	r.Severity = []score{{"CVSS_V3", "CVSS:3.1/AV:P/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"}}
	if got := severityOf(r, a); got != reconcile.Low {
		t.Errorf("a score goes before words: %s", got)
	}
}

func TestEcosystemsOfDistributions(t *testing.T) {
	tests := map[string]struct{ release, record, want string }{
		"Debian":        {"ID=debian\nVERSION_ID=\"12\"\n", "Debian:12", "Debian:12"},
		"Debian sid":    {"ID=debian\n", "", ""},
		"Ubuntu LTS":    {"ID=ubuntu\nVERSION_ID='22.04'\n", "Ubuntu:22.04:LTS", "Ubuntu:22.04"},
		"Ubuntu":        {"ID=ubuntu\nVERSION_ID=\"24.10\"\n", "Ubuntu:24.10", "Ubuntu:24.10"},
		"Alpine":        {"ID=alpine\nVERSION_ID=3.20.3\n", "Alpine:v3.20", "Alpine:v3.20"},
		"Wolfi":         {"ID=wolfi\nVERSION_ID=\"20230201\"\n", "Wolfi", "Wolfi"},
		"Red Hat":       {"ID=\"rhel\"\nVERSION_ID=\"9.4\"\n", "Red Hat:enterprise_linux:9::baseos", "Red Hat:enterprise_linux:9"},
		"Red Hat minor": {"ID=\"rhel\"\nVERSION_ID=\"10.0\"\n", "Red Hat:enterprise_linux:10.0", "Red Hat:enterprise_linux:10"},
		"Rocky Linux":   {"ID=\"rocky\"\nVERSION_ID=\"9.3\"\n", "Rocky Linux:9", "Rocky Linux:9"},
		"AlmaLinux":     {"ID=\"almalinux\"\nVERSION_ID=\"8.10\"\n", "AlmaLinux:8", "AlmaLinux:8"},
		"unknown":       {"ID=plan9\nVERSION_ID=4\n", "", ""},
		"SUSE":          {"ID=\"sles\"\nVERSION_ID=\"15.5\"\n", "", ""},
		"nothing":       {"", "", ""},
	}
	for name, test := range tests {
		if got := parseOSRelease(test.release).ecosystem(); got != test.want {
			t.Errorf("%s: the system's is %q, want %q", name, got, test.want)
		}
		if got := ecosystemKey(test.record); got != test.want {
			t.Errorf("%s: the record's is %q, want %q", name, got, test.want)
		}
	}
	if got := ecosystemKey("Ubuntu:Pro:22.04:LTS"); got != "Ubuntu:Pro:22.04:LTS" {
		t.Errorf("Ubuntu Pro is %q", got)
	}
	f := found{Name: "openssl-libs", Version: "3.0.7-24.el9", System: "rpm", Epoch: 1, Source: "openssl"}
	p := f.install(osRelease{"rhel", "9.4"})
	i, kind, err := knownAs(p)
	if err != nil || kind != "rpm" || i.version != "1:3.0.7-24.el9" || !slices.Equal(i.names, []string{"openssl-libs"}) ||
		p.PURL != "pkg:rpm/rhel/openssl-libs@3.0.7-24.el9?distro=rhel-9.4&epoch=1&upstream=openssl" {
		t.Errorf("%+v, %+v, %v", p, i, err)
	}
	i, _, err = knownAs(f.install(osRelease{"mageia", "9"}))
	if err != nil || i.version != "3.0.7-24.el9" || !slices.Equal(i.names, []string{"openssl-libs", "openssl"}) {
		t.Errorf("advisories of Mageia are about source packages: %+v, %v", i, err)
	}
}
