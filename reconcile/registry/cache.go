package registry

import (
	"container/list"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

// A cache keeps small content by its digest: in memory for the run, and in a folder between runs if there is one. What comes from the
// folder is verified. The folder can be shared by several processes and deleted at any time; trouble with it only costs requests.
type cache struct {
	dir  string
	most int64 // bytes on disk

	mu      sync.Mutex
	entries map[reconcile.Digest]*list.Element
	recent  list.List // of entry, the most recently used first
	bytes   int64
	written int64 // to disk since the last look at its size
	looked  bool
	pruning bool
}

type entry struct {
	digest  reconcile.Digest
	content []byte
}

const (
	maxMemory    = 32 << 20  // bytes of content in memory
	defaultDisk  = 512 << 20 // bytes of content on disk
	touchedAfter = 24 * time.Hour
)

func newCache(dir string, most int64) *cache {
	if most <= 0 {
		most = defaultDisk
	}
	return &cache{dir: dir, most: most, entries: map[reconcile.Digest]*list.Element{}}
}

// get returns content that must not be changed.
func (c *cache) get(d reconcile.Digest) ([]byte, bool) {
	c.mu.Lock()
	if e, ok := c.entries[d]; ok {
		c.recent.MoveToFront(e)
		c.mu.Unlock()
		return e.Value.(entry).content, true
	}
	c.mu.Unlock()
	if c.dir == "" {
		return nil, false
	}
	name := c.file(d)
	info, err := os.Stat(name)
	if err != nil || info.Size() > maxManifest || !info.Mode().IsRegular() {
		return nil, false
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, false
	}
	if check(d, content) != nil {
		_ = os.Remove(name)
		return nil, false
	}
	if now := time.Now(); now.Sub(info.ModTime()) > touchedAfter {
		_ = os.Chtimes(name, now, now) // so that it counts as used
	}
	c.remember(d, content)
	return content, true
}

// put keeps content whose digest was verified.
func (c *cache) put(d reconcile.Digest, content []byte) {
	if len(content) > maxManifest {
		return
	}
	c.remember(d, content)
	if c.dir == "" {
		return
	}
	if c.write(d, content) == nil {
		c.tidy(int64(len(content)))
	}
}

func (c *cache) remember(d reconcile.Digest, content []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.entries[d]; ok {
		return
	}
	c.entries[d] = c.recent.PushFront(entry{d, content})
	c.bytes += int64(len(content))
	for c.bytes > maxMemory && c.recent.Len() > 1 {
		last := c.recent.Back()
		old := c.recent.Remove(last).(entry)
		delete(c.entries, old.digest)
		c.bytes -= int64(len(old.content))
	}
}

func (c *cache) file(d reconcile.Digest) string {
	return filepath.Join(c.dir, d.Algorithm(), d.Hex()[:2], d.Hex())
}

func (c *cache) write(d reconcile.Digest, content []byte) error {
	name := c.file(d)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// tidy bounds the folder, in the background: with the first content written in a run, and again after each eighth of the bound.
func (c *cache) tidy(written int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written += written
	if c.pruning || c.looked && c.written < c.most/8 {
		return
	}
	c.pruning, c.looked, c.written = true, true, 0
	go func() {
		c.prune()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.pruning = false
	}()
}

// prune removes what was unused for the longest time until a fifth of the bound is free.
func (c *cache) prune() {
	type file struct {
		name string
		size int64
		used time.Time
	}
	var files []file
	var total int64
	_ = filepath.WalkDir(c.dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil //nolint:nilerr // another process may have removed it; it is a cache
		}
		info, err := e.Info()
		if err != nil {
			return nil //nolint:nilerr // likewise
		}
		if strings.HasPrefix(e.Name(), ".new-") {
			if time.Since(info.ModTime()) > time.Hour { // left by a process that was killed
				_ = os.Remove(name)
			}
			return nil
		}
		files = append(files, file{name, info.Size(), info.ModTime()})
		total += info.Size()
		return nil
	})
	if total <= c.most {
		return
	}
	slices.SortFunc(files, func(a, b file) int { return a.used.Compare(b.used) })
	for _, f := range files {
		if total <= c.most/5*4 {
			return
		}
		if os.Remove(f.name) == nil {
			total -= f.size
		}
	}
}

// hasher returns the hash function of a digest.
func hasher(d reconcile.Digest) hash.Hash {
	if d.Algorithm() == "sha512" {
		return sha512.New()
	}
	return sha256.New()
}

// check tells whether content has the digest.
func check(d reconcile.Digest, content []byte) error {
	h := hasher(d)
	_, _ = h.Write(content)
	if got := hex.EncodeToString(h.Sum(nil)); got != d.Hex() {
		return refuse("the content has the digest %s:%s instead of %s", d.Algorithm(), got, d)
	}
	return nil
}

// digestOf returns the SHA-256 digest of content.
func digestOf(content []byte) reconcile.Digest {
	h := sha256.Sum256(content)
	return reconcile.MustDigest("sha256:" + hex.EncodeToString(h[:]))
}

// sum returns the digest of a manifest that was read by a reference: that digest, which it must have, or its SHA-256.
func sum(reference string, raw []byte) (reconcile.Digest, error) {
	if d, err := reconcile.ParseDigest(reference); err == nil {
		return d, check(d, raw)
	}
	return digestOf(raw), nil
}
