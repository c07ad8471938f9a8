package main

import (
	"bytes"
	"errors"
	"io/fs"
	"path"
	"slices"
)

// changedFiles lists the files of a catalog in which two commits differ, by name; it is never nil.
func changedFiles(base, head fs.FS) ([]string, error) {
	out := []string{}
	err := errors.Join(
		eachFile(base, func(name string) error {
			same, err := sameFile(base, head, name)
			if err == nil && !same {
				out = append(out, name)
			}
			return err
		}),
		eachFile(head, func(name string) error {
			_, err := fs.Stat(base, name)
			if errors.Is(err, fs.ErrNotExist) {
				out = append(out, name)
				return nil
			}
			return err
		}))
	if err != nil {
		return nil, err
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// eachFile visits the files that a catalog may consist of.
func eachFile(fsys fs.FS, visit func(name string) error) error {
	return fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || path.Ext(name) != ".hcl" {
			return err
		}
		return visit(name)
	})
}

// sameFile tells whether a file of a is the same in b.
func sameFile(a, b fs.FS, name string) (bool, error) {
	was, err := fs.ReadFile(a, name)
	if err != nil {
		return false, err
	}
	is, err := fs.ReadFile(b, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && bytes.Equal(was, is), err
}
