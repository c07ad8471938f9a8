// Package examples holds a catalog's repository and its workflows, which assay init writes. Without flags it writes them as they are.
package examples

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
)

//go:embed all:repository workflows/*.yml
var files embed.FS

// Repository returns the files of a catalog's repository by their paths in it, the workflows among them.
func Repository() (map[string]string, error) {
	out := map[string]string{}
	for from, to := range map[string]string{"repository": ".", "workflows": ".github/workflows"} {
		if err := fs.WalkDir(files, from, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			content, err := files.ReadFile(name)
			out[path.Join(to, name[len(from)+1:])] = string(content)
			return err
		}); err != nil {
			return nil, fmt.Errorf("read the examples: %w", err)
		}
	}
	return out, nil
}
