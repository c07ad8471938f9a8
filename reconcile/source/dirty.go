package source

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5"
)

// openDirty reads the files of a folder as they are. Links that lead out of it are not followed, and git's own files are not shown.
func (s *Source) openDirty(dir string, repo *git.Repository, _ string) error {
	root, err := os.OpenRoot(filepath.Join(dir, filepath.FromSlash(s.path)))
	if err != nil {
		return fmt.Errorf("read the folder: %w", err)
	}
	s.dirty, s.local = withoutGit{root.FS()}, repo
	return nil
}

type withoutGit struct{ fs.FS }

func (f withoutGit) Open(name string) (fs.File, error) {
	for part := range strings.SplitSeq(name, "/") {
		if strings.EqualFold(part, ".git") {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
	}
	return f.FS.Open(name)
}
