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

// Two images that are staged at the same time often share a base.
func TestBlobThatTwoRepositoriesShareIsReadOnce(t *testing.T) {
	src := newSource()
	content := noise(1<<20, 13)
	blob := src.add(content)
	g := gated(src, 1000)
	s := newStage(t, t.TempDir(), 8<<20, src)
	first, err := s.Open(t.Context(), repo(t, "registry.example.com/one"), blob)
	if err != nil {
		t.Fatal(err)
	}
	<-g.reached
	var others, opening sync.WaitGroup
	for _, name := range []string{"two", "two", "three"} {
		opening.Add(1)
		others.Go(func() {
			opening.Done()
			if got, err := read(t, s, repo(t, "registry.example.com/"+name), blob); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	opening.Wait()
	close(g.open)
	if got, err := io.ReadAll(first); err != nil || !bytes.Equal(got, content) {
		t.Error(err)
	}
	others.Wait()
	first.Close()
	if n := src.count(blob); n != 1 {
		t.Errorf("the source was read %d times, want once", n)
	}
}

func TestBlobOfAnotherRegistryIsNotWaitedFor(t *testing.T) {
	src := newSource()
	content := noise(1<<20, 14)
	blob := src.add(content)
	slow := gated(src, 1000)
	src.wrap = func(from reconcile.Repo, _ reconcile.Blob, r io.Reader) io.Reader {
		if from.Host() == "slow.example.com" {
			slow.r = r
			return slow
		}
		return r
	}
	s := newStage(t, t.TempDir(), 8<<20, src)
	first, err := s.Open(t.Context(), repo(t, "slow.example.com/one"), blob)
	if err != nil {
		t.Fatal(err)
	}
	<-slow.reached
	if got, err := read(t, s, repo(t, "registry.example.com/one"), blob); err != nil || !bytes.Equal(got, content) {
		t.Error(err)
	}
	close(slow.open)
	first.Close()
}

// Repositories that lie, or that lose their readers, cost those who waited for them nothing but time.
func TestWhoWaitedForAnotherRepositoryInVainReadsItsOwn(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(cancel func(), lie *bool)
	}{
		{"it lies", func(_ func(), lie *bool) { *lie = true }},
		{"its reader goes away", func(cancel func(), _ *bool) { cancel() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := newSource()
			content := noise(1<<20, 15)
			blob := src.add(content)
			g := gated(src, 1000)
			lie := false
			src.wrap = func(from reconcile.Repo, _ reconcile.Blob, r io.Reader) io.Reader {
				if from.Path() != "first" {
					return r
				}
				g.r = r
				return liar{g, &lie}
			}
			s := newStage(t, t.TempDir(), 8<<20, src)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			first, err := s.Open(ctx, repo(t, "registry.example.com/first"), blob)
			if err != nil {
				t.Fatal(err)
			}
			<-g.reached
			var others sync.WaitGroup
			for _, name := range []string{"two", "three"} {
				others.Go(func() {
					if got, err := read(t, s, repo(t, "registry.example.com/"+name), blob); err != nil || !bytes.Equal(got, content) {
						t.Errorf("%s: %v", name, err)
					}
				})
			}
			c.end(cancel, &lie)
			close(g.open)
			_, _ = io.ReadAll(first)
			first.Close()
			others.Wait()
			if n := src.count(blob); n > 2 {
				t.Errorf("the source was read %d times", n)
			}
		})
	}
}

// liar changes what it reads, if it is told to before the gate opens.
type liar struct {
	*gate
	lie *bool
}

func (l liar) Read(p []byte) (int, error) {
	n, err := l.gate.Read(p)
	if n > 0 && *l.lie {
		p[0]++
	}
	return n, err
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
