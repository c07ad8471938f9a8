package registry

import (
	"context"
	"fmt"
	"slices"

	"github.com/assay-oci/assay/reconcile"
)

// Beside returns what anybody has signed about an image, as it lies beside it, unverified: what Attached reads, and the attestations in cosign's first
// format, which we don't write but others do. Records that are larger than a verifier could want are left out, for whoever signed them can as well
// sign smaller ones. Only a registry's clear word that there is nothing makes the list empty; anything else is an error.
func (r *Reader) Beside(ctx context.Context, image reconcile.Image) ([]reconcile.Record, error) {
	found, err := r.Attached(ctx, image)
	if err != nil {
		return nil, err
	}
	m, at, err := r.taggedManifest(ctx, image, attestationTag(image.Digest))
	if err != nil || at.IsZero() {
		return found, err
	}
	m.Layers = slices.DeleteFunc(m.Layers, func(d descriptor) bool { return d.Size > maxUpstream })
	attestations, err := r.legacyRecords(ctx, image, m, at)
	if err != nil {
		return nil, fmt.Errorf("read the attestations of %s: %w", image, err)
	}
	return append(found, attestations...), nil
}

// maxUpstream bounds an attestation of others, in bytes: the bill of materials of a large image has some megabytes.
const maxUpstream = 8 << 20

// attestationTag is where cosign keeps its first kind of attestation (cosign, ATTESTATION_SPEC.md).
func attestationTag(subject reconcile.Digest) string { return fallbackTag(subject) + ".att" }
