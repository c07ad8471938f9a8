package openvex

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

const sum = "sha256:0c9e0b6d0a0f5ad4d2e7f2a4b1c6d8e93f5a7b9c1d3e5f7092a4b6c8dae0f214"

// document wraps statements.
func document(statements string) string {
	return `{"@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.com/vex/1", "author": "security@example.com",
		"timestamp": "2026-11-21T00:00:00Z", "version": 1, "statements": [` + statements + `]}`
}

// says makes a statement about CVE-2026-1.
func says(status, product, more string) string {
	need := map[string]string{"not_affected": `, "justification": "component_not_present"`, "affected": `, "action_statement": "update"`}[status]
	return fmt.Sprintf(`{"vulnerability": {"name": "CVE-2026-1"}, "products": [%s], "status": %q%s%s}`, product, status, need, more)
}

func id(s string) string { return fmt.Sprintf(`{"@id": %q}`, s) }

func in(product string, parts ...string) string {
	var out []string
	for _, p := range parts {
		out = append(out, id(p))
	}
	return fmt.Sprintf(`{"@id": %q, "subcomponents": [%s]}`, product, strings.Join(out, ", "))
}

func TestWhatIsExcused(t *testing.T) {
	lodash := "pkg:npm/lodash@4.17.4"
	encoded := strings.Replace(sum, ":", "%3A", 1)
	for _, c := range []struct {
		name       string
		statements []string
		want       string
	}{
		{"a package", []string{says("not_affected", id(lodash), "")}, "CVE-2026-1 package=" + lodash},
		{"an image by digest", []string{says("not_affected", id("pkg:oci/nginx@"+encoded+"?repository_url=a.example/b"), "")}, "CVE-2026-1 digest"},
		{"a digest by itself", []string{says("not_affected", id(sum), "")}, "CVE-2026-1 digest"},
		{"a digest among hashes", []string{says("fixed", `{"@id": "nginx", "hashes": {"sha-256": "`+strings.TrimPrefix(sum, "sha256:")+`"}}`, "")}, "CVE-2026-1 image=nginx digest"},
		{"an image by label", []string{says("not_affected", id("nginx"), "")}, "CVE-2026-1 image=nginx"},
		{"an image by purl", []string{says("not_affected", id("pkg:oci/nginx"), "")}, "CVE-2026-1 image=nginx"},
		{"a package in an image", []string{says("not_affected", in("pkg:oci/nginx@"+sum, lodash), "")}, "CVE-2026-1 digest package=" + lodash},
		{"a purl among identifiers", []string{says("not_affected", `{"@id": "https://example.com/app", "identifiers": {"purl": "`+lodash+`"}}`, "")}, "CVE-2026-1 package=" + lodash},
		{"fixed", []string{says("fixed", id("nginx"), "")}, "CVE-2026-1 image=nginx"},
		{"affected", []string{says("affected", id("nginx"), "")}, ""},
		{"under investigation", []string{says("under_investigation", id("nginx"), "")}, ""},
		{"an unknown kind of product", []string{says("not_affected", id("https://example.com/app"), "")}, ""},
		{"a tag is no digest", []string{says("not_affected", id("pkg:oci/nginx@1.27"), "")}, ""},
		{"a part of a package", []string{says("not_affected", in(lodash, "pkg:npm/x@1"), "")}, ""},
		{"a part of an unknown kind", []string{says("not_affected", in("nginx", "cpe:/a:x"), "")}, ""},
		{"identifiers that contradict one another", []string{says("not_affected", `{"@id": "pkg:npm/a@1", "identifiers": {"purl": "pkg:npm/b@1"}}`, "")}, ""},
		{"an image that is a package", []string{says("not_affected", `{"@id": "nginx", "identifiers": {"purl": "pkg:npm/b@1"}}`, "")}, ""},
		{"affected later", []string{says("not_affected", id("nginx"), `, "timestamp": "2026-01-01T00:00:00Z"`), says("affected", id("nginx"), `, "timestamp": "2026-02-01T00:00:00Z"`)}, ""},
		{"affected earlier", []string{says("affected", id("nginx"), `, "timestamp": "2026-01-01T00:00:00Z"`), says("not_affected", id("nginx"), `, "timestamp": "2026-02-01T00:00:00Z"`)}, "CVE-2026-1 image=nginx"},
		{"both at once", []string{says("not_affected", id("nginx"), ""), says("affected", id("nginx"), "")}, ""},
		{"the whole is affected later", []string{says("not_affected", in("nginx", lodash), `, "timestamp": "2026-01-01T00:00:00Z"`), says("affected", id("nginx"), "")}, ""},
		{"another part is affected", []string{says("not_affected", in("nginx", lodash), ""), says("affected", in("nginx", "pkg:npm/other@1"), "")}, "CVE-2026-1 image=nginx package=" + lodash},
		{"another image is affected", []string{says("not_affected", id("nginx"), ""), says("affected", id("redis"), "")}, "CVE-2026-1 image=nginx"},
		{"an image that may be this one is affected", []string{says("not_affected", id("nginx"), ""), says("affected", id(sum), "")}, ""},
		{"something unknown is affected", []string{says("not_affected", id("nginx"), ""), says("under_investigation", id("https://example.com/app"), "")}, ""},
		{"an alias", []string{`{"vulnerability": {"name": "GHSA-aaaa-bbbb-cccc", "aliases": ["DEBIAN-CVE-2026-2"]}, "products": [{"@id": "nginx"}], "status": "fixed"}`}, "CVE-2026-2 image=nginx"},
		{"two at once", []string{says("not_affected", id("nginx")+", "+id("redis"), "")}, "CVE-2026-1 image=nginx; CVE-2026-1 image=redis"},
		{"said twice", []string{says("not_affected", id("nginx"), ""), says("not_affected", id("nginx"), "")}, "CVE-2026-1 image=nginx"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := Parse([]byte(document(strings.Join(c.statements, ", "))))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range d.Waivers() {
				s := w.ID
				if w.Image != "" {
					s += " image=" + w.Image
				}
				if !w.Digest.IsZero() {
					s += " digest"
				}
				if w.Package != "" {
					s += " package=" + w.Package
				}
				if w.Reason == "" || w.Rule != "" || !w.Expires.IsZero() {
					t.Errorf("%+v", w)
				}
				got = append(got, s)
			}
			if strings.Join(got, "; ") != c.want {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestOneMistakeAndNothingIsExcused(t *testing.T) {
	good := says("not_affected", id("nginx"), "")
	for _, c := range []struct{ name, doc, want string }{
		{"an unknown field", document(strings.Replace(good, `"status"`, `"x": 1, "status"`, 1)), "no field"},
		{"a field twice", document(strings.Replace(good, `"status"`, `"status": "affected", "status"`, 1)), "stands twice"},
		{"a field in another case", document(strings.Replace(good, `"status"`, `"Status"`, 1)), "no field"},
		{"one bad statement among good ones", document(good + ", " + says("gone", id("nginx"), "")), "statement 2"},
		{"no justification", document(strings.Replace(good, `, "justification": "component_not_present"`, "", 1)), "needs a justification"},
		{"an unknown justification", document(strings.Replace(good, "component_not_present", "trust_us", 1)), "is no justification"},
		{"a justification of what is affected", document(says("affected", id("nginx"), `, "justification": "component_not_present"`)), "only not_affected"},
		{"no action", document(strings.Replace(says("affected", id("nginx"), ""), `, "action_statement": "update"`, "", 1)), "action_statement"},
		{"no product", document(says("not_affected", "", "")), "names no product"},
		{"a product without a name", document(says("not_affected", "{}", "")), "no identifier"},
		{"no vulnerability", document(strings.Replace(good, "CVE-2026-1", "", 1)), "no name"},
		{"all vulnerabilities", document(strings.Replace(good, "CVE-2026-1", "*", 1)), "no identifier of an advisory"},
		{"all by an alias", document(strings.Replace(good, `"CVE-2026-1"`, `"x-1", "aliases": ["*"]`, 1)), "no identifier of an advisory"},
		{"an old format", strings.Replace(document(good), "v0.2.0", "v0.0.1", 1), "@context"},
		{"no author", strings.Replace(document(good), "security@example.com", "", 1), "author"},
		{"no statements", document(""), "0 statements"},
		{"no version", strings.Replace(document(good), `"version": 1`, `"version": 0`, 1), "version"},
		{"null", strings.Replace(document(good), `"version": 1`, `"version": null`, 1), "null"},
		{"two documents", document(good) + document(good), "more than one"},
		{"cut off", document(good)[:200], "EOF"},
		{"nothing", "", "EOF"},
		{"deep", document(strings.Repeat(`{"products":[`, 500)), "nested"},
		{"large", document(good) + strings.Repeat(" ", MaxSize), "longer than"},
		{"a long text", document(strings.Replace(good, "nginx", strings.Repeat("x", 5000), 1)), "longer than 4096"},
		{"too many products", document(says("not_affected", strings.TrimSuffix(strings.Repeat(id("a")+",", 10_001), ","), "")), "more than 10000 products"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := Parse([]byte(c.doc))
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 400 {
				t.Errorf("%v", err)
			}
			if ws := d.Waivers(); len(ws) > 0 {
				t.Errorf("%+v", ws)
			}
		})
	}
}

func TestExport(t *testing.T) {
	repo := func(s string) reconcile.Repo {
		r, err := reconcile.ParseRepo(s)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	digest := reconcile.MustDigest(sum)
	want := func(name, scope string) reconcile.Want {
		return reconcile.Want{Name: name, Version: "1", Scope: scope, From: reconcile.Image{Digest: digest},
			To: []reconcile.Target{{Identity: repo("images.example.com/approved/" + name)}, {Identity: repo("images.example.com/approved/" + name)}}}
	}
	until := time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC)
	d := reconcile.Desired{Wants: []reconcile.Want{want("nginx", ""), want("ledger", "payments"), want("other", "pay")}, Waivers: []reconcile.Waiver{
		{ID: "CVE-2026-2", Rule: "vulnerabilities", Scope: "payments", Reason: "we wait", Expires: until},
		{ID: "CVE-2026-1", Rule: "vulnerabilities", Image: "nginx", Package: "pkg:npm/lodash@4.17.4", Justification: "component_not_present", Reason: "it's <gone>", Expires: until},
		{ID: "CVE-2026-3", Rule: "vulnerabilities", Reason: "late", Expires: until.AddDate(-1, 0, 0)},
		{ID: "*", Rule: "vulnerabilities", Reason: "all", Expires: until},
		{ID: "x", Rule: "licenses", Reason: "other", Expires: until},
	}}
	about := About{ID: "https://example.com/vex/acme", Author: "security@example.com", Time: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	got, err := Export(d, about)
	if err != nil {
		t.Fatal(err)
	}
	d.Waivers[0], d.Waivers[1], d.Wants[0], d.Wants[2] = d.Waivers[1], d.Waivers[0], d.Wants[2], d.Wants[0]
	if again, err := Export(d, about); err != nil || string(again) != string(got) {
		t.Errorf("another order gives\n%s, %v", again, err)
	}
	doc, err := Parse(got)
	if err != nil {
		t.Fatal(err)
	}
	if len(doc.Statements) != 2 || doc.Statements[0].Status != NotAffected || doc.Statements[1].Status != Affected ||
		doc.Statements[1].ActionStatement != "The risk is accepted until 2027-01-31: we wait" {
		t.Errorf("%s", got)
	}
	id := "pkg:oci/nginx@" + strings.Replace(sum, ":", "%3A", 1) + "?repository_url=images.example.com%2Fapproved%2Fnginx"
	if p := doc.Statements[0].Products; len(p) != 1 || p[0].ID != id {
		t.Errorf("%+v", p)
	}
	if p := doc.Statements[1].Products; len(p) != 1 || !strings.HasPrefix(p[0].ID, "pkg:oci/ledger@") {
		t.Errorf("%+v", p)
	}
	back := []reconcile.Waiver{{ID: "CVE-2026-1", Digest: digest, Package: "pkg:npm/lodash@4.17.4", Justification: "component_not_present", Reason: "it's <gone>"}}
	if ws := doc.Waivers(); !reflect.DeepEqual(ws, back) {
		t.Errorf("read back: %+v", ws)
	}
	if _, err := Export(reconcile.Desired{}, about); err == nil {
		t.Error("a document without statements is none")
	}
}

func TestManyContradictionsTakeNoTime(t *testing.T) {
	var yes, no []string
	for i := range 2400 {
		yes = append(yes, id(fmt.Sprintf("pkg:npm/a%d@1", i)))
		no = append(no, id(fmt.Sprintf("pkg:npm/b%d@1", i)))
	}
	d, err := Parse([]byte(document(says("not_affected", strings.Join(yes, ","), "") + "," + says("affected", strings.Join(no, ","), ""))))
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if n := len(d.Waivers()); n != 2400 || time.Since(start) > 3*time.Second {
		t.Errorf("%d in %s", n, time.Since(start))
	}
}

func FuzzParse(f *testing.F) {
	f.Add(document(says("not_affected", in("pkg:oci/nginx@"+sum, "pkg:npm/lodash@4.17.4"), "")))
	f.Add(document(says("affected", id("nginx"), "") + "," + says("fixed", id(sum), `, "timestamp": "2026-01-01T00:00:00Z"`)))
	f.Add(`{"@context": null}`)
	f.Fuzz(func(t *testing.T, s string) {
		d, err := Parse([]byte(s))
		if err != nil {
			return
		}
		for _, w := range d.Waivers() {
			if w.ID == "" || w.ID == "*" || w.Rule != "" || w.Image == "" && w.Digest.IsZero() && w.Package == "" {
				t.Errorf("%+v", w)
			}
		}
	})
}
