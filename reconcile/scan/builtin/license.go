package builtin

import (
	"regexp"
	"slices"
	"strings"

	"github.com/github/go-spdx/v2/spdxexp/spdxlicenses"
)

// Bounds on what an image says of a licence.
const (
	maxLicense = 4 << 10 // bytes of a text, and of an expression
	maxNesting = 16      // parentheses
	maxTerms   = 64      // licences of one package
)

// spdx turns what a package says of its licence into an expression (SPDX specification 2.3, annex D). A name that isn't known becomes a
// LicenseRef, so that a person sees it and no list allows it by mistake. The result is empty if the text says nothing.
func spdx(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	switch strings.ToLower(text) {
	case "", "unknown", "none", "noassertion", "other", "n/a", "see license", "license":
		return ""
	}
	if len(text) > maxLicense || strings.HasPrefix(strings.ToUpper(text), "SEE LICENSE IN ") {
		return ""
	}
	if id := licenseID(text); id != "" { // names with "and", "or" or parentheses in them
		return id
	}
	p := licenseParser{tokens: licenseTokens(text)}
	e, ok := p.any(0)
	if !ok || p.at < len(p.tokens) || len(e.String()) > maxLicense || e.String() == "" {
		return reference(text)
	}
	return e.String()
}

// spdxAll joins the licences of a package that all apply.
func spdxAll(texts []string) string { return spdxJoin("AND", texts) }

// spdxAny joins those of which one may be chosen.
func spdxAny(texts []string) string { return spdxJoin("OR", texts) }

func spdxJoin(operator string, texts []string) string {
	var e license
	e.operator = operator
	for _, t := range texts {
		if s := spdx(t); s != "" {
			p := licenseParser{tokens: licenseTokens(s)}
			if term, ok := p.any(0); ok {
				e.add(term)
			}
		}
	}
	if len(e.terms) == 0 || len(e.terms) > maxTerms {
		return ""
	}
	if s := e.simple().String(); len(s) <= maxLicense {
		return s
	}
	return ""
}

// A license is one licence, or several joined by an operator.
type license struct {
	id       string
	operator string // AND, OR
	terms    []license
}

// add takes in a term; one that is there already is left out, and one with the same operator is dissolved.
func (l *license) add(t license) {
	if t.operator == l.operator && t.operator != "" {
		for _, x := range t.terms {
			l.add(x)
		}
		return
	}
	s := t.String()
	if s != "" && !slices.ContainsFunc(l.terms, func(x license) bool { return x.String() == s }) {
		l.terms = append(l.terms, t)
	}
}

func (l license) simple() license {
	if len(l.terms) == 1 {
		return l.terms[0]
	}
	return l
}

func (l license) String() string {
	if l.operator == "" {
		return l.id
	}
	parts := make([]string, len(l.terms))
	for i, t := range l.terms {
		parts[i] = t.String()
		if t.operator != "" {
			parts[i] = "(" + parts[i] + ")"
		}
	}
	return strings.Join(parts, " "+l.operator+" ")
}

// licenseTokens cuts a text into parentheses, operators, and the words between them.
func licenseTokens(s string) []string {
	s = strings.NewReplacer("(", " ( ", ")", " ) ", ",", " , ", ";", " , ", "&", " and ", "|", " or ").Replace(s)
	var out []string
	phrase := ""
	flush := func() {
		if phrase != "" {
			out = append(out, phrase)
		}
		phrase = ""
	}
	for _, w := range strings.Fields(s) {
		switch lower := strings.ToLower(w); lower {
		case "(", ")", "and", "or", "and/or", ",", "with":
			flush()
			out = append(out, lower)
		default:
			phrase = strings.TrimSpace(phrase + " " + w)
		}
	}
	flush()
	return withoutCommas(out)
}

// withoutCommas makes of a comma what stands at the end of its list: "A, B or C". Without an operator all apply.
func withoutCommas(in []string) []string {
	var out []string
	for i, t := range in {
		if t != "," {
			out = append(out, t)
			continue
		}
		if i == 0 || i+1 == len(in) || isOperator(in[i+1]) || isOperator(in[i-1]) {
			continue
		}
		operator := "and"
		for _, later := range in[i+1:] {
			if later == "and" || later == "or" {
				operator = later
				break
			}
		}
		out = append(out, operator)
	}
	return out
}

func isOperator(s string) bool {
	return s == "and" || s == "or" || s == "and/or" || s == "with" || s == ","
}

// A licenseParser descends through: any = all {or all}; all = one {and one}; one = "(" any ")" | name [with name].
type licenseParser struct {
	tokens []string
	at     int
}

func (p *licenseParser) next(want ...string) bool {
	if p.at < len(p.tokens) && slices.Contains(want, p.tokens[p.at]) {
		p.at++
		return true
	}
	return false
}

func (p *licenseParser) any(depth int) (license, bool) {
	return p.list(depth, "OR", p.all, "or", "and/or")
}
func (p *licenseParser) all(depth int) (license, bool) { return p.list(depth, "AND", p.one, "and") }

func (p *licenseParser) list(depth int, operator string, term func(int) (license, bool), words ...string) (license, bool) {
	l := license{operator: operator}
	for {
		t, ok := term(depth)
		if !ok {
			return l, false
		}
		if l.add(t); !p.next(words...) {
			return l.simple(), len(l.terms) <= maxTerms
		}
	}
}

func (p *licenseParser) one(depth int) (license, bool) {
	if p.next("(") {
		if depth >= maxNesting {
			return license{}, false
		}
		l, ok := p.any(depth + 1)
		return l, ok && p.next(")")
	}
	name, ok := p.name()
	if !ok {
		return license{}, false
	}
	if p.next("with") {
		exception, ok := p.name()
		return withException(name, exception), ok
	}
	return nameOf(name), true
}

func (p *licenseParser) name() (string, bool) {
	if p.at >= len(p.tokens) || isOperator(p.tokens[p.at]) || p.tokens[p.at] == "(" || p.tokens[p.at] == ")" {
		return "", false
	}
	p.at++
	return p.tokens[p.at-1], true
}

func withException(name, exception string) license {
	id := licenseID(name)
	known, canonical := spdxlicenses.IsException(exception)
	if !known || id == "" {
		return license{id: reference(name + " with " + exception)}
	}
	return license{id: id + " WITH " + canonical}
}

// nameOf also understands "MIT/Apache-2.0" (either), and "GPL-2.0-only BSD-2-Clause" as old apk packages have it (both).
func nameOf(name string) license {
	if id := licenseID(name); id != "" {
		return license{id: id}
	}
	for separator, operator := range map[string]string{"/": "OR", " ": "AND"} {
		l := license{operator: operator}
		for part := range strings.SplitSeq(name, separator) {
			id := licenseID(part)
			if id == "" {
				l.terms = nil
				break
			}
			l.add(license{id: id})
		}
		if len(l.terms) > 0 {
			return l.simple()
		}
	}
	return license{id: reference(name)}
}

var notInReference = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

// reference makes a name of our own for a licence that SPDX doesn't list.
func reference(name string) string {
	const prefix = "LicenseRef-"
	name = strings.TrimPrefix(name, prefix)
	name = strings.Trim(notInReference.ReplaceAllString(name[:min(len(name), 80)], "-"), "-")
	if name == "" {
		return ""
	}
	return prefix + name
}

// licenseID returns SPDX's identifier for one licence, or nothing.
func licenseID(name string) string {
	name = strings.TrimSpace(name)
	if strings.HasPrefix(name, "LicenseRef-") && !notInReference.MatchString(name) {
		return reference(name)
	}
	if id, ok := spelled[strings.ToLower(name)]; ok {
		return id
	}
	if ok, id := spdxlicenses.IsActiveLicense(name); ok {
		return id
	}
	if m := gnu.FindStringSubmatch(name); m != nil {
		return gnuID(m)
	}
	if ok, id := spdxlicenses.IsDeprecatedLicense(name); ok {
		return id
	}
	if base, ok := strings.CutSuffix(name, "+"); ok {
		if ok, id := spdxlicenses.IsActiveLicense(base); ok {
			return id + "+"
		}
	}
	return ""
}

// gnu matches "GPL-2", "GPLv2+", "LGPL2.1", "AGPL-3.0-or-later", "GFDL-1.3+", "GPL (>= 2)" and their like.
var gnu = regexp.MustCompile(`(?i)^(?:GNU )?(L?GPL|AGPL|GFDL)[ -]?(?:\(>= ?)?v?\.?([1-3])(?:\.([0-9]))?(?:\.0)?\)?( ?\+|-or-later| or later|-only)?( ?only)?$`)

func gnuID(m []string) string {
	minor := m[3]
	if minor == "" {
		minor = "0"
	}
	suffix := "-only"
	if later := strings.TrimSpace(strings.ToLower(m[4])); later == "+" || strings.HasSuffix(later, "or later") || strings.HasSuffix(later, "or-later") ||
		strings.Contains(m[0], ">=") {
		suffix = "-or-later"
	}
	if ok, id := spdxlicenses.IsActiveLicense(strings.ToUpper(m[1]) + "-" + m[2] + "." + minor + suffix); ok {
		return id
	}
	return ""
}

// spelled are usual names of licences that differ from SPDX's, in lower case: Debian's machine-readable names, Fedora's before it took
// up SPDX, Python's classifiers, and what Maven's projects write.
var spelled = map[string]string{
	"expat": "MIT", "mit license": "MIT", "the mit license": "MIT", "mit licence": "MIT", "mit/x11": "MIT", "x11/mit": "MIT", "the mit license (mit)": "MIT",
	"mit license (mit)": "MIT", "apache2": "Apache-2.0", "apache 2": "Apache-2.0", "apache 2.0": "Apache-2.0", "apache-2": "Apache-2.0", "asl 2.0": "Apache-2.0",
	"apache license": "Apache-2.0", "apache software license": "Apache-2.0", "apache license 2.0": "Apache-2.0", "apache license, version 2.0": "Apache-2.0", "apache license version 2.0": "Apache-2.0",
	"the apache license, version 2.0": "Apache-2.0", "the apache software license, version 2.0": "Apache-2.0", "apache software license 2.0": "Apache-2.0", "apache license v2.0": "Apache-2.0",
	"http://www.apache.org/licenses/license-2.0": "Apache-2.0", "http://www.apache.org/licenses/license-2.0.txt": "Apache-2.0", "https://www.apache.org/licenses/license-2.0": "Apache-2.0",
	"https://www.apache.org/licenses/license-2.0.txt": "Apache-2.0", "asl 1.1": "Apache-1.1", "bsd-2": "BSD-2-Clause", "bsd-3": "BSD-3-Clause", "bsd-4": "BSD-4-Clause", "bsd 2-clause": "BSD-2-Clause",
	"bsd 3-clause": "BSD-3-Clause", "bsd-2-clause license": "BSD-2-Clause", "bsd-3-clause license": "BSD-3-Clause", "2-clause bsd license": "BSD-2-Clause", "3-clause bsd license": "BSD-3-Clause",
	"new bsd": "BSD-3-Clause", "new bsd license": "BSD-3-Clause", "modified bsd": "BSD-3-Clause", "revised bsd": "BSD-3-Clause", "simplified bsd": "BSD-2-Clause", "bsd 3-clause license": "BSD-3-Clause",
	"bsd 2-clause license": "BSD-2-Clause", "the bsd 3-clause license": "BSD-3-Clause", "bsd-3-clause-clear": "BSD-3-Clause-Clear", "isc license": "ISC", "isc license (iscl)": "ISC", "mplv1.1": "MPL-1.1",
	"mplv2.0": "MPL-2.0", "mpl2": "MPL-2.0", "mpl 2.0": "MPL-2.0", "mpl-2": "MPL-2.0", "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0", "mozilla public license 2.0": "MPL-2.0", "mozilla public license, version 2.0": "MPL-2.0",
	"mozilla public license version 2.0": "MPL-2.0", "python": "PSF-2.0", "psf": "PSF-2.0", "python software foundation license": "PSF-2.0", "psf license": "PSF-2.0", "artistic": "Artistic-1.0-Perl",
	"artistic-1": "Artistic-1.0", "artistic-2": "Artistic-2.0", "artistic 2.0": "Artistic-2.0", "perl": "Artistic-1.0-Perl OR GPL-1.0-or-later", "zlib/libpng": "Zlib", "zlib license": "Zlib", "boost": "BSL-1.0",
	"boost software license 1.0": "BSL-1.0", "boost software license": "BSL-1.0", "cc0": "CC0-1.0", "cc0 1.0": "CC0-1.0", "the unlicense": "Unlicense", "the unlicense (unlicense)": "Unlicense", "epl 1.0": "EPL-1.0", "epl 2.0": "EPL-2.0",
	"eclipse public license 1.0": "EPL-1.0", "eclipse public license - v 1.0": "EPL-1.0", "eclipse public license v1.0": "EPL-1.0", "eclipse public license 2.0": "EPL-2.0", "eclipse public license - v 2.0": "EPL-2.0",
	"eclipse public license v2.0": "EPL-2.0", "eclipse public license v. 2.0": "EPL-2.0", "eclipse distribution license - v 1.0": "BSD-3-Clause", "edl 1.0": "BSD-3-Clause", "cddl 1.0": "CDDL-1.0", "cddl 1.1": "CDDL-1.1",
	"gplv1": "GPL-1.0-only", "gnu general public license v2 (gplv2)": "GPL-2.0-only", "gnu general public license v3 (gplv3)": "GPL-3.0-only", "gnu general public license v2 or later (gplv2+)": "GPL-2.0-or-later",
	"gnu general public license v3 or later (gplv3+)": "GPL-3.0-or-later", "gnu lesser general public license v2 (lgplv2)": "LGPL-2.0-only", "gnu lesser general public license v3 (lgplv3)": "LGPL-3.0-only",
	"gnu lesser general public license v2 or later (lgplv2+)": "LGPL-2.0-or-later", "gnu lesser general public license v3 or later (lgplv3+)": "LGPL-3.0-or-later", "gnu affero general public license v3": "AGPL-3.0-only",
	"gnu affero general public license v3 or later (agplv3+)": "AGPL-3.0-or-later", "gnu general public license, version 2": "GPL-2.0-only", "gnu lesser general public license, version 2.1": "LGPL-2.1-only",
	"openssl license": "OpenSSL", "openldap": "OLDAP-2.8", "openldap-2.8": "OLDAP-2.8", "vim license": "Vim", "tcl": "TCL", "postgresql license": "PostgreSQL",
	"bzip2": "bzip2-1.0.6", "curl license": "curl", "ofl 1.1": "OFL-1.1", "sil open font license": "OFL-1.1", "zpl 2.1": "ZPL-2.1", "zope public license": "ZPL-2.1", "academic free license (afl)": "AFL-3.0", "wtfpl license": "WTFPL",
	"do what the f*ck you want to public license (wtfpl)": "WTFPL", "elastic license 2.0": "Elastic-2.0", "server side public license": "SSPL-1.0", "sspl": "SSPL-1.0",
	"ruby's": "Ruby", "ruby license": "Ruby", "universal permissive license, version 1.0": "UPL-1.0", "bouncy castle licence": "MIT", "mit no attribution": "MIT-0", "mit-0 license": "MIT-0",
}
