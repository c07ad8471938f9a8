package policy

import (
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/assay-oci/assay/reconcile"
)

// A rule's body may come from a pull request: whatever it says is a rule or a diagnostic.
func FuzzRules(f *testing.F) {
	for _, d := range definitions {
		file, diags := hclsyntax.ParseConfig([]byte(d.example), "x.hcl", hcl.InitialPos)
		if diags.HasErrors() {
			f.Fatal(diags)
		}
		b := file.Body.(*hclsyntax.Body).Blocks[0].Body
		f.Add(d.name, string(b.SrcRange.SliceBytes(file.Bytes)[1:len(b.SrcRange.SliceBytes(file.Bytes))-1]))
	}
	f.Add("condition", `assert = alltrue([for k, v in image.config.labels : length(split(",", v)) < max(3, length(keys(image.config.labels)))])`)
	f.Add("condition", `assert = lookup(image.config.labels, "a", "b") == image.tags[0] && contains(values(image.config.labels), "x")`)
	f.Add("condition", `assert = try(regex("a+", image.name), join(",", distinct(image.licenses)), format("%s", image.packages)) != null`)
	f.Add("condition", `assert = length([for v in image.vulnerabilities : replace(v.id, "/(C)/", "$1$1") if timecmp(coalesce(v.published, "x"), "y") > 0]) == 0`)
	f.Add("packages", `deny = ["pkg:npm/a@<1,>=x", "*@1"]`)
	f.Add("licenses", "allow = [\"MIT\", \"GPL-*\"]\nunknown = \"allow\"")
	f.Add("condition", `assert = anytrue(image.tags[*] == "x" ? [true] : [])`)
	f.Fuzz(func(t *testing.T, name, body string) {
		if len(body) > 2000 {
			return
		}
		decode, ok := Rules()[name]
		if !ok {
			return
		}
		file, diags := hclsyntax.ParseConfig([]byte(body), "x.hcl", hcl.InitialPos)
		if diags.HasErrors() {
			return
		}
		r, diags := decode(file.Body)
		if diags.HasErrors() {
			return
		}
		s := subjectOn(t, "linux/amd64", "linux/arm64")
		s.Evidence.Tree.Manifests[0].Config = reconcile.ConfigInfo{User: "u", Labels: map[string]string{"a": "b", "": "\x00"}}
		s = scanned(s, "linux/amd64", listing("trivy", pkg("pkg:npm/a@1.0", "MIT OR Acme")), scan("grype", vuln("CVE-2026-1", reconcile.High)))
		r.Check(s, now)
		r.Check(reconcile.Subject{}, now)
	})
}

// Versions and package URLs come out of images.
func FuzzPackages(f *testing.F) {
	f.Add("pkg:npm/lodash@>=1,<2", "pkg:npm/lodash@1.5", "1.5", "npm")
	f.Add("a*@=1:2~rc", "", "1:2", "Debian:12")
	f.Add("pkg:maven/a/b@<2.0-beta", "pkg:maven/a/b@2.0", "", "")
	f.Fuzz(func(t *testing.T, pattern, purl, version, ecosystem string) {
		p, err := parsePackagePattern(pattern)
		if err != nil || checkPatterns(hcl.EmptyBody(), "deny", []string{p.name}) != nil {
			return
		}
		x := reconcile.Package{Name: "a", Version: version, Ecosystem: ecosystem, PURL: purl}
		every := p
		every.ranges = nil
		if p.matches(x) && !every.matches(x) {
			t.Errorf("%q matches only with its versions", pattern)
		}
		for _, e := range ecosystemNames {
			if a, ok := compareVersions(version, purl, e); ok {
				if b, ok := compareVersions(purl, version, e); ok && a != -b {
					t.Logf("%s compares %q and %q as %d and %d", e, version, purl, a, b)
				}
			}
		}
	})
}
