package github

import (
	"context"
	"time"
)

// A Clock tells the time and waits; tests have one that doesn't.
type Clock interface {
	Now() time.Time
	// Sleep waits, and returns the context's error if it ends before.
	Sleep(context.Context, time.Duration) error
}

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

func (systemClock) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
