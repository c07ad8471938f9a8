package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/assay-oci/assay/reconcile"
)

// A layout answers requests to a registry from an OCI image layout (OCI image specification v1.1, "Image Layout"): one repository, which can't be
// written. So what reads registries reads layouts too, with the same bounds and checks.
type layout struct{ dir string }

// layoutRepo is the name of a layout's only repository. No request to it leaves this process.
const layoutRepo = "localhost/layout"

// OpenLayout returns a Reader of an OCI image layout, and the image in it: the one with the digest, or the only one if that is zero. Options other than
// the cache folder mean nothing for it.
func OpenLayout(dir string, digest reconcile.Digest, o Options) (*Reader, reconcile.Image, error) {
	repo, err := reconcile.ParseRepo(layoutRepo)
	if err != nil {
		return nil, reconcile.Image{}, err
	}
	f, err := os.Open(filepath.Join(dir, "index.json"))
	if err != nil {
		return nil, reconcile.Image{}, fmt.Errorf("open layout: %w", err)
	}
	defer f.Close()
	var index manifest
	if err := json.NewDecoder(io.LimitReader(f, maxManifest)).Decode(&index); err != nil {
		return nil, reconcile.Image{}, fmt.Errorf("open layout %s: its index.json can't be read: %w", dir, err)
	}
	if digest.IsZero() {
		if len(index.Manifests) != 1 {
			return nil, reconcile.Image{}, fmt.Errorf("open layout %s: it holds %d images; name one, as in %s@sha256:…", dir, len(index.Manifests), dir)
		}
		digest = index.Manifests[0].Digest
	}
	r := NewReader(o)
	r.client.http = &http.Client{Transport: layout{dir}}
	return r, reconcile.Image{Repo: repo, Digest: digest}, nil
}

// RoundTrip implements http.RoundTripper for GET and HEAD of manifests and blobs by digest.
func (l layout) RoundTrip(r *http.Request) (*http.Response, error) {
	path := strings.TrimPrefix(r.URL.Path, "/v2/")
	if path == "" {
		return respond(r, http.StatusOK, nil, 0, ""), nil
	}
	i := strings.LastIndexByte(path, '/')
	digest, err := reconcile.ParseDigest(path[i+1:])
	if err != nil || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return respond(r, http.StatusNotFound, nil, 0, ""), nil
	}
	f, err := os.Open(filepath.Join(l.dir, "blobs", digest.Algorithm(), digest.Hex()))
	if errors.Is(err, os.ErrNotExist) {
		return respond(r, http.StatusNotFound, nil, 0, ""), nil
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil || !info.Mode().IsRegular():
		f.Close()
		return nil, fmt.Errorf("%s is no file", digest.Short())
	case !strings.Contains(path, "/manifests/"):
		return respond(r, http.StatusOK, f, info.Size(), "application/octet-stream"), nil
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, err
	}
	var m manifest
	if json.Unmarshal(raw, &m) != nil {
		return respond(r, http.StatusNotFound, nil, 0, ""), nil
	}
	if m.MediaType == "" && len(m.Manifests) > 0 {
		m.MediaType = ociIndex
	} else if m.MediaType == "" {
		m.MediaType = ociManifest
	}
	return respond(r, http.StatusOK, io.NopCloser(bytes.NewReader(raw)), int64(len(raw)), m.MediaType), nil
}

func respond(r *http.Request, status int, body io.ReadCloser, size int64, mediaType string) *http.Response {
	if body == nil || r.Method == http.MethodHead {
		if body != nil {
			body.Close()
		}
		body = http.NoBody
	}
	h := http.Header{"Content-Type": {mediaType}, "Content-Length": {strconv.FormatInt(size, 10)}}
	return &http.Response{Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h, Body: body, ContentLength: size, Request: r}
}
