package stage

import (
	"bytes"
	"context"
	"errors"
	"github.com/assay-oci/assay/reconcile"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestLeastRecentlyUsedIsEvicted(t *testing.T) {
	src := newSource()
	s := newStage(t, t.TempDir(), 3000, src)
	from := repo(t, "registry.example.com/app")
	var blobs []reconcile.Blob
	for i := range 3 {
		blobs = append(blobs, src.add(noise(1000, uint64(20+i))))
		if _, err := read(t, s, from, blobs[i]); err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(time.Duration(i-10) * time.Hour)
		if err := os.Chtimes(s.blobPath(blobs[i].Digest), old, old); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := read(t, s, from, blobs[0]); err != nil { // used again: the second is now the oldest
		t.Fatal(err)
	}
	if _, err := read(t, s, from, src.add(noise(1000, 30))); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false, true} {
		if _, err := os.Stat(s.blobPath(blobs[i].Digest)); (err == nil) != want {
			t.Errorf("blob %d is there: %v, want %v", i, err == nil, want)
		}
	}
}

func TestWhatIsInUseIsNotEvicted(t *testing.T) {
	src := newSource()
	a, b := noise(2000, 31), noise(2000, 32)
	da, db := src.plain(a), src.plain(b)
	s := newStage(t, t.TempDir(), 3500, src)
	l := mustStage(t, s, da)
	if _, err := s.Stage(t.Context(), image(t, db), db); !errors.Is(err, errNoRoom) {
		t.Fatalf("got %v, want that the stage is full", err)
	}
	// copying goes on past the stage
	if got, err := read(t, s, image(t, db).Repo, reconcile.Blob{Digest: digestOf(b), Size: 2000}); err != nil || !bytes.Equal(got, b) {
		t.Errorf("reading past the full stage: %v", err)
	}
	if err := s.Release(l); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(l.Dir); err == nil {
		t.Error("a released layout is still there")
	}
	mustStage(t, s, db)
	if _, err := os.Stat(s.blobPath(digestOf(a))); err == nil {
		t.Error("the budget is exceeded")
	}
}

func TestLayoutIsSharedUntilItsLastUserReleasesIt(t *testing.T) {
	src := newSource()
	d := src.plain(noise(100, 33))
	s := newStage(t, t.TempDir(), 1<<20, src)
	a, b := mustStage(t, s, d), mustStage(t, s, d)
	if a != b {
		t.Errorf("%+v and %+v", a, b)
	}
	for i, want := range []bool{true, false} {
		if err := s.Release(a); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(a.Dir); (err == nil) != want {
			t.Errorf("after %d releases it is there: %v", i+1, err == nil)
		}
	}
}

func TestBlobLargerThanTheBudgetIsStillRead(t *testing.T) {
	src := newSource()
	content := noise(5000, 34)
	blob := src.add(content)
	s := newStage(t, t.TempDir(), 1000, src)
	got, err := read(t, s, repo(t, "registry.example.com/app"), blob)
	if err != nil || !bytes.Equal(got, content) {
		t.Fatal(err)
	}
	src.blobs[blob.Digest] = noise(5000, 35)
	if _, err := read(t, s, repo(t, "registry.example.com/app"), blob); !errors.Is(err, errContent) {
		t.Errorf("wrong content read past the stage: %v", err)
	}
	d := src.plain(content)
	if _, err := s.Stage(t.Context(), image(t, d), d); err == nil || !strings.Contains(err.Error(), "raise the budget") {
		t.Errorf("staging: %v", err)
	}
}

func TestFullDiskIsNoReasonNotToCopy(t *testing.T) {
	src := newSource()
	s := newStage(t, t.TempDir(), 1<<20, src)
	from := repo(t, "registry.example.com/app")
	if _, err := read(t, s, from, src.add(noise(5000, 38))); err != nil {
		t.Fatal(err)
	}
	// the disk has room for one blob
	s.allocate = func(f *os.File, size int64) error {
		if kept, _ := os.ReadDir(filepath.Join(s.dir, "blobs", "sha256")); len(kept) > 0 {
			return &os.PathError{Op: "fallocate", Path: f.Name(), Err: syscall.ENOSPC}
		}
		return allocate(f, size)
	}
	second := noise(5000, 39)
	if got, err := read(t, s, from, src.add(second)); err != nil || !bytes.Equal(got, second) {
		t.Fatalf("where what is not in use can go: %v", err)
	}
	s.allocate = func(*os.File, int64) error { return syscall.ENOSPC }
	third := noise(5000, 40)
	if got, err := read(t, s, from, src.add(third)); err != nil || !bytes.Equal(got, third) {
		t.Errorf("past the full disk: %v", err)
	}
	d := src.plain(third)
	if _, err := s.Stage(t.Context(), image(t, d), d); !errors.Is(err, errNoRoom) || !strings.Contains(err.Error(), "its disk has no room") {
		t.Errorf("staging: %v", err)
	}
	if left, _ := os.ReadDir(filepath.Join(s.run, "partial")); len(left) > 0 {
		t.Errorf("files were left: %v", left)
	}
}

func TestStoredBlobThatWasChangedIsNoticedAndFetchedAgain(t *testing.T) {
	src := newSource()
	content := noise(5000, 36)
	blob := src.add(content)
	s := newStage(t, t.TempDir(), 1<<20, src)
	from := repo(t, "registry.example.com/app")
	if _, err := read(t, s, from, blob); err != nil {
		t.Fatal(err)
	}
	path := s.blobPath(blob.Digest)
	if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, noise(5000, 37), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t, s, from, blob); !errors.Is(err, errContent) {
		t.Errorf("got %v, want an error", err)
	}
	if got, err := read(t, s, from, blob); err != nil || !bytes.Equal(got, content) {
		t.Errorf("after that: %v", err)
	}
}

func TestRunsShareBlobsAndClearAwayWhatDiedWithOthers(t *testing.T) {
	src := newSource()
	content := noise(5000, 38)
	d, dir := src.plain(content), t.TempDir()
	dead := filepath.Join(dir, "runs", "run-dead")
	if err := errors.Join(os.MkdirAll(filepath.Join(dead, "partial"), 0o700), os.WriteFile(filepath.Join(dead, "partial", "blob-1"), make([]byte, 99_000), 0o600)); err != nil {
		t.Fatal(err)
	}
	a := newStage(t, dir, 100_000, src)
	if _, err := os.Stat(dead); err == nil {
		t.Error("a dead run's files are still there")
	}
	la := mustStage(t, a, d)
	b := newStage(t, dir, 100_000, src)
	lb := mustStage(t, b, d)
	if n := src.reads[digestOf(content)]; n != 1 {
		t.Errorf("read %d times, want once for both", n)
	}
	if la.Dir == lb.Dir {
		t.Error("two runs share a layout")
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(lb.Dir, "blobs/sha256", digestOf(content).Hex())); err != nil {
		t.Errorf("closing one run took the other's layout: %v", err)
	}
	if _, err := a.Stage(t.Context(), image(t, d), d); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := a.Open(t.Context(), image(t, d).Repo, reconcile.Blob{Digest: digestOf(content), Size: 5000}); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// What one run holds in a layout, another one does not evict.
func TestRunsRespectEachOther(t *testing.T) {
	src := newSource()
	x, y := src.plain(noise(2000, 39)), src.plain(noise(2000, 40))
	dir := t.TempDir()
	a, b := newStage(t, dir, 3500, src), newStage(t, dir, 3500, src)
	l := mustStage(t, a, x)
	if _, err := b.Stage(t.Context(), image(t, y), y); !errors.Is(err, errNoRoom) {
		t.Errorf("got %v, want that the stage is full", err)
	}
	if err := a.Release(l); err != nil {
		t.Fatal(err)
	}
	mustStage(t, b, y)
}

func TestConcurrentRunsOverASmallBudget(t *testing.T) {
	src := newSource()
	dir := t.TempDir()
	var images []reconcile.Digest
	var blobs []reconcile.Blob
	for i := range 6 {
		tar := noise(20_000, uint64(50+i))
		images = append(images, src.image([][]byte{gz(tar), tar[:1000]}, []reconcile.Digest{digestOf(tar), digestOf(tar[:1000])}))
		blobs = append(blobs, src.add(gz(tar)))
	}
	from := repo(t, "registry.example.com/app")
	var wg sync.WaitGroup
	for r := range 3 {
		s := newStage(t, dir, 60_000, src)
		for i := range 12 {
			wg.Go(func() {
				n := (i + r) % len(images)
				if i%2 == 0 {
					if _, err := read(t, s, from, blobs[n]); err != nil {
						t.Error(err)
					}
					return
				}
				l, err := s.Stage(t.Context(), image(t, images[n]), images[n])
				if errors.Is(err, errNoRoom) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := os.ReadFile(filepath.Join(l.Dir, "index.json")); err != nil {
					t.Error(err)
				}
				if err := s.Release(l); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	var held int64
	files, err := os.ReadDir(filepath.Join(dir, "blobs/sha256"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		held += info.Size()
	}
	if held > 60_000 {
		t.Errorf("%d bytes are held, more than the budget", held)
	}
}

func TestCancelledStaging(t *testing.T) {
	src := newSource()
	d := src.plain(noise(5000, 60))
	g := gated(src, 10)
	s := newStage(t, t.TempDir(), 1<<20, src)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() { _, err := s.Stage(ctx, image(t, d), d); failed <- err }()
	<-g.reached
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(g.open)
	src.mu.Lock()
	src.wrap = nil
	src.mu.Unlock()
	mustStage(t, s, d)
}

func TestUnusableOptions(t *testing.T) {
	if _, err := New(Options{Dir: t.TempDir()}, newSource()); err == nil {
		t.Error("a stage without a budget")
	}
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Dir: file, Budget: 1}, newSource()); err == nil {
		t.Error("a file as directory")
	}
}
