package bom

import (
	"regexp"
	"slices"
	"strings"

	"github.com/assay-oci/assay/reconcile"
)

// MediaTypeSPDX is that of SPDX's documents, and PredicateSPDX their predicate type in attestations.
const (
	MediaTypeSPDX = "application/spdx+json"
	PredicateSPDX = "https://spdx.dev/Document"
)

const noAssertion = "NOASSERTION"

type spdxDocument struct {
	Version       string             `json:"spdxVersion"`
	License       string             `json:"dataLicense"`
	ID            string             `json:"SPDXID"`
	Name          string             `json:"name"`
	Namespace     string             `json:"documentNamespace"`
	Creation      spdxCreation       `json:"creationInfo"`
	Packages      []spdxPackage      `json:"packages"`
	Relationships []spdxRelationship `json:"relationships"`
	Extracted     []spdxExtracted    `json:"hasExtractedLicensingInfos,omitempty"`
}

type spdxCreation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type spdxPackage struct {
	ID         string         `json:"SPDXID"`
	Name       string         `json:"name"`
	Version    string         `json:"versionInfo,omitempty"`
	Purpose    string         `json:"primaryPackagePurpose,omitempty"`
	Download   string         `json:"downloadLocation"`
	Analyzed   bool           `json:"filesAnalyzed"`
	Concluded  string         `json:"licenseConcluded"`
	Declared   string         `json:"licenseDeclared"`
	Comments   string         `json:"licenseComments,omitempty"`
	Copyright  string         `json:"copyrightText"`
	SourceInfo string         `json:"sourceInfo,omitempty"`
	Checksums  []spdxChecksum `json:"checksums,omitempty"`
	References []spdxExternal `json:"externalRefs,omitempty"`
}

type spdxChecksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type spdxExternal struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type spdxRelationship struct {
	From string `json:"spdxElementId"`
	Type string `json:"relationshipType"`
	To   string `json:"relatedSpdxElement"`
}

type spdxExtracted struct {
	ID   string `json:"licenseId"`
	Text string `json:"extractedText"`
	Name string `json:"name"`
}

// SPDX writes an inventory as an SPDX 2.3 document: https://spdx.github.io/spdx-spec/v2.3/. The subject must have a digest.
func SPDX(in reconcile.Inventory, s Subject) ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	id, err := uuid("spdx", s, in)
	if err != nil {
		return nil, err
	}
	const document, image = "SPDXRef-DOCUMENT", "SPDXRef-Image"
	d := spdxDocument{Version: "SPDX-2.3", License: "CC0-1.0", ID: document, Name: s.name(), Namespace: "https://spdx.org/spdxdocs/assay-" + id,
		Creation:      spdxCreation{Created: s.created(), Creators: []string{"Tool: assay"}},
		Relationships: []spdxRelationship{{document, "DESCRIBES", image}}}
	if in.Lister != "" {
		d.Creation.Creators = append(d.Creation.Creators, "Tool: "+strings.TrimSuffix(in.Lister+"-"+in.Version, "-"))
	}
	top := newSPDXPackage(image, s.name(), s.Digest.String(), s.purl())
	top.Purpose = "CONTAINER"
	if alg := map[string]string{"sha256": "SHA256", "sha512": "SHA512"}[s.Digest.Algorithm()]; alg != "" {
		top.Checksums = []spdxChecksum{{alg, s.Digest.Hex()}}
	}
	d.Packages = append(d.Packages, top)
	add := func(p spdxPackage) {
		d.Packages = append(d.Packages, p)
		d.Relationships = append(d.Relationships, spdxRelationship{image, "CONTAINS", p.ID})
	}
	if name, version, _ := strings.Cut(in.Distribution, ":"); name != "" {
		p := newSPDXPackage("SPDXRef-Distribution", name, version, "")
		p.Purpose = "OPERATING_SYSTEM" // as the JSON form of SPDX spells it
		add(p)
	}
	extracted := map[string]bool{}
	for _, p := range unique(in) {
		x := newSPDXPackage("SPDXRef-"+reference(p), p.Name, p.Version, p.PURL)
		if e, ok := expression(p.License); ok {
			x.Declared = e
			for _, ref := range licenseRef.FindAllString(e, -1) {
				extracted[ref] = true
			}
		} else if p.License != "" {
			x.Comments = "declared as: " + p.License
		}
		x.SourceInfo = sourceInfo(p)
		add(x)
	}
	for ref := range extracted {
		name := strings.TrimPrefix(ref, "LicenseRef-")
		d.Extracted = append(d.Extracted, spdxExtracted{ref, "The package names this licence, which is not on the SPDX license list: " + name, name})
	}
	slices.SortFunc(d.Extracted, func(a, b spdxExtracted) int { return strings.Compare(a.ID, b.ID) })
	return encode(d)
}

var licenseRef = regexp.MustCompile(`LicenseRef-[A-Za-z0-9.-]+`)

func newSPDXPackage(id, name, version, purl string) spdxPackage {
	p := spdxPackage{ID: id, Name: name, Version: version, Download: noAssertion, Concluded: noAssertion, Declared: noAssertion, Copyright: noAssertion}
	if purl != "" {
		p.References = []spdxExternal{{"PACKAGE-MANAGER", "purl", purl}}
	}
	return p
}

func sourceInfo(p reconcile.Package) string {
	var parts []string
	for _, x := range [][2]string{{"told by ", p.Path}, {"brought by layer ", p.Layer}, {"built from source package ", p.Source}} {
		if x[1] != "" {
			parts = append(parts, x[0]+x[1])
		}
	}
	return strings.Join(parts, "; ")
}
