package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/assay-oci/assay/reconcile"
)

// Tree reads an image's manifest and all below it, and the configurations of what can run. Layers that may not be distributed
// (Docker's foreign layers) are named like any others.
func (r *Reader) Tree(ctx context.Context, image reconcile.Image) (reconcile.Tree, error) {
	if _, cached := r.small.get(image.Digest); cached && !r.seen.has(image) {
		// that some registry had the content once says nothing about this one
		if has, err := r.Has(ctx, image); err != nil {
			return reconcile.Tree{}, err
		} else if !has {
			return reconcile.Tree{}, fmt.Errorf("read %s: %w", image, reconcile.ErrNotFound)
		}
	}
	nodes, err := r.walk(ctx, image)
	if err != nil {
		return reconcile.Tree{}, err
	}
	tree := reconcile.Tree{Root: image.Digest, Manifests: make([]reconcile.Manifest, len(nodes))}
	group, ctx := errgroup.WithContext(ctx)
	for i, n := range nodes {
		group.Go(func() (err error) {
			tree.Manifests[i], err = r.describe(ctx, image.Repo, n)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return reconcile.Tree{}, fmt.Errorf("read %s: %w", image, err)
	}
	return tree, nil
}

// A node is one manifest of an image.
type node struct {
	digest reconcile.Digest
	size   int64
	by     *descriptor // how the index above names it; nil for the root
	manifest
}

// blobs returns what the manifest names of blobs, each once, the configuration first.
func (n node) blobs() []reconcile.Blob {
	var out []reconcile.Blob
	seen := map[reconcile.Digest]bool{}
	for _, d := range n.named() {
		if n.index() || seen[d.Digest] {
			continue
		}
		seen[d.Digest] = true
		out = append(out, reconcile.Blob{Digest: d.Digest, Size: d.Size, MediaType: d.MediaType})
	}
	return out
}

func (n node) children() []reconcile.Digest {
	var out []reconcile.Digest
	for _, d := range n.Manifests {
		if !slices.Contains(out, d.Digest) {
			out = append(out, d.Digest)
		}
	}
	return out
}

// walk reads all manifests of an image, children before the index that names them, each once.
func (r *Reader) walk(ctx context.Context, image reconcile.Image) ([]node, error) {
	w := walker{reader: r, repo: image.Repo, nodes: map[reconcile.Digest]*node{}}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(maxConns)
	level := []descriptor{{Digest: image.Digest}}
	for depth := 0; len(level) > 0; depth++ {
		if depth > maxDepth {
			return nil, fmt.Errorf("read %s: %w", image, refuse("it has indexes within indexes, more than %d deep", maxDepth))
		}
		if len(w.nodes)+len(level) > maxManifests {
			return nil, fmt.Errorf("read %s: %w", image, refuse("it has more than %d manifests", maxManifests))
		}
		for _, d := range level {
			group.Go(func() error { return w.read(gctx, d, depth == 0) })
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
		group, gctx = errgroup.WithContext(ctx)
		group.SetLimit(maxConns)
		level = w.next(level)
	}
	return w.ordered(image.Digest), nil
}

type walker struct {
	reader *Reader
	repo   reconcile.Repo
	mu     sync.Mutex
	nodes  map[reconcile.Digest]*node
}

func (w *walker) read(ctx context.Context, d descriptor, root bool) error {
	raw, m, err := w.reader.manifest(ctx, reconcile.Image{Repo: w.repo, Digest: d.Digest})
	if err != nil {
		return err
	}
	n := &node{digest: d.Digest, size: int64(len(raw)), manifest: m}
	if !root {
		if d.Size != n.size {
			return fmt.Errorf("read %s: %w", reconcile.Image{Repo: w.repo, Digest: d.Digest},
				refuse("the index says that it has %d bytes, but it has %d", d.Size, n.size))
		}
		n.by = &d
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes[d.Digest] = n
	return nil
}

// next returns what the manifests of a level name and was not read yet.
func (w *walker) next(level []descriptor) []descriptor {
	var out []descriptor
	queued := map[reconcile.Digest]bool{}
	for _, d := range level {
		for _, child := range w.nodes[d.Digest].Manifests {
			if w.nodes[child.Digest] == nil && !queued[child.Digest] {
				queued[child.Digest] = true
				out = append(out, child)
			}
		}
	}
	return out
}

// ordered returns the nodes in the order in which they can be pushed.
func (w *walker) ordered(root reconcile.Digest) []node {
	var out []node
	done := map[reconcile.Digest]bool{}
	var visit func(reconcile.Digest)
	visit = func(d reconcile.Digest) {
		if done[d] { // content addressing makes circles impossible
			return
		}
		done[d] = true
		for _, child := range w.nodes[d].children() {
			visit(child)
		}
		out = append(out, *w.nodes[d])
	}
	visit(root)
	return out
}

// describe says what a node is.
func (r *Reader) describe(ctx context.Context, repo reconcile.Repo, n node) (reconcile.Manifest, error) {
	m := reconcile.Manifest{Digest: n.digest, MediaType: n.MediaType, Size: n.size, Artifact: n.artifact(), Notes: n.Annotations}
	if n.index() {
		m.Children = n.children()
		return m, nil
	}
	m.Blobs = n.blobs()
	if n.by != nil && n.by.Platform != nil {
		p := n.by.Platform
		var err error
		if m.Platform, err = parsePlatform(p.OS, p.Architecture, p.Variant); err != nil {
			return m, err
		}
	}
	if m.Artifact != "" || m.Platform != (reconcile.Platform{}) && !m.Platform.Runnable() {
		return m, nil
	}
	return m, r.configure(ctx, repo, n, &m)
}

// artifact returns what a manifest holds that is no container image; empty for images and indexes.
func (n node) artifact() string {
	attestation := n.by != nil && n.by.Annotations["vnd.docker.reference.type"] == "attestation-manifest"
	statements := len(n.Layers) > 0 && !slices.ContainsFunc(n.Layers, func(d descriptor) bool { return d.MediaType != inToto })
	switch {
	case n.ArtifactType != "":
		return n.ArtifactType
	case n.index():
		return ""
	case n.Config == nil:
		return n.MediaType
	case attestation || statements:
		return inToto
	case n.Config.MediaType != ociConfig && n.Config.MediaType != dockerConfig:
		return n.Config.MediaType
	}
	return ""
}

// configure reads an image's configuration (OCI image specification v1.1, "Image Configuration").
func (r *Reader) configure(ctx context.Context, repo reconcile.Repo, n node, m *reconcile.Manifest) error {
	if n.Config.Size > maxManifest {
		return refuse("its configuration has %d bytes, more than %d", n.Config.Size, maxManifest)
	}
	raw, err := r.smallBlob(ctx, repo, *n.Config, maxManifest)
	if err != nil {
		return fmt.Errorf("read its configuration: %w", err)
	}
	var config struct {
		OS           string    `json:"os"`
		Architecture string    `json:"architecture"`
		Variant      string    `json:"variant"`
		Created      time.Time `json:"created"`
		Config       struct {
			User         string
			Labels       map[string]string
			Entrypoint   []string
			Cmd          []string
			Env          []string
			ExposedPorts map[string]struct{}
			Volumes      map[string]struct{}
			WorkingDir   string
		} `json:"config"`
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		return refuse("its configuration can't be read: %v", err)
	}
	c := config.Config
	m.Config = reconcile.ConfigInfo{User: c.User, Created: config.Created, Labels: c.Labels, Entrypoint: c.Entrypoint, Command: c.Cmd, Env: c.Env,
		Ports: slices.Sorted(maps.Keys(c.ExposedPorts)), Volumes: slices.Sorted(maps.Keys(c.Volumes)), WorkingDir: c.WorkingDir}
	if m.Platform == (reconcile.Platform{}) && config.OS != "" {
		m.Platform, err = parsePlatform(config.OS, config.Architecture, config.Variant)
	}
	return err
}

func parsePlatform(os, architecture, variant string) (reconcile.Platform, error) {
	s := os + "/" + architecture
	if variant != "" {
		s += "/" + variant
	}
	p, err := reconcile.ParsePlatform(s)
	if err != nil {
		return p, refuse("%v", err)
	}
	return p, nil
}
