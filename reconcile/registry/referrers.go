package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry/quirks"
)

// apis remembers which hosts have the referrers API (OCI distribution specification v1.1, "Listing Referrers").
type apis struct {
	mu    sync.Mutex
	hosts map[string]bool
}

func newAPIs() *apis { return &apis{hosts: map[string]bool{}} }

// known tells whether the host has the API, and whether that is known at all.
func (a *apis) known(host string) (has, known bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if has, known = a.hosts[host]; !known && quirks.Of(host).NoAPI {
		return false, true
	}
	return has, known
}

func (a *apis) learn(host string, has bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hosts[host] = has
}

// hasAPI tells whether the image's host has the API, and asks if that isn't known yet.
func (r *Reader) hasAPI(ctx context.Context, image reconcile.Image) (bool, error) {
	if has, known := r.apis.known(image.Repo.Host()); known {
		return has, nil
	}
	_, has, err := r.askReferrers(ctx, image)
	return has, err
}

// referrers lists the manifests whose subject is the image. Where there is no API, the list lies in a tag beside the image.
func (r *Reader) referrers(ctx context.Context, image reconcile.Image) ([]descriptor, error) {
	host := image.Repo.Host()
	if has, known := r.apis.known(host); has || !known {
		list, ok, err := r.askReferrers(ctx, image)
		if err != nil || ok {
			return list, err
		}
	}
	index, _, err := r.fallback(ctx, image)
	return index.Manifests, err
}

// askReferrers asks the API. It returns false if the host has none.
func (r *Reader) askReferrers(ctx context.Context, image reconcile.Image) ([]descriptor, bool, error) {
	host := image.Repo.Host()
	req := to(http.MethodGet, image.Repo, "referrers/"+image.Digest.String(), pull, http.StatusOK)
	req.header.Set("Accept", ociIndex)
	var list []descriptor
	pages := 0
	err := r.client.pages(ctx, req, func(a *answer) (int, error) {
		var page manifest
		if isHTML(a.header) {
			return 0, errNoAPI
		}
		if err := decodeList(a, &page); err != nil {
			return 0, err
		}
		if page.MediaType != ociIndex && page.Manifests == nil {
			return 0, refuse("it sent no list of referrers")
		}
		pages++
		list = append(list, page.Manifests...)
		if len(list) > maxManifests {
			return 0, refuse("%s has more than %d records", image, maxManifests)
		}
		return len(page.Manifests), nil
	})
	status, refused := statusOf(err)
	switch {
	case err == nil:
		r.apis.learn(host, true)
		return list, true, nil
	case pages > 0:
		return nil, false, fmt.Errorf("list the records about %s: %w", image, err)
	case refused && status.status == http.StatusNotFound && status.has("NAME_UNKNOWN"):
		return nil, true, nil // no such repository, and so nothing in it
	case errors.Is(err, errNoAPI), refused && (status.status == http.StatusNotFound || status.status == http.StatusMethodNotAllowed ||
		status.status == http.StatusBadRequest || status.status == http.StatusNotAcceptable || status.status == http.StatusNotImplemented):
		r.apis.learn(host, false)
		return nil, false, nil
	}
	return nil, false, fmt.Errorf("list the records about %s: %w", image, err)
}

var errNoAPI = refuse("there is no referrers API")

// fallbackTag is where a list of referrers lies on registries without the API ("Referrers Tag Schema").
func fallbackTag(subject reconcile.Digest) string { return subject.Algorithm() + "-" + subject.Hex() }

// fallback reads the list of referrers in its tag, and returns it with its digest; an empty list and a zero digest if there is none.
// Some registries resolve that tag to the image itself: that is no list either.
func (r *Reader) fallback(ctx context.Context, image reconcile.Image) (manifest, reconcile.Digest, error) {
	raw, err := r.getManifest(ctx, image.Repo, fallbackTag(image.Digest))
	if status, ok := statusOf(err); ok && status.absent() {
		return manifest{}, reconcile.Digest{}, nil
	}
	if err != nil {
		return manifest{}, reconcile.Digest{}, fmt.Errorf("list the records about %s: %w", image, err)
	}
	digest := digestOf(raw)
	if digest == image.Digest || check(image.Digest, raw) == nil {
		return manifest{}, reconcile.Digest{}, nil
	}
	m, err := parseManifest(raw)
	if err != nil || m.MediaType != ociIndex {
		return manifest{}, reconcile.Digest{}, fmt.Errorf("list the records about %s: the tag %s, which should hold the list, holds something else", image, fallbackTag(image.Digest))
	}
	if len(m.Manifests) > maxManifests {
		return manifest{}, reconcile.Digest{}, fmt.Errorf("list the records about %s: %w", image, refuse("there are more than %d", maxManifests))
	}
	return m, digest, nil
}

// isBundle tells the artifact types of Sigstore bundles, of any version.
func isBundle(artifactType string) bool {
	return strings.HasPrefix(artifactType, "application/vnd.dev.sigstore.bundle")
}
