package registry

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

// Open reads a blob from a repository. A connection that breaks is taken up where it broke. The reader verifies size and digest:
// where they don't match, it ends with an error before the last bytes. Small content that was read before comes from the cache.
func (r *Reader) Open(ctx context.Context, from reconcile.Repo, blob reconcile.Blob) (io.ReadCloser, error) {
	if raw, ok := r.small.get(blob.Digest); ok && int64(len(raw)) == blob.Size {
		return io.NopCloser(bytes.NewReader(raw)), nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	d := &download{ctx: ctx, cancel: cancel, client: r.client, repo: from, blob: blob}
	if err := d.connect(false); err != nil {
		cancel(nil)
		return nil, fmt.Errorf("read blob %s of %s: %w", blob.Digest, from, notFound(err))
	}
	return newVerifier(d, blob), nil
}

// smallBlob reads a blob as a whole, from the cache if that has it.
func (r *Reader) smallBlob(ctx context.Context, from reconcile.Repo, d descriptor, most int64) ([]byte, error) {
	if d.Size > most {
		return nil, refuse("%s has %d bytes, more than %d", d.Digest, d.Size, most)
	}
	return r.cached(ctx, d.Digest, func() ([]byte, error) {
		a, err := r.client.fetch(ctx, to(http.MethodGet, from, "blobs/"+d.Digest.String(), pull, http.StatusOK), d.Size)
		if err != nil {
			return nil, fmt.Errorf("read blob %s of %s: %w", d.Digest, from, notFound(err))
		}
		return a.body, nil
	})
}

// hasBlob asks whether a repository holds a blob.
func (r *Reader) hasBlob(ctx context.Context, repo reconcile.Repo, d reconcile.Digest) (bool, error) {
	a, err := r.client.fetch(ctx, to(http.MethodHead, repo, "blobs/"+d.String(), pull, http.StatusOK), 0)
	if status, ok := statusOf(err); ok && status.absent() {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for blob %s in %s: %w", d, repo, err)
	}
	return !isHTML(a.header), nil
}

// A download reads the bytes of a blob, over more than one connection if it must. It may be closed while it is read.
type download struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	client *client
	repo   reconcile.Repo
	blob   reconcile.Blob
	done   int64 // bytes handed out
	breaks int

	mu   sync.Mutex
	body io.ReadCloser // nil while there is no connection
}

// connect starts or takes up the download. Taking up happens on behalf of an upload that holds a place, so it doesn't wait for one.
func (d *download) connect(urgent bool) error {
	req := to(http.MethodGet, d.repo, "blobs/"+d.blob.Digest.String(), pull, http.StatusOK)
	req.urgent = urgent
	if d.done > 0 {
		req.header.Set("Range", "bytes="+strconv.FormatInt(d.done, 10)+"-")
		req.answers = append(req.answers, http.StatusPartialContent)
	}
	resp, err := d.client.open(d.ctx, req)
	if err != nil {
		return err
	}
	rest := d.blob.Size
	if resp.StatusCode == http.StatusPartialContent {
		if !strings.HasPrefix(resp.Header.Get("Content-Range"), "bytes "+strconv.FormatInt(d.done, 10)+"-") {
			_ = resp.Body.Close()
			return refuse("%s sent another part of the blob than was asked for", d.repo.Host())
		}
		rest -= d.done
	}
	if resp.ContentLength >= 0 && resp.ContentLength != rest {
		_ = resp.Body.Close()
		return refuse("%s sends %d bytes, but the manifest says %d", d.repo.Host(), resp.ContentLength, rest)
	}
	if d.done > 0 && resp.StatusCode == http.StatusOK { // it can't send parts
		if _, err := io.CopyN(io.Discard, resp.Body, d.done); err != nil {
			_ = resp.Body.Close()
			return withoutURL(err)
		}
	}
	d.use(resp.Body)
	return nil
}

// use sets the connection that is read from, and closes the one before.
func (d *download) use(body io.ReadCloser) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.body != nil {
		_ = d.body.Close()
	}
	if d.body = body; body != nil && d.ctx.Err() != nil { // closed meanwhile
		_ = body.Close()
	}
}

func (d *download) current() io.ReadCloser { d.mu.Lock(); defer d.mu.Unlock(); return d.body }

func (d *download) Read(p []byte) (int, error) {
	for {
		body := d.current()
		if body == nil {
			if err := d.connect(true); err != nil {
				return 0, fmt.Errorf("read blob %s of %s: %w", d.blob.Digest, d.repo, notFound(err))
			}
			continue
		}
		n, err := readSoon(body, p)
		d.done += int64(n)
		if n > 0 {
			return n, nil
		}
		if errors.Is(err, io.EOF) && d.done >= d.blob.Size {
			return 0, io.EOF
		}
		if err == nil {
			continue
		}
		d.use(nil)
		if d.ctx.Err() != nil {
			return 0, context.Cause(d.ctx)
		}
		if d.breaks++; d.breaks >= d.client.options.Patience {
			return 0, fmt.Errorf("read blob %s of %s: the connection breaks again and again: %w", d.blob.Digest, d.repo, withoutURL(err))
		}
		if err := sleep(d.ctx, backoff(d.breaks)); err != nil {
			return 0, err
		}
	}
}

// readSoon reads from a connection, which is broken off if nothing comes.
func readSoon(body io.ReadCloser, p []byte) (int, error) {
	stall := time.AfterFunc(stallDeadline, func() { _ = body.Close() })
	defer stall.Stop()
	return body.Read(p)
}

func (d *download) Close() error {
	d.cancel(nil)
	d.use(nil)
	return nil
}

// A verifier passes content on and compares its size and digest. The last bytes are handed out only if both match.
type verifier struct {
	from io.ReadCloser
	blob reconcile.Blob
	hash hash.Hash
	done int64
	err  error
}

func newVerifier(from io.ReadCloser, blob reconcile.Blob) *verifier {
	return &verifier{from: from, blob: blob, hash: hasher(blob.Digest)}
}

func (v *verifier) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	n, err := v.from.Read(p)
	v.done += int64(n)
	_, _ = v.hash.Write(p[:n])
	switch {
	case v.done > v.blob.Size:
		v.err = refuse("blob %s is larger than the %d bytes that the manifest says", v.blob.Digest, v.blob.Size)
		return 0, v.err
	case v.done == v.blob.Size && n > 0 || errors.Is(err, io.EOF):
		if v.err = v.verify(); v.err != nil {
			return 0, v.err
		}
	}
	v.err = err
	return n, err
}

func (v *verifier) verify() error {
	if v.done != v.blob.Size {
		return refuse("blob %s has %d bytes, but the manifest says %d", v.blob.Digest, v.done, v.blob.Size)
	}
	if got := hex.EncodeToString(v.hash.Sum(nil)); got != v.blob.Digest.Hex() {
		return refuse("blob %s has the digest %s:%s when it is read", v.blob.Digest, v.blob.Digest.Algorithm(), got)
	}
	return nil
}

func (v *verifier) Close() error { return v.from.Close() }
