package grype

import (
	"slices"
	"strings"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/scan/external"
	"github.com/assay-oci/assay/reconcile/scan/program"
)

// A report is what grype prints with --output json, as far as it is read here.
type report struct {
	Matches []match `json:"matches"`
	Distro  struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	} `json:"distro"`
	Descriptor struct {
		Name    string `json:"name"`
		Version string `json:"version"`
		DB      struct {
			Status struct {
				Built time.Time `json:"built"`
				Valid bool      `json:"valid"`
				Error string    `json:"error"`
			} `json:"status"`
			Providers map[string]struct{} `json:"providers"`
		} `json:"db"`
	} `json:"descriptor"`
}

type match struct {
	Vulnerability struct {
		ID          string `json:"id"`
		Severity    string `json:"severity"`
		Description string `json:"description"`
		Fix         struct {
			Versions []string `json:"versions"`
		} `json:"fix"`
		EPSS []struct {
			EPSS float64 `json:"epss"`
		} `json:"epss"`
		KnownExploited []struct {
			CVE string `json:"cve"`
		} `json:"knownExploited"`
	} `json:"vulnerability"`
	Related []struct {
		ID string `json:"id"`
	} `json:"relatedVulnerabilities"`
	Artifact struct {
		Name      string `json:"name"`
		Version   string `json:"version"`
		Type      string `json:"type"`
		PURL      string `json:"purl"`
		Locations []struct {
			Path  string `json:"path"`
			Layer string `json:"layerID"`
		} `json:"locations"`
	} `json:"artifact"`
}

// providers gives the ecosystems that each of the database's providers tells of.
var providers = map[string][]string{
	"alma": {"AlmaLinux"}, "alpine": {"Alpine"}, "amazon": {"Amazon Linux"}, "azurelinux": {"Azure Linux"}, "bitnami": {"Bitnami"}, "chainguard": {"Chainguard"},
	"debian": {"Debian"}, "mariner": {"Mariner", "Azure Linux"}, "minimos": {"MinimOS"}, "nvd": {"generic"}, "oracle": {"Oracle Linux"}, "photon": {"Photon OS"},
	"rhel": {"Red Hat", "CentOS", "Rocky Linux", "AlmaLinux"}, "sles": {"SUSE"}, "ubuntu": {"Ubuntu"}, "wolfi": {"Wolfi"},
	"github": {"npm", "Go", "PyPI", "Maven", "RubyGems", "NuGet", "Packagist", "crates.io", "Hex", "Pub", "SwiftURL", "GitHub Actions"},
}

// parse reads a report. Fields that only the SBOM tells are left out.
func parse(b []byte) (reconcile.Scan, error) {
	var r report
	if err := external.Decode(b, &r); err != nil {
		return reconcile.Scan{}, err
	}
	if r.Descriptor.Name != "grype" || r.Matches == nil {
		return reconcile.Scan{}, program.Failf("its output is not what it should be: it is no report of grype's")
	}
	if err := external.Bounded(len(r.Matches)); err != nil {
		return reconcile.Scan{}, err
	}
	db := r.Descriptor.DB
	out := reconcile.Scan{Version: r.Descriptor.Version, Database: db.Status.Built, Distribution: external.Distribution(r.Distro.Name, r.Distro.Version)}
	if !db.Status.Valid || db.Status.Error != "" {
		return out, program.Failf("its database is not valid: %s", db.Status.Error)
	}
	for name := range db.Providers {
		out.Ecosystems = append(out.Ecosystems, providers[name]...)
	}
	slices.Sort(out.Ecosystems)
	out.Ecosystems = slices.Compact(out.Ecosystems)
	for _, m := range r.Matches {
		if v, ok := m.describe(out.Distribution); ok {
			out.Vulnerabilities = append(out.Vulnerabilities, v)
		}
	}
	out.Vulnerabilities = external.SortedVulnerabilities(out.Vulnerabilities)
	return out, nil
}

func (m match) describe(distribution string) (reconcile.Vulnerability, bool) {
	a, v := m.Artifact, m.Vulnerability
	it := external.Package(a.PURL, a.Name, a.Version, distribution)
	if it.Ecosystem == "" {
		it.Ecosystem = a.Type
	}
	it.Source = upstream(a.PURL)
	if len(a.Locations) > 0 {
		it.Path, it.Layer = strings.TrimPrefix(a.Locations[0].Path, "/"), a.Locations[0].Layer
	}
	all := []string{v.ID}
	for _, r := range m.Related {
		all = append(all, r.ID)
	}
	out := reconcile.Vulnerability{Package: it, Severity: external.Severity(v.Severity), FixedIn: v.Fix.Versions, Summary: v.Description, Exploited: len(v.KnownExploited) > 0}
	for _, e := range v.EPSS {
		if e.EPSS > out.EPSS && e.EPSS <= 1 {
			out.EPSS = e.EPSS
		}
	}
	out.ID, out.Aliases = external.Identifiers(all...)
	return out, out.ID != ""
}

// upstream is the source package, which grype writes as "name" or "name@version"; empty where it is the package's own name.
func upstream(purl string) string {
	p, _ := external.ParsePURL(purl)
	name, _, _ := strings.Cut(p.Qualifiers.Get("upstream"), "@")
	return name
}

// A bom is a CycloneDX document, as far as it is read here.
type bom struct {
	Format     string      `json:"bomFormat"`
	Components []component `json:"components"`
}

type component struct {
	Type     string `json:"type"`
	Name     string `json:"name"`
	Version  string `json:"version"`
	PURL     string `json:"purl"`
	Licenses []struct {
		Expression string `json:"expression"`
		License    struct {
			ID   string `json:"id"`
			Name string `json:"name"`
		} `json:"license"`
	} `json:"licenses"`
	Properties []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"properties"`
}

// parseSBOM lists the packages of grype's own CycloneDX document.
func parseSBOM(b []byte, distribution string) ([]reconcile.Package, error) {
	var d bom
	if err := external.Decode(b, &d); err != nil {
		return nil, err
	}
	if d.Format != "CycloneDX" {
		return nil, program.Failf("its SBOM is no CycloneDX document")
	}
	if err := external.Bounded(len(d.Components)); err != nil {
		return nil, err
	}
	var out []reconcile.Package
	for _, c := range d.Components {
		if c.Type == "file" || c.Type == "operating-system" {
			continue
		}
		out = append(out, c.describe(distribution))
	}
	return external.Sorted(out), nil
}

func (c component) describe(distribution string) reconcile.Package {
	p := external.Package(c.PURL, c.Name, c.Version, distribution)
	p.Source = upstream(c.PURL)
	var names []string
	for _, l := range c.Licenses {
		names = append(names, l.Expression, l.License.ID, l.License.Name)
	}
	p.License = external.License(names)
	for _, x := range c.Properties {
		switch x.Name {
		case "syft:location:0:path":
			p.Path = strings.TrimPrefix(x.Value, "/")
		case "syft:location:0:layerID":
			p.Layer = x.Value
		case "syft:package:type":
			if p.Ecosystem == "" {
				p.Ecosystem = x.Value
			}
		}
	}
	return p
}
