package github

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/assay-oci/assay/reconcile"
)

// An Introduction is how an entry came into the catalog.
type Introduction struct {
	Commit   string    // on the branch's first-parent line; with Open, the one that proposes it
	When     time.Time // when it was committed; zero if that is not known
	Open     bool      // it isn't in the branch yet: a pull request is being planned
	Baseline bool      // it was there, and ever since, at the reviewed baseline, which is Commit
}

// History finds the commit that brought an entry into the catalog, from Git.
type History interface {
	Introduced(context.Context, reconcile.Entry) (Introduction, error)
}

// GateOptions say how approvals are verified.
type GateOptions struct {
	Mode    reconcile.GateMode // not GateOff
	Branch  string             // the catalog's; empty for the repository's default
	Path    string             // the catalog's folder in the repository; empty for the root
	History History
	// Declares reads the entries of one file of a catalog. It is given hostile content.
	Declares func(file string, content []byte) []reconcile.Entry
}

// A Gate verifies how entries were approved. It implements reconcile.Reviewer.
type Gate struct {
	*Client
	o GateOptions

	branch   memo[struct{}, string]
	pulls    memo[string, []*github.PullRequest] // of a commit
	requests memo[int, request]
	reviews  memo[int, []*github.PullRequestReview]
	files    memo[fileAt, file]
	writers  memo[string, bool] // by login, in lower case
	teams    memo[string, []string]
	rules    memo[string, branchRules]
}

// NewGate makes a gate. It sends nothing.
func NewGate(c *Client, o GateOptions) *Gate { return &Gate{Client: c, o: o} }

// maxCandidates bounds the pull requests of one commit that are looked at.
const maxCandidates = 10

// Review tells how an entry was approved. What can't be known because the token may not read it is an unknown review that names the permission; other
// trouble is an error. It may be called concurrently.
func (g *Gate) Review(ctx context.Context, e reconcile.Entry) (reconcile.Review, error) {
	in, err := g.o.History.Introduced(ctx, e)
	if err != nil {
		return reconcile.Review{}, fmt.Errorf("find the commit that brought in %s: %w", title(e), err)
	}
	r, err := g.review(ctx, e, in)
	r.Commit = in.Commit
	if denied(err) || errors.Is(err, reconcile.ErrNotFound) {
		r.State, r.Reason, r.Approvers = reconcile.UnknownReview, err.Error(), nil
		return r, nil
	}
	if err != nil {
		return reconcile.Review{}, fmt.Errorf("find out who approved %s: %w", title(e), err)
	}
	return r, nil
}

func title(e reconcile.Entry) string { return clean(e.Image+":"+e.Version, 200) }

func (g *Gate) review(ctx context.Context, e reconcile.Entry, in Introduction) (reconcile.Review, error) {
	if in.Baseline {
		return reconcile.Review{State: reconcile.Approved, Baseline: true}, nil
	}
	if !fs.ValidPath(e.Origin.File) || !validCommit.MatchString(in.Commit) {
		return reconcile.Review{}, errors.New("it is not known where in which commit the entry stands")
	}
	branch, err := g.branch.get(struct{}{}, func() (string, error) { return g.defaultBranch(ctx) })
	if err != nil {
		return reconcile.Review{}, err
	}
	if in.Open {
		return g.open(ctx, path.Join(g.o.Path, e.Origin.File), in.Commit, branch)
	}
	all, err := g.pulls.get(in.Commit, func() ([]*github.PullRequest, error) { return g.awaitPulls(ctx, in.Commit, in.When, branch) })
	if err != nil {
		return reconcile.Review{}, err
	}
	var candidates []*github.PullRequest
	for _, p := range all {
		if g.mergedInto(p, branch) && len(candidates) < maxCandidates {
			candidates = append(candidates, p)
		}
	}
	if len(candidates) == 0 {
		return notApproved(reconcile.Review{}, "%s", withoutRequest(in.Commit, branch, all)), nil
	}
	var last reconcile.Review
	for i, p := range candidates {
		r, err := g.judge(ctx, e, p.GetNumber(), branch)
		if err != nil {
			return r, err
		}
		if i == 0 || r.State != reconcile.NotApproved {
			last = r
		}
		if r.State == reconcile.Approved {
			break
		}
	}
	return last, nil
}

func notApproved(r reconcile.Review, format string, args ...any) reconcile.Review {
	r.State, r.Reason = reconcile.NotApproved, fmt.Sprintf(format, args...)
	return r
}

// withoutRequest says why none of a commit's pull requests counts.
func withoutRequest(commit, branch string, all []*github.PullRequest) string {
	for _, p := range all {
		if p.GetState() == "open" {
			return fmt.Sprintf("the commit %.12s was pushed to %s while its pull request #%d is still open; revert it, and merge the pull request", commit, clean(branch, 100), p.GetNumber())
		}
		if p.MergedAt != nil {
			return fmt.Sprintf("the pull request #%d of the commit %.12s was merged elsewhere, into %s; propose the change to %s", p.GetNumber(), commit, clean(p.GetBase().GetRef(), 100), clean(branch, 100))
		}
	}
	return fmt.Sprintf("the commit %.12s came to %s without a pull request; revert it, and propose the change", commit, clean(branch, 100))
}

// open is the review of a pull request that is being planned: whatever it has so far, it is decided when it is merged. Whose approval it takes is told, where that
// can be read.
func (g *Gate) open(ctx context.Context, file, commit, branch string) (reconcile.Review, error) {
	r := reconcile.Review{State: reconcile.Pending, Reason: "its pull request isn't merged yet", Head: commit}
	if rule, err := g.owners(ctx, file, branch); err == nil {
		for _, o := range rule.Owners {
			r.Owners = append(r.Owners, clean(o, 100))
		}
	}
	all, err := g.pulls.get(commit, func() ([]*github.PullRequest, error) { return g.pullsOf(ctx, commit) })
	if err != nil {
		r.Reason += ", and can't be read: " + err.Error()
		return r, nil //nolint:nilerr // it is pending all the same
	}
	for _, p := range all {
		if p.GetState() == "open" && p.GetBase().GetRef() == branch {
			r.PullRequest, r.URL, r.Author = p.GetNumber(), p.GetHTMLURL(), p.GetUser().GetLogin()
			break
		}
	}
	return r, nil
}

// judge tells whether one merged pull request approved an entry.
func (g *Gate) judge(ctx context.Context, e reconcile.Entry, number int, branch string) (reconcile.Review, error) {
	p, err := g.requests.get(number, func() (request, error) { return g.request(ctx, number) })
	if err != nil {
		return reconcile.Review{}, err
	}
	r := reconcile.Review{PullRequest: number, URL: p.url, Head: p.head, Merge: p.merge, Author: p.author}
	if p.base == "" {
		return notApproved(r, "the pull request #%d has no commit before it, so there are no code owners to ask", number), nil
	}
	name := path.Join(g.o.Path, e.Origin.File)
	reviewed, err := g.declares(ctx, name, p.head, e)
	if err != nil {
		return r, err
	}
	before, err := g.declares(ctx, name, p.fork, e)
	if err != nil {
		return r, err
	}
	switch {
	case !reviewed:
		return notApproved(r, "what was merged is not what was reviewed: the entry doesn't stand at the head %.12s of the pull request #%d", p.head, number), nil
	case before:
		return notApproved(r, "the pull request #%d doesn't bring the entry in: it stood at the commit that it started from", number), nil
	}
	v := verdict{gate: g, pull: p, number: number, branch: branch, file: name}
	return v.judge(ctx, r)
}

// declares tells whether an entry stands in a file at a commit.
func (g *Gate) declares(ctx context.Context, name, commit string, e reconcile.Entry) (bool, error) {
	f, err := g.file(ctx, name, commit)
	if err != nil || !f.there {
		return false, err
	}
	return slices.ContainsFunc(g.o.Declares(e.Origin.File, f.content), func(x reconcile.Entry) bool {
		return x.Image == e.Image && x.Version == e.Version && x.Digest == e.Digest
	}), nil
}
