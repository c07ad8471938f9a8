package stage

import (
	"bytes"
	"context"
	"errors"
	"github.com/assay-oci/assay/reconcile"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
)

func TestBlobIsReadOnceHoweverManyWantIt(t *testing.T) {
	src := newSource()
	tar := noise(400_000, 5)
	d := src.image([][]byte{gz(tar)}, []reconcile.Digest{digestOf(tar)})
	blob := reconcile.Blob{Digest: digestOf(gz(tar)), Size: int64(len(gz(tar)))}
	s := newStage(t, t.TempDir(), 8<<20, src)
	from := image(t, d).Repo
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			if i%4 == 0 {
				if _, err := s.Stage(t.Context(), image(t, d), d); err != nil {
					t.Error(err)
				}
				return
			}
			got, err := read(t, s, from, blob)
			if err != nil || digestOf(got) != blob.Digest {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
	if n := src.count(blob); n != 1 {
		t.Errorf("the source was read %d times, want once", n)
	}
}

// gate lets a test hold a download in its middle.
type gate struct {
	r       io.Reader
	n       int
	once    sync.Once
	reached chan struct{}
	open    chan struct{}
}

func (g *gate) Read(p []byte) (int, error) {
	if g.n == 0 {
		g.once.Do(func() { close(g.reached) })
		<-g.open
		return g.r.Read(p)
	}
	n, err := g.r.Read(p[:min(len(p), g.n)])
	g.n -= n
	return n, err
}

func gated(src *source, n int) *gate {
	g := &gate{n: n, reached: make(chan struct{}), open: make(chan struct{})}
	src.wrap = func(_ reconcile.Repo, _ reconcile.Blob, r io.Reader) io.Reader { g.r = r; return g }
	return g
}

func TestReadersFollowADownloadInItsMiddle(t *testing.T) {
	src := newSource()
	content := noise(1<<20, 6)
	blob := src.add(content)
	g := gated(src, 600_000)
	s := newStage(t, t.TempDir(), 8<<20, src)
	from := repo(t, "registry.example.com/app")
	first, err := s.Open(t.Context(), from, blob)
	if err != nil {
		t.Fatal(err)
	}
	<-g.reached
	second, err := s.Open(t.Context(), from, blob)
	if err != nil {
		t.Fatal(err)
	}
	half := make([]byte, 600_000)
	if _, err := io.ReadFull(second, half); err != nil { // while the rest has not been sent
		t.Fatal(err)
	}
	close(g.open)
	rest, err := io.ReadAll(second)
	if err != nil || !bytes.Equal(append(half, rest...), content) {
		t.Errorf("second reader: %v", err)
	}
	all, err := io.ReadAll(first)
	if err != nil || !bytes.Equal(all, content) {
		t.Errorf("first reader: %v", err)
	}
	first.Close()
	second.Close()
	if n := src.count(blob); n != 1 {
		t.Errorf("read %d times", n)
	}
}

func TestEveryReaderLearnsOfWrongContentBeforeTheEnd(t *testing.T) {
	src := newSource()
	blob := src.add(noise(1<<20, 7))
	src.blobs[blob.Digest] = noise(1<<20, 8)
	g := gated(src, 1000)
	s := newStage(t, t.TempDir(), 8<<20, src)
	bad, good := repo(t, "registry.example.com/bad"), repo(t, "registry.example.com/good")
	var readers []io.ReadCloser
	for range 3 {
		r, err := s.Open(t.Context(), bad, blob)
		if err != nil {
			t.Fatal(err)
		}
		readers = append(readers, r)
	}
	close(g.open)
	for _, r := range readers {
		if _, err := io.ReadAll(r); !errors.Is(err, errContent) {
			t.Errorf("got %v, want an error", err)
		}
		r.Close()
	}
	src.wrap = nil
	src.blobs[blob.Digest] = noise(1<<20, 7)
	if got, err := read(t, s, good, blob); err != nil || digestOf(got) != blob.Digest {
		t.Errorf("from a repository that tells the truth: %v", err)
	}
}

func TestOneRepositorysLieFailsNobodyElse(t *testing.T) {
	src := newSource()
	content := noise(1<<20, 9)
	blob := src.add(content)
	bad, good := repo(t, "registry.example.com/bad"), repo(t, "registry.example.com/good")
	src.wrap = func(from reconcile.Repo, _ reconcile.Blob, r io.Reader) io.Reader {
		if from == bad {
			return bytes.NewReader(noise(1<<20, 10))
		}
		return r
	}
	s := newStage(t, t.TempDir(), 8<<20, src)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got, err := read(t, s, good, blob); err != nil || !bytes.Equal(got, content) {
				t.Error(err)
			}
		})
		wg.Go(func() {
			// right if the good one was faster, else an error; never wrong content
			if got, err := read(t, s, bad, blob); err == nil && !bytes.Equal(got, content) {
				t.Error("wrong content")
			}
		})
	}
	wg.Wait()
}

func TestBlobThatRepositoriesShareIsReadOnce(t *testing.T) {
	dir := t.TempDir()
	one, two := repo(t, "registry.example.com/one"), repo(t, "registry.example.com/two")
	synctest.Test(t, func(t *testing.T) {
		src := newSource()
		content := noise(1<<20, 12)
		blob := src.add(content)
		g := gated(src, 1000)
		s := newStage(t, dir, 8<<20, src)
		var wg sync.WaitGroup
		for _, from := range []reconcile.Repo{one, two, one, two} {
			wg.Go(func() {
				if got, err := read(t, s, from, blob); err != nil || !bytes.Equal(got, content) {
					t.Error(err)
				}
			})
		}
		synctest.Wait() // all are waiting, one of them for the source
		close(g.open)
		wg.Wait()
		if n := src.count(blob); n != 1 {
			t.Errorf("it was read %d times, want once", n)
		}
	})
}

func TestDownloadOutlivesTheReaderThatBeganIt(t *testing.T) {
	src := newSource()
	content := noise(1<<20, 11)
	blob := src.add(content)
	g := gated(src, 1000)
	s := newStage(t, t.TempDir(), 8<<20, src)
	from := repo(t, "registry.example.com/app")
	ctx, cancel := context.WithCancel(t.Context())
	first, err := s.Open(ctx, from, blob)
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Open(t.Context(), from, blob)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.ReadAll(first); !errors.Is(err, context.Canceled) {
		t.Errorf("the cancelled reader: %v", err)
	}
	first.Close()
	close(g.open)
	if got, err := io.ReadAll(second); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the other reader: %v", err)
	}
	second.Close()
}

func TestDownloadThatNobodyReadsEnds(t *testing.T) {
	src := newSource()
	blob := src.add(noise(1<<20, 12))
	g := gated(src, 1000)
	s := newStage(t, t.TempDir(), 8<<20, src)
	r, err := s.Open(t.Context(), repo(t, "registry.example.com/app"), blob)
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	close(g.open)
	s.running.Wait()
	if left, _ := os.ReadDir(filepath.Join(s.run, "partial")); len(left) > 0 {
		t.Errorf("a partial file was left: %v", left)
	}
	if _, err := os.Stat(s.blobPath(blob.Digest)); err == nil {
		t.Error("the blob was fetched to its end for nobody")
	}
}
