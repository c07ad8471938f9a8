package policy

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// A condition may come from a pull request, and what it is about from an image. So the work of its functions is counted, before it is done,
// and so is what they make.

const (
	maxWork   = 1_000_000 // steps of all functions in one evaluation: a few seconds
	maxResult = 4 << 20   // bytes and elements that a function may make
)

var errWork = errors.New("the condition takes too much work on this image; make it simpler")

// A meter counts the work of one evaluation. It is not safe for concurrent use.
type meter struct{ left int64 }

func (m *meter) charge(work int64) error {
	if m.left -= work; m.left < 0 {
		return errWork
	}
	return nil
}

// functions returns the functions that conditions may call, metered.
func (m *meter) functions() map[string]function.Function {
	out := make(map[string]function.Function, len(functions))
	for name, f := range functions {
		out[name] = m.metered(name, f)
	}
	return out
}

func (m *meter) metered(name string, f function.Function) function.Function {
	params, rest := f.Params(), f.VarParam()
	for i := range params { // nothing is marked here; to look for marks would walk through each argument before it is charged for
		params[i].AllowMarked = true
	}
	if rest != nil {
		rest.AllowMarked = true
	}
	return function.New(&function.Spec{
		Params:   params,
		VarParam: rest,
		Type: func(args []cty.Value) (cty.Type, error) {
			if err := m.before(name, args); err != nil {
				return cty.DynamicPseudoType, err
			}
			return f.ReturnTypeForValues(args)
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			out, err := f.Call(args)
			if err != nil {
				return out, err
			}
			n := weight(out)
			if n > maxResult {
				return cty.DynamicVal, fmt.Errorf("%s would make more than %d bytes", name, maxResult)
			}
			return out, m.charge(n / 16)
		},
	})
}

// before charges for a call, and refuses one that would make too much.
func (m *meter) before(name string, args []cty.Value) error {
	if m.left < 0 { // a loop goes on after an error: its other elements must cost nothing
		return errWork
	}
	work := int64(1)
	for _, a := range args {
		work += weight(a) / 16
	}
	if err := m.charge(work); err != nil {
		return err
	}
	made, more, err := costs(name, args)
	switch {
	case err != nil:
		return err
	case made > maxResult:
		return fmt.Errorf("%s would make more than %d bytes", name, maxResult)
	}
	return m.charge(more)
}

// wideFormat finds a width or precision of more than three digits, which would make as many bytes.
var wideFormat = regexp.MustCompile(`%[^a-zA-Z%]*[0-9]{4}`)

// costs says what those functions make, and how many steps they take, whose cost isn't about the size of their arguments.
func costs(name string, args []cty.Value) (made, work int64, err error) {
	text := func(i int) string {
		if i < len(args) && args[i].IsKnown() && !args[i].IsNull() && args[i].Type() == cty.String {
			return args[i].AsString()
		}
		return ""
	}
	switch name {
	case "replace":
		pattern, ok := betweenSlashes(text(1))
		if !ok {
			return int64(strings.Count(text(0), text(1)))*int64(len(text(2))) + int64(len(text(0))), 0, nil
		}
		p, err := compiled(pattern)
		if err != nil {
			return 0, 0, err
		}
		// each match, of which there may be one at each byte, is replaced by text that may repeat what was matched
		most := int64(len(text(0))+1) * int64(len(text(2))+1)
		if strings.Contains(text(2), "$") {
			most += int64(len(text(0))) * int64(strings.Count(text(2), "$"))
		}
		return most, steps(p, text(0)), nil
	case "join":
		for _, list := range args[1:] {
			made += weight(list) * int64(1+len(text(0)))
		}
		return made, 0, nil
	case "format":
		if wideFormat.MatchString(text(0)) {
			return maxResult + 1, 0, nil
		}
		return 0, int64(len(text(0))), nil
	case "distinct":
		n := weight(args[0]) / 16
		return 0, n * n / 16, nil
	case "matches", "regex", "regexall":
		if !args[0].IsKnown() || args[0].IsNull() {
			return 0, 0, nil
		}
		p, err := compiled(text(0))
		if err != nil {
			return 0, 0, function.NewArgError(0, err)
		}
		if name == "regexall" {
			made = int64(len(text(1))+1) * int64(1+p.NumSubexp())
		}
		return made, steps(p, text(1)), nil
	}
	return 0, 0, nil
}

// steps is what a search takes at most, in units of the meter.
func steps(p program, text string) int64 {
	return 1 + int64(len(text))*int64(p.size)/64 + int64(p.size)/8
}

// weight is about how many bytes a value has. Each element counts 16.
func weight(v cty.Value) int64 {
	v, _ = v.Unmark()
	switch {
	case !v.IsKnown() || v.IsNull():
		return 16
	case v.Type() == cty.String:
		return 16 + int64(len(v.AsString()))
	case v.Type().IsCollectionType() || v.Type().IsTupleType() || v.Type().IsObjectType():
		n := int64(16)
		for it := v.ElementIterator(); it.Next(); {
			k, e := it.Element()
			n += weight(e)
			if k.Type() == cty.String {
				n += int64(len(k.AsString()))
			}
		}
		return n
	}
	return 16
}
