package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/assay-oci/assay/reconcile"
)

// local is a repository on this machine. It is only read: history that a shallow one lacks is fetched from its origin into memory.
type local struct {
	dir    string
	ref    string
	repo   *git.Repository
	origin *remote // nil until more history was asked for
}

// openLocal opens a checkout, also from one of its folders, or a bare repository. below is the folder's path within the repository.
func openLocal(dir, ref string) (l *local, below string, err error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, "", fmt.Errorf("read catalog %s: %w", dir, err)
	}
	if _, err := os.Stat(abs); err != nil {
		return nil, "", fmt.Errorf("read catalog: %w", err)
	}
	repo, err := openGit(abs)
	if err != nil {
		return nil, "", fmt.Errorf("read catalog %s: it is in no Git repository; to read a plain folder, give --working-tree", dir)
	}
	l = &local{dir: abs, ref: ref, repo: repo}
	if tree, err := repo.Worktree(); err == nil {
		below, err = within(tree.Filesystem.Root(), abs)
		if err != nil {
			return nil, "", fmt.Errorf("read catalog %s: %w", dir, err)
		}
	}
	return l, below, nil
}

func openGit(dir string) (*git.Repository, error) {
	repo, err := git.PlainOpenWithOptions(dir, &git.PlainOpenOptions{DetectDotGit: true, EnableDotGitCommonDir: true})
	if errors.Is(err, git.ErrRepositoryNotExists) {
		return git.PlainOpen(dir)
	}
	return repo, err
}

func within(root, dir string) (string, error) {
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		return "", err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", err
	}
	rel, err := filepath.Rel(root, dir)
	if err != nil || rel == "." {
		return "", err
	}
	return filepath.ToSlash(rel), nil
}

func (l *local) find(_ context.Context, rev string) (plumbing.Hash, error) {
	for _, r := range []string{rev, "origin/" + rev} {
		if h, err := l.repo.ResolveRevision(plumbing.Revision(r)); err == nil {
			return *h, nil
		}
	}
	return plumbing.ZeroHash, fmt.Errorf("there is no branch, tag or commit %q", rev)
}

// tip opens the repository anew, since others may be writing to it.
func (l *local) tip(ctx context.Context) (plumbing.Hash, error) {
	repo, err := openGit(l.dir)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	if l.ref != "" {
		return (&local{repo: repo}).find(ctx, l.ref)
	}
	head, err := repo.Head()
	if err != nil {
		return plumbing.ZeroHash, errors.New("it has no commit yet; commit the catalog first, or give --working-tree")
	}
	return head.Hash(), nil
}

func (l *local) commit(ctx context.Context, h plumbing.Hash) (*object.Commit, error) {
	c, err := l.repo.CommitObject(h)
	if err == nil {
		return c, nil
	}
	if l.origin == nil {
		if l.origin, err = l.openOrigin(ctx); err != nil {
			return nil, fmt.Errorf("commit %.12s: %w: %w", h, reconcile.ErrUnavailable, err)
		}
	}
	return l.origin.commit(ctx, h)
}

// openOrigin finds where more history can be had.
func (l *local) openOrigin(ctx context.Context) (*remote, error) {
	r, err := l.repo.Remote(git.DefaultRemoteName)
	if err != nil || len(r.Config().URLs) == 0 {
		return nil, errors.New("the checkout is shallow and has no origin to fetch more history from")
	}
	ref := l.ref
	if ref == "" {
		if head, err := l.repo.Head(); err == nil && head.Name().IsBranch() {
			ref = head.Name().Short()
		}
	}
	return openRemote(ctx, r.Config().URLs[0], ref)
}
