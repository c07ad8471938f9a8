package catalog

import (
	"reflect"
	"sort"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// A node is where a decoded block stands.
type node struct {
	block  *hclsyntax.Block
	label  string
	folder string
	cause  *hcl.Diagnostic // the first mistake found in it, or in a block inside it
}

func (n *node) bad() bool { return n.cause != nil }

// fail notes the first mistake.
func (n *node) fail(ds ...*hcl.Diagnostic) {
	if n.cause == nil {
		n.cause = firstError(ds)
	}
}

func (n *node) at() *node { return n }

// def is the block's header.
func (n *node) def() hcl.Range { return n.block.DefRange() }

// attr is where an attribute's value stands, or the block's header if there is none.
func (n *node) attr(name string) hcl.Range {
	if a, ok := n.block.Body.Attributes[name]; ok {
		return a.Expr.Range()
	}
	return n.def()
}

// labelRange is where the block's label stands.
func (n *node) labelRange() hcl.Range {
	if len(n.block.LabelRanges) > 0 {
		return n.block.LabelRanges[0]
	}
	return n.def()
}

// A field is an attribute or a nested block, read from the tags of a struct's field.
type field struct {
	name, def, doc  string
	required, block bool
	index           int
	typ             reflect.Type
}

func fieldsOf(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		sf := t.Field(i)
		name, option, _ := strings.Cut(sf.Tag.Get("hcl"), ",")
		if name == "" {
			continue
		}
		out = append(out, field{name: name, def: sf.Tag.Get("default"), doc: sf.Tag.Get("doc"),
			required: option == "required", block: option == "block", index: i, typ: sf.Type})
	}
	return out
}

// located is what every block type embeds.
type located interface{ at() *node }

// decode fills the struct that into points to from the block, and reports all mistakes at once.
func decode(b *hclsyntax.Block, folder, label string, into located) hcl.Diagnostics {
	n := into.at()
	*n = node{block: b, folder: folder}
	diags := decodeLabel(b, label, n)
	if _, ok := into.(*ruleBlock); !ok {
		v := reflect.ValueOf(into).Elem()
		fields := fieldsOf(v.Type())
		diags = append(diags, decodeAttributes(b.Type, b.Body.Attributes, b.DefRange(), fields, v)...)
		diags = append(diags, decodeBlocks(b, folder, fields, v)...)
	}
	n.fail(diags...)
	return diags
}

func decodeLabel(b *hclsyntax.Block, label string, n *node) hcl.Diagnostics {
	switch {
	case label == "" && len(b.Labels) > 0:
		return hcl.Diagnostics{mistake(b.LabelRanges[0], "Unexpected label", "%s block has no label.", article(b.Type))}
	case label == "":
		return nil
	case len(b.Labels) != 1:
		return hcl.Diagnostics{mistake(b.DefRange(), "Wrong number of labels", "%s block has one label, the %s, as in: %s \"…\" {", article(b.Type), label, b.Type)}
	}
	n.label = b.Labels[0]
	if strings.TrimSpace(n.label) != n.label || n.label == "" || len(n.label) > 256 || strings.ContainsAny(n.label, "\n\r\t") {
		return hcl.Diagnostics{mistake(b.LabelRanges[0], "Invalid label", "A label has 1 to 256 characters on one line, and no space at its ends.")}
	}
	return nil
}

func decodeAttributes(what string, attrs hclsyntax.Attributes, where hcl.Range, fields []field, v reflect.Value) hcl.Diagnostics {
	var diags hcl.Diagnostics
	known := map[string]field{}
	for _, f := range fields {
		if f.block {
			if a, ok := attrs[f.name]; ok {
				diags = append(diags, mistake(a.NameRange, "Not an attribute", "%q is a block: write it without the equals sign.", f.name))
			}
			continue
		}
		known[f.name] = f
		if _, ok := attrs[f.name]; !ok && f.required {
			diags = append(diags, mistake(where, "Missing attribute", "%s needs the attribute %q: %s", article(what), f.name, f.doc))
		}
	}
	for _, a := range sorted(attrs) {
		if len(diags) > maxFileDiagnostics {
			break
		}
		f, ok := known[a.Name]
		switch {
		case ok:
			diags = append(diags, decodeValue(a.Name, a.Expr, v.Field(f.index))...)
		case !isBlockField(fields, a.Name):
			diags = append(diags, mistake(a.NameRange, "Unknown attribute", "%s has no attribute %q.%s", article(what), clip(a.Name), nearest(a.Name, names(fields, false))))
		}
	}
	return diags
}

func sorted(attrs hclsyntax.Attributes) []*hclsyntax.Attribute {
	var out []*hclsyntax.Attribute
	for _, a := range attrs {
		out = append(out, a)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].SrcRange.Start.Byte < out[j].SrcRange.Start.Byte })
	return out
}

func isBlockField(fields []field, name string) bool {
	for _, f := range fields {
		if f.block && f.name == name {
			return true
		}
	}
	return false
}

func names(fields []field, block bool) []string {
	var out []string
	for _, f := range fields {
		if f.block == block {
			out = append(out, f.name)
		}
	}
	return out
}

func decodeValue(name string, e hclsyntax.Expression, to reflect.Value) hcl.Diagnostics {
	if t, ok := e.(*hclsyntax.ScopeTraversalExpr); ok && len(t.Traversal) == 1 {
		return hcl.Diagnostics{mistake(e.Range(), "Missing quotes", "Write %q in quotes: nothing in a catalog refers to a variable.", t.Traversal.RootName())}
	}
	if d := literal(e); d != nil {
		return hcl.Diagnostics{d}
	}
	t, ok := valueTypes[to.Type()]
	if !ok {
		return decodeObject(name, e, to)
	}
	v, diags := e.Value(nil)
	if diags.HasErrors() {
		return diags
	}
	if !v.IsWhollyKnown() { // the parser has reported it
		return nil
	}
	x, err := t.parse(v)
	if err != nil {
		return hcl.Diagnostics{mistake(e.Range(), "Invalid "+name, "%s", sentence(err.Error()))}
	}
	to.Set(reflect.ValueOf(x))
	return nil
}

// decodeObject decodes a value such as { registry = "eu" } like the attributes of a block.
func decodeObject(name string, e hclsyntax.Expression, to reflect.Value) hcl.Diagnostics {
	o, ok := e.(*hclsyntax.ObjectConsExpr)
	if !ok {
		return hcl.Diagnostics{mistake(e.Range(), "Invalid "+name, "An object is needed here, as in: %s = { … }", name)}
	}
	attrs := hclsyntax.Attributes{}
	var diags hcl.Diagnostics
	for _, it := range o.Items {
		key, ds := it.KeyExpr.Value(nil)
		if ds.HasErrors() || key.IsNull() || !key.Type().Equals(ctyString) {
			return append(diags, mistake(it.KeyExpr.Range(), "Invalid "+name, "The names in an object are plain words."))
		}
		if _, ok := attrs[key.AsString()]; ok {
			diags = append(diags, mistake(it.KeyExpr.Range(), "Name given twice", "%q stands twice in this object.", clip(key.AsString())))
			continue
		}
		attrs[key.AsString()] = &hclsyntax.Attribute{Name: key.AsString(), Expr: it.ValueExpr, NameRange: it.KeyExpr.Range(),
			SrcRange: hcl.RangeBetween(it.KeyExpr.Range(), it.ValueExpr.Range())}
	}
	return append(diags, decodeAttributes(name, attrs, e.Range(), fieldsOf(to.Type()), to)...)
}

func decodeBlocks(b *hclsyntax.Block, folder string, fields []field, v reflect.Value) hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, inner := range b.Body.Blocks {
		if len(diags) > maxFileDiagnostics {
			break
		}
		i := -1
		for _, f := range fields {
			if f.block && f.name == inner.Type {
				i = f.index
			}
		}
		if i < 0 {
			diags = append(diags, unknownBlock(inner, b.Type, names(fields, true)))
			continue
		}
		list := v.Field(i)
		x := reflect.New(list.Type().Elem().Elem())
		diags = append(diags, decode(inner, folder, nestedLabels[inner.Type], x.Interface().(located))...)
		list.Set(reflect.Append(list, x))
	}
	return diags
}

// nestedLabels says what the labels of nested blocks are.
var nestedLabels = map[string]string{"version": "version", "rule": "rule"}

func unknownBlock(b *hclsyntax.Block, parent string, known []string) *hcl.Diagnostic {
	if parent == "" {
		return mistake(b.TypeRange, "Unknown block", "A catalog has no block %q.%s", clip(b.Type), nearest(b.Type, known))
	}
	return mistake(b.TypeRange, "Unknown block", "%s has no block %q inside.%s", article(parent), clip(b.Type), nearest(b.Type, known))
}

// sentence makes an error's text one that stands alone.
func sentence(s string) string {
	if s == "" {
		return s
	}
	s = strings.ToUpper(s[:1]) + s[1:]
	if !strings.HasSuffix(s, ".") && !strings.HasSuffix(s, "?") {
		s += "."
	}
	return s
}

// article puts "A" or "An" before the name of a block.
func article(name string) string {
	if name != "" && strings.Contains("aeiou", name[:1]) {
		return "An " + name
	}
	return "A " + name
}
