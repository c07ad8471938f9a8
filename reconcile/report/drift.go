package report

import (
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/assay-oci/assay/reconcile"
)

// DriftOptions are those of Drift.
type DriftOptions struct {
	Limit   int    // characters at most; 0: as long as it gets
	Link    string // the address of the whole report, for one that is shortened
	Mention bool   // whether the owners of images are mentioned, and so notified
}

// Drift writes the body of the one issue about what registries and catalog differ in: what drifted, which approved images violate their policy, what is
// approved and refused, and what could not be read. After a reconcile it tells of what is left. It says whether there is anything of it but what could
// not be read: where there is nothing else, nobody knows, and an issue that is open stays open.
func Drift(w io.Writer, r reconcile.Report, o DriftOptions) (drifted bool, err error) {
	p := &page{r: r, rows: rows(r), names: r.Plan.Registries}
	drift, violations, refused := p.drift(o.Mention), p.standing("**Approved, and in violation of the policy by now:**\n\n", o.Mention, violations), p.standing("**Approved in the catalog, and refused:**\n\n", o.Mention, refusals)
	drifted = len(drift.items)+len(violations.items)+len(refused.items) > 0
	d := &document{title: p.driftTitle(len(drift.items), len(violations.items), len(refused.items)), sections: []*section{drift, violations, refused, p.unread(), p.foot()}}
	_, err = io.WriteString(w, d.render(o.Limit, o.Link))
	return drifted, err
}

func (p *page) driftTitle(drift, violations, refused int) string {
	var parts []string
	part := func(n int, one, many string) {
		if n > 0 {
			parts = append(parts, counted(n, one, many))
		}
	}
	part(drift, "difference", "differences")
	part(violations, "violation", "violations")
	part(refused, "refused", "refused")
	part(len(p.r.Plan.Gaps), "could not be read", "could not be read")
	if len(parts) == 0 {
		return "### Assay drift: none, the registries match the catalog\n\n"
	}
	return "### Assay drift: " + strings.Join(parts, ", ") + "\n\n"
}

// drift lists the differences that were found, or those that a reconcile has left.
func (p *page) drift(mention bool) *section {
	s := &section{rank: rankRow, head: "**The registries differ from the catalog:**\n\n", tail: "\n", noun: [2]string{"difference", "differences"}}
	outcomes := outcomesOf(p.r)
	left := p.r
	left.Plan.Actions = slices.DeleteFunc(slices.Clone(left.Plan.Actions), func(a reconcile.Action) bool { return outcomes[a.ID].Status == reconcile.Done })
	for _, g := range groups(left) {
		for _, l := range g.lines {
			parts := []string{"- " + code(g.title) + " — " + does(l) + " " + code(l.what), code(l.reason)}
			for _, f := range distinct(l.failures) {
				parts = append(parts, code(f))
			}
			s.add(joined(append(parts, p.owner(g.title, mention))...) + "\n")
		}
	}
	return s
}

// does is what is to be done about a difference.
func does(l line) string {
	if l.mark == '~' {
		return "move tag"
	}
	return l.verb
}

func violations(x *row) []reconcile.Finding { return x.violates }
func refusals(x *row) []reconcile.Finding   { return x.blocked }

// standing lists findings about images that the catalog approves.
func (p *page) standing(head string, mention bool, pick func(*row) []reconcile.Finding) *section {
	s := &section{rank: rankOutcome, head: head, tail: "\n", noun: [2]string{"finding", "findings"}}
	for _, x := range p.rows {
		for _, f := range pick(x) {
			s.add("- " + code(x.title) + " — " + code(f.Rule) + ": " + joined(code(sentence(f)), advised(f.Detail), located(f.Origin), p.owner(x.title, mention)) + "\n")
		}
	}
	return s
}

// account is the name of a person or a team, as GitHub has them.
var account = regexp.MustCompile(`^@[A-Za-z0-9][A-Za-z0-9-]{0,38}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,99})?$`)

// owner names the owner of an image; one who is to be mentioned as a mention, if it is one.
func (p *page) owner(title string, mention bool) string {
	name, _, _ := strings.Cut(title, "@")
	name, _, _ = strings.Cut(name, ":")
	owner := p.r.Plan.Owners[name]
	if mention && account.MatchString(owner) {
		return owner
	}
	return code(owner)
}
