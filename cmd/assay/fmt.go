package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	catalog "github.com/assay-oci/assay/catalog-schema"
)

type fmtOptions struct {
	check bool
	diff  bool
}

func newFmt(io stdio) *cobra.Command {
	var o fmtOptions
	c := &cobra.Command{
		Use:   "fmt [FILE|FOLDER|-]...",
		Short: "Write catalog files in their canonical form",
		Long: `Fmt rewrites the .hcl files that it is given, or those below the folders that it is given (the current one if none), in their
canonical form and lists those that it changed. Comments stay. "-" formats standard input to standard output.`,
		RunE: func(_ *cobra.Command, args []string) error { return runFmt(io, o, args) },
	}
	c.Flags().BoolVar(&o.check, "check", false, "change nothing; exit with 2 if a file is not in canonical form")
	c.Flags().BoolVar(&o.diff, "diff", false, "print what changes")
	return c
}

func runFmt(io stdio, o fmtOptions, args []string) error {
	if len(args) == 1 && args[0] == "-" {
		return fmtStdin(io)
	}
	if len(args) == 0 {
		args = []string{"."}
	}
	files, err := catalogFiles(args)
	if err != nil {
		return err
	}
	changed, failed := false, false
	for _, name := range files { // one bad file stops none of the others
		c, err := fmtFile(io, o, name)
		if err != nil {
			failed = true
			if !errors.As(err, new(exit)) {
				fmt.Fprintln(io.err, "assay: "+err.Error())
			}
		}
		changed = changed || c
	}
	switch {
	case failed:
		return exit(exitError)
	case changed && o.check:
		return exit(exitChanges)
	}
	return nil
}

// longFlags lets people write fmt's flags with one dash, as they do with terraform fmt.
func longFlags(args []string) []string {
	if len(args) == 0 || args[0] != "fmt" {
		return args
	}
	out := slices.Clone(args)
	for i, a := range out {
		if a == "--" {
			break
		}
		if a == "-check" || a == "-diff" {
			out[i] = "-" + a
		}
	}
	return out
}

// catalogFiles lists the catalog's files among and below the given names, the way Load finds them: hidden folders and links are passed over.
func catalogFiles(names []string) ([]string, error) {
	var files []string
	for _, name := range names {
		err := filepath.WalkDir(name, func(p string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && p != name && strings.HasPrefix(d.Name(), "."):
				return fs.SkipDir
			case d.Type().IsRegular() && (p == name || strings.HasSuffix(p, ".hcl")):
				files = append(files, p)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("look for catalog files: %w", err)
		}
	}
	return files, nil
}

func fmtFile(io stdio, o fmtOptions, name string) (changed bool, err error) {
	src, err := readBounded(name)
	if err != nil {
		return false, err
	}
	out, diags := catalog.Format(src, name)
	if diags.HasErrors() {
		return false, printMistakes(io, name, src, diags)
	}
	if bytes.Equal(src, out) {
		return false, nil
	}
	if o.diff {
		if _, err := io.out.Write(diff.Diff(name+" (now)", src, name+" (canonical)", out)); err != nil {
			return true, err
		}
	} else {
		fmt.Fprintln(io.out, name)
	}
	if o.check {
		return true, nil
	}
	return true, replaceFile(name, out)
}

// maxCatalogFile is the largest file that the catalog may have.
const maxCatalogFile = 1 << 20

func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read catalog file: %w", err)
	}
	defer f.Close()
	return readAll(f, name)
}

func readAll(r io.Reader, name string) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxCatalogFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(b) > maxCatalogFile {
		return nil, fmt.Errorf("read %s: it is larger than the %d bytes that a catalog's file may have", name, maxCatalogFile)
	}
	return b, nil
}

// replaceFile swaps the file's content at once, so that an interruption loses nothing, and keeps its permissions.
func replaceFile(name string, content []byte) error {
	info, err := os.Stat(name)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), ".assay-fmt-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(content)
	if err := errors.Join(err, tmp.Chmod(info.Mode().Perm()), tmp.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := os.Rename(tmp.Name(), name); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func fmtStdin(io stdio) error {
	src, err := readAll(io.in, "standard input")
	if err != nil {
		return err
	}
	out, diags := catalog.Format(src, "standard input")
	if diags.HasErrors() {
		return printMistakes(io, "standard input", src, diags)
	}
	_, err = io.out.Write(out)
	return err
}

func printMistakes(io stdio, name string, src []byte, diags hcl.Diagnostics) error {
	d := catalog.Diagnostics{Diagnostics: diags, Files: map[string]*hcl.File{name: {Bytes: src}}}
	if err := d.Print(io.err, 0, coloured(io.err)); err != nil {
		return fmt.Errorf("print mistakes: %w", err)
	}
	return exit(exitError)
}
