package registry_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
)

func writeLayout(t *testing.T, indexes ...v1.ImageIndex) (dir string, digests []reconcile.Digest) {
	t.Helper()
	dir = t.TempDir()
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range indexes {
		if err := p.AppendIndex(x); err != nil {
			t.Fatal(err)
		}
		d, err := x.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, reconcile.MustDigest(d.String()))
	}
	return dir, digests
}

func TestALayoutIsReadLikeARegistry(t *testing.T) {
	one, two := registrytest.Index(true, nil, registrytest.Layer(1, 100), registrytest.Layer(2, 100)), registrytest.Index(false, nil, registrytest.Layer(3, 100), registrytest.Layer(4, 100))
	dir, digests := writeLayout(t, one)
	r, image, err := registry.OpenLayout(dir, reconcile.Digest{}, registry.Options{})
	if err != nil || image.Digest != digests[0] {
		t.Fatal(image, err)
	}
	tree, err := r.Tree(t.Context(), image)
	if err != nil || len(tree.Runnable()) != 2 {
		t.Fatalf("%+v, %v", tree, err)
	}
	blob := tree.Runnable()[0].Blobs[1]
	body, err := r.Open(t.Context(), image.Repo, blob)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if n, err := io.Copy(io.Discard, body); err != nil || n != blob.Size {
		t.Errorf("%d of %d bytes, %v", n, blob.Size, err)
	}

	dir, digests = writeLayout(t, one, two)
	if _, _, err := registry.OpenLayout(dir, reconcile.Digest{}, registry.Options{}); err == nil || !strings.Contains(err.Error(), "holds 2 images") {
		t.Errorf("two images: %v", err)
	}
	if r, image, err = registry.OpenLayout(dir, digests[1], registry.Options{}); err != nil {
		t.Fatal(err)
	}
	if tree, err := r.Tree(t.Context(), image); err != nil || len(tree.Runnable()) != 2 || tree.Root != digests[1] {
		t.Errorf("%+v, %v", tree, err)
	}
}

func TestALayoutIsNotBelieved(t *testing.T) {
	dir, digests := writeLayout(t, registrytest.Index(true, nil, registrytest.Layer(1, 100), registrytest.Layer(2, 100)))
	manifest := filepath.Join(dir, "blobs", "sha256", digests[0].Hex())
	raw, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(manifest, append(raw, ' '), 0o600); err != nil {
		t.Fatal(err)
	}
	r, image, err := registry.OpenLayout(dir, digests[0], registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if tree, err := r.Tree(t.Context(), image); err == nil {
		t.Errorf("a changed manifest was read: %+v", tree)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if os.WriteFile(secret, []byte(`{"schemaVersion":2}`), 0o600) != nil || os.Remove(manifest) != nil || os.Symlink(secret, manifest) != nil {
		t.Fatal("the link could not be made")
	}
	if tree, err := r.Tree(t.Context(), image); err == nil {
		t.Errorf("a link out of the layout was read: %+v", tree)
	}
	if _, _, err := registry.OpenLayout(t.TempDir(), reconcile.Digest{}, registry.Options{}); err == nil {
		t.Error("an empty folder is a layout")
	}
}
