// Package spdx reads SPDX licence expressions (SPDX specification v3.0.1, annex B) and answers whether a choice among the licences that
// they offer is acceptable.
//
// Expressions come out of images and are hostile. Parsing takes time linear in their length, and an expression is judged as the tree that
// it is: it is never multiplied out into alternatives, which would be exponential.
package spdx

import (
	"errors"
	"fmt"
	"strings"

	"github.com/github/go-spdx/v2/spdxexp/spdxlicenses"
)

// Bounds of an expression.
const (
	MaxLength = 8192 // bytes
	maxDepth  = 32   // brackets in brackets
)

// A License is one term of an expression: an identifier of the SPDX licence list or a LicenseRef, and the exception that goes with it.
type License struct {
	ID        string // as the list writes it, such as "GPL-2.0-or-later"
	Exception string // such as "Classpath-exception-2.0"; empty for none
	Known     bool   // whether ID, and Exception where there is one, are on SPDX's lists
}

// String writes the license as an expression.
func (l License) String() string {
	if l.Exception == "" {
		return l.ID
	}
	return l.ID + " WITH " + l.Exception
}

// An Expression is a parsed licence expression.
type Expression struct {
	op      op
	license License
	terms   []Expression
}

type op int

const (
	leaf op = iota
	and
	or
)

// ErrUnknown is the error for texts that say that nothing is known: the empty one, NOASSERTION and NONE.
var ErrUnknown = errors.New("no licence is stated")

// Parse reads an expression. Operators may be written in lower case, and identifiers in any; a license that is on no list is no error: see
// License.Known.
func Parse(s string) (Expression, error) {
	if len(s) > MaxLength {
		return Expression{}, fmt.Errorf("parse licence expression: it is longer than %d bytes", MaxLength)
	}
	switch strings.ToUpper(strings.TrimSpace(s)) {
	case "", "NOASSERTION", "NONE":
		return Expression{}, ErrUnknown
	}
	p := &parser{tokens: tokens(s)}
	e, err := p.any(0)
	if err == nil && len(p.tokens) > 0 {
		err = fmt.Errorf("%q is not expected here", clip(p.tokens[0]))
	}
	if err != nil {
		return Expression{}, fmt.Errorf("parse licence expression %q: %w", clip(s), err)
	}
	return e, nil
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

// tokens splits an expression into brackets and words.
func tokens(s string) []string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "(", " ( "), ")", " ) ")
	return strings.Fields(s)
}

type parser struct{ tokens []string }

func (p *parser) peek() string {
	if len(p.tokens) == 0 {
		return ""
	}
	return p.tokens[0]
}

func (p *parser) next() string {
	t := p.peek()
	if t != "" {
		p.tokens = p.tokens[1:]
	}
	return t
}

func (p *parser) any(depth int) (Expression, error) { return p.chain(or, "OR", depth, p.all) }
func (p *parser) all(depth int) (Expression, error) { return p.chain(and, "AND", depth, p.term) }

// chain reads terms with one operator between them.
func (p *parser) chain(o op, word string, depth int, term func(int) (Expression, error)) (Expression, error) {
	var terms []Expression
	for {
		e, err := term(depth)
		if err != nil {
			return Expression{}, err
		}
		terms = append(terms, e)
		if !strings.EqualFold(p.peek(), word) {
			break
		}
		p.next()
	}
	if len(terms) == 1 {
		return terms[0], nil
	}
	return Expression{op: o, terms: terms}, nil
}

func (p *parser) term(depth int) (Expression, error) {
	switch t := p.next(); {
	case t == "(":
		if depth >= maxDepth {
			return Expression{}, fmt.Errorf("brackets are nested more than %d deep", maxDepth)
		}
		e, err := p.any(depth + 1)
		if err != nil {
			return Expression{}, err
		}
		if p.next() != ")" {
			return Expression{}, errors.New("a closing bracket is missing")
		}
		return e, nil
	case t == "":
		return Expression{}, errors.New("a licence is missing at its end")
	case t == ")" || operator(t):
		return Expression{}, fmt.Errorf("a licence is needed before %q", t)
	default:
		return p.license(t)
	}
}

func operator(t string) bool {
	return strings.EqualFold(t, "AND") || strings.EqualFold(t, "OR") || strings.EqualFold(t, "WITH")
}

func (p *parser) license(id string) (Expression, error) {
	l, err := identify(id)
	if err != nil {
		return Expression{}, err
	}
	if strings.EqualFold(p.peek(), "WITH") {
		p.next()
		exception := p.next()
		if !word(exception) || operator(exception) {
			return Expression{}, fmt.Errorf("an exception is needed after %q", clip(id)+" WITH")
		}
		known, name := spdxlicenses.IsException(exception)
		l.Exception, l.Known = name, l.Known && known
	}
	return Expression{license: l}, nil
}

// identify finds an identifier on SPDX's list, whatever its case. The older names GPL-2.0 and GPL-2.0+, and their like, become GPL-2.0-only and
// GPL-2.0-or-later.
func identify(id string) (License, error) {
	base := strings.TrimSuffix(id, "+")
	if !word(base) {
		return License{}, fmt.Errorf("%q is no licence's identifier", clip(id))
	}
	later := base != id
	suffix := "-only"
	if later {
		suffix = "-or-later"
	}
	if ok, name := spdxlicenses.IsActiveLicense(base + suffix); ok {
		return License{ID: name, Known: true}, nil
	}
	for _, list := range []func(string) (bool, string){spdxlicenses.IsActiveLicense, spdxlicenses.IsDeprecatedLicense} {
		if ok, name := list(base); ok {
			if later && !strings.HasSuffix(name, "-or-later") {
				name += "+"
			}
			return License{ID: name, Known: true}, nil
		}
	}
	return License{ID: id}, nil
}

// word tells whether a text consists of the characters of identifiers.
func word(s string) bool {
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '.', r == ':':
		default:
			return false
		}
	}
	return s != ""
}

// Satisfies tells whether some choice among the licences that the expression offers passes: of those joined by OR one must, of those joined by
// AND all.
func (e Expression) Satisfies(pass func(License) bool) bool {
	switch e.op {
	case and:
		for _, t := range e.terms {
			if !t.Satisfies(pass) {
				return false
			}
		}
		return true
	case or:
		for _, t := range e.terms {
			if t.Satisfies(pass) {
				return true
			}
		}
		return false
	}
	return pass(e.license)
}

// Licenses lists the terms of the expression, as they come.
func (e Expression) Licenses() []License {
	if e.op == leaf {
		return []License{e.license}
	}
	var out []License
	for _, t := range e.terms {
		out = append(out, t.Licenses()...)
	}
	return out
}

// String writes the expression in its usual form, with the fewest brackets.
func (e Expression) String() string {
	var parts []string
	for _, t := range e.terms {
		s := t.String()
		if t.op != leaf && t.op != e.op && e.op == and || t.op == e.op && t.op != leaf {
			s = "(" + s + ")"
		}
		parts = append(parts, s)
	}
	switch e.op {
	case and:
		return strings.Join(parts, " AND ")
	case or:
		return strings.Join(parts, " OR ")
	}
	return e.license.String()
}
