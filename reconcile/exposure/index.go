// Package exposure answers which approved images contain a vulnerability, a package or a licence, and which running workloads use them. It
// answers from an index on this machine, which is built from the records beside the images in the registries and can be built again at any time.
package exposure

import (
	"bufio"
	"compress/gzip"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

// An Index is what the registries hold, folded: packages and vulnerabilities are kept once each, and manifests name them by their place in
// those lists. It is immutable once built, and may be read concurrently.
type Index struct {
	Format     int
	Commit     string    // of the catalog
	Built      time.Time // when the registries were read
	Unread     []string  // what could not be read: images below it may be missing
	Packages   []Package
	Advisories []Advisory
	Images     []Image
	Revoked    []Revoked
}

// format changes when an index that an older version wrote can't be read any more.
const format = 1

// A Package is something installed in at least one image.
type Package struct {
	Name, Version, Ecosystem, PURL, License string
}

// An Advisory is a vulnerability of a package, merged from what all scanners said.
type Advisory struct {
	ID       string
	Aliases  []string
	Severity string
	Package  uint32 // in Index.Packages
	FixedIn  []string
}

// An Image is one version of an approved image, and all the repositories that hold it.
type Image struct {
	Name, Version string
	Digest        string
	Scope, Owner  string
	Tags          []string
	Places        []Place
	Manifests     []Manifest
	Parts         []string // digests of everything else that belongs to it, such as attestations
}

// A Place is a repository that holds an image.
type Place struct {
	Registry, Repo string
	Since          time.Time // when it was admitted; zero if unknown
}

// A Manifest is one platform of an image.
type Manifest struct {
	Digest, Platform string
	Listed           bool     // whether anything is known of what is installed in it
	Packages         []uint32 // in Index.Packages, ascending
	Found            []Found
}

// Found is a vulnerability in a manifest.
type Found struct {
	Advisory uint32    // in Index.Advisories
	Since    time.Time // when it was first seen in this image
}

// Revoked is a digest that the catalog has revoked.
type Revoked struct {
	Name, Digest, Reason, Replacement string
}

// maxIndex bounds what is read of an index file, uncompressed.
const maxIndex = 2 << 30

// ErrNoIndex is returned where there is no index that this version can read. It has to be built.
var ErrNoIndex = errors.New("there is no index of what the registries hold")

// Read reads an index from a file.
func Read(file string) (*Index, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoIndex
	}
	if err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	defer f.Close()
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		return nil, fmt.Errorf("%w (the file %s is damaged)", ErrNoIndex, file)
	}
	var x Index
	if err := gob.NewDecoder(io.LimitReader(z, maxIndex)).Decode(&x); err != nil || x.Format != format || !x.sound() {
		return nil, fmt.Errorf("%w (the file %s is damaged, or of another version)", ErrNoIndex, file)
	}
	return &x, nil
}

// sound tells whether everything that is named by its place is there.
func (x *Index) sound() bool {
	packages, advisories := uint32(len(x.Packages)), uint32(len(x.Advisories))
	for _, a := range x.Advisories {
		if a.Package >= packages {
			return false
		}
	}
	for _, i := range x.Images {
		for _, m := range i.Manifests {
			for _, p := range m.Packages {
				if p >= packages {
					return false
				}
			}
			for _, v := range m.Found {
				if v.Advisory >= advisories {
					return false
				}
			}
		}
	}
	return true
}

// Write replaces an index file as a whole: a reader sees the old one or the new one.
func (x *Index) Write(file string) (err error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".index-*")
	if err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	z, _ := gzip.NewWriterLevel(f, gzip.BestSpeed)
	err = errors.Join(gob.NewEncoder(z).Encode(x), z.Close(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	return nil
}

// key names a package in the index.
func key(p reconcile.Package) Package {
	return Package{Name: p.Name, Version: p.Version, Ecosystem: p.Ecosystem, PURL: p.PURL, License: p.License}
}
