package registry

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/assay-oci/assay/reconcile"
)

// Knows tells the Writer that a repository holds an image, so that its blobs are mounted elsewhere on that registry, not sent.
func (w *Writer) Knows(repo reconcile.Repo, tree reconcile.Tree) {
	for _, m := range tree.Manifests {
		w.seen.note(reconcile.Image{Repo: repo, Digest: m.Digest})
		for _, b := range m.Blobs {
			if !foreign(b.MediaType) {
				w.held.add(repo, b.Digest, false)
			}
		}
	}
}

// recall makes use of what earlier runs have left in the cache: the manifests of images that the host was seen to hold in this run say
// which blobs it holds. It costs no request, and happens once for each host.
func (w *Writer) recall(ctx context.Context, host string) error {
	unlock, err := w.recalls.lock(ctx, host)
	if err != nil {
		return err
	}
	defer unlock()
	if !w.held.firstRecall(host) {
		return nil
	}
	images := w.seen.on(host)
	for i := 0; i < len(images) && i < maxRecalled; i++ {
		raw, ok := w.small.get(images[i].Digest)
		if !ok {
			continue
		}
		m, err := parseManifest(raw)
		if err != nil {
			continue
		}
		for _, d := range m.named() {
			switch {
			case m.index():
				images = append(images, reconcile.Image{Repo: images[i].Repo, Digest: d.Digest})
			case !foreign(d.MediaType):
				w.held.add(images[i].Repo, d.Digest, false)
			}
		}
	}
	return nil
}

const maxRecalled = 50_000 // manifests of one host

// Copy copies an image with all that is below it, byte for byte, and gives it no tag. Manifests are pushed after everything that
// they name.
func (w *Writer) Copy(ctx context.Context, from reconcile.Image, repo reconcile.Repo) (reconcile.Moved, error) {
	fail := func(err error) error { return fmt.Errorf("copy %s to %s: %w", from, repo, err) }
	if w.seen.has(reconcile.Image{Repo: repo, Digest: from.Digest}) {
		return reconcile.Moved{}, nil
	}
	nodes, err := w.walk(ctx, from)
	if err != nil {
		return reconcile.Moved{}, fail(err)
	}
	if err := w.recall(ctx, repo.Host()); err != nil {
		return reconcile.Moved{}, fail(err)
	}
	job := &copying{Writer: w, from: from.Repo, to: repo, ready: make(map[reconcile.Digest]chan struct{}, len(nodes))}
	for _, n := range nodes {
		job.ready[n.digest] = make(chan struct{})
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, n := range nodes {
		group.Go(func() error { return job.manifest(ctx, n) })
	}
	err = group.Wait()
	job.mu.Lock()
	defer job.mu.Unlock()
	if err != nil {
		return job.moved, fail(err)
	}
	return job.moved, nil
}

// A copying is one image on its way to one repository.
type copying struct {
	*Writer
	from, to reconcile.Repo
	ready    map[reconcile.Digest]chan struct{} // closed once the manifest lies in the target

	mu    sync.Mutex
	moved reconcile.Moved
}

// manifest brings one manifest to the target, after everything that it names.
func (c *copying) manifest(ctx context.Context, n node) error {
	target := reconcile.Image{Repo: c.to, Digest: n.digest}
	if !c.seen.has(target) {
		for _, child := range n.children() {
			select {
			case <-c.ready[child]:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := c.blobsOf(ctx, n); err != nil {
			return err
		}
		if err := c.push(ctx, target, n); err != nil {
			return err
		}
	}
	close(c.ready[n.digest])
	return nil
}

func (c *copying) blobsOf(ctx context.Context, n node) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, b := range n.blobs() {
		group.Go(func() error {
			how, err := c.bring(ctx, c.from, c.to, b)
			if err != nil {
				return err
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			switch how {
			case sent:
				c.moved.Blobs++
				c.moved.Bytes += b.Size
			case mounted:
				c.moved.Mounted++
			}
			return nil
		})
	}
	return group.Wait()
}

// push writes a manifest by digest. If the registry says that blobs are missing, what was believed of them was wrong: they are
// brought again, once.
func (c *copying) push(ctx context.Context, target reconcile.Image, n node) error {
	raw, _, err := c.Reader.manifest(ctx, reconcile.Image{Repo: c.from, Digest: n.digest})
	if err != nil {
		return err
	}
	err = c.putManifest(ctx, target, target.Digest.String(), raw, n.MediaType)
	if status, ok := statusOf(err); ok && !n.index() && status.has("MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN") {
		for _, b := range n.blobs() {
			if has, looked := c.hasBlob(ctx, c.to, b.Digest); looked == nil && !has {
				c.held.forget(c.to, b.Digest)
			}
		}
		if err = c.blobsOf(ctx, n); err == nil {
			err = c.putManifest(ctx, target, target.Digest.String(), raw, n.MediaType)
		}
	}
	return err
}

// putManifest writes a manifest under a reference, a tag or its digest.
func (w *Writer) putManifest(ctx context.Context, target reconcile.Image, reference string, raw []byte, mediaType string) error {
	_, err := w.sendManifest(ctx, target, reference, raw, mediaType)
	return err
}

func (w *Writer) sendManifest(ctx context.Context, target reconcile.Image, reference string, raw []byte, mediaType string) (http.Header, error) {
	req := to(http.MethodPut, target.Repo, "manifests/"+reference, push, http.StatusCreated)
	req.header.Set("Content-Type", mediaType)
	req.body = raw
	a, err := w.client.fetch(ctx, req, maxManifest)
	if err != nil {
		return nil, fmt.Errorf("write manifest %s: %w", reference, err)
	}
	if told := a.header.Get("Docker-Content-Digest"); told != "" && told != target.Digest.String() && target.Digest.Algorithm() == "sha256" {
		return nil, fmt.Errorf("write manifest %s: %w", reference, refuse("%s stored it under another digest, %s", target.Repo.Host(), printable(told, 140)))
	}
	w.seen.note(target)
	return a.header, nil
}
