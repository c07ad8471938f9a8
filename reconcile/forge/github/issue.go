package github

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/go-github/v60/github"
)

// driftMarker is how our issue about the catalog in a folder is found again, together with its author.
func driftMarker(folder string) string { return mark("drift", folder) }

const needIssues = "issues=write"

// Issue keeps one issue of ours up to date, about the catalog in a folder of the repository: it is opened when there is something to say, and again if it was closed; without, it is closed with the body as its
// last word. One that says the same already is not written, and one that nobody needs is not made. It returns the issue's URL, "" if there is none.
//
// Run again after a crash it finds what it wrote. Where two runs at once made two, the older one stays and the others are closed.
func (c *Client) Issue(ctx context.Context, folder, title, body string, open bool) (string, error) {
	body = driftMarker(folder) + "\n" + body
	if n := len([]rune(body)); n > MaxComment+len(driftMarker(folder))+1 {
		return "", fmt.Errorf("the issue has %d characters, more than %d; shorten it", n, MaxComment)
	}
	mine, err := c.issues(ctx, folder)
	if err != nil {
		return "", err
	}
	state, reason := "open", "reopened"
	if !open {
		state, reason = "closed", "completed"
	}
	if len(mine) == 0 {
		if !open {
			return "", nil
		}
		made, _, err := c.api.Issues.Create(ctx, c.owner, c.name, &github.IssueRequest{Title: &title, Body: &body})
		if err != nil {
			return "", failed("open an issue", needIssues, err)
		}
		return made.GetHTMLURL(), nil
	}
	for _, x := range mine[1:] {
		if x.GetState() == "open" {
			closed, duplicate := "closed", "not_planned"
			if _, _, err := c.api.Issues.Edit(ctx, c.owner, c.name, x.GetNumber(), &github.IssueRequest{State: &closed, StateReason: &duplicate}); err != nil {
				return "", failed(fmt.Sprintf("close the issue #%d", x.GetNumber()), needIssues, err)
			}
		}
	}
	x := mine[0]
	if x.GetState() == state && x.GetTitle() == title && same(x.GetBody(), body) {
		return x.GetHTMLURL(), nil
	}
	change := &github.IssueRequest{Title: &title, Body: &body}
	if x.GetState() != state {
		change.State, change.StateReason = &state, &reason
	}
	edited, _, err := c.api.Issues.Edit(ctx, c.owner, c.name, x.GetNumber(), change)
	if err != nil {
		return "", failed(fmt.Sprintf("write the issue #%d", x.GetNumber()), needIssues, err)
	}
	return edited.GetHTMLURL(), nil
}

// issues are ours, the oldest first.
func (c *Client) issues(ctx context.Context, folder string) ([]*github.Issue, error) {
	self, err := c.login(ctx)
	if err != nil {
		return nil, err
	}
	all, err := pages(func(o *github.ListOptions) ([]*github.Issue, *github.Response, error) {
		return c.api.Issues.ListByRepo(ctx, c.owner, c.name, &github.IssueListByRepoOptions{State: "all", Creator: self, Sort: "created", Direction: "asc", ListOptions: *o})
	})
	if err != nil {
		return nil, failed("list the issues", needIssues, err)
	}
	var mine []*github.Issue
	for _, x := range all {
		if !x.IsPullRequest() && strings.EqualFold(x.GetUser().GetLogin(), self) && strings.HasPrefix(x.GetBody(), driftMarker(folder)) {
			mine = append(mine, x)
		}
	}
	return mine, nil
}
