package stage

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

// Open reads a blob: from the disk if the stage holds it, else along with whoever is fetching it from that repository right now, else it
// fetches it into the stage while it is read. A blob that doesn't fit is read past the stage. The reader's last byte is followed by
// EOF only if size and digest are right; every other end is an error. The reader stops when the context ends, and must be closed.
func (s *Stage) Open(ctx context.Context, from reconcile.Repo, blob reconcile.Blob) (io.ReadCloser, error) {
	r, err := s.open(ctx, from, blob)
	if !errors.Is(err, errNoRoom) {
		return r, err
	}
	stream, err := s.source.Blob(ctx, from, blob)
	if err != nil {
		return nil, fmt.Errorf("read blob %s from %s: %w", blob.Digest.Short(), from, err)
	}
	return newVerifying(stream, blob, nil), nil
}

// open is Open for a blob that must end up in the stage.
func (s *Stage) open(ctx context.Context, from reconcile.Repo, blob reconcile.Blob) (io.ReadCloser, error) {
	if blob.Digest.IsZero() || blob.Size < 0 {
		return nil, fmt.Errorf("open blob %s of %d bytes: it can't exist", blob.Digest, blob.Size)
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r, err := s.openStored(blob)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return r, err
		}
		f, other, err := s.claimFetch(ctx, from, blob)
		switch {
		case err != nil:
			return nil, err
		case f != nil:
			return f.follow(ctx)
		case other != nil:
			select {
			case <-other:
			case <-ctx.Done():
			}
		}
	}
}

// openStored opens a blob on disk. It is verified again while it is read: scanners have had it in their hands.
func (s *Stage) openStored(blob reconcile.Blob) (io.ReadCloser, error) {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return nil, errClosed
	}
	s.pin(blob.Digest)
	path := s.blobPath(blob.Digest)
	f, err := os.Open(path)
	if err != nil {
		s.unpin(blob.Digest)
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() != blob.Size {
		// whichever is wrong, the source has to prove it
		err = fmt.Errorf("%w: stored size differs", fs.ErrNotExist)
	}
	if err != nil {
		s.unpin(blob.Digest)
		return nil, errors.Join(err, f.Close())
	}
	now := time.Now()
	_ = os.Chtimes(path, now, now) // a hint for eviction
	return newVerifying(f, blob, func(bad bool) {
		s.unpin(blob.Digest)
		if bad {
			_ = s.evict(stored{path: path, digest: blob.Digest})
		}
	}), nil
}

// A verifying reader ends with EOF only if what it read has the blob's size and digest.
type verifying struct {
	r      io.ReadCloser
	blob   reconcile.Blob
	hash   hash.Hash
	n      int64
	err    error
	closed func(bad bool)
}

func newVerifying(r io.ReadCloser, b reconcile.Blob, closed func(bad bool)) *verifying {
	return &verifying{r: r, blob: b, hash: newHash(b.Digest.Algorithm()), closed: closed}
}

// errContent says that content isn't what its digest and size say.
var errContent = errors.New("wrong content")

func (v *verifying) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	n, err := v.r.Read(p)
	v.n += int64(n)
	v.hash.Write(p[:n])
	switch {
	case v.n > v.blob.Size:
		n, err = 0, fmt.Errorf("blob %s: %w: it has more than %d bytes", v.blob.Digest.Short(), errContent, v.blob.Size)
	case errors.Is(err, io.EOF):
		if bad := check(v.blob, v.n, v.hash); bad != nil {
			err = bad
		}
	}
	v.err = err
	return n, err
}

func (v *verifying) Close() error {
	if v.closed != nil {
		v.closed(errors.Is(v.err, errContent))
		v.closed = nil
	}
	return v.r.Close()
}

func check(b reconcile.Blob, n int64, h hash.Hash) error {
	if n != b.Size {
		return fmt.Errorf("blob %s: %w: it has %d bytes, not %d", b.Digest.Short(), errContent, n, b.Size)
	}
	if hex.EncodeToString(h.Sum(nil)) != b.Digest.Hex() {
		return fmt.Errorf("blob %s: %w: its digest is another one", b.Digest.Short(), errContent)
	}
	return nil
}

func newHash(algorithm string) hash.Hash {
	if algorithm == "sha512" {
		return sha512.New()
	}
	return sha256.New()
}
