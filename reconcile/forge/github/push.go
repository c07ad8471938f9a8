package github

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/assay-oci/assay/reconcile"
)

// A Merged is a pull request that a push brought into the branch.
type Merged struct {
	Number int
	Files  []string // what it changes, paths in the repository, with the old ones of what it moves; sorted; nil if GitHub doesn't tell them all
}

// maxPushed bounds the commits of a push that are looked at. GitHub compares no more either.
const maxPushed = 250

// Push lists the pull requests that the commits after before, up to after, merged into the branch, by number: several, where a queue merged them together or
// the last run was skipped. A before that is empty or of zeros, as for a new branch, stands for the commit before after.
func (c *Client) Push(ctx context.Context, before, after, branch string) ([]Merged, error) {
	if !validCommit.MatchString(after) {
		return nil, fmt.Errorf("%q is no commit", clean(after, 100))
	}
	line, err := c.line(ctx, before, after)
	if err != nil {
		return nil, err
	}
	var out []Merged
	for i, commit := range line {
		var when time.Time // the newest may be unknown yet, which is awaited once
		if i > 0 {
			when = time.Unix(0, 0)
		}
		numbers, err := c.mergedBy(ctx, commit, when, branch)
		if err != nil {
			return nil, err
		}
		for _, n := range numbers {
			if slices.ContainsFunc(out, func(m Merged) bool { return m.Number == n }) {
				continue
			}
			files, err := c.Files(ctx, n)
			if err != nil {
				return nil, err
			}
			out = append(out, Merged{Number: n, Files: files})
		}
	}
	slices.SortFunc(out, func(a, b Merged) int { return a.Number - b.Number })
	return out, nil
}

// mergedBy lists the pull requests that a commit merged into the branch.
func (c *Client) mergedBy(ctx context.Context, commit string, when time.Time, branch string) ([]int, error) {
	all, err := c.awaitPulls(ctx, commit, when, branch)
	if err != nil {
		return nil, err
	}
	var out []int
	for _, p := range all {
		if c.mergedInto(p, branch) {
			out = append(out, p.GetNumber())
		}
	}
	return out, nil
}

// maxEarlier bounds the commits before a push that are looked at.
const maxEarlier = 30

// Earlier gives the pull requests that commits of the branch merged, from one backwards, the newest first, until visit has seen enough. It doesn't look far.
func (c *Client) Earlier(ctx context.Context, commit, branch string, visit func(number int) (more bool, err error)) error {
	if !validCommit.MatchString(commit) || strings.Trim(commit, "0") == "" {
		return nil
	}
	all, _, err := c.api.Repositories.ListCommits(ctx, c.owner, c.name, &github.CommitsListOptions{SHA: commit, ListOptions: github.ListOptions{PerPage: 100}})
	if err != nil {
		return failed(fmt.Sprintf("list the commits up to %.12s", commit), needContents, err)
	}
	parents := map[string]string{}
	for _, x := range all {
		if parents[x.GetSHA()] = ""; len(x.Parents) > 0 {
			parents[x.GetSHA()] = x.Parents[0].GetSHA()
		}
	}
	seen := map[int]bool{}
	for at, steps := commit, 0; steps < maxEarlier; steps++ {
		parent, ok := parents[at]
		if !ok {
			break
		}
		numbers, err := c.mergedBy(ctx, at, time.Unix(0, 0), branch)
		if err != nil {
			return err
		}
		for _, n := range numbers {
			if seen[n] {
				continue
			}
			seen[n] = true
			if more, err := visit(n); err != nil || !more {
				return err
			}
		}
		at = parent
	}
	return nil
}

// Head is the newest commit of a pull request.
func (c *Client) Head(ctx context.Context, number int) (string, error) {
	p, _, err := c.api.PullRequests.Get(ctx, c.owner, c.name, number)
	if err != nil {
		return "", failed(fmt.Sprintf("read the pull request #%d", number), needPulls, err)
	}
	return p.GetHead().GetSHA(), nil
}

// line is the branch's own commits of a push, the newest first: where one is a merge, what it merged is left out.
func (c *Client) line(ctx context.Context, before, after string) ([]string, error) {
	if !validCommit.MatchString(before) || strings.Trim(before, "0") == "" {
		return []string{after}, nil
	}
	parents := map[string]string{}
	_, err := pages(func(o *github.ListOptions) ([]*github.RepositoryCommit, *github.Response, error) {
		r, resp, err := c.api.Repositories.CompareCommits(ctx, c.owner, c.name, before, after, o)
		if err != nil {
			return nil, resp, err
		}
		for _, x := range r.Commits {
			if len(x.Parents) > 0 {
				parents[x.GetSHA()] = x.Parents[0].GetSHA()
			}
		}
		return r.Commits, resp, nil
	})
	if err != nil {
		return nil, failed(fmt.Sprintf("list the commits from %.12s to %.12s", before, after), needContents, err)
	}
	var out []string
	for at, ok := after, true; ok && at != before && len(out) < maxPushed; at, ok = parents[at], parents[at] != "" {
		out = append(out, at)
	}
	return out, nil
}

// maxFiles is how many files of a pull request GitHub lists ("List pull requests files" in its documentation).
const maxFiles = 3000

// Files lists what a pull request changes: paths in the repository, with the old ones of what it moves; sorted. It is nil where there are more than GitHub tells.
func (c *Client) Files(ctx context.Context, number int) ([]string, error) {
	all, err := pages(func(o *github.ListOptions) ([]*github.CommitFile, *github.Response, error) {
		return c.api.PullRequests.ListFiles(ctx, c.owner, c.name, number, o)
	})
	if err != nil {
		return nil, failed(fmt.Sprintf("list the files of the pull request #%d", number), needPulls, err)
	}
	if len(all) >= maxFiles {
		return nil, nil
	}
	out := []string{}
	for _, f := range all {
		out = append(out, f.GetFilename())
		if old := f.GetPreviousFilename(); old != "" {
			out = append(out, old)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// Proposal finds the open pull request of a commit that is the newest of a branch, which may be a fork's: owner is whom the branch belongs to. Where there is none,
// or it has a newer commit, the error wraps reconcile.ErrNotFound.
func (c *Client) Proposal(ctx context.Context, owner, branch, commit string) (int, error) {
	what := fmt.Sprintf("find the pull request of %s:%s", clean(owner, 100), clean(branch, 100))
	all, err := pages(func(o *github.ListOptions) ([]*github.PullRequest, *github.Response, error) {
		return c.api.PullRequests.List(ctx, c.owner, c.name, &github.PullRequestListOptions{State: "open", Head: owner + ":" + branch, ListOptions: *o})
	})
	if err != nil {
		return 0, failed(what, needPulls, err)
	}
	for _, p := range all {
		h := p.GetHead() // the API ignores a filter that it can't read
		if h.GetSHA() == commit && h.GetRef() == branch && strings.EqualFold(h.GetRepo().GetOwner().GetLogin(), owner) {
			return p.GetNumber(), nil
		}
	}
	return 0, fmt.Errorf("%s: no open one has the head %.12s: %w", what, clean(commit, 100), reconcile.ErrNotFound)
}
