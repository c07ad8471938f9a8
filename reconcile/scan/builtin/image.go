package builtin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/assay-oci/assay/reconcile"
)

// An inventory is what is installed in an image.
type inventory struct {
	distribution string
	packages     []installed
}

// installed is a package, and how advisories speak of it.
type installed struct {
	reconcile.Package
	match, version string
}

const maxDocument = 8 << 20 // bytes of a manifest or a configuration

// inventory puts the layers of an image on top of each other.
func (s *Scanner) inventory(ctx context.Context, l reconcile.Layout) (inventory, error) {
	layers, diffIDs, err := readLayout(l)
	if err != nil {
		return inventory{}, err
	}
	var all merged
	for i, blob := range layers {
		c, err := s.contents(ctx, filepath.Join(l.Dir, "blobs", blob.Algorithm(), blob.Hex()), diffIDs[i])
		if err != nil {
			return inventory{}, err
		}
		all.add(c)
	}
	return all.inventory()
}

// contents reads a layer, or remembers it.
func (s *Scanner) contents(ctx context.Context, file string, diffID reconcile.Digest) (*contents, error) {
	if c, ok := s.cache.get(diffID); ok {
		return c, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c, err := s.readLayer(ctx, f, diffID)
	if err != nil {
		return nil, err
	}
	_ = s.cache.put(diffID, c) // not to remember costs time only
	return c, nil
}

// readLayout returns the digests of an image's layers and their diffIDs.
func readLayout(l reconcile.Layout) (layers, diffIDs []reconcile.Digest, err error) {
	type descriptor struct {
		Digest reconcile.Digest `json:"digest"`
	}
	var manifest struct {
		Config descriptor   `json:"config"`
		Layers []descriptor `json:"layers"`
	}
	var config struct {
		RootFS struct {
			DiffIDs []reconcile.Digest `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := readDocument(l.Dir, l.Manifest, &manifest); err != nil {
		return nil, nil, err
	}
	if err := readDocument(l.Dir, manifest.Config.Digest, &config); err != nil {
		return nil, nil, err
	}
	for _, d := range manifest.Layers {
		layers = append(layers, d.Digest)
	}
	if len(layers) != len(config.RootFS.DiffIDs) || slices.ContainsFunc(append(slices.Clone(layers), config.RootFS.DiffIDs...), reconcile.Digest.IsZero) {
		return nil, nil, unsure("the image's configuration doesn't match its layers")
	}
	return layers, config.RootFS.DiffIDs, nil
}

func readDocument(dir string, d reconcile.Digest, into any) error {
	if d.IsZero() {
		return unsure("the image's manifest is malformed")
	}
	f, err := os.Open(filepath.Join(dir, "blobs", d.Algorithm(), d.Hex()))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the layout lacks %s", d.Short())
	}
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err != nil {
		return err
	}
	if len(b) > maxDocument || json.Unmarshal(b, into) != nil {
		return unsure("the image's manifest or configuration is malformed")
	}
	return nil
}

// A merged is the sight of several layers from above.
type merged struct {
	found     map[string][]found
	broken    map[string]string
	osRelease map[string]string
}

// add puts a layer on top.
func (m *merged) add(c *contents) {
	if m.found == nil {
		m.found, m.broken, m.osRelease = map[string][]found{}, map[string]string{}, map[string]string{}
	}
	hidden := func(p string) bool { return c.hides(p) }
	maps.DeleteFunc(m.found, func(p string, _ []found) bool { return hidden(p) })
	maps.DeleteFunc(m.broken, func(p, _ string) bool { return hidden(p) })
	maps.DeleteFunc(m.osRelease, func(p, _ string) bool { return hidden(p) })
	maps.Copy(m.found, c.Found)
	maps.Copy(m.broken, c.Broken)
	maps.Copy(m.osRelease, c.OSRelease)
}

// hides tells whether a layer hides a file of the layers below.
func (c *contents) hides(p string) bool {
	if c.Dirs[p] {
		return true
	}
	for at := p; ; at = path.Dir(at) {
		if at == "." {
			return c.Opaque[""]
		}
		if c.Files[at] || c.Whiteouts[at] || at != p && c.Opaque[at] {
			return true
		}
	}
}

func (m *merged) inventory() (inventory, error) {
	if len(m.broken) > 0 {
		reasons := slices.Sorted(maps.Values(m.broken))
		return inventory{}, unsure("%s", reasons[0])
	}
	system := m.system()
	inv := inventory{distribution: system.name()}
	seen := map[installed]bool{}
	systems := 0
	for _, p := range slices.Sorted(maps.Keys(m.found)) {
		for _, f := range m.found[p] {
			i, err := f.install(system)
			if err != nil {
				return inventory{}, err
			}
			if f.System != "" {
				systems++
			}
			if !seen[i] {
				seen[i] = true
				inv.packages = append(inv.packages, i)
			}
		}
	}
	if systems == 0 && system.ecosystem() != "" {
		return inventory{}, unsure("the system is %s, but its package database was not found", system.name())
	}
	return inv, nil
}

func (m *merged) system() osRelease {
	if s, ok := m.osRelease["etc/os-release"]; ok {
		return parseOSRelease(s)
	}
	return parseOSRelease(m.osRelease["usr/lib/os-release"])
}

// install says under which names advisories speak of a package in a given system.
func (f found) install(system osRelease) (installed, error) {
	i := installed{Package: reconcile.Package{Name: f.Name, Version: f.Version, Ecosystem: f.Eco, PURL: f.PURL}, match: f.Match, version: f.Source}
	if i.match == "" {
		i.match = f.Name
	}
	if i.version == "" {
		i.version = f.Version
	}
	if f.System == "" {
		return i, nil
	}
	i.Ecosystem, i.PURL = system.ecosystem(), f.purlOf(system)
	if i.Ecosystem == "" || system.kind() != f.System {
		return i, unsure("it holds %s packages of a system that is not known (%s)", f.System, printable(system.name()))
	}
	if base, _, _ := strings.Cut(i.Ecosystem, ":"); f.Epoch > 0 && epochs[base] {
		i.version = fmt.Sprintf("%d:%s", f.Epoch, i.version)
	}
	return i, nil
}

func printable(s string) string {
	if s == "" {
		return "it has no os-release"
	}
	return fmt.Sprintf("%q", s)
}
