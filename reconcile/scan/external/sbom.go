package external

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/scan/program"
)

// SBOM takes out of a CycloneDX document what isn't about the packages: the findings, when it was written, and under which number, so that it is
// the same again as long as the packages are.
func SBOM(b []byte) (string, error) {
	var d map[string]json.RawMessage
	if err := Decode(b, &d); err != nil {
		return "", err
	}
	if string(d["bomFormat"]) != `"CycloneDX"` {
		return "", program.Failf("its SBOM is no CycloneDX document")
	}
	delete(d, "vulnerabilities")
	delete(d, "serialNumber")
	var metadata map[string]json.RawMessage
	if json.Unmarshal(d["metadata"], &metadata) == nil && metadata != nil {
		delete(metadata, "timestamp")
		m, err := json.Marshal(metadata)
		if err != nil {
			return "", err
		}
		d["metadata"] = m
	}
	out, err := json.Marshal(d)
	return string(out), err
}

// SameFindings tells whether two scans, which need not be in order, found the same and saw as many packages.
func SameFindings(a, b reconcile.Scan) bool {
	if a.Packages != b.Packages || a.Distribution != b.Distribution || len(a.Vulnerabilities) != len(b.Vulnerabilities) {
		return false
	}
	return slices.EqualFunc(ordered(a), ordered(b), func(x, y reconcile.Vulnerability) bool {
		return x.ID == y.ID && x.Package.PURL == y.Package.PURL && x.Package.Name == y.Package.Name && x.Package.Version == y.Package.Version &&
			x.Severity == y.Severity && slices.Equal(x.FixedIn, y.FixedIn)
	})
}

func ordered(s reconcile.Scan) []reconcile.Vulnerability {
	return slices.SortedFunc(slices.Values(s.Vulnerabilities), func(x, y reconcile.Vulnerability) int {
		return cmp.Or(cmp.Compare(x.ID, y.ID), cmp.Compare(x.Package.PURL, y.Package.PURL), cmp.Compare(x.Package.Name, y.Package.Name), cmp.Compare(x.Package.Version, y.Package.Version))
	})
}
