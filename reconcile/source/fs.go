package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Bounds of what is read of a commit that may be hostile.
const (
	maxBlob = 4 << 20  // bytes of a file; a longer one can be seen, not read
	maxTree = 32 << 20 // bytes of a folder's list
)

// A treeFS is a commit's files. Symbolic links show as such and can't be opened; submodules show as irregular files.
type treeFS struct {
	mu   *sync.Mutex
	repo *git.Repository
	root plumbing.Hash
}

func (t *treeFS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	f, err := t.open(name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return f, nil
}

func (t *treeFS) open(name string) (fs.File, error) {
	at := object.TreeEntry{Name: ".", Mode: filemode.Dir, Hash: t.root}
	if name != "." {
		for part := range strings.SplitSeq(name, "/") {
			entries, err := t.tree(at)
			if err != nil {
				return nil, err
			}
			i := sort.Search(len(entries), func(i int) bool { return entries[i].Name >= part })
			if i == len(entries) || entries[i].Name != part {
				return nil, fs.ErrNotExist
			}
			at = entries[i]
		}
	}
	switch at.Mode {
	case filemode.Dir:
		entries, err := t.tree(at)
		if err != nil {
			return nil, err
		}
		return &folder{info: info{entry: at}, fs: t, entries: entries}, nil
	case filemode.Regular, filemode.Executable, filemode.Deprecated:
		return t.blob(at)
	}
	return nil, errors.New("it is not a plain file")
}

// tree reads the list of a folder, sorted by name.
func (t *treeFS) tree(at object.TreeEntry) ([]object.TreeEntry, error) {
	if at.Mode != filemode.Dir {
		return nil, fs.ErrNotExist
	}
	size, err := t.repo.Storer.EncodedObjectSize(at.Hash)
	if err != nil {
		return nil, fmt.Errorf("read tree %s: %w", at.Hash, err)
	}
	if size > maxTree {
		return nil, fmt.Errorf("the folder's list has more than %d bytes", maxTree)
	}
	tree, err := t.repo.TreeObject(at.Hash)
	if err != nil {
		return nil, fmt.Errorf("read tree %s: %w", at.Hash, err)
	}
	entries := append([]object.TreeEntry{}, tree.Entries...)
	sort.Slice(entries, func(i, j int) bool { return entries[i].Name < entries[j].Name })
	for i, e := range entries {
		if !fs.ValidPath(e.Name) || e.Name == "." || strings.Contains(e.Name, "/") || i > 0 && entries[i-1].Name == e.Name {
			return nil, fmt.Errorf("the folder has an entry with the invalid name %q", e.Name)
		}
	}
	return entries, nil
}

func (t *treeFS) blob(at object.TreeEntry) (fs.File, error) {
	size, err := t.repo.Storer.EncodedObjectSize(at.Hash)
	if err != nil {
		return nil, fmt.Errorf("read blob %s: %w", at.Hash, err)
	}
	f := &file{info: info{entry: at, size: size}}
	if size > maxBlob {
		f.err = fmt.Errorf("the file is longer than %d bytes", maxBlob)
		return f, nil
	}
	o, err := t.repo.Storer.EncodedObject(plumbing.BlobObject, at.Hash)
	if err != nil {
		return nil, fmt.Errorf("read blob %s: %w", at.Hash, err)
	}
	r, err := o.Reader()
	if err != nil {
		return nil, fmt.Errorf("read blob %s: %w", at.Hash, err)
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, maxBlob))
	if err != nil {
		return nil, fmt.Errorf("read blob %s: %w", at.Hash, err)
	}
	f.r.Reset(data)
	return f, nil
}

// A file is a blob, read whole.
type file struct {
	info
	r   bytes.Reader
	err error
}

func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *file) Close() error               { return nil }

func (f *file) Read(p []byte) (int, error) {
	if f.err != nil {
		return 0, &fs.PathError{Op: "read", Path: f.Name(), Err: f.err}
	}
	return f.r.Read(p)
}

// A folder lists its entries.
type folder struct {
	info
	fs      *treeFS
	entries []object.TreeEntry
	given   int
}

func (d *folder) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *folder) Close() error               { return nil }

func (d *folder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.Name(), Err: errors.New("it is a folder")}
}

func (d *folder) ReadDir(n int) ([]fs.DirEntry, error) {
	rest := d.entries[d.given:]
	if n > 0 && len(rest) > n {
		rest = rest[:n]
	}
	if n > 0 && len(rest) == 0 {
		return nil, io.EOF
	}
	d.given += len(rest)
	out := make([]fs.DirEntry, len(rest))
	for i, e := range rest {
		out[i] = entry{info{entry: e}, d.fs}
	}
	return out, nil
}

// info describes an entry of a tree. Git keeps no times.
type info struct {
	entry object.TreeEntry
	size  int64
}

func (i info) Name() string       { return path.Base(i.entry.Name) }
func (i info) Size() int64        { return i.size }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.Mode().IsDir() }
func (i info) Sys() any           { return nil }

func (i info) Mode() fs.FileMode {
	switch i.entry.Mode {
	case filemode.Dir:
		return fs.ModeDir | 0o555
	case filemode.Regular, filemode.Deprecated:
		return 0o444
	case filemode.Executable:
		return 0o555
	case filemode.Symlink:
		return fs.ModeSymlink | 0o444
	}
	return fs.ModeIrregular
}

type entry struct {
	info
	fs *treeFS
}

func (e entry) Type() fs.FileMode { return e.Mode().Type() }

// Info reads the size, which the folder's list doesn't have.
func (e entry) Info() (fs.FileInfo, error) {
	i := e.info
	if i.Mode().IsRegular() {
		e.fs.mu.Lock()
		defer e.fs.mu.Unlock()
		size, err := e.fs.repo.Storer.EncodedObjectSize(i.entry.Hash)
		if err != nil {
			return nil, err
		}
		i.size = size
	}
	return i, nil
}
