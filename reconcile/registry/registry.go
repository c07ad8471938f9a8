// Package registry reads from and writes to OCI registries (OCI distribution specification v1.1 and the older Docker Registry
// API v2). A Reader cannot write by construction; a Writer is made from a Reader and shares what it knows.
//
// Within one run nothing is asked twice: manifests and small blobs lie in a cache by digest, tokens are kept by scope, and the
// repositories that hold a blob are remembered, so that the blob is mounted elsewhere instead of sent again.
package registry

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/assay-oci/assay/reconcile"
)

// Options are shared by a Reader and its Writer. The zero value works.
type Options struct {
	Keychain   authn.Keychain // where credentials come from; nil is docker's configuration, its helpers and podman's auth.json
	CacheDir   string         // keeps manifests and other small content between runs; empty: in memory, for this run
	CacheBytes int64          // the most that CacheDir may hold; zero means 512 MiB
	Insecure   []string       // hosts to speak plain http with; loopback addresses always are
	TLS        *tls.Config    // nil: the system's roots
	UserAgent  string         // empty: "assay"
	Transfers  int            // blobs that are on their way at the same time; zero means 24
	Patience   int            // attempts for a request that fails for a reason that may pass; zero means 7
	Blobs      Blobs          // where a Writer reads blobs; nil: from the source, or from a registry that has got them in this run
	Progress   func(Event)    // called often while blobs move, by several goroutines at once

	// Local tells which hosts, "name:port", may lie at an address of this machine, of its link, or where a cloud keeps credentials; it is asked only about such. No
	// other one is called there, whoever names it. nil allows all, for callers that nothing hostile reaches. It may be called by several goroutines at once.
	Local func(host string) bool
}

// Blobs is a place to read blobs from. The reader's content is verified: it ends with an error, before its last bytes, where digest
// or size don't match.
type Blobs interface {
	Open(ctx context.Context, from reconcile.Repo, blob reconcile.Blob) (io.ReadCloser, error)
}

// An Event says how far a blob has come on its way to a repository.
type Event struct {
	To     reconcile.Repo
	Digest reconcile.Digest
	Done   int64 // bytes
	Total  int64 // bytes
}

// Bounds on what registries may send.
const (
	maxManifest  = 4 << 20   // bytes of one manifest, configuration or other small content
	maxPage      = 16 << 20  // bytes of one page of a list
	maxPages     = 10_000    // pages of one list
	maxEntries   = 1_000_000 // entries of one list
	maxDepth     = 4         // indexes within indexes
	maxManifests = 1_000     // manifests of one image
	maxBlobSize  = 1 << 40   // bytes of one blob
	maxRecord    = 32 << 20  // bytes of a record's payload: the inventory of a large image
	maxRecords   = 256       // records about one image
)

// A Reader reads registries. It implements reconcile.Holdings, reconcile.Content and Blobs, and may be used concurrently.
type Reader struct {
	client *client
	small  *cache
	seen   *seen
	gets   keyed[reconcile.Digest]
	apis   *apis
}

// NewReader returns a Reader. It sends no request until it is asked for something.
func NewReader(o Options) *Reader {
	return &Reader{client: newClient(o), small: newCache(o.CacheDir, o.CacheBytes), seen: newSeen(), apis: newAPIs()}
}

// A Writer writes to registries. It implements reconcile.Copier, reconcile.Tagger, reconcile.Deleter and reconcile.Placer, and may
// be used concurrently.
type Writer struct {
	*Reader
	blobs     Blobs // nil: see Options.Blobs
	progress  func(Event)
	transfers chan struct{}
	held      *holdings
	uploads   keyed[hostBlob]         // one upload of a blob to a host at a time
	sources   keyed[reconcile.Digest] // one read of a blob from its source at a time
	subjects  keyed[reconcile.Image]  // one change of a subject's records at a time
	recalls   keyed[string]
	pending   pending
}

// NewWriter returns a Writer that shares the Reader's connections, limits, tokens, cache and knowledge.
func NewWriter(r *Reader) *Writer {
	o := r.client.options
	if o.Transfers <= 0 {
		o.Transfers = 24
	}
	if o.Progress == nil {
		o.Progress = func(Event) {}
	}
	return &Writer{Reader: r, blobs: o.Blobs, progress: o.Progress, transfers: make(chan struct{}, o.Transfers), held: newHoldings()}
}

var (
	_ reconcile.Holdings = (*Reader)(nil)
	_ reconcile.Content  = (*Reader)(nil)
	_ Blobs              = (*Reader)(nil)
	_ reconcile.Copier   = (*Writer)(nil)
	_ reconcile.Tagger   = (*Writer)(nil)
	_ reconcile.Deleter  = (*Writer)(nil)
	_ reconcile.Placer   = (*Writer)(nil)
)

// newTransport returns the one connection pool of a run.
func newTransport(o Options) *guard {
	g := newGuard(o)
	g.next = &http.Transport{
		Proxy:                  g.throughProxy,
		DialContext:            g.dial,
		TLSClientConfig:        o.TLS,
		TLSHandshakeTimeout:    15 * time.Second,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // digests are of the bytes as they are sent
		MaxConnsPerHost:        maxConns,
		MaxIdleConnsPerHost:    maxConns,
		IdleConnTimeout:        90 * time.Second,
		ResponseHeaderTimeout:  5 * time.Minute, // a registry may hash a large blob before it answers
		WriteBufferSize:        64 << 10,
		ReadBufferSize:         64 << 10,
		MaxResponseHeaderBytes: 64 << 10,
	}
	return g
}

const maxConns = 64

// plain tells whether a host is spoken to by plain http.
func (o Options) plain(host string) bool {
	return isLoopback(host) || slices.Contains(o.Insecure, host)
}

// isLoopback tells whether a host, with or without a port, is this machine.
func isLoopback(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.Trim(name, "[]")
	if strings.EqualFold(name, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.Unmap().IsLoopback()
}

// isLocalOnly tells addresses that only this machine can mean: itself, and the link-local ones where clouds keep credentials.
func isLocalOnly(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	ip, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return isLoopback(host) || err == nil && (ip.Unmap().IsLinkLocalUnicast() || ip.IsUnspecified())
}
