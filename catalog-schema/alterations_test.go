package catalog

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/assay-oci/assay/reconcile"
)

func partOf(t *testing.T, block, body string) part {
	t.Helper()
	f, diags := hclsyntax.ParseConfig([]byte(block+" \"x\" {\n"+body+"\n}\n"), "x.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return part{block: f.Body.(*hclsyntax.Body).Blocks[0], file: f}
}

func TestWhatAChangeDoes(t *testing.T) {
	for _, c := range []struct {
		block, was, is string
		want           effect
	}{
		{"rule", `deny = "high"`, `deny = "critical"`, loosened},
		{"rule", `deny = "high"`, `deny = "low"`, tightened},
		{"rule", `deny = "critical"`, ``, tightened}, // "high" again
		{"rule", `deny = "high"`, ``, ""},            // the same as it was
		{"rule", `deny = "high"`, `deny = "dreadful"`, ""},
		{"rule", `deny = ["a"]`, `deny = ["a", "b"]`, tightened},
		{"rule", `deny = ["a"]`, `deny = []`, loosened},
		{"rule", `deny = ["a"]`, `deny = ["b"]`, ""},
		{"rule", `deny = ["a"]`, ``, loosened},
		{"rule", `allow = ["a"]`, `allow = ["a", "b"]`, loosened},
		{"rule", `allow = ["a"]`, ``, loosened},
		{"rule", ``, `allow = ["a"]`, tightened},
		{"rule", `allow = ["a", "b"]`, `allow = ["a"]`, tightened},
		{"rule", `images = ["a"]`, ``, tightened},
		{"rule", `require = ["a"]`, `require = []`, loosened},
		{"rule", `fixable = false`, `fixable = true`, loosened},
		{"rule", `grace = "24h"`, `grace = "7d"`, loosened},
		{"rule", `grace = "7d"`, ``, tightened},
		{"rule", ``, `grace = "7d"`, loosened},
		{"rule", `maximum = "500MiB"`, `maximum = "1GiB"`, loosened},
		{"rule", `maximum = 3`, ``, loosened},
		{"rule", `minimum = 2`, ``, loosened},
		{"rule", `minimum = 1`, `minimum = 2`, tightened},
		{"rule", `required = 2`, `required = 1`, loosened},
		{"rule", `epss = 0.5`, `epss = 0.9`, loosened},
		{"rule", `unknown = "deny"`, `unknown = "allow"`, loosened},
		{"rule", `from = "codeowners"`, `from = "anyone"`, loosened},
		{"rule", `enforcement = "warn"`, ``, tightened},
		{"rule", ``, `enforcement = "off"`, loosened},
		{"rule", `on_violation = "report"`, `on_violation = "remove"`, tightened},
		{"rule", "minimum = 1\nallow = [\"a\"]", "minimum = 2\nallow = [\"a\", \"b\"]", loosened}, // what is looser counts
		{"rule", "minimum = 1\nkey = \"a\"", "minimum = 2\nkey = \"b\"", ""},
		{"rule", `assert = a == 1`, `assert = a == 2`, ""},
		{"rule", `minimum = 1`, `minimum = 1 + 1`, ""}, // computed
		{"rule", `deny = "${x}"`, `deny = "critical"`, ""},
		{"waiver", `expires = "2027-01-31"`, `expires = "2027-06-30"`, loosened},
		{"gate", `mode = "reviews"`, `mode = "rules"`, loosened},
		{"scanner", `max_age = "24h"`, `max_age = "72h"`, loosened},
		{"prune", `grace = "24h"`, `grace = "48h"`, ""}, // judges nothing
	} {
		if _, got := alterations(partOf(t, c.block, c.was), partOf(t, c.block, c.is)); got != c.want {
			t.Errorf("%s: %q to %q: %q, want %q", c.block, c.was, c.is, got, c.want)
		}
	}
}

func TestAlterationsAreBounded(t *testing.T) {
	var was, is strings.Builder
	for i := range 100 {
		fmt.Fprintf(&was, "a%d = %q\n", i, strings.Repeat("ä", 1000))
		fmt.Fprintf(&is, "a%d = %q\n", i, strings.Repeat("ö", 1000))
	}
	said, _ := alterations(partOf(t, "rule", was.String()), partOf(t, "rule", is.String()))
	if len(said) != maxAlterations+1 || said[maxAlterations] != "and 92 more" || len(strings.Join(said, "; ")) > 5000 {
		t.Errorf("%d, %q", len(said), said[len(said)-1])
	}
	long := `deny = ["` + strings.Repeat(`a", "`, 100_000) + `"]`
	if said, _ := alterations(partOf(t, "rule", long), partOf(t, "rule", `deny = []`)); len(said) != 1 {
		t.Errorf("%q", said)
	}
}

func TestCodeOwnersInPlaces(t *testing.T) {
	acme := "scope \"acme\" {\n  level = \"organization\"\n}\n\nregistry \"eu\" {\n  address = \"registry.eu.example.com/approved\"\n}\n"
	catalog := func(files map[string]string) fstest.MapFS {
		out := fstest.MapFS{"acme.hcl": {Data: []byte(acme)}}
		for name, text := range files {
			out[name] = &fstest.MapFile{Data: []byte(text)}
		}
		return out
	}
	for _, c := range []struct {
		name    string
		was, is map[string]string
		want    reconcile.Finding
	}{
		{"none", nil, nil, reconcile.Finding{}},
		{"only its layout", map[string]string{"CODEOWNERS": "* @a"}, map[string]string{"CODEOWNERS": "# x\n*   @a # all\n"}, reconcile.Finding{}},
		{"one that doesn't count", map[string]string{"CODEOWNERS": "* @a"}, map[string]string{"CODEOWNERS": "* @a", "docs/CODEOWNERS": "* @b"}, reconcile.Finding{}},
		{"removed", map[string]string{"CODEOWNERS": "* @a"}, nil, reconcile.Finding{ID: "loosened", Summary: `the code owners are changed: the file is removed; loses "* @a"`}},
		{"added", nil, map[string]string{"CODEOWNERS": "\n* @a"}, reconcile.Finding{ID: "tightened", Summary: `the code owners are changed: there are none so far; gains "* @a"`, Origin: reconcile.Origin{File: "CODEOWNERS", Line: 2}}},
		{"shadowed", map[string]string{"CODEOWNERS": "* @a"}, map[string]string{"CODEOWNERS": "* @a", ".github/CODEOWNERS": "* @b"},
			reconcile.Finding{Summary: `the code owners are changed: .github/CODEOWNERS counts in place of CODEOWNERS; gains "* @b"; loses "* @a"`, Origin: reconcile.Origin{File: ".github/CODEOWNERS", Line: 1}}},
		{"their order", map[string]string{"CODEOWNERS": "* @a\n/x @b"}, map[string]string{"CODEOWNERS": "/x @b\n* @a"},
			reconcile.Finding{Summary: "the code owners are changed: their order", Origin: reconcile.Origin{File: "CODEOWNERS", Line: 1}}},
		{"too long", map[string]string{"CODEOWNERS": "* @a"}, map[string]string{"CODEOWNERS": strings.Repeat("# x\n", 1<<20)},
			reconcile.Finding{Summary: `the code owners are changed: the file can't be read: it is longer than 3145728 bytes; loses "* @a"`, Origin: reconcile.Origin{File: "CODEOWNERS", Line: 1}}},
	} {
		d, _ := Load(catalog(c.was), catalog(c.is), options)
		var got reconcile.Finding
		if len(d.Changes) > 0 {
			got = d.Changes[0]
		}
		if len(d.Changes) > 1 || got.ID != c.want.ID || got.Summary != c.want.Summary || got.Origin != c.want.Origin {
			t.Errorf("%s: %+v", c.name, d.Changes)
		}
	}
}
