package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/google/go-github/v60/github"
)

// maxRedirects bounds redirects, which the API sends for repositories that were renamed.
const maxRedirects = 5

func sameOrigin(a, b *url.URL) bool { return a.Scheme == b.Scheme && strings.EqualFold(a.Host, b.Host) }

// stayOn refuses redirects that lead away from the API: the token is for it alone.
func stayOn(base *url.URL) func(*http.Request, []*http.Request) error {
	return func(req *http.Request, via []*http.Request) error {
		if len(via) >= maxRedirects {
			return fmt.Errorf("the API redirects more than %d times", maxRedirects)
		}
		if !sameOrigin(req.URL, base) {
			return fmt.Errorf("the API redirects to another host (%s), which is not followed", clean(req.URL.Host, 100))
		}
		return nil
	}
}

// sameHost lets nothing out that is for another host; what it wraps adds the credential to all that it is given.
type sameHost struct {
	base *url.URL
	next http.RoundTripper
}

func (t sameHost) RoundTrip(req *http.Request) (*http.Response, error) {
	if !sameOrigin(req.URL, t.base) {
		return nil, fmt.Errorf("a request to %s is refused: it is not the API", clean(req.URL.Host, 100))
	}
	return t.next.RoundTrip(req)
}

func (c *Client) authenticate(o Options, base *url.URL, next http.RoundTripper) (http.RoundTripper, error) {
	if o.App == nil {
		return bearer{o.Token, next}, nil
	}
	apps, err := ghinstallation.NewAppsTransport(next, o.App.ID, o.App.Key)
	if err != nil {
		return nil, errors.New("the app's private key (ASSAY_GITHUB_APP_KEY) is no RSA key in PEM") // the parser's error may quote it
	}
	apps.BaseURL = strings.TrimSuffix(base.String(), "/")
	c.app = github.NewClient(&http.Client{Transport: sameHost{base, apps}, CheckRedirect: stayOn(base)})
	c.app.BaseURL = base
	return &installation{app: apps, id: o.App.Installation, client: c}, nil
}

// bearer adds a token, if there is one.
type bearer struct {
	token string
	next  http.RoundTripper
}

func (t bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.token != "" {
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", "Bearer "+t.token)
	}
	return t.next.RoundTrip(req)
}

// installation adds the tokens of an app's installation, which it looks up once.
type installation struct {
	app    *ghinstallation.AppsTransport
	client *Client

	mu   sync.Mutex
	id   int64
	next *ghinstallation.Transport
}

func (t *installation) RoundTrip(req *http.Request) (*http.Response, error) {
	next, err := t.transport(req.Context())
	if err != nil {
		return nil, err
	}
	return next.RoundTrip(req)
}

func (t *installation) transport(ctx context.Context) (*ghinstallation.Transport, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.next != nil {
		return t.next, nil
	}
	if t.id == 0 {
		in, _, err := t.client.app.Apps.FindRepositoryInstallation(ctx, t.client.owner, t.client.name)
		if err != nil {
			return nil, failed("find the app's installation in "+t.client.Repository(), "the app to be installed there", err)
		}
		t.id = in.GetID()
	}
	t.next = ghinstallation.NewFromAppsTransport(t.app, t.id)
	return t.next, nil
}
