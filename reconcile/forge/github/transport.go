package github

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds of how often and how long a request is tried ("Rate limits for the REST API" in GitHub's documentation; primary limits end within the hour).
const (
	maxFailures  = 3
	maxLimited   = 10
	maxWait      = 65 * time.Minute
	limitedPause = time.Minute // where a secondary limit doesn't say how long
	maxAnswer    = 16 << 20    // bytes
	maxRefusal   = 64 << 10    // bytes of a refusal that are looked at
)

// retrying waits out limits, and tries again what failed at the server. A limit holds back all requests. (go-github knows no 429, and fails at once
// while a limit lasts.)
type retrying struct {
	next  http.RoundTripper
	clock Clock

	mu    sync.Mutex
	until time.Time // when the limit ends
}

func (t *retrying) RoundTrip(req *http.Request) (*http.Response, error) {
	failures, limited := 0, 0
	for {
		if err := t.wait(req.Context()); err != nil {
			return nil, err
		}
		r, err := again(req, failures+limited)
		if err != nil {
			return nil, err
		}
		resp, err := t.next.RoundTrip(r)
		var pause time.Duration
		switch {
		case err != nil || resp.StatusCode >= 500:
			if failures++; failures > maxFailures || !repeatable(req) || req.Context().Err() != nil {
				return resp, err
			}
			pause = time.Second << (failures - 1)
		default:
			until, is := t.limit(resp)
			if limited++; !is || limited > maxLimited {
				forget(resp.Header)
				return resp, nil
			}
			t.hold(until)
		}
		if resp != nil {
			_ = resp.Body.Close()
		}
		if pause > 0 {
			if err := t.clock.Sleep(req.Context(), pause); err != nil {
				return nil, err
			}
		}
	}
}

// repeatable tells what does no harm when it is done twice: all but what makes something, and of that an app's token, which nobody will miss.
func repeatable(req *http.Request) bool {
	return req.Method != http.MethodPost || strings.HasSuffix(req.URL.Path, "/access_tokens")
}

// again is the request, to be sent once more.
func again(req *http.Request, tries int) (*http.Request, error) {
	if tries == 0 || req.Body == nil || req.Body == http.NoBody {
		return req, nil
	}
	if req.GetBody == nil {
		return nil, errors.New("the request can't be sent again")
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, fmt.Errorf("send the request again: %w", err)
	}
	r := req.Clone(req.Context())
	r.Body = body
	return r, nil
}

// wait sleeps until no limit is known, unless the context ends before.
func (t *retrying) wait(ctx context.Context) error {
	t.mu.Lock()
	until := t.until
	t.mu.Unlock()
	d := until.Sub(t.clock.Now())
	if d <= 0 {
		return nil
	}
	if d > maxWait {
		return fmt.Errorf("the API's rate limit lasts until %s, which is too long to wait", until.UTC().Format(time.RFC3339))
	}
	if end, ok := ctx.Deadline(); ok && time.Until(end) < d {
		return fmt.Errorf("the API's rate limit lasts until %s, longer than this run may take: %w", until.UTC().Format(time.RFC3339), context.DeadlineExceeded)
	}
	return t.clock.Sleep(ctx, d)
}

func (t *retrying) hold(until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if until.After(t.until) {
		t.until = until
	}
}

// limit tells whether an answer is a limit, and until when it lasts. Another 403 is a missing permission, and final.
func (t *retrying) limit(resp *http.Response) (time.Time, bool) {
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusForbidden {
		return time.Time{}, false
	}
	now := t.clock.Now()
	if after := resp.Header.Get("Retry-After"); after != "" {
		if s, err := strconv.ParseInt(after, 10, 32); err == nil && s >= 0 {
			return now.Add(time.Duration(s)*time.Second + time.Second), true
		}
		if at, err := http.ParseTime(after); err == nil {
			return at.Add(time.Second), true
		}
	}
	if resp.Header.Get("X-RateLimit-Remaining") == "0" {
		if s, err := strconv.ParseInt(resp.Header.Get("X-RateLimit-Reset"), 10, 64); err == nil {
			return time.Unix(s, 0).Add(time.Second), true
		}
	}
	if resp.StatusCode == http.StatusTooManyRequests || strings.Contains(peek(resp), "secondary rate limit") {
		return now.Add(limitedPause), true
	}
	return time.Time{}, false
}

// peek reads the beginning of an answer, and leaves it to be read again.
func peek(resp *http.Response) string {
	head, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), resp.Body), resp.Body}
	return strings.ToLower(string(head))
}

// forget takes away what go-github would refuse requests for: limits are waited out here.
func forget(h http.Header) {
	for _, name := range []string{"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "X-RateLimit-Used", "Retry-After"} {
		h.Del(name)
	}
}

// bounding bounds the length of answers.
type bounding struct{ next http.RoundTripper }

func (t bounding) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err == nil {
		resp.Body = &bounded{resp.Body, maxAnswer}
	}
	return resp, err
}

type bounded struct {
	io.ReadCloser
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("the API's answer is longer than %d bytes", int64(maxAnswer))
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	return n, err
}
