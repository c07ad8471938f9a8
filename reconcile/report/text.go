package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/assay-oci/assay/reconcile"
)

// Text writes a report for a terminal or a log. Colour is for terminals whose user hasn't refused it.
func Text(w io.Writer, r reconcile.Report, colour bool) error {
	p := &printer{w: w, colour: colour}
	p.head(r)
	for _, g := range groups(r) {
		p.group(g)
	}
	p.findings("Blocked", "✗", red, Blocked(r))
	p.findings("Approved, and in violation of the policy", "!", red, r.Plan.Violations)
	p.findings("Notes", "i", yellow, r.Plan.Notes)
	p.gaps(r.Plan.Gaps)
	p.printf("%s\n", p.paint(bold, Summarize(r).Line(r.Result != nil)))
	return p.err
}

const (
	red    = "31"
	green  = "32"
	yellow = "33"
	bold   = "1"
	faint  = "2"
)

var markColour = map[byte]string{'+': green, '~': yellow, '-': red}

// printer keeps the first error, so that rendering reads straight on.
type printer struct {
	w      io.Writer
	colour bool
	err    error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func (p *printer) paint(sgr, s string) string {
	if !p.colour || s == "" {
		return s
	}
	return "\x1b[" + sgr + "m" + s + "\x1b[0m"
}

func (p *printer) head(r reconcile.Report) {
	commit := "the working tree"
	if c := r.Plan.Commit; c != "" {
		commit = fmt.Sprintf("commit %.12s", Plain(c))
	}
	p.printf("Catalog at %s\n\n", commit)
}

func (p *printer) group(g group) {
	p.printf("%s%s\n", p.paint(bold, Plain(g.title)), p.paint(faint, place(g.origin)))
	for _, l := range g.lines {
		count := ""
		if l.count > 1 {
			count = fmt.Sprintf("%d ", l.count)
		}
		reason := ""
		if l.reason != "" {
			reason = p.paint(faint, "  # "+Plain(l.reason))
		}
		p.printf("  %s %-6s %s%s%s%s\n", p.paint(markColour[l.mark], string(l.mark)), l.verb, count, Plain(l.what), p.outcome(l), reason)
		for _, f := range distinct(l.failures) {
			p.printf("      %s\n", p.paint(red, Plain(f)))
		}
	}
	p.printf("\n")
}

// outcome says how a line ended; a line that is done needs few words.
func (p *printer) outcome(l line) string {
	if len(l.outcomes) == 0 {
		return ""
	}
	if l.outcomes[reconcile.Done] == l.count {
		return p.paint(green, "  done")
	}
	var parts []string
	for _, s := range []reconcile.Status{reconcile.Done, reconcile.Failed, reconcile.Stale, reconcile.Skipped} {
		switch n := l.outcomes[s]; {
		case n == l.count:
			parts = append(parts, string(s))
		case n > 0:
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	return p.paint(red, "  "+strings.Join(parts, ", "))
}

func (p *printer) findings(title, mark, colour string, fs []reconcile.Finding) {
	if len(fs) == 0 {
		return
	}
	p.printf("%s\n", p.paint(bold, title))
	last := ""
	for _, f := range fs {
		if subject := Plain(f.Image) + place(f.Origin); subject != last && subject != "" {
			p.printf("  %s%s\n", p.paint(bold, Plain(f.Image)), p.paint(faint, place(f.Origin)))
			last = subject
		}
		p.printf("    %s %s: %s\n", p.paint(colour, mark), Plain(f.Rule), Plain(sentence(f)))
		if f.Detail != "" {
			p.printf("      %s\n", p.paint(faint, Plain(f.Detail)))
		}
	}
	p.printf("\n")
}

// sentence puts a finding's severity and identifier before its summary, unless that names them already.
func sentence(f reconcile.Finding) string {
	var parts []string
	if f.Severity != "" && !strings.Contains(f.Summary, string(f.Severity)) {
		parts = append(parts, string(f.Severity))
	}
	if f.ID != "" && !strings.Contains(f.Summary, f.ID) {
		parts = append(parts, f.ID)
	}
	if len(parts) == 0 {
		return f.Summary
	}
	return strings.Join(parts, " ") + ": " + f.Summary
}

func (p *printer) gaps(gaps []reconcile.Gap) {
	if len(gaps) == 0 {
		return
	}
	p.printf("%s\n", p.paint(bold, "Could not be read (nothing below is changed)"))
	for _, s := range unread(gaps) {
		p.printf("  %s %s\n", p.paint(yellow, "?"), Plain(s))
	}
	p.printf("\n")
}

// mostGaps is how many of one registry are written out: one that is down leaves a gap for each of its repositories.
const mostGaps = 10

func host(g reconcile.Gap) string {
	switch q := g.Question; {
	case q.Kind == reconcile.AskHistory:
		return "the catalog"
	case q.Repo.IsZero():
		return q.Prefix.Host()
	default:
		return q.Repo.Host()
	}
}

// unread says in a line for each gap what could not be read, and why.
func unread(gaps []reconcile.Gap) []string {
	var out []string
	count := map[string]int{}
	for _, g := range gaps {
		if count[host(g)]++; count[host(g)] > mostGaps {
			continue
		}
		line := g.Reason
		if what := g.Question.String(); !strings.Contains(line, what) {
			line = what + ": " + line
		}
		out = append(out, line)
	}
	for _, h := range slices.Sorted(maps.Keys(count)) {
		if more := count[h] - mostGaps; more > 0 {
			out = append(out, fmt.Sprintf("and %d more of %s (-o json names them)", more, h))
		}
	}
	return out
}

func place(o reconcile.Origin) string {
	if o.File == "" {
		return ""
	}
	return fmt.Sprintf("  %s:%d", Plain(o.File), o.Line)
}

// distinct keeps the first of each, in order.
func distinct(ss []string) []string {
	seen := map[string]bool{}
	var out []string
	for _, s := range ss {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}
