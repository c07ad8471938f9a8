package trivy

import (
	"strings"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/scan/external"
	"github.com/assay-oci/assay/reconcile/scan/program"
)

// A report is what trivy prints with --format json, as far as it is read here: its schema 2.
type report struct {
	SchemaVersion int
	Trivy         struct{ Version string }
	Metadata      struct {
		OS *struct {
			Family, Name string
			EOSL         bool // end of service life
		}
	}
	Results []struct {
		Class           string
		Type            string
		Packages        []pkg
		Vulnerabilities []vulnerability
	}
}

type pkg struct {
	Name       string
	Version    string
	Identifier struct{ PURL string }
	SrcName    string
	Licenses   []string
	FilePath   string
	Layer      layer
}

type layer struct{ DiffID string }

type vulnerability struct {
	VulnerabilityID  string
	VendorIDs        []string
	PkgName          string
	PkgPath          string
	PkgIdentifier    struct{ PURL string }
	InstalledVersion string
	FixedVersion     string // several, with commas between them
	Layer            layer
	Title            string
	Severity         string
	PublishedDate    time.Time
}

// parse reads a report. Of the scan it fills in what the report says; the packages are all that were seen.
func parse(b []byte) (reconcile.Scan, []reconcile.Package, error) {
	var r report
	if err := external.Decode(b, &r); err != nil {
		return reconcile.Scan{}, nil, err
	}
	if r.SchemaVersion != 2 {
		return reconcile.Scan{}, nil, program.Failf("its output is not what it should be: its schema is %d, not 2", r.SchemaVersion)
	}
	out := reconcile.Scan{Version: r.Trivy.Version}
	if os := r.Metadata.OS; os != nil {
		out.Distribution = external.Distribution(os.Family, os.Name)
		if os.EOSL { // that it isn't set may also mean that the release isn't known
			out.Support = &reconcile.Support{Ended: true}
		}
	}
	var packages []reconcile.Package
	for _, result := range r.Results {
		if result.Class != "os-pkgs" && result.Class != "lang-pkgs" {
			continue // secrets, misconfigurations, and licences, which the packages have too
		}
		if err := external.Bounded(len(packages) + len(result.Packages) + len(out.Vulnerabilities) + len(result.Vulnerabilities)); err != nil {
			return out, nil, err
		}
		for _, p := range result.Packages {
			packages = append(packages, p.describe(result.Type, out.Distribution))
		}
		for _, v := range result.Vulnerabilities {
			if x, ok := v.describe(result.Type, out.Distribution); ok {
				out.Vulnerabilities = append(out.Vulnerabilities, x)
			}
		}
	}
	out.Vulnerabilities = external.SortedVulnerabilities(out.Vulnerabilities)
	packages = external.Sorted(packages)
	return out, packages, allSeen(out.Vulnerabilities, packages)
}

// allSeen refuses findings in packages that aren't listed: something is missing then from what was read.
func allSeen(vs []reconcile.Vulnerability, packages []reconcile.Package) error {
	seen := map[string]bool{}
	for _, p := range packages {
		seen[p.Name+"\x00"+p.Version] = true
	}
	for _, v := range vs {
		if !seen[v.Package.Name+"\x00"+v.Package.Version] {
			return program.Failf("its output is not what it should be: %s is found in %s %s, which is not in its list of packages", v.ID, v.Package.Name, v.Package.Version)
		}
	}
	return nil
}

func (p pkg) describe(kind, distribution string) reconcile.Package {
	out := external.Package(p.Identifier.PURL, p.Name, p.Version, distribution)
	if out.Ecosystem == "" {
		out.Ecosystem = kind // it has no package URL, so nobody knows better
	}
	if out.Version == "" && out.Ecosystem == "Go" {
		out.Version = "(devel)" // Go's own word for a program that was built where it was written
	}
	out.License, out.Path, out.Layer = external.License(p.Licenses), strings.TrimPrefix(p.FilePath, "/"), p.Layer.DiffID
	if p.SrcName != p.Name {
		out.Source = p.SrcName
	}
	return out
}

func (v vulnerability) describe(kind, distribution string) (reconcile.Vulnerability, bool) {
	it := external.Package(v.PkgIdentifier.PURL, v.PkgName, v.InstalledVersion, distribution)
	if it.Ecosystem == "" {
		it.Ecosystem = kind
	}
	it.Path, it.Layer = strings.TrimPrefix(v.PkgPath, "/"), v.Layer.DiffID
	out := reconcile.Vulnerability{Package: it, Severity: external.Severity(v.Severity), Published: v.PublishedDate, Summary: v.Title}
	out.ID, out.Aliases = external.Identifiers(append([]string{v.VulnerabilityID}, v.VendorIDs...)...)
	for fix := range strings.SplitSeq(v.FixedVersion, ",") {
		if fix = strings.TrimSpace(fix); fix != "" {
			out.FixedIn = append(out.FixedIn, fix)
		}
	}
	return out, out.ID != ""
}
