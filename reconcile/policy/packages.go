package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/google/osv-scalibr/semantic"
	"github.com/hashicorp/hcl/v2"

	"github.com/assay-oci/assay/reconcile"
)

type packages struct {
	Deny []string `hcl:"deny" doc:"Packages that an image may not have: a name or a package URL, either with ?, * and ** in it, and with a range of versions behind an @: \"telnetd\", \"pkg:npm/lodash@<4.17.21\", \"pkg:maven/org.apache.logging.log4j/log4j-core@>=2.0,<2.17.1\", \"pkg:deb/debian/openssl@1.1.1n-0\"."`
}

func init() {
	register("packages", "Packages that no image may have. Versions are compared as the package's ecosystem does; one that can't be compared counts as denied. "+
		"The identifier of a finding is the pattern; a platform on which no scanner lists the packages is `no-inventory`.",
		`rule "packages" {
  deny = ["telnetd", "pkg:npm/event-stream@3.3.6", "pkg:maven/org.apache.logging.log4j/log4j-core@>=2.0,<2.17.1"]
}
`, buildPackages)
}

// A packagePattern is one entry of deny.
type packagePattern struct {
	text   string
	name   string // of a package, or "type/namespace/name" of a purl
	purl   bool
	ranges []versionBound // all must hold; none holds for every version
}

// A versionBound is one comparison, such as "<4.17.21".
type versionBound struct{ op, version string }

// versionOps are tried in this order, so that the longer ones come first.
var versionOps = []string{"<=", ">=", "<", ">", "="}

func buildPackages(p packages, body hcl.Body) (reconcile.Reads, check, hcl.Diagnostics) {
	var diags hcl.Diagnostics
	var deny []packagePattern
	if len(p.Deny) == 0 {
		diags = append(diags, mistake(at(body, "deny"), "Rule without effect", "The list names no package."))
	}
	if len(p.Deny) > maxPatterns {
		return 0, nil, hcl.Diagnostics{mistake(at(body, "deny"), "Too many patterns", "The list has more than %d patterns.", maxPatterns)}
	}
	for _, s := range p.Deny {
		x, err := parsePackagePattern(s)
		if err != nil {
			diags = append(diags, mistake(at(body, "deny"), "Invalid package", "%s.", err))
		} else if d := checkPatterns(body, "deny", []string{x.name}); d != nil {
			diags = append(diags, d...)
		}
		deny = append(deny, x)
	}
	return reconcile.ReadsInventory, func(s reconcile.Subject, now time.Time) []reconcile.Finding {
		return once(onEach(s, func(m reconcile.Manifest, _ string) []reconcile.Finding {
			vs := verdicts(s, m.Digest, 0, now)
			all, ok := inventory(vs)
			if !ok {
				return noInventory(vs, "denied packages", platformName(m))
			}
			var out []reconcile.Finding
			for _, l := range all {
				for _, d := range deny {
					if d.matches(l.Package) {
						out = append(out, reconcile.Finding{ID: d.text, Package: l.Name, PURL: l.PURL, Summary: fmt.Sprintf("the image has %s, which is denied (%s)", l.title(), clean(d.text, 200)),
							Detail: "use an image without it, or ask for a waiver"})
					}
				}
			}
			return out
		}))
	}, diags
}

// parsePackagePattern reads a name or purl with a range of versions behind its last @ that doesn't begin a namespace.
func parsePackagePattern(s string) (packagePattern, error) {
	bad := func(why string) error { return fmt.Errorf("%q %s", clean(s, 200), why) }
	if len(s) > 500 || strings.ContainsAny(s, "?#") && strings.HasPrefix(s, "pkg:") {
		return packagePattern{}, bad("is too long, or has qualifiers, which don't count")
	}
	name, purl := strings.CutPrefix(s, "pkg:")
	p := packagePattern{text: s, name: name, purl: purl}
	if i := strings.LastIndex(name, "@"); i > 0 && name[i-1] != '/' {
		p.name = name[:i]
		for part := range strings.SplitSeq(name[i+1:], ",") {
			b, ok := parseBound(strings.TrimSpace(part))
			if !ok {
				return packagePattern{}, bad(`has no version behind its @; write it as in "@1.2.3" or "@>=2.0,<2.17.1"`)
			}
			p.ranges = append(p.ranges, b)
		}
	}
	if purl && !strings.Contains(p.name, "/") {
		return packagePattern{}, bad(`is no package URL; write type and name, as in "pkg:npm/lodash"`)
	}
	if purl {
		p.name = strings.ReplaceAll(p.name, "%40", "@")
	}
	return p, nil
}

func parseBound(s string) (versionBound, bool) {
	for _, op := range versionOps {
		if v, ok := strings.CutPrefix(s, op); ok {
			v = strings.TrimSpace(v)
			return versionBound{op, v}, v != "" && !strings.ContainsAny(v, "<>=")
		}
	}
	return versionBound{"=", s}, s != "" && !strings.ContainsAny(s, "<>= ")
}

func (p packagePattern) matches(x reconcile.Package) bool {
	name, version := x.Name, x.Version
	if p.purl {
		key := reconcile.PackageKey(x)
		i := strings.LastIndex(key, "@")
		name = key[:i]
		if version == "" {
			version = key[i+1:]
		}
	}
	if ok, err := doublestar.Match(p.name, name); !ok || err != nil {
		return false
	}
	return !slices.ContainsFunc(p.ranges, func(b versionBound) bool { return !b.holds(version, x.EcosystemName()) })
}

// ecosystemNames are OSV's names of the ecosystems that a purl tells.
var ecosystemNames = map[string]string{
	"npm": "npm", "go": "Go", "pypi": "PyPI", "maven": "Maven", "crates.io": "crates.io", "rubygems": "RubyGems", "nuget": "NuGet", "packagist": "Packagist",
	"hex": "Hex", "pub": "Pub", "debian": "Debian", "ubuntu": "Ubuntu", "alpine": "Alpine", "wolfi": "Wolfi", "chainguard": "Chainguard", "red hat": "Red Hat",
	"rocky linux": "Rocky Linux", "almalinux": "AlmaLinux", "suse": "SUSE", "opensuse": "openSUSE", "swifturl": "SwiftURL",
}

// holds compares a version with the bound, as its ecosystem does. What can't be compared holds: it is better asked about than let pass.
func (b versionBound) holds(version, ecosystem string) bool {
	if version == b.version && b.op != "<" && b.op != ">" {
		return true
	}
	base, _, _ := strings.Cut(ecosystem, ":")
	if name, ok := ecosystemNames[strings.ToLower(base)]; ok {
		base = name
	}
	order, ok := compareVersions(version, b.version, base)
	if !ok {
		return true
	}
	switch b.op {
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	case ">=":
		return order >= 0
	}
	return order == 0
}

// maxVersion bounds the versions that are compared: no real one is nearly as long.
const maxVersion = 256

func compareVersions(a, b, ecosystem string) (int, bool) {
	if a == "" || len(a) > maxVersion || len(b) > maxVersion {
		return 0, false
	}
	if ecosystem == "Go" {
		a, b = strings.TrimPrefix(a, "v"), strings.TrimPrefix(b, "v")
	}
	v, err := semantic.Parse(a, ecosystem)
	if err != nil {
		return 0, false
	}
	order, err := v.CompareStr(b)
	return order, err == nil
}
