package catalog_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	catalog "github.com/assay-oci/assay/catalog-schema"
	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/openvex"
)

func vexOptions() catalog.Options {
	return catalog.Options{Now: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC), VEX: func(b []byte) (string, []reconcile.Waiver, error) {
		d, err := openvex.Parse(b)
		return d.Author, d.Waivers(), err
	}}
}

const vexDocument = `{"@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.com/vex/1", "author": "security@example.com", "timestamp": "2026-11-01T00:00:00Z",
"version": 1, "statements": [{"vulnerability": {"name": "CVE-2026-1"}, "products": [%s], "status": "not_affected", "justification": "component_not_present"}]}`

func vexCatalog(block, products string) fstest.MapFS {
	return fstest.MapFS{
		"acme.hcl":                  {Data: []byte("scope \"acme\" {\n  level = \"organization\"\n}\n\nregistry \"eu\" {\n  address = \"registry.eu.example.com/approved\"\n}\n")},
		"payments/scope.hcl":        {Data: []byte("scope \"payments\" {\n  level = \"project\"\n}\n")},
		"payments/vex.hcl":          {Data: []byte("vex \"app\" {\n" + block + "\n}\n")},
		"payments/vex/app.json":     {Data: fmt.Appendf(nil, vexDocument, products)},
		"payments/x.policytest.hcl": {Data: []byte("no catalog at all {{{")},
	}
}

func TestAnOpenVEXDocumentExcuses(t *testing.T) {
	both := `{"@id": "nginx"}, {"@id": "ledger"}`
	for _, c := range []struct{ name, block, products, want string }{
		{"its images", "file = \"vex/app.json\"\nexpires = \"2027-01-31\"", both, "ledger nginx"},
		{"one image", "file = \"vex/app.json\"\nimage = \"ledger\"\nexpires = \"2027-01-31\"", both, "ledger"},
		{"a package in one image", "file = \"vex/app.json\"\nimage = \"ledger\"\nexpires = \"2027-01-31\"", `{"@id": "pkg:npm/lodash@1"}`, "ledger/pkg:npm/lodash@1"},
		{"by its author", "file = \"vex/app.json\"\nauthor = \"security@example.com\"\nexpires = \"2027-01-31\"", both, "ledger nginx"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, diags := catalog.LoadCommit(vexCatalog(c.block, c.products), vexOptions())
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			var got []string
			for _, w := range d.Waivers {
				s := w.Image
				if w.Package != "" {
					s += "/" + w.Package
				}
				got = append(got, s)
				if w.ID != "CVE-2026-1" || w.Rule != "vulnerabilities" || w.Scope != "payments" || w.Justification != "component_not_present" ||
					!w.Expires.Equal(time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC)) || w.Origin.File != "payments/vex.hcl" {
					t.Errorf("%+v", w)
				}
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%q", got)
			}
		})
	}
}

func TestAnOpenVEXDocumentThatIsNotSoundExcusesNothing(t *testing.T) {
	const rest = "\nexpires = \"2027-01-31\""
	for _, c := range []struct{ name, block, products, want string }{
		{"broken", `file = "vex/app.json"` + rest, `{}`, "no identifier"},
		{"by somebody else", "file = \"vex/app.json\"\nauthor = \"other@example.com\"" + rest, `{"@id": "nginx"}`, "its author is"},
		{"missing", `file = "vex/none.json"` + rest, "", "can't be read"},
		{"outside its folder", `file = "../acme.json"` + rest, "", "is no path"},
		{"absolute", `file = "/etc/x.json"` + rest, "", "is no path"},
		{"of another kind", `file = "vex.hcl"` + rest, "", "is no path"},
		{"that never expires", `file = "vex/app.json"`, "", "expires"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, diags := catalog.LoadCommit(vexCatalog(c.block, c.products), vexOptions())
			if !diags.HasErrors() || !strings.Contains(diags.Error(), c.want) || len(d.Waivers) > 0 {
				t.Errorf("%v, %v", diags, d.Waivers)
			}
			if len(d.Broken) == 0 {
				t.Error("an image that is no longer excused must not be removed for it")
			}
		})
	}
}

func TestALinkIsNoOpenVEXDocument(t *testing.T) {
	dir := t.TempDir()
	for name, f := range vexCatalog("file = \"vex/app.json\"\nexpires = \"2027-01-31\"", `{"@id": "nginx"}`) {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, link := range []string{"payments/vex/app.json", "payments/vex"} {
		at := filepath.Join(dir, link)
		if err := os.Rename(at, filepath.Join(dir, "real")); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(dir, "real"), at); err != nil {
			t.Fatal(err)
		}
		d, diags := catalog.LoadCommit(os.DirFS(dir), vexOptions())
		if !strings.Contains(diags.Error(), "symbolic link") || len(d.Waivers) > 0 {
			t.Errorf("%s: %v", link, diags)
		}
		if err := os.Remove(at); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "real"), at); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAPullRequestCannotExcuseItself(t *testing.T) {
	block := "file = \"vex/app.json\"\nexpires = \"2027-01-31\""
	base, head := vexCatalog(block, `{"@id": "nginx"}`), vexCatalog(block, `{"@id": "pkg:npm/everything"}`)
	d, diags := catalog.Load(base, head, vexOptions())
	if diags.HasErrors() || len(d.Waivers) != 1 || d.Waivers[0].Image != "nginx" {
		t.Errorf("%+v, %v", d.Waivers, diags)
	}
	if len(d.Changes) != 1 || d.Changes[0].Summary != `the OpenVEX document "app" is changed in what its files hold` {
		t.Errorf("%+v", d.Changes)
	}
}

func TestPoliciesOfAFolderWithoutImages(t *testing.T) {
	p, diags := catalog.LoadPolicies(fstest.MapFS{
		"acme.hcl":           {Data: []byte("scope \"acme\" {\n  level = \"organization\"\n}\n")},
		"payments/scope.hcl": {Data: []byte("scope \"payments\" {\n  level = \"project\"\n}\n")},
	}, vexOptions())
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	if rules, scope, err := p.Rules("payments/images"); err != nil || len(rules) != 0 || scope != "payments" {
		t.Errorf("%v %q %v", rules, scope, err)
	}
}
