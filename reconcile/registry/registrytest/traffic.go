package registrytest

import (
	"io"
	"net"
	"net/http"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
)

// A Traffic is a handler that stands before a registry's own, counts what passes and, where told to, disturbs it. It may be used
// concurrently.
type Traffic struct {
	next http.Handler

	mu       sync.Mutex
	requests []Request
	faults   Faults
	guard    *Guard
	dice     dice
	conns    atomic.Int64
	in, out  atomic.Int64
}

// A Request is one that was answered.
type Request struct {
	Method     string
	Kind       string // see Kind
	Path       string
	Query      string
	Status     int  // zero if the connection was dropped
	Authorized bool // it carried an Authorization header
}

// NewTraffic puts a Traffic before a handler.
func NewTraffic(next http.Handler) *Traffic { return &Traffic{next: next} }

// Kind names what a request is about: ping, catalog, tags, manifest, blob, mount, upload, referrers, token or other.
func Kind(r *http.Request) string {
	p := r.URL.Path
	switch {
	case p == "/v2/" || p == "/v2":
		return "ping"
	case p == "/v2/_catalog":
		return "catalog"
	case strings.HasPrefix(p, tokenPath):
		return "token"
	case strings.HasSuffix(p, "/tags/list"):
		return "tags"
	case strings.Contains(p, "/manifests/"):
		return "manifest"
	case strings.Contains(p, "/referrers/"):
		return "referrers"
	case strings.Contains(p, "/blobs/uploads/") && r.URL.Query().Has("mount"):
		return "mount"
	case strings.Contains(p, "/blobs/uploads/"):
		return "upload"
	case strings.Contains(p, "/blobs/"):
		return "blob"
	}
	return "other"
}

func (t *Traffic) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t.mu.Lock()
	faults, guard := t.faults, t.guard
	fault := t.dice.roll(faults)
	t.mu.Unlock()

	body := &countingBody{ReadCloser: r.Body, n: &t.in}
	r.Body = body
	cw := &countingWriter{ResponseWriter: w, n: &t.out}
	kind := Kind(r)
	defer func() {
		status := cw.status
		problem := recover()
		if problem != nil {
			status = 0
		}
		t.mu.Lock()
		t.requests = append(t.requests, Request{Method: r.Method, Kind: kind, Path: r.URL.Path, Query: r.URL.RawQuery, Status: status,
			Authorized: r.Header.Get("Authorization") != ""})
		t.mu.Unlock()
		if problem != nil {
			panic(problem)
		}
	}()
	faults.wait(r.Context())
	if fault != "" && kind != "token" {
		faults.strike(fault, cw, r, t.next)
		return
	}
	if guard != nil && !guard.admit(cw, r) {
		return
	}
	t.next.ServeHTTP(cw, r)
}

// Count returns how many requests had this method and kind; "" stands for any.
func (t *Traffic) Count(method, kind string) int {
	n := 0
	for _, r := range t.Requests() {
		if (method == "" || r.Method == method) && (kind == "" || r.Kind == kind) {
			n++
		}
	}
	return n
}

// Requests returns all that were answered since Reset, in order.
func (t *Traffic) Requests() []Request {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]Request(nil), t.requests...)
}

// Summary counts the requests by method and kind, as in "3 GET blob", for messages.
func (t *Traffic) Summary() map[string]int {
	out := map[string]int{}
	for _, r := range t.Requests() {
		out[r.Method+" "+r.Kind]++
	}
	return out
}

// Kinds returns the keys of Summary, sorted.
func (t *Traffic) Kinds() []string {
	var out []string
	for k := range t.Summary() {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

// Received returns the bytes of request bodies, Sent those of response bodies, and Connections how many were accepted.
func (t *Traffic) Received() int64 { return t.in.Load() }

// Sent returns the bytes of response bodies.
func (t *Traffic) Sent() int64 { return t.out.Load() }

// Connections returns how many connections were accepted.
func (t *Traffic) Connections() int64 { return t.conns.Load() }

// Reset forgets what was counted.
func (t *Traffic) Reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests = nil
	t.in.Store(0)
	t.out.Store(0)
	t.conns.Store(0)
}

// ConnState is to be set as the field of that name of the http.Server, so that connections are counted.
func (t *Traffic) ConnState(_ net.Conn, s http.ConnState) {
	if s == http.StateNew {
		t.conns.Add(1)
	}
}

type countingBody struct {
	io.ReadCloser
	n *atomic.Int64
}

func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}

type countingWriter struct {
	http.ResponseWriter
	n      *atomic.Int64
	status int
}

func (w *countingWriter) WriteHeader(s int) {
	if w.status == 0 {
		w.status = s
	}
	w.ResponseWriter.WriteHeader(s)
}

func (w *countingWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.n.Add(int64(n))
	return n, err
}

// ReadFrom lets the kernel copy files to sockets, as it would without the counting.
func (w *countingWriter) ReadFrom(r io.Reader) (int64, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := io.Copy(w.ResponseWriter, r)
	w.n.Add(n)
	return n, err
}

func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
