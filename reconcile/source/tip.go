package source

import (
	"context"
	"sync"
)

// coalescer lets calls share a request without ever giving an answer that is older than the call: a call joins the request that has
// not begun yet, not the one that is under way.
type coalescer struct {
	mu      sync.Mutex
	running bool
	next    *shared
}

type shared struct {
	done  chan struct{}
	value string
	err   error
}

func (c *coalescer) do(ctx context.Context, ask func(context.Context) (string, error)) (string, error) {
	c.mu.Lock()
	if c.next == nil {
		c.next = &shared{done: make(chan struct{})}
	}
	mine := c.next
	if !c.running {
		c.running = true
		go c.run(context.WithoutCancel(ctx), ask)
	}
	c.mu.Unlock()
	select {
	case <-mine.done:
		return mine.value, mine.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// run answers until nobody waits.
func (c *coalescer) run(ctx context.Context, ask func(context.Context) (string, error)) {
	for {
		c.mu.Lock()
		s := c.next
		if c.next = nil; s == nil {
			c.running = false
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		s.value, s.err = ask(ctx)
		close(s.done)
	}
}
