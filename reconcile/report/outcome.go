package report

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"

	"github.com/assay-oci/assay/reconcile"
)

// reconciled says how many registries are as they shall be, and when.
func (p *page) reconciled() *section {
	s := &section{rank: rankOutcome, tail: "\n", noun: [2]string{"outcome", "outcomes"}}
	if !p.applied() || p.r.Error != "" {
		return s
	}
	whole := map[string]bool{}
	for _, x := range p.rows {
		for i, a := range x.actions {
			if a.To.IsZero() {
				continue
			}
			name := p.names.registry(a.To)
			sound, seen := whole[name]
			whole[name] = (sound || !seen) && x.outcomes[i].Status == reconcile.Done
		}
	}
	for _, g := range p.r.Plan.Gaps {
		if name, _, ok := p.names.owned(g.Question.Repo); ok {
			whole[name] = false
		}
	}
	done := 0
	for _, ok := range whole {
		if ok {
			done++
		}
	}
	at := ""
	if t := p.o.Ended; !t.IsZero() {
		at = t.UTC().Format(" at 15:04 UTC on 2006-01-02")
	}
	if len(whole) == 0 {
		s.add("**Reconciled**" + at + "; there was nothing to write.\n")
		return s
	}
	s.add(fmt.Sprintf("**Reconciled** %d of %s%s.\n", done, counted(len(whole), "registry", "registries"), at))
	return s
}

func (p *page) unread() *section {
	head := "**Could not be read** (nothing below is changed):\n\n"
	if p.applied() {
		head = "**Could not be read** (nothing below was changed; the next run tries again):\n\n"
	}
	s := &section{rank: rankAside, head: head, tail: "\n", noun: [2]string{"gap", "gaps"}}
	for _, line := range unread(p.r.Plan.Gaps) {
		s.add("- " + code(line) + "\n")
	}
	return s
}

// failures say what was not done, why, and what becomes of it.
func (p *page) failures() *section {
	s := &section{rank: rankOutcome, head: "**Not done:**\n\n", tail: "\n", noun: [2]string{"failure", "failures"}}
	for _, x := range p.rows {
		waiting := 0
		var lines []string
		for i, o := range x.outcomes {
			l := describe(x.actions[i])
			what := fmt.Sprintf("- %s — %s %s: %s", code(x.title), l.verb, code(l.what), code(cmp.Or(o.Reason, string(o.Status))))
			switch o.Status {
			case reconcile.Failed:
				lines = append(lines, what+" · the next run tries again\n")
			case reconcile.Stale:
				lines = append(lines, what+" · nothing was written; the run of the newer state does it\n")
			case reconcile.Skipped:
				waiting++
			}
		}
		for _, line := range distinct(lines) {
			s.add(line)
		}
		if waiting > 0 {
			s.add(fmt.Sprintf("- %s — %s for what was not done\n", code(x.title), counted(waiting, "action waits", "actions wait")))
		}
	}
	return s
}

// pulls are the commands by which what was admitted is had, by digest, and verified.
func (p *page) pulls() *section {
	s := &section{rank: rankAside, head: "**Pull by digest:**\n\n", tail: "\n", noun: [2]string{"pull command", "pull commands"}}
	if !p.applied() {
		return s
	}
	for _, x := range p.rows {
		if v := x.verdict(); v != ready && v != renewed || x.digest.IsZero() {
			continue
		}
		repos, signed := x.complete()
		slices.SortStableFunc(repos, func(a, b reconcile.Repo) int {
			return p.names.index(p.names.registry(a)) - p.names.index(p.names.registry(b))
		})
		if len(repos) == 0 {
			continue
		}
		item := "- " + code(x.title) + "\n"
		for _, r := range repos {
			item += fmt.Sprintf("  - %s: %s\n", code(p.names.registry(r)), code("docker pull "+r.String()+"@"+x.digest.String()))
		}
		if signed {
			item += "  - signature, verdict and approval: " + code("assay verify "+repos[0].String()+"@"+x.digest.String()+p.trusted()) + "\n"
		}
		s.add(item)
	}
	return s
}

// complete lists the repositories in which all that the row wanted was done, in the plan's order, and tells whether records lie there.
func (x *row) complete() (repos []reconcile.Repo, signed bool) {
	failed := map[reconcile.Repo]bool{}
	for i, a := range x.actions {
		failed[a.To] = failed[a.To] || x.outcomes[i].Status != reconcile.Done
	}
	for _, a := range x.actions {
		if !a.To.IsZero() && !failed[a.To] && !slices.Contains(repos, a.To) {
			repos = append(repos, a.To)
		}
		signed = signed || a.Kind == reconcile.Place && !failed[a.To]
	}
	return repos, signed
}

// shellWord is what a shell takes as it stands.
var shellWord = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,200}$`)

// trusted says whose signatures count, as flags of verify.
func (p *page) trusted() string {
	if c := p.r.Plan.Catalog; shellWord.MatchString(c) {
		return " --catalog " + c
	}
	return " --key cosign.pub"
}
