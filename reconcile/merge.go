package reconcile

import (
	"cmp"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
)

// A Merged is what several scanners say together about one vulnerability of one package.
type Merged struct {
	ID        string    `json:"id"`                // canonical: a CVE where there is one, else a GHSA, else another
	Aliases   []string  `json:"aliases,omitempty"` // its other names; no other CVE
	Key       string    `json:"key"`               // PackageKey of the package
	Package   Package   `json:"package"`           // as the first scanner, by name, describes it
	Severity  Severity  `json:"severity"`          // the highest that any scanner gave
	FixedIn   []string  `json:"fixed_in,omitempty"`
	Published time.Time `json:"published,omitzero"`  // the earliest that any scanner knows
	FirstSeen time.Time `json:"first_seen,omitzero"` // the earliest
	EPSS      float64   `json:"epss,omitempty"`      // the highest
	Exploited bool      `json:"exploited,omitempty"` // whether any scanner says so
	Summary   string    `json:"summary,omitempty"`
	Reports   []Claim   `json:"reports"`          // what each said, side by side; sorted
	Silent    []string  `json:"silent,omitempty"` // who could have reported it and didn't: they disagree
}

// A Claim is one scanner's record of a vulnerability, as the scanner wrote it.
type Claim struct {
	Scanner string `json:"scanner"`
	Vulnerability
}

// Scanners lists who reported the vulnerability.
func (m Merged) Scanners() []string {
	var out []string
	for _, r := range m.Reports {
		out = append(out, r.Scanner)
	}
	return slices.Compact(out) // the reports are sorted by scanner
}

// Severities gives the highest severity that each scanner gave. One that gave none is there, with Unknown.
func (m Merged) Severities() map[string]Severity {
	out := map[string]Severity{}
	for _, r := range m.Reports {
		if had, ok := out[r.Scanner]; !ok || r.Severity.Rank() > had.Rank() {
			out[r.Scanner] = known(r.Severity)
		}
	}
	return out
}

func known(s Severity) Severity {
	if s.Rank() == 0 {
		return Unknown
	}
	return s
}

// Votes counts the independent scanners that reported the vulnerability, and those that could have: they gave a verdict, saw packages and
// cover the ecosystem. Two that read the same data have one vote.
func (m Merged) Votes() (reported, able int) {
	votes, voters := map[string]bool{}, map[string]bool{}
	for _, s := range m.Scanners() {
		votes[Voice(s)], voters[Voice(s)] = true, true
	}
	for _, s := range m.Silent {
		voters[Voice(s)] = true
	}
	return len(votes), len(voters)
}

// Voice names a scanner for counting: two that read the same data have one voice.
func Voice(scanner string) string {
	if scanner == "osv-scanner" {
		return "builtin"
	}
	return scanner
}

// Merge unites what scanners said about one manifest. Scans without a verdict are left out. The result is sorted, and depends neither on
// the order of the scans nor on how a scanner's reports are spread over several scans of it.
//
// Aliases unite within one package only: a record may cover several CVEs, and in another package they are apart. Where one record
// covers several CVEs of a package, each stays a vulnerability of its own, so that an exception from one is none from the others.
func Merge(scans []Scan) []Merged {
	byPackage := map[string][]Claim{}
	for _, s := range scans {
		if s.NoVerdict != "" {
			continue
		}
		for _, v := range s.Vulnerabilities {
			key := PackageKey(v.Package)
			byPackage[key] = append(byPackage[key], Claim{s.Scanner, v})
		}
	}
	var out []Merged
	for key, reports := range byPackage {
		for _, group := range united(reports) {
			out = append(out, vulnerabilitiesOf(key, group)...)
		}
	}
	for i := range out {
		out[i].Silent = silentAbout(out[i], scans)
	}
	slices.SortFunc(out, func(a, b Merged) int { return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.ID, b.ID)) })
	return out
}

// silentAbout lists the scanners that cover a vulnerability's package and did not report it.
func silentAbout(m Merged, scans []Scan) []string {
	reported := m.Scanners()
	var out []string
	for _, s := range scans {
		if s.NoVerdict == "" && s.Packages > 0 && s.Covers(m.Package) && !slices.Contains(reported, s.Scanner) {
			out = append(out, s.Scanner)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// united puts the reports that share an identifier into one group.
func united(reports []Claim) [][]Claim {
	parent := map[string]string{}
	find := func(id string) string {
		for parent[id] != id {
			parent[id] = parent[parent[id]]
			id = parent[id]
		}
		return id
	}
	first := make([]string, len(reports))
	for i, r := range reports {
		ids := Identifiers(r.Vulnerability)
		first[i] = ids[0]
		for _, id := range ids {
			if _, ok := parent[id]; !ok {
				parent[id] = id
			}
			parent[find(id)] = find(ids[0])
		}
	}
	groups := map[string][]Claim{}
	for i, r := range reports {
		groups[find(first[i])] = append(groups[find(first[i])], r)
	}
	out := make([][]Claim, 0, len(groups))
	for _, g := range groups {
		out = append(out, g)
	}
	return out
}

// vulnerabilitiesOf gives one vulnerability for each CVE that a group names, or one under its best name if it names none. What names no
// CVE speaks of all of them.
func vulnerabilitiesOf(key string, group []Claim) []Merged {
	var all []string
	for _, r := range group {
		all = append(all, Identifiers(r.Vulnerability)...)
	}
	names := Canonical(all)
	var out []Merged
	for _, name := range names {
		var about []Claim
		for _, r := range group {
			ids := Identifiers(r.Vulnerability)
			if !isCVE(name) || slices.Contains(ids, name) || !slices.ContainsFunc(ids, isCVE) {
				about = append(about, r)
			}
		}
		out = append(out, combine(name, key, about))
	}
	return out
}

func isCVE(id string) bool { return strings.HasPrefix(id, "CVE-") }

// Canonical picks the names to use of identifiers that mean the same or one another: each CVE, or else the first GHSA, or else the first.
func Canonical(ids []string) []string {
	var norm []string
	for _, id := range ids {
		if n := identifier(id); n != "" {
			norm = append(norm, n)
		}
	}
	slices.SortFunc(norm, func(a, b string) int { return cmp.Or(cmp.Compare(nameRank(a), nameRank(b)), cmp.Compare(a, b)) })
	norm = slices.Compact(norm)
	if len(norm) > 0 && !isCVE(norm[0]) {
		return norm[:1]
	}
	return slices.DeleteFunc(norm, func(id string) bool { return !isCVE(id) })
}

func nameRank(id string) int {
	switch {
	case isCVE(id):
		return 0
	case strings.HasPrefix(id, "GHSA-"):
		return 1
	}
	return 2
}

// combine takes the worst of each report: the highest severity, the earliest dates; and every fix.
func combine(id, key string, reports []Claim) Merged {
	slices.SortFunc(reports, compareClaims)
	reports = slices.CompactFunc(reports, func(a, b Claim) bool { return compareClaims(a, b) == 0 })
	m := Merged{ID: id, Key: key, Severity: Unknown, Package: reports[0].Package, Reports: reports}
	for _, r := range reports {
		if r.Severity.Rank() > m.Severity.Rank() {
			m.Severity = r.Severity
		}
		m.Published, m.FirstSeen = earliest(m.Published, r.Published), earliest(m.FirstSeen, r.FirstSeen)
		m.EPSS, m.Exploited = max(m.EPSS, r.EPSS), m.Exploited || r.Exploited
		if m.Summary == "" {
			m.Summary = r.Summary
		}
		for _, f := range r.FixedIn {
			if f = strings.TrimSpace(f); f != "" {
				m.FixedIn = append(m.FixedIn, f)
			}
		}
		for _, name := range Identifiers(r.Vulnerability) {
			if name != id && !isCVE(name) {
				m.Aliases = append(m.Aliases, name)
			}
		}
	}
	slices.Sort(m.FixedIn)
	slices.Sort(m.Aliases)
	m.FixedIn, m.Aliases = slices.Compact(m.FixedIn), slices.Compact(m.Aliases)
	return m
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// compareClaims orders reports by all that they say, so that the order in which they came in doesn't matter.
func compareClaims(a, b Claim) int {
	return cmp.Or(
		cmp.Compare(a.Scanner, b.Scanner), cmp.Compare(a.ID, b.ID), slices.Compare(a.Aliases, b.Aliases),
		comparePackages(a.Package, b.Package), cmp.Compare(a.Severity, b.Severity), slices.Compare(a.FixedIn, b.FixedIn),
		a.Published.Compare(b.Published), a.FirstSeen.Compare(b.FirstSeen), cmp.Compare(a.EPSS, b.EPSS),
		cmp.Compare(btoi(a.Exploited), btoi(b.Exploited)), cmp.Compare(a.Summary, b.Summary),
	)
}

func comparePackages(a, b Package) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Ecosystem, b.Ecosystem), cmp.Compare(a.PURL, b.PURL),
		cmp.Compare(a.Source, b.Source), cmp.Compare(a.License, b.License), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Layer, b.Layer))
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// vendored matches identifiers that a distribution makes of a CVE's.
var vendored = regexp.MustCompile(`^[A-Z][A-Z0-9]{1,20}-(CVE-[0-9]{4}-[0-9]+)$`)

// unnamed stands for a record without any identifier: it is still a vulnerability.
const unnamed = "UNNAMED"

// Identifiers lists a record's own identifier, then its aliases, as identifier writes them. There is always one.
func Identifiers(v Vulnerability) []string {
	var out []string
	for _, id := range append([]string{v.ID}, v.Aliases...) {
		if id = identifier(id); id != "" && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	if out == nil {
		out = []string{unnamed}
	}
	return out
}

// identifier writes an advisory's name the same way whoever gives it: DEBIAN-CVE-2026-1 is CVE-2026-1. Foreign text becomes one short line.
func identifier(id string) string {
	if len(id) > 200 {
		id = id[:200]
	}
	id = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar {
			return -1
		}
		return unicode.ToUpper(r)
	}, id)
	if m := vendored.FindStringSubmatch(id); m != nil {
		id = m[1]
	}
	if rest, ok := strings.CutPrefix(id, "GHSA-"); ok { // GitHub writes the rest in lower case
		id = "GHSA-" + strings.ToLower(rest)
	}
	return id
}

// Covers tells whether a scanner's database covers a package's ecosystem. "Debian" covers "Debian:12"; another release doesn't. Nothing
// covers a package whose ecosystem isn't known.
func (s Scan) Covers(p Package) bool {
	want := p.Ecosystem
	if want == "" {
		want = ecosystemOf(p.PURL)
	}
	if want == "" {
		return false
	}
	for _, e := range s.Ecosystems {
		if strings.EqualFold(e, want) || baseEcosystem(e) == baseEcosystem(want) && (!strings.Contains(e, ":") || !strings.Contains(want, ":")) {
			return true
		}
	}
	return false
}

// purlTypes gives the purl type and namespace of packages that a scanner names by OSV's ecosystem alone.
var purlTypes = map[string]string{
	"npm": "npm", "go": "golang", "pypi": "pypi", "maven": "maven", "crates.io": "cargo", "rubygems": "gem", "nuget": "nuget", "packagist": "composer",
	"hex": "hex", "pub": "pub", "swifturl": "swift",
	"debian": "deb/debian", "ubuntu": "deb/ubuntu", "alpine": "apk/alpine", "wolfi": "apk/wolfi", "chainguard": "apk/chainguard", "red hat": "rpm/redhat",
	"rocky linux": "rpm/rocky", "almalinux": "rpm/almalinux", "suse": "rpm/suse", "opensuse": "rpm/opensuse",
}

// EcosystemName names the package's ecosystem as OSV does, from its purl where the scanner gave none; empty if it isn't known.
func (p Package) EcosystemName() string {
	if p.Ecosystem != "" {
		return p.Ecosystem
	}
	return ecosystemOf(p.PURL)
}

// ecosystemOf names the ecosystem of a package URL, in lower case and without its release.
func ecosystemOf(purl string) string {
	name := strings.TrimPrefix(purl, "pkg:")
	longest := ""
	for ecosystem, typ := range purlTypes {
		if strings.HasPrefix(name, typ+"/") && len(typ) > len(purlTypes[longest]) {
			longest = ecosystem
		}
	}
	return longest
}

// maxPURL bounds the package URLs that are looked into.
const maxPURL = 4096

// PackageKey names a package the same way whoever reports it: "type/namespace/name@version" of its package URL (PURL specification),
// with what scanners write differently made equal.
func PackageKey(p Package) string {
	if name, version, ok := splitPURL(p.PURL); ok {
		if version == "" {
			return packageKey(name, p.Version, epochOf(p.PURL))
		}
		return packageKey(name, version, epochOf(p.PURL))
	}
	typ := purlTypes[baseEcosystem(p.Ecosystem)]
	if typ == "" {
		typ = "?" + baseEcosystem(p.Ecosystem)
	}
	name := p.Name
	if typ == "maven" {
		name = strings.ReplaceAll(name, ":", "/")
	}
	return packageKey(typ+"/"+name, p.Version, "")
}

// splitPURL parts a package URL into "type/namespace/name" and version, without qualifiers.
func splitPURL(purl string) (name, version string, ok bool) {
	rest, ok := strings.CutPrefix(purl, "pkg:")
	if !ok || len(purl) > maxPURL {
		return "", "", false
	}
	path, _, _ := strings.Cut(rest, "#")
	path, _, _ = strings.Cut(path, "?")
	name, version = path, ""
	if i := strings.LastIndex(path, "@"); i > 0 && path[i-1] != '/' { // an @ after a slash is a namespace such as @angular, not encoded
		name, version = path[:i], path[i+1:]
	}
	if u, err := url.PathUnescape(name); err == nil {
		name = u
	}
	if u, err := url.PathUnescape(version); err == nil {
		version = u
	}
	name = strings.Trim(name, "/")
	return name, version, name != ""
}

func epochOf(purl string) string {
	purl, _, _ = strings.Cut(purl, "#")
	_, query, _ := strings.Cut(purl, "?")
	q, err := url.ParseQuery(query)
	if err != nil {
		return ""
	}
	return q.Get("epoch")
}

func packageKey(name, version, epoch string) string {
	typ, rest := normalName(name)
	if typ == "golang" {
		version = strings.TrimPrefix(version, "v")
	}
	if epoch != "" && epoch != "0" && !strings.Contains(version, ":") {
		version = epoch + ":" + version // trivy writes the epoch as a qualifier, others into the version
	}
	return typ + "/" + rest + "@" + strings.TrimPrefix(version, "0:")
}

// normalName parts "type/rest" and writes both as the type's rules say.
func normalName(name string) (typ, rest string) {
	typ, rest, _ = strings.Cut(name, "/")
	if typ = strings.ToLower(typ); typ == "pypi" {
		rest = strings.ToLower(pypiSeparators.ReplaceAllString(rest, "-"))
	}
	return typ, rest
}

var pypiSeparators = regexp.MustCompile(`[-_.]+`)

// baseEcosystem is an ecosystem without its release, in lower case.
func baseEcosystem(s string) string {
	base, _, _ := strings.Cut(s, ":")
	return strings.ToLower(strings.TrimSpace(base))
}

// Is tells whether the package is what a person calls by name: a plain name is its name, and a package URL, with or without a version,
// is its purl's type, namespace and name, and its version where one is given. Qualifiers don't count.
func (p Package) Is(name string) bool {
	if !strings.HasPrefix(name, "pkg:") {
		return name == p.Name
	}
	want, version, ok := splitPURL(name)
	if !ok {
		return false
	}
	wantKey, key := packageKey(want, version, epochOf(name)), PackageKey(p)
	if version != "" {
		return wantKey == key
	}
	i := strings.LastIndex(key, "@")
	return i >= 0 && strings.TrimSuffix(wantKey, "@") == key[:i]
}
