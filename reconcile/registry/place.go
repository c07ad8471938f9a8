package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/assay-oci/assay/reconcile"
)

// Place writes a record beside its subject in a repository. Placing what lies there already changes nothing.
func (w *Writer) Place(ctx context.Context, record reconcile.Record, repo reconcile.Repo) error {
	subject := reconcile.Image{Repo: repo, Digest: record.Statement.Subject}
	var err error
	switch record.Statement.Format {
	case reconcile.Legacy:
		err = w.placeLegacy(ctx, record, subject)
	case reconcile.Bundle:
		err = w.placeBundle(ctx, record, subject)
	default:
		err = fmt.Errorf("the format %q is not known", record.Statement.Format)
	}
	if err != nil {
		return fmt.Errorf("place a record about %s: %w", subject, err)
	}
	return nil
}

// placeBundle writes a Sigstore bundle as a referrer: one manifest that names its subject, with one layer. The bytes depend on the
// record and the subject alone, so that they are the same on every registry.
func (w *Writer) placeBundle(ctx context.Context, record reconcile.Record, subject reconcile.Image) error {
	about, aboutType, err := w.subject(ctx, subject)
	if err != nil {
		return err
	}
	m := manifest{
		SchemaVersion: 2, MediaType: ociManifest, ArtifactType: record.MediaType,
		Config:      &descriptor{MediaType: ociEmpty, Digest: digestOf(emptyObject), Size: int64(len(emptyObject))},
		Layers:      []descriptor{{MediaType: record.MediaType, Digest: digestOf(record.Payload), Size: int64(len(record.Payload))}},
		Subject:     &descriptor{MediaType: aboutType, Digest: subject.Digest, Size: about},
		Annotations: maps.Clone(record.Annotations),
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	for _, content := range [][]byte{emptyObject, record.Payload} {
		if err := w.bringBytes(ctx, subject.Repo, content); err != nil {
			return err
		}
	}
	return w.refer(ctx, subject, digestOf(raw), raw, m)
}

// refer writes a manifest whose subject is the image and whose content is there, and sees that it is on the list of those.
func (w *Writer) refer(ctx context.Context, subject reconcile.Image, digest reconcile.Digest, raw []byte, m manifest) error {
	target := reconcile.Image{Repo: subject.Repo, Digest: digest}
	header, err := w.sendManifest(ctx, target, target.Digest.String(), raw, m.MediaType)
	if err != nil {
		return err
	}
	w.small.put(target.Digest, raw)
	if header.Get("OCI-Subject") != "" {
		w.apis.learn(subject.Repo.Host(), true)
		return nil
	}
	if has, err := w.hasAPI(ctx, subject); err != nil || has {
		return err
	}
	kind := m.ArtifactType
	if kind == "" && m.Config != nil {
		kind = m.Config.MediaType
	}
	return w.list(ctx, subject, descriptor{MediaType: m.MediaType, ArtifactType: kind, Digest: target.Digest, Size: int64(len(raw)), Annotations: m.Annotations})
}

var emptyObject = []byte("{}")

// subject returns the size and media type of the image that a record is about.
func (w *Writer) subject(ctx context.Context, image reconcile.Image) (int64, string, error) {
	raw, m, err := w.manifest(ctx, image)
	return int64(len(raw)), m.MediaType, err
}

// bringBytes uploads a small blob that this process has at hand, once for each repository.
func (w *Writer) bringBytes(ctx context.Context, repo reconcile.Repo, content []byte) error {
	d := digestOf(content)
	unlock, err := w.uploads.lock(ctx, hostBlob{repo.String(), d})
	if err != nil {
		return err
	}
	defer unlock()
	if w.held.has(repo, d) {
		return nil
	}
	w.small.put(d, content)
	if err := w.send(ctx, parcel{to: repo, blob: reconcile.Blob{Digest: d, Size: int64(len(content))}, content: content}, nil); err != nil {
		return fmt.Errorf("write blob %s: %w", d, err)
	}
	w.held.add(repo, d, true)
	return nil
}

// placeLegacy adds a signature to those in the tag beside the image.
func (w *Writer) placeLegacy(ctx context.Context, record reconcile.Record, subject reconcile.Image) error {
	layer := descriptor{MediaType: record.MediaType, Digest: digestOf(record.Payload), Size: int64(len(record.Payload)), Annotations: record.Annotations}
	return w.addLayers(ctx, subject, legacyTag(subject.Digest), []descriptor{layer}, func() error { return w.bringBytes(ctx, subject.Repo, record.Payload) })
}

// addLayers adds records to the manifest in a tag beside the image, next to those of others; bring brings their content. Nobody else may change the
// tag at the same time, but registries have no way to make sure: so it is read again afterwards, and they are added again if they are gone.
func (w *Writer) addLayers(ctx context.Context, subject reconcile.Image, tag string, layers []descriptor, bring func() error) error {
	unlock, err := w.subjects.lock(ctx, subject)
	if err != nil {
		return err
	}
	defer unlock()
	for failed := 1; ; failed++ {
		m, _, err := w.taggedManifest(ctx, subject, tag)
		if err != nil {
			return err
		}
		lacking := slices.DeleteFunc(slices.Clone(layers), func(l descriptor) bool { return hasLayer(m, l) })
		if len(lacking) == 0 {
			return nil
		}
		if failed > 5 {
			return fmt.Errorf("another process keeps overwriting the records in the tag %s", tag)
		}
		if failed > 1 {
			if err := sleep(ctx, backoff(failed)); err != nil {
				return err
			}
		}
		m.Layers = append(m.Layers, lacking...)
		if err := bring(); err != nil {
			return err
		}
		if err := w.writeTagged(ctx, subject, tag, m); err != nil {
			return err
		}
		now, err := w.head(ctx, subject.Repo, tag)
		if err != nil {
			return err
		}
		if now == digestOf(legacyBytes(m)) {
			return nil
		}
	}
}

func hasLayer(m manifest, want descriptor) bool {
	for _, l := range m.Layers {
		if l.Digest == want.Digest && l.MediaType == want.MediaType && maps.Equal(l.Annotations, want.Annotations) {
			return true
		}
	}
	return false
}

// Withdraw takes a signature in cosign's first format off an image, and leaves those beside it. One that isn't there is no error. Another process that
// writes at the same time may bring it back: the next run sees that.
func (w *Writer) Withdraw(ctx context.Context, subject reconcile.Image, record string) error {
	unlock, err := w.subjects.lock(ctx, subject)
	if err != nil {
		return err
	}
	defer unlock()
	fail := func(err error) error { return fmt.Errorf("take a signature off %s: %w", subject, err) }
	m, at, err := w.legacyManifest(ctx, subject)
	if err != nil || at.IsZero() {
		return err
	}
	records, err := w.legacyRecords(ctx, subject, m, at)
	if err != nil {
		return fail(err)
	}
	var kept []descriptor
	for i, r := range records {
		if r.ID() != record {
			kept = append(kept, m.Layers[i])
		}
	}
	switch {
	case len(kept) == len(m.Layers):
		return nil
	case len(kept) == 0:
		return fail(fmt.Errorf("it is the only one in the tag %s", legacyTag(subject.Digest)))
	}
	m.Layers = kept
	if err := w.writeTagged(ctx, subject, legacyTag(subject.Digest), m); err != nil {
		return fail(err)
	}
	return nil
}

// writeTagged pushes the manifest with these layers, which are there, to its tag.
func (w *Writer) writeTagged(ctx context.Context, subject reconcile.Image, tag string, m manifest) error {
	if err := w.bringBytes(ctx, subject.Repo, legacyConfig(m.Layers)); err != nil {
		return err
	}
	raw := legacyBytes(m)
	target := reconcile.Image{Repo: subject.Repo, Digest: digestOf(raw)}
	return w.putManifest(ctx, target, tag, raw, ociManifest)
}

// legacyBytes is the manifest as cosign writes it: an image with a layer for each signature.
func legacyBytes(m manifest) []byte {
	config := legacyConfig(m.Layers)
	raw, err := json.Marshal(manifest{
		SchemaVersion: 2, MediaType: ociManifest,
		Config: &descriptor{MediaType: ociConfig, Digest: digestOf(config), Size: int64(len(config))},
		Layers: m.Layers, Annotations: m.Annotations,
	})
	if err != nil {
		panic(err) // strings and numbers
	}
	return raw
}

// legacyConfig is an image's configuration with the layers' digests, as cosign writes it.
func legacyConfig(layers []descriptor) []byte {
	config := v1.ConfigFile{RootFS: v1.RootFS{Type: "layers"}}
	for _, l := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, v1.Hash{Algorithm: l.Digest.Algorithm(), Hex: l.Digest.Hex()})
		config.History = append(config.History, v1.History{Created: v1.Time{Time: time.Time{}}})
	}
	raw, err := json.Marshal(config)
	if err != nil {
		panic(err) // strings and times
	}
	return raw
}
