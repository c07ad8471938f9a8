package github

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"

	"github.com/google/go-github/v60/github"

	"github.com/assay-oci/assay/reconcile"
)

// A PermissionError says what the token may not do. Trying again doesn't help.
type PermissionError struct {
	What string // what was tried
	Need string // the permission that is missing
}

func (e *PermissionError) Error() string {
	return fmt.Sprintf("%s: the token lacks a permission: it needs %s", e.What, e.Need)
}

// A ClosedError says that nobody may write there any more: a conversation is locked, or a repository archived. Trying again doesn't help.
type ClosedError struct {
	What string // what was tried
	Why  string // in GitHub's words
}

func (e *ClosedError) Error() string {
	return fmt.Sprintf("%s: nobody may write there: %s", e.What, e.Why)
}

// closed tells GitHub's refusal to write at all from that of a permission.
func closed(refused *github.ErrorResponse) bool {
	said := strings.ToLower(refused.Message)
	return refused.Response.StatusCode == http.StatusGone ||
		refused.Response.StatusCode == http.StatusForbidden && (strings.Contains(said, "locked") || strings.Contains(said, "archived"))
}

// failed wraps an error of the API: on one line, with the permission that is missing where one is. A 404 wraps reconcile.ErrNotFound; it is also what
// somebody gets who may not know whether the thing is there.
func failed(what, need string, err error) error {
	var refused *github.ErrorResponse
	if !errors.As(err, &refused) || refused.Response == nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if closed(refused) {
		return &ClosedError{What: what, Why: clean(refused.Message, 200)}
	}
	h := refused.Response.Header
	switch refused.Response.StatusCode {
	case http.StatusUnauthorized:
		return &PermissionError{What: what, Need: "to be a valid token at all (ASSAY_GITHUB_TOKEN or GITHUB_TOKEN)"}
	case http.StatusForbidden:
		if h.Get("X-GitHub-SSO") != "" {
			return &PermissionError{What: what, Need: "to be authorized for the organization's single sign-on"}
		}
		for _, name := range []string{"X-Accepted-GitHub-Permissions", "X-Accepted-OAuth-Scopes"} {
			if v := clean(h.Get(name), 200); v != "" {
				need = v
				break
			}
		}
		return &PermissionError{What: what, Need: need}
	case http.StatusNotFound:
		return fmt.Errorf("%s: %w, or the token may not see it: it needs %s", what, reconcile.ErrNotFound, need)
	}
	return fmt.Errorf("%s: the API answers %d: %s", what, refused.Response.StatusCode, clean(refused.Message, 200))
}

// denied tells a missing permission, which another run won't have either.
func denied(err error) bool {
	var p *PermissionError
	return errors.As(err, &p)
}

// clean makes others' text fit for one line of a message.
func clean(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return strings.TrimSpace(s)
}
