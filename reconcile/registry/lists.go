package registry

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/assay-oci/assay/reconcile"
)

// Repos lists the repositories below a prefix, sorted. It reads the registry's whole catalog, which some don't offer, or not to everyone:
// that is an error.
func (r *Reader) Repos(ctx context.Context, p reconcile.Prefix) ([]reconcile.Repo, error) {
	fail := func(err error) error { return fmt.Errorf("list the repositories of %s: %w", p, err) }
	req := request{method: http.MethodGet, host: p.Host(), path: "_catalog", query: pageSize(), scopes: []string{catalogs},
		answers: []int{http.StatusOK}}
	found := map[reconcile.Repo]bool{}
	err := r.client.pages(ctx, req, func(a *answer) (int, error) {
		var page struct {
			Repositories *[]string `json:"repositories"`
		}
		if err := decodeList(a, &page); err != nil {
			return 0, err
		}
		if page.Repositories == nil {
			return 0, refuse("it sent no list of repositories")
		}
		for _, path := range *page.Repositories {
			if p.Path() != "" && !strings.HasPrefix(path, p.Path()+"/") {
				continue
			}
			repo, err := reconcile.ParseRepo(p.Host() + "/" + path)
			if err != nil {
				return 0, refuse("it lists a repository that has no proper name: %s", printable(path, 100))
			}
			if p.Owns(repo) {
				found[repo] = true
			}
		}
		return len(*page.Repositories), nil
	})
	if err != nil {
		return nil, fail(err)
	}
	out := make([]reconcile.Repo, 0, len(found))
	for repo := range found {
		out = append(out, repo)
	}
	slices.SortFunc(out, func(a, b reconcile.Repo) int { return strings.Compare(a.String(), b.String()) })
	return out, nil
}

// Tags lists the tags of a repository with their digests; tags of records come with a zero digest. A tag that disappears meanwhile
// is left out. A repository that doesn't exist has no tags.
func (r *Reader) Tags(ctx context.Context, repo reconcile.Repo) (map[reconcile.Tag]reconcile.Digest, error) {
	names, err := r.tagNames(ctx, repo)
	if err != nil {
		return nil, fmt.Errorf("list the tags of %s: %w", repo, err)
	}
	out := make(map[reconcile.Tag]reconcile.Digest, len(names))
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxConns)
	for _, tag := range names {
		if _, record := tag.Subject(); record {
			mu.Lock()
			out[tag] = reconcile.Digest{}
			mu.Unlock()
			continue
		}
		group.Go(func() error {
			d, err := r.resolve(ctx, repo, tag)
			if err != nil {
				return fmt.Errorf("read the digest of %s:%s: %w", repo, tag, err)
			}
			if !d.IsZero() {
				mu.Lock()
				out[tag] = d
				mu.Unlock()
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return out, nil
}

func (r *Reader) tagNames(ctx context.Context, repo reconcile.Repo) ([]reconcile.Tag, error) {
	req := to(http.MethodGet, repo, "tags/list", pull, http.StatusOK)
	req.query = pageSize()
	var names []reconcile.Tag
	err := r.client.pages(ctx, req, func(a *answer) (int, error) {
		var page struct {
			Name string    `json:"name"`
			Tags *[]string `json:"tags"`
		}
		if err := decodeList(a, &page); err != nil {
			return 0, err
		}
		if page.Tags == nil && page.Name == "" {
			return 0, refuse("it sent no list of tags")
		}
		if page.Tags == nil { // a repository whose tags were all removed has null on some registries
			return 0, nil
		}
		for _, s := range *page.Tags {
			tag, err := reconcile.ParseTag(s)
			if err != nil {
				return 0, refuse("it lists a tag that has no proper name: %s", printable(s, 140))
			}
			names = append(names, tag)
		}
		return len(*page.Tags), nil
	})
	if status, ok := statusOf(err); ok && status.absent() && status.has("NAME_UNKNOWN", "NOT_FOUND") {
		return nil, nil
	}
	return names, err
}

// Has tells whether the repository holds the manifest.
func (r *Reader) Has(ctx context.Context, image reconcile.Image) (bool, error) {
	d, err := r.head(ctx, image.Repo, image.Digest.String())
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", image, err)
	}
	if d.IsZero() {
		r.seen.forget(image)
		return false, nil
	}
	if d != image.Digest {
		return false, fmt.Errorf("look for %s: the registry names another digest, %s", image, d)
	}
	return true, nil
}

// resolve returns the digest that a tag names; zero if there is no such tag.
func (r *Reader) resolve(ctx context.Context, repo reconcile.Repo, tag reconcile.Tag) (reconcile.Digest, error) {
	return r.head(ctx, repo, tag.String())
}

// head asks for a manifest's digest without reading it: registries that count pulls don't count this. Where the answer lacks the
// digest, the manifest is read.
func (r *Reader) head(ctx context.Context, repo reconcile.Repo, reference string) (reconcile.Digest, error) {
	req := to(http.MethodHead, repo, "manifests/"+reference, pull, http.StatusOK)
	req.header.Set("Accept", acceptManifests)
	a, err := r.client.fetch(ctx, req, 0)
	if status, ok := statusOf(err); ok && status.absent() {
		return reconcile.Digest{}, nil
	}
	if err != nil {
		return reconcile.Digest{}, err
	}
	if isHTML(a.header) {
		return reconcile.Digest{}, refuse("%s sent a web page instead of a manifest; this may be no registry, or a proxy stands before it", repo.Host())
	}
	var d reconcile.Digest
	if told := a.header.Get("Docker-Content-Digest"); told != "" {
		if d, err = reconcile.ParseDigest(told); err != nil {
			return d, refuse("%s names a digest that is none: %s", repo.Host(), printable(told, 140))
		}
	} else {
		raw, err := r.getManifest(ctx, repo, reference)
		if status, ok := statusOf(err); ok && status.absent() {
			return reconcile.Digest{}, nil
		}
		if err != nil {
			return d, err
		}
		if d, err = sum(reference, raw); err != nil {
			return d, err
		}
	}
	r.seen.note(reconcile.Image{Repo: repo, Digest: d})
	return d, nil
}

// seen remembers which manifests registries were seen to hold in this run.
type seen struct {
	mu     sync.Mutex
	images map[reconcile.Image]bool
}

func newSeen() *seen { return &seen{images: map[reconcile.Image]bool{}} }

func (s *seen) note(i reconcile.Image) { s.mu.Lock(); s.images[i] = true; s.mu.Unlock() }

func (s *seen) forget(i reconcile.Image) { s.mu.Lock(); delete(s.images, i); s.mu.Unlock() }

// on returns what repositories of a host hold.
func (s *seen) on(host string) []reconcile.Image {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []reconcile.Image
	for i := range s.images {
		if i.Repo.Host() == host {
			out = append(out, i)
		}
	}
	return out
}

func (s *seen) has(i reconcile.Image) bool { s.mu.Lock(); defer s.mu.Unlock(); return s.images[i] }
