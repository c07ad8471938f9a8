package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/assay-oci/assay/reconcile"
)

// fetchKey tells fetches apart. The repository is part of it, so that one that serves wrong content fails no image but its own: whoever wants the blob from another repository waits, and doesn't read along.
type fetchKey struct {
	digest reconcile.Digest
	from   reconcile.Repo
}

// A fetch writes one blob into a file that others read meanwhile.
type fetch struct {
	blob   reconcile.Blob
	cancel context.CancelFunc
	ready  chan struct{} // closed when file is set, or when there is no room
	ended  chan struct{} // closed when the blob has arrived, or won't
	file   *os.File
	closed func() // called when nobody writes or reads it any more

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when one of the following changes
	written int64
	done    bool
	err     error // why it failed, once done
	readers int
}

// claimFetch joins a fetch that is under way, or begins one. It returns no fetch if the blob has arrived in the meantime, or if it is on its
// way from another repository of the same registry: then other is closed when that has ended.
func (s *Stage) claimFetch(ctx context.Context, from reconcile.Repo, blob reconcile.Blob) (_ *fetch, other <-chan struct{}, _ error) {
	key := fetchKey{blob.Digest, from}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, errClosed
	}
	if f := s.fetches[key]; f != nil && f.blob.Size == blob.Size && f.join() {
		return f, nil, nil
	}
	if info, err := os.Stat(s.blobPath(blob.Digest)); err == nil && info.Size() == blob.Size {
		return nil, nil, nil
	}
	for k, f := range s.fetches {
		if k != key && k.digest == blob.Digest && k.from.Host() == from.Host() && f.blob.Size == blob.Size {
			return nil, f.ended, nil
		}
	}
	// it ends with its last reader, whoever that is
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &fetch{blob: blob, cancel: cancel, ready: make(chan struct{}), ended: make(chan struct{}), changed: make(chan struct{}), readers: 1}
	f.closed = func() { s.unkeep(f.file) }
	s.fetches[key] = f
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		defer cancel()
		err := s.receive(ctx, from, f)
		s.mu.Lock()
		if s.fetches[key] == f {
			delete(s.fetches, key)
		}
		s.mu.Unlock()
		f.finish(err)
		close(f.ended)
	}()
	return f, nil, nil
}

// receive reads the blob to its end and makes it part of the stage.
func (s *Stage) receive(ctx context.Context, from reconcile.Repo, f *fetch) error {
	file, err := s.reserve(f.blob)
	f.mu.Lock()
	f.file, f.err = file, err
	f.mu.Unlock()
	close(f.ready)
	if err != nil {
		return err
	}
	err = s.download(ctx, from, f)
	if err == nil {
		err = s.publish(file, f.blob.Digest)
	}
	if err != nil {
		_ = os.Remove(file.Name()) // if that fails, the run's end removes it
		return fmt.Errorf("read blob %s from %s: %w", f.blob.Digest.Short(), from, err)
	}
	return nil
}

func (s *Stage) download(ctx context.Context, from reconcile.Repo, f *fetch) error {
	stream, err := s.source.Blob(ctx, from, f.blob)
	if err != nil {
		return err
	}
	r := newVerifying(stream, f.blob, nil)
	defer r.Close()
	buf := make([]byte, 256<<10)
	for off := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := f.file.WriteAt(buf[:n], off); err != nil {
				return err
			}
			off += int64(n)
			f.advance(off)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// follow returns a reader for somebody who has joined.
func (f *fetch) follow(ctx context.Context) (io.ReadCloser, error) {
	r := &follower{ctx: ctx, f: f}
	select {
	case <-f.ready:
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), r.Close())
	}
	if f.file == nil {
		f.mu.Lock()
		err := f.err
		f.mu.Unlock()
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (f *fetch) advance(written int64) {
	f.mu.Lock()
	f.written = written
	close(f.changed)
	f.changed = make(chan struct{})
	f.mu.Unlock()
}

// join adds a reader, unless the fetch has lost its last one or has failed.
func (f *fetch) join() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.readers == 0 || f.err != nil {
		return false
	}
	f.readers++
	return true
}

func (f *fetch) leave() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readers--
	if f.readers > 0 {
		return nil
	}
	f.cancel()
	return f.closeFile()
}

func (f *fetch) finish(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done, f.err = true, err
	close(f.changed)
	if f.readers == 0 {
		_ = f.closeFile() // what was written is either synced or removed
	}
}

// closeFile closes the file when nobody writes or reads it any more.
func (f *fetch) closeFile() error {
	if !f.done || f.file == nil {
		return nil
	}
	f.closed()
	return f.file.Close()
}

// A follower reads a file up to where it has been written, and waits there.
type follower struct {
	ctx    context.Context
	f      *fetch
	off    int64
	closed bool
}

func (r *follower) Read(p []byte) (int, error) {
	if r.closed {
		return 0, os.ErrClosed
	}
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if err := r.ctx.Err(); err != nil {
			return 0, err
		}
		r.f.mu.Lock()
		written, done, err, changed := r.f.written, r.f.done, r.f.err, r.f.changed
		r.f.mu.Unlock()
		switch {
		case err != nil:
			return 0, err
		case r.off < written:
			n, err := r.f.file.ReadAt(p[:min(int64(len(p)), written-r.off)], r.off)
			r.off += int64(n)
			return n, err
		case done:
			return 0, io.EOF
		}
		select {
		case <-changed:
		case <-r.ctx.Done():
		}
	}
}

func (r *follower) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	return r.f.leave()
}
