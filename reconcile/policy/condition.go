package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/assay-oci/assay/reconcile"
)

type condition struct {
	Assert  hcl.Expression `hcl:"assert" doc:"An expression that must be true of each platform of the image. One that can't be evaluated counts as false."`
	Message string         `hcl:"message,optional" default:"a sentence with the expression's place" doc:"What to tell people where it is false."`
}

func init() {
	register("condition", conditionDoc(), `rule "condition" {
  assert  = alltrue([for p in image.packages : p.name != "curl" || image.config.user != ""])
  message = "Images with curl must not run as root."
}
`, buildCondition)
}

// Bounds of an expression.
const (
	maxParts    = 500
	maxLoops    = 1    // for expressions and splats in one another
	maxElements = 5000 // packages or vulnerabilities that a condition is evaluated over; cty makes a list of n elements in time n²
	maxTemplate = 20   // parts of a template inside a loop
)

func buildCondition(p condition, _ hcl.Body) (reconcile.Reads, check, hcl.Diagnostics) {
	diags := checkExpression(p.Assert)
	if diags.HasErrors() {
		return 0, nil, diags
	}
	v, diags := p.Assert.Value(scope(cty.UnknownVal(imageType)))
	if !diags.HasErrors() {
		diags = checkElements(p.Assert)
	}
	if diags.HasErrors() {
		return 0, nil, diags
	}
	if t := v.Type(); v.IsNull() || t != cty.Bool && t != cty.DynamicPseudoType {
		return 0, nil, hcl.Diagnostics{mistake(p.Assert.Range(), "Invalid assert", "The expression gives a %s; it must give true or false.", t.FriendlyName())}
	}
	if p.Message == "" {
		p.Message = "the condition on line " + fmt.Sprint(p.Assert.Range().Start.Line) + " of " + strings.TrimPrefix(p.Assert.Range().Filename, "base:") + " is not met"
	}
	needs := needsOf(p.Assert)
	return needs.reads(), func(s reconcile.Subject, now time.Time) []reconcile.Finding {
		if needs.reads() == reconcile.ReadsDeclaration {
			return p.judge(facts{want: s.Want}, needs, "")
		}
		return once(onEach(s, func(m reconcile.Manifest, where string) []reconcile.Finding {
			f := facts{want: s.Want, tree: *s.Evidence.Tree, manifest: m, now: now}
			if c := m.Config; max(len(c.Labels), len(c.Env), len(c.Entrypoint), len(c.Command), len(c.Ports), len(c.Volumes), len(notes(f.tree, m))) > maxElements {
				return tooMany("labels, annotations, variables or other words of the author", platformName(m))
			}
			if needs.reads() >= reconcile.ReadsScans {
				if missing := f.gather(verdicts(s, m.Digest, 0, now), needs); missing != nil {
					return missing
				}
			}
			return p.judge(f, needs, where)
		}))
	}, nil
}

// checkElements checks what is said of the elements of lists, which nobody looks at while a list is unknown: it evaluates the expression over
// lists of one unknown element. Only mistakes of type count: whether there is an element to speak of depends on the image.
func checkElements(e hcl.Expression) hcl.Diagnostics {
	_, diags := e.Value(scope(sample(imageType)))
	var out hcl.Diagnostics
	for _, d := range diags {
		if slices.Contains([]string{"Unsupported attribute", "Invalid operand", "Incorrect condition type"}, d.Summary) {
			out = append(out, d)
		}
	}
	return out
}

// sample is an unknown value of a type, but for lists and objects, of which the elements are unknown.
func sample(t cty.Type) cty.Value {
	switch {
	case t.IsObjectType():
		out := map[string]cty.Value{}
		for name, a := range t.AttributeTypes() {
			out[name] = sample(a)
		}
		return cty.ObjectVal(out)
	case t.IsListType():
		return cty.ListVal([]cty.Value{sample(t.ElementType())})
	}
	return cty.UnknownVal(t)
}

// needs are the attributes of image that an expression speaks of.
type needs map[string]bool

// needsOf lists them. Where image is used as a whole, or by a computed name, they are all.
func needsOf(e hcl.Expression) needs {
	out := needs{}
	for _, t := range e.Variables() {
		if t.RootName() != "image" {
			continue
		}
		if len(t) > 1 {
			if a, ok := t[1].(hcl.TraverseAttr); ok {
				out[a.Name] = true
				continue
			}
		}
		for name := range imageType.AttributeTypes() {
			out[name] = true
		}
	}
	return out
}

func (n needs) reads() reconcile.Reads {
	reads := reconcile.ReadsDeclaration
	for name := range n {
		for _, a := range imageAttributes {
			if a.name == name {
				reads = max(reads, a.reads)
			}
		}
	}
	return reads
}

// checkExpression bounds an expression's size and the work that it can make.
func checkExpression(e hcl.Expression) hcl.Diagnostics {
	native, ok := e.(hclsyntax.Expression)
	if !ok {
		return hcl.Diagnostics{mistake(e.Range(), "Invalid assert", "The expression is not in HCL's native syntax.")}
	}
	w := &walker{}
	diags := hclsyntax.Walk(native, w)
	if w.parts > maxParts {
		diags = append(diags, mistake(e.Range(), "Expression too large", "An expression has at most %d parts.", maxParts))
	}
	return diags
}

// A walker sees that no loop stands in another one, and that what is done for each element takes no time that grows with their number: HCL
// walks through every argument of a function before the function is asked, and so before a meter can stop it.
type walker struct {
	parts, loops int
	whole        map[hclsyntax.Node]bool // where a list or map may stand as a whole inside a loop, for nothing is done with each of its elements
}

func (w *walker) Enter(n hclsyntax.Node) hcl.Diagnostics {
	w.parts++
	switch n := n.(type) {
	case *hclsyntax.ForExpr:
		w.allow(n.CollExpr)
	case *hclsyntax.SplatExpr:
		w.allow(n.Source)
	case *hclsyntax.IndexExpr:
		w.allow(n.Collection)
	case *hclsyntax.RelativeTraversalExpr:
		w.allow(n.Source)
	case *hclsyntax.TemplateExpr:
		if w.loops > 0 && len(n.Parts) > maxTemplate {
			return hcl.Diagnostics{mistake(n.Range(), "Template too large", "A template inside a for expression has at most %d parts.", maxTemplate)}
		}
	case *hclsyntax.ScopeTraversalExpr:
		if w.loops > 0 && !w.whole[n] && isCollection(n) {
			return hcl.Diagnostics{mistake(n.Range(), "Too much work", "Inside a for expression, no list, map or object of the image may stand as a whole; use setintersection, setsubtract or contains around it.")}
		}
	}
	if isLoop(n) {
		if w.loops++; w.loops > maxLoops {
			return hcl.Diagnostics{mistake(n.Range(), "Nested for", "A for expression or [*] may not stand inside another one.")}
		}
	}
	return nil
}

func (w *walker) allow(nodes ...hclsyntax.Expression) {
	if w.whole == nil {
		w.whole = map[hclsyntax.Node]bool{}
	}
	for _, n := range nodes {
		w.whole[n] = true
	}
}

func isLoop(n hclsyntax.Node) bool {
	switch n.(type) {
	case *hclsyntax.ForExpr, *hclsyntax.SplatExpr:
		return true
	}
	return false
}

func (w *walker) Exit(n hclsyntax.Node) hcl.Diagnostics {
	if isLoop(n) {
		w.loops--
	}
	return nil
}

// isCollection tells whether a path leads to a list, map or object of the image.
func isCollection(e *hclsyntax.ScopeTraversalExpr) bool {
	if e.Traversal.RootName() != "image" {
		return false
	}
	v, diags := e.Traversal.TraverseAbs(&hcl.EvalContext{Variables: map[string]cty.Value{"image": cty.UnknownVal(imageType)}})
	return diags.HasErrors() || !v.Type().IsPrimitiveType()
}

// scope is what an expression can see. It is for one evaluation.
func scope(image cty.Value) *hcl.EvalContext {
	m := &meter{left: maxWork}
	return &hcl.EvalContext{Variables: map[string]cty.Value{"image": image}, Functions: m.functions()}
}

func (p condition) judge(f facts, n needs, where string) []reconcile.Finding {
	v, diags := p.Assert.Value(scope(f.image(n)))
	why := "change the image so that the condition holds, or ask for a waiver"
	switch {
	case diags.HasErrors():
		why = "the condition could not be evaluated: " + diags[0].Summary + "; " + diags[0].Detail
	case v.IsNull() || !v.IsKnown() || v.Type() != cty.Bool:
		why = "the condition gave neither true nor false"
	case v.True():
		return nil
	}
	return []reconcile.Finding{{ID: "condition", Summary: p.Message + where, Detail: why}}
}
