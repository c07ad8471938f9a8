package external

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/scan/program"
)

const maxDocument = 8 << 20 // bytes of an index, a manifest or a configuration

type descriptor struct {
	Digest string `json:"digest"`
}

type index struct {
	Manifests []descriptor `json:"manifests"`
}

func readIndex(l reconcile.Layout) (index, error) {
	var i index
	b, err := readSmall(filepath.Join(l.Dir, "index.json"))
	if err == nil {
		err = json.Unmarshal(b, &i)
	}
	if err != nil {
		return i, fmt.Errorf("read the index of the layout %s: %w", l.Dir, err)
	}
	return i, nil
}

func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err == nil && len(b) > maxDocument {
		err = fmt.Errorf("%s has more than %d bytes", path, maxDocument)
	}
	return b, err
}

// blob is the path of a blob. What a manifest calls a digest is its author's word: only one that parses becomes a path.
func blob(l reconcile.Layout, digest string) (string, reconcile.Digest, error) {
	d, err := reconcile.ParseDigest(digest)
	if err != nil {
		return "", d, err
	}
	return filepath.Join(l.Dir, "blobs", d.Algorithm(), d.Hex()), d, nil
}

// DockerArchive writes a layout's image as `docker save` does, for scanners that read no layouts. Layers go into it as they are, so it is as
// large as the image's blobs are; memory doesn't grow with them. limit bounds its bytes.
func DockerArchive(ctx context.Context, l reconcile.Layout, path string, limit int64) (err error) {
	raw, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if e := raw.Close(); err == nil {
			err = e
		}
	}()
	a := archive{ctx: ctx, layout: l, w: tar.NewWriter(raw), left: limit, done: map[reconcile.Digest]bool{}}
	if err := a.image(); err != nil {
		return fmt.Errorf("write %s as a docker archive: %w", l.Manifest, err)
	}
	return a.w.Close()
}

type archive struct {
	ctx    context.Context
	layout reconcile.Layout
	w      *tar.Writer
	left   int64 // bytes that may still be written
	done   map[reconcile.Digest]bool
}

func (a *archive) image() error {
	path, _, err := blob(a.layout, a.layout.Manifest.String())
	if err != nil {
		return err
	}
	b, err := readSmall(path)
	if err != nil {
		return err
	}
	var m struct {
		Config descriptor   `json:"config"`
		Layers []descriptor `json:"layers"`
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return fmt.Errorf("read its manifest: %w", err)
	}
	config, err := a.add(m.Config.Digest, ".json")
	if err != nil {
		return err
	}
	layers := []string{}
	packed := map[bool]bool{}
	for _, d := range m.Layers {
		compressed, err := a.compressed(d.Digest)
		if err != nil {
			return err
		}
		packed[compressed] = true
		name, err := a.add(d.Digest, ".tar")
		if err != nil {
			return err
		}
		layers = append(layers, name)
	}
	if len(packed) > 1 {
		return program.Failf("some layers are compressed and some are not, which can't be told apart in an archive for it: use another scanner for this image")
	}
	list, err := json.Marshal([]map[string]any{{"Config": config, "RepoTags": []string{"scanned.invalid/image:latest"}, "Layers": layers}})
	if err != nil {
		return err
	}
	return a.write("manifest.json", int64(len(list)), bytes.NewReader(list))
}

func (a *archive) compressed(digest string) (bool, error) {
	path, _, err := blob(a.layout, digest)
	if err != nil {
		return false, err
	}
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	head := make([]byte, 4)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return false, err
	}
	return strings.HasPrefix(string(head[:n]), "\x1f\x8b") || string(head[:n]) == "\x28\xb5\x2f\xfd", nil
}

// add puts a blob into the archive, once, and returns its name there.
func (a *archive) add(digest, suffix string) (string, error) {
	path, d, err := blob(a.layout, digest)
	if err != nil {
		return "", err
	}
	name := d.Hex() + suffix
	if a.done[d] {
		return name, nil
	}
	a.done[d] = true
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	return name, a.write(name, info.Size(), f)
}

func (a *archive) write(name string, size int64, r io.Reader) error {
	if err := a.ctx.Err(); err != nil {
		return err
	}
	if a.left -= size; a.left < 0 {
		return program.Failf("the image is too large to be written as an archive for it")
	}
	if err := a.w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size}); err != nil {
		return err
	}
	_, err := io.Copy(a.w, io.LimitReader(r, size))
	return err
}
