package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/assay-oci/assay/reconcile"
)

// table has a row an image.
func (p *page) table() *section {
	head := "| | image | change | verdict | vulnerabilities | since the approved version |\n|---|---|---|---|---|---|\n"
	s := &section{rank: rankRow, head: head, tail: "\n", noun: [2]string{"row", "rows"}}
	for _, x := range p.rows {
		s.add(fmt.Sprintf("| %s | %s | %s | %s | %s | %s |\n", p.sign(x), code(x.title), p.change(x), p.verdict(x), p.found(x), since(x)))
	}
	return s
}

func (p *page) sign(x *row) string {
	switch s := p.state(x); {
	case s == blocked:
		return "❌"
	case s == violating || s == undone:
		return "⚠️"
	case s == revoked || s == removed:
		return "🗑"
	}
	return "✅"
}

// change says what is new about an image.
func (p *page) change(x *row) string {
	switch x.verdict() {
	case revoked, removed:
		return x.verdict()
	case renewed:
		return "new records only"
	case violating:
		return "approved"
	}
	var parts []string
	copies := slices.ContainsFunc(x.actions, func(a reconcile.Action) bool { return a.Kind == reconcile.Copy })
	switch {
	case x.profile == nil && !copies:
	case x.profile != nil && x.profile.Since == nil:
		parts = append(parts, "new image")
	case copies || x.profile.Blocked:
		parts = append(parts, "new version")
	}
	added, moved := x.tags()
	if _, version, ok := strings.Cut(x.title, ":"); ok && copies {
		added = slices.DeleteFunc(added, func(t string) bool { return t == version })
	}
	if len(added) > 0 {
		parts = append(parts, "+"+counted(len(added), "tag", "tags")+" "+some(added))
	}
	if len(moved) > 0 {
		parts = append(parts, "moves "+some(moved))
	}
	return strings.Join(parts, ", ")
}

// mostNamed is how many tags or registries a cell names.
const mostNamed = 3

func some(list []string) string {
	shown := codes(list[:min(len(list), mostNamed)])
	if more := len(list) - mostNamed; more > 0 {
		shown += fmt.Sprintf(" and %d more", more)
	}
	return shown
}

func (p *page) verdict(x *row) string {
	switch x.verdict() {
	case blocked:
		return "**blocked** by " + rules(x.blocked)
	case violating:
		return joined("**violates** "+rules(x.violates), p.removal(x))
	}
	if x.failed() {
		return "**not finished**: " + ended(x)
	}
	unread := ""
	if names := p.unreadBy(x); len(names) > 0 {
		unread = "**not known** in " + some(names)
	}
	return joined(p.done(x), unread)
}

// done says where what was planned for a row happens, or has happened.
func (p *page) done(x *row) string {
	switch to := p.names.of(x.actions, reconcile.Copy, reconcile.TagIt, reconcile.Place); {
	case x.verdict() == revoked || x.verdict() == removed:
		return p.removal(x)
	case p.applied():
		return "in " + some(to)
	case x.pending:
		return "ready once approved, for " + some(to)
	default:
		return "ready, for " + some(to)
	}
}

// ended counts how a row's actions ended.
func ended(x *row) string {
	counts := x.ended()
	var out []string
	for _, s := range []reconcile.Status{reconcile.Done, reconcile.Failed, reconcile.Stale, reconcile.Skipped} {
		if n := counts[s]; n > 0 {
			out = append(out, fmt.Sprintf("%d %s", n, s))
		}
	}
	return strings.Join(out, ", ")
}

// removal says what goes where.
func (p *page) removal(x *row) string {
	deletes, loses := "deletes it from ", "disappears"
	if p.applied() {
		deletes, loses = "deleted from ", "is gone"
	}
	var parts []string
	if from := p.names.of(x.actions, reconcile.Delete); len(from) > 0 {
		parts = append(parts, deletes+some(from))
	}
	if lost := x.lost(); len(lost) > 0 {
		where := ""
		if from := p.names.of(x.actions, reconcile.Untag); len(from) > 0 {
			where = " in " + some(from)
		}
		word, verb := "tag ", loses
		if len(lost) > 1 {
			word, verb = "tags ", strings.NewReplacer("disappears", "disappear", "is", "are").Replace(loses)
		}
		parts = append(parts, word+some(lost)+" "+verb+where)
	}
	return strings.Join(parts, "; ")
}

// found tells of vulnerabilities, merged and by scanner; of what goes, why.
func (p *page) found(x *row) string {
	if x.profile == nil {
		for _, a := range x.actions {
			if a.Kind == reconcile.Delete || a.Kind == reconcile.Untag {
				reason := a.Reason
				if a.Revoked != nil {
					reason = a.Revoked.Reason
				}
				return code(reason)
			}
		}
		return ""
	}
	if len(x.profile.Scanners) == 0 {
		return "not scanned"
	}
	var by []string
	for _, s := range x.profile.Scanners {
		said := severities(s.Severities)
		if s.NoVerdict != "" {
			said = "no verdict"
		}
		by = append(by, code(s.Scanner)+" "+said)
	}
	fixable := ""
	switch n := x.profile.Fixable; {
	case n > 0:
		fixable = fmt.Sprintf(", %d fixable", n)
	case len(x.profile.Vulnerabilities) > 0:
		fixable = ", none fixable"
	}
	return severities(x.profile.Severities) + fixable + " (" + strings.Join(by, " · ") + ")"
}

// since is how an image differs from the one that is approved now.
func since(x *row) string {
	for _, a := range x.actions {
		if a.Revoked != nil && a.Revoked.Replacement != "" {
			return "replaced by " + code(a.Revoked.Replacement)
		}
	}
	if x.profile == nil {
		return ""
	}
	c := x.profile.Since
	if c == nil {
		return "first version"
	}
	if len(x.profile.Scanners) == 0 {
		return grown(c.Bytes) // nobody looked into it
	}
	return joined(balance(*c), packages(*c), grown(c.Bytes))
}

// rules names the rules of findings, each once.
func rules(fs []reconcile.Finding) string {
	var names []string
	for _, f := range fs {
		names = append(names, f.Rule)
	}
	names = distinct(names)
	return counted(len(names), "rule", "rules") + ": " + codes(names)
}
