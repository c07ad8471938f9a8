package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/assay-oci/assay/reconcile"
)

// Markdown writes a report for a pull request or a job summary: the verdict first, one row an image, details folded.
func Markdown(w io.Writer, r reconcile.Report) error {
	m := &printer{w: w}
	title := "Assay plan"
	if r.Result != nil {
		title = "Assay reconcile"
	}
	m.printf("### %s: %s\n\n", title, strings.TrimSuffix(verdict(r), "."))
	m.rows(r)
	m.advice(append(Blocked(r), r.Plan.Violations...))
	m.listed("Notes", r.Plan.Notes)
	m.unread(r.Plan.Gaps)
	m.profiles(r.Plan.Profiles)
	m.details(r)
	if c := r.Plan.Commit; c != "" {
		m.printf("<sub>catalog at %s</sub>\n", code(fmt.Sprintf("%.12s", c)))
	}
	return m.err
}

func verdict(r reconcile.Report) string {
	line := Summarize(r).Line(r.Result != nil)
	line = strings.TrimPrefix(strings.TrimPrefix(line, "Plan: "), "Reconciled: ")
	return strings.ToLower(line[:1]) + line[1:]
}

// rows writes the table: blocked images first, since they need someone to act.
func (m *printer) rows(r reconcile.Report) {
	blocked := byImage(Blocked(r))
	violating := byImage(r.Plan.Violations)
	gs := groups(r)
	if len(blocked) == 0 && len(violating) == 0 && len(gs) == 0 {
		return
	}
	m.printf("| | image | what happens | catalog |\n|---|---|---|---|\n")
	for _, b := range blocked {
		m.printf("| ❌ | %s | **blocked** by %s | %s |\n", code(b.title), rules(b.findings), code(strings.TrimSpace(place(b.findings[0].Origin))))
	}
	for _, b := range violating {
		m.printf("| ⚠️ | %s | approved, **violates** %s | %s |\n", code(b.title), rules(b.findings), code(strings.TrimSpace(place(b.findings[0].Origin))))
	}
	for _, g := range gs {
		m.printf("| %s | %s | %s | %s |\n", sign(g), code(g.title), happens(g), code(strings.TrimSpace(place(g.origin))))
	}
	m.printf("\n")
}

func sign(g group) string {
	removes, failed := true, false
	for _, l := range g.lines {
		removes = removes && l.mark == '-'
		failed = failed || l.outcomes[reconcile.Failed]+l.outcomes[reconcile.Stale] > 0
	}
	switch {
	case failed:
		return "⚠️"
	case removes:
		return "🗑"
	}
	return "✅"
}

func happens(g group) string {
	counts := map[string]int{}
	var order []string
	for _, l := range g.lines {
		verb := l.verb
		if l.mark == '~' {
			verb = "move tag"
		}
		if counts[verb] == 0 {
			order = append(order, verb)
		}
		counts[verb] += l.count
	}
	var parts []string
	for _, v := range order {
		parts = append(parts, fmt.Sprintf("%s %d", v, counts[v]))
	}
	return strings.Join(parts, " · ")
}

type refused struct {
	title    string
	findings []reconcile.Finding
}

func byImage(fs []reconcile.Finding) []refused {
	var out []refused
	for _, f := range fs {
		title := f.Image
		if title == "" {
			title = "the catalog"
		}
		if len(out) == 0 || out[len(out)-1].title != title {
			out = append(out, refused{title: title})
		}
		out[len(out)-1].findings = append(out[len(out)-1].findings, f)
	}
	return out
}

func rules(fs []reconcile.Finding) string {
	var names []string
	for _, f := range fs {
		names = append(names, code(f.Rule))
	}
	return strings.Join(distinct(names), ", ")
}

func (m *printer) advice(fs []reconcile.Finding) {
	if len(fs) == 0 {
		return
	}
	m.printf("**What can be done:**\n\n")
	for _, f := range fs {
		m.printf("- ")
		if f.Image != "" {
			m.printf("%s: ", code(f.Image))
		}
		m.printf("%s %s", code(f.Rule), code(sentence(f)))
		if f.Detail != "" {
			m.printf(" — %s", code(f.Detail))
		}
		m.printf("\n")
	}
	m.printf("\n")
}

func (m *printer) listed(title string, fs []reconcile.Finding) {
	if len(fs) == 0 {
		return
	}
	m.printf("**%s:**\n\n", title)
	for _, f := range fs {
		m.printf("- %s %s %s\n", code(f.Rule), code(sentence(f)), code(strings.TrimSpace(place(f.Origin))))
	}
	m.printf("\n")
}

func (m *printer) unread(gaps []reconcile.Gap) {
	if len(gaps) == 0 {
		return
	}
	m.printf("**Could not be read** (nothing below is changed):\n\n")
	for _, s := range unread(gaps) {
		m.printf("- %s\n", code(s))
	}
	m.printf("\n")
}

func (m *printer) details(r reconcile.Report) {
	gs := groups(r)
	if len(gs) == 0 {
		return
	}
	m.printf("<details><summary>All actions</summary>\n\n")
	for _, g := range gs {
		m.printf("%s\n\n", code(g.title))
		for _, l := range g.lines {
			m.printf("- %s %s × %d %s", code(string(l.mark)), l.verb, l.count, code(l.what))
			if l.reason != "" {
				m.printf(" — %s", code(l.reason))
			}
			for _, s := range []reconcile.Status{reconcile.Done, reconcile.Failed, reconcile.Stale, reconcile.Skipped} {
				if n := l.outcomes[s]; n > 0 {
					m.printf(" · %s %d", s, n)
				}
			}
			for _, f := range distinct(l.failures) {
				m.printf(" · %s", code(f))
			}
			m.printf("\n")
		}
		m.printf("\n")
	}
	m.printf("</details>\n\n")
}
