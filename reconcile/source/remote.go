package source

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/storage"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/assay-oci/assay/reconcile"
)

// A remote is a repository behind a URL.
type remote struct {
	url   *url.URL
	cache *cache // nil keeps clones in memory

	mu    sync.Mutex
	auth  transport.AuthMethod
	asked bool // whether git's credential helpers were asked
}

func newRemote(u *url.URL, cacheDir string) *remote {
	r := &remote{url: u, auth: environmentAuth(u)}
	if cacheDir != "" {
		r.cache = &cache{dir: cacheDir, url: u.String()}
	}
	return r
}

// originOf returns the remote that a local repository was cloned from, if it is one that we read: a shallow checkout is deepened from it.
func originOf(repo *git.Repository) *remote {
	o, err := repo.Remote(git.DefaultRemoteName)
	if err != nil || len(o.Config().URLs) == 0 {
		return nil
	}
	l, err := parseLocation(o.Config().URLs[0])
	if err != nil {
		return nil
	}
	if l.dir != "" {
		l.url = &url.URL{Scheme: "file", Path: l.dir}
	}
	return newRemote(l.url, "")
}

func (s *Source) openRemote(ctx context.Context, l location) error {
	if s.opts.Dirty {
		return errors.New("only the files of a working tree can be read as they are")
	}
	s.remote = newRemote(l.url, s.opts.CacheDir)
	var err error
	if s.commit, err = s.resolve(ctx, s.wanted()); err != nil {
		return err
	}
	return s.checkPath()
}

// withAuth runs a request, and where the server wants a credential that we don't have, asks git's credential helpers and runs it again.
func (r *remote) withAuth(ctx context.Context, request func(transport.AuthMethod) error) error {
	r.mu.Lock()
	auth := r.auth
	r.mu.Unlock()
	err := request(auth)
	if !errors.Is(err, transport.ErrAuthenticationRequired) && !errors.Is(err, transport.ErrAuthorizationFailed) {
		return r.explain(err)
	}
	r.mu.Lock()
	if !r.asked {
		r.asked = true
		if a := helperAuth(ctx, r.url); a != nil {
			r.auth = a
		}
	}
	again := r.auth
	r.mu.Unlock()
	if again != nil && again != auth {
		err = request(again)
	}
	return r.explain(err)
}

// explain turns a transport's error into one for people. The URL holds no credential.
func (r *remote) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed):
		return fmt.Errorf("%s wants a credential, or refuses the one that it got: set ASSAY_GIT_TOKEN, or use git's credential helpers: %w", r.url.Host, err)
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return fmt.Errorf("there is no repository at %s, or it is private: %w", r.url, err)
	}
	return fmt.Errorf("read %s: %w", r.url, err)
}

func (r *remote) client(store storage.Storer) *git.Remote {
	return git.NewRemote(store, &config.RemoteConfig{Name: git.DefaultRemoteName, URLs: []string{r.url.String()}})
}

// list asks the server which commit a ref has now, and for the ref's full name.
func (r *remote) list(ctx context.Context, ref string) (name plumbing.ReferenceName, h plumbing.Hash, err error) {
	var refs []*plumbing.Reference
	err = r.withAuth(ctx, func(auth transport.AuthMethod) (err error) {
		refs, err = r.client(memory.NewStorage()).ListContext(ctx, &git.ListOptions{Auth: auth, PeelingOption: git.AppendPeeled})
		return err
	})
	if err != nil {
		return "", h, err
	}
	by := map[plumbing.ReferenceName]*plumbing.Reference{}
	for _, x := range refs {
		by[x.Name()] = x
	}
	for _, full := range []string{ref, "refs/heads/" + ref, "refs/tags/" + ref, "refs/" + ref} {
		x := by[plumbing.ReferenceName(full)]
		if x != nil && x.Type() == plumbing.SymbolicReference {
			x = by[x.Target()]
		}
		if x == nil || !strings.HasPrefix(full, "refs/") && full != "HEAD" {
			continue
		}
		if peeled := by[x.Name()+"^{}"]; peeled != nil { // an annotated tag
			return x.Name(), peeled.Hash(), nil
		}
		return x.Name(), x.Hash(), nil
	}
	return "", h, fmt.Errorf("%s has no branch or tag %q", r.url, ref)
}

// fetch gets the commits that a refspec names, and their ancestors down to a depth (0 for all), into a store of their own.
func (r *remote) fetch(ctx context.Context, spec string, want plumbing.Hash, depth int) (*git.Repository, error) {
	into := func(store storage.Storer) (*git.Repository, error) {
		repo, err := git.Init(store, nil)
		if err != nil {
			return nil, err
		}
		err = r.withAuth(ctx, func(auth transport.AuthMethod) error {
			err := r.client(store).FetchContext(ctx, &git.FetchOptions{RefSpecs: []config.RefSpec{config.RefSpec(spec)}, Depth: depth, Auth: auth, Tags: git.NoTags, Force: true})
			if errors.Is(err, git.NoErrAlreadyUpToDate) {
				return nil
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if _, err := repo.CommitObject(want); err != nil {
			return nil, fmt.Errorf("%s did not send commit %s: %w", r.url, want, reconcile.ErrUnavailable)
		}
		return repo, nil
	}
	if r.cache != nil {
		return r.cache.get(want, depth, into)
	}
	return into(memory.NewStorage())
}

// fetched is the ref that what is fetched gets in its store.
const fetched = "refs/assay/fetched"

func (s *Source) fetchRef(ctx context.Context, ref string) (plumbing.Hash, error) {
	name, h, err := s.remote.list(ctx, ref)
	if err != nil {
		return h, err
	}
	if s.has(h) {
		return h, nil
	}
	repo, err := s.remote.fetch(ctx, "+"+name.String()+":"+fetched, h, 1)
	if err != nil {
		return h, err
	}
	s.add(repo)
	return h, nil
}

func (s *Source) add(repo *git.Repository) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repos = append(s.repos, repo)
}

// fetchCommit gets a commit by its name. A server that doesn't give single commits is asked for the ref's whole history.
func (s *Source) fetchCommit(ctx context.Context, h plumbing.Hash, depth int) error {
	if s.remote == nil {
		return fmt.Errorf("commit %s is not here, and there is no remote to get it from: %w", h, reconcile.ErrUnavailable)
	}
	repo, err := s.remote.fetch(ctx, h.String()+":"+fetched, h, depth)
	if err != nil && ctx.Err() == nil {
		name, _, e := s.remote.list(ctx, s.remoteRef())
		if e != nil {
			return unavailable(errors.Join(err, e))
		}
		repo, err = s.remote.fetch(ctx, "+"+name.String()+":"+fetched, h, 0)
	}
	if err != nil {
		return unavailable(err)
	}
	s.add(repo)
	return nil
}

// remoteRef is the ref to look for at the remote: HEAD for a local repository, whose own refs may be named otherwise.
func (s *Source) remoteRef() string {
	if s.local != nil {
		return "HEAD"
	}
	return s.ref()
}

func unavailable(err error) error {
	if errors.Is(err, reconcile.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", reconcile.ErrUnavailable, err)
}
