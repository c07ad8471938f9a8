package github

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/google/go-github/v60/github"

	"github.com/assay-oci/assay/reconcile"
)

// branchRules are what the rulesets ask of a pull request into a branch; of several, the strictest.
type branchRules struct {
	Approvals  int  `json:"required_approving_review_count"`
	CodeOwners bool `json:"require_code_owner_review"`
	Dismiss    bool `json:"dismiss_stale_reviews_on_push"`
}

// byRules trusts the branch's rules in one thing: that one of the approvals is a code owner's. That there are approvals, at the merged head, is looked at all
// the same, since those who may bypass the rules do so unseen.
func (v verdict) byRules(ctx context.Context, r reconcile.Review, owners ownerRule) (reconcile.Review, error) {
	rules, err := v.gate.rules.get(v.branch, func() (branchRules, error) { return v.gate.rulesOf(ctx, v.branch) })
	if err != nil {
		return r, err
	}
	owned := slices.ContainsFunc(r.Approvers, func(a reconcile.Approver) bool { return a.Owner != "" })
	branch := clean(v.branch, 100)
	switch {
	case rules.Approvals < 1:
		return notApproved(r, "the rules of the branch %s don't require an approval; require one in a ruleset, or use the gate's mode \"reviews\"", branch), nil
	case len(r.Approvers) < rules.Approvals:
		return notApproved(r, "the pull request #%d was merged with %d approvals at its head, and the rules of the branch %s require %d: somebody went around them", v.number, len(r.Approvers), branch, rules.Approvals), nil
	case len(owners.Owners) > 0 && !owned && !(rules.CodeOwners && rules.Dismiss):
		return notApproved(r, "the rules of the branch %s don't require that a code owner approves what is merged; require it and dismiss stale approvals in a ruleset, or use the gate's mode \"reviews\"", branch), nil
	}
	r.State = reconcile.Approved
	return r, nil
}

// rulesOf reads the rules that are in force on a branch. It needs no administrator. (go-github's function for it reads the first page alone, and fails for
// rules that it doesn't know.)
func (g *Gate) rulesOf(ctx context.Context, branch string) (branchRules, error) {
	type rule struct {
		Type       string          `json:"type"`
		Parameters json.RawMessage `json:"parameters"`
	}
	what := "read the rules of the branch " + clean(branch, 100)
	all, err := pages(func(o *github.ListOptions) ([]rule, *github.Response, error) {
		req, err := g.api.NewRequest(http.MethodGet, fmt.Sprintf("repos/%s/%s/rules/branches/%s?per_page=%d&page=%d", g.owner, g.name, url.PathEscape(branch), o.PerPage, max(o.Page, 1)), nil)
		if err != nil {
			return nil, nil, err
		}
		var some []rule
		resp, err := g.api.Do(ctx, req, &some)
		return some, resp, err
	})
	if err != nil {
		return branchRules{}, failed(what, needMetadata, err)
	}
	var out branchRules
	for _, r := range all {
		if r.Type != "pull_request" || len(r.Parameters) == 0 {
			continue
		}
		var p branchRules
		if err := json.Unmarshal(r.Parameters, &p); err != nil {
			return out, fmt.Errorf("%s: %w", what, err)
		}
		out.Approvals = max(out.Approvals, p.Approvals)
		out.CodeOwners, out.Dismiss = out.CodeOwners || p.CodeOwners, out.Dismiss || p.Dismiss
	}
	return out, nil
}
