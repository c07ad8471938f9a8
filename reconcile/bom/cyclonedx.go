package bom

import (
	"strings"

	"github.com/assay-oci/assay/reconcile"
)

// MediaTypeCycloneDX is that of CycloneDX's documents, and PredicateCycloneDX their predicate type in attestations.
const (
	MediaTypeCycloneDX = "application/vnd.cyclonedx+json"
	PredicateCycloneDX = "https://cyclonedx.org/bom"
)

type cdxDocument struct {
	Format     string         `json:"bomFormat"`
	Spec       string         `json:"specVersion"`
	Serial     string         `json:"serialNumber"`
	Version    int            `json:"version"`
	Metadata   cdxMetadata    `json:"metadata"`
	Components []cdxComponent `json:"components"`
}

type cdxMetadata struct {
	Timestamp string `json:"timestamp"`
	Tools     struct {
		Components []cdxComponent `json:"components"`
	} `json:"tools"`
	Component  cdxComponent  `json:"component"`
	Properties []cdxProperty `json:"properties,omitempty"`
}

type cdxComponent struct {
	Type       string        `json:"type"`
	Ref        string        `json:"bom-ref,omitempty"`
	Name       string        `json:"name"`
	Version    string        `json:"version,omitempty"`
	Hashes     []cdxHash     `json:"hashes,omitempty"`
	Licenses   []any         `json:"licenses,omitempty"`
	PURL       string        `json:"purl,omitempty"`
	Properties []cdxProperty `json:"properties,omitempty"`
}

type cdxHash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type cdxProperty struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// properties drops those without a value. Names: "assay:" and a field of reconcile.Package.
func properties(pairs ...string) (out []cdxProperty) {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			out = append(out, cdxProperty{"assay:" + pairs[i], pairs[i+1]})
		}
	}
	return out
}

// CycloneDX writes an inventory as a CycloneDX 1.6 document: https://cyclonedx.org/docs/1.6/json/. The subject must have a digest.
func CycloneDX(in reconcile.Inventory, s Subject) ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	id, err := uuid("cyclonedx", s, in)
	if err != nil {
		return nil, err
	}
	d := cdxDocument{Format: "CycloneDX", Spec: "1.6", Serial: "urn:uuid:" + id, Version: 1, Components: []cdxComponent{}}
	d.Metadata.Timestamp = s.created()
	d.Metadata.Tools.Components = []cdxComponent{{Type: "application", Name: "assay"}}
	if in.Lister != "" {
		d.Metadata.Tools.Components = append(d.Metadata.Tools.Components, cdxComponent{Type: "application", Name: in.Lister, Version: in.Version})
	}
	d.Metadata.Component = cdxComponent{Type: "container", Ref: s.Digest.String(), Name: s.name(), Version: s.Digest.String(), PURL: s.purl(),
		Properties: properties("platform", platform(s.Platform))}
	if alg := map[string]string{"sha256": "SHA-256", "sha512": "SHA-512"}[s.Digest.Algorithm()]; alg != "" {
		d.Metadata.Component.Hashes = []cdxHash{{alg, s.Digest.Hex()}}
	}
	if name, version, _ := strings.Cut(in.Distribution, ":"); name != "" {
		d.Components = append(d.Components, cdxComponent{Type: "operating-system", Ref: "Distribution", Name: name, Version: version})
	}
	for _, p := range unique(in) {
		d.Components = append(d.Components, cdxComponent{Type: "library", Ref: reference(p), Name: p.Name, Version: p.Version, Licenses: cdxLicenses(p.License), PURL: p.PURL,
			Properties: properties("ecosystem", p.Ecosystem, "source", p.Source, "path", p.Path, "layer", p.Layer)})
	}
	return encode(d)
}

// cdxLicenses: an expression stands alone; anything else is a licence with a name.
func cdxLicenses(license string) []any {
	if license == "" {
		return nil
	}
	if e, ok := expression(license); ok {
		return []any{map[string]string{"expression": e}}
	}
	return []any{map[string]any{"license": map[string]string{"name": license}}}
}

func platform(p reconcile.Platform) string {
	if p == (reconcile.Platform{}) {
		return ""
	}
	return p.String()
}
