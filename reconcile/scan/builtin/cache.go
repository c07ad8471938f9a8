package builtin

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/assay-oci/assay/reconcile"
)

// A cache remembers layers by diffID: who knows the diffID of a layer knows its uncompressed content. It may vanish at any time.
type cache struct{ dir string }

const (
	maxCached = 10_000    // layers
	maxStored = 512 << 20 // bytes of one, uncompressed
)

// path holds the version, since another one may find other packages.
func (c cache) path(d reconcile.Digest) string {
	return filepath.Join(c.dir, strings.ReplaceAll(Version, "+", "-"), d.Algorithm()+"-"+d.Hex()+".json.gz")
}

// get returns a layer that can be read; anything else is as good as absent.
func (c cache) get(d reconcile.Digest) (*contents, bool) {
	f, err := os.Open(c.path(d))
	if err != nil {
		return nil, false
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, false
	}
	var out struct {
		DiffID   reconcile.Digest
		Contents *contents
	}
	if json.NewDecoder(io.LimitReader(z, maxStored)).Decode(&out) != nil || out.DiffID != d || out.Contents == nil {
		return nil, false
	}
	return out.Contents, true
}

func (c cache) put(d reconcile.Digest, layer *contents) error {
	path := c.path(d)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("remember a layer: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "new-")
	if err != nil {
		return fmt.Errorf("remember a layer: %w", err)
	}
	z := gzip.NewWriter(f)
	err = json.NewEncoder(z).Encode(map[string]any{"DiffID": d, "Contents": layer})
	if err = errors.Join(err, z.Close(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("remember a layer: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return c.shrink(filepath.Dir(path))
}

// shrink removes the oldest half when there are too many.
func (c cache) shrink(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) <= maxCached {
		return err
	}
	age := map[string]int64{}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			age[e.Name()] = info.ModTime().UnixNano()
		}
	}
	sort.Slice(entries, func(i, j int) bool { return age[entries[i].Name()] < age[entries[j].Name()] })
	for _, e := range entries[:len(entries)/2] {
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
