package source

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	gitcache "github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// A cache keeps clones on disk, each named by its URL, commit and depth, so that none ever changes and processes need no lock.
type cache struct {
	dir string
	url string
}

// keptClones is how many clones of one URL are kept beside those that were used within stillUsed: pack files are opened when something is read of them, and what another
// run has open, or this one, must stay.
const (
	keptClones = 8
	stillUsed  = 6 * time.Hour
)

func (c *cache) key() string {
	sum := sha256.Sum256([]byte(c.url))
	return hex.EncodeToString(sum[:8])
}

func diskStore(dir string) storage.Storer {
	return filesystem.NewStorageWithOptions(osfs.New(dir), gitcache.NewObjectLRU(16<<20), filesystem.Options{LargeObjectThreshold: maxBlob})
}

// get returns the clone of a commit, made by into if it isn't there yet.
func (c *cache) get(h plumbing.Hash, depth int, into func(storage.Storer) (*git.Repository, error)) (*git.Repository, error) {
	final := filepath.Join(c.dir, fmt.Sprintf("%s-%s-%d", c.key(), h, depth))
	if repo := whole(final, h); repo != nil {
		now := time.Now()
		_ = os.Chtimes(final, now, now) // it counts as used; if that can't be noted, it is fetched again one day
		return repo, nil
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the cache folder: %w", err)
	}
	temp, err := os.MkdirTemp(c.dir, "tmp-")
	if err != nil {
		return nil, fmt.Errorf("make a folder in the cache: %w", err)
	}
	if _, err := into(diskStore(temp)); err != nil {
		_ = os.RemoveAll(temp)
		return nil, err
	}
	if err := settle(temp, final, h); err != nil {
		return nil, err
	}
	c.prune(filepath.Base(final))
	return git.Open(diskStore(final), nil)
}

// whole opens the clone of a commit; nil if there is none, or a broken one.
func whole(dir string, h plumbing.Hash) *git.Repository {
	repo, err := git.Open(diskStore(dir), nil)
	if err != nil {
		return nil
	}
	if _, err := repo.CommitObject(h); err != nil {
		return nil
	}
	return repo
}

// settle moves a new clone to its place. If another process was faster, its clone is taken: somebody may be reading it.
func settle(temp, final string, h plumbing.Hash) error {
	err := os.Rename(temp, final)
	for tries := 0; err != nil && tries < 3; tries++ {
		if whole(final, h) != nil {
			return os.RemoveAll(temp)
		}
		_ = os.RemoveAll(final)
		err = os.Rename(temp, final)
	}
	if err != nil {
		_ = os.RemoveAll(temp)
		return fmt.Errorf("keep a clone in the cache: %w", err)
	}
	return nil
}

// prune removes the clones of this URL that were not used for longest.
func (c *cache) prune(keep string) {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return
	}
	var own []os.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasPrefix(e.Name(), c.key()+"-") && e.Name() != keep {
			own = append(own, info)
		}
	}
	sort.Slice(own, func(i, j int) bool { return own[i].ModTime().After(own[j].ModTime()) })
	for i, info := range own {
		if i >= keptClones-1 && time.Since(info.ModTime()) > stillUsed {
			_ = os.RemoveAll(filepath.Join(c.dir, info.Name()))
		}
	}
}
