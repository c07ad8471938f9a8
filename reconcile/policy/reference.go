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
	b.WriteString(parameterTable(reflect.TypeFor[sharedParams]()))
	b.WriteString(referenceFindings)
	for _, name := range slices.Sorted(maps.Keys(definitions)) {
		d := definitions[name]
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n```hcl\n%s```\n%s", d.name, d.doc, d.example, parameterTable(reflect.TypeOf(d.params)))
	}
	return []byte(b.String())
}

// parameterTable documents the fields of a struct; those of a nested block get a table of their own.
func parameterTable(t reflect.Type) string {
	var b, nested strings.Builder
	b.WriteString("\n| parameter | type | default | meaning |\n|---|---|---|---|\n")
	for i := range t.NumField() {
		f := t.Field(i)
		attribute, option, _ := strings.Cut(f.Tag.Get("hcl"), ",")
		if attribute == "" {
			continue
		}
		typ, def := typeNames[f.Type], f.Tag.Get("default")
		switch {
		case option == "block":
			typ, def = "blocks", "none"
			fmt.Fprintf(&nested, "\nIn `%s`:\n%s", attribute, parameterTable(f.Type.Elem()))
		case option != "optional":
			def = "**required**"
		case strings.ContainsAny(def, "0123456789[\"") || def == "false":
			def = "`" + def + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", attribute, typ, def, f.Tag.Get("doc"))
	}
	return b.String() + nested.String()
}

var typeNames = map[reflect.Type]string{
	reflect.TypeFor[string]():            "string",
	reflect.TypeFor[[]string]():          "list of strings",
	reflect.TypeFor[map[string]string](): "map of strings",
	reflect.TypeFor[int]():               "number",
	reflect.TypeFor[*float64]():          "number",
	reflect.TypeFor[bool]():              "bool",
	reflect.TypeFor[hcl.Expression]():    "expression",
}

const referenceIntro = `# The rules

This file is generated from the code (` + "`go generate ./reconcile/policy`" + `). A rule stands in a ` + "`policy`" + ` block of the catalog, and may stand there several times.

Every rule also takes:
`

const referenceFindings = `
A rule with ` + "`images`" + ` binds fewer images, and one that warns or is off blocks none; but whatever a policy says, the rules of wider scopes still bind.

What could not be observed is a finding, never a pass. It keeps an image out; but it is no reason to take away one that was approved.
A waiver names a finding by its identifier: a vulnerability's is the CVE where there is one; those of other findings are written here as ` + "`no-verdict`" + `,
` + "`no-content`" + ` (the image could not be read), ` + "`no-image`" + ` (an artifact such as a chart), and stand in every report.
`
