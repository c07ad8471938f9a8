package registrytest

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// Faults say how to disturb requests.
type Faults struct {
	Latency    time.Duration // added to each request
	Rate       float64       // the share of requests that fail, from 0 to 1
	Kinds      []string      // how they fail, in equal shares; empty means Error500 alone
	Seed       uint64        // the same seed gives the same sequence
	RetryAfter string        // the Retry-After header of Error429 and Error503; empty sends none
}

// Kinds of fault.
const (
	Error500 = "500"
	Error503 = "503"
	Error429 = "429"
	Drop     = "drop" // the connection is closed without an answer
	Cut      = "cut"  // the connection is closed in the middle of the answer's body
)

// Disturb sets how requests are disturbed from now on.
func (t *Traffic) Disturb(f Faults) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults, t.dice = f, dice{rand.New(rand.NewPCG(f.Seed, 1))}
}

type dice struct{ *rand.Rand }

// roll says which fault strikes the next request, if any.
func (d dice) roll(f Faults) string {
	if f.Rate == 0 || d.Rand == nil || d.Float64() >= f.Rate {
		return ""
	}
	if len(f.Kinds) == 0 {
		return Error500
	}
	return f.Kinds[d.IntN(len(f.Kinds))]
}

func (f Faults) wait(ctx context.Context) {
	if f.Latency == 0 {
		return
	}
	timer := time.NewTimer(f.Latency)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (f Faults) strike(kind string, w *countingWriter, r *http.Request, next http.Handler) {
	switch kind {
	case Drop:
		panic(http.ErrAbortHandler)
	case Cut:
		next.ServeHTTP(&cutter{countingWriter: w}, r)
		panic(http.ErrAbortHandler)
	}
	status, _ := strconv.Atoi(kind)
	if f.RetryAfter != "" && status != http.StatusInternalServerError {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(`{"errors":[{"code":"UNKNOWN","message":"injected fault"}]}`))
}

// cutter passes on the first half of the first write only.
type cutter struct {
	*countingWriter
	cut bool
}

func (c *cutter) Write(p []byte) (int, error) {
	if c.cut {
		return len(p), nil
	}
	c.cut = true
	if _, err := c.countingWriter.Write(p[:len(p)/2]); err != nil {
		return 0, err
	}
	_ = http.NewResponseController(c.ResponseWriter).Flush()
	return len(p), nil
}

// ReadFrom hides the one of countingWriter, which would pass everything on.
func (c *cutter) ReadFrom(r interface{ Read([]byte) (int, error) }) (int64, error) {
	var n int64
	buf := make([]byte, 32<<10)
	for {
		k, err := r.Read(buf)
		n += int64(k)
		if k > 0 {
			_, _ = c.Write(buf[:k])
		}
		if err != nil {
			return n, nil //nolint:nilerr // a body that ends early is what this is for
		}
	}
}
