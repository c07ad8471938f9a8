package registrytest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/assay-oci/assay/reconcile"
)

// Layer makes a gzipped tar file with one file of incompressible bytes. The same seed and size give the same layer.
func Layer(seed uint64, size int64) v1.Layer {
	content := make([]byte, size)
	source := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24), 7})
	_, _ = source.Read(content)
	var buf bytes.Buffer
	zip, _ := gzip.NewWriterLevel(&buf, gzip.NoCompression)
	tape := tar.NewWriter(zip)
	_ = tape.WriteHeader(&tar.Header{Name: fmt.Sprintf("data/%d", seed), Mode: 0o644, Size: size, ModTime: time.Unix(0, 0)})
	_, _ = tape.Write(content)
	_ = tape.Close()
	_ = zip.Close()
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer))
	if err != nil {
		panic(err) // the bytes are our own
	}
	return layer
}

// Image makes an image for linux and an architecture from layers.
func Image(architecture string, layers ...v1.Layer) v1.Image {
	img := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	img, err := mutate.AppendLayers(img, layers...)
	if err != nil {
		panic(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		panic(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", architecture
	config.Created = v1.Time{Time: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	config.Config.User = "1000"
	config.Config.Labels = map[string]string{"org.opencontainers.image.title": "test"}
	img, err = mutate.ConfigFile(img, config)
	if err != nil {
		panic(err)
	}
	return img
}

// Attestation makes what BuildKit puts beside an image in an index: a manifest for the platform unknown/unknown with an in-toto
// statement as its layer.
func Attestation(about v1.Image) mutate.IndexAddendum {
	digest, err := about.Digest()
	if err != nil {
		panic(err)
	}
	statement := static.NewLayer([]byte(`{"_type":"https://in-toto.io/Statement/v0.1","subject":[{"digest":{"sha256":"`+digest.Hex+`"}}]}`),
		"application/vnd.in-toto+json")
	img := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	img, err = mutate.AppendLayers(img, statement)
	if err != nil {
		panic(err)
	}
	return mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{
		Platform:    &v1.Platform{OS: "unknown", Architecture: "unknown"},
		Annotations: map[string]string{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": digest.String()},
	}}
}

// Index makes an index of an amd64 and an arm64 image, each with an attestation if so wished. The layers of base are in both.
func Index(attested bool, base []v1.Layer, amd64, arm64 v1.Layer) v1.ImageIndex {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for i, own := range []v1.Layer{amd64, arm64} {
		img := Image(architectures[i], append(append([]v1.Layer{}, base...), own)...)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: "linux", Architecture: architectures[i]}}})
		if attested {
			index = mutate.AppendManifests(index, Attestation(img))
		}
	}
	return index
}

// IndexOf makes an index of an amd64 and an arm64 image.
func IndexOf(amd64, arm64 v1.Image) v1.ImageIndex {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for i, img := range []v1.Image{amd64, arm64} {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: "linux", Architecture: architectures[i]}}})
	}
	return index
}

var architectures = []string{"amd64", "arm64"}

// Push writes an image or an index (anything that go-containerregistry can) into a repository, under tags. Without a tag it is
// written by digest.
func (s *Server) Push(path string, what remote.Taggable, tags ...string) reconcile.Image {
	s.t.Helper()
	return Push(s.t, s.Host, path, what, tags...)
}

// Push writes an image or an index into a repository of any registry on loopback, under tags, or by digest where there are none.
func Push(t testing.TB, host, path string, what remote.Taggable, tags ...string) reconcile.Image {
	t.Helper()
	image, err := Write(host, path, what, tags...)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// Write is Push for programs that are no tests.
func Write(host, path string, what remote.Taggable, tags ...string) (reconcile.Image, error) {
	digest, err := partial(what)
	if err != nil {
		return reconcile.Image{}, err
	}
	repo, err := name.NewRepository(host + "/" + path)
	if err != nil {
		return reconcile.Image{}, err
	}
	refs := make([]name.Reference, 0, len(tags)+1)
	for _, tag := range tags {
		refs = append(refs, repo.Tag(tag))
	}
	if len(tags) == 0 {
		refs = append(refs, repo.Digest(digest.String()))
	}
	for i, ref := range refs {
		put := write
		if i > 0 { // the content is there by now
			put = func(ref name.Reference, what remote.Taggable) error { return remote.Put(ref, what) }
		}
		if err := put(ref, what); err != nil {
			return reconcile.Image{}, fmt.Errorf("push %s: %w", ref, err)
		}
	}
	r, err := reconcile.ParseRepo(host + "/" + path)
	if err != nil {
		return reconcile.Image{}, err
	}
	return reconcile.Image{Repo: r, Digest: reconcile.MustDigest(digest.String())}, nil
}

func partial(what remote.Taggable) (v1.Hash, error) {
	raw, err := what.RawManifest()
	if err != nil {
		return v1.Hash{}, err
	}
	h, _, err := v1.SHA256(bytes.NewReader(raw))
	return h, err
}

func write(ref name.Reference, what remote.Taggable) error {
	switch w := what.(type) {
	case v1.ImageIndex:
		return remote.WriteIndex(ref, w)
	case v1.Image:
		return remote.Write(ref, w)
	}
	return remote.Put(ref, what)
}
