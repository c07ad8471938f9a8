package source

import (
	"context"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// tipTimeout bounds one reading of the tip, which may serve several callers.
const tipTimeout = time.Minute

// Tip reads the commit that the ref has now: at the server, or on disk for a local repository. Calls at the same time share one reading, but
// none is answered by a reading that began before the call. For a folder that is no repository it is empty.
func (s *Source) Tip(ctx context.Context) (string, error) {
	return s.tip.get(ctx, s.readTip)
}

func (s *Source) readTip(ctx context.Context) (string, error) {
	if s.local == nil && s.remote != nil {
		_, h, err := s.remote.list(ctx, s.ref())
		return h.String(), err
	}
	if s.local == nil {
		return "", nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h, err := s.local.ResolveRevision(plumbing.Revision(s.ref()))
	if err != nil {
		return "", err
	}
	return h.String(), nil
}

// A coalescer lets concurrent callers share readings.
type coalescer struct {
	mu      sync.Mutex
	running *reading
	next    *reading // begins when running ends
}

type reading struct {
	done chan struct{}
	hash string
	err  error
}

func (c *coalescer) get(ctx context.Context, read func(context.Context) (string, error)) (string, error) {
	c.mu.Lock()
	r := c.next
	switch {
	case c.running == nil:
		r = &reading{done: make(chan struct{})}
		c.running = r
		go c.run(context.WithoutCancel(ctx), r, read)
	case r == nil:
		r = &reading{done: make(chan struct{})}
		c.next = r
	}
	c.mu.Unlock()
	select {
	case <-r.done:
		return r.hash, r.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (c *coalescer) run(ctx context.Context, r *reading, read func(context.Context) (string, error)) {
	limited, cancel := context.WithTimeout(ctx, tipTimeout)
	r.hash, r.err = read(limited)
	cancel()
	close(r.done)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running, c.next = c.next, nil
	if c.running != nil {
		go c.run(ctx, c.running, read)
	}
}
