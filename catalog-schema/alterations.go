package catalog

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/assay-oci/assay/reconcile"
)

// effect is what a change does to how images are judged, where that can be told.
type effect string

// The effects. They are the identifiers of findings about changes of policy; where it can't be told, there is none.
const (
	loosened  effect = "loosened"
	tightened effect = "tightened"
)

// Bounds of how a change is told.
const (
	maxAlterations = 8  // of one block; the rest is counted
	maxValue       = 80 // characters of a value
)

// A setting is an attribute of a block or of a block inside it, as it is written.
type setting struct {
	name string
	text string // its value in HCL
	mark string // its fingerprint
	expr hclsyntax.Expression
}

// settings lists the attributes of a block by their path in it, such as "keyless.issuer".
func settings(f *hcl.File, body *hclsyntax.Body, path string) map[string]setting {
	out := map[string]setting{}
	for name, a := range body.Attributes {
		r := a.Expr.Range()
		out[path+name] = setting{name: name, text: strings.Join(strings.Fields(string(f.Bytes[r.Start.Byte:r.End.Byte])), " "), mark: fingerprint(f, r), expr: a.Expr}
	}
	count := map[string]int{}
	for _, b := range body.Blocks {
		key := strings.Join(append([]string{b.Type}, b.Labels...), ".")
		if count[key]++; count[key] > 1 {
			key = fmt.Sprintf("%s[%d]", key, count[key])
		}
		maps.Copy(out, settings(f, b.Body, path+key+"."))
	}
	return out
}

// alterations says, attribute by attribute, how a block differs from what it was, and what that does to how images are judged.
func alterations(was, is part) ([]string, effect) {
	before, after := settings(was.file, was.block.Body, ""), settings(is.file, is.block.Body, "")
	all := maps.Clone(before)
	maps.Copy(all, after)
	var said []string
	loose, tight, open := false, false, false
	for _, path := range slices.Sorted(maps.Keys(all)) {
		old, had := before[path]
		now, has := after[path]
		if had && has && old.mark == now.mark {
			continue
		}
		switch {
		case !had:
			said = append(said, fmt.Sprintf("%s is set to %s", path, brief(now.text)))
		case !has:
			said = append(said, fmt.Sprintf("%s is no longer set; it was %s", path, brief(old.text)))
		default:
			said = append(said, path+" "+altered(old, now))
		}
		switch d := direction(is.block.Type, all[path].name, old, now); {
		case d < 0:
			loose = true
		case d > 0:
			tight = true
		default:
			open = true
		}
	}
	if more := len(said) - maxAlterations; more > 0 {
		said = append(said[:maxAlterations], fmt.Sprintf("and %d more", more))
	}
	switch {
	case loose:
		return said, loosened
	case tight && !open:
		return said, tightened
	}
	return said, ""
}

// altered tells of two values; of lists what comes and goes.
func altered(was, is setting) string {
	old, ok := elements(was.expr)
	now, ok2 := elements(is.expr)
	if !ok || !ok2 {
		return fmt.Sprintf("from %s to %s", brief(was.text), brief(is.text))
	}
	var parts []string
	if gained := without(now, old); len(gained) > 0 {
		parts = append(parts, "gains "+brief(quoted(gained)))
	}
	if lost := without(old, now); len(lost) > 0 {
		parts = append(parts, "loses "+brief(quoted(lost)))
	}
	if len(parts) == 0 {
		return "is in another order"
	}
	return strings.Join(parts, " and ")
}

// without returns what is in a and not in b.
func without(a, b []string) []string {
	in := map[string]bool{}
	for _, s := range b {
		in[s] = true
	}
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return in[s] })
}

// brief bounds a value that is shown.
func brief(s string) string {
	if r := []rune(s); len(r) > maxValue {
		return string(r[:maxValue]) + "…"
	}
	return s
}

func quoted(list []string) string {
	var out []string
	for _, s := range list {
		out = append(out, fmt.Sprintf("%q", s))
	}
	return strings.Join(out, ", ")
}

// elements are those of a list of strings that are written out.
func elements(e hclsyntax.Expression) ([]string, bool) {
	list, ok := e.(*hclsyntax.TupleConsExpr)
	if !ok || len(list.Exprs) > maxList {
		return nil, false
	}
	out := []string{}
	for _, x := range list.Exprs {
		v := literalValue(x)
		if v == cty.NilVal || v.Type() != cty.String {
			return nil, false
		}
		out = append(out, v.AsString())
	}
	return out, true
}

// literalValue is the value of an expression that computes nothing; else nil.
func literalValue(e hclsyntax.Expression) cty.Value {
	if e == nil || literal(e) != nil {
		return cty.NilVal
	}
	v, diags := e.Value(nil)
	if diags.HasErrors() || !v.IsKnown() || v.IsNull() {
		return cty.NilVal
	}
	return v
}

// A meaning says what more of something does. It is the same in all rules: their attributes are named so.
type meaning struct {
	more   effect
	words  []string // from the least to the most; nil for an amount or a list
	absent float64  // as much as which it counts where it isn't set: 0 for nothing, +Inf for everything; for words their place
}

var everything = math.Inf(1)

var meanings = map[string]meaning{
	"allow":        {more: loosened, absent: everything},
	"confined":     {more: tightened},
	"deny":         {more: tightened},
	"enforcement":  {more: tightened, words: []string{"off", "warn", "deny"}, absent: 2},
	"epss":         {more: loosened, absent: everything},
	"expires":      {more: loosened},
	"exploited":    {more: tightened},
	"fixable":      {more: loosened},
	"forbid_root":  {more: tightened},
	"from":         {more: tightened, words: []string{"anyone", "codeowners"}},
	"grace":        {more: loosened},
	"images":       {more: tightened, absent: everything},
	"layers":       {more: loosened, absent: everything},
	"max_age":      {more: loosened, absent: everything},
	"maximum":      {more: loosened, absent: everything},
	"minimum":      {more: tightened, absent: 1},
	"mode":         {more: tightened, words: []string{"off", "rules", "reviews"}},
	"notice":       {more: tightened},
	"on_violation": {more: tightened, words: []string{"report", "quarantine", "remove"}},
	"quorum":       {more: loosened, absent: 1},
	"require":      {more: tightened},
	"required":     {more: tightened},
	"unknown":      {more: loosened, words: []string{"deny", "allow"}},
}

// severest is the meaning of a deny that is a severity and not a list.
var severest = meaning{more: loosened, absent: 3, words: []string{string(reconcile.Negligible), string(reconcile.Low), string(reconcile.Medium), string(reconcile.High), string(reconcile.Critical)}}

// judging are the blocks whose attributes have a meaning.
var judging = []string{"rule", "waiver", "gate", "scanner"}

// direction tells whether a change of one attribute judges more strictly, as a positive number, or less, as a negative one; 0 if that can't be told.
func direction(block, name string, was, is setting) int {
	m, ok := meanings[name]
	if !ok || !slices.Contains(judging, block) {
		return 0
	}
	old, now := literalValue(was.expr), literalValue(is.expr)
	if was.expr != nil && old == cty.NilVal || is.expr != nil && now == cty.NilVal {
		return 0
	}
	if name == "deny" && (isString(old) || isString(now)) {
		m = severest
	}
	more := compare(m, old, now)
	if m.more == loosened {
		return -more
	}
	return more
}

func isString(v cty.Value) bool { return v != cty.NilVal && v.Type() == cty.String }

// compare tells whether a value is more than it was.
func compare(m meaning, was, is cty.Value) int {
	if listed(was) || listed(is) {
		return compareLists(m, was, is)
	}
	old, ok := m.amount(was)
	now, ok2 := m.amount(is)
	switch {
	case !ok || !ok2:
		return 0
	case now > old:
		return 1
	case now < old:
		return -1
	}
	return 0
}

func listed(v cty.Value) bool { return v != cty.NilVal && v.Type().IsTupleType() }

func compareLists(m meaning, was, is cty.Value) int {
	old, now := stringsOf(was), stringsOf(is)
	gained, lost := len(without(now, old)) > 0, len(without(old, now)) > 0
	switch {
	case was == cty.NilVal && m.absent == everything:
		return -1
	case is == cty.NilVal && m.absent == everything:
		return 1
	case gained && !lost:
		return 1
	case lost && !gained:
		return -1
	}
	return 0
}

func stringsOf(v cty.Value) []string {
	var out []string
	if listed(v) {
		for _, x := range v.AsValueSlice() {
			out = append(out, x.GoString())
		}
	}
	return out
}

// amount makes values comparable: numbers, truths, durations, sizes, dates and words.
func (m meaning) amount(v cty.Value) (float64, bool) {
	if v == cty.NilVal {
		return m.absent, true
	}
	switch v.Type() {
	case cty.Number:
		f, _ := v.AsBigFloat().Float64()
		return f, true
	case cty.Bool:
		if v.True() {
			return 1, true
		}
		return 0, true
	case cty.String:
		s := v.AsString()
		if m.words != nil {
			i := slices.Index(m.words, s)
			return float64(i), i >= 0
		}
		if d, err := ParseDuration(s); err == nil {
			return d.Seconds(), true
		}
		if n, err := parseSize(s); err == nil {
			return float64(n), true
		}
		if t, err := time.Parse(time.DateOnly, s); err == nil {
			return float64(t.Unix()), true
		}
	}
	return 0, false
}
