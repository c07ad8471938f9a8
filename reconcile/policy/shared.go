package policy

import (
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"

	"github.com/assay-oci/assay/reconcile"
)

// sharedParams are understood by every rule.
type sharedParams struct {
	Enforcement    string   `hcl:"enforcement,optional" default:"\"deny\"" doc:"\"deny\" blocks an image that doesn't satisfy the rule, \"warn\" only tells of it, and \"off\" switches the rule off and leaves it written down."`
	Images         []string `hcl:"images,optional" default:"all images" doc:"The images that the rule binds, by patterns of their labels: \"*\" stands for any characters but slashes, \"**\" for any at all, \"?\" for one."`
	OnViolation    string   `hcl:"on_violation,optional" default:"\"report\"" doc:"What becomes of an approved image that newly violates the rule: \"report\" tells of it, \"quarantine\" takes its tags, \"remove\" takes its tags and, after the grace, its content."`
	ViolationGrace string   `hcl:"violation_grace,optional" default:"\"168h\"" doc:"For \"remove\": for how long the violation must have been on record before the content goes."`
	Rest           hcl.Body `hcl:",remain"`
}

// defaultViolationGrace leaves people a week between the tags and the content.
const defaultViolationGrace = 168 * time.Hour

// maxPatterns bounds the patterns of one list.
const maxPatterns = 1000

// rule decodes what all rules share, then the rule's own parameters.
func (d definition) rule(body hcl.Body) (reconcile.Bound, hcl.Diagnostics) {
	var p sharedParams
	diags := gohcl.DecodeBody(body, nil, &p)
	if diags.HasErrors() {
		return reconcile.Bound{}, diags
	}
	diags = append(diags, p.check(body)...)
	grace, more := duration(body, "violation_grace", p.ViolationGrace)
	diags = append(diags, more...)
	own, more := d.decode(p.Rest)
	diags = append(diags, more...)
	if diags.HasErrors() {
		return reconcile.Bound{}, diags
	}
	if p.Enforcement == "off" {
		own = decoded{reads: reconcile.ReadsDeclaration, check: func(reconcile.Subject, time.Time) []reconcile.Finding { return nil }}
	}
	out := reconcile.Bound{Rule: bound{d.name, own.reads, p.Images, own.check}, Trusts: own.trusts, Warn: p.Enforcement == "warn", OnViolation: reconcile.Violation(or(p.OnViolation, string(reconcile.ReportIt)))}
	if out.OnViolation == reconcile.Remove {
		out.Grace = grace
		if p.ViolationGrace == "" {
			out.Grace = defaultViolationGrace
		}
	}
	return out, diags
}

func (p sharedParams) check(body hcl.Body) hcl.Diagnostics {
	var diags hcl.Diagnostics
	diags = append(diags, oneOf(body, "enforcement", p.Enforcement, "deny", "warn", "off")...)
	diags = append(diags, oneOf(body, "on_violation", p.OnViolation, "report", "quarantine", "remove")...)
	if p.ViolationGrace != "" && p.OnViolation != string(reconcile.Remove) {
		diags = append(diags, mistake(at(body, "violation_grace"), "Grace without effect", `violation_grace needs on_violation = "remove".`))
	}
	if p.Images != nil && len(p.Images) == 0 {
		diags = append(diags, mistake(at(body, "images"), "Rule without effect", "The list names no image; leave it out to bind all."))
	}
	diags = append(diags, checkPatterns(body, "images", p.Images)...)
	return diags
}

// oneOf reports an optional word that is none of those known.
func oneOf(body hcl.Body, name, value string, known ...string) hcl.Diagnostics {
	if value == "" || slices.Contains(known, value) {
		return nil
	}
	list := `"` + strings.Join(known[:len(known)-1], `", "`) + `" and "` + known[len(known)-1] + `"`
	return hcl.Diagnostics{mistake(at(body, name), "Invalid "+name, "%q is none of %s.", clean(value, 80), list)}
}

// checkPatterns reports patterns of plain text that can't match anything, or take long to.
func checkPatterns(body hcl.Body, name string, patterns []string) hcl.Diagnostics {
	var diags hcl.Diagnostics
	if len(patterns) > maxPatterns {
		return hcl.Diagnostics{mistake(at(body, name), "Too many patterns", "The list has more than %d patterns.", maxPatterns)}
	}
	for _, p := range patterns {
		if p == "" || len(p) > 500 || strings.Count(p, "*") > 8 || strings.ContainsAny(p, `\[]{}`) || !doublestar.ValidatePattern(p) {
			diags = append(diags, mistake(at(body, name), "Invalid pattern", "%q is no pattern: text in which ?, * and ** stand for others, at most 8 stars.", clean(p, 80)))
		}
	}
	return diags
}

// matchAny tells whether a text matches one of the patterns, which checkPatterns has seen.
func matchAny(patterns []string, text string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := doublestar.Match(p, text)
		return ok && err == nil
	})
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// onEach asks check about each runnable manifest of the image. where is what to append to a summary: nothing if there is but one platform.
func onEach(s reconcile.Subject, check func(m reconcile.Manifest, where string) []reconcile.Finding) []reconcile.Finding {
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
			where = " on " + platformName(m)
		}
		out = append(out, check(m, where)...)
	}
	return out
}

// once drops findings that say the same: several platforms often share them.
func once(fs []reconcile.Finding) []reconcile.Finding {
	type key struct{ id, pkg, purl, summary string }
	seen := map[key]bool{}
	return slices.DeleteFunc(fs, func(f reconcile.Finding) bool {
		k := key{f.ID, f.Package, f.PURL, f.Summary}
		had := seen[k]
		seen[k] = true
		return had
	})
}

// scansOf returns the scans of the verdicts.
func scansOf(vs []verdict) []reconcile.Scan {
	var out []reconcile.Scan
	for _, v := range vs {
		if v.without == "" {
			out = append(out, v.scan)
		}
	}
	return out
}

// reasons says why scanners gave no verdict, or nothing.
func reasons(vs []verdict) string {
	var out []string
	for _, v := range vs {
		if v.without != "" {
			out = append(out, v.scanner+": "+clean(v.without, 200))
		}
	}
	return strings.Join(out, "; ")
}
