package external

import (
	"cmp"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/assay-oci/assay/reconcile"
)

// A PURL is a package URL in parts: type, namespace, name and version of the package-url specification, unescaped.
type PURL struct {
	Type, Namespace, Name, Version string
	Qualifiers                     url.Values
}

const maxPURL = 4096 // bytes

// ParsePURL reads a package URL. ok is false for what is none.
func ParsePURL(s string) (p PURL, ok bool) {
	rest, ok := strings.CutPrefix(s, "pkg:")
	if !ok || len(s) > maxPURL {
		return p, false
	}
	rest, _, _ = strings.Cut(rest, "#")
	rest, query, _ := strings.Cut(rest, "?")
	var err error
	if p.Qualifiers, err = url.ParseQuery(query); err != nil {
		return p, false
	}
	path := strings.Trim(rest, "/")
	if i := strings.LastIndex(path, "@"); i > 0 { // a scope's "@" is escaped, or stands at the beginning of a segment
		if path[i-1] != '/' {
			path, p.Version = path[:i], path[i+1:]
		}
	}
	var name string
	p.Type, name, ok = strings.Cut(path, "/")
	if !ok || p.Type == "" || name == "" {
		return p, false
	}
	p.Type = strings.ToLower(p.Type)
	if i := strings.LastIndex(name, "/"); i >= 0 {
		p.Namespace, name = name[:i], name[i+1:]
	}
	p.Name = name
	for _, part := range []*string{&p.Namespace, &p.Name, &p.Version} {
		if *part, err = url.PathUnescape(*part); err != nil {
			return p, false
		}
	}
	return p, p.Name != "" && purlType.MatchString(p.Type) && !strings.ContainsFunc(p.Namespace+p.Name+p.Version, unprintable)
}

var purlType = regexp.MustCompile(`^[a-z][a-z0-9.+-]*$`)

func unprintable(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }

// Folded writes alike what scanners write differently: trivy's qualifier "epoch" goes into the version, and Go's versions have no "v".
func (p PURL) Folded() PURL {
	q := url.Values{}
	for k, v := range p.Qualifiers {
		if k != "epoch" {
			q[k] = v
		}
	}
	if e := p.Qualifiers.Get("epoch"); e != "" && e != "0" && p.Version != "" && !strings.Contains(p.Version, ":") {
		p.Version = e + ":" + p.Version
	}
	if p.Type == "golang" {
		p.Version = strings.TrimPrefix(p.Version, "v")
	}
	p.Qualifiers = q
	return p
}

// String writes the package URL in its canonical form.
func (p PURL) String() string {
	var b strings.Builder
	b.WriteString("pkg:" + p.Type + "/")
	for part := range strings.SplitSeq(p.Namespace, "/") {
		if part != "" {
			b.WriteString(escape(part) + "/")
		}
	}
	b.WriteString(escape(p.Name))
	if p.Version != "" {
		b.WriteString("@" + escape(p.Version))
	}
	if len(p.Qualifiers) > 0 {
		b.WriteString("?" + strings.ReplaceAll(p.Qualifiers.Encode(), "+", "%20"))
	}
	return b.String()
}

func escape(s string) string {
	return strings.NewReplacer("%3A", ":", "+", "%20", "%7E", "~").Replace(url.QueryEscape(s))
}

// FullName is the name as people write it in the package's ecosystem: "golang.org/x/net", "@scope/name", "group:artifact".
func (p PURL) FullName() string {
	switch {
	case p.Namespace == "" || p.Type == "deb" || p.Type == "apk" || p.Type == "rpm":
		return p.Name
	case p.Type == "maven":
		return p.Namespace + ":" + p.Name
	}
	return p.Namespace + "/" + p.Name
}

// languages gives OSV's ecosystem to each purl type of a language's packages.
var languages = map[string]string{
	"npm": "npm", "golang": "Go", "pypi": "PyPI", "maven": "Maven", "cargo": "crates.io", "gem": "RubyGems", "nuget": "NuGet", "composer": "Packagist",
	"hex": "Hex", "pub": "Pub", "swift": "SwiftURL", "conan": "ConanCenter", "cran": "CRAN", "hackage": "Hackage", "julia": "Julia", "bitnami": "Bitnami",
	"cocoapods": "CocoaPods", "conda": "conda", "githubactions": "GitHub Actions",
}

// Ecosystem names the package's ecosystem as OSV does. Packages of a system need the distribution, such as "debian:12", by which an unknown
// type is its own ecosystem.
func (p PURL) Ecosystem(distribution string) string {
	switch p.Type {
	case "deb", "apk", "rpm":
		return systemEcosystem(cmp.Or(p.Namespace, "unknown"), distribution)
	}
	return cmp.Or(languages[p.Type], p.Type)
}

// TypeOf gives the purl type of an ecosystem, and the namespace for those of distributions.
func TypeOf(ecosystem string) (typ, namespace string) {
	base, _, _ := strings.Cut(ecosystem, ":")
	for t, e := range languages {
		if strings.EqualFold(e, base) {
			return t, ""
		}
	}
	for id, d := range distributions {
		if strings.EqualFold(d.ecosystem, base) && !d.alias {
			return d.typ, id
		}
	}
	return strings.ToLower(strings.ReplaceAll(base, " ", "-")), ""
}

type distribution struct {
	ecosystem, typ string
	parts          int    // of the version that tell releases apart
	prefix         string // before the version, in OSV's name
	alias          bool   // another word for one that is here too
}

// distributions are the systems whose packages scanners know, by the ID of their os-release. Names and versions are those of
// https://ossf.github.io/osv-schema/#defined-ecosystems, where it has them.
var distributions = map[string]distribution{
	"debian":        {"Debian", "deb", 1, "", false},
	"ubuntu":        {"Ubuntu", "deb", 2, "", false},
	"alpine":        {"Alpine", "apk", 2, "v", false},
	"wolfi":         {"Wolfi", "apk", 0, "", false},
	"chainguard":    {"Chainguard", "apk", 0, "", false},
	"redhat":        {"Red Hat", "rpm", 1, "enterprise_linux:", false},
	"rhel":          {"Red Hat", "rpm", 1, "enterprise_linux:", true},
	"centos":        {"CentOS", "rpm", 1, "", false},
	"rocky":         {"Rocky Linux", "rpm", 1, "", false},
	"alma":          {"AlmaLinux", "rpm", 1, "", true},
	"almalinux":     {"AlmaLinux", "rpm", 1, "", false},
	"fedora":        {"Fedora", "rpm", 1, "", false},
	"amazon":        {"Amazon Linux", "rpm", 1, "", true},
	"amzn":          {"Amazon Linux", "rpm", 1, "", false},
	"oracle":        {"Oracle Linux", "rpm", 1, "", true},
	"ol":            {"Oracle Linux", "rpm", 1, "", false},
	"oraclelinux":   {"Oracle Linux", "rpm", 1, "", true},
	"photon":        {"Photon OS", "rpm", 2, "", false},
	"mariner":       {"Mariner", "rpm", 2, "", false},
	"cbl-mariner":   {"Mariner", "rpm", 2, "", true},
	"azurelinux":    {"Azure Linux", "rpm", 1, "", false},
	"sles":          {"SUSE", "rpm", 2, "Linux Enterprise Server ", false},
	"suse":          {"SUSE", "rpm", 2, "Linux Enterprise Server ", true},
	"opensuse":      {"openSUSE", "rpm", 2, "", false},
	"opensuse-leap": {"openSUSE", "rpm", 2, "Leap ", true},
}

func systemEcosystem(namespace, of string) string {
	id, version, _ := strings.Cut(of, ":")
	d, ok := distributions[id]
	if !ok {
		d, ok = distributions[strings.ToLower(namespace)]
		version = ""
	}
	if !ok {
		return namespace
	}
	parts := strings.Split(version, ".")
	if d.parts == 0 || version == "" {
		return d.ecosystem
	}
	return d.ecosystem + ":" + d.prefix + strings.Join(parts[:min(d.parts, len(parts))], ".")
}

// Distribution names a system as "debian:12": the part of its version that tells releases apart.
func Distribution(id, version string) string {
	id = strings.ToLower(strings.TrimSpace(id))
	if id == "" || id == "none" {
		return ""
	}
	version, _, _ = strings.Cut(version, " ") // trivy writes "2023 (Amazon Linux)"
	if version == "" {
		return id
	}
	parts := strings.Split(version, ".")
	n := len(parts)
	if d, ok := distributions[id]; ok && d.parts > 0 {
		n = min(d.parts, n)
	}
	return id + ":" + strings.Join(parts[:n], ".")
}

// SystemEcosystem names the ecosystem of a distribution's packages; empty for one that isn't known.
func SystemEcosystem(id, version string) string {
	if _, ok := distributions[strings.ToLower(id)]; !ok {
		return ""
	}
	return systemEcosystem(id, strings.ToLower(id)+":"+version)
}

// Package makes a package of its URL, or of what the scanner called it where that says nothing.
func Package(purl, name, version, distribution string) reconcile.Package {
	p, ok := ParsePURL(purl)
	if !ok {
		return reconcile.Package{Name: name, Version: version}
	}
	p = p.Folded()
	if p.Version == "" {
		p.Version = version
	}
	return reconcile.Package{Name: p.FullName(), Version: p.Version, Ecosystem: p.Ecosystem(distribution), PURL: p.String()}
}

// Sorted orders packages and removes those that are there twice, as where two files tell of one.
func Sorted(ps []reconcile.Package) []reconcile.Package {
	slices.SortFunc(ps, func(a, b reconcile.Package) int {
		return cmp.Or(cmp.Compare(a.PURL, b.PURL), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Path, b.Path))
	})
	return slices.CompactFunc(ps, func(a, b reconcile.Package) bool {
		return a.PURL == b.PURL && a.Name == b.Name && a.Version == b.Version && a.Path == b.Path
	})
}

// SortedVulnerabilities orders vulnerabilities and removes those that are there twice.
func SortedVulnerabilities(vs []reconcile.Vulnerability) []reconcile.Vulnerability {
	slices.SortFunc(vs, func(a, b reconcile.Vulnerability) int {
		return cmp.Or(cmp.Compare(a.Package.PURL, b.Package.PURL), cmp.Compare(a.Package.Name, b.Package.Name), cmp.Compare(a.ID, b.ID), -cmp.Compare(a.Severity.Rank(), b.Severity.Rank()))
	})
	return slices.CompactFunc(vs, func(a, b reconcile.Vulnerability) bool {
		return a.ID == b.ID && a.Package.PURL == b.Package.PURL && a.Package.Name == b.Package.Name && a.Package.Version == b.Package.Version
	})
}

var (
	cve  = regexp.MustCompile(`^(?:[A-Z]+-)?(CVE-\d{4}-\d{4,})$`) // with a distribution's prefix, as DEBIAN-CVE-2024-1234
	ghsa = regexp.MustCompile(`(?i)^GHSA(-[0-9a-z]{4}){3}$`)
)

// Identifiers picks the canonical identifier of several, a CVE before a GHSA before others, and returns the rest as aliases, sorted. What is no
// identifier is left out; id is empty if nothing is left.
func Identifiers(all ...string) (id string, aliases []string) {
	for _, s := range all {
		if s = canonical(s); s != "" && !slices.Contains(aliases, s) {
			aliases = append(aliases, s)
		}
	}
	if len(aliases) == 0 {
		return "", nil
	}
	slices.SortFunc(aliases, func(a, b string) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b)) })
	return aliases[0], slices.Clip(aliases[1:])
}

func canonical(s string) string {
	s = strings.TrimSpace(s)
	if s == "" || len(s) > 200 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	if m := cve.FindStringSubmatch(strings.ToUpper(s)); m != nil {
		return m[1]
	}
	if ghsa.MatchString(s) {
		return "GHSA" + strings.ToLower(s[len("GHSA"):])
	}
	return s
}

func rank(id string) int {
	switch {
	case strings.HasPrefix(id, "CVE-"):
		return 0
	case strings.HasPrefix(id, "GHSA-"):
		return 1
	}
	return 2
}

// Severity reads a scanner's word. One that isn't known is unknown.
func Severity(word string) reconcile.Severity {
	switch s := reconcile.Severity(strings.ToLower(strings.TrimSpace(word))); s {
	case reconcile.Negligible, reconcile.Low, reconcile.Medium, reconcile.High, reconcile.Critical:
		return s
	case "moderate":
		return reconcile.Medium
	case "important":
		return reconcile.High
	case "unimportant":
		return reconcile.Negligible
	}
	return reconcile.Unknown
}
