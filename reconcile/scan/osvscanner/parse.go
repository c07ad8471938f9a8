package osvscanner

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/scan/external"
)

// A report is what osv-scanner prints with --format json, as far as it is read here.
type report struct {
	Results []struct {
		Source struct {
			Path string `json:"path"`
		} `json:"source"`
		Packages []struct {
			Package         pkg      `json:"package"`
			Groups          []group  `json:"groups"`
			Vulnerabilities []record `json:"vulnerabilities"`
		} `json:"packages"`
	} `json:"results"`
	Image *struct {
		OS     string `json:"os"`
		Layers []struct {
			DiffID string `json:"diff_id"`
		} `json:"layer_metadata"`
	} `json:"image_metadata"`
}

type pkg struct {
	Name      string `json:"name"`            // of a system's package: the source package's
	Installed string `json:"os_package_name"` // of a system's package: its own
	Version   string `json:"version"`
	Ecosystem string `json:"ecosystem"`
}

// A group is records that tell of the same vulnerability.
type group struct {
	IDs         []string `json:"ids"`
	Aliases     []string `json:"aliases"`
	MaxSeverity string   `json:"max_severity"` // a CVSS base score; empty if no record has one
}

// A record is an advisory as https://ossf.github.io/osv-schema has it.
type record struct {
	ID               string     `json:"id"`
	Published        time.Time  `json:"published"`
	Aliases          []string   `json:"aliases"`
	Upstream         []string   `json:"upstream"`
	Summary          string     `json:"summary"`
	Details          string     `json:"details"`
	Affected         []affected `json:"affected"`
	DatabaseSpecific words      `json:"database_specific"`
}

type affected struct {
	Package struct {
		Ecosystem string `json:"ecosystem"`
		Name      string `json:"name"`
	} `json:"package"`
	Ranges []struct {
		Type   string `json:"type"`
		Events []struct {
			Fixed string `json:"fixed"`
		} `json:"events"`
	} `json:"ranges"`
	EcosystemSpecific words `json:"ecosystem_specific"`
	DatabaseSpecific  words `json:"database_specific"`
}

// words are where databases write a severity of their own. Each may hold anything.
type words struct {
	Severity any `json:"severity"`
	Urgency  any `json:"urgency"`
}

// parse reads a report. Of the scan it fills in what the report says; the packages are all that were seen.
func parse(b []byte) (s reconcile.Scan, packages []reconcile.Package, err error) {
	if len(b) == 0 { // it printed nothing because there was nothing
		return s, nil, nil
	}
	var r report
	if err := external.Decode(b, &r); err != nil {
		return s, nil, err
	}
	distribution := ""
	for _, result := range r.Results {
		for _, p := range result.Packages {
			if err := external.Bounded(len(packages) + len(s.Vulnerabilities) + len(p.Groups)); err != nil {
				return s, nil, err
			}
			it := p.Package.describe()
			it.Path = strings.TrimPrefix(result.Source.Path, "/")
			packages = append(packages, it)
			if p.Package.Installed != "" {
				distribution = cmp.Or(distribution, distributionOf(it.Ecosystem))
			}
			for _, g := range p.Groups {
				if v, ok := g.vulnerability(it, p.Package, p.Vulnerabilities); ok {
					s.Vulnerabilities = append(s.Vulnerabilities, v)
				}
			}
		}
	}
	s.Distribution, s.Vulnerabilities = distribution, external.SortedVulnerabilities(s.Vulnerabilities)
	return s, external.Sorted(packages), nil
}

// describe writes a package as other scanners do: osv-scanner gives no package URL, and the source package's name first.
func (p pkg) describe() reconcile.Package {
	typ, namespace := external.TypeOf(p.Ecosystem)
	name := cmp.Or(p.Installed, p.Name)
	u := external.PURL{Type: typ, Namespace: namespace, Name: name, Version: p.Version}
	if namespace == "" {
		separator := "/"
		if typ == "maven" {
			separator = ":"
		}
		if i := strings.LastIndex(name, separator); i > 0 {
			u.Namespace, u.Name = name[:i], name[i+1:]
		}
	}
	out := reconcile.Package{Name: name, Version: strings.TrimSpace(p.Version), Ecosystem: p.Ecosystem, PURL: u.Folded().String()}
	if p.Installed != "" && p.Installed != p.Name {
		out.Source = p.Name
	}
	return out
}

// distributionOf turns "Debian:12" into "debian:12".
func distributionOf(ecosystem string) string {
	_, id := external.TypeOf(ecosystem)
	_, version, _ := strings.Cut(ecosystem, ":")
	return external.Distribution(id, strings.TrimPrefix(version, "v"))
}

// vulnerability unites a group's records. ok is false if the group has no identifier.
func (g group) vulnerability(p reconcile.Package, named pkg, records []record) (v reconcile.Vulnerability, ok bool) {
	v = reconcile.Vulnerability{Package: p, Severity: reconcile.Unknown}
	all := append(slices.Clone(g.IDs), g.Aliases...)
	word := reconcile.Unknown
	for _, r := range records {
		if !slices.Contains(g.IDs, r.ID) {
			continue
		}
		all = append(append(append(all, r.ID), r.Aliases...), r.Upstream...)
		if !r.Published.IsZero() && (v.Published.IsZero() || r.Published.Before(v.Published)) {
			v.Published = r.Published
		}
		v.Summary = cmp.Or(v.Summary, r.Summary, firstLine(r.Details))
		word = worse(word, r.DatabaseSpecific.severity())
		for _, a := range r.Affected {
			if a.Package.Ecosystem != named.Ecosystem || a.Package.Name != named.Name {
				continue
			}
			word = worse(word, worse(a.EcosystemSpecific.severity(), a.DatabaseSpecific.severity()))
			for _, x := range a.Ranges {
				for _, e := range x.Events {
					if e.Fixed != "" && x.Type != "GIT" && !slices.Contains(v.FixedIn, e.Fixed) {
						v.FixedIn = append(v.FixedIn, e.Fixed)
					}
				}
			}
		}
	}
	v.ID, v.Aliases = external.Identifiers(all...)
	if v.Severity = rating(g.MaxSeverity); v.Severity == reconcile.Unknown {
		v.Severity = word
	}
	return v, v.ID != ""
}

const maxSummary = 500 // bytes

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return strings.ToValidUTF8(s[:min(len(s), maxSummary)], "")
}

func worse(a, b reconcile.Severity) reconcile.Severity {
	if b.Rank() > a.Rank() {
		return b
	}
	return a
}

// end is what Debian may put after an urgency: "low**".
var end = regexp.MustCompile(`\**$`)

func (w words) severity() reconcile.Severity {
	out := reconcile.Unknown
	for _, x := range []any{w.Severity, w.Urgency} {
		if s, ok := x.(string); ok {
			out = worse(out, external.Severity(end.ReplaceAllString(s, "")))
		}
	}
	return out
}

// rating reads a CVSS base score: CVSS v3.1, section 5.
func rating(score string) reconcile.Severity {
	f, err := strconv.ParseFloat(score, 64)
	switch {
	case err != nil || f <= 0 || f > 10:
		return reconcile.Unknown
	case f < 4:
		return reconcile.Low
	case f < 7:
		return reconcile.Medium
	case f < 9:
		return reconcile.High
	}
	return reconcile.Critical
}
