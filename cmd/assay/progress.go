package main

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/cheggaaa/pb/v3"

	"github.com/assay-oci/assay/reconcile"
)

// progress tells on stderr how far a run is: a bar at a terminal, a line for each action elsewhere. It may be used concurrently.
type progress struct {
	mu    sync.Mutex
	w     io.Writer
	bar   *pb.ProgressBar  // nil where there is no terminal
	blobs map[string]int64 // bytes of each blob that have moved
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, blobs: map[string]int64{}}
	if terminal(w) {
		p.bar = pb.New64(0).SetTemplateString(`{{ string . "note" }} {{ bar . }} {{ counters . }} {{ speed . }}`).Set(pb.Bytes, true).SetWriter(w)
	}
	return p
}

// moved is told how many bytes of a blob, of how many, have reached a registry.
func (p *progress) moved(to reconcile.Image, done, total int64) {
	if p.bar == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.bar.IsStarted() {
		p.bar.Start()
	}
	before, seen := p.blobs[to.String()]
	if !seen {
		p.bar.AddTotal(total)
	}
	p.bar.Add64(done - before)
	p.blobs[to.String()] = done
}

// asking is told what is read next.
func (p *progress) asking(qs []reconcile.Question) {
	count := map[string]int{}
	for _, q := range qs {
		count[q.Kind]++
	}
	var parts []string
	for _, kind := range sortedKeys(count) {
		parts = append(parts, fmt.Sprintf("%s %d", kind, count[kind]))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		p.bar.Set("note", "reading "+strings.Join(parts, ", "))
		return
	}
	fmt.Fprintf(p.w, "reading %s\n", strings.Join(parts, ", "))
}

// acted is told how an action ended.
func (p *progress) acted(a reconcile.Action, o reconcile.Outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		p.bar.Set("note", fmt.Sprintf("%s %s", a.Kind, a.Title))
		return
	}
	if quiet := a.Kind == reconcile.Sign || a.Kind == reconcile.Attest || a.Kind == reconcile.Place; quiet && o.Status == reconcile.Done {
		return
	}
	fmt.Fprintln(p.w, line(a, o))
}

func line(a reconcile.Action, o reconcile.Outcome) string {
	what := a.To.String()
	switch {
	case a.To.IsZero():
		what = a.Digest.Short()
	case !a.Tag.IsZero():
		what += ":" + a.Tag.String()
	default:
		what += "@" + a.Digest.Short()
	}
	s := fmt.Sprintf("%-7s %s %s", o.Status, a.Kind, what)
	if a.Kind == reconcile.Copy && o.Status == reconcile.Done {
		s += fmt.Sprintf(" (%d bytes in %d blobs, %d mounted)", o.Moved.Bytes, o.Moved.Blobs, o.Moved.Mounted)
	}
	if o.Reason != "" {
		s += ": " + o.Reason
	}
	return s
}

// end takes the bar away, so that the report begins on a line of its own.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil && p.bar.IsStarted() {
		p.bar.Finish()
	}
}
