package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/assay-oci/assay/reconcile"
)

// maxCarried bounds the content of one record that is copied, in bytes: anybody who can write beside an image where it comes from could else fill our
// registries.
const maxCarried = 64 << 20

// Attachments lists what anybody has laid beside an image, by where it lies: the manifests that refer to it, of any kind but indexes, and the layers of
// those in cosign's tags for signatures, attestations and bills of materials. More than 1000 manifests or 256 layers are an error, as is whatever could not be read.
func (r *Reader) Attachments(ctx context.Context, image reconcile.Image) ([]reconcile.Attachment, error) {
	list, err := r.referrers(ctx, image)
	if err != nil {
		return nil, err
	}
	var out []reconcile.Attachment
	add := func(a reconcile.Attachment) {
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	for _, d := range list {
		if !d.Digest.IsZero() && d.MediaType != ociIndex && d.MediaType != dockerList {
			add(reconcile.Attachment{At: d.Digest})
		}
	}
	for _, tag := range cosignTags(image.Digest) {
		m, at, err := r.taggedManifest(ctx, image, tag.String())
		if err != nil {
			return nil, err
		}
		for _, l := range m.Layers {
			add(reconcile.Attachment{At: at, Tag: tag, Layer: l.Digest})
		}
	}
	return out, nil
}

// cosignTags are those in which cosign keeps records of its first formats beside an image; none for a digest that cosign can't sign.
func cosignTags(subject reconcile.Digest) []reconcile.Tag {
	var out []reconcile.Tag
	for _, name := range []string{legacyTag(subject), attestationTag(subject), fallbackTag(subject) + ".sbom"} {
		if tag, err := reconcile.ParseTag(name); err == nil {
			out = append(out, tag)
		}
	}
	return out
}

// Carry implements reconcile.Carrier. A record that is only on the list of its image's records, and gone, is left out.
func (w *Writer) Carry(ctx context.Context, from reconcile.Image, repo reconcile.Repo, what []reconcile.Attachment) error {
	to := reconcile.Image{Repo: repo, Digest: from.Digest}
	layers := map[reconcile.Attachment][]reconcile.Digest{} // by what they have in common
	group, gctx := errgroup.WithContext(ctx)
	for _, a := range what {
		if a.Tag == (reconcile.Tag{}) {
			group.Go(func() error { return w.carryReferrer(gctx, from, to, a.At) })
			continue
		}
		key := reconcile.Attachment{At: a.At, Tag: a.Tag}
		layers[key] = append(layers[key], a.Layer)
	}
	for in, digests := range layers {
		group.Go(func() error { return w.carryLayers(gctx, from, to, in, digests) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("copy what lies beside %s to %s: %w", from, repo, err)
	}
	return nil
}

// carryReferrer copies one manifest that refers to the image, byte for byte.
func (w *Writer) carryReferrer(ctx context.Context, from, to reconcile.Image, at reconcile.Digest) error {
	raw, m, err := w.manifest(ctx, reconcile.Image{Repo: from.Repo, Digest: at})
	switch {
	case errors.Is(err, reconcile.ErrNotFound):
		return nil
	case err != nil:
		return err
	case m.index() || m.Subject == nil || m.Subject.Digest != from.Digest:
		return nil // the list says what isn't so
	}
	if err := w.carryBlobs(ctx, from.Repo, to.Repo, m.named()); err != nil {
		return err
	}
	return w.refer(ctx, to, at, raw, m)
}

// carryLayers adds records to those in one of cosign's tags beside the image, where they lie in another repository.
func (w *Writer) carryLayers(ctx context.Context, from, to reconcile.Image, in reconcile.Attachment, digests []reconcile.Digest) error {
	if !slices.Contains(cosignTags(from.Digest), in.Tag) {
		return refuse("%s is no tag of records about %s", in.Tag, from.Digest)
	}
	_, m, err := w.manifest(ctx, reconcile.Image{Repo: from.Repo, Digest: in.At})
	if err != nil {
		return err
	}
	wanted := slices.DeleteFunc(m.Layers, func(l descriptor) bool { return !slices.Contains(digests, l.Digest) })
	return w.addLayers(ctx, to, in.Tag.String(), wanted, func() error { return w.carryBlobs(ctx, from.Repo, to.Repo, wanted) })
}

func (w *Writer) carryBlobs(ctx context.Context, from, to reconcile.Repo, blobs []descriptor) error {
	var total int64
	for _, d := range blobs {
		if total += d.Size; total > maxCarried {
			return refuse("a record has more than %d bytes", maxCarried)
		}
	}
	for _, d := range blobs {
		if _, err := w.bring(ctx, from, to, reconcile.Blob{Digest: d.Digest, Size: d.Size, MediaType: d.MediaType}); err != nil {
			return err
		}
	}
	return nil
}
