package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"github.com/assay-oci/assay/reconcile"
)

// pending holds descriptors that wait to be written into a subject's fallback list, so that one write takes several along.
type pending struct {
	mu   sync.Mutex
	wait map[reconcile.Image][]descriptor
}

func (p *pending) add(subject reconcile.Image, d descriptor) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wait == nil {
		p.wait = map[reconcile.Image][]descriptor{}
	}
	p.wait[subject] = append(p.wait[subject], d)
}

func (p *pending) all(subject reconcile.Image) []descriptor {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.wait[subject])
}

// done takes descriptors off the list of those that wait.
func (p *pending) done(subject reconcile.Image, written []descriptor) {
	p.mu.Lock()
	defer p.mu.Unlock()
	rest := slices.DeleteFunc(p.wait[subject], func(d descriptor) bool { return listed(written, d.Digest) })
	if p.wait[subject] = rest; len(rest) == 0 {
		delete(p.wait, subject)
	}
}

func (p *pending) has(subject reconcile.Image, d reconcile.Digest) bool {
	return listed(p.all(subject), d)
}

func listed(list []descriptor, d reconcile.Digest) bool {
	return slices.ContainsFunc(list, func(e descriptor) bool { return e.Digest == d })
}

// list adds a record to the list in the fallback tag of its subject. Callers for the same subject write together.
func (w *Writer) list(ctx context.Context, subject reconcile.Image, d descriptor) error {
	w.pending.add(subject, d)
	unlock, err := w.subjects.lock(ctx, subject)
	if err != nil {
		w.pending.done(subject, []descriptor{d})
		return err
	}
	defer unlock()
	if !w.pending.has(subject, d.Digest) {
		return nil // another caller has written it
	}
	batch := w.pending.all(subject)
	err = w.amend(ctx, subject, func(m *manifest) bool {
		changed := false
		for _, d := range batch {
			if !listed(m.Manifests, d.Digest) {
				m.Manifests, changed = append(m.Manifests, d), true
			}
		}
		return changed
	})
	if err != nil {
		w.pending.done(subject, []descriptor{d})
		return err
	}
	w.pending.done(subject, batch)
	return nil
}

// unlist takes a record off the list in the fallback tag of its subject. A registry with the referrers API may have such a list too: from a
// time before it had the API, or because it doesn't tell that it took note of the subject.
func (w *Writer) unlist(ctx context.Context, subject reconcile.Image, d reconcile.Digest) error {
	unlock, err := w.subjects.lock(ctx, subject)
	if err != nil {
		return err
	}
	defer unlock()
	return w.amend(ctx, subject, func(m *manifest) bool {
		before := len(m.Manifests)
		m.Manifests = slices.DeleteFunc(m.Manifests, func(e descriptor) bool { return e.Digest == d })
		return len(m.Manifests) != before
	})
}

// amend changes the list in a fallback tag. Registries can't do that in one step, so the tag is looked at again afterwards: if another
// process has overwritten it meanwhile, the change is made again. The caller holds the subject's lock.
func (w *Writer) amend(ctx context.Context, subject reconcile.Image, change func(*manifest) bool) error {
	for failed := 1; ; failed++ {
		m, was, err := w.fallback(ctx, subject)
		if err != nil || !change(&m) {
			return err
		}
		if failed > 5 {
			return fmt.Errorf("another process keeps overwriting the list of records in the tag %s", fallbackTag(subject.Digest))
		}
		if failed > 1 {
			if err := sleep(ctx, backoff(failed)); err != nil {
				return err
			}
		}
		if len(m.Manifests) == 0 {
			return w.dropList(ctx, subject, was)
		}
		written, err := w.writeList(ctx, subject, m)
		if unknownPart(err) { // somebody has deleted a record and left it on the list
			if m.Manifests, err = w.present(ctx, subject.Repo, m.Manifests); err == nil {
				written, err = w.writeList(ctx, subject, m)
			}
		}
		if err != nil {
			return err
		}
		if now, err := w.head(ctx, subject.Repo, fallbackTag(subject.Digest)); err != nil || now == written {
			return err
		}
	}
}

// unknownPart tells whether a registry refuses an index because it doesn't hold what the index names.
func unknownPart(err error) bool {
	status, ok := statusOf(err)
	return ok && status.has("MANIFEST_BLOB_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN")
}

// present keeps the descriptors of what the repository holds.
func (w *Writer) present(ctx context.Context, repo reconcile.Repo, list []descriptor) ([]descriptor, error) {
	var out []descriptor
	for _, d := range list {
		at, err := w.head(ctx, repo, d.Digest.String())
		if err != nil {
			return nil, err
		}
		if !at.IsZero() {
			out = append(out, d)
		}
	}
	return out, nil
}

func (w *Writer) writeList(ctx context.Context, subject reconcile.Image, m manifest) (reconcile.Digest, error) {
	m.SchemaVersion, m.MediaType = 2, ociIndex
	raw, err := json.Marshal(m)
	if err != nil {
		return reconcile.Digest{}, err
	}
	if len(raw) > maxManifest {
		return reconcile.Digest{}, refuse("the list of records about %s would have %d bytes, more than registries take", subject, len(raw))
	}
	target := reconcile.Image{Repo: subject.Repo, Digest: digestOf(raw)}
	return target.Digest, w.putManifest(ctx, target, fallbackTag(subject.Digest), raw, ociIndex)
}

// dropList deletes a list that has become empty.
func (w *Writer) dropList(ctx context.Context, subject reconcile.Image, list reconcile.Digest) error {
	if list.IsZero() {
		return nil
	}
	req := to(http.MethodDelete, subject.Repo, "manifests/"+list.String(), remove, http.StatusAccepted, http.StatusOK, http.StatusNoContent)
	_, err := w.client.fetch(ctx, req, maxManifest)
	if status, ok := statusOf(err); err != nil && (!ok || !status.absent()) {
		return err
	}
	return w.dropTag(ctx, subject.Repo, fallbackTag(subject.Digest), list)
}

// dropTag removes a record's tag where the registry has let it survive the deletion of its digest. A tag that names something else by now
// isn't ours to remove.
func (w *Writer) dropTag(ctx context.Context, repo reconcile.Repo, tag string, was reconcile.Digest) error {
	left, err := w.head(ctx, repo, tag)
	if err != nil || left != was {
		return err
	}
	req := to(http.MethodDelete, repo, "manifests/"+tag, remove, http.StatusAccepted, http.StatusOK, http.StatusNoContent)
	_, err = w.client.fetch(ctx, req, maxManifest)
	if status, ok := statusOf(err); ok && status.absent() {
		return nil
	}
	return err
}
