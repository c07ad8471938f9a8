package catalog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"sort"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// Limits bound what a hostile catalog can cost. A zero field means its default.
type Limits struct {
	Files   int   // .hcl files; default 50,000
	Entries int   // all names in all folders; default 500,000
	Depth   int   // folders in folders; default 32
	File    int64 // bytes of one file; default 1 MiB
	Total   int64 // bytes of all files; default 64 MiB
}

func (l Limits) withDefaults() Limits {
	set := func(p *int64, v int64) {
		if *p == 0 {
			*p = v
		}
	}
	n := [3]int64{int64(l.Files), int64(l.Entries), int64(l.Depth)}
	set(&n[0], 50_000)
	set(&n[1], 500_000)
	set(&n[2], 32)
	l.Files, l.Entries, l.Depth = int(n[0]), int(n[1]), int(n[2])
	set(&l.File, 1<<20)
	set(&l.Total, 64<<20)
	return l
}

// errLimit stops the walk: what lies beyond a limit is neither listed nor opened.
var errLimit = errors.New("limit")

// listing walks the folders of a catalog and collects its .hcl files, without opening one.
type listing struct {
	fsys    fs.FS
	limits  Limits
	name    func(string) string // a file's name in diagnostics
	files   []string
	tests   bool // whether it collects the files of expectations, and no others
	entries int
	diags   hcl.Diagnostics
	folders []string // folder of each diagnostic
}

func (l *listing) fail(p, summary, format string, args ...any) {
	l.diags = append(l.diags, mistake(fileRange(l.name(p)), summary, format, args...))
	l.folders = append(l.folders, path.Dir(p))
}

// fileRange points to a file as a whole.
func fileRange(name string) hcl.Range {
	return hcl.Range{Filename: name, Start: hcl.InitialPos, End: hcl.InitialPos}
}

func (l *listing) walk(dir string, depth int) error {
	if depth > l.limits.Depth {
		l.fail(dir, "Folders too deep", "The folder %q lies more than %d folders deep. Its files were not read.", clip(dir)+"…", l.limits.Depth)
		return nil
	}
	names, err := l.readDir(dir)
	if err != nil {
		return err
	}
	for _, e := range names {
		if err := l.entry(path.Join(dir, e.Name()), e, depth); err != nil {
			return err
		}
	}
	return nil
}

// testSuffix ends the names of files with expectations of the policies: they stand in the catalog's folders, and are none of its files.
const testSuffix = ".policytest.hcl"

func (l *listing) entry(p string, e fs.DirEntry, depth int) error {
	name := e.Name()
	isHCL := strings.HasSuffix(name, ".hcl")
	switch {
	case strings.HasPrefix(name, "."):
		return nil
	case e.IsDir():
		return l.walk(p, depth+1)
	case isHCL && strings.HasSuffix(name, testSuffix) != l.tests:
		return nil
	case e.Type()&fs.ModeSymlink != 0 && (isHCL || path.Ext(name) == ""):
		l.fail(p, "Symbolic link", "%q is a symbolic link. A catalog has plain files only; links are not followed.", p)
	case !isHCL:
		return nil
	case !e.Type().IsRegular():
		l.fail(p, "Not a file", "%q is not a plain file.", p)
	case len(l.files) >= l.limits.Files:
		l.diags = append(l.diags, mistake(fileRange(l.name(p)), "Too many files",
			"The catalog has more than %d files. Nothing of it was read.", l.limits.Files))
		l.folders = append(l.folders, ".")
		return errLimit
	default:
		l.files = append(l.files, p)
	}
	return nil
}

// readDir lists a folder by parts, so that one with millions of names is left once the limit is reached.
func (l *listing) readDir(dir string) ([]fs.DirEntry, error) {
	f, err := l.fsys.Open(dir)
	if err != nil {
		l.fail(dir, "Unreadable folder", "The folder %q can't be read: %v.", dir, reason(err))
		return nil, nil
	}
	defer f.Close()
	d, ok := f.(fs.ReadDirFile)
	if !ok {
		l.fail(dir, "Unreadable folder", "The folder %q can't be listed.", dir)
		return nil, nil
	}
	var out []fs.DirEntry
	for {
		part, err := d.ReadDir(1000)
		out = append(out, part...)
		if l.entries += len(part); l.entries > l.limits.Entries {
			l.diags = append(l.diags, mistake(fileRange(l.name(dir)), "Too many files",
				"The catalog's folders have more than %d names. Nothing of it was read.", l.limits.Entries))
			l.folders = append(l.folders, ".")
			return nil, errLimit
		}
		if errors.Is(err, io.EOF) || err == nil && len(part) == 0 {
			break
		}
		if err != nil {
			l.fail(dir, "Unreadable folder", "The folder %q can't be listed: %v.", dir, reason(err))
			return nil, nil
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name() < out[j].Name() })
	return out, nil
}

// readFile reads a file of at most limit bytes, and not one byte more than is needed to know that it is longer.
func readFile(fsys fs.FS, p string, limit int64) ([]byte, error) {
	f, err := fsys.Open(p)
	if err != nil {
		return nil, fmt.Errorf("it can't be read: %w", reason(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("it can't be read: %w", reason(err))
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a plain file")
	}
	tooLong := fmt.Errorf("it is longer than %d bytes", limit)
	if info.Size() > limit {
		return nil, tooLong
	}
	src, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("it can't be read: %w", reason(err))
	}
	if int64(len(src)) > limit {
		return nil, tooLong
	}
	return src, nil
}

// reason strips a path from an error that we print beside the path.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// readPlain reads a file that the catalog names, of at most so many bytes. The path was checked; that no part of it is a link is checked here.
func readPlain(fsys fs.FS, name string, limit int64) ([]byte, error) {
	for i := range len(name) + 1 {
		if i < len(name) && name[i] != '/' {
			continue
		}
		info, err := fs.Lstat(fsys, name[:i])
		if err != nil {
			return nil, fmt.Errorf("it can't be read: %w", reason(err))
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			return nil, errors.New("a part of its path is a symbolic link")
		}
	}
	return readFile(fsys, name, limit)
}
