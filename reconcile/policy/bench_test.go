package policy

import (
	"fmt"
	"testing"

	"github.com/assay-oci/assay/reconcile"
)

// BenchmarkRules judges an image of 2,000 packages in which three scanners found 500 vulnerabilities each.
func BenchmarkRules(b *testing.B) {
	t := &testing.T{}
	s := subjectOn(t, "linux/amd64")
	for _, name := range []string{"trivy", "grype", "builtin"} {
		x := listing(name)
		for i := range 2000 {
			x.Inventory.Packages = append(x.Inventory.Packages, pkg(fmt.Sprintf("pkg:npm/p%d@1.0.%d", i, i), "MIT OR Apache-2.0"))
		}
		for i := range 500 {
			x.Vulnerabilities = append(x.Vulnerabilities, vuln(fmt.Sprintf("CVE-2026-%d", i), reconcile.High, in(pkg(fmt.Sprintf("pkg:npm/p%d@1.0.%d", i, i), ""))))
		}
		s = scanned(s, "linux/amd64", x)
	}
	for name, body := range map[string]string{
		"vulnerabilities": "", "licenses": `deny = ["AGPL-*"]`, "packages": `deny = ["pkg:npm/lodash@<4.17.21", "telnetd"]`,
		"condition": `assert = alltrue([for p in image.packages : !startswith(p.name, "x") && matches("^[0-9.]+$", p.version)])`,
	} {
		r := rule(t, name, body)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				r.Check(s, now)
			}
		})
	}
}
