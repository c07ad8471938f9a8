package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"

	"github.com/assay-oci/assay/reconcile"
)

// Media types of manifests (OCI image specification v1.1; Docker image manifest version 2, schema 2).
const (
	ociManifest    = "application/vnd.oci.image.manifest.v1+json"
	ociIndex       = "application/vnd.oci.image.index.v1+json"
	ociArtifact    = "application/vnd.oci.artifact.manifest.v1+json" // was in release candidates of v1.1 only, but is in use
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"

	acceptManifests = ociIndex + ", " + ociManifest + ", " + dockerList + ", " + dockerManifest + ", " + ociArtifact
)

// Media types of what manifests name.
const (
	ociConfig    = "application/vnd.oci.image.config.v1+json"
	dockerConfig = "application/vnd.docker.container.image.v1+json"
	inToto       = "application/vnd.in-toto+json"
	octets       = "application/octet-stream"
	ociEmpty     = "application/vnd.oci.empty.v1+json"
)

// A manifest is any of the documents above.
type manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType,omitempty"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        *descriptor       `json:"config,omitempty"`
	Layers        []descriptor      `json:"layers,omitempty"`
	Blobs         []descriptor      `json:"blobs,omitempty"` // of ociArtifact
	Manifests     []descriptor      `json:"manifests,omitempty"`
	Subject       *descriptor       `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// A descriptor points to content (OCI image specification v1.1, "Content Descriptors").
type descriptor struct {
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Digest       reconcile.Digest  `json:"digest"`
	Size         int64             `json:"size"`
	URLs         []string          `json:"urls,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	Platform     *platform         `json:"platform,omitempty"`
}

type platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant,omitempty"`
}

// parseManifest reads a manifest. Its media type is decided from its bytes alone, which the digest covers, and never from a header.
func parseManifest(raw []byte) (manifest, error) {
	var m manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return m, refuse("the manifest can't be read: %v", err)
	}
	if m.SchemaVersion == 1 {
		return m, refuse("the manifest has Docker's schema 1, which can't be copied without changing its digest; push the image again with a current tool")
	}
	list, image, artifact := m.Manifests != nil, m.Config != nil || m.Layers != nil, m.Blobs != nil
	kind := m.MediaType
	if kind == "" {
		switch {
		case list:
			kind = ociIndex
		case image:
			kind = ociManifest
		}
	}
	ok := false
	switch kind {
	case ociIndex, dockerList:
		ok = !image && !artifact
	case ociManifest, dockerManifest:
		ok = m.Config != nil && !list && !artifact
	case ociArtifact:
		ok = !list && !image
	default:
		return m, refuse("the manifest's media type %q is not one of the OCI's or Docker's", printable(m.MediaType, 100))
	}
	if !ok {
		return m, refuse("the manifest says %s, but is built like something else", kind)
	}
	m.MediaType = kind
	for _, d := range m.named() {
		if d.Digest.IsZero() || d.Size < 0 || d.Size > maxBlobSize {
			return m, refuse("the manifest names content with no digest or an impossible size")
		}
	}
	return m, nil
}

func (m manifest) index() bool { return m.MediaType == ociIndex || m.MediaType == dockerList }

// named returns all that the manifest consists of.
func (m manifest) named() []descriptor {
	var out []descriptor
	if m.Config != nil {
		out = append(out, *m.Config)
	}
	out = append(out, m.Layers...)
	out = append(out, m.Blobs...)
	return append(out, m.Manifests...)
}

// foreign tells layers that may lie elsewhere only (OCI image specification v1.1, "Non-Distributable Layers").
func foreign(mediaType string) bool {
	return strings.HasPrefix(mediaType, "application/vnd.docker.image.rootfs.foreign.diff.tar") ||
		strings.HasPrefix(mediaType, "application/vnd.oci.image.layer.nondistributable.v1.tar")
}

// Manifest returns the bytes and the media type of a manifest. The bytes must not be changed.
func (r *Reader) Manifest(ctx context.Context, image reconcile.Image) ([]byte, string, error) {
	raw, m, err := r.manifest(ctx, image)
	return raw, m.MediaType, err
}

// manifest reads a manifest by digest: from the cache if that has it, else from the registry, verified.
func (r *Reader) manifest(ctx context.Context, image reconcile.Image) ([]byte, manifest, error) {
	raw, err := r.cached(ctx, image.Digest, func() ([]byte, error) {
		return r.getManifest(ctx, image.Repo, image.Digest.String())
	})
	if err != nil {
		return nil, manifest{}, fmt.Errorf("read %s: %w", image, notFound(err))
	}
	m, err := parseManifest(raw)
	if err != nil {
		return nil, m, fmt.Errorf("read %s: %w", image, err)
	}
	return raw, m, nil
}

// cached returns content from the cache, or gets, verifies and keeps it; the same content is got once at a time.
func (r *Reader) cached(ctx context.Context, d reconcile.Digest, get func() ([]byte, error)) ([]byte, error) {
	if raw, ok := r.small.get(d); ok {
		return raw, nil
	}
	unlock, err := r.gets.lock(ctx, d)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if raw, ok := r.small.get(d); ok {
		return raw, nil
	}
	raw, err := get()
	if err != nil {
		return nil, err
	}
	if err := check(d, raw); err != nil {
		return nil, err
	}
	r.small.put(d, raw)
	return raw, nil
}

// getManifest reads a manifest by tag or digest from the registry.
func (r *Reader) getManifest(ctx context.Context, repo reconcile.Repo, reference string) ([]byte, error) {
	req := to(http.MethodGet, repo, "manifests/"+reference, pull, http.StatusOK)
	req.header.Set("Accept", acceptManifests)
	a, err := r.client.fetch(ctx, req, maxManifest)
	if err != nil {
		return nil, err
	}
	if kind, _, err := mime.ParseMediaType(a.header.Get("Content-Type")); err == nil && kind == "text/html" {
		return nil, refuse("%s sent a web page instead of a manifest; this may be no registry, or a proxy stands before it", repo.Host())
	}
	if d, err := sum(reference, a.body); err == nil {
		r.seen.note(reconcile.Image{Repo: repo, Digest: d})
	}
	return a.body, nil
}

// notFound marks errors by which a registry says that there is no such thing.
func notFound(err error) error {
	if status, ok := statusOf(err); ok && status.absent() && !errors.Is(err, reconcile.ErrNotFound) {
		return fmt.Errorf("%w: %w", reconcile.ErrNotFound, err)
	}
	return err
}
