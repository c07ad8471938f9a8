// Package scantest holds images made of real packages' metadata, advisories about them, and the tests that each scanner must pass.
package scantest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/assay-oci/assay/reconcile"
)

// A File is an entry of a layer. A name that ends with a slash is a directory's.
type File struct {
	Name    string
	Content string
	Mode    int64  // permissions; 0 for 0644
	Type    byte   // of archive/tar; 0 for a regular file
	Link    string // what a link names
}

// Tar makes the uncompressed content of a layer.
func Tar(t testing.TB, files ...File) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.Name, Mode: f.Mode, Typeflag: f.Type, Linkname: f.Link, Size: int64(len(f.Content))}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
			if f.Name[len(f.Name)-1] == '/' {
				h.Typeflag = tar.TypeDir
			}
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.Content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Layout writes an image of the given uncompressed layers.
func Layout(t testing.TB, layers ...[]byte) reconcile.Layout {
	t.Helper()
	var diffIDs []string
	for _, l := range layers {
		diffIDs = append(diffIDs, digest(l))
	}
	return LayoutClaiming(t, diffIDs, layers...)
}

// LayoutClaiming is Layout with diffIDs that may be false.
func LayoutClaiming(t testing.TB, diffIDs []string, layers ...[]byte) reconcile.Layout {
	t.Helper()
	dir := t.TempDir()
	type descriptor struct {
		MediaType string `json:"mediaType"`
		Digest    string `json:"digest"`
		Size      int    `json:"size"`
	}
	put := func(mediaType string, b []byte) descriptor {
		d := digest(b)
		write(t, filepath.Join(dir, "blobs", "sha256", d[len("sha256:"):]), b)
		return descriptor{mediaType, d, len(b)}
	}
	document := func(mediaType string, v any) descriptor {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return put(mediaType, b)
	}
	var ls []descriptor
	for _, l := range layers {
		ls = append(ls, put("application/vnd.oci.image.layer.v1.tar+gzip", compress(t, l)))
	}
	config := document("application/vnd.oci.image.config.v1+json", map[string]any{
		"os": "linux", "architecture": "amd64", "config": map[string]any{}, "rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	})
	const manifestType = "application/vnd.oci.image.manifest.v1+json"
	manifest := document(manifestType, map[string]any{"schemaVersion": 2, "mediaType": manifestType, "config": config, "layers": ls})
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []descriptor{manifest}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "index.json"), index)
	write(t, filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`))
	return reconcile.Layout{Dir: dir, Manifest: reconcile.MustDigest(manifest.Digest), Platform: reconcile.Platform{OS: "linux", Architecture: "amd64"}}
}

func compress(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// diffIDs reads back what an image claims its layers to be.
func diffIDs(t testing.TB, l reconcile.Layout) []string {
	t.Helper()
	var manifest struct{ Config struct{ Digest string } }
	var config struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	read := func(digest string, into any) {
		b, err := os.ReadFile(filepath.Join(l.Dir, "blobs", "sha256", digest[len("sha256:"):]))
		if err == nil {
			err = json.Unmarshal(b, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	read(l.Manifest.String(), &manifest)
	read(manifest.Config.Digest, &config)
	return config.RootFS.DiffIDs
}
