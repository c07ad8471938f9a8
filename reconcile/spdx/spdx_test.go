package spdx

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		"MIT":                                "MIT",
		"mit":                                "MIT",
		"(MIT)":                              "MIT",
		"MIT OR Apache-2.0 AND BSD-3-Clause": "MIT OR Apache-2.0 AND BSD-3-Clause",
		"(MIT or Apache-2.0) and ISC":        "(MIT OR Apache-2.0) AND ISC",
		"GPL-2.0":                            "GPL-2.0-only",
		"GPL-2.0+":                           "GPL-2.0-or-later",
		"GPL-2.0-or-later":                   "GPL-2.0-or-later",
		"Apache-2.0+":                        "Apache-2.0+",
		"GPL-2.0-only WITH classpath-exception-2.0": "GPL-2.0-only WITH Classpath-exception-2.0",
		"LicenseRef-acme":            "LicenseRef-acme",
		"DocumentRef-a:LicenseRef-b": "DocumentRef-a:LicenseRef-b",
		"Nonesuch-1.0":               "Nonesuch-1.0",
	} {
		e, err := Parse(in)
		if err != nil || e.String() != want {
			t.Errorf("%s: %s, %v", in, e, err)
		}
	}
}

func TestWhatIsNoExpression(t *testing.T) {
	for _, in := range []string{"MIT OR", "OR MIT", "MIT MIT", "(MIT", "MIT)", "()", "MIT AND AND ISC", "GPL-2.0-only WITH", "GPL-2.0-only WITH AND", "MIT, ISC", "MIT/ISC", "+", "ä",
		strings.Repeat("(", 33) + "MIT" + strings.Repeat(")", 33), strings.Repeat("MIT OR ", 2000) + "MIT"} {
		if e, err := Parse(in); err == nil {
			t.Errorf("%.60s is %.60s", in, e)
		}
	}
	for _, in := range []string{"", " ", "NONE", "NOASSERTION"} {
		if _, err := Parse(in); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestSatisfies(t *testing.T) {
	for _, c := range []struct {
		expression, accepted string
		want                 bool
	}{
		{"MIT", "MIT", true},
		{"MIT OR GPL-3.0-only", "MIT", true},
		{"MIT AND GPL-3.0-only", "MIT", false},
		{"(MIT OR GPL-3.0-only) AND ISC", "MIT ISC", true},
		{"(MIT OR GPL-3.0-only) AND ISC", "MIT", false},
		{"MIT OR GPL-3.0-only AND ISC", "MIT", true},
		{"GPL-2.0-only WITH Classpath-exception-2.0", "GPL-2.0-only", true},
		{"GPL-2.0-only", "GPL-2.0-or-later", false},
		{"AGPL-3.0-or-later", "AGPL-*", true},
		{"LGPL-3.0-or-later", "GPL-*", false},
		{"LicenseRef-acme", "LicenseRef-acme", true},
		{"LicenseRef-other", "LicenseRef-acme", false},
	} {
		e, err := Parse(c.expression)
		if err != nil {
			t.Fatal(err)
		}
		var patterns []Pattern
		for _, s := range strings.Fields(c.accepted) {
			p, err := ParsePattern(s)
			if err != nil {
				t.Fatal(err)
			}
			patterns = append(patterns, p)
		}
		got := e.Satisfies(func(l License) bool {
			return slices.ContainsFunc(patterns, func(p Pattern) bool { return p.Matches(l) })
		})
		if got != c.want {
			t.Errorf("%s accepting %s: %v", c.expression, c.accepted, got)
		}
	}
}

func TestAnExceptionIsNamedAlone(t *testing.T) {
	p, err := ParsePattern("GPL-2.0-only WITH Classpath-exception-2.0")
	if err != nil {
		t.Fatal(err)
	}
	plain, _ := Parse("GPL-2.0-only")
	if p.Matches(plain.Licenses()[0]) || !p.Matches(License{ID: "GPL-2.0-only", Exception: "Classpath-exception-2.0"}) {
		t.Error("a pattern with an exception names that one alone")
	}
	for _, s := range []string{"", "*", "MIT OR ISC", "Nonesuch", "GPL-2.0-only WITH nonesuch", "a b*"} {
		if p, err := ParsePattern(s); err == nil {
			t.Errorf("%q is %s", s, p)
		}
	}
}

// The expression offers 2^600 choices of licences.
func TestManyAlternativesTakeNoTime(t *testing.T) {
	e, err := Parse(strings.TrimSuffix(strings.Repeat("(A OR B) AND ", 600), " AND "))
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if e.Satisfies(func(l License) bool { return l.ID == "C" }) || time.Since(start) > time.Second {
		t.Errorf("took %s", time.Since(start))
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"MIT OR (Apache-2.0 AND ISC)", "GPL-2.0+ WITH Classpath-exception-2.0", "((A))", "NOASSERTION", "LicenseRef-a AND", "A AND (B OR C) OR D"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(e.String())
		if err != nil && len(e.String()) <= MaxLength || err == nil && again.String() != e.String() {
			t.Errorf("%q became %q: %v", s, e.String(), err)
		}
		for _, l := range e.Licenses() {
			if p, err := ParsePattern(l.String()); err == nil && !p.Matches(l) {
				t.Errorf("%s doesn't match itself", p)
			}
		}
		if e.Satisfies(func(License) bool { return false }) || !e.Satisfies(func(License) bool { return true }) {
			t.Errorf("%q", s)
		}
	})
}
