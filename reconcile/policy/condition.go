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
	Message string         `hcl:"message,optional" default:"a sentence with the expression" doc:"What to tell people where it is false."`
}

func init() {
	register("condition", conditionDoc, `rule "condition" {
  assert  = image.config.user != "root" && image.config.user != ""
  message = "Images must not run as root."
}
`, buildCondition)
}

const conditionDoc = "Anything else: an HCL expression over what is known of an image.\n\n" +
	"| value | type | meaning |\n|---|---|---|\n" +
	"| `image.name`, `image.version` | string | the labels in the catalog |\n" +
	"| `image.source`, `image.digest` | string | where it comes from, and what it is |\n" +
	"| `image.tags` | list of strings | all tags that it shall have |\n" +
	"| `image.mutable` | bool | whether its version may move |\n" +
	"| `image.owner`, `image.purpose` | string | as in the catalog; empty if left out |\n" +
	"| `image.review_by` | string | as \"2027-05-01\"; empty if left out |\n" +
	"| `image.scope` | string | folder of its scope; empty for the organization's |\n" +
	"| `image.platforms` | list of strings | those that it can run on, as \"linux/amd64\" |\n" +
	"| `image.platform` | string | the one that is judged now |\n" +
	"| `image.size` | number | bytes of all its blobs, compressed |\n" +
	"| `image.config.user` | string | who it runs as, on this platform; empty means root |\n" +
	"| `image.config.created` | string | as \"2026-05-01T12:00:00Z\"; empty if unknown |\n" +
	"| `image.config.labels` | map of strings | its own labels, on this platform: its author's words |\n\n" +
	"Functions: `alltrue`, `anytrue`, `contains`, `endswith`, `keys`, `length`, `lookup`, `lower`, `matches`, `max`, `min`, `split`, `startswith`, `trimprefix`, `trimspace`, `trimsuffix`, `upper`, `values`. " +
	"`matches(pattern, text)` searches for an RE2 regular expression. `lookup(map, key, otherwise)` reads a label that may be missing. " +
	"An expression has at most 500 parts, and no `for` inside another one."

// Bounds of an expression, which may come from a pull request.
const (
	maxParts = 500
	maxFor   = 1
)

// configType and imageType are the object that conditions speak about.
var (
	configType = cty.Object(map[string]cty.Type{"user": cty.String, "created": cty.String, "labels": cty.Map(cty.String)})
	imageType  = cty.Object(map[string]cty.Type{
		"name": cty.String, "version": cty.String, "source": cty.String, "digest": cty.String, "tags": cty.List(cty.String), "mutable": cty.Bool,
		"owner": cty.String, "purpose": cty.String, "review_by": cty.String, "scope": cty.String,
		"platforms": cty.List(cty.String), "platform": cty.String, "size": cty.Number, "config": configType,
	})
	declaredAttributes = []string{"name", "version", "source", "digest", "tags", "mutable", "owner", "purpose", "review_by", "scope"}
)

func buildCondition(p condition, body hcl.Body) (reconcile.Reads, check, hcl.Diagnostics) {
	diags := checkExpression(p.Assert)
	if diags.HasErrors() {
		return 0, nil, diags
	}
	v, diags := p.Assert.Value(scope(cty.UnknownVal(imageType)))
	if diags.HasErrors() {
		return 0, nil, diags
	}
	if t := v.Type(); v.IsNull() || t != cty.Bool && t != cty.DynamicPseudoType {
		return 0, nil, hcl.Diagnostics{mistake(p.Assert.Range(), "Invalid assert", "The expression gives a %s; it must give true or false.", t.FriendlyName())}
	}
	if p.Message == "" {
		p.Message = "the condition on line " + fmt.Sprint(p.Assert.Range().Start.Line) + " of " + strings.TrimPrefix(p.Assert.Range().Filename, "base:") + " is not met"
	}
	if readsDeclaration(p.Assert) {
		return reconcile.ReadsDeclaration, func(s reconcile.Subject, _ time.Time) []reconcile.Finding {
			return p.judge(s, reconcile.Tree{}, reconcile.Manifest{}, "")
		}, nil
	}
	return reconcile.ReadsContent, p.judgeAll, nil
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

type walker struct{ parts, loops int }

func (w *walker) Enter(n hclsyntax.Node) hcl.Diagnostics {
	w.parts++
	if _, ok := n.(*hclsyntax.ForExpr); ok {
		if w.loops++; w.loops > maxFor {
			return hcl.Diagnostics{mistake(n.Range(), "Nested for", "A for expression may not stand inside another one.")}
		}
	}
	return nil
}

func (w *walker) Exit(n hclsyntax.Node) hcl.Diagnostics {
	if _, ok := n.(*hclsyntax.ForExpr); ok {
		w.loops--
	}
	return nil
}

// readsDeclaration tells whether an expression speaks of nothing but what the catalog says.
func readsDeclaration(e hcl.Expression) bool {
	for _, t := range e.Variables() {
		if len(t) < 2 {
			return false
		}
		a, ok := t[1].(hcl.TraverseAttr)
		if !ok || !slices.Contains(declaredAttributes, a.Name) {
			return false
		}
	}
	return true
}

func scope(image cty.Value) *hcl.EvalContext {
	return &hcl.EvalContext{Variables: map[string]cty.Value{"image": image}, Functions: functions}
}

func (p condition) judgeAll(s reconcile.Subject, _ time.Time) []reconcile.Finding {
	if s.Evidence.Tree == nil {
		return notRead()
	}
	runnable := s.Evidence.Tree.Runnable()
	if len(runnable) == 0 {
		return notRunnable()
	}
	var out []reconcile.Finding
	for _, m := range runnable {
		where := ""
		if len(runnable) > 1 {
			where = " (" + platformName(m) + ")"
		}
		out = append(out, p.judge(s, *s.Evidence.Tree, m, where)...)
	}
	return out
}

func (p condition) judge(s reconcile.Subject, t reconcile.Tree, m reconcile.Manifest, where string) []reconcile.Finding {
	v, diags := p.Assert.Value(scope(subject(s.Want, t, m)))
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

// subject is the object that a condition sees.
func subject(w reconcile.Want, t reconcile.Tree, m reconcile.Manifest) cty.Value {
	var tags, platforms []string
	for _, x := range w.Tags {
		tags = append(tags, x.String())
	}
	for _, x := range t.Runnable() {
		if x.Platform.Runnable() {
			platforms = append(platforms, x.Platform.String())
		}
	}
	platform := ""
	if m.Platform.Runnable() {
		platform = m.Platform.String()
	}
	labels := map[string]cty.Value{}
	for k, v := range m.Config.Labels {
		labels[k] = cty.StringVal(v)
	}
	labelMap := cty.MapValEmpty(cty.String)
	if len(labels) > 0 {
		labelMap = cty.MapVal(labels)
	}
	return cty.ObjectVal(map[string]cty.Value{
		"name": cty.StringVal(w.Name), "version": cty.StringVal(w.Version), "source": cty.StringVal(w.From.Repo.String()), "digest": cty.StringVal(w.From.Digest.String()),
		"tags": stringList(tags), "mutable": cty.BoolVal(w.Mutable), "owner": cty.StringVal(w.Owner), "purpose": cty.StringVal(w.Purpose),
		"review_by": timeString(w.Review, time.DateOnly), "scope": cty.StringVal(w.Scope),
		"platforms": stringList(platforms), "platform": cty.StringVal(platform), "size": cty.NumberIntVal(t.Bytes()),
		"config": cty.ObjectVal(map[string]cty.Value{"user": cty.StringVal(m.Config.User), "created": timeString(m.Config.Created, time.RFC3339), "labels": labelMap}),
	})
}

func stringList(ss []string) cty.Value {
	if len(ss) == 0 {
		return cty.ListValEmpty(cty.String)
	}
	out := make([]cty.Value, len(ss))
	for i, s := range ss {
		out[i] = cty.StringVal(s)
	}
	return cty.ListVal(out)
}

func timeString(t time.Time, layout string) cty.Value {
	if t.IsZero() {
		return cty.StringVal("")
	}
	return cty.StringVal(t.UTC().Format(layout))
}
