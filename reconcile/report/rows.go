package report

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/assay-oci/assay/reconcile"
)

// A row is all that a report says about one image.
type row struct {
	title    string // "nginx:1.27.3"; of what goes "nginx@sha256:9f86d081884c"; of what concerns no image "the catalog"
	digest   reconcile.Digest
	origin   reconcile.Origin
	profile  *reconcile.Profile
	blocked  []reconcile.Finding
	violates []reconcile.Finding
	pending  bool // an approval is still to come
	actions  []reconcile.Action
	outcomes []reconcile.Outcome // one for each action, of a report that was applied
}

// rows gather a report by image: those that need somebody to act first, then what comes in, then what goes; else in the plan's order.
func rows(r reconcile.Report) []*row {
	t := &table{by: map[string]*row{}}
	for i := range r.Plan.Profiles {
		p := &r.Plan.Profiles[i]
		x := t.row(p.Image, p.Digest, p.Origin)
		x.profile, x.pending = p, p.Review != nil && p.Review.State == reconcile.Pending
	}
	for _, f := range Blocked(r) {
		x := t.row(cmp.Or(f.Image, "the catalog"), f.Digest, f.Origin)
		x.blocked = append(x.blocked, f)
	}
	for _, f := range told(r.Plan.Violations) {
		x := t.row(cmp.Or(f.Image, "the catalog"), f.Digest, f.Origin)
		x.violates = append(x.violates, f)
	}
	outcomes := outcomesOf(r)
	for _, a := range r.Plan.Actions {
		x := t.row(titleOf(a), a.Digest, a.Origin)
		x.actions = append(x.actions, a)
		if r.Result != nil {
			x.outcomes = append(x.outcomes, outcomes[a.ID])
		}
	}
	slices.SortStableFunc(t.rows, func(a, b *row) int {
		return cmp.Or(urgency[a.verdict()]-urgency[b.verdict()], a.waits()-b.waits())
	})
	return t.rows
}

var urgency = map[string]int{blocked: 0, violating: 1, ready: 2, renewed: 3, revoked: 4, removed: 5}

func outcomesOf(r reconcile.Report) map[string]reconcile.Outcome {
	out := map[string]reconcile.Outcome{}
	if r.Result != nil {
		for _, o := range r.Result.Outcomes {
			out[o.ID] = o
		}
	}
	return out
}

// titleOf names what an action is about. A tag that goes is told with the digest that it names.
func titleOf(a reconcile.Action) string {
	if a.Kind == reconcile.Untag {
		return a.Title + "@" + a.Digest.Short()
	}
	return a.Title
}

type table struct {
	rows []*row
	by   map[string]*row
}

func (t *table) row(title string, d reconcile.Digest, at reconcile.Origin) *row {
	x := t.by[title]
	if x == nil {
		x = &row{title: title}
		t.by[title] = x
		t.rows = append(t.rows, x)
	}
	if x.digest.IsZero() {
		x.digest = d
	}
	if x.origin.File == "" {
		x.origin = at
	}
	return x
}

// waits tells, as 1, that a row's image only can't be judged before something else is mended.
func (x *row) waits() int {
	if len(x.blocked) == 0 || slices.ContainsFunc(x.blocked, func(f reconcile.Finding) bool { return !unjudged(f) }) {
		return 0
	}
	return 1
}

// verdict is what was planned.
func (x *row) verdict() string {
	goes := func(a reconcile.Action) bool { return a.Kind == reconcile.Untag || a.Kind == reconcile.Delete }
	comes := func(a reconcile.Action) bool { return a.Kind == reconcile.Copy || a.Kind == reconcile.TagIt }
	switch {
	case len(x.blocked) > 0:
		return blocked
	case len(x.violates) > 0:
		return violating
	case slices.ContainsFunc(x.actions, func(a reconcile.Action) bool { return a.Revoked != nil }):
		return revoked
	case len(x.actions) > 0 && !slices.ContainsFunc(x.actions, func(a reconcile.Action) bool { return !goes(a) }):
		return removed
	case len(x.actions) > 0 && !slices.ContainsFunc(x.actions, comes):
		return renewed
	}
	return ready
}

// ended counts how the row's actions ended.
func (x *row) ended() map[reconcile.Status]int {
	out := map[reconcile.Status]int{}
	for _, o := range x.outcomes {
		out[o.Status]++
	}
	return out
}

// failed tells whether something was not done that was to be done.
func (x *row) failed() bool {
	return len(x.outcomes) > x.ended()[reconcile.Done]
}

// tags lists the tags that the row's actions set or move, each once: those that are new there, and those that name another digest now.
func (x *row) tags() (added, moved []string) {
	for _, a := range x.actions {
		switch {
		case a.Kind != reconcile.TagIt:
		case moves(a):
			moved = append(moved, a.Tag.String())
		default:
			added = append(added, a.Tag.String())
		}
	}
	moved = distinct(moved)
	added = slices.DeleteFunc(distinct(added), func(t string) bool { return slices.Contains(moved, t) })
	return added, moved
}

// lost lists the tags that disappear, each once.
func (x *row) lost() []string {
	var out []string
	for _, a := range x.actions {
		if a.Kind == reconcile.Untag {
			out = append(out, a.Tag.String())
		}
		for _, t := range a.Drops {
			out = append(out, t.String())
		}
	}
	return distinct(out)
}

// registries names those where actions of some kinds happen, as the catalog calls them.
func (n names) of(actions []reconcile.Action, kinds ...reconcile.Kind) []string {
	var out []string
	for _, a := range actions {
		if slices.Contains(kinds, a.Kind) && !a.To.IsZero() {
			out = append(out, n.registry(a.To))
		}
	}
	return n.ordered(distinct(out))
}

// names are the registries of a plan, in the catalog's order.
type names []reconcile.PlanRegistry

// index is the place of a registry in that order; what is none of them comes last.
func (n names) index(name string) int {
	if i := slices.IndexFunc(n, func(x reconcile.PlanRegistry) bool { return x.Name == name }); i >= 0 {
		return i
	}
	return len(n)
}

// owned splits a repository into its registry and what stands below the registry's prefix. It isn't ok for a repository that none owns.
func (n names) owned(r reconcile.Repo) (registry, below string, ok bool) {
	for _, x := range n {
		if x.Prefix.Owns(r) {
			return x.Name, x.Prefix.Below(r), true
		}
	}
	return "", "", false
}

// silent are the registries that didn't tell what they hold, by what stands below their prefixes.
func (n names) silent(gaps []reconcile.Gap) map[string][]string {
	out := map[string][]string{}
	for _, g := range gaps {
		if name, below, ok := n.owned(g.Question.Repo); ok {
			out[below] = append(out[below], name)
		}
	}
	return out
}

// unreadBy names the registries that didn't tell what they hold of a row's image.
func (p *page) unreadBy(x *row) []string {
	if p.silent == nil {
		p.silent = p.names.silent(p.r.Plan.Gaps)
	}
	below := map[string]bool{}
	var out []string
	for _, a := range x.actions {
		if _, b, ok := p.names.owned(a.To); ok && !below[b] {
			below[b] = true
			out = append(out, p.silent[b]...)
		}
	}
	return p.names.ordered(distinct(out))
}

// ordered sorts names of registries as the catalog does.
func (n names) ordered(list []string) []string {
	slices.SortStableFunc(list, func(a, b string) int { return n.index(a) - n.index(b) })
	return list
}

// registry is the name of the registry that owns a repository; of one that none owns, its host.
func (n names) registry(r reconcile.Repo) string {
	for _, x := range n {
		if x.Prefix.Owns(r) && x.Name != "" {
			return x.Name
		}
	}
	return r.Host()
}

// counted writes a number with its noun.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
