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
	collect := func(a, b fs.FS) error {
		return fs.WalkDir(a, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || path.Ext(name) != ".hcl" {
				return err
			}
			same, err := sameFile(a, b, name)
			if err == nil && !same {
				out = append(out, name)
			}
			return err
		})
	}
	if err := errors.Join(collect(base, head), collect(head, base)); err != nil {
		return nil, err
	}
	slices.Sort(out)
	return slices.Compact(out), nil
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
