package github

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/assay-oci/assay/reconcile"
)

// Permissions, as GitHub's documentation names those of a GITHUB_TOKEN and of apps.
const (
	needPulls    = "pull_requests=read"
	needContents = "contents=read"
	needMetadata = "metadata=read"
	needMembers  = "members=read of the organization, which the token of a GitHub App can have and GITHUB_TOKEN can't"
)

// Bounds of what one pull request costs.
const (
	maxPages   = 100 // of 100 each
	maxCommits = 250 // of a pull request that was rebased; GitHub lists no more either
	maxFile    = 4 << 20
)

var validCommit = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// pages reads a list to its end.
func pages[T any](list func(*github.ListOptions) ([]T, *github.Response, error)) ([]T, error) {
	var all []T
	o := github.ListOptions{PerPage: 100}
	for range maxPages {
		some, resp, err := list(&o)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
		if resp.NextPage == 0 {
			return all, nil
		}
		o.Page = resp.NextPage
	}
	return nil, fmt.Errorf("the list has more than %d pages", maxPages)
}

// defaultBranch is the catalog's branch where the run names none.
func (g *Gate) defaultBranch(ctx context.Context) (string, error) {
	if g.o.Branch != "" {
		return g.o.Branch, nil
	}
	r, _, err := g.api.Repositories.Get(ctx, g.owner, g.name)
	if err != nil {
		return "", failed("read the repository "+g.Repository(), needMetadata, err)
	}
	if r.GetDefaultBranch() == "" {
		return "", fmt.Errorf("the repository %s tells no default branch", g.Repository())
	}
	return r.GetDefaultBranch(), nil
}

// pullsOf lists the pull requests that a commit belongs to.
func (c *Client) pullsOf(ctx context.Context, commit string) ([]*github.PullRequest, error) {
	all, err := pages(func(o *github.ListOptions) ([]*github.PullRequest, *github.Response, error) {
		return c.api.PullRequests.ListPullRequestsWithCommit(ctx, c.owner, c.name, commit, o)
	})
	if err != nil {
		return nil, failed(fmt.Sprintf("list the pull requests of the commit %.12s", commit), needPulls, err)
	}
	return all, nil
}

// pauses are how long to wait for the pull request of a commit: just after a merge GitHub may not know it yet. For a commit that is older than
// justMerged nobody waits.
var pauses = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}

const justMerged = 15 * time.Minute

// mergedInto tells whether a pull request was merged into the catalog's own branch.
func (c *Client) mergedInto(p *github.PullRequest, branch string) bool {
	return p.MergedAt != nil && p.GetBase().GetRef() == branch && strings.EqualFold(p.GetBase().GetRepo().GetFullName(), c.Repository())
}

// awaitPulls lists them until a merged one is among them, or for some seconds if the commit is new, or of unknown age.
func (c *Client) awaitPulls(ctx context.Context, commit string, when time.Time, branch string) ([]*github.PullRequest, error) {
	waits := when.IsZero() || c.clock.Now().Sub(when) < justMerged
	for i := 0; ; i++ {
		all, err := c.pullsOf(ctx, commit)
		if err != nil || !waits || i == len(pauses) || slices.ContainsFunc(all, func(p *github.PullRequest) bool { return c.mergedInto(p, branch) }) {
			return all, err
		}
		if err := c.clock.Sleep(ctx, pauses[i]); err != nil {
			return nil, err
		}
	}
}

// A request is a merged pull request.
type request struct {
	url, author string
	head        string // the commit that was reviewed last
	merge       string // the one that merged it
	base        string // what the branch was right before; empty if the branch began with it
	fork        string // what head and base have in common
}

func (g *Gate) request(ctx context.Context, number int) (request, error) {
	p, _, err := g.api.PullRequests.Get(ctx, g.owner, g.name, number)
	if err != nil {
		return request{}, failed(fmt.Sprintf("read the pull request #%d", number), needPulls, err)
	}
	r := request{url: p.GetHTMLURL(), author: p.GetUser().GetLogin(), head: p.GetHead().GetSHA(), merge: p.GetMergeCommitSHA()}
	if !validCommit.MatchString(r.head) || !validCommit.MatchString(r.merge) {
		return request{}, fmt.Errorf("read the pull request #%d: the API names no commits of it", number)
	}
	if r.base, err = g.before(ctx, number, r.merge); err != nil || r.base == "" {
		return r, err
	}
	// one commit a page: only where they part is of interest
	c, _, err := g.api.Repositories.CompareCommits(ctx, g.owner, g.name, r.base, r.head, &github.ListOptions{PerPage: 1})
	if err != nil {
		return request{}, failed(fmt.Sprintf("compare the pull request #%d with its branch", number), needContents, err)
	}
	if r.fork = c.GetMergeBaseCommit().GetSHA(); !validCommit.MatchString(r.fork) {
		return request{}, fmt.Errorf("compare the pull request #%d with its branch: the API names no commit that they share", number)
	}
	return r, nil
}

// before finds the commit that the branch was at right before a pull request was merged. A merge commit names it; a squashed one follows it; the commits
// of a rebase follow it one after the other.
func (g *Gate) before(ctx context.Context, number int, merge string) (string, error) {
	for at, steps := merge, 0; steps < maxCommits; steps++ {
		c, _, err := g.api.Git.GetCommit(ctx, g.owner, g.name, at)
		if err != nil {
			return "", failed(fmt.Sprintf("read the commit %.12s", at), needContents, err)
		}
		if len(c.Parents) == 0 {
			return "", nil
		}
		at = c.Parents[0].GetSHA()
		if !validCommit.MatchString(at) {
			return "", fmt.Errorf("read the commit %.12s: the API names no parent of it", merge)
		}
		if len(c.Parents) > 1 {
			return at, nil
		}
		of, err := g.pulls.get(at, func() ([]*github.PullRequest, error) { return g.pullsOf(ctx, at) })
		if err != nil {
			return "", err
		}
		if !slices.ContainsFunc(of, func(p *github.PullRequest) bool { return p.GetNumber() == number }) {
			return at, nil
		}
	}
	return "", fmt.Errorf("the pull request #%d was merged as more than %d commits; squash it", number, maxCommits)
}

type fileAt struct{ name, commit string }

// A file is one of the repository.
type file struct {
	there   bool
	content []byte
}

// file reads a file at a commit. One that isn't there is no error.
func (g *Gate) file(ctx context.Context, name, commit string) (file, error) {
	return g.files.get(fileAt{name, commit}, func() (file, error) {
		what := fmt.Sprintf("read %s at %.12s", clean(name, 200), commit)
		var escaped []string
		for part := range strings.SplitSeq(name, "/") {
			escaped = append(escaped, url.PathEscape(part))
		}
		req, err := g.api.NewRequest(http.MethodGet, fmt.Sprintf("repos/%s/%s/contents/%s?ref=%s", g.owner, g.name, strings.Join(escaped, "/"), url.QueryEscape(commit)), nil)
		if err != nil {
			return file{}, fmt.Errorf("%s: %w", what, err)
		}
		req.Header.Set("Accept", "application/vnd.github.raw+json")
		var content limitedBuffer
		if _, err := g.api.Do(ctx, req, &content); err != nil {
			if err = failed(what, needContents, err); errors.Is(err, reconcile.ErrNotFound) {
				return file{}, nil
			}
			return file{}, err
		}
		return file{there: true, content: content.Bytes()}, nil
	})
}

// limitedBuffer takes no more than a catalog's file may have.
type limitedBuffer struct{ buf bytes.Buffer }

func (b *limitedBuffer) Bytes() []byte { return b.buf.Bytes() }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.buf.Len()+len(p) > maxFile {
		return 0, fmt.Errorf("the file is longer than %d bytes", maxFile)
	}
	return b.buf.Write(p)
}
