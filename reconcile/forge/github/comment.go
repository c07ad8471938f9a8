package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-github/v60/github"

	"github.com/assay-oci/assay/reconcile"
)

// MaxComment is how many characters a comment may have. GitHub takes 65,536; the rest is room for what it counts differently.
const MaxComment = 60_000

// marker is how our comment about the catalog in a folder of the repository is found again. It is invisible, and others can write it too: the author counts as
// well. A repository may hold several catalogs, each with a comment of its own.
func marker(folder string) string { return mark("report", folder) }

func mark(what, folder string) string {
	if folder = strings.Trim(folder, "/"); folder != "" {
		what += " " + url.PathEscape(folder)
	}
	return "<!-- assay:" + what + " -->"
}

// needComment is what writing on a pull request takes.
const needComment = "issues=write or pull_requests=write, which the token of a workflow that a fork triggered never has"

// workflowBot is who GITHUB_TOKEN is. The API doesn't tell.
const workflowBot = "github-actions[bot]"

// Comment keeps one comment of ours on a pull request up to date, about the catalog in a folder of the repository, and returns its URL. It is given by render,
// which gets what the comment says now, "" if there is none; where it gives "", nothing is written. One that says the same already is not written, and one that
// somebody deletes meanwhile is made anew. Run again after a crash it finds what it wrote. Concurrent calls for one pull request may write two comments, of which
// the older is kept up to date from then on.
func (c *Client) Comment(ctx context.Context, number int, folder string, render func(before string) (string, error)) (string, error) {
	url, err := c.comment(ctx, number, folder, render)
	if errors.Is(err, errDeleted) {
		url, err = c.comment(ctx, number, folder, render)
	}
	return url, err
}

// errDeleted is that of a comment which was there a moment ago.
var errDeleted = errors.New("the comment is gone")

func (c *Client) comment(ctx context.Context, number int, folder string, render func(before string) (string, error)) (string, error) {
	ours, err := c.ourComment(ctx, number, folder)
	if err != nil {
		return "", err
	}
	body, err := render(strings.TrimSpace(strings.TrimPrefix(ours.GetBody(), marker(folder))))
	if err != nil || body == "" {
		return ours.GetHTMLURL(), err
	}
	if n := len([]rune(body)); n > MaxComment {
		return "", fmt.Errorf("comment on #%d: it has %d characters, more than %d; shorten it", number, n, MaxComment)
	}
	body = marker(folder) + "\n" + body
	what := fmt.Sprintf("comment on #%d", number)
	if ours == nil {
		made, _, err := c.api.Issues.CreateComment(ctx, c.owner, c.name, number, &github.IssueComment{Body: &body})
		if err != nil {
			return "", failed(what, needComment, err)
		}
		return made.GetHTMLURL(), nil
	}
	if same(ours.GetBody(), body) {
		return ours.GetHTMLURL(), nil
	}
	edited, _, err := c.api.Issues.EditComment(ctx, c.owner, c.name, ours.GetID(), &github.IssueComment{Body: &body})
	if err != nil {
		if err = failed(what, needComment, err); errors.Is(err, reconcile.ErrNotFound) {
			err = fmt.Errorf("%w: %w", errDeleted, err)
		}
		return "", err
	}
	return edited.GetHTMLURL(), nil
}

// ourComment finds it; nil where there is none.
func (c *Client) ourComment(ctx context.Context, number int, folder string) (*github.IssueComment, error) {
	self, err := c.login(ctx)
	if err != nil {
		return nil, err
	}
	all, err := pages(func(o *github.ListOptions) ([]*github.IssueComment, *github.Response, error) {
		return c.api.Issues.ListComments(ctx, c.owner, c.name, number, &github.IssueListCommentsOptions{ListOptions: *o})
	})
	if err != nil {
		return nil, failed(fmt.Sprintf("list the comments on #%d", number), needComment, err)
	}
	for _, x := range all {
		if strings.EqualFold(x.GetUser().GetLogin(), self) && strings.HasPrefix(x.GetBody(), marker(folder)) {
			return x, nil
		}
	}
	return nil, nil
}

// same compares texts as GitHub keeps them: without what stands around them, and maybe with other ends of lines.
func same(a, b string) bool {
	plain := func(s string) string { return strings.TrimSpace(strings.ReplaceAll(s, "\r\n", "\n")) }
	return plain(a) == plain(b)
}

// login is who the client is: an app's bot, the person of a token, or else the bot of workflows, whose token may not ask.
func (c *Client) login(ctx context.Context) (string, error) {
	return c.self.get(struct{}{}, func() (string, error) { return c.askLogin(ctx) })
}

func (c *Client) askLogin(ctx context.Context) (string, error) {
	if c.app != nil {
		a, _, err := c.app.Apps.Get(ctx, "")
		if err != nil {
			return "", failed("read the app's name", "the app's own key", err)
		}
		return a.GetSlug() + "[bot]", nil
	}
	u, _, err := c.api.Users.Get(ctx, "")
	var refused *github.ErrorResponse
	if errors.As(err, &refused) && refused.Response != nil && refused.Response.StatusCode == http.StatusForbidden {
		return workflowBot, nil
	}
	if err != nil {
		return "", failed("read whose token it is", "to be that of a person or of a workflow", err)
	}
	return u.GetLogin(), nil
}
