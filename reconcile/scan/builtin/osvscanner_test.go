package builtin

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/scan/scantest"
	"github.com/google/go-cmp/cmp"
)

// osvResults is what osv-scanner prints, as far as it is compared.
type osvResults struct {
	Results []struct {
		Packages []struct {
			Package struct {
				Name      string `json:"name"`
				OSPackage string `json:"os_package_name"`
				Ecosystem string `json:"ecosystem"`
			} `json:"package"`
			Groups []struct {
				IDs     []string `json:"ids"`
				Aliases []string `json:"aliases"`
			} `json:"groups"`
		} `json:"packages"`
	} `json:"results"`
}

// pairs returns "package identifier" for each finding, sorted. Of a group's names it takes the CVE, as this scanner does.
func (r osvResults) pairs() []string {
	out := []string{}
	for _, res := range r.Results {
		for _, p := range res.Packages {
			name := p.Package.Name
			if p.Package.OSPackage != "" {
				name = p.Package.OSPackage
			}
			for _, g := range p.Groups {
				all := append(slices.Clone(g.IDs), g.Aliases...)
				id := g.IDs[0]
				if i := slices.IndexFunc(all, func(s string) bool { return strings.Contains(s, "CVE-") }); i >= 0 {
					id = all[i][strings.Index(all[i], "CVE-"):]
				}
				out = append(out, name+" "+id)
			}
		}
	}
	slices.Sort(out)
	return out
}

func recordedByOSVScanner(t *testing.T, file string) []string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r osvResults
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	return r.pairs()
}

func pairsOf(vs []reconcile.Vulnerability) []string {
	out := []string{}
	for _, v := range vs {
		out = append(out, v.Package.Name+" "+v.ID)
	}
	slices.Sort(out)
	return out
}

// On the same records, the images of scantest have the same vulnerabilities for osv-scanner. See README.md for where they may differ.
func TestFindingsEqualThoseOfOSVScanner(t *testing.T) {
	const recorded = "../osvscanner/testdata/recorded/"
	for file, l := range map[string]reconcile.Layout{"vulnerable.image.json": scantest.Vulnerable(t), "clean.image.json": scantest.Clean(t)} {
		got, err := New(Options{Dir: imported(t)}).Scan(t.Context(), l, reconcile.Image{})
		if err != nil || got.NoVerdict != "" {
			t.Fatalf("%v %s", err, got.NoVerdict)
		}
		want := recordedByOSVScanner(t, recorded+file)
		if d := cmp.Diff(want, pairsOf(got.Vulnerabilities)); d != "" {
			t.Errorf("%s: -osv-scanner +builtin:\n%s", file, d)
		}
		if strings.HasPrefix(file, "vulnerable") && len(want) < 10 {
			t.Errorf("osv-scanner found %d: is this the right record?", len(want))
		}
	}
}

// A Debian base of 120 packages, as osv-scanner saw it: testdata/README.md.
func TestFindingsInARealBaseEqualThoseOfOSVScanner(t *testing.T) {
	b, err := os.ReadFile("testdata/combo.inventory.json")
	if err != nil {
		t.Fatal(err)
	}
	var inv reconcile.Inventory
	if err := json.Unmarshal(b, &inv); err != nil {
		t.Fatal(err)
	}
	got, err := New(Options{Dir: imported(t)}).Rescan(t.Context(), inv, reconcile.Image{})
	if err != nil || got.NoVerdict != "" {
		t.Fatalf("%v %s", err, got.NoVerdict)
	}
	want := recordedByOSVScanner(t, "testdata/osv-combo.json")
	if d := cmp.Diff(want, pairsOf(got.Vulnerabilities)); d != "" || len(want) != 20 {
		t.Errorf("%d of osv-scanner; -osv-scanner +builtin:\n%s", len(want), d)
	}
}
