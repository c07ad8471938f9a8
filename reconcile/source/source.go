// Package source reads a catalog from Git: a commit as a file system, the commit that its branch has now, and its history.
package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/assay-oci/assay/reconcile"
)

// Options say which state of the catalog to read.
type Options struct {
	Ref    string // a branch or tag, short or whole; empty for the repository's current branch
	Commit string // a commit of Ref, hexadecimal; empty for its newest
	Path   string // the catalog's folder within the repository, with slashes; empty for its root
	Dirty  bool   // read a local folder as it is, with what is not committed; Ref and Commit must be empty
}

// A Source is a catalog at one commit. It implements reconcile.Tip and may be used concurrently.
type Source struct {
	path   string
	commit plumbing.Hash // zero for a working tree
	files  fs.FS
	repo   repository // nil for a working tree
	tips   coalescer
	mu     sync.Mutex // go-git's storage isn't made for concurrent use
}

var _ reconcile.Tip = (*Source)(nil)

// repository is a Git repository, here or elsewhere.
type repository interface {
	// find returns the hash of a revision, having fetched its commit if need be.
	find(ctx context.Context, rev string) (plumbing.Hash, error)
	// tip reads the hash that the ref has now.
	tip(context.Context) (plumbing.Hash, error)
	// commit returns a commit that find, or a commit's parents, named. One that lies behind a shallow clone's edge is reconcile.ErrUnavailable
	// once no more history can be fetched.
	commit(context.Context, plumbing.Hash) (*object.Commit, error)
}

// Open reads the catalog at location: a folder with a checkout, a bare repository, or a URL (https, ssh, file).
func Open(ctx context.Context, location string, o Options) (*Source, error) {
	folder, err := cleanPath(o.Path)
	if err != nil {
		return nil, err
	}
	if o.Dirty {
		return openFolder(location, folder, o)
	}
	s := &Source{path: folder}
	if isURL(location) {
		s.repo, err = openRemote(ctx, location, o.Ref)
	} else {
		var below string
		s.repo, below, err = openLocal(location, o.Ref)
		s.path = path.Join(below, folder)
	}
	if err != nil {
		return nil, err
	}
	if err := s.checkout(ctx, o); err != nil {
		return nil, fmt.Errorf("read catalog %s: %w", redacted(location), err)
	}
	return s, nil
}

func openFolder(location, folder string, o Options) (*Source, error) {
	if isURL(location) {
		return nil, fmt.Errorf("read catalog %s: a working tree is a folder on this machine, not a URL", redacted(location))
	}
	if o.Ref != "" || o.Commit != "" {
		return nil, errors.New("read catalog: a working tree has no ref and no commit; give either one or the other")
	}
	root := location
	if folder != "" {
		root = path.Join(location, folder)
	}
	info, err := os.Stat(root)
	if err == nil && !info.IsDir() {
		err = errors.New("it is not a folder")
	}
	if err != nil {
		return nil, fmt.Errorf("read catalog %s: %w", root, err)
	}
	return &Source{files: os.DirFS(root)}, nil
}

func (s *Source) checkout(ctx context.Context, o Options) error {
	var err error
	if o.Commit == "" {
		s.commit, err = s.repo.tip(ctx)
	} else if !plumbing.IsHash(o.Commit) {
		return fmt.Errorf("%q is not a whole commit hash", o.Commit)
	} else {
		s.commit, err = s.repo.find(ctx, o.Commit)
	}
	if err != nil {
		return err
	}
	s.files, err = s.at(ctx, s.commit)
	return err
}

// Commit returns the commit's hash, or "" for a working tree.
func (s *Source) Commit() string {
	if s.repo == nil {
		return ""
	}
	return s.commit.String()
}

// FS returns the catalog's files. They are read when they are opened.
func (s *Source) FS() fs.FS { return s.files }

// At returns the catalog's files at another ref or commit, and that commit's hash.
func (s *Source) At(ctx context.Context, rev string) (fs.FS, string, error) {
	if s.repo == nil {
		return nil, "", fmt.Errorf("read catalog at %q: a working tree has no other commits", rev)
	}
	s.mu.Lock()
	hash, err := s.repo.find(ctx, rev)
	s.mu.Unlock()
	if err != nil {
		return nil, "", fmt.Errorf("read catalog at %q: %w", rev, err)
	}
	files, err := s.at(ctx, hash)
	if err != nil {
		return nil, "", fmt.Errorf("read catalog at %q: %w", rev, err)
	}
	return files, hash.String(), nil
}

func (s *Source) at(ctx context.Context, hash plumbing.Hash) (fs.FS, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.repo.commit(ctx, hash)
	if err != nil {
		return nil, err
	}
	return s.filesOf(c)
}

// errNoFolder says that a commit does not have the catalog's folder.
var errNoFolder = errors.New("the catalog is not there")

// filesOf needs the lock.
func (s *Source) filesOf(c *object.Commit) (fs.FS, error) {
	tree, err := c.Tree()
	if err != nil {
		return nil, fmt.Errorf("read the files of commit %.12s: %w", c.Hash, err)
	}
	if s.path != "" {
		if tree, err = tree.Tree(s.path); err != nil {
			return nil, fmt.Errorf("%w: commit %.12s has no folder %q", errNoFolder, c.Hash, s.path)
		}
	}
	return &treeFS{mu: &s.mu, root: tree, at: c.Committer.When}, nil
}

// Tip returns the commit that the ref has now, asked anew: an answer is never older than the call. Calls that wait together share one
// request.
func (s *Source) Tip(ctx context.Context) (string, error) {
	if s.repo == nil {
		return "", nil
	}
	return s.tips.do(ctx, func(ctx context.Context) (string, error) {
		h, err := s.repo.tip(ctx)
		if err != nil {
			return "", err
		}
		return h.String(), nil
	})
}

// isURL tells a URL, or the short form of an ssh address, from a path.
func isURL(location string) bool {
	if strings.Contains(location, "://") {
		return true
	}
	host, _, ok := strings.Cut(location, ":")
	return ok && strings.Contains(host, "@") && !strings.ContainsAny(host, `/\`)
}

// redacted is a location that may be shown: without user name and password.
func redacted(location string) string {
	u, err := url.Parse(location)
	if err != nil || u.User == nil {
		return location
	}
	u.User = nil
	return u.String()
}

func cleanPath(p string) (string, error) {
	if p == "" {
		return "", nil
	}
	c := strings.TrimPrefix(path.Clean(p), "./")
	if c == "." {
		return "", nil
	}
	if !fs.ValidPath(c) {
		return "", fmt.Errorf("the catalog's path %q leads out of its repository", p)
	}
	return c, nil
}
