package stage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"syscall"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/gofrs/flock"
)

// In the stage's directory:
//
//	lock                  held while room is made and while runs begin and end
//	blobs/sha256/<hex>    whole blobs whose digest was verified; the time of modification is that of the last use
//	diffids/sha256-<hex>  the diffID of a layer, as found by decompressing it
//	runs/<name>/lock      held by the process whose run it is; if it isn't held, the run is over
//	runs/<name>/partial/  blobs on their way in, as long as they will be
//	runs/<name>/keep/     links to blobs that have just come in and are still being read
//	runs/<name>/views/    layouts, made of hard links to blobs; a blob with several links is in use

func (s *Stage) blobPath(d reconcile.Digest) string {
	return filepath.Join(s.dir, "blobs", d.Algorithm(), d.Hex())
}

func (s *Stage) diffIDPath(d reconcile.Digest) string {
	return filepath.Join(s.dir, "diffids", d.Algorithm()+"-"+d.Hex())
}

func (s *Stage) prepare() error {
	for _, d := range []string{"blobs/sha256", "blobs/sha512", "diffids", "runs"} {
		if err := os.MkdirAll(filepath.Join(s.dir, d), 0o700); err != nil {
			return err
		}
	}
	s.shared = flock.New(filepath.Join(s.dir, "lock"))
	if err := s.shared.Lock(); err != nil {
		return err
	}
	defer func() { _ = s.shared.Unlock() }() // the lock ends with the process at the latest
	if err := cleanRuns(filepath.Join(s.dir, "runs")); err != nil {
		return err
	}
	run, err := os.MkdirTemp(filepath.Join(s.dir, "runs"), "run-")
	if err != nil {
		return err
	}
	s.run = run
	for _, d := range []string{"partial", "keep", "views"} {
		if err := os.Mkdir(filepath.Join(run, d), 0o700); err != nil {
			return err
		}
	}
	s.alive = flock.New(filepath.Join(run, "lock"))
	return s.alive.Lock()
}

// cleanRuns removes the directories of runs whose process is gone.
func cleanRuns(dir string) error {
	runs, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, r := range runs {
		path := filepath.Join(dir, r.Name())
		lock := flock.New(filepath.Join(path, "lock"))
		over, err := lock.TryLock()
		if err == nil && over {
			err = os.RemoveAll(path)
		}
		if err := errors.Join(err, lock.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (s *Stage) endRun() error {
	err := os.RemoveAll(s.run)
	return errors.Join(err, s.alive.Close(), s.shared.Close())
}

// A stored is a file that takes room.
type stored struct {
	path   string
	digest reconcile.Digest // zero for a partial file
	size   int64
	used   time.Time
	inUse  bool
}

// errNoRoom says that a blob doesn't fit beside what is in use.
var errNoRoom = errors.New("the stage is full")

// reserve makes room for a blob and creates the file that it will be written to, at its full size, so that everyone who shares the
// directory counts it. What was not used for longest goes first.
func (s *Stage) reserve(b reconcile.Blob) (f *os.File, err error) {
	if b.Size > s.budget {
		return nil, fmt.Errorf("%w: a blob of %d bytes is more than its budget of %d; raise the budget", errNoRoom, b.Size, s.budget)
	}
	err = s.exclusively(func() error {
		if s.closed {
			return errClosed
		}
		if err := s.makeRoom(b.Size); err != nil {
			return err
		}
		if f, err = s.newPartial(b); !errors.Is(err, syscall.ENOSPC) {
			return err
		}
		_ = s.makeRoom(s.budget) // evicts all that is not in use; that something is in use is no news
		if f, err = s.newPartial(b); errors.Is(err, syscall.ENOSPC) {
			err = fmt.Errorf("%w: its disk has no room for a blob of %d bytes; make some, or keep the stage on another disk", errNoRoom, b.Size)
		}
		return err
	})
	return f, err
}

func (s *Stage) makeRoom(need int64) error {
	files, err := s.files()
	if err != nil {
		return err
	}
	var held int64
	for _, f := range files {
		held += f.size
	}
	sort.Slice(files, func(i, j int) bool { return files[i].used.Before(files[j].used) })
	for _, f := range files {
		if held+need <= s.budget {
			return nil
		}
		if f.inUse {
			continue
		}
		if err := s.evict(f); err != nil {
			return err
		}
		held -= f.size
	}
	if held+need > s.budget {
		return fmt.Errorf("%w: %d of %d bytes are in use and %d more are needed; raise the budget or do less at once", errNoRoom, held, s.budget, need)
	}
	return nil
}

func (s *Stage) newPartial(b reconcile.Blob) (*os.File, error) {
	f, err := os.CreateTemp(filepath.Join(s.run, "partial"), "blob-")
	if err != nil {
		return nil, err
	}
	if err := s.allocate(f, b.Size); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return f, nil
}

func (s *Stage) evict(f stored) error {
	if err := os.Remove(s.diffIDPath(f.digest)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// files lists all that counts. It is called with both locks held.
func (s *Stage) files() ([]stored, error) {
	var out []stored
	for _, algorithm := range []string{"sha256", "sha512"} {
		err := walkFiles(filepath.Join(s.dir, "blobs", algorithm), func(path string, info fs.FileInfo) {
			d, err := reconcile.ParseDigest(algorithm + ":" + info.Name())
			if err != nil {
				return // not ours
			}
			out = append(out, stored{path, d, info.Size(), info.ModTime(), s.pins[d] > 0 || links(info) > 1})
		})
		if err != nil {
			return nil, err
		}
	}
	partials, err := filepath.Glob(filepath.Join(s.dir, "runs", "*", "partial"))
	if err != nil {
		return nil, err
	}
	for _, dir := range partials {
		err := walkFiles(dir, func(path string, info fs.FileInfo) {
			out = append(out, stored{path: path, size: info.Size(), inUse: true})
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func walkFiles(dir string, each func(string, fs.FileInfo)) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) { // a run that has just ended
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if info.Mode().IsRegular() {
			each(filepath.Join(dir, e.Name()), info)
		}
	}
	return nil
}

// publish makes a verified file the blob of its digest. A second link keeps it from being evicted until unkeep.
func (s *Stage) publish(f *os.File, d reconcile.Digest) error {
	if err := f.Chmod(0o400); err != nil {
		return err
	}
	// without this, a machine that loses power could keep the name and lose the content
	if err := f.Sync(); err != nil {
		return err
	}
	return s.exclusively(func() error { // or somebody who makes room could see the file neither there nor here
		if err := os.Link(f.Name(), s.keepPath(f)); err != nil {
			return err
		}
		return os.Rename(f.Name(), s.blobPath(d))
	})
}

// exclusively runs f while no other run changes what counts.
func (s *Stage) exclusively(f func() error) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.shared.Lock(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.shared.Unlock()) }()
	return f()
}

func (s *Stage) keepPath(f *os.File) string {
	return filepath.Join(s.run, "keep", filepath.Base(f.Name()))
}

// unkeep removes the link of publish, if there is one.
func (s *Stage) unkeep(f *os.File) {
	_ = os.Remove(s.keepPath(f)) // if that fails, the run's end removes it
}

func (s *Stage) pin(d reconcile.Digest) {
	s.mu.Lock()
	s.pins[d]++
	s.mu.Unlock()
}

func (s *Stage) unpin(d reconcile.Digest) {
	s.mu.Lock()
	if s.pins[d]--; s.pins[d] == 0 {
		delete(s.pins, d)
	}
	s.mu.Unlock()
}
