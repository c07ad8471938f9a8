package registry

import (
	"context"
	"fmt"
	"net/http"

	"github.com/assay-oci/assay/reconcile"
)

// Current returns the digest that a tag names; zero if there is no such tag.
func (r *Reader) Current(ctx context.Context, repo reconcile.Repo, tag reconcile.Tag) (reconcile.Digest, error) {
	d, err := r.resolve(ctx, repo, tag)
	if err != nil {
		return d, fmt.Errorf("read the digest of %s:%s: %w", repo, tag, err)
	}
	return d, nil
}

// Tag makes a tag name an image that its repository holds.
func (w *Writer) Tag(ctx context.Context, image reconcile.Image, tag reconcile.Tag) error {
	raw, m, err := w.manifest(ctx, image)
	if err == nil {
		err = w.putManifest(ctx, image, tag.String(), raw, m.MediaType)
	}
	if err != nil {
		return fmt.Errorf("tag %s as %s: %w", image, tag, err)
	}
	return nil
}

// Untag removes a tag and nothing else; a tag that doesn't exist is no error. Many registries can't: reconcile.ErrUnsupported.
// Nothing is ever pushed over the tag, and nothing is deleted by digest, which would take the other tags along.
func (w *Writer) Untag(ctx context.Context, repo reconcile.Repo, tag reconcile.Tag) error {
	fail := func(err error) error { return fmt.Errorf("remove the tag %s from %s: %w", tag, repo, err) }
	if why := CannotUntag(repo.Host()); why != "" {
		return fail(fmt.Errorf("%w: %s", reconcile.ErrUnsupported, why))
	}
	req := to(http.MethodDelete, repo, "manifests/"+tag.String(), remove, http.StatusAccepted, http.StatusOK, http.StatusNoContent)
	_, err := w.client.fetch(ctx, req, maxManifest)
	if status, ok := statusOf(err); ok {
		switch {
		case status.absent():
			return nil
		case status.status == http.StatusMethodNotAllowed, status.status == http.StatusNotImplemented,
			status.has("UNSUPPORTED", "UNSUPPORTED_OPERATION"),
			status.status == http.StatusBadRequest && (len(status.codes) == 0 || status.has("DIGEST_INVALID", "MANIFEST_INVALID", "NAME_INVALID", "TAG_INVALID")):
			return fail(fmt.Errorf("%w: %w; it removes tags only together with their digest (distribution can do it since version 3)",
				reconcile.ErrUnsupported, status))
		}
	}
	if err != nil {
		return fail(err)
	}
	left, err := w.resolve(ctx, repo, tag)
	if err != nil {
		return fail(fmt.Errorf("look whether it is gone: %w", err))
	}
	if !left.IsZero() {
		return fail(fmt.Errorf("%w: %s said that it did, but the tag is still there", reconcile.ErrUnsupported, repo.Host()))
	}
	return nil
}

// Delete deletes a manifest by digest. If it was a record about subject, it disappears from the list of that subject's referrers too.
func (w *Writer) Delete(ctx context.Context, image reconcile.Image, subject reconcile.Digest) error {
	fail := func(err error) error { return fmt.Errorf("delete %s: %w", image, err) }
	if why := CannotDelete(image.Repo.Host()); why != "" {
		return fail(fmt.Errorf("%w: %s", reconcile.ErrUnsupported, why))
	}
	if !subject.IsZero() {
		// First the list: an index may not name what is gone, and a run that ends in between leaves no such list behind.
		if err := w.unlist(ctx, reconcile.Image{Repo: image.Repo, Digest: subject}, image.Digest); err != nil {
			return fail(fmt.Errorf("take it off the list of records about %s: %w", subject, err))
		}
	}
	req := to(http.MethodDelete, image.Repo, "manifests/"+image.Digest.String(), remove, http.StatusAccepted, http.StatusOK, http.StatusNoContent)
	_, err := w.client.fetch(ctx, req, maxManifest)
	if status, ok := statusOf(err); ok {
		switch {
		case status.absent():
			err = nil
		case status.status == http.StatusMethodNotAllowed, status.has("UNSUPPORTED"):
			return fail(fmt.Errorf("%w: %w; deletion may have to be enabled in its configuration (distribution: storage.delete.enabled)",
				reconcile.ErrUnsupported, status))
		}
	}
	if err != nil {
		return fail(err)
	}
	w.seen.forget(image)
	if subject.IsZero() {
		return nil
	}
	for _, tag := range cosignTags(subject) {
		if err := w.dropTag(ctx, image.Repo, tag.String(), image.Digest); err != nil {
			return fail(fmt.Errorf("remove its tag %s: %w", tag, err))
		}
	}
	return nil
}
