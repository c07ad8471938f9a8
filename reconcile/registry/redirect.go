package registry

import (
	"context"
	"net/http"
	"net/url"
	"slices"
)

// checkRedirect follows registries that keep their blobs elsewhere, and keeps credentials from going there.
func (c *client) checkRedirect(req *http.Request, via []*http.Request) error {
	from := via[0].URL
	if len(via) > 5 {
		return refuse("%s redirects again and again", from.Host)
	}
	if sameHost(req.URL, from) {
		return nil
	}
	req.Header.Del("Authorization")
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		return refuse("%s redirects a write to another host, which is not followed", from.Host)
	}
	return c.mayVisit(from, req.URL)
}

// mayVisit refuses addresses that a registry has no business to send us to.
func (c *client) mayVisit(from, to *url.URL) error {
	switch {
	case to.Scheme != "https" && !(to.Scheme == "http" && c.options.plain(to.Host)):
		return refuse("%s refers to %q, which is not https", from.Host, printable(to.Host, 80))
	case to.User != nil:
		return refuse("%s refers to an address with a password in it", from.Host)
	case !isLoopback(from.Host) && isLocalOnly(to.Host):
		return refuse("%s refers to %q, an address of this machine", from.Host, printable(to.Host, 80))
	}
	return nil
}

// elsewhere answers a refusal by a host that the registry has redirected a read to. What that host asks for is between it and us: it learns
// nothing of the registry's own credentials, and the registry's way of asking for them stays as it is.
func (c *client) elsewhere(ctx context.Context, r request, refusal *http.Response) (*http.Response, bool) {
	asked, ok := pickChallenge(refusal.Header)
	at := refusal.Request.URL
	other, err := c.host(at.Host)
	if refusal.StatusCode != http.StatusUnauthorized || !ok || err != nil || !sameHost(at, &other.base) || len(asked.params["scope"]) > 512 {
		return nil, false
	}
	if r.method != http.MethodGet && r.method != http.MethodHead {
		return nil, false
	}
	r.at, r.repo, r.scopes = at, "", []string{asked.params["scope"]}
	if !other.auth.refused(refusal, "", r.scopes) {
		return nil, false
	}
	header, err := other.auth.header(ctx, "", r.scopes)
	if err != nil {
		return nil, false
	}
	resp, err := c.send(ctx, other, r, header)
	if err != nil {
		return nil, false
	}
	if !slices.Contains(r.answers, resp.StatusCode) {
		drain(resp)
		return nil, false
	}
	drain(refusal)
	return resp, true
}
