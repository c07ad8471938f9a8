package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/assay-oci/assay/reconcile"
)

// client sends requests. All hosts share one connection pool; each host has its own limit and its own credentials.
type client struct {
	options   Options
	http      *http.Client
	mu        sync.Mutex
	hosts     map[string]*host
	userAgent string
	entries   int // the most that a list may have
}

// A host is one registry as the client knows it.
type host struct {
	name    string // as in reconcile.Repo
	base    url.URL
	limiter *limiter
	auth    *auth
}

func newClient(o Options) *client {
	if o.Keychain == nil {
		o.Keychain = authn.DefaultKeychain
	}
	if o.Patience <= 0 {
		o.Patience = 7
	}
	if o.UserAgent == "" {
		o.UserAgent = "assay"
	}
	c := &client{options: o, hosts: map[string]*host{}, userAgent: o.UserAgent, entries: maxEntries}
	c.http = &http.Client{Transport: newTransport(o), CheckRedirect: c.checkRedirect}
	return c
}

// host returns what is known of a registry.
func (c *client) host(host_ string) (*host, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.hosts[host_]; h != nil {
		return h, nil
	}
	registry, err := name.NewRegistry(host_) // knows where docker.io really is
	if err != nil {
		return nil, err
	}
	h := &host{name: host_, base: url.URL{Scheme: "https", Host: registry.RegistryStr()}, limiter: newLimiter()}
	if c.options.plain(host_) {
		h.base.Scheme = "http"
		registry, _ = name.NewRegistry(host_, name.Insecure)
	}
	h.auth = &auth{host: registry, plain: h.base.Scheme == "http", keychain: c.options.Keychain, transport: c.http.Transport,
		mayPlain: c.options.plain}
	c.hosts[host_] = h
	return h, nil
}

// A request is one to a registry.
type request struct {
	method  string
	host    string // as in reconcile.Repo
	repo    string // path of the repository; empty for the catalog
	path    string // after /v2/
	query   url.Values
	at      *url.URL // instead of path and query: an address that the registry gave
	header  http.Header
	body    []byte
	scopes  []string
	answers []int // statuses that are answers; others are errors

	stream io.Reader // instead of body: can be sent only once
	length int64     // of stream
	urgent bool      // on behalf of a request that is under way: it doesn't wait for a place
}

func to(method string, repo reconcile.Repo, below string, actions string, answers ...int) request {
	return request{method: method, host: repo.Host(), repo: repo.Path(), path: repo.Path() + "/" + below, header: http.Header{},
		scopes: []string{scope(repo, actions)}, answers: answers}
}

// An answer is a response whose body was read.
type answer struct {
	status int
	header http.Header
	body   []byte
	url    *url.URL // of the request that was answered
}

// fetch sends a request, repeats it while that may help, and reads the answer, of which the body must not be longer than most.
func (c *client) fetch(ctx context.Context, r request, most int64) (*answer, error) {
	var a *answer
	err := c.patiently(ctx, r, func(ctx context.Context, h *host) error {
		ctx, cancel := context.WithTimeoutCause(ctx, smallDeadline, errTooSlow)
		defer cancel()
		resp, err := c.exchange(ctx, h, r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.ContentLength > most && r.method != http.MethodHead {
			return refuse("%s announces %d bytes where at most %d are expected", h.name, resp.ContentLength, most)
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
		if err != nil {
			return withoutURL(err)
		}
		if int64(len(body)) > most {
			return refuse("%s sent more than the %d bytes that are expected at most", h.name, most)
		}
		a = &answer{resp.StatusCode, resp.Header, body, resp.Request.URL}
		return nil
	})
	return a, err
}

// open sends a request like fetch, and returns the response with its body unread.
func (c *client) open(ctx context.Context, r request) (*http.Response, error) {
	var resp *http.Response
	err := c.patiently(ctx, r, func(ctx context.Context, h *host) (err error) {
		resp, err = c.exchange(ctx, h, r) //nolint:bodyclose // the caller closes it
		return err
	})
	return resp, err
}

var errTooSlow = errors.New("no answer in time")

// patiently calls attempt until it succeeds, fails for good, or was tried often enough.
func (c *client) patiently(ctx context.Context, r request, attempt func(context.Context, *host) error) error {
	h, err := c.host(r.host)
	if err != nil {
		return err
	}
	for failed := 1; ; failed++ {
		rest, err := c.try(ctx, h, r.urgent, attempt)
		if err == nil {
			return nil
		}
		again, most := worthwhile(ctx, err, rest, c.options.Patience)
		if !again || failed >= most {
			return c.explain(ctx, h, err)
		}
		if sleep(ctx, max(rest, backoff(failed))) != nil {
			return c.explain(ctx, h, err)
		}
	}
}

// try makes one attempt within the host's limit, and teaches the limit from how it went. It returns how long the host asked to rest.
func (c *client) try(ctx context.Context, h *host, urgent bool, attempt func(context.Context, *host) error) (rest time.Duration, err error) {
	if urgent {
		return 0, attempt(ctx, h)
	}
	leave, err := h.auth.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	if err := h.limiter.acquire(ctx); err != nil {
		return 0, err
	}
	started := time.Now()
	err = attempt(ctx, h)
	var status *statusError
	var wait *waitError
	switch {
	case err == nil:
		h.auth.welcomed()
		h.limiter.answered(time.Since(started))
	case errors.As(err, &wait):
		rest = wait.rest
		h.limiter.troubled(started, 0.5, min(rest, longestRest))
	case errors.As(err, &status):
		if full(status.status) {
			h.limiter.troubled(started, 0.5, 0)
		} else {
			h.limiter.done()
		}
		if status.status != http.StatusUnauthorized && !passing(status.status) {
			h.auth.welcomed() // also "not found" is an answer to someone unknown
		}
	case mayPass(ctx, err):
		h.limiter.troubled(started, 0.7, 0)
	default:
		h.limiter.done()
	}
	return rest, err
}

// worthwhile tells whether an attempt should be repeated, and how many attempts make sense.
func worthwhile(ctx context.Context, err error, rest time.Duration, patience int) (bool, int) {
	if ctx.Err() != nil || rest > longestRest {
		return false, 0
	}
	if status, ok := statusOf(err); ok {
		if full(status.status) {
			return true, patience + 5 // it works, only not so fast
		}
		return passing(status.status), patience
	}
	return mayPass(ctx, err), patience
}

// explain makes an error that says who failed.
func (c *client) explain(ctx context.Context, h *host, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if _, ok := statusOf(err); ok {
		return err
	}
	var r *refusal
	if errors.As(err, &r) {
		return err
	}
	var local *localError
	if errors.As(err, &local) {
		err = local // without what dialled
	}
	return fmt.Errorf("ask %s: %w", h.name, err)
}

// A waitError is a statusError by which the host says when to come back.
type waitError struct {
	*statusError
	rest time.Duration
}

func (e *waitError) Unwrap() error { return e.statusError }

func (e *waitError) Error() string {
	return e.statusError.Error() + fmt.Sprintf(" (it asks to wait %s)", e.rest.Round(time.Second))
}

// exchange sends a request once, or twice if the host asks for credentials. A status that isn't an answer is an error.
func (c *client) exchange(ctx context.Context, h *host, r request) (*http.Response, error) {
	for second := false; ; second = true {
		sent, err := h.auth.header(ctx, r.repo, r.scopes)
		if err != nil {
			return nil, err
		}
		resp, err := c.send(ctx, h, r, sent)
		if err != nil {
			return nil, err
		}
		if slices.Contains(r.answers, resp.StatusCode) {
			return resp, nil
		}
		who := h.name
		if !sameHost(resp.Request.URL, &h.base) {
			if other, answered := c.elsewhere(ctx, r, resp); answered {
				return other, nil
			}
			who = resp.Request.URL.Host
		} else if resp.StatusCode == http.StatusUnauthorized && h.auth.refused(resp, sent, r.scopes) && !second && r.stream == nil {
			drain(resp)
			continue
		}
		status := newStatusError(who, resp)
		drain(resp)
		if rest := retryAfter(resp.Header, time.Now()); rest > 0 && passing(resp.StatusCode) {
			return nil, &waitError{status, rest}
		}
		return nil, status
	}
}

func (c *client) send(ctx context.Context, h *host, r request, authorization string) (*http.Response, error) {
	address := r.at
	if address == nil {
		u := h.base
		u.Path, u.RawQuery = "/v2/"+r.path, r.query.Encode()
		address = &u
	}
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(r.body)
	} else if r.stream != nil {
		body = r.stream
	}
	req, err := http.NewRequestWithContext(ctx, r.method, address.String(), body)
	if err != nil {
		return nil, withoutURL(err)
	}
	for k, v := range r.header {
		req.Header[k] = v
	}
	if r.stream != nil {
		req.ContentLength = r.length
	}
	req.Header.Set("User-Agent", c.userAgent)
	if authorization != "" && sameHost(address, &h.base) {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, withoutURL(err)
	}
	return resp, nil
}

// drain reads the rest of a small body, so that its connection can be used again.
func drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	_ = resp.Body.Close()
}

func sameHost(a, b *url.URL) bool { return a.Scheme == b.Scheme && a.Host == b.Host }
