package policy

import (
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/assay-oci/assay/reconcile"
)

// A rule's body may come from a pull request: whatever it says is a rule or a diagnostic.
func FuzzRules(f *testing.F) {
	for _, d := range definitions {
		file, diags := hclsyntax.ParseConfig([]byte(d.example), "x.hcl", hcl.InitialPos)
		if diags.HasErrors() {
			f.Fatal(diags)
		}
		b := file.Body.(*hclsyntax.Body).Blocks[0].Body
		f.Add(d.name, string(b.SrcRange.SliceBytes(file.Bytes)[1:len(b.SrcRange.SliceBytes(file.Bytes))-1]))
	}
	f.Add("condition", `assert = alltrue([for k, v in image.config.labels : length(split(",", v)) < max(3, length(keys(image.config.labels)))])`)
	f.Add("condition", `assert = lookup(image.config.labels, "a", "b") == image.tags[0] && contains(values(image.config.labels), "x")`)
	f.Add("condition", `assert = anytrue(image.tags[*] == "x" ? [true] : [])`)
	f.Fuzz(func(t *testing.T, name, body string) {
		if len(body) > 2000 {
			return
		}
		decode, ok := Rules()[name]
		if !ok {
			return
		}
		file, diags := hclsyntax.ParseConfig([]byte(body), "x.hcl", hcl.InitialPos)
		if diags.HasErrors() {
			return
		}
		r, diags := decode(file.Body)
		if diags.HasErrors() {
			return
		}
		s := subjectOn(t, "linux/amd64", "linux/arm64")
		s.Evidence.Tree.Manifests[0].Config = reconcile.ConfigInfo{User: "u", Labels: map[string]string{"a": "b", "": "\x00"}}
		s = scanned(s, "linux/amd64", scan("trivy", vuln("CVE-2026-1", reconcile.High)))
		r.Check(s, now)
		r.Check(reconcile.Subject{}, now)
	})
}
