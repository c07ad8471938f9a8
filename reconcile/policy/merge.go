package policy

import (
	"cmp"
	"net/url"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

// A merged vulnerability is what several scanners said about one vulnerability of one package.
type merged struct {
	id        string // canonical: a CVE where there is one, else a GHSA, else another
	key       string // of the package
	pkg       reconcile.Package
	severity  reconcile.Severity // the highest that any scanner gave
	unknown   bool               // none gave one
	fixed     []string           // versions with a fix
	published time.Time          // the earliest date that any scanner gave; zero if none did
	summary   string
	scanners  []string // who reported it
}

// A report is one scanner's record of a vulnerability.
type report struct {
	scanner string
	ids     []string // its identifier and aliases, normalised
	vuln    reconcile.Vulnerability
}

// merge unites what scanners said about one manifest. Aliases unite within one package only: a record may cover several CVEs, and in
// another package they are apart. Where one record covers several CVEs of a package, each stays a vulnerability of its own, so
// that an exception from one is none from the others.
func merge(vs []verdict) []merged {
	byPackage := map[string][]report{}
	for _, v := range vs {
		if v.without != "" {
			continue
		}
		for _, x := range v.scan.Vulnerabilities {
			key := packageKey(x.Package)
			byPackage[key] = append(byPackage[key], report{v.scanner, identifiers(x), x})
		}
	}
	var out []merged
	for key, reports := range byPackage {
		for _, group := range united(reports) {
			out = append(out, vulnerabilitiesOf(key, group)...)
		}
	}
	sort.Slice(out, func(i, j int) bool { return cmp.Compare(out[i].key+"\x00"+out[i].id, out[j].key+"\x00"+out[j].id) < 0 })
	return out
}

// united puts the reports that share an identifier into one group.
func united(reports []report) [][]report {
	parent := map[string]string{}
	find := func(id string) string {
		for parent[id] != id {
			parent[id] = parent[parent[id]]
			id = parent[id]
		}
		return id
	}
	for _, r := range reports {
		for _, id := range r.ids {
			if _, ok := parent[id]; !ok {
				parent[id] = id
			}
			parent[find(id)] = find(r.ids[0])
		}
	}
	groups := map[string][]report{}
	for _, r := range reports {
		root := find(r.ids[0])
		groups[root] = append(groups[root], r)
	}
	out := make([][]report, 0, len(groups))
	for _, g := range groups {
		out = append(out, g)
	}
	return out
}

// vulnerabilitiesOf gives one vulnerability for each CVE that a group names, or one under its best name if it names none.
func vulnerabilitiesOf(key string, group []report) []merged {
	var cves, others []string
	for _, r := range group {
		for _, id := range r.ids {
			if strings.HasPrefix(id, "CVE-") {
				cves = append(cves, id)
			} else {
				others = append(others, id)
			}
		}
	}
	slices.Sort(cves)
	cves = slices.Compact(cves)
	if len(cves) == 0 {
		slices.SortFunc(others, func(a, b string) int {
			return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
		})
		return []merged{combine(others[0], key, group)}
	}
	var out []merged
	for _, cve := range cves {
		var about []report
		for _, r := range group {
			if slices.Contains(r.ids, cve) || !slices.ContainsFunc(r.ids, func(id string) bool { return strings.HasPrefix(id, "CVE-") }) {
				about = append(about, r)
			}
		}
		out = append(out, combine(cve, key, about))
	}
	return out
}

func rank(id string) int {
	if strings.HasPrefix(id, "GHSA-") {
		return 0
	}
	return 1
}

// combine takes the worst of each report: the highest severity, the earliest publication; and every fix.
func combine(id, key string, reports []report) merged {
	slices.SortStableFunc(reports, func(a, b report) int {
		return cmp.Or(cmp.Compare(a.scanner, b.scanner), cmp.Compare(a.vuln.Summary, b.vuln.Summary), cmp.Compare(a.vuln.Package.Name, b.vuln.Package.Name))
	})
	m := merged{id: id, key: key, severity: reconcile.Unknown, pkg: reports[0].vuln.Package}
	for _, r := range reports {
		v := r.vuln
		if v.Severity.Rank() > m.severity.Rank() {
			m.severity = v.Severity
		}
		if !v.Published.IsZero() && (m.published.IsZero() || v.Published.Before(m.published)) {
			m.published = v.Published
		}
		if m.summary == "" {
			m.summary = v.Summary
		}
		m.fixed = append(m.fixed, v.FixedIn...)
		m.scanners = append(m.scanners, r.scanner)
	}
	m.fixed = slices.DeleteFunc(m.fixed, func(s string) bool { return strings.TrimSpace(s) == "" })
	slices.Sort(m.fixed)
	slices.Sort(m.scanners)
	m.fixed, m.scanners = slices.Compact(m.fixed), slices.Compact(m.scanners)
	m.unknown = m.severity.Rank() == 0
	return m
}

// vendored matches identifiers that a distribution makes of a CVE's.
var vendored = regexp.MustCompile(`^[A-Z][A-Z0-9]{1,20}-(CVE-[0-9]{4}-[0-9]+)$`)

// identifiers lists a record's own identifier, then its aliases, normalised.
func identifiers(v reconcile.Vulnerability) []string {
	var out []string
	for _, id := range append([]string{v.ID}, v.Aliases...) {
		id = strings.ToUpper(clean(strings.TrimSpace(id), 200))
		if m := vendored.FindStringSubmatch(id); m != nil {
			id = m[1]
		}
		if strings.HasPrefix(id, "GHSA-") { // GitHub writes the rest in lower case
			id = "GHSA-" + strings.ToLower(id[len("GHSA-"):])
		}
		if id != "" && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	if out == nil {
		out = []string{"UNNAMED"}
	}
	return out
}

// purlTypes gives the purl type and namespace of packages that a scanner names by OSV's ecosystem alone.
var purlTypes = map[string]string{
	"npm": "npm", "go": "golang", "pypi": "pypi", "maven": "maven", "crates.io": "cargo", "rubygems": "gem", "nuget": "nuget", "packagist": "composer",
	"debian": "deb/debian", "ubuntu": "deb/ubuntu", "alpine": "apk/alpine", "wolfi": "apk/wolfi", "chainguard": "apk/chainguard", "red hat": "rpm/redhat",
	"rocky linux": "rpm/rocky", "almalinux": "rpm/almalinux", "suse": "rpm/suse", "opensuse": "rpm/opensuse",
}

// packageKey names a package the same way whoever reports it: type, namespace, name and version of its package URL (purl specification, "PURL
// specification"), with what scanners write differently made equal.
func packageKey(p reconcile.Package) string {
	if rest, ok := strings.CutPrefix(p.PURL, "pkg:"); ok && len(p.PURL) < 4096 {
		path, query, _ := strings.Cut(rest, "?")
		path, _, _ = strings.Cut(path, "#")
		epoch := ""
		if q, err := url.ParseQuery(query); err == nil {
			epoch = q.Get("epoch")
		}
		if u, err := url.PathUnescape(path); err == nil {
			path = u
		}
		if i := strings.LastIndex(path, "@"); i > 0 {
			return keyOf(strings.Trim(path[:i], "/"), path[i+1:], epoch)
		}
		return keyOf(strings.Trim(path, "/"), p.Version, epoch)
	}
	typ := purlTypes[baseEcosystem(p.Ecosystem)]
	if typ == "" {
		typ = "?" + baseEcosystem(p.Ecosystem)
	}
	name := p.Name
	if typ == "maven" {
		name = strings.ReplaceAll(name, ":", "/")
	}
	return keyOf(typ+"/"+name, p.Version, "")
}

func keyOf(name, version, epoch string) string {
	typ, rest, _ := strings.Cut(name, "/")
	switch typ = strings.ToLower(typ); typ {
	case "golang":
		version = strings.TrimPrefix(version, "v")
	case "pypi":
		rest = strings.ToLower(pypiSeparators.ReplaceAllString(rest, "-"))
	}
	if epoch != "" && epoch != "0" && !strings.Contains(version, ":") {
		version = epoch + ":" + version // trivy writes the epoch as a qualifier, others into the version
	}
	return typ + "/" + rest + "@" + strings.TrimPrefix(version, "0:")
}

var pypiSeparators = regexp.MustCompile(`[-_.]+`)

// baseEcosystem is an ecosystem without its release, in lower case.
func baseEcosystem(s string) string {
	base, _, _ := strings.Cut(s, ":")
	return strings.ToLower(strings.TrimSpace(base))
}
