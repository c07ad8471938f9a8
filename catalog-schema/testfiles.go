package catalog

import (
	"io/fs"
	"path"

	"github.com/hashicorp/hcl/v2"
)

// A TestFile is a file of expectations, *.policytest.hcl, of a catalog.
type TestFile struct {
	Name   string // with slashes
	Folder string // "" for the root
	Body   hcl.Body
}

// TestFiles parses the files of expectations of a catalog, with the bounds that its own files have. Files that could not be parsed are left out;
// the diagnostics say so.
func TestFiles(fsys fs.FS, limits Limits) ([]TestFile, *Diagnostics) {
	limits = limits.withDefaults()
	l := &listing{fsys: fsys, limits: limits, name: func(p string) string { return p }, tests: true}
	err := l.walk(".", 0)
	diags := &Diagnostics{Diagnostics: l.diags, Files: map[string]*hcl.File{}}
	if err != nil {
		return nil, diags
	}
	var out []TestFile
	var total int64
	for _, p := range l.files {
		src, err := readFile(fsys, p, limits.File)
		if err != nil {
			diags.Diagnostics = append(diags.Diagnostics, mistake(fileRange(p), "Unreadable file", "The file %q was not read: %v.", p, err))
			continue
		}
		if total += int64(len(src)); total > limits.Total {
			diags.Diagnostics = append(diags.Diagnostics, mistake(fileRange(p), "Too many tests", "The files of expectations have more than %d bytes together.", limits.Total))
			break
		}
		f, more := parseFile(src, p)
		diags.Diagnostics = append(diags.Diagnostics, more...)
		if f != nil {
			diags.Files[p] = f
		}
		if !more.HasErrors() {
			out = append(out, TestFile{Name: p, Folder: folderOf(path.Dir(p)), Body: f.Body})
		}
	}
	return out, diags
}
