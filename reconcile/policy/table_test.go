package policy

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

// with changes a scan.
func with(s reconcile.Scan, change func(*reconcile.Scan)) reconcile.Scan {
	change(&s)
	return s
}

// listing is a scan that lists packages.
func listing(name string, ps ...reconcile.Package) reconcile.Scan {
	return with(scan(name), func(s *reconcile.Scan) { s.Inventory = &reconcile.Inventory{Lister: name, Packages: ps} })
}

func pkg(purl, license string) reconcile.Package {
	name, version, _ := strings.Cut(purl[strings.LastIndex(purl, "/")+1:], "@")
	return reconcile.Package{Name: name, Version: version, PURL: purl, License: license}
}

func day(s string) time.Time {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err)
	}
	return t
}

func supported(until string, ended bool) reconcile.Scan {
	return with(scan("trivy"), func(s *reconcile.Scan) {
		s.Distribution, s.Support = "debian:12", &reconcile.Support{Ended: ended}
		if until != "" {
			s.Support.Until = day(until)
		}
	})
}

// TestPolicies is one image on linux/amd64 and one rule a line.
func TestPolicies(t *testing.T) {
	type image struct {
		config reconcile.ConfigInfo
		notes  map[string]string
		scans  []reconcile.Scan
		change func(*reconcile.Subject)
	}
	scans := func(s ...reconcile.Scan) image { return image{scans: s} }
	user := func(u string) image { return image{config: reconcile.ConfigInfo{User: u}} }
	built := func(at time.Time) image { return image{config: reconcile.ConfigInfo{Created: at}} }
	review := func(s string) image {
		return image{change: func(x *reconcile.Subject) {
			if s != "" {
				x.Want.Review = day(s)
			}
		}}
	}
	env := func(e ...string) image { return image{config: reconcile.ConfigInfo{Env: e}} }
	ports := func(p ...string) image { return image{config: reconcile.ConfigInfo{Ports: p}} }
	labels := func(k, v string) image { return image{config: reconcile.ConfigInfo{Labels: map[string]string{k: v}}} }
	licensed := func(l ...string) image {
		var ps []reconcile.Package
		for i, x := range l {
			ps = append(ps, pkg("pkg:npm/p"+string(rune('a'+i))+"@1", x))
		}
		return scans(listing("trivy", ps...))
	}
	lodash := scans(listing("trivy", pkg("pkg:npm/lodash@4.17.4", "MIT")))
	zlib := scans(listing("trivy", reconcile.Package{Name: "zlib1g", Version: "1:1.2.13.dfsg-1", Ecosystem: "Debian:12", PURL: "pkg:deb/debian/zlib1g@1.2.13.dfsg-1?epoch=1"}))
	exploited := vuln("CVE-2026-1", reconcile.Low, unfixed, func(v *reconcile.Vulnerability) { v.Exploited = true })
	likely := vuln("CVE-2026-1", reconcile.Low, unfixed, func(v *reconcile.Vulnerability) { v.EPSS = 0.6 })
	seen := func(ago time.Duration) reconcile.Vulnerability {
		return vuln("CVE-2026-1", reconcile.High, published(now.AddDate(-1, 0, 0)), func(v *reconcile.Vulnerability) { v.FirstSeen = now.Add(-ago) })
	}
	noscan := scans(silent("trivy", "no database"))
	infected := with(scan("av"), func(s *reconcile.Scan) {
		s.MalwareChecked, s.Malware = true, []reconcile.Malware{{ID: "Eicar", Path: "usr/bin/x"}}
	})

	for _, c := range []struct {
		name, rule, body string
		image            image
		want             string // the identifiers of the findings; those that rest on missing evidence end in a question mark
	}{
		{"no licence is denied", "licenses", `deny = ["GPL-3.0-only"]`, licensed("MIT"), ""},
		{"a denied one", "licenses", `deny = ["GPL-3.0-only"]`, licensed("GPL-3.0-only"), "GPL-3.0-only"},
		{"a denied family", "licenses", `deny = ["AGPL-*"]`, licensed("AGPL-1.0-or-later"), "AGPL-1.0-or-later"},
		{"a choice that avoids it", "licenses", `deny = ["GPL-3.0-only"]`, licensed("GPL-3.0-only OR MIT"), ""},
		{"no choice", "licenses", `deny = ["GPL-3.0-only"]`, licensed("GPL-3.0-only AND MIT"), "GPL-3.0-only AND MIT"},
		{"brackets", "licenses", `deny = ["GPL-3.0-only"]`, licensed("(GPL-3.0-only OR MIT) AND ISC"), ""},
		{"an exception makes it no other licence", "licenses", `deny = ["GPL-2.0-only"]`, licensed("GPL-2.0-only WITH Classpath-exception-2.0"), "GPL-2.0-only WITH Classpath-exception-2.0"},
		{"with an exception alone", "licenses", `allow = ["GPL-2.0-only WITH Classpath-exception-2.0"]`, licensed("GPL-2.0-only", "GPL-2.0-only WITH Classpath-exception-2.0"), "GPL-2.0-only"},
		{"only those allowed", "licenses", `allow = ["MIT", "ISC"]`, licensed("MIT", "Apache-2.0", "ISC"), "Apache-2.0"},
		{"denied though allowed", "licenses", "allow = [\"MIT\"]\ndeny = [\"MIT\"]", licensed("MIT"), "MIT"},
		{"none allowed", "licenses", `allow = []`, licensed("MIT"), "MIT"},
		{"an older name", "licenses", `deny = ["GPL-2.0-or-later"]`, licensed("GPL-2.0+"), "GPL-2.0-or-later"},
		{"none stated", "licenses", `deny = ["MIT"]`, licensed(""), "unknown-license?"},
		{"none stated, let pass", "licenses", "deny = [\"MIT\"]\nunknown = \"allow\"", licensed(""), ""},
		{"none that is one", "licenses", `deny = ["MIT"]`, licensed("see COPYING"), "unknown-license"},
		{"none that SPDX knows", "licenses", `deny = ["MIT"]`, licensed("Acme-1.0"), "unknown-license"},
		{"an unknown one or a known one", "licenses", `deny = ["GPL-3.0-only"]`, licensed("Acme-1.0 OR MIT"), ""},
		{"an unknown one and a denied one", "licenses", "deny = [\"GPL-3.0-only\"]\nunknown = \"allow\"", licensed("Acme-1.0 AND GPL-3.0-only"), "Acme-1.0 AND GPL-3.0-only"},
		{"one of our own", "licenses", `allow = ["LicenseRef-acme"]`, licensed("LicenseRef-acme"), ""},
		{"two scanners differ", "licenses", `deny = ["GPL-3.0-only"]`, scans(listing("trivy", pkg("pkg:npm/a@1", "MIT")), listing("builtin", pkg("pkg:npm/a@1", "GPL-3.0-only"))), "GPL-3.0-only"},
		{"no inventory", "licenses", `deny = ["MIT"]`, scans(scan("trivy")), "no-inventory?"},
		{"no verdict", "licenses", `deny = ["MIT"]`, noscan, "no-inventory?"},

		{"young", "age", `maximum = "30d"`, built(now.AddDate(0, 0, -29)), ""},
		{"old", "age", `maximum = "30d"`, built(now.AddDate(0, 0, -31)), "too-old"},
		{"of no age", "age", `maximum = "30d"`, built(time.Time{}), "unknown-age?"},
		{"of 1970", "age", `maximum = "30d"`, built(time.Unix(0, 0)), "unknown-age?"},
		{"of a day to come", "age", `maximum = "30d"`, built(now.AddDate(1, 0, 0)), "unknown-age?"},
		{"of no age, let pass", "age", "maximum = \"30d\"\nunknown = \"allow\"", built(time.Time{}), ""},
		{"review is not due", "age", `review_by = "required"`, review("2026-11-22"), ""},
		{"review is due", "age", `review_by = "respected"`, review("2026-11-21"), "review-is-due"},
		{"no review", "age", `review_by = "required"`, review(""), "no-review-date"},
		{"no review is needed", "age", `review_by = "respected"`, review(""), ""},

		{"maintained", "end_of_life", ``, scans(supported("2027-06-30", false)), ""},
		{"on its last day", "end_of_life", ``, scans(supported("2026-11-21", true)), ""},
		{"ended yesterday", "end_of_life", ``, scans(supported("2026-11-20", false)), "end-of-life"},
		{"in grace", "end_of_life", `grace = "7d"`, scans(supported("2026-11-20", false)), ""},
		{"after grace", "end_of_life", `grace = "7d"`, scans(supported("2026-11-01", false)), "end-of-life"},
		{"ends soon", "end_of_life", `notice = "30d"`, scans(supported("2026-12-01", false)), "end-is-near"},
		{"not so soon", "end_of_life", `notice = "30d"`, scans(supported("2027-12-01", false)), ""},
		{"ended, nobody knows when", "end_of_life", `grace = "900d"`, scans(supported("", true)), "end-of-life"},
		{"no end is known", "end_of_life", ``, scans(supported("", false)), ""},
		{"the earliest end counts", "end_of_life", ``, scans(supported("2029-01-01", false), with(supported("2026-01-01", false), func(s *reconcile.Scan) { s.Scanner = "b" })), "end-of-life"},
		{"extended", "end_of_life", `extended = { "Debian:12" = "2030-01-01" }`, scans(supported("2026-01-01", true)), ""},
		{"extended until yesterday", "end_of_life", `extended = { "debian:12" = "2026-11-20" }`, scans(supported("2026-01-01", true)), "end-of-life"},
		{"another release is extended", "end_of_life", `extended = { "debian:11" = "2030-01-01" }`, scans(supported("2026-01-01", true)), "end-of-life"},
		{"no distribution", "end_of_life", ``, scans(scan("trivy")), "unknown-distribution?"},
		{"no distribution, let pass", "end_of_life", `unknown = "allow"`, scans(scan("trivy")), ""},
		{"an unknown release", "end_of_life", ``, scans(with(scan("trivy"), func(s *reconcile.Scan) { s.Distribution = "acme:1" })), "unknown-support?"},
		{"no verdict about its end", "end_of_life", `unknown = "allow"`, noscan, "no-verdict?"},

		{"small", "size", `maximum = "1000B"`, image{}, ""},
		{"large", "size", `maximum = "999B"`, image{}, "too-large"},
		{"many layers", "size", `layers = 1`, image{change: func(s *reconcile.Subject) {
			s.Evidence.Tree.Manifests[0].Blobs = make([]reconcile.Blob, 3)
		}}, "too-many-layers"},

		{"a user", "config", `forbid_root = true`, user("nginx"), ""},
		{"a number", "config", `forbid_root = true`, user("65532:0"), ""},
		{"no user", "config", `forbid_root = true`, user(""), "root-user"},
		{"root", "config", `forbid_root = true`, user("root:nginx"), "root-user"},
		{"zero", "config", `forbid_root = true`, user("0"), "root-user"},
		{"zeroes", "config", `forbid_root = true`, user("000:1"), "root-user"},
		{"a signed zero", "config", `forbid_root = true`, user("+0"), "root-user"},
		{"only a group", "config", `forbid_root = true`, user(":1000"), "root-user"},
		{"one of the users", "config", `users = ["nonroot*", "65532"]`, user("nonroot-a:x"), ""},
		{"none of the users", "config", `users = ["nonroot*"]`, user("nginx"), "user"},
		{"its program", "config", `entrypoint = ["/app/*"]`, image{config: reconcile.ConfigInfo{Entrypoint: []string{"/app/x"}, Command: []string{"/bin/sh"}}}, ""},
		{"another program", "config", `entrypoint = ["/app/*"]`, image{config: reconcile.ConfigInfo{Command: []string{"/bin/sh"}}}, "entrypoint"},
		{"no program", "config", `entrypoint = ["/app/*"]`, image{}, "entrypoint"},
		{"a port", "config", `ports = ["80/tcp", "1024-2000/udp"]`, ports("1500/udp", "80/tcp"), ""},
		{"other ports", "config", `ports = ["80/tcp"]`, ports("80/udp", "81/tcp"), "80/udp 81/tcp"},
		{"no ports", "config", `ports = []`, ports("80/tcp"), "80/tcp"},
		{"a range of ports", "config", `ports = ["1024-2000"]`, ports("1000-1500/tcp"), "1000-1500/tcp"},
		{"what is no port", "config", `ports = ["1-65535/tcp"]`, ports("x"), "x"},
		{"no secret", "config", `forbid_secrets = true`, env("PATH=/bin", "GPG_KEY=A035C8C19219BA821ECEA86B64E628F8D684696D", "TOKENIZER=x", "DB_PASSWORD=", "PASSWORD_FILE=/run/secrets/x"), ""},
		{"secrets by name", "config", `forbid_secrets = true`, env("DB_PASSWORD=x", "API_TOKEN=y", "AWS_SECRET_ACCESS_KEY=z"), "secret:API_TOKEN secret:AWS_SECRET_ACCESS_KEY secret:DB_PASSWORD"},
		{"secrets by value", "config", `forbid_secrets = true`, env("A=-----BEGIN RSA PRIVATE KEY-----", "B=AKIAABCDEFGHIJKLMNOP", "C=postgres://u:p@db/x"), "secret:A secret:B secret:C"},
		{"no secret, says the policy", "config", "forbid_secrets = true\nnot_secret = [\"TEST_*\"]", env("TEST_PASSWORD=x"), ""},
		{"a label", "config", `labels = { "a.b" = "https://acme.example/**" }`, labels("a.b", "https://acme.example/x/y"), ""},
		{"a label with another value", "config", `labels = { "a.b" = "https://acme.example/**" }`, labels("a.b", "https://evil.example/x"), "label:a.b"},
		{"an empty label", "config", `labels = { "a.b" = "**" }`, labels("a.b", ""), "label:a.b"},
		{"no label", "config", `labels = { "a.b" = "*" }`, image{}, "label:a.b"},
		{"an annotation", "config", `annotations = { "a" = "x" }`, image{notes: map[string]string{"a": "x"}}, ""},
		{"no annotation", "config", `annotations = { "a" = "x" }`, labels("a", "x"), "annotation:a"},

		{"by name", "packages", `deny = ["lodash"]`, lodash, "lodash"},
		{"by another name", "packages", `deny = ["lodas"]`, lodash, ""},
		{"by a pattern", "packages", `deny = ["lo*"]`, lodash, "lo*"},
		{"by purl", "packages", `deny = ["pkg:npm/lodash"]`, lodash, "pkg:npm/lodash"},
		{"of another type", "packages", `deny = ["pkg:pypi/lodash"]`, lodash, ""},
		{"this version", "packages", `deny = ["pkg:npm/lodash@4.17.4"]`, lodash, "pkg:npm/lodash@4.17.4"},
		{"another version", "packages", `deny = ["pkg:npm/lodash@4.17.5"]`, lodash, ""},
		{"below", "packages", `deny = ["pkg:npm/lodash@<4.17.21"]`, lodash, "pkg:npm/lodash@<4.17.21"},
		{"as numbers, not as text", "packages", `deny = ["pkg:npm/lodash@<4.9.0"]`, lodash, ""},
		{"in a range", "packages", `deny = ["pkg:npm/lodash@>=4.0,<4.17.21"]`, lodash, "pkg:npm/lodash@>=4.0,<4.17.21"},
		{"above a range", "packages", `deny = ["pkg:npm/lodash@>=3.0,<4.0"]`, lodash, ""},
		{"at its end", "packages", `deny = ["lodash@<=4.17.4"]`, lodash, "lodash@<=4.17.4"},
		{"beyond its end", "packages", `deny = ["lodash@>4.17.4"]`, lodash, ""},
		{"with Debian's epoch", "packages", `deny = ["pkg:deb/debian/zlib1g@<1:1.2.14"]`, zlib, "pkg:deb/debian/zlib1g@<1:1.2.14"},
		{"without its epoch it is newer", "packages", `deny = ["pkg:deb/debian/zlib1g@<9.0"]`, zlib, ""},
		{"a tilde is older", "packages", `deny = ["pkg:deb/debian/a@<2.0"]`, scans(listing("trivy", pkg("pkg:deb/debian/a@2.0~rc1", ""))), "pkg:deb/debian/a@<2.0"},
		{"of no ecosystem", "packages", `deny = ["x@<2.0"]`, scans(listing("trivy", reconcile.Package{Name: "x", Version: "3"})), "x@<2.0"},
		{"Go's v", "packages", `deny = ["pkg:golang/golang.org/x/net@<0.17.0"]`, scans(listing("trivy", pkg("pkg:golang/golang.org/x/net@v0.7.0", ""))), "pkg:golang/golang.org/x/net@<0.17.0"},
		{"a namespace", "packages", `deny = ["pkg:npm/@acme/**"]`, scans(listing("trivy", pkg("pkg:npm/%40acme/x@1", ""))), "pkg:npm/@acme/**"},
		{"nobody lists packages", "packages", `deny = ["lodash"]`, scans(scan("trivy")), "no-inventory?"},

		{"no malware", "malware", ``, scans(with(scan("av"), func(s *reconcile.Scan) { s.MalwareChecked = true })), ""},
		{"malware", "malware", ``, scans(infected), "Eicar"},
		{"nobody looked", "malware", ``, scans(scan("trivy")), "no-malware-scan?"},
		{"one of two looked", "malware", `minimum = 2`, scans(infected, scan("trivy")), "Eicar no-malware-scan?"},
		{"a scan without a verdict", "malware", ``, scans(with(infected, func(s *reconcile.Scan) { s.NoVerdict = "x" })), "no-malware-scan?"},

		{"known to be exploited", "vulnerabilities", `exploited = true`, scans(scan("trivy", exploited)), "CVE-2026-1"},
		{"fixable or not", "vulnerabilities", "exploited = true\nfixable = true", scans(scan("trivy", exploited)), "CVE-2026-1"},
		{"exploited, not asked about", "vulnerabilities", ``, scans(scan("trivy", exploited)), ""},
		{"likely to be", "vulnerabilities", `epss = 0.5`, scans(scan("trivy", likely)), "CVE-2026-1"},
		{"less likely", "vulnerabilities", `epss = 0.7`, scans(scan("trivy", likely)), ""},
		{"seen lately", "vulnerabilities", "grace = \"7d\"\nsince = \"seen\"", scans(scan("trivy", seen(time.Hour))), ""},
		{"seen long ago", "vulnerabilities", "grace = \"7d\"\nsince = \"seen\"", scans(scan("trivy", seen(200*time.Hour))), "CVE-2026-1"},
		{"never seen", "vulnerabilities", "grace = \"7d\"\nsince = \"seen\"", scans(scan("trivy", vuln("CVE-2026-1", reconcile.High, published(now)))), "CVE-2026-1"},
		{"published long ago", "vulnerabilities", "grace = \"7d\"", scans(scan("trivy", seen(time.Hour))), "CVE-2026-1"},
		{"one scanner's severity", "vulnerabilities", `severity_of = "trivy"`, scans(scan("trivy", vuln("CVE-2026-1", reconcile.Low)), scan("grype", vuln("CVE-2026-1", reconcile.Critical))), ""},
		{"or the highest where it has none", "vulnerabilities", `severity_of = "trivy"`, scans(scan("trivy", vuln("CVE-2026-1", "")), scan("grype", vuln("CVE-2026-1", reconcile.Critical))), "CVE-2026-1"},
		{"nobody gave a verdict", "vulnerabilities", ``, noscan, "no-verdict?"},
		{"nobody saw a package", "vulnerabilities", ``, scans(reconcile.Scan{Scanner: "trivy"}), "no-packages?"},

		{"a database of tomorrow", "scanners", `max_age = "7d"`, scans(with(scan("trivy"), func(s *reconcile.Scan) { s.Database = now.AddDate(0, 0, 2) })), "too-few-scanners?"},
		{"signature", "signature", "keyless {\nissuer = \"https://a.example\"\nsubject = \"x\"\n}", image{}, "no-evidence?"},
		{"provenance", "provenance", "keyless {\nissuer = \"https://a.example\"\nsubject = \"x\"\n}", image{}, "no-evidence?"},
		{"approval", "approval", `required = 1`, image{}, "no-evidence?"},
		{"another image", "approval", "required = 1\nimages = [\"redis\", \"acme-*\"]", image{}, ""},
		{"this image", "approval", "required = 1\nimages = [\"ng*\"]", image{}, "no-evidence?"},

		{"over vulnerabilities", "condition", `assert = !anytrue([for v in image.vulnerabilities : v.severity == "high" && length(v.scanners) > 1])`, scans(scan("a", vuln("CVE-2026-1", reconcile.High)), scan("b", vuln("CVE-2026-1", reconcile.High))), "condition"},
		{"over who is silent", "condition", `assert = alltrue([for v in image.vulnerabilities : length(v.silent) == 0])`, scans(scan("a", vuln("CVE-2026-1", reconcile.High)), scan("b")), "condition"},
		{"over no vulnerabilities", "condition", `assert = length(image.vulnerabilities) == 0`, scans(scan("a")), ""},
		{"over vulnerabilities that nobody looked for", "condition", `assert = length(image.vulnerabilities) == 0`, noscan, "no-verdict?"},
		{"over an image in which nobody saw anything", "condition", `assert = length(image.vulnerabilities) == 0`, scans(reconcile.Scan{Scanner: "a"}), "no-packages?"},
		{"over packages", "condition", `assert = !contains([for p in image.packages : p.name], "curl") && image.packages[0].version == "4.17.4"`, lodash, ""},
		{"over packages that nobody lists", "condition", `assert = length(image.packages) == 0`, scans(scan("a")), "no-inventory?"},
		{"over licences", "condition", `assert = contains(image.licenses, "MIT")`, lodash, ""},
		{"over licences that nobody knows", "condition", `assert = length(image.licenses) == 0`, noscan, "no-inventory?"},
		{"over the distribution", "condition", `assert = startswith(image.distribution, "debian:") && image.support.known && !image.support.ended && image.support.until == "2027-06-30"`, scans(supported("2027-06-30", false)), ""},
		{"over a distribution that nobody knows", "condition", `assert = image.distribution == ""`, noscan, "no-verdict?"},
		{"over scanners", "condition", `assert = length([for s in image.scanners : s.name if s.verdict]) == 1 && image.scanners[0].reason == "no database"`, scans(scan("z"), silent("trivy", "no database")), ""},
		{"over the configuration", "condition", `assert = image.config.env == tolist(["A"]) && image.config.entrypoint[0] == "/app" && length(image.config.ports) == 0`, image{config: reconcile.ConfigInfo{Env: []string{"A=secret"}, Entrypoint: []string{"/app"}}}, ""},
		{"over annotations", "condition", `assert = image.annotations["a"] == "x"`, image{notes: map[string]string{"a": "x"}}, ""},
	} {
		t.Run(c.rule+": "+c.name, func(t *testing.T) {
			s := scanned(subjectOn(t, "linux/amd64"), "linux/amd64", c.image.scans...)
			s.Evidence.Tree.Manifests[0].Config, s.Evidence.Tree.Manifests[0].Notes = c.image.config, c.image.notes
			if c.image.change != nil {
				c.image.change(&s)
			}
			var got []string
			for _, f := range rule(t, c.rule, c.body).Check(s, now) {
				id := f.ID
				if f.Unknown {
					id += "?"
				}
				if f.Summary == "" || f.Detail == "" || strings.Contains(f.Summary+f.Detail, "AKIA") {
					t.Errorf("%+v", f)
				}
				got = append(got, id)
			}
			slices.Sort(got)
			if strings.Join(got, " ") != c.want {
				t.Errorf("got %q, want %q", strings.Join(got, " "), c.want)
			}
		})
	}
}

func TestWhatAllRulesUnderstand(t *testing.T) {
	decoded := func(body string) reconcile.Bound {
		r, diags := decode(t, "approval", "required = 1\n"+body)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		return r.(reconcile.Bound)
	}
	if b := decoded(""); b.Warn || b.OnViolation != reconcile.ReportIt || b.Grace != 0 {
		t.Errorf("%+v", b)
	}
	if b := decoded(`enforcement = "warn"`); !b.Warn {
		t.Errorf("%+v", b)
	}
	if b := decoded(`on_violation = "quarantine"`); b.OnViolation != reconcile.Quarantine {
		t.Errorf("%+v", b)
	}
	if b := decoded(`on_violation = "remove"`); b.OnViolation != reconcile.Remove || b.Grace != 7*24*time.Hour {
		t.Errorf("%+v", b)
	}
	if b := decoded("on_violation = \"remove\"\nviolation_grace = \"2d\""); b.Grace != 48*time.Hour {
		t.Errorf("%+v", b)
	}
}
