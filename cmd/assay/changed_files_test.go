package main

import (
	"slices"
	"testing"
	"testing/fstest"
)

func TestChangedFiles(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	base := fstest.MapFS{"same.hcl": file("a"), "changed.hcl": file("a"), "gone.hcl": file("a"), "a/README.md": file("a")}
	head := fstest.MapFS{"same.hcl": file("a"), "changed.hcl": file("b"), "a/new.hcl": file("a"), "a/README.md": file("b")}
	if got, err := changedFiles(base, head); err != nil || !slices.Equal(got, []string{"a/new.hcl", "changed.hcl", "gone.hcl"}) {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := changedFiles(base, base); err != nil || got == nil || len(got) > 0 {
		t.Errorf("%q, %v", got, err)
	}
}
