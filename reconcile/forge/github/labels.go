package github

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/go-github/v60/github"
)

// Label sets which labels of a family, which share a prefix, a pull request has. Others stay. Those that the repository doesn't have yet are made by GitHub.
func (c *Client) Label(ctx context.Context, number int, prefix string, want []string) error {
	what := fmt.Sprintf("label #%d", number)
	all, err := pages(func(o *github.ListOptions) ([]*github.Label, *github.Response, error) {
		return c.api.Issues.ListLabelsByIssue(ctx, c.owner, c.name, number, o)
	})
	if err != nil {
		return failed(what, needComment, err)
	}
	missing := slices.Clone(want)
	for _, l := range all {
		name := l.GetName()
		has := func(s string) bool { return strings.EqualFold(s, name) }
		switch {
		case slices.ContainsFunc(missing, has):
			missing = slices.DeleteFunc(missing, has)
		case strings.HasPrefix(strings.ToLower(name), strings.ToLower(prefix)):
			if _, err := c.api.Issues.RemoveLabelForIssue(ctx, c.owner, c.name, number, url.PathEscape(name)); err != nil {
				return failed(what, needComment, err)
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	// go-github sends a bare list, which the API takes, and which its description doesn't have
	req, err := c.api.NewRequest(http.MethodPost, fmt.Sprintf("repos/%s/%s/issues/%d/labels", c.owner, c.name, number), map[string][]string{"labels": missing})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if _, err := c.api.Do(ctx, req, nil); err != nil {
		return failed(what, needComment, err)
	}
	return nil
}
