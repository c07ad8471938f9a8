package source

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/assay-oci/assay/reconcile"
)

// remote is a repository behind a URL, fetched into memory: first one commit deep, and deeper where history is asked for.
type remote struct {
	url   string
	ref   string
	auth  authenticator
	repo  *git.Repository
	main  plumbing.ReferenceName // what ref means there
	depth int                    // index into depths
}

// depths are how many commits are fetched at first and on demand; zero is all of them.
var depths = []int{1, 50, 1000, 0}

func openRemote(ctx context.Context, url, ref string) (*remote, error) {
	auth, err := newAuthenticator(url)
	if err != nil {
		return nil, err
	}
	r := &remote{url: url, ref: ref, auth: auth}
	if r.repo, err = r.empty(); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *remote) empty() (*git.Repository, error) {
	repo, err := git.Init(memory.NewStorage(), nil)
	if err != nil {
		return nil, err
	}
	_, err = repo.CreateRemote(&config.RemoteConfig{Name: git.DefaultRemoteName, URLs: []string{r.url}})
	return repo, err
}

// tip asks the server what the ref is now.
func (r *remote) tip(ctx context.Context) (plumbing.Hash, error) {
	ref, err := r.look(ctx, r.ref)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	r.main = ref.Name()
	return ref.Hash(), nil
}

// look finds a branch or tag by its short or whole name; an empty one is the branch that the repository's HEAD names.
func (r *remote) look(ctx context.Context, name string) (*plumbing.Reference, error) {
	refs, err := r.list(ctx)
	if err != nil {
		return nil, err
	}
	byName := make(map[plumbing.ReferenceName]*plumbing.Reference, len(refs))
	for _, ref := range refs {
		byName[ref.Name()] = ref
	}
	wanted := []plumbing.ReferenceName{plumbing.NewBranchReferenceName(name), plumbing.NewTagReferenceName(name), plumbing.ReferenceName(name)}
	if name == "" {
		wanted = []plumbing.ReferenceName{plumbing.HEAD}
	}
	for _, n := range wanted {
		ref, ok := byName[n]
		if ok && ref.Type() == plumbing.SymbolicReference {
			ref, ok = byName[ref.Target()]
		}
		if !ok {
			continue
		}
		if peeled, ok := byName[ref.Name()+"^{}"]; ok { // an annotated tag
			return plumbing.NewHashReference(ref.Name(), peeled.Hash()), nil
		}
		return ref, nil
	}
	if name == "" {
		return nil, fmt.Errorf("%s has no commit yet", redacted(r.url))
	}
	return nil, fmt.Errorf("%s has no branch or tag %q", redacted(r.url), name)
}

func (r *remote) list(ctx context.Context) (refs []*plumbing.Reference, err error) {
	origin, err := r.repo.Remote(git.DefaultRemoteName)
	if err != nil {
		return nil, err
	}
	err = r.auth.with(ctx, func(auth transport.AuthMethod) (err error) {
		refs, err = origin.ListContext(ctx, &git.ListOptions{Auth: auth, PeelingOption: git.AppendPeeled})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ask %s for its branches: %w", redacted(r.url), err)
	}
	return refs, nil
}

func (r *remote) find(ctx context.Context, rev string) (plumbing.Hash, error) {
	if !plumbing.IsHash(rev) {
		ref, err := r.look(ctx, rev)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		return ref.Hash(), r.fetch(ctx, r.repo, ref.Name().String(), 1)
	}
	h := plumbing.NewHash(rev)
	if _, err := r.repo.CommitObject(h); err == nil {
		return h, nil
	}
	if err := r.fetch(ctx, r.repo, rev, 1); err == nil { // a server may refuse to give a commit by its hash
		if _, err := r.repo.CommitObject(h); err == nil {
			return h, nil
		}
	}
	_, err := r.commit(ctx, h)
	return h, err
}

func (r *remote) commit(ctx context.Context, h plumbing.Hash) (*object.Commit, error) {
	for {
		c, err := r.repo.CommitObject(h)
		if err == nil {
			return c, nil
		}
		if r.depth == len(depths) {
			return nil, fmt.Errorf("commit %.12s is not in the history of %s: %w", h, redacted(r.url), reconcile.ErrUnavailable)
		}
		if err := r.deepen(ctx); err != nil {
			return nil, fmt.Errorf("%w: %w", reconcile.ErrUnavailable, err)
		}
	}
}

// deepen fetches more of the branch's history. It begins anew, since what a shallow clone has can't be joined to a deeper one in place;
// catalogs are small.
func (r *remote) deepen(ctx context.Context) error {
	if r.main == "" {
		if _, err := r.tip(ctx); err != nil {
			return err
		}
	}
	repo, err := r.empty()
	if err != nil {
		return err
	}
	if err := r.fetch(ctx, repo, r.main.String(), depths[r.depth]); err != nil {
		return err
	}
	r.repo = repo
	r.depth++
	return nil
}

// fetch brings a ref or a commit and so many commits before it.
func (r *remote) fetch(ctx context.Context, into *git.Repository, what string, depth int) error {
	spec := config.RefSpec(what + ":refs/assay/" + what)
	err := r.auth.with(ctx, func(auth transport.AuthMethod) error {
		return into.FetchContext(ctx, &git.FetchOptions{RefSpecs: []config.RefSpec{spec}, Depth: depth, Auth: auth, Tags: git.NoTags, Force: true})
	})
	if err != nil && !errors.Is(err, git.NoErrAlreadyUpToDate) {
		return fmt.Errorf("fetch from %s: %w", redacted(r.url), err)
	}
	return nil
}
