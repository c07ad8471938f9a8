package catalog

import (
	"fmt"
	"io"
	"sort"
	"strings"
	"unicode"

	"github.com/agext/levenshtein"
	"github.com/hashicorp/hcl/v2"

	"github.com/assay-oci/assay/reconcile"
)

// Diagnostics are the mistakes in a catalog, with the files that they speak of, so that snippets can be printed. Files of the base commit
// are named "base:<path>" where base and head are different commits.
type Diagnostics struct {
	hcl.Diagnostics
	Files map[string]*hcl.File
}

// Print writes the diagnostics with their snippets. A width of zero wraps nothing. Names of files can't steer the terminal or the log: their
// control characters become question marks. (A file whose content has any is refused, and not shown.)
func (d *Diagnostics) Print(w io.Writer, width uint, color bool) error {
	files := map[string]*hcl.File{}
	for name, f := range d.Files {
		files[visible(name)] = f
	}
	out := make(hcl.Diagnostics, len(d.Diagnostics))
	for i, g := range d.Diagnostics {
		tame := *g
		tame.Subject, tame.Context = visibleRange(g.Subject), visibleRange(g.Context)
		out[i] = &tame
	}
	return hcl.NewDiagnosticTextWriter(w, files, width, color).WriteDiagnostics(out)
}

func visibleRange(r *hcl.Range) *hcl.Range {
	if r == nil {
		return nil
	}
	tame := *r
	tame.Filename = visible(r.Filename)
	return &tame
}

func visible(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(name, "?"))
}

// Findings returns the diagnostics as findings of the rule "catalog", for reports. Warnings have the severity low.
func (d *Diagnostics) Findings() []reconcile.Finding {
	var out []reconcile.Finding
	for _, g := range d.Diagnostics {
		f := brokenBecause(g)
		if g.Severity == hcl.DiagWarning {
			f.Severity = reconcile.Low
		}
		out = append(out, f)
	}
	return out
}

// basePrefix marks the files of the base commit in diagnostics.
const basePrefix = "base:"

// maxDiagnostics bounds what a hostile catalog can make us print.
const maxDiagnostics = 500

func origin(r hcl.Range) reconcile.Origin {
	return reconcile.Origin{File: strings.TrimPrefix(r.Filename, basePrefix), Line: r.Start.Line}
}

// brokenBecause is the finding for what a diagnostic made unusable.
func brokenBecause(d *hcl.Diagnostic) reconcile.Finding {
	f := reconcile.Finding{Rule: "catalog", Summary: d.Summary, Detail: d.Detail}
	if d.Subject != nil {
		f.Origin = origin(*d.Subject)
	}
	return f
}

func mistake(at hcl.Range, summary, format string, args ...any) *hcl.Diagnostic {
	return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: fmt.Sprintf(format, args...), Subject: &at}
}

func warning(at hcl.Range, summary, format string, args ...any) *hcl.Diagnostic {
	d := mistake(at, summary, format, args...)
	d.Severity = hcl.DiagWarning
	return d
}

func firstError(ds hcl.Diagnostics) *hcl.Diagnostic {
	for _, d := range ds {
		if d.Severity == hcl.DiagError {
			return d
		}
	}
	return nil
}

// tidy sorts the diagnostics by place, drops those said twice (base and head often have the same mistake) and bounds their number.
func tidy(ds hcl.Diagnostics) hcl.Diagnostics {
	key := func(d *hcl.Diagnostic) string {
		if d.Subject == nil {
			return ""
		}
		return fmt.Sprintf("%s\x00%09d\x00%09d", strings.TrimPrefix(d.Subject.Filename, basePrefix), d.Subject.Start.Line, d.Subject.Start.Column)
	}
	sort.SliceStable(ds, func(i, j int) bool { return key(ds[i]) < key(ds[j]) })
	seen := map[string]bool{}
	var out hcl.Diagnostics
	for _, d := range ds {
		k := fmt.Sprint(key(d), d.Severity, d.Summary, d.Detail)
		if seen[k] {
			continue
		}
		seen[k] = true
		if len(out) == maxDiagnostics {
			return append(out, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: "Too many mistakes",
				Detail: fmt.Sprintf("Only the first %d are shown. Correct these, then check again.", maxDiagnostics)})
		}
		out = append(out, d)
	}
	return out
}

// nearest returns a hint at the known name that looks most like the one given, or nothing if none does.
func nearest(name string, known []string) string {
	best := closest(name, known)
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" Did you mean %q?", best)
}

// closest returns the known name that looks most like the one given, or nothing if none does.
func closest(name string, known []string) string {
	if len(name) > 64 {
		return ""
	}
	best, distance := "", 1+max(2, len(name)/3)
	for _, k := range known {
		if len(k)-len(name) > distance || len(name)-len(k) > distance {
			continue
		}
		if n := levenshtein.Distance(name, k, nil); n < distance || n == distance && best != "" && k < best {
			best, distance = k, n
		}
	}
	return best
}

// hint is nearest for names of the catalog itself, of which there may be very many: it stops comparing when that would take long.
func (t *tree) hint(name string, known []string) string {
	if t.compared += len(known); t.compared > 100_000 {
		return ""
	}
	return nearest(name, known)
}

// oneOf lists known names for people.
func oneOf(known []string) string {
	quoted := make([]string, len(known))
	for i, k := range known {
		quoted[i] = fmt.Sprintf("%q", k)
	}
	return strings.Join(quoted, ", ")
}

// clip bounds what is shown of a name.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most]
	}
	return s
}
