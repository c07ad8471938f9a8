package report

import (
	"slices"

	"github.com/assay-oci/assay/reconcile"
)

// Only keeps what concerns the entries in some of the catalog's files, as one pull request of several in a push has changed them. What stands in no
// file, such as a repository that is no longer in the catalog or a registry that could not be read, concerns everybody and is kept.
func Only(r reconcile.Report, files []string) reconcile.Report {
	concerns := func(o reconcile.Origin) bool { return o.File == "" || slices.Contains(files, o.File) }
	keep := func(fs []reconcile.Finding) []reconcile.Finding {
		return slices.DeleteFunc(slices.Clone(fs), func(f reconcile.Finding) bool { return !concerns(f.Origin) })
	}
	p := r.Plan
	p.Actions = []reconcile.Action{}
	kept := map[string]bool{}
	for _, a := range r.Plan.Actions {
		if concerns(a.Origin) {
			p.Actions, kept[a.ID] = append(p.Actions, a), true
		}
	}
	p.Blocked, p.Violations, p.Notes = keep(p.Blocked), keep(p.Violations), keep(p.Notes)
	p.Profiles = slices.DeleteFunc(slices.Clone(p.Profiles), func(x reconcile.Profile) bool { return !concerns(x.Origin) })
	r.Plan = p
	if r.Result != nil {
		result := reconcile.Result{Outcomes: []reconcile.Outcome{}, Blocked: keep(r.Result.Blocked), Ended: r.Result.Ended}
		for _, o := range r.Result.Outcomes {
			if kept[o.ID] {
				result.Outcomes = append(result.Outcomes, o)
			}
		}
		r.Result = &result
	}
	return r
}
