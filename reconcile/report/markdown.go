package report

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

// MarkdownOptions are those of Markdown.
type MarkdownOptions struct {
	Limit    int       // characters at most; 0: as long as it gets
	Folder   string    // of the catalog within its repository, where that isn't its root
	Link     string    // the address of the whole report, for one that is shortened; empty for none
	Approved *Approved // what the plan said that was approved; nil for a plan, or if that isn't known
	Ended    time.Time // when a reconcile ended; zero: not said
}

// Markdown writes a report for a pull request or a job's summary: the verdict first, then what changes the policy, one row an image, and what can be done;
// the evidence is folded. One that is too long loses folded evidence first, the biggest first, then what is aside, the advice, and rows.
func Markdown(w io.Writer, r reconcile.Report, o MarkdownOptions) error {
	p := &page{r: r, o: o, rows: rows(r), names: r.Plan.Registries}
	d := &document{title: p.title(), sections: []*section{
		p.failed(), p.reconciled(), p.policy(), p.differences(), p.table(), p.failures(), p.advice(), p.waivers(), p.notes(), p.unread(), p.pulls(), p.evidence(), p.actions(), p.foot(),
	}}
	_, err := io.WriteString(w, d.render(o.Limit, o.Link))
	return err
}

// page is a report while it is written as Markdown.
type page struct {
	r     reconcile.Report
	o     MarkdownOptions
	rows  []*row
	names names

	// made when first asked for
	findings map[string][]reconcile.Finding // by image
	silent   map[string][]string            // registries that could not be read, by what stands below their prefixes
}

func (p *page) applied() bool { return p.r.Result != nil }

// title is the verdict: how many images end how.
func (p *page) title() string {
	what := "plan"
	if p.applied() {
		what = "reconcile"
	}
	if p.o.Folder != "" {
		what += " of " + code(p.o.Folder)
	}
	if p.r.Error != "" {
		return "### Assay " + what + ": failed\n\n"
	}
	counts := map[string]int{}
	for _, x := range p.rows {
		counts[p.state(x)]++
	}
	var parts []string
	for _, state := range states {
		if n := counts[state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
		}
	}
	if n := len(p.r.Plan.Gaps); n > 0 {
		parts = append(parts, fmt.Sprintf("%d could not be read", n))
	}
	if n := images(p.takenOut()); n > 0 && counts[removed] == 0 {
		parts = append(parts, fmt.Sprintf("%d taken out of the catalog", n))
	}
	if len(parts) == 0 {
		parts = []string{"nothing to do, the registries match the catalog"}
	}
	changes := ""
	if slices.ContainsFunc(p.r.Plan.Notes, isPolicyChange) {
		changes = " · changes policy"
	}
	return "### Assay " + what + ": " + strings.Join(parts, ", ") + changes + "\n\n"
}

// takenOut are the notes about what a pull request takes out of the catalog.
func (p *page) takenOut() []reconcile.Finding {
	return slices.DeleteFunc(slices.Clone(p.r.Plan.Notes), func(f reconcile.Finding) bool { return f.Rule != reconcile.TakenOut })
}

// failed says why there is no more than this.
func (p *page) failed() *section {
	s := &section{rank: rankPolicy, tail: "\n", noun: [2]string{"failure", "failures"}}
	if p.r.Error != "" {
		s.add("**The run ended before it had anything to tell:** " + code(p.r.Error) + "\n")
	}
	return s
}

// The states of an image once a plan was applied; before, they are the verdicts.
const (
	admitted = "admitted"
	given    = "with new records"
	undone   = "not finished"
)

var states = []string{ready, admitted, renewed, given, blocked, undone, violating, revoked, removed}

func (p *page) state(x *row) string {
	v := x.verdict()
	switch {
	case !p.applied() || v == blocked || v == violating:
		return v
	case x.failed(), len(p.unreadBy(x)) > 0:
		return undone
	case v == ready:
		return admitted
	case v == renewed:
		return given
	}
	return v
}

// PolicyChange is the rule of findings about what a pull request changes of what judges it.
const policyChange = "policy-change"

func isPolicyChange(f reconcile.Finding) bool { return f.Rule == policyChange }

// policy calls out what else than images a pull request changes.
func (p *page) policy() *section {
	s := &section{rank: rankPolicy, head: "> **This also changes policy.** Images are judged by what is merged now and by what this changes it to:\n>\n", tail: "\n",
		noun: [2]string{"change of policy", "changes of policy"}}
	for _, f := range told(p.r.Plan.Notes) {
		if !isPolicyChange(f) {
			continue
		}
		effect := ""
		if f.ID == "loosened" || f.ID == "tightened" {
			effect = "**" + f.ID + "**: "
		}
		s.add("> - " + effect + joined(code(f.Summary), located(f.Origin)) + "\n")
	}
	return s
}

// located shows where in the catalog something stands.
func located(o reconcile.Origin) string { return code(strings.TrimSpace(place(o))) }

// mostAdvice is how many findings of one rule about one image are told; the rest is counted.
const mostAdvice = 10

// advice says what would mend what is refused.
func (p *page) advice() *section {
	head := "**What the author can do:**\n\n"
	if p.applied() {
		head = "**What can be done:**\n\n"
	}
	s := &section{rank: rankAdvice, head: head, tail: "\n", noun: [2]string{"piece of advice", "pieces of advice"}}
	waiting := map[string][]string{} // images that can't be judged, by what is to be mended
	for _, x := range p.rows {
		count := map[string]int{}
		for _, f := range slices.Concat(x.blocked, x.violates) {
			if unjudged(f) {
				waiting[f.Detail] = append(waiting[f.Detail], x.title)
				continue
			}
			if count[f.Rule]++; count[f.Rule] > mostAdvice {
				continue
			}
			about := code(x.title) + " — "
			s.add("- " + about + code(f.Rule) + ": " + joined(code(sentence(f)), advised(f.Detail), located(f.Origin)) + "\n")
		}
		for _, rule := range sortedKeys(count) {
			if more := count[rule] - mostAdvice; more > 0 {
				s.add(fmt.Sprintf("- %s — %s: and %d more\n", code(x.title), code(rule), more))
			}
		}
	}
	for _, cause := range sortedKeys(waiting) {
		s.add("- " + some(waiting[cause]) + " can't be judged before this is mended: " + code(cause) + "\n")
	}
	return s
}

// waivable are the rules from whose findings people ask for a waiver, once nothing else helps.
var waivable = []string{"age", "config", "end_of_life", "licenses", "packages", "size", "vulnerabilities"}

// name is what stands in a catalog's string as it is.
var name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:@/+-]{0,99}$`)

// mostWaivers is how many are written out.
const mostWaivers = 10

// A waiver that is asked for ends after this time, unless somebody thinks about it.
const waiverTerm = 30 * 24 * time.Hour

// waivers are, folded, the blocks by which the author can ask for an exception. Only names that need no escape are written out.
func (p *page) waivers() *section {
	s := &section{rank: rankFolded, head: "<details><summary>A waiver to ask for, where nothing else helps</summary>\n\nIt counts once it is merged, in a pull request of its own.\n\n",
		tail: "</details>\n\n", noun: [2]string{"waiver", "waivers"}}
	if p.applied() || p.r.Plan.Made.IsZero() {
		return s
	}
	expires := p.r.Plan.Made.Add(waiverTerm).UTC().Format(time.DateOnly)
	var blocks []string
	for _, x := range p.rows {
		image, _, _ := strings.Cut(x.title, ":")
		for _, f := range x.blocked {
			if slices.Contains(waivable, f.Rule) && !f.Unknown && name.MatchString(f.ID) && name.MatchString(image) {
				blocks = append(blocks, fmt.Sprintf("```hcl\nwaiver \"%s\" {\n  rule    = \"%s\"\n  image   = \"%s\"\n  reason  = \"…\"\n  expires = \"%s\"\n}\n```\n\n", f.ID, f.Rule, image, expires))
			}
		}
	}
	blocks = distinct(blocks)
	for _, b := range blocks[:min(len(blocks), mostWaivers)] {
		s.add(b)
	}
	return s
}

func advised(detail string) string {
	if detail == "" {
		return ""
	}
	return "**→** " + code(detail)
}

// notes are what is told and blocks nothing.
func (p *page) notes() *section {
	s := &section{rank: rankAside, head: "**Notes:**\n\n", tail: "\n", noun: [2]string{"note", "notes"}}
	for _, f := range told(p.r.Plan.Notes) {
		if isPolicyChange(f) || f.Pending { // the verdict tells of what is pending
			continue
		}
		about := ""
		if f.Image != "" {
			about = code(f.Image) + " — "
		}
		s.add("- " + about + code(f.Rule) + ": " + joined(code(sentence(f)), advised(f.Detail), located(f.Origin)) + "\n")
	}
	return s
}

// actions lists all of them, folded.
func (p *page) actions() *section {
	s := &section{rank: rankFolded, head: "<details><summary>All actions</summary>\n\n", tail: "\n</details>\n\n", noun: [2]string{"action", "actions"}}
	for _, g := range groups(p.r) {
		for _, l := range g.lines {
			s.add(actionLine(g.title, l))
		}
	}
	return s
}

func actionLine(title string, l line) string {
	parts := []string{fmt.Sprintf("- %s %s %s × %d %s", code(string(l.mark)), code(title), l.verb, l.count, code(l.what)), code(l.reason)}
	for _, s := range []reconcile.Status{reconcile.Done, reconcile.Failed, reconcile.Stale, reconcile.Skipped} {
		if n := l.outcomes[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", s, n))
		}
	}
	for _, f := range distinct(l.failures) {
		parts = append(parts, code(f))
	}
	return joined(parts...) + "\n"
}

// foot says of which commit this is, and as of when ages are told.
func (p *page) foot() *section {
	s := &section{rank: rankPolicy, noun: [2]string{"footer", "footers"}}
	var parts []string
	if c := p.r.Plan.Commit; c != "" {
		parts = append(parts, "catalog at "+code(fmt.Sprintf("%.12s", c)))
	}
	if t := p.r.Plan.Made; !t.IsZero() {
		parts = append(parts, "planned at "+t.UTC().Format("2006-01-02 15:04 UTC"))
	}
	if len(parts) > 0 {
		s.add("<sub>" + joined(parts...) + "</sub>\n")
	}
	return s
}
