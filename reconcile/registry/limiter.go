package registry

import (
	"context"
	"sync"
	"time"
)

// A limiter bounds the requests that are under way to one host. The bound adapts: it grows while the host answers quickly and
// shrinks when the host says that it has enough, or breaks down. It starts with slow start and goes on with additive increase
// and multiplicative decrease, as TCP does (RFC 5681).
type limiter struct {
	mu      sync.Mutex
	limit   float64
	running int
	queue   []chan struct{}
	starts  bool          // slow start: no trouble seen yet
	best    time.Duration // the quickest answer
	shrunk  time.Time
	resume  time.Time // no request starts before
	refused float64   // recent share of answers by which the host said that it has enough
}

const (
	firstLimit = 16
	maxLimit   = maxConns
)

func newLimiter() *limiter { return &limiter{limit: firstLimit, starts: true} }

// acquire waits for a place.
func (l *limiter) acquire(ctx context.Context) error {
	l.mu.Lock()
	if l.running < int(l.limit) {
		l.running++
		l.mu.Unlock()
		return l.pause(ctx)
	}
	turn := make(chan struct{})
	l.queue = append(l.queue, turn)
	l.mu.Unlock()
	select {
	case <-turn:
		return l.pause(ctx)
	case <-ctx.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		for i, q := range l.queue {
			if q == turn {
				l.queue = append(l.queue[:i], l.queue[i+1:]...)
				return ctx.Err()
			}
		}
		l.running-- // the place was given meanwhile
		l.wake()
		return ctx.Err()
	}
}

// pause waits while the host has asked to be left alone. If the context ends, the place is given back.
func (l *limiter) pause(ctx context.Context) error {
	for {
		l.mu.Lock()
		wait := time.Until(l.resume)
		l.mu.Unlock()
		if wait <= 0 {
			return nil
		}
		if err := sleep(ctx, wait); err != nil {
			l.done()
			return err
		}
	}
}

func (l *limiter) done() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running--
	l.wake()
}

// wake lets the next ones in. The caller holds the lock.
func (l *limiter) wake() {
	for len(l.queue) > 0 && l.running < int(l.limit) {
		l.running++
		close(l.queue[0])
		l.queue = l.queue[1:]
	}
}

// answered gives the place back after an answer that took so long.
func (l *limiter) answered(took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.best == 0 || took < l.best {
		l.best = took
	}
	l.refused *= 0.8
	full := l.running >= int(l.limit)
	if full && took <= 4*l.best+20*time.Millisecond {
		if l.starts {
			l.limit++
		} else {
			l.limit += 1 / l.limit
		}
		l.limit = min(l.limit, maxLimit)
	}
	l.running--
	l.wake()
}

// troubled gives the place back after trouble that more patience may cure. The bound shrinks once for all requests that were under
// way at the same time. If the host asks for rest, and not just for once, nothing starts for so long.
func (l *limiter) troubled(started time.Time, factor float64, rest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if started.After(l.shrunk) {
		l.limit = max(1, l.limit*factor)
		l.shrunk, l.starts = now, false
	}
	if rest > 0 {
		l.refused += (1 - l.refused) * 0.2
	}
	if until := now.Add(rest); l.refused > 0.3 && until.After(l.resume) {
		l.resume = until
	}
	l.running--
	l.wake()
}

// sleep waits for a time or the context's end.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
