package catalog

import (
	"fmt"
	"reflect"
	"strings"
)

// Reference returns the language's reference as Markdown, made from the types that Load decodes into.
func Reference() []byte {
	var b strings.Builder
	b.WriteString(referenceIntro)
	for _, t := range blockTypes {
		fmt.Fprintf(&b, "\n## %s\n\n%s Stands %s.\n\n```hcl\n%s```\n", t.name, t.doc, t.where, t.example)
		if t.label != "" {
			fmt.Fprintf(&b, "\nIts label is the %s.\n", t.label)
		}
		writeFields(&b, t.name, reflect.TypeOf(t.body))
	}
	return []byte(b.String())
}

func writeFields(b *strings.Builder, name string, t reflect.Type) {
	var rows []string
	var inner []field
	for _, f := range fieldsOf(t) {
		typ, object := typeName(f)
		if object || f.block {
			inner = append(inner, f)
		}
		need := f.def
		switch {
		case f.required:
			need = "**required**"
		case need == "":
			need = "none"
		case strings.ContainsAny(need, "0123456789[\"") || need == "false":
			need = "`" + need + "`"
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s |\n", f.name, typ, need, f.doc))
	}
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n| %s | type | default | meaning |\n|---|---|---|---|\n%s", name, strings.Join(rows, ""))
	for _, f := range inner {
		typ := f.typ
		if f.block {
			typ = typ.Elem().Elem()
		}
		writeFields(b, name+"."+f.name, typ)
	}
}

// typeName names the type of a field, and says whether it is an object with fields of its own.
func typeName(f field) (string, bool) {
	if f.block {
		if label := nestedLabels[f.name]; label != "" {
			return "blocks, each with a label", false
		}
		return "block", false
	}
	if t, ok := valueTypes[f.typ]; ok {
		return t.name, false
	}
	return "object", true
}

const referenceIntro = `# The catalog's language

This file is generated from the code (` + "`go generate ./catalog-schema`" + `). The rules inside a policy have a reference of their own.

A catalog is every file named ` + "`*.hcl`" + ` in a folder and the folders below it, in [HCL's native syntax](https://github.com/hashicorp/hcl/blob/main/hclsyntax/spec.md).
Files and folders whose name starts with a dot are skipped. How blocks are spread over files means nothing, but for the folder.

- **Nothing is computed.** Values are strings, numbers, booleans, lists and objects, written out. Only a ` + "`rule`" + ` block may hold expressions.
- **A folder with a ` + "`scope`" + ` block is a scope.** One without it belongs to the scope around it, the root to the organization.
- **Where an image goes**: the registry's prefix / the path of the narrowest scope that has one / the image's repository.
- **What judges an image**: the policies of its folder and of all folders around it. A narrower folder can only add.
- **A pull request** is read against the commit that it starts from: images, versions and revocations are its own, all else is what was merged before.
  Each change of the rest is reported, and images are judged by the rules of both.
- **A mistake** in an image or a revocation stops that entry alone. One in anything else stops all images of its folder and below, for nobody can
  judge them; one in a registry, scanner, signer or prune block, or in a file that may hold one, stops all. While anything is broken, nothing is removed.
- **Text** is UTF-8, without control characters and without characters that are invisible or change the direction of text.
- **Limits**: 1 MiB and 350,000 words and marks a file, 64 MiB in all, 50,000 files, folders 32 deep, brackets 64 deep, 1,000 elements a list, 4,096 bytes a string, 100 registries.
  Symbolic links are refused.

Durations are written ` + "`\"90m\"`, `\"72h\"` or `\"7d\"`" + `; dates ` + "`\"2027-05-01\"`" + `; digests ` + "`\"sha256:\"`" + ` and 64 lower-case hexadecimal digits (or ` + "`\"sha512:\"`" + ` and 128);
repositories with their host, as in ` + "`\"docker.io/library/nginx\"`" + `. Tags of the form ` + "`sha256-<hex>`" + ` are refused: they name records about images.
`
