package policy

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// functions are what conditions may call: those of Terraform that compute from their arguments alone, and a few of ours. They are metered,
// see meter.go.
var functions = map[string]function.Function{
	"abs":             stdlib.AbsoluteFunc,
	"alltrue":         allOf(true),
	"anytrue":         allOf(false),
	"can":             tryfunc.CanFunc,
	"ceil":            stdlib.CeilFunc,
	"coalesce":        coalesce,
	"coalescelist":    stdlib.CoalesceListFunc,
	"compact":         stdlib.CompactFunc,
	"concat":          stdlib.ConcatFunc,
	"contains":        stdlib.ContainsFunc,
	"distinct":        stdlib.DistinctFunc,
	"element":         stdlib.ElementFunc,
	"endswith":        onStrings("suffix", strings.HasSuffix),
	"flatten":         stdlib.FlattenFunc,
	"floor":           stdlib.FloorFunc,
	"format":          stdlib.FormatFunc,
	"formatdate":      stdlib.FormatDateFunc,
	"join":            stdlib.JoinFunc,
	"keys":            stdlib.KeysFunc,
	"length":          length,
	"lookup":          stdlib.LookupFunc,
	"lower":           stdlib.LowerFunc,
	"matches":         matches,
	"max":             stdlib.MaxFunc,
	"merge":           stdlib.MergeFunc,
	"min":             stdlib.MinFunc,
	"parseint":        stdlib.ParseIntFunc,
	"regex":           stdlib.RegexFunc,
	"regexall":        stdlib.RegexAllFunc,
	"replace":         replace,
	"reverse":         stdlib.ReverseListFunc,
	"setintersection": stdlib.SetIntersectionFunc,
	"setsubtract":     stdlib.SetSubtractFunc,
	"setunion":        stdlib.SetUnionFunc,
	"signum":          stdlib.SignumFunc,
	"slice":           stdlib.SliceFunc,
	"sort":            stdlib.SortFunc,
	"split":           stdlib.SplitFunc,
	"startswith":      onStrings("prefix", strings.HasPrefix),
	"strcontains":     onStrings("part", strings.Contains),
	"substr":          stdlib.SubstrFunc,
	"sum":             sum,
	"timeadd":         stdlib.TimeAddFunc,
	"timecmp":         timecmp,
	"title":           stdlib.TitleFunc,
	"tobool":          stdlib.MakeToFunc(cty.Bool),
	"tolist":          stdlib.MakeToFunc(cty.List(cty.DynamicPseudoType)),
	"tomap":           stdlib.MakeToFunc(cty.Map(cty.DynamicPseudoType)),
	"tonumber":        stdlib.MakeToFunc(cty.Number),
	"toset":           stdlib.MakeToFunc(cty.Set(cty.DynamicPseudoType)),
	"tostring":        stdlib.MakeToFunc(cty.String),
	"trim":            stdlib.TrimFunc,
	"trimprefix":      stdlib.TrimPrefixFunc,
	"trimspace":       stdlib.TrimSpaceFunc,
	"trimsuffix":      stdlib.TrimSuffixFunc,
	"try":             tryfunc.TryFunc,
	"upper":           stdlib.UpperFunc,
	"values":          stdlib.ValuesFunc,
	"zipmap":          stdlib.ZipmapFunc,
}

// functionNames lists them for the reference.
func functionNames() string {
	return "`" + strings.Join(slices.Sorted(maps.Keys(functions)), "`, `") + "`"
}

// onStrings makes a function of two strings, the text first.
func onStrings(second string, f func(text, other string) bool) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "text", Type: cty.String}, {Name: second, Type: cty.String}},
		Type:   function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return cty.BoolVal(f(args[0].AsString(), args[1].AsString())), nil
		},
	})
}

// matches searches a text for a regular expression.
var matches = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "pattern", Type: cty.String}, {Name: "text", Type: cty.String}},
	Type:   function.StaticReturnType(cty.Bool),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		c, err := compiled(args[0].AsString())
		if err != nil {
			return cty.False, function.NewArgError(0, err)
		}
		return cty.BoolVal(c.MatchString(args[1].AsString())), nil
	},
})

// replace replaces a part of a text; one between slashes is a regular expression, whose groups the replacement may name, as in Terraform.
var replace = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "text", Type: cty.String}, {Name: "part", Type: cty.String}, {Name: "by", Type: cty.String}},
	Type:   function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		text, part, by := args[0].AsString(), args[1].AsString(), args[2].AsString()
		pattern, ok := betweenSlashes(part)
		if !ok {
			return cty.StringVal(strings.ReplaceAll(text, part, by)), nil
		}
		c, err := compiled(pattern)
		if err != nil {
			return cty.UnknownVal(cty.String), function.NewArgError(1, err)
		}
		return cty.StringVal(c.ReplaceAllString(text, by)), nil
	},
})

func betweenSlashes(s string) (string, bool) {
	if len(s) > 1 && s[0] == '/' && s[len(s)-1] == '/' {
		return s[1 : len(s)-1], true
	}
	return "", false
}

// A program is a compiled regular expression. Go's are RE2: their time is linear in the text, times the number of instructions.
type program struct {
	*regexp.Regexp
	size int // instructions
}

// Bounds of a regular expression.
const (
	maxPattern = 1000 // bytes
	maxProgram = 5000 // instructions: x{1000} has a thousand
)

// patterns keeps compiled expressions: a condition searches for the same one in each label of an image.
var patterns = struct {
	sync.Mutex
	m map[string]program
}{m: map[string]program{}}

func compiled(pattern string) (program, error) {
	if len(pattern) > maxPattern {
		return program{}, fmt.Errorf("the regular expression is longer than %d bytes", maxPattern)
	}
	patterns.Lock()
	defer patterns.Unlock()
	if p, ok := patterns.m[pattern]; ok {
		return p, nil
	}
	p, err := compile(pattern)
	if err != nil {
		return program{}, err
	}
	if len(patterns.m) >= 100 {
		clear(patterns.m)
	}
	patterns.m[pattern] = p
	return p, nil
}

func compile(pattern string) (program, error) {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return program{}, fmt.Errorf("invalid regular expression: %w", err)
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return program{}, fmt.Errorf("invalid regular expression: %w", err)
	}
	if len(prog.Inst) > maxProgram {
		return program{}, fmt.Errorf("the regular expression takes more than %d steps for a character", maxProgram)
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return program{}, fmt.Errorf("invalid regular expression: %w", err)
	}
	return program{re, len(prog.Inst)}, nil
}

// length counts the characters of a string, or the elements of anything else.
var length = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "value", Type: cty.DynamicPseudoType, AllowDynamicType: true, AllowUnknown: true}},
	Type:   function.StaticReturnType(cty.Number),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		v := args[0]
		switch {
		case v.Type() == cty.DynamicPseudoType || !v.IsKnown() && v.Type() == cty.String:
			return cty.UnknownVal(cty.Number), nil
		case v.Type() == cty.String:
			return stdlib.Strlen(v)
		case v.CanIterateElements() || v.Type().IsCollectionType() || v.Type().IsTupleType():
			return v.Length(), nil
		}
		return cty.UnknownVal(cty.Number), fmt.Errorf("a string, list or map is needed here")
	},
})

// allOf makes alltrue, or anytrue where which is false.
func allOf(which bool) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "list", Type: cty.List(cty.Bool)}},
		Type:   function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			for it := args[0].ElementIterator(); it.Next(); {
				_, v := it.Element()
				if !v.IsKnown() {
					return cty.UnknownVal(cty.Bool), nil
				}
				if v.IsNull() {
					return cty.False, function.NewArgErrorf(0, "an element is null")
				}
				if v.True() != which {
					return cty.BoolVal(!which), nil
				}
			}
			return cty.BoolVal(which), nil
		},
	})
}

// sum adds the numbers of a list.
var sum = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "list", Type: cty.List(cty.Number)}},
	Type:   function.StaticReturnType(cty.Number),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		total := cty.Zero
		for it := args[0].ElementIterator(); it.Next(); {
			_, v := it.Element()
			if !v.IsKnown() {
				return cty.UnknownVal(cty.Number), nil
			}
			if v.IsNull() {
				return cty.Zero, function.NewArgErrorf(0, "an element is null")
			}
			total = total.Add(v)
		}
		return total, nil
	},
})

// timecmp compares two times of the form "2026-05-01T12:00:00Z": -1, 0 or 1.
var timecmp = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "a", Type: cty.String}, {Name: "b", Type: cty.String}},
	Type:   function.StaticReturnType(cty.Number),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		var times [2]time.Time
		for i, a := range args {
			t, err := time.Parse(time.RFC3339, a.AsString())
			if err != nil {
				return cty.Zero, function.NewArgErrorf(i, "%q is no time such as \"2026-05-01T12:00:00Z\"", clean(a.AsString(), 40))
			}
			times[i] = t
		}
		return cty.NumberIntVal(int64(times[0].Compare(times[1]))), nil
	},
})

// coalesce gives its first argument that is neither null nor the empty string, as in Terraform.
var coalesce = function.New(&function.Spec{
	VarParam: &function.Parameter{Name: "values", Type: cty.DynamicPseudoType, AllowNull: true, AllowUnknown: true, AllowDynamicType: true},
	Type:     stdlib.CoalesceFunc.ReturnTypeForValues,
	Impl: func(args []cty.Value, typ cty.Type) (cty.Value, error) {
		for _, a := range args {
			v, err := convert.Convert(a, typ)
			switch {
			case err != nil:
				return cty.DynamicVal, err
			case !v.IsKnown():
				return cty.UnknownVal(typ), nil
			case !v.IsNull() && !(v.Type() == cty.String && v.AsString() == ""):
				return v, nil
			}
		}
		return cty.NullVal(typ), errors.New("every argument is null or empty")
	},
})
