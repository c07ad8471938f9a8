package catalogs

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

// world stands in for the internet: sources that hold whatever the catalog names, and registries that are empty at first. What an
// image consists of is made up from its digest.
type world struct {
	desired reconcile.Desired
	now     time.Time
	found   map[string][]reconcile.Vulnerability // by an image's title

	mu      sync.Mutex
	sources map[reconcile.Image]bool
	held    map[reconcile.Image]bool
	tags    map[reconcile.Repo]map[reconcile.Tag]reconcile.Digest
	records map[reconcile.Image][]reconcile.Record
	titles  map[reconcile.Digest]string // of manifests
}

func newWorld(d reconcile.Desired, now time.Time, found map[string][]reconcile.Vulnerability) *world {
	w := &world{desired: d, now: now, found: found, sources: map[reconcile.Image]bool{}, held: map[reconcile.Image]bool{},
		tags: map[reconcile.Repo]map[reconcile.Tag]reconcile.Digest{}, records: map[reconcile.Image][]reconcile.Record{}, titles: map[reconcile.Digest]string{}}
	for _, want := range d.Wants {
		w.sources[want.From] = true
		for _, m := range tree(want.From.Digest).Manifests {
			w.titles[m.Digest] = want.Title()
		}
	}
	return w
}

func (w *world) sensors() reconcile.Sensors {
	s := reconcile.Sensors{Holdings: w, Content: w, Stage: w, Records: w, History: w, Scanners: map[string]reconcile.Scanner{}}
	for _, spec := range w.desired.Scanners {
		s.Scanners[spec.Name] = scanner{w, spec.Name}
	}
	return s
}

func (w *world) effects() reconcile.Effects {
	e := reconcile.Effects{Catalog: w, Copier: w, Tagger: w, Deleter: w, Placer: w, Signers: map[string]reconcile.Signer{}}
	for _, spec := range w.desired.Signers {
		e.Signers[spec.Name] = w
	}
	return e
}

func made(format string, args ...any) reconcile.Digest {
	return reconcile.MustDigest(fmt.Sprintf("sha256:%x", sha256.Sum256(fmt.Appendf(nil, format, args...))))
}

// tree makes up an index of two platforms, of which each has a layer of its own and one that all images share.
func tree(root reconcile.Digest) reconcile.Tree {
	t := reconcile.Tree{Root: root}
	index := reconcile.Manifest{Digest: root, MediaType: "application/vnd.oci.image.index.v1+json", Size: 1000}
	for _, architecture := range []string{"amd64", "arm64"} {
		d := made("%s %s", root, architecture)
		t.Manifests = append(t.Manifests, reconcile.Manifest{Digest: d, MediaType: "application/vnd.oci.image.manifest.v1+json", Size: 1000,
			Platform: reconcile.Platform{OS: "linux", Architecture: architecture}, Config: reconcile.ConfigInfo{User: "1000"},
			Blobs: []reconcile.Blob{{Digest: made("config of %s", d), Size: 2_000}, {Digest: made("base layer for %s", architecture), Size: 30_000_000},
				{Digest: made("layer of %s", d), Size: 5_000_000}}})
		index.Children = append(index.Children, d)
	}
	t.Manifests = append(t.Manifests, index)
	return t
}

func (w *world) Repos(_ context.Context, p reconcile.Prefix) ([]reconcile.Repo, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []reconcile.Repo
	for r := range w.tags {
		if p.Owns(r) {
			out = append(out, r)
		}
	}
	return out, nil
}

func (w *world) Tags(_ context.Context, r reconcile.Repo) (map[reconcile.Tag]reconcile.Digest, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.tags[r]), nil
}

func (w *world) Has(_ context.Context, i reconcile.Image) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.held[i], nil
}

func (w *world) Tree(_ context.Context, i reconcile.Image) (reconcile.Tree, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.sources[i] && !w.held[i] {
		return reconcile.Tree{}, fmt.Errorf("%s: %w", i, reconcile.ErrNotFound)
	}
	return tree(i.Digest), nil
}

func (w *world) Stage(_ context.Context, _ reconcile.Image, m reconcile.Digest) (reconcile.Layout, error) {
	return reconcile.Layout{Manifest: m}, nil
}

func (w *world) Release(reconcile.Layout) error { return nil }

func (w *world) History(_ context.Context, since time.Time) (reconcile.History, error) {
	h := reconcile.History{Since: since}
	for _, want := range w.desired.Wants {
		a := reconcile.Approval{Image: want.Name, Version: want.Version, Digest: want.From.Digest}
		for _, to := range want.To {
			a.Repos = append(a.Repos, to.Repo)
		}
		h.Approvals = append(h.Approvals, a)
	}
	return h, nil
}

// A scanner finds in an image what the world says, whoever it is.
type scanner struct {
	w    *world
	name string
}

func (s scanner) Scan(_ context.Context, l reconcile.Layout, _ reconcile.Image) (reconcile.Scan, error) {
	return reconcile.Scan{Scanner: s.name, Version: "1.0", Database: s.w.now.Add(-6 * time.Hour), Finished: s.w.now, Distribution: "debian:12",
		Ecosystems: []string{"Debian:12"}, Packages: 100, Vulnerabilities: s.w.found[s.w.titles[l.Manifest]]}, nil
}

func (w *world) Records(_ context.Context, i reconcile.Image) ([]reconcile.Record, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.records[i]), nil
}

func (w *world) Attached(ctx context.Context, i reconcile.Image) ([]reconcile.Record, error) {
	return w.Records(ctx, i)
}

func (w *world) Tip(context.Context) (string, error) { return w.desired.Commit, nil }

func (w *world) Copy(_ context.Context, from reconcile.Image, to reconcile.Repo) (reconcile.Moved, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range tree(from.Digest).Manifests {
		w.held[reconcile.Image{Repo: to, Digest: m.Digest}] = true
	}
	if w.tags[to] == nil {
		w.tags[to] = map[reconcile.Tag]reconcile.Digest{}
	}
	return reconcile.Moved{}, nil
}

func (w *world) Current(_ context.Context, r reconcile.Repo, t reconcile.Tag) (reconcile.Digest, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tags[r][t], nil
}

func (w *world) Tag(_ context.Context, i reconcile.Image, t reconcile.Tag) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tags[i.Repo][t] = i.Digest
	return nil
}

func (w *world) Untag(_ context.Context, r reconcile.Repo, t reconcile.Tag) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.tags[r], t)
	return nil
}

func (w *world) Delete(_ context.Context, i reconcile.Image, _ reconcile.Digest) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.held, i)
	return nil
}

func (w *world) Sign(_ context.Context, s reconcile.Statement) (reconcile.Record, error) {
	return reconcile.Record{Statement: s, Payload: fmt.Appendf(nil, "%+v", s)}, nil
}

func (w *world) Withdraw(_ context.Context, i reconcile.Image, id string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.records[i] = slices.DeleteFunc(w.records[i], func(r reconcile.Record) bool { return r.ID() == id })
	return nil
}

func (w *world) Place(_ context.Context, r reconcile.Record, to reconcile.Repo) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	r.At = made("%s", r.ID())
	i := reconcile.Image{Repo: to, Digest: r.Statement.Subject}
	w.records[i] = append(w.records[i], r)
	if w.tags[to] != nil && r.Statement.Format == reconcile.Legacy {
		if t, err := reconcile.ParseTag("sha256-" + i.Digest.Hex() + ".sig"); err == nil {
			w.tags[to][t] = reconcile.Digest{}
		}
	}
	return nil
}
