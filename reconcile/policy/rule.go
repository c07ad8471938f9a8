package policy

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"

	"github.com/assay-oci/assay/reconcile"
)

// A check judges a subject. The rule's name, the image and its place in the catalog are filled in for it.
type check func(reconcile.Subject, time.Time) []reconcile.Finding

// A definition is one rule: how it is decoded and documented.
type definition struct {
	name    string
	doc     string // Markdown
	example string // HCL
	params  any    // the struct of its parameters, for the reference
	decode  func(hcl.Body) (decoded, hcl.Diagnostics)
}

// decoded is a rule as its own parameters make it.
type decoded struct {
	reads  reconcile.Reads
	check  check
	trusts []reconcile.Trust // whose records it judges
}

var definitions = map[string]definition{}

// register adds a rule that trusts nobody upstream. Its parameters P are decoded by gohcl; build validates them and gives the check.
func register[P any](name, doc, example string, build func(P, hcl.Body) (reconcile.Reads, check, hcl.Diagnostics)) {
	registerTrusting(name, doc, example, func(p P, body hcl.Body) (decoded, hcl.Diagnostics) {
		reads, c, diags := build(p, body)
		return decoded{reads: reads, check: c}, diags
	})
}

// registerTrusting adds a rule that may say whose records about an image count where it comes from.
func registerTrusting[P any](name, doc, example string, build func(P, hcl.Body) (decoded, hcl.Diagnostics)) {
	var zero P
	definitions[name] = definition{name, doc, example, zero, func(body hcl.Body) (decoded, hcl.Diagnostics) {
		var p P
		diags := gohcl.DecodeBody(body, nil, &p)
		if diags.HasErrors() {
			return decoded{}, diags
		}
		return build(p, body)
	}}
}

// Rules returns the decoders of all rules, by name. They take the body of a rule block and report mistakes in it as diagnostics.
func Rules() map[string]func(hcl.Body) (reconcile.Bound, hcl.Diagnostics) {
	out := map[string]func(hcl.Body) (reconcile.Bound, hcl.Diagnostics){}
	for name, d := range definitions {
		out[name] = d.rule
	}
	return out
}

// bound is a rule with its parameters.
type bound struct {
	name   string
	reads  reconcile.Reads
	images []string // patterns of the labels of the images that it binds; nil binds all
	check  check
}

func (b bound) Name() string           { return b.name }
func (b bound) Reads() reconcile.Reads { return b.reads }

// Check fills in what all findings share. Text that came out of images and scanners is cut and freed of invisible characters; it is
// still to be escaped by whoever shows it.
func (b bound) Check(s reconcile.Subject, now time.Time) []reconcile.Finding {
	if b.images != nil && !matchAny(b.images, s.Want.Name) {
		return nil
	}
	out := b.check(s, now)
	for i := range out {
		f := &out[i]
		f.Rule, f.Image, f.Digest, f.Origin = b.name, s.Want.Title(), s.Want.From.Digest, s.Want.Origin
		f.ID, f.Package, f.PURL = clean(f.ID, 200), clean(f.Package, 300), clean(f.PURL, 500)
		f.Summary, f.Detail = clean(f.Summary, 1000), clean(f.Detail, 1000)
	}
	return out
}

// notRead is the finding where the rule needs content that was not read.
func notRead() []reconcile.Finding {
	return []reconcile.Finding{{ID: "no-content", Summary: "the image's content was not read, so nothing can be said about it", Detail: "the source must hold the digest", Unknown: true}}
}

// notRunnable is the finding for artifacts that are no container image, such as charts.
func notRunnable() []reconcile.Finding {
	return []reconcile.Finding{{ID: "no-image", Summary: "there is no container image in it, and the rule applies to images only",
		Detail: "approve the artifact in a folder that this rule doesn't bind, or ask for a waiver of no-image"}}
}

func mistake(at hcl.Range, summary, format string, args ...any) *hcl.Diagnostic {
	return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: fmt.Sprintf(format, args...), Subject: &at}
}

// at returns where an attribute's value stands, for diagnostics.
func at(body hcl.Body, name string) hcl.Range {
	content, _, _ := body.PartialContent(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: name}}})
	if a, ok := content.Attributes[name]; ok {
		return a.Expr.Range()
	}
	return body.MissingItemRange()
}

// duration parses an optional duration attribute, in Go's form or in days.
func duration(body hcl.Body, name, s string) (time.Duration, hcl.Diagnostics) {
	if s == "" {
		return 0, nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok && len(days) < 6 && strings.Trim(days, "0123456789") == "" && days != "" {
		s = days + "h"
		d, err := time.ParseDuration(s)
		if err == nil {
			return 24 * d, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, hcl.Diagnostics{mistake(at(body, name), "Invalid "+name, `%q is no duration; write hours or days, as in "72h" or "7d".`, clean(s, 80))}
	}
	return d, nil
}

// clean makes foreign text fit for one line: valid, without control or invisible characters, and not longer than n bytes.
func clean(s string, n int) string {
	if len(s) > 4*n {
		s = s[:4*n]
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t', r == '\r', unicode.Is(unicode.Zs, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
