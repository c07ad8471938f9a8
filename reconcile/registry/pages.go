package registry

import (
	"context"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// pages reads a list that comes in pages, to its end (OCI distribution specification v1.1, "Listing Tags": a Link header with
// rel="next" leads on). Each page is handed to take, which returns how many entries it had. A list that has no end, turns in a circle
// or leads to another host is an error.
func (c *client) pages(ctx context.Context, r request, take func(*answer) (int, error)) error {
	visited := map[string]bool{}
	entries := 0
	for page := 1; ; page++ {
		a, err := c.fetch(ctx, r, maxPage)
		if err != nil {
			return err
		}
		n, err := take(a)
		if err != nil {
			return err
		}
		if entries += n; entries > c.entries || page > maxPages {
			return refuse("the list of %s has no end: %d entries on %d pages so far", r.host, entries, page)
		}
		next := nextPage(a.header)
		if next == "" {
			return nil
		}
		u, err := a.url.Parse(next)
		if err != nil || !sameHost(u, a.url) {
			return refuse("the list of %s goes on somewhere else, which is not followed", r.host)
		}
		if visited[u.String()] || u.String() == a.url.String() {
			return refuse("the list of %s turns in a circle", r.host)
		}
		visited[u.String()] = true
		r.at = u
	}
}

// nextPage returns the target of the Link header with rel="next" (RFC 8288); empty if there is none.
func nextPage(h http.Header) string {
	for _, value := range h.Values("Link") {
		for {
			_, rest, ok := strings.Cut(value, "<")
			if !ok {
				break
			}
			target, params, ok := strings.Cut(rest, ">")
			if !ok {
				break
			}
			value = params // further links stand after these parameters
			params, _, _ = strings.Cut(params, "<")
			params = strings.ReplaceAll(strings.ToLower(params), " ", "")
			if strings.Contains(params, `rel="next"`) || strings.Contains(params+";", "rel=next;") || strings.Contains(params, "rel=next,") {
				return target
			}
		}
	}
	return ""
}

// decodeList reads a page of JSON. Registries behind a proxy may send anything with status 200, so the type is looked at.
func decodeList(a *answer, into any) error {
	kind, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err == nil && kind != "application/json" && !strings.HasSuffix(kind, "+json") && kind != "text/plain" {
		return refuse("it sent %s instead of a list", printable(kind, 60))
	}
	if err := json.Unmarshal(a.body, into); err != nil {
		return refuse("it sent something that isn't a list: %v", err)
	}
	return nil
}

// pageSize asks for pages as large as most registries give.
func pageSize() url.Values { return url.Values{"n": {"1000"}} }
