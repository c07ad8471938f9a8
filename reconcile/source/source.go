// Package source reads a catalog out of Git: from a working tree, a bare repository or a URL, at any commit, as an fs.FS.
//
// Nothing is checked out and nothing is written, but for the clones of URLs in Options.CacheDir. A URL is fetched shallow and
// deepened on demand.
package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/assay-oci/assay/reconcile"
)

// Options say what to read.
type Options struct {
	Ref      string // a branch, a tag or a full reference name; default HEAD. Tip reads it again
	Commit   string // hexadecimal; read this commit instead of the one that Ref has now
	Path     string // the catalog's folder, below the repository's root (or below the location, if that is a folder of a working tree)
	Dirty    bool   // of a working tree: read the files as they are, committed or not
	CacheDir string // where clones of URLs are kept between runs; empty keeps them in memory for this run
}

// A Source is a catalog at one commit, with the repository that it lies in. Its methods may be called concurrently.
type Source struct {
	opts   Options
	path   string // of the catalog in the repository; "." for the root
	remote *remote
	dirty  fs.FS
	commit plumbing.Hash
	tip    coalescer

	fetching sync.Mutex // what one fetches, another doesn't
	deepened int        // how many of the depths were fetched

	mu    sync.Mutex        // go-git's storages are not safe for concurrent use
	repos []*git.Repository // the local repository, or what was fetched so far
	local *git.Repository   // nil for a URL
}

// Open opens the catalog at a location: a folder, a bare repository, or a URL with the scheme https, ssh or file (or "user@host:path").
func Open(ctx context.Context, location string, opts Options) (*Source, error) {
	if opts.Path != "" && !fs.ValidPath(path.Clean(filepath.ToSlash(opts.Path))) {
		return nil, fmt.Errorf("open catalog: the path %q does not lie below the repository's root", opts.Path)
	}
	if opts.Commit != "" && !plumbing.IsHash(opts.Commit) {
		return nil, fmt.Errorf("open catalog: %q is no commit; write its 40 hexadecimal digits, or use a ref", opts.Commit)
	}
	l, err := parseLocation(location)
	if err != nil {
		return nil, fmt.Errorf("open catalog: %w", err)
	}
	s := &Source{opts: opts, path: path.Clean(filepath.ToSlash(opts.Path))}
	if l.dir != "" {
		err = s.openLocal(ctx, l.dir)
	} else {
		err = s.openRemote(ctx, l)
	}
	if err != nil {
		return nil, fmt.Errorf("open catalog %s: %w", l, err)
	}
	return s, nil
}

func (s *Source) openLocal(ctx context.Context, dir string) error {
	repo, below, err := openRepository(dir)
	if s.opts.Dirty {
		return s.openDirty(dir, repo, below)
	}
	if err != nil {
		return err
	}
	s.path = path.Join(below, s.path)
	s.local, s.repos = repo, []*git.Repository{repo}
	s.remote = originOf(repo)
	if s.commit, err = s.resolve(ctx, s.wanted()); err != nil {
		return err
	}
	return s.checkPath()
}

// wanted is the revision to read.
func (s *Source) wanted() string {
	if s.opts.Commit != "" {
		return s.opts.Commit
	}
	return s.ref()
}

func (s *Source) ref() string {
	if s.opts.Ref == "" {
		return "HEAD"
	}
	return s.opts.Ref
}

// openRepository opens the repository that a folder is, or lies in, and says where in it the folder is.
func openRepository(dir string) (*git.Repository, string, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, "", err
	}
	if !info.IsDir() {
		return nil, "", fmt.Errorf("it is not a folder")
	}
	repo, err := git.PlainOpenWithOptions(dir, &git.PlainOpenOptions{EnableDotGitCommonDir: true})
	if errors.Is(err, git.ErrRepositoryNotExists) {
		repo, err = git.PlainOpenWithOptions(dir, &git.PlainOpenOptions{DetectDotGit: true, EnableDotGitCommonDir: true})
	}
	if errors.Is(err, git.ErrRepositoryNotExists) {
		return nil, "", fmt.Errorf("it is no git repository and lies in none; --working-tree reads a folder's files as they are")
	}
	if err != nil {
		return nil, "", fmt.Errorf("read the git repository: %w", err)
	}
	tree, err := repo.Worktree()
	if err != nil {
		return repo, ".", nil //nolint:nilerr // a bare repository has no working tree
	}
	below, err := within(tree.Filesystem.Root(), dir)
	return repo, below, err
}

// within returns dir's path below root, with slashes.
func within(root, dir string) (string, error) {
	var err error
	for _, p := range []*string{&root, &dir} {
		if *p, err = filepath.Abs(*p); err != nil {
			return "", err
		}
		if *p, err = filepath.EvalSymlinks(*p); err != nil {
			return "", err
		}
	}
	below, err := filepath.Rel(root, dir)
	if err != nil || !filepath.IsLocal(below) {
		return "", fmt.Errorf("the folder does not lie in the repository at %s", root)
	}
	return filepath.ToSlash(below), nil
}

// Commit returns the hexadecimal name of the commit that FS reads; empty for a working tree read as it is.
func (s *Source) Commit() string {
	if s.dirty != nil {
		return ""
	}
	return s.commit.String()
}

// Path returns the catalog's folder in the repository; empty for the root.
func (s *Source) Path() string {
	if s.path == "." {
		return ""
	}
	return s.path
}

// FS returns the catalog's files. Blobs are read when they are opened, whole, and none that is longer than 4 MiB.
func (s *Source) FS() fs.FS {
	if s.dirty != nil {
		return s.dirty
	}
	f, err := s.files(s.commit)
	if err != nil {
		return failed{err}
	}
	return f
}

// At returns the files of another commit, given by its name or by a ref, and the commit's name. It fetches what is missing. "^" after it means the
// commit's first parent, "^2" the second one, and so on.
func (s *Source) At(ctx context.Context, revision string) (fs.FS, string, error) {
	h, err := s.resolve(ctx, revision)
	if err != nil {
		return nil, "", fmt.Errorf("read the catalog at %s: %w", revision, err)
	}
	f, err := s.files(h)
	if err != nil {
		return nil, "", fmt.Errorf("read the catalog at %s: %w", revision, err)
	}
	return f, h.String(), nil
}

// resolve finds the commit that a revision names, and fetches it if need be.
func (s *Source) resolve(ctx context.Context, revision string) (plumbing.Hash, error) {
	if m := parentOf.FindStringSubmatch(revision); m != nil {
		return s.parent(ctx, m[1], m[2])
	}
	if plumbing.IsHash(revision) {
		h := plumbing.NewHash(revision)
		s.fetching.Lock()
		defer s.fetching.Unlock()
		if s.has(h) {
			return h, nil
		}
		return h, s.fetchCommit(ctx, h, 1)
	}
	if s.local != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		h, err := s.local.ResolveRevision(plumbing.Revision(revision))
		if err != nil {
			return plumbing.ZeroHash, fmt.Errorf("there is no %q in the repository: %w", revision, err)
		}
		if _, err := s.local.CommitObject(*h); err != nil {
			return plumbing.ZeroHash, fmt.Errorf("%q names no commit that is here: %w", revision, err)
		}
		return *h, nil
	}
	if s.remote == nil {
		return plumbing.ZeroHash, fmt.Errorf("%q can't be looked up: it is no git repository", revision)
	}
	return s.fetchRef(ctx, revision)
}

// parentOf is a revision's parent, as git writes it.
var parentOf = regexp.MustCompile(`^(.+)\^([1-9]?)$`)

// parent finds a parent of a commit, counted from 1; no number means the first.
func (s *Source) parent(ctx context.Context, revision, number string) (plumbing.Hash, error) {
	n, _ := strconv.Atoi(cmp.Or(number, "1"))
	h, err := s.resolve(ctx, revision)
	if err != nil {
		return h, err
	}
	_, c, err := s.lookup(h)
	if err != nil {
		return h, err
	}
	if n > len(c.ParentHashes) {
		return h, fmt.Errorf("commit %s has %d parents: %w", h, len(c.ParentHashes), reconcile.ErrNotFound)
	}
	return s.resolve(ctx, c.ParentHashes[n-1].String())
}

func (s *Source) has(h plumbing.Hash) bool {
	_, _, err := s.lookup(h)
	return err == nil
}

// lookup finds a commit in what is here.
func (s *Source) lookup(h plumbing.Hash) (*git.Repository, *object.Commit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.repos {
		c, err := r.CommitObject(h)
		if err == nil {
			return r, c, nil
		}
		if !errors.Is(err, plumbing.ErrObjectNotFound) {
			return nil, nil, fmt.Errorf("read commit %s: %w", h, err)
		}
	}
	return nil, nil, fmt.Errorf("commit %s is not here: %w", h, reconcile.ErrUnavailable)
}

// files returns the catalog's folder at a commit that is here.
func (s *Source) files(h plumbing.Hash) (fs.FS, error) {
	repo, c, err := s.lookup(h)
	if err != nil {
		return nil, err
	}
	root := &treeFS{mu: &s.mu, repo: repo, root: c.TreeHash}
	if s.path == "." {
		return root, nil
	}
	return fs.Sub(root, s.path)
}

// checkPath sees that the catalog's folder exists.
func (s *Source) checkPath() error {
	f, err := s.files(s.commit)
	if err != nil {
		return err
	}
	info, err := fs.Stat(f, ".")
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return fmt.Errorf("there is no folder %q at commit %s", s.path, s.commit)
	}
	if err != nil {
		return fmt.Errorf("commit %s: %w", s.commit, err)
	}
	return nil
}

// failed is a file system that can't be read.
type failed struct{ err error }

func (f failed) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: f.err}
}
