package github

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/forge/forgetest"
)

// still is a clock that jumps instead of waiting.
type still struct {
	mu    sync.Mutex
	now   time.Time
	slept time.Duration
}

func (c *still) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *still) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now, c.slept = c.now.Add(d), c.slept+d
	return ctx.Err()
}

type history func(context.Context, reconcile.Entry) (string, bool, bool, error)

func (h history) Introduced(ctx context.Context, e reconcile.Entry) (Introduction, error) {
	commit, open, baseline, err := h(ctx, e)
	return Introduction{Commit: commit, Open: open, Baseline: baseline}, err
}

func open(t *testing.T, s *forgetest.Server, o forgetest.Setup) reconcile.Reviewer {
	c, err := New(Options{API: s.URL, Repository: "acme/catalog", Token: o.Token, Clock: &still{now: time.Now()}})
	if err != nil {
		t.Fatal(err)
	}
	return NewGate(c, GateOptions{Mode: o.Mode, History: history(o.Introduced), Declares: o.Declares})
}

func TestStories(t *testing.T) { forgetest.Run(t, open) }

var errLost = errors.New("lost")

func TestWithoutHistoryThereIsNoReview(t *testing.T) {
	s := forgetest.New(t, "acme/catalog")
	r := open(t, s, forgetest.Setup{Mode: reconcile.GateReviews, Introduced: func(context.Context, reconcile.Entry) (string, bool, bool, error) { return "", false, false, errLost }})
	if got, err := r.Review(t.Context(), reconcile.Entry{Image: "nginx", Version: "1"}); !errors.Is(err, errLost) || got.State != "" {
		t.Errorf("review %+v, error %v", got, err)
	}
	if n := len(s.Requests()); n > 0 {
		t.Errorf("%d requests", n)
	}
}
