package registry

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/assay-oci/assay/reconcile"
)

// Attached returns the records about an image as they lie beside it, unverified: cosign's legacy signatures and Sigstore bundles. Only
// a registry's clear word that there are none makes the list empty; anything else is an error.
func (r *Reader) Attached(ctx context.Context, image reconcile.Image) ([]reconcile.Record, error) {
	var legacy, bundles []reconcile.Record
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) { legacy, err = r.legacy(gctx, image); return err })
	group.Go(func() (err error) { bundles, err = r.bundles(gctx, image); return err })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return append(legacy, bundles...), nil
}

// legacyTag is where cosign keeps its first kind of signature (cosign, SIGNATURE_SPEC.md).
func legacyTag(subject reconcile.Digest) string { return fallbackTag(subject) + ".sig" }

// legacy reads the signatures in the tag beside an image: one for each layer.
func (r *Reader) legacy(ctx context.Context, image reconcile.Image) ([]reconcile.Record, error) {
	m, at, err := r.legacyManifest(ctx, image)
	if err != nil || at.IsZero() {
		return nil, err
	}
	return r.legacyRecords(ctx, image, m, at)
}

// legacyRecords reads what a manifest of signatures holds, in its order.
func (r *Reader) legacyRecords(ctx context.Context, image reconcile.Image, m manifest, at reconcile.Digest) ([]reconcile.Record, error) {
	records := make([]reconcile.Record, len(m.Layers))
	group, ctx := errgroup.WithContext(ctx)
	for i, layer := range m.Layers {
		group.Go(func() error {
			payload, err := r.smallBlob(ctx, image.Repo, layer, maxRecord)
			if err != nil {
				return fmt.Errorf("read the signatures of %s: %w", image, err)
			}
			records[i] = reconcile.Record{
				Statement: reconcile.Statement{Format: reconcile.Legacy, Subject: image.Digest},
				MediaType: layer.MediaType, Payload: payload, Annotations: layer.Annotations, At: at,
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return records, nil
}

// legacyManifest reads the manifest with the signatures in the tag beside an image; a zero digest if there is none.
func (r *Reader) legacyManifest(ctx context.Context, image reconcile.Image) (manifest, reconcile.Digest, error) {
	return r.taggedManifest(ctx, image, legacyTag(image.Digest))
}

// taggedManifest reads the manifest in a tag beside an image; a zero digest if there is none.
func (r *Reader) taggedManifest(ctx context.Context, image reconcile.Image, tag string) (manifest, reconcile.Digest, error) {
	fail := func(err error) error { return fmt.Errorf("read the signatures of %s: %w", image, err) }
	raw, err := r.getManifest(ctx, image.Repo, tag)
	if status, ok := statusOf(err); ok && status.absent() {
		return manifest{}, reconcile.Digest{}, nil
	}
	if err != nil {
		return manifest{}, reconcile.Digest{}, fail(err)
	}
	m, err := parseManifest(raw)
	if err != nil {
		return m, reconcile.Digest{}, fail(err)
	}
	if m.index() {
		return m, reconcile.Digest{}, fail(refuse("the tag %s holds an index, and no signatures; remove it", tag))
	}
	if len(m.Layers) > maxRecords {
		return m, reconcile.Digest{}, fail(refuse("there are %d, more than %d", len(m.Layers), maxRecords))
	}
	at := digestOf(raw)
	r.small.put(at, raw) // whoever carries it elsewhere reads it by digest
	return m, at, nil
}

// bundles reads the Sigstore bundles that refer to an image, in the order of their digests.
func (r *Reader) bundles(ctx context.Context, image reconcile.Image) ([]reconcile.Record, error) {
	list, err := r.referrers(ctx, image)
	if err != nil {
		return nil, err
	}
	var wanted []descriptor
	for _, d := range list {
		// some registries give the configuration's type instead of the artifact's
		if (isBundle(d.ArtifactType) || d.ArtifactType == ociEmpty) && !d.Digest.IsZero() &&
			!slices.ContainsFunc(wanted, func(w descriptor) bool { return w.Digest == d.Digest }) {
			wanted = append(wanted, d)
		}
	}
	if len(wanted) > maxRecords {
		return nil, fmt.Errorf("read the records about %s: %w", image, refuse("there are %d, more than %d", len(wanted), maxRecords))
	}
	slices.SortFunc(wanted, func(a, b descriptor) int {
		if a.Digest.String() < b.Digest.String() {
			return -1
		}
		return 1
	})
	found := make([]*reconcile.Record, len(wanted))
	group, gctx := errgroup.WithContext(ctx)
	for i, d := range wanted {
		group.Go(func() (err error) {
			found[i], err = r.bundle(gctx, image, d)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("read the records about %s: %w", image, err)
	}
	var out []reconcile.Record
	for _, f := range found {
		if f != nil {
			out = append(out, *f)
		}
	}
	return out, nil
}

// bundle reads one bundle; nil if the manifest turns out to be something else, or if it was deleted and only the list remembers it.
func (r *Reader) bundle(ctx context.Context, image reconcile.Image, d descriptor) (*reconcile.Record, error) {
	_, m, err := r.manifest(ctx, reconcile.Image{Repo: image.Repo, Digest: d.Digest})
	if status, ok := statusOf(err); ok && status.absent() {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !isBundle(m.ArtifactType) && (m.Config == nil || !isBundle(m.Config.MediaType) && !isBundle(m.Config.ArtifactType)) ||
		m.Subject == nil || m.Subject.Digest != image.Digest || len(m.Layers) != 1 {
		return nil, nil
	}
	payload, err := r.smallBlob(ctx, image.Repo, m.Layers[0], maxRecord)
	if err != nil {
		return nil, err
	}
	return &reconcile.Record{
		Statement: reconcile.Statement{Format: reconcile.Bundle, Subject: image.Digest},
		MediaType: m.Layers[0].MediaType, Payload: payload, Annotations: m.Annotations, At: d.Digest,
	}, nil
}
