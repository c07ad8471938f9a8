package main

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/cheggaaa/pb/v3"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/report"
)

// progress tells on stderr how far a run is: one line that changes and at last goes away at a terminal, a line for each action elsewhere.
// (How much there is to do isn't known before the last batch is planned, so there is no percentage.) It may be used concurrently.
type progress struct {
	mu    sync.Mutex
	w     io.Writer
	bar   *pb.ProgressBar  // nil where there is no terminal
	blobs map[string]int64 // bytes that have moved of each blob on its way
	ended int              // actions
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, blobs: map[string]int64{}}
	if terminal(w) {
		p.bar = pb.New64(0).SetTemplateString(`{{ counters . "%[1]s" }} {{ speed . "%s/s" "-" }}  {{ string . "note" }}`).
			Set(pb.Bytes, true).Set(pb.CleanOnFinish, true).SetWriter(w)
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
	blob := to.String()
	p.bar.Add64(done - p.blobs[blob])
	if p.blobs[blob] = done; done >= total {
		delete(p.blobs, blob)
	}
}

// note says at a terminal what goes on.
func (p *progress) note(format string, args ...any) {
	note := []rune(report.Plain(fmt.Sprintf(format, args...)))
	room := max(p.bar.Width()-len("1023.99 MiB 1023.99 MiB/s  "), 0) // a line that wraps can't be taken away
	p.bar.Set("note", string(note[:min(len(note), room)]))
	if !p.bar.IsStarted() {
		p.bar.Start()
	}
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
		p.note("reading %s", strings.Join(parts, ", "))
		return
	}
	fmt.Fprintf(p.w, "reading %s\n", strings.Join(parts, ", "))
}

// acted is told how an action ended.
func (p *progress) acted(a reconcile.Action, o reconcile.Outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		p.ended++
		p.note("%d actions, %s %s", p.ended, a.Kind, a.Title)
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
	return report.Plain(s) // reasons may quote what a registry said
}

// end takes the line away, so that the report begins on a line of its own.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil && p.bar.IsStarted() {
		p.bar.Finish()
	}
}
