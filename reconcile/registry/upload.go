package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

// How a blob came to a repository.
type came int

const (
	wasThere came = iota
	mounted
	sent
	leftOut // a foreign layer that its registry doesn't hold
)

// askFirst is the size in bytes from which it is cheaper to ask whether a repository has a blob, perhaps left by a run that was
// interrupted, than to send it in vain.
const askFirst = 4 << 20

// bring brings a blob to a repository: not at all if it is there, by mounting where the registry has it elsewhere, else by sending
// it. One blob is brought to one host once at a time; others wait and then mount it.
func (w *Writer) bring(ctx context.Context, from, repo reconcile.Repo, b reconcile.Blob) (came, error) {
	if w.held.has(repo, b.Digest) {
		return wasThere, nil
	}
	unlock, err := w.uploads.lock(ctx, hostBlob{repo.Host(), b.Digest})
	if err != nil {
		return 0, err
	}
	defer unlock()
	if w.held.has(repo, b.Digest) {
		return wasThere, nil
	}
	if foreign(b.MediaType) {
		if has, err := w.hasBlob(ctx, from, b.Digest); err != nil || !has {
			return leftOut, err
		}
	}
	session, how, err := w.mount(ctx, from, repo, b)
	if err == nil && how == mounted {
		w.held.landed(repo, b.Digest)
		return mounted, nil
	}
	if err != nil {
		return 0, fmt.Errorf("write blob %s: %w", b.Digest, err)
	}
	if session == nil && (b.Size >= askFirst || w.held.isOld(repo)) {
		has, err := w.hasBlob(ctx, repo, b.Digest)
		if err != nil {
			return 0, err
		}
		if has {
			w.held.markOld(repo)
			w.held.landed(repo, b.Digest)
			return wasThere, nil
		}
	}
	if err := w.send(ctx, parcel{from: from, to: repo, blob: b}, session); err != nil {
		return 0, fmt.Errorf("write blob %s: %w", b.Digest, err)
	}
	return sent, nil
}

// mount asks the registry to take the blob from another of its repositories. If it doesn't, it has opened an upload session instead.
// A mount from a repository of which it is only likely that it holds the blob is checked: some registries say yes to anything.
func (w *Writer) mount(ctx context.Context, from, repo reconcile.Repo, b reconcile.Blob) (*url.URL, came, error) {
	have, ok := w.held.best(repo.Host(), b.Digest)
	if !ok && from.Host() == repo.Host() {
		have, ok = holder{repo: from}, true
	}
	if !ok {
		return nil, 0, nil
	}
	req := to(http.MethodPost, repo, "blobs/uploads/", push, http.StatusCreated, http.StatusAccepted)
	req.query = url.Values{"mount": {b.Digest.String()}, "from": {have.repo.Path()}}
	req.scopes = append(req.scopes, scope(have.repo, pull))
	a, err := w.client.fetch(ctx, req, maxManifest)
	if status, ok := statusOf(err); ok && (status.status == http.StatusUnauthorized || status.status == http.StatusForbidden) {
		return nil, 0, nil // we may not read over there; sending it may still be allowed
	}
	if err != nil {
		return nil, 0, err
	}
	if a.status == http.StatusAccepted {
		session, err := w.session(a.url, a.header)
		return session, 0, err
	}
	if !have.sure {
		if has, err := w.hasBlob(ctx, repo, b.Digest); err != nil || !has {
			w.held.forget(have.repo, b.Digest)
			return nil, 0, err
		}
	}
	return nil, mounted, nil
}

// session returns the address that an upload goes to.
func (w *Writer) session(asked *url.URL, h http.Header) (*url.URL, error) {
	location := h.Get("Location")
	u, err := asked.Parse(location)
	if location == "" || err != nil {
		return nil, refuse("%s opened an upload, but didn't say where", asked.Host)
	}
	if !sameHost(u, asked) {
		if err := w.client.mayVisit(asked, u); err != nil {
			return nil, err
		}
	}
	return u, nil
}

// A parcel is a blob to upload.
type parcel struct {
	from, to reconcile.Repo
	blob     reconcile.Blob
	content  []byte // if it is at hand; else it is read
}

// send uploads a blob in one request (OCI distribution specification v1.1, "POST then PUT"), as often as it takes.
func (w *Writer) send(ctx context.Context, p parcel, session *url.URL) error {
	for failed := 1; ; failed++ {
		rest, err := w.sendOnce(ctx, p, session)
		if err == nil {
			return nil
		}
		again, most := worthwhile(ctx, err, rest, w.client.options.Patience)
		if status, ok := statusOf(err); ok && (status.status == http.StatusUnauthorized || status.status == http.StatusNotFound ||
			status.has("BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN")) {
			again, most = true, 3 // the token or the session has expired
		}
		var final *finalError
		if errors.As(err, &final) || !again || failed >= most {
			return err
		}
		if sleep(ctx, max(rest, backoff(failed))) != nil {
			return err
		}
		session = nil
	}
}

// A finalError is trouble around an upload that was overcome as far as possible before it got here.
type finalError struct{ error }

func (e *finalError) Unwrap() error { return e.error }

// sendOnce makes one attempt to upload, from the blob's beginning, to a session or a new one. While that is opened, the blob is too.
func (w *Writer) sendOnce(ctx context.Context, p parcel, session *url.URL) (time.Duration, error) {
	where, leave, err := w.origin(ctx, p)
	if err != nil {
		return 0, err
	}
	defer leave()
	select {
	case w.transfers <- struct{}{}:
		defer func() { <-w.transfers }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	var opening sync.WaitGroup
	var source io.ReadCloser
	var unread error
	opening.Go(func() { source, unread = w.openBlob(ctx, where, p) })
	if session == nil {
		session, err = w.start(ctx, p.to)
	}
	opening.Wait()
	if source != nil {
		defer source.Close()
	}
	if err == nil && unread != nil {
		err = unread
	}
	if err != nil {
		return 0, &finalError{err}
	}
	return w.transfer(ctx, p, source, session)
}

// start opens an upload session.
func (w *Writer) start(ctx context.Context, repo reconcile.Repo) (*url.URL, error) {
	a, err := w.client.fetch(ctx, to(http.MethodPost, repo, "blobs/uploads/", push, http.StatusAccepted), maxManifest)
	if err != nil {
		return nil, err
	}
	return w.session(a.url, a.header)
}

// transfer sends a blob to a session.
func (w *Writer) transfer(ctx context.Context, p parcel, source io.Reader, session *url.URL) (time.Duration, error) {
	h, err := w.client.host(p.to.Host())
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	body := &uploading{from: source, event: Event{To: p.to, Digest: p.blob.Digest, Total: p.blob.Size}, progress: w.progress,
		stall: time.AfterFunc(math.MaxInt64, func() { cancel(errStalled) })} // set once it begins
	defer body.stall.Stop()

	req := to(http.MethodPut, p.to, "", push, http.StatusCreated, http.StatusNoContent)
	req.at, req.stream, req.length = withDigest(session, p.blob.Digest), body, p.blob.Size
	req.header.Set("Content-Type", octets)
	if p.blob.Size == 0 {
		req.stream = http.NoBody
		_, _ = io.Copy(io.Discard, body) // verifies it
	}
	if err := body.unread(); err != nil {
		return 0, err
	}
	rest, err := w.client.try(ctx, h, false, func(ctx context.Context, h *host) error {
		resp, err := w.client.exchange(ctx, h, req)
		if err == nil {
			drain(resp)
		}
		return err
	})
	if err != nil {
		if unread := body.unread(); unread != nil {
			return 0, unread
		}
	}
	if err == nil && p.content == nil {
		w.held.landed(p.to, p.blob.Digest) // before leave: who waits for the source then reads it here
	}
	return rest, err
}

// withDigest returns the address that ends an upload.
func withDigest(session *url.URL, d reconcile.Digest) *url.URL {
	at := *session
	query := at.Query()
	query.Set("digest", d.String())
	at.RawQuery = query.Encode()
	return &at
}

// origin says where an upload reads its blob. Without a stage, a blob is read from its source once a run: the first upload reads it
// there, and those to other registries wait for that and then read it from the first one. The returned function is to be called when
// the upload has ended.
func (w *Writer) origin(ctx context.Context, p parcel) (reconcile.Repo, func(), error) {
	if w.blobs != nil || p.content != nil {
		return p.from, func() {}, nil
	}
	unlock, err := w.sources.lock(ctx, p.blob.Digest)
	if err != nil {
		return p.from, nil, err
	}
	if other, ok := w.held.elsewhere(p.to.Host(), p.blob.Digest); ok {
		unlock()
		return other, func() {}, nil
	}
	return p.from, unlock, nil
}

// openBlob opens a blob where origin said; if it can't be read there, at its source.
func (w *Writer) openBlob(ctx context.Context, where reconcile.Repo, p parcel) (io.ReadCloser, error) {
	switch {
	case p.content != nil:
		return io.NopCloser(bytes.NewReader(p.content)), nil
	case w.blobs != nil:
		return w.blobs.Open(ctx, p.from, p.blob)
	}
	r, err := w.Open(ctx, where, p.blob)
	if err != nil && where != p.from {
		return w.Open(ctx, p.from, p.blob)
	}
	return r, err
}

// uploading is the body of an upload. It tells how far it is, and breaks the upload off when nothing moves. The transport may still read
// from it for a moment after the request has ended.
type uploading struct {
	from     io.Reader
	event    Event
	progress func(Event)
	stall    *time.Timer
	failed   atomic.Pointer[error]
}

func (u *uploading) Read(p []byte) (int, error) {
	u.stall.Reset(stallDeadline)
	n, err := u.from.Read(p)
	u.event.Done += int64(n)
	if n > 0 {
		u.progress(u.event)
	}
	if u.event.Done >= u.event.Total { // now the registry may take its time
		u.stall.Stop()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		u.failed.Store(&err)
	}
	return n, err
}

// unread returns the error with which reading ended, if it did.
func (u *uploading) unread() error {
	if err := u.failed.Load(); err != nil {
		return &finalError{*err}
	}
	return nil
}
