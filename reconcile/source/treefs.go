package source

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// treeFS is a commit's tree as a file system. Files keep Git's modes: a symbolic link is a link, never what it points to.
type treeFS struct {
	mu   *sync.Mutex
	root *object.Tree
	at   time.Time
}

var (
	_ fs.ReadDirFS = (*treeFS)(nil)
	_ fs.StatFS    = (*treeFS)(nil)
)

func (t *treeFS) Open(name string) (fs.File, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	info, err := t.stat("open", name)
	if err != nil {
		return nil, err
	}
	switch {
	case info.IsDir():
		entries, err := t.readDir(name)
		return &dir{info: info, entries: entries}, err
	case !info.Mode().IsRegular():
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("it is a link, not a file")}
	}
	r, err := info.blob.Reader()
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &file{info: info, ReadCloser: r, mu: t.mu}, nil
}

func (t *treeFS) Stat(name string) (fs.FileInfo, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stat("stat", name)
}

func (t *treeFS) ReadDir(name string) ([]fs.DirEntry, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.readDir(name)
}

func (t *treeFS) stat(op, name string) (*info, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	if name == "." {
		return &info{name: ".", mode: fs.ModeDir | 0o755, at: t.at}, nil
	}
	entry, err := t.root.FindEntry(name)
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return t.info(entry, path.Dir(name))
}

func (t *treeFS) info(e *object.TreeEntry, in string) (*info, error) {
	i := &info{name: path.Base(e.Name), at: t.at}
	switch e.Mode {
	case filemode.Dir:
		i.mode = fs.ModeDir | 0o755
		return i, nil
	case filemode.Symlink:
		i.mode = fs.ModeSymlink | 0o777
		return i, nil
	case filemode.Submodule:
		i.mode = fs.ModeIrregular
		return i, nil
	}
	tree, err := t.tree(in)
	if err != nil {
		return nil, err
	}
	f, err := tree.TreeEntryFile(e)
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: path.Join(in, e.Name), Err: err}
	}
	i.mode, i.size, i.blob = 0o644, f.Size, &f.Blob
	return i, nil
}

func (t *treeFS) tree(name string) (*object.Tree, error) {
	if name == "." {
		return t.root, nil
	}
	tree, err := t.root.Tree(name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return tree, nil
}

func (t *treeFS) readDir(name string) ([]fs.DirEntry, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrInvalid}
	}
	tree, err := t.tree(name)
	if err != nil {
		return nil, err
	}
	out := make([]fs.DirEntry, 0, len(tree.Entries))
	for i := range tree.Entries {
		out = append(out, &entry{fs: t, in: name, e: &tree.Entries[i]})
	}
	return out, nil
}

// entry is a directory's entry; its blob is looked up only when Info asks for the size.
type entry struct {
	fs *treeFS
	in string
	e  *object.TreeEntry
}

func (e *entry) Name() string { return e.e.Name }
func (e *entry) IsDir() bool  { return e.e.Mode == filemode.Dir }

func (e *entry) Type() fs.FileMode {
	switch e.e.Mode {
	case filemode.Dir:
		return fs.ModeDir
	case filemode.Symlink:
		return fs.ModeSymlink
	case filemode.Submodule:
		return fs.ModeIrregular
	}
	return 0
}

func (e *entry) Info() (fs.FileInfo, error) {
	e.fs.mu.Lock()
	defer e.fs.mu.Unlock()
	return e.fs.info(e.e, e.in)
}

type info struct {
	name string
	size int64
	mode fs.FileMode
	at   time.Time
	blob *object.Blob
}

func (i *info) Name() string       { return i.name }
func (i *info) Size() int64        { return i.size }
func (i *info) Mode() fs.FileMode  { return i.mode }
func (i *info) ModTime() time.Time { return i.at }
func (i *info) IsDir() bool        { return i.mode.IsDir() }
func (i *info) Sys() any           { return nil }

type file struct {
	io.ReadCloser
	info *info
	mu   *sync.Mutex
}

func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }

func (f *file) Read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ReadCloser.Read(p)
}

type dir struct {
	info    *info
	entries []fs.DirEntry
}

func (d *dir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *dir) Close() error               { return nil }
func (d *dir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.info.name, Err: errors.New("it is a folder")}
}

func (d *dir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		out := d.entries
		d.entries = nil
		return out, nil
	}
	if len(d.entries) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.entries))
	out := d.entries[:n]
	d.entries = d.entries[n:]
	return out, nil
}
