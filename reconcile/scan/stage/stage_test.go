package stage

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/scan/layer"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/klauspost/compress/zstd"
)

// A source serves content from memory and counts how often it is asked.
type source struct {
	mu        sync.Mutex
	manifests map[reconcile.Digest][]byte
	blobs     map[reconcile.Digest][]byte
	reads     map[reconcile.Digest]int
	wrap      func(reconcile.Repo, reconcile.Blob, io.Reader) io.Reader
	mediaType string
}

func newSource() *source {
	return &source{manifests: map[reconcile.Digest][]byte{}, blobs: map[reconcile.Digest][]byte{}, reads: map[reconcile.Digest]int{}, mediaType: ociManifest}
}

func (s *source) Manifest(_ context.Context, i reconcile.Image) ([]byte, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.manifests[i.Digest]
	if !ok {
		return nil, "", reconcile.ErrNotFound
	}
	return b, s.mediaType, nil
}

func (s *source) Blob(ctx context.Context, from reconcile.Repo, b reconcile.Blob) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	content, ok := s.blobs[b.Digest]
	if !ok {
		return nil, reconcile.ErrNotFound
	}
	s.reads[b.Digest]++
	var r io.Reader = bytes.NewReader(content)
	if s.wrap != nil {
		r = s.wrap(from, b, r)
	}
	return io.NopCloser(cancelled{ctx, r}), nil
}

// cancelled ends with the context, as a response's body does.
type cancelled struct {
	ctx context.Context
	r   io.Reader
}

func (c cancelled) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

func (s *source) add(content []byte) reconcile.Blob {
	d := digestOf(content)
	s.mu.Lock()
	s.blobs[d] = content
	s.mu.Unlock()
	return reconcile.Blob{Digest: d, Size: int64(len(content)), MediaType: "application/octet-stream"}
}

func (s *source) count(b reconcile.Blob) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads[b.Digest]
}

// image adds an image of given layers, each already compressed, and with the diffIDs that it shall claim.
func (s *source) image(layers [][]byte, diffIDs []reconcile.Digest) reconcile.Digest {
	config, _ := json.Marshal(map[string]any{"os": "linux", "architecture": "arm64", "variant": "v8",
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs}})
	c := s.add(config)
	m := map[string]any{"schemaVersion": 2, "mediaType": ociManifest,
		"config": descriptor{"application/vnd.oci.image.config.v1+json", c.Digest, c.Size}}
	var ds []descriptor
	for _, l := range layers {
		b := s.add(l)
		mediaType := "application/vnd.oci.image.layer.v1.tar"
		if bytes.HasPrefix(l, []byte{0x1f, 0x8b}) {
			mediaType += "+gzip"
		}
		ds = append(ds, descriptor{mediaType, b.Digest, b.Size})
	}
	m["layers"] = ds
	raw, _ := json.Marshal(m)
	d := digestOf(raw)
	s.manifests[d] = raw
	return d
}

// plain adds an image of one layer that holds the bytes as they are.
func (s *source) plain(content []byte) reconcile.Digest {
	return s.image([][]byte{content}, []reconcile.Digest{digestOf(content)})
}

func digestOf(b []byte) reconcile.Digest {
	sum := sha256.Sum256(b)
	return reconcile.MustDigest("sha256:" + hex.EncodeToString(sum[:]))
}

func gz(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func zst(t testing.TB, b []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

// noise is content that doesn't compress.
func noise(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	r.Read(b)
	return b
}

func repo(t testing.TB, s string) reconcile.Repo {
	t.Helper()
	r, err := reconcile.ParseRepo(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func image(t testing.TB, d reconcile.Digest) reconcile.Image {
	return reconcile.Image{Repo: repo(t, "registry.example.com/app"), Digest: d}
}

func newStage(t testing.TB, dir string, budget int64, src Source) *Stage {
	t.Helper()
	s, err := New(Options{Dir: dir, Budget: budget}, src)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func mustStage(t testing.TB, s *Stage, d reconcile.Digest) reconcile.Layout {
	t.Helper()
	l, err := s.Stage(t.Context(), image(t, d), d)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func read(t testing.TB, s *Stage, from reconcile.Repo, b reconcile.Blob) ([]byte, error) {
	t.Helper()
	r, err := s.Open(t.Context(), from, b)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestLayoutIsWhatOtherToolsRead(t *testing.T) {
	src := newSource()
	tar := noise(100_000, 1)
	tars := [][]byte{tar, tar[:50_000], tar[:20_000]}
	d := src.image([][]byte{gz(tars[0]), zst(t, tars[1]), tars[2]}, []reconcile.Digest{digestOf(tars[0]), digestOf(tars[1]), digestOf(tars[2])})
	other := src.plain([]byte("another image"))
	s := newStage(t, t.TempDir(), 1<<20, src)
	mustStage(t, s, other)
	l := mustStage(t, s, d)
	if want := (reconcile.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}); l.Platform != want || l.Manifest != d {
		t.Errorf("%+v", l)
	}
	index, err := layout.ImageIndexFromPath(l.Dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil || len(m.Manifests) != 1 || m.Manifests[0].Digest.String() != d.String() {
		t.Fatalf("index %+v, %v; want the one manifest", m, err)
	}
	img, err := index.Image(m.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(img, validate.Fast); err != nil {
		t.Error(err)
	}
	for _, dg := range []reconcile.Digest{digestOf([]byte("another image")), other} {
		if _, err := os.Stat(filepath.Join(l.Dir, "blobs/sha256", dg.Hex())); err == nil {
			t.Error("the layout shows another image's content")
		}
	}
}

func TestWhatIsNotVerifiedIsNotHandedOut(t *testing.T) {
	tar := noise(5000, 2)
	tests := map[string]struct {
		make func(*source) reconcile.Digest
		want string
	}{
		"false diffID": {func(s *source) reconcile.Digest {
			return s.image([][]byte{gz(tar)}, []reconcile.Digest{digestOf([]byte("x"))})
		}, "lies about its content"},
		"fewer diffIDs than layers": {func(s *source) reconcile.Digest { return s.image([][]byte{tar}, nil) }, "1 layers but 0 diffIDs"},
		"layer with other content": {func(s *source) reconcile.Digest {
			d := s.plain(tar)
			s.blobs[digestOf(tar)] = noise(5000, 3)
			return d
		}, "its digest is another one"},
		"layer too short": {func(s *source) reconcile.Digest {
			d := s.plain(tar)
			s.blobs[digestOf(tar)] = tar[:4999]
			return d
		}, "it has 4999 bytes, not 5000"},
		"layer too long": {func(s *source) reconcile.Digest {
			d := s.plain(tar)
			s.blobs[digestOf(tar)] = append(bytes.Clone(tar), 0)
			return d
		}, "more than 5000 bytes"},
		"manifest with other content": {func(s *source) reconcile.Digest {
			d := s.plain(tar)
			s.manifests[d] = append(s.manifests[d], ' ')
			return d
		}, "manifest's digest"},
		"gzip with something after it": {func(s *source) reconcile.Digest {
			return s.image([][]byte{append(gz(tar), "hidden behind it"...)}, []reconcile.Digest{digestOf(tar)})
		}, "gzip: invalid header"},
		"gzip cut off": {func(s *source) reconcile.Digest {
			z := gz(tar)
			return s.image([][]byte{z[:len(z)-9]}, []reconcile.Digest{digestOf(tar)})
		}, "unexpected EOF"},
		"manifest that is an index": {func(s *source) reconcile.Digest {
			s.mediaType = "application/vnd.oci.image.index.v1+json"
			return s.plain(tar)
		}, "no image manifest"},
		"manifest of no JSON": {func(s *source) reconcile.Digest {
			d := digestOf([]byte("x"))
			s.manifests[d] = []byte("x")
			return d
		}, "malformed"},
		"manifest without blobs": {func(s *source) reconcile.Digest {
			d := digestOf([]byte("{}"))
			s.manifests[d] = []byte("{}")
			return d
		}, "without digest"},
		"manifest with a path for a digest": {func(s *source) reconcile.Digest {
			raw := []byte(`{"config":{"digest":"sha256:../../../../etc/passwd","size":1}}`)
			s.manifests[digestOf(raw)] = raw
			return digestOf(raw)
		}, "malformed"},
		"absent manifest": {func(s *source) reconcile.Digest { return digestOf(nil) }, "not found"},
		"absent layer": {func(s *source) reconcile.Digest {
			d := s.plain(tar)
			delete(s.blobs, digestOf(tar))
			return d
		}, "not found"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			src := newSource()
			s := newStage(t, t.TempDir(), 1<<20, src)
			d := test.make(src)
			_, err := s.Stage(t.Context(), image(t, d), d)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
			s.running.Wait()
			if left, _ := os.ReadDir(filepath.Join(s.run, "views")); len(left) > 0 {
				t.Errorf("a layout was left: %v", left)
			}
			if left, _ := os.ReadDir(filepath.Join(s.run, "partial")); len(left) > 0 {
				t.Errorf("a partial file was left: %v", left)
			}
		})
	}
}

func TestBombsAreRefused(t *testing.T) {
	src := newSource()
	zeros := make([]byte, 2<<20)
	d := src.image([][]byte{gz(zeros)}, []reconcile.Digest{digestOf(zeros)})
	s, err := New(Options{Dir: t.TempDir(), Budget: 1 << 20, Limits: layer.Limits{Bytes: 1 << 20}}, src)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Stage(t.Context(), image(t, d), d); !errors.Is(err, layer.ErrBomb) {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestLongDigests(t *testing.T) {
	src := newSource()
	content := noise(1000, 4)
	sum := sha512.Sum512(content)
	d := reconcile.MustDigest("sha512:" + hex.EncodeToString(sum[:]))
	src.blobs[d] = content
	s := newStage(t, t.TempDir(), 1<<20, src)
	for range 2 {
		got, err := read(t, s, repo(t, "registry.example.com/a"), reconcile.Blob{Digest: d, Size: 1000})
		if err != nil || !bytes.Equal(got, content) {
			t.Fatal(err)
		}
	}
	if src.reads[d] != 1 {
		t.Errorf("read %d times", src.reads[d])
	}
}
