package stage

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/assay-oci/assay/reconcile"
)

// A view is a layout of one manifest and the number of its users.
type view struct {
	ready  chan struct{} // closed when layout or err is set
	layout reconcile.Layout
	err    error
	users  int // guarded by the stage's mutex
}

// claimView returns the view of a manifest. The caller that gets mine must build it.
func (s *Stage) claimView(manifest reconcile.Digest) (v *view, mine bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false, errClosed
	}
	if v = s.views[manifest]; v != nil {
		v.users++
		return v, false, nil
	}
	v = &view{ready: make(chan struct{}), users: 1}
	s.views[manifest] = v
	return v, true, nil
}

// dropView takes away one user. A view without users is removed; so is one that failed, at once, for the next caller to try again.
func (s *Stage) dropView(manifest reconcile.Digest, v *view) error {
	s.mu.Lock()
	v.users--
	last := v.users == 0
	failed := false
	select {
	case <-v.ready:
		failed = v.err != nil
	default:
		last = false // it is being built by another caller, who is a user too
	}
	if (last || failed) && s.views[manifest] == v {
		delete(s.views, manifest)
	}
	s.mu.Unlock()
	if last && v.layout.Dir != "" {
		return os.RemoveAll(v.layout.Dir)
	}
	return nil
}

// newLayout makes a layout's directory, without its blobs: OCI image specification v1.1, "Image Layout".
func (s *Stage) newLayout(digest reconcile.Digest, raw []byte, m manifest) (string, error) {
	index, err := json.Marshal(map[string]any{
		"schemaVersion": 2,
		"mediaType":     "application/vnd.oci.image.index.v1+json",
		"manifests":     []descriptor{{MediaType: m.MediaType, Digest: digest, Size: m.size}},
	})
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(filepath.Join(s.run, "views"), digest.Hex()[:12]+"-")
	if err != nil {
		return "", err
	}
	for path, content := range map[string][]byte{
		filepath.Join(dir, "oci-layout"): []byte(`{"imageLayoutVersion":"1.0.0"}`),
		filepath.Join(dir, "index.json"): index,
		blobIn(dir, digest):              raw,
	} {
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		if err == nil {
			err = os.WriteFile(path, content, 0o400)
		}
		if err != nil {
			return "", errors.Join(err, os.RemoveAll(dir))
		}
	}
	return dir, nil
}

func blobIn(dir string, d reconcile.Digest) string {
	return filepath.Join(dir, "blobs", d.Algorithm(), d.Hex())
}

// hold links a blob of the stage into a layout. While the link is there the blob isn't evicted, by any process.
func (s *Stage) hold(b reconcile.Blob, dir string) error {
	to := blobIn(dir, b.Digest)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	if err := os.Link(s.blobPath(b.Digest), to); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Stat(to)
	if err != nil {
		return err
	}
	if info.Size() != b.Size {
		return errors.Join(fs.ErrNotExist, os.Remove(to))
	}
	return nil
}
