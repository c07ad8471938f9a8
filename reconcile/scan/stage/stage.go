// Package stage keeps content of images on the local disk, verified, while it is scanned and copied.
package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/scan/layer"
	"github.com/gofrs/flock"
)

// A Source reads content from where it lies. What it returns is not trusted.
type Source interface {
	// Manifest returns the bytes and the media type of a manifest.
	Manifest(context.Context, reconcile.Image) ([]byte, string, error)
	// Blob opens a blob. The reader ends when the context does.
	Blob(ctx context.Context, from reconcile.Repo, blob reconcile.Blob) (io.ReadCloser, error)
}

// Options say where and how much to keep.
type Options struct {
	Dir    string       // made if it doesn't exist; runs and processes may share it
	Budget int64        // bytes of blobs to hold at most, over all that share Dir
	Limits layer.Limits // on decompression; zero for layer.DefaultLimits
}

// A Stage holds blobs by digest, and layouts made of them. It implements reconcile.Stager. It may be used concurrently.
type Stage struct {
	source Source
	dir    string
	budget int64
	limits layer.Limits
	shared *flock.Flock // held while room is made
	run    string       // a directory of this Stage alone
	alive  *flock.Flock // held as long as the directory is in use

	allocate func(*os.File, int64) error // gives a file its size, and its room on the disk where the system can

	running sync.WaitGroup // fetches

	mu      sync.Mutex
	closed  bool
	pins    map[reconcile.Digest]int // blobs that must not be evicted
	fetches map[fetchKey]*fetch      // blobs on their way in
	views   map[reconcile.Digest]*view
}

var _ reconcile.Stager = (*Stage)(nil)

var errClosed = errors.New("the stage is closed")

// New opens a stage, and removes what runs that ended abruptly left in its directory.
func New(o Options, source Source) (*Stage, error) {
	if o.Budget <= 0 {
		return nil, errors.New("open stage: its budget must be more than 0 bytes")
	}
	if o.Limits == (layer.Limits{}) {
		o.Limits = layer.DefaultLimits
	}
	s := &Stage{
		source: source, dir: o.Dir, budget: o.Budget, limits: o.Limits, allocate: allocate,
		pins: map[reconcile.Digest]int{}, fetches: map[fetchKey]*fetch{}, views: map[reconcile.Digest]*view{},
	}
	if err := s.prepare(); err != nil {
		return nil, fmt.Errorf("open stage %s: %w", o.Dir, err)
	}
	return s, nil
}

// Budget returns how many bytes of blobs the stage may hold.
func (s *Stage) Budget() int64 { return s.budget }

// Close removes the layouts that were handed out. Blobs stay for the next run.
func (s *Stage) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	for _, f := range s.fetches {
		f.cancel()
	}
	s.mu.Unlock()
	s.running.Wait()
	return s.endRun()
}

// Stage fetches one manifest of an image with its configuration and layers, and verifies all digests and sizes and the diffIDs of the
// layers. The layout holds that manifest alone and keeps its blobs from being evicted until Release or Close.
func (s *Stage) Stage(ctx context.Context, from reconcile.Image, manifest reconcile.Digest) (reconcile.Layout, error) {
	for {
		v, mine, err := s.claimView(manifest)
		if err != nil {
			return reconcile.Layout{}, err
		}
		if mine {
			v.layout, v.err = s.build(ctx, reconcile.Image{Repo: from.Repo, Digest: manifest})
			close(v.ready)
		}
		select {
		case <-v.ready:
		case <-ctx.Done():
			_ = s.dropView(manifest, v) // what is left of it goes with the stage
			return reconcile.Layout{}, fmt.Errorf("stage %s: %w", manifest.Short(), ctx.Err())
		}
		if v.err == nil {
			return v.layout, nil
		}
		_ = s.dropView(manifest, v)
		if mine || ctx.Err() != nil {
			return reconcile.Layout{}, fmt.Errorf("stage %s: %w", reconcile.Image{Repo: from.Repo, Digest: manifest}, v.err)
		}
		// the other caller failed, perhaps for a reason of its own, such as its deadline or its repository
	}
}

// Release says that a layout from Stage isn't used any more. Each call of Stage wants one.
func (s *Stage) Release(l reconcile.Layout) error {
	s.mu.Lock()
	v := s.views[l.Manifest]
	s.mu.Unlock()
	if v == nil {
		return nil
	}
	return s.dropView(l.Manifest, v)
}
