package policy

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// Reference returns the reference of all rules as Markdown, made from their definitions.
func Reference() []byte {
	var b strings.Builder
	b.WriteString(referenceIntro)
	for _, name := range slices.Sorted(maps.Keys(definitions)) {
		d := definitions[name]
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n```hcl\n%s```\n\n| parameter | type | default | meaning |\n|---|---|---|---|\n", d.name, d.doc, d.example)
		t := reflect.TypeOf(d.params)
		for i := range t.NumField() {
			f := t.Field(i)
			attribute, option, _ := strings.Cut(f.Tag.Get("hcl"), ",")
			def := f.Tag.Get("default")
			switch {
			case option != "optional":
				def = "**required**"
			case strings.ContainsAny(def, "0123456789[\"") || def == "false":
				def = "`" + def + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", attribute, typeNames[f.Type], def, f.Tag.Get("doc"))
		}
	}
	return []byte(b.String())
}

var typeNames = map[reflect.Type]string{
	reflect.TypeFor[string]():         "string",
	reflect.TypeFor[[]string]():       "list of strings",
	reflect.TypeFor[int]():            "number",
	reflect.TypeFor[bool]():           "bool",
	reflect.TypeFor[hcl.Expression](): "expression",
}

const referenceIntro = `# The rules

This file is generated from the code (` + "`go generate ./reconcile/policy`" + `). A rule stands in a ` + "`policy`" + ` block of the catalog.

Every rule also takes ` + "`enforcement`" + `: ` + "`\"deny\"`" + ` (the default) blocks an image that doesn't satisfy it, ` + "`\"off\"`" + ` switches it off and leaves it written down.
(` + "`\"warn\"`" + ` is not supported yet by this version, and is refused.)

What could not be observed is a finding, never a pass. A waiver names a finding by its identifier: a vulnerability's is the CVE where there is one; those of
other findings are written here as ` + "`no-verdict`" + `, ` + "`no-content`" + ` (the image could not be read), ` + "`no-image`" + ` (an artifact such as a chart), and stand in every report.
`
