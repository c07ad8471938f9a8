// Package catalogs holds examples of catalogs. Its tests see that each of them loads, with the real rules and without a diagnostic.
package catalogs

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	catalog "github.com/assay-oci/assay/catalog-schema"
	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/openvex"
	"github.com/assay-oci/assay/reconcile/policy"
	"github.com/assay-oci/assay/reconcile/policy/expect"
)

var options = catalog.Options{Now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC), Rules: policy.Rules(), VEX: readVEX}

func readVEX(b []byte) (string, []reconcile.Waiver, error) {
	d, err := openvex.Parse(b)
	return d.Author, d.Waivers(), err
}

func load(t *testing.T, fsys fs.FS) reconcile.Desired {
	t.Helper()
	d, diags := catalog.LoadCommit(fsys, options)
	if len(diags.Diagnostics) > 0 || len(d.Broken) > 0 || len(d.Wants) == 0 {
		var text strings.Builder
		_ = diags.Print(&text, 0, false)
		t.Fatalf("%d wants, %d broken\n%s", len(d.Wants), len(d.Broken), &text)
	}
	return d
}

func TestEveryExampleLoadsWithoutADiagnostic(t *testing.T) {
	dirs, err := filepath.Glob("*/acme.hcl")
	if err != nil || len(dirs) < 3 {
		t.Fatal(dirs, err)
	}
	for _, p := range dirs {
		t.Run(filepath.Dir(p), func(t *testing.T) {
			d := load(t, os.DirFS(filepath.Dir(p)))
			if _, diags := catalog.Load(os.DirFS(filepath.Dir(p)), os.DirFS(filepath.Dir(p)), options); len(diags.Diagnostics) > 0 {
				t.Errorf("read as a pull request that changes nothing: %v", diags.Diagnostics)
			}
			if got := catalog.Approvals(os.DirFS(filepath.Dir(p)), options); len(got) != len(d.Wants) {
				t.Errorf("%d approvals of %d versions", len(got), len(d.Wants))
			}
		})
	}
}

func TestTheLanguageAsDesignedLoads(t *testing.T) {
	src, err := os.ReadFile("testdata/language.hcl")
	if err != nil {
		t.Fatal(err)
	}
	d := load(t, fstest.MapFS{"language.hcl": {Data: src}})
	if len(d.Wants[0].Rules) != 8 || len(d.Registries) != 2 || len(d.Scanners) != 2 || len(d.Signers) != 1 || len(d.Revoked) != 1 || len(d.Waivers) != 1 {
		t.Errorf("%+v", d)
	}
}

func TestTwoTeamsArePlacedAndJudgedApart(t *testing.T) {
	d := load(t, os.DirFS("two-teams"))
	places := map[string][]string{}
	rules := map[string]int{}
	for _, w := range d.Wants {
		rules[w.Title()] = len(w.Rules)
		for _, to := range w.To {
			places[w.Title()] = append(places[w.Title()], to.Repo.String())
		}
	}
	for title, want := range map[string]string{
		"ledger:4.3.1": "registry.eu.example.com/approved/payments/ledger registry.prod.example.com/approved/payments/ledger",
		"nginx:1.27.3": "registry.eu.example.com/approved/edge/nginx",
		"pause:3.10":   "registry.eu.example.com/approved/pause registry.prod.example.com/approved/pause",
	} {
		if got := strings.Join(places[title], " "); got != want {
			t.Errorf("%s goes to %s", title, got)
		}
	}
	if rules["ledger:4.3.1"] != 8 || rules["nginx:1.27.3"] != 5 {
		t.Errorf("%v", rules)
	}
}

func TestEveryExampleIsFormatted(t *testing.T) {
	err := filepath.WalkDir(".", func(p string, e fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(p, ".hcl") {
			return err
		}
		src, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		if got, diags := catalog.Format(src, p); diags.HasErrors() || !bytes.Equal(got, src) {
			t.Errorf("%s: %v\n%s", p, diags, got)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatTheExamplesExpectOfTheirPolicies(t *testing.T) {
	dirs, err := filepath.Glob("*/acme.hcl")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, p := range dirs {
		fsys := os.DirFS(filepath.Dir(p))
		policies, diags := catalog.LoadPolicies(fsys, catalog.Options{Rules: options.Rules, VEX: options.VEX})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		files, diags := catalog.TestFiles(fsys, catalog.Limits{})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		for _, f := range files {
			tests, diags := expect.Decode(f.Body, f.Folder)
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			for _, x := range tests {
				rules, scope, err := policies.Rules(x.Folder)
				if err != nil {
					t.Fatal(err)
				}
				place := expect.Place{Rules: rules, Scope: scope, Waivers: policies.Waivers(), Scanners: policies.Scanners()}
				if r := x.Run(place); !r.Passed {
					t.Errorf("%s: %s: %v", p, r.Name, r.Problems)
				}
				ran++
			}
		}
	}
	if ran < 7 {
		t.Errorf("%d expectations were run", ran)
	}
}
