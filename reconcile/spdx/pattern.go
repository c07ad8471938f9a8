package spdx

import (
	"fmt"
	"strings"
)

// A Pattern is how a policy names licences: an identifier, one with its exception, or the beginning of identifiers with a star at its end.
type Pattern struct {
	license License
	prefix  string // in lower case, without the star; empty for an identifier
}

// ParsePattern reads a pattern such as "MIT", "AGPL-*", "GPL-2.0-only WITH Classpath-exception-2.0" or "LicenseRef-acme". An identifier that is on
// no list is an error unless it is a LicenseRef: it would match nothing.
func ParsePattern(s string) (Pattern, error) {
	if head, ok := strings.CutSuffix(s, "*"); ok {
		if !word(head) {
			return Pattern{}, fmt.Errorf("%q is no beginning of an identifier with a star at its end", clip(s))
		}
		return Pattern{prefix: strings.ToLower(head)}, nil
	}
	e, err := Parse(s)
	if err != nil {
		return Pattern{}, err
	}
	if e.op != leaf {
		return Pattern{}, fmt.Errorf("%q is an expression; name each licence by itself", clip(s))
	}
	if !e.license.Known && !reference(e.license.ID) {
		return Pattern{}, fmt.Errorf("%q is not on SPDX's list of licences, and no LicenseRef", clip(s))
	}
	return Pattern{license: e.license}, nil
}

func reference(id string) bool {
	return strings.HasPrefix(id, "LicenseRef-") || strings.HasPrefix(id, "DocumentRef-")
}

// Matches tells whether the pattern names a license. One without an exception names the license with any exception too, for an exception
// only permits more.
func (p Pattern) Matches(l License) bool {
	if p.prefix != "" {
		return strings.HasPrefix(strings.ToLower(l.ID), p.prefix)
	}
	return p.license.ID == l.ID && (p.license.Exception == "" || p.license.Exception == l.Exception)
}

// String writes the pattern.
func (p Pattern) String() string {
	if p.prefix != "" {
		return p.prefix + "*"
	}
	return p.license.String()
}
