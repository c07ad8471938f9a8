package policy

import (
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// functions are what conditions may call. None of them makes its result longer than its arguments by more than a constant, so that no expression
// can fill the memory.
var functions = map[string]function.Function{
	"alltrue":    allOf(true),
	"anytrue":    allOf(false),
	"contains":   stdlib.ContainsFunc,
	"endswith":   onStrings("suffix", strings.HasSuffix),
	"keys":       stdlib.KeysFunc,
	"length":     length,
	"lookup":     stdlib.LookupFunc,
	"lower":      stdlib.LowerFunc,
	"matches":    matches,
	"max":        stdlib.MaxFunc,
	"min":        stdlib.MinFunc,
	"split":      stdlib.SplitFunc,
	"startswith": onStrings("prefix", strings.HasPrefix),
	"trimprefix": stdlib.TrimPrefixFunc,
	"trimspace":  stdlib.TrimSpaceFunc,
	"trimsuffix": stdlib.TrimSuffixFunc,
	"upper":      stdlib.UpperFunc,
	"values":     stdlib.ValuesFunc,
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

// matches searches a text for a regular expression. Go's are RE2: their time is linear in the text.
var matches = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "pattern", Type: cty.String}, {Name: "text", Type: cty.String}},
	Type:   function.StaticReturnType(cty.Bool),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		pattern := args[0].AsString()
		if len(pattern) > 1000 {
			return cty.False, function.NewArgErrorf(0, "the regular expression is longer than 1000 bytes")
		}
		re, err := compiled(pattern)
		if err != nil {
			return cty.False, function.NewArgErrorf(0, "invalid regular expression: %v", err)
		}
		return cty.BoolVal(re.MatchString(args[1].AsString())), nil
	},
})

// patterns keeps compiled expressions: a condition searches for the same one in each label of an image.
var patterns = struct {
	sync.Mutex
	m map[string]*regexp.Regexp
}{m: map[string]*regexp.Regexp{}}

func compiled(pattern string) (*regexp.Regexp, error) {
	patterns.Lock()
	defer patterns.Unlock()
	if re, ok := patterns.m[pattern]; ok {
		return re, nil
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	if len(patterns.m) >= 100 {
		clear(patterns.m)
	}
	patterns.m[pattern] = re
	return re, nil
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
