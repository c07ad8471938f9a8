package stage

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/scan/layer"
	"golang.org/x/sync/errgroup"
)

// Bounds on what a manifest may make us do.
const (
	maxManifest = 4 << 20 // bytes; registries refuse larger ones
	maxConfig   = 8 << 20 // bytes
	maxLayers   = 512     // runtimes stop at about 127
	parallel    = 4       // layers of one image fetched at once
)

// A manifest is what matters of an image manifest: OCI image specification v1.1, or Docker's schema 2.
type manifest struct {
	MediaType string       `json:"mediaType"`
	Config    descriptor   `json:"config"`
	Layers    []descriptor `json:"layers"`

	size int64 // of the manifest itself, in bytes
}

type descriptor struct {
	MediaType string           `json:"mediaType"`
	Digest    reconcile.Digest `json:"digest"`
	Size      int64            `json:"size"`
}

type config struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant"`
	RootFS       struct {
		DiffIDs []reconcile.Digest `json:"diff_ids"`
	} `json:"rootfs"`
}

const (
	ociManifest    = "application/vnd.oci.image.manifest.v1+json"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
)

func (d descriptor) blob() reconcile.Blob {
	return reconcile.Blob{Digest: d.Digest, Size: d.Size, MediaType: d.MediaType}
}

// build fetches and verifies an image and makes its layout.
func (s *Stage) build(ctx context.Context, image reconcile.Image) (reconcile.Layout, error) {
	raw, mediaType, err := s.source.Manifest(ctx, image)
	if err != nil {
		return reconcile.Layout{}, fmt.Errorf("read manifest: %w", err)
	}
	m, err := parseManifest(raw, mediaType, image.Digest)
	if err != nil {
		return reconcile.Layout{}, err
	}
	dir, err := s.newLayout(image.Digest, raw, m)
	if err != nil {
		return reconcile.Layout{}, fmt.Errorf("make layout: %w", err)
	}
	c, err := s.config(ctx, image.Repo, m, dir)
	if err == nil {
		err = s.layers(ctx, image.Repo, m, c, dir)
	}
	if err != nil {
		return reconcile.Layout{}, errors.Join(err, os.RemoveAll(dir))
	}
	return reconcile.Layout{Dir: dir, Manifest: image.Digest,
		Platform: reconcile.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant}}, nil
}

func parseManifest(raw []byte, mediaType string, want reconcile.Digest) (manifest, error) {
	var m manifest
	if len(raw) > maxManifest {
		return m, fmt.Errorf("its manifest is larger than %d bytes", maxManifest)
	}
	h := newHash(want.Algorithm())
	h.Write(raw)
	if hex.EncodeToString(h.Sum(nil)) != want.Hex() {
		return m, fmt.Errorf("%w: the manifest's digest is another one", errContent)
	}
	if mediaType != ociManifest && mediaType != dockerManifest {
		return m, fmt.Errorf("it is no image manifest but %q", mediaType)
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return m, fmt.Errorf("its manifest is malformed: %w", err)
	}
	if m.MediaType == "" {
		m.MediaType = mediaType
	}
	m.size = int64(len(raw))
	if m.MediaType != mediaType {
		return m, errors.New("its manifest gives itself another media type than the registry does")
	}
	if len(m.Layers) > maxLayers {
		return m, fmt.Errorf("it has %d layers, more than %d", len(m.Layers), maxLayers)
	}
	for _, d := range append(slices.Clone(m.Layers), m.Config) {
		if d.Digest.IsZero() || d.Size < 0 {
			return m, errors.New("its manifest names a blob without digest or size")
		}
	}
	return m, nil
}

func (s *Stage) config(ctx context.Context, from reconcile.Repo, m manifest, dir string) (config, error) {
	var c config
	if m.Config.Size > maxConfig {
		return c, fmt.Errorf("its configuration is larger than %d bytes", maxConfig)
	}
	var raw []byte
	err := s.obtain(ctx, from, m.Config.blob(), dir, func(r io.Reader) (err error) {
		raw, err = io.ReadAll(r)
		return err
	})
	if err != nil {
		return c, fmt.Errorf("configuration: %w", err)
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return c, fmt.Errorf("its configuration is malformed: %w", err)
	}
	if len(c.RootFS.DiffIDs) != len(m.Layers) {
		return c, fmt.Errorf("it has %d layers but %d diffIDs; is it a container image?", len(m.Layers), len(c.RootFS.DiffIDs))
	}
	return c, nil
}

func (s *Stage) layers(ctx context.Context, from reconcile.Repo, m manifest, c config, dir string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, l := range m.Layers {
		g.Go(func() error {
			if err := s.layer(ctx, from, l.blob(), c.RootFS.DiffIDs[i], dir); err != nil {
				return fmt.Errorf("layer %d: %w", i+1, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// layer puts a layer into a layout if its diffID is the one that the configuration claims. Scanners cache by diffID, so a false one would
// give this image another one's findings, and the other way round.
func (s *Stage) layer(ctx context.Context, from reconcile.Repo, blob reconcile.Blob, claimed reconcile.Digest, dir string) error {
	if claimed.IsZero() {
		return errors.New("it has no diffID")
	}
	found, err := s.knownDiffID(blob, claimed.Algorithm(), dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = s.obtain(ctx, from, blob, dir, func(r io.Reader) (err error) {
			found, err = s.findDiffID(r, claimed.Algorithm())
			return err
		})
		if err == nil {
			err = s.rememberDiffID(blob.Digest, found)
		}
	}
	if err != nil {
		return err
	}
	if found != claimed {
		return fmt.Errorf("its diffID is %s, but the configuration claims %s: the image lies about its content", found.Short(), claimed.Short())
	}
	return nil
}

// obtain fetches a blob, unless the stage holds it, lets read read it to its end, and puts it into the layout.
func (s *Stage) obtain(ctx context.Context, from reconcile.Repo, blob reconcile.Blob, dir string, read func(io.Reader) error) error {
	for try := 1; ; try++ {
		err := func() error {
			r, err := s.open(ctx, from, blob)
			if err != nil {
				return err
			}
			defer r.Close()
			if err := read(r); err != nil {
				return err
			}
			return s.hold(blob, dir)
		}()
		// another process may have evicted a blob that was here before we held it; one that we fetched is kept for us
		if !errors.Is(err, fs.ErrNotExist) || try == 3 {
			return err
		}
	}
}

// knownDiffID puts a layer into the layout and returns its diffID, if it was staged before.
func (s *Stage) knownDiffID(blob reconcile.Blob, algorithm, dir string) (reconcile.Digest, error) {
	if err := s.hold(blob, dir); err != nil {
		return reconcile.Digest{}, err
	}
	b, err := os.ReadFile(s.diffIDPath(blob.Digest))
	if err != nil {
		return reconcile.Digest{}, err
	}
	d, err := reconcile.ParseDigest(string(b))
	if err != nil || d.Algorithm() != algorithm {
		return reconcile.Digest{}, fs.ErrNotExist
	}
	return d, nil
}

func (s *Stage) findDiffID(r io.Reader, algorithm string) (reconcile.Digest, error) {
	content, err := layer.Decompress(r, s.limits)
	if err != nil {
		return reconcile.Digest{}, err
	}
	defer content.Close()
	h := newHash(algorithm)
	if _, err := io.Copy(h, content); err != nil {
		return reconcile.Digest{}, err
	}
	return reconcile.ParseDigest(algorithm + ":" + hex.EncodeToString(h.Sum(nil)))
}

func (s *Stage) rememberDiffID(blob, diffID reconcile.Digest) error {
	f, err := os.CreateTemp(s.run, "diffid-")
	if err != nil {
		return err
	}
	_, err = f.WriteString(diffID.String())
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), s.diffIDPath(blob))
}
