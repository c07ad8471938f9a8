package github

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/go-github/v60/github"

	"github.com/assay-oci/assay/reconcile"
)

// A verdict judges the reviews of one merged pull request for one file.
type verdict struct {
	gate   *Gate
	pull   request
	number int
	branch string
	file   string
}

func (v verdict) judge(ctx context.Context, r reconcile.Review) (reconcile.Review, error) {
	g := v.gate
	all, err := g.reviews.get(v.number, func() ([]*github.PullRequestReview, error) { return g.reviewsOf(ctx, v.number) })
	if err != nil {
		return r, err
	}
	said := opinions(all, v.pull.author)
	for _, login := range said.objecting {
		if may, err := g.mayWrite(ctx, login); err != nil {
			return r, err
		} else if may {
			return notApproved(r, "%s asked for changes of the pull request #%d and hasn't approved it since", clean(login, 100), v.number), nil
		}
	}
	approving, stale := said.at(v.pull.head)
	for _, login := range approving {
		may, err := g.mayWrite(ctx, login)
		if err != nil {
			return r, err
		}
		if may {
			r.Approvers = append(r.Approvers, reconcile.Approver{Login: login})
		}
	}
	// by the CODEOWNERS that the branch had right before the merge: what the pull request made of it has no say
	owners, err := v.gate.owners(ctx, v.file, v.pull.base)
	if err != nil {
		return r, err
	}
	missing := ""
	if len(r.Approvers) > 0 && len(owners.Owners) > 0 {
		if missing, err = v.name(ctx, r.Approvers, owners); err != nil {
			return r, err
		}
	}
	if g.o.Mode == reconcile.GateRules {
		return v.byRules(ctx, r, owners)
	}
	return v.byReviews(r, owners, stale, missing), nil
}

// byReviews asks that a code owner approved; where there is none, somebody who may write.
func (v verdict) byReviews(r reconcile.Review, owners ownerRule, stale []string, missing string) reconcile.Review {
	owned := slices.ContainsFunc(r.Approvers, func(a reconcile.Approver) bool { return a.Owner != "" })
	switch {
	case owned, len(r.Approvers) > 0 && len(owners.Owners) == 0:
		r.State = reconcile.Approved
		return r
	case len(r.Approvers) > 0 && missing != "":
		r.State, r.Reason = reconcile.UnknownReview, missing
		return r
	case len(r.Approvers) > 0:
		return notApproved(r, "none of the code owners of %s (%s) approved the pull request #%d; have one of them approve a change of the entry", clean(v.file, 200), ownersText(owners), v.number)
	case len(stale) > 0:
		return notApproved(r, "the approval of the pull request #%d is stale: what was approved by %s was changed before it was merged", v.number, clean(strings.Join(stale, ", "), 200))
	}
	return notApproved(r, "the pull request #%d was merged without an approval that counts", v.number)
}

func ownersText(r ownerRule) string { return clean(strings.Join(r.Owners, ", "), 300) }

// words are the last opinion of each person who has one.
type words struct {
	approved  map[string]string // by login: the commit
	objecting []string          // sorted
}

// opinions takes the last opinion of each person: a comment is none, a dismissed review takes back what was said before it. Neither the author's own count,
// nor those of bots and of accounts that are gone.
func opinions(all []*github.PullRequestReview, author string) words {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b *github.PullRequestReview) int {
		return cmp.Or(a.GetSubmittedAt().Compare(b.GetSubmittedAt().Time), cmp.Compare(a.GetID(), b.GetID()))
	})
	last := map[string]*github.PullRequestReview{}
	for _, r := range all {
		login := r.GetUser().GetLogin()
		if login == "" || r.GetUser().GetType() != "User" || strings.EqualFold(login, author) {
			continue
		}
		switch r.GetState() {
		case "APPROVED", "CHANGES_REQUESTED", "DISMISSED":
			last[strings.ToLower(login)] = r
		}
	}
	out := words{approved: map[string]string{}}
	for _, key := range slices.Sorted(maps.Keys(last)) {
		switch r := last[key]; r.GetState() {
		case "APPROVED":
			out.approved[r.GetUser().GetLogin()] = r.GetCommitID()
		case "CHANGES_REQUESTED":
			out.objecting = append(out.objecting, r.GetUser().GetLogin())
		}
	}
	return out
}

// at tells who approved a commit, and who approved another one; sorted.
func (w words) at(head string) (approving, stale []string) {
	for _, login := range slices.Sorted(maps.Keys(w.approved)) {
		if w.approved[login] == head {
			approving = append(approving, login)
		} else {
			stale = append(stale, login)
		}
	}
	return approving, stale
}

func (g *Gate) reviewsOf(ctx context.Context, number int) ([]*github.PullRequestReview, error) {
	all, err := pages(func(o *github.ListOptions) ([]*github.PullRequestReview, *github.Response, error) {
		return g.api.PullRequests.ListReviews(ctx, g.owner, g.name, number, o)
	})
	if err != nil {
		return nil, failed(fmt.Sprintf("list the reviews of the pull request #%d", number), needPulls, err)
	}
	return all, nil
}

// mayWrite tells whether somebody may write to the repository: others can review, but their approval is none.
func (g *Gate) mayWrite(ctx context.Context, login string) (bool, error) {
	if !ownerPerson.MatchString("@" + login) {
		return false, nil
	}
	return g.writers.get(strings.ToLower(login), func() (bool, error) {
		p, _, err := g.api.Repositories.GetPermissionLevel(ctx, g.owner, g.name, login)
		if err != nil {
			if err = failed("read whether "+login+" may write to "+g.Repository(), needMetadata, err); errors.Is(err, reconcile.ErrNotFound) {
				return false, &PermissionError{What: "read whether " + login + " may write to " + g.Repository(), Need: needMetadata + " of the repository, and push access"}
			}
			return false, err
		}
		return p.GetPermission() == "admin" || p.GetPermission() == "write", nil
	})
}
