package builtin

import (
	"cmp"
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
	"strconv"
	"strings"

	"github.com/assay-oci/assay/reconcile"
	"github.com/google/osv-scalibr/purl"
)

const maxDocument = 8 << 20 // bytes of a manifest or a configuration

// inventory puts the layers of an image on top of each other. If something can't be read that has to be, there is no inventory: one
// that lacks packages would be judged clean for ever.
func (s *Scanner) inventory(ctx context.Context, l reconcile.Layout) (reconcile.Inventory, error) {
	layers, diffIDs, err := readLayout(l)
	if err != nil {
		return reconcile.Inventory{}, err
	}
	var all merged
	for i, blob := range layers {
		c, err := s.contents(ctx, filepath.Join(l.Dir, "blobs", blob.Algorithm(), blob.Hex()), diffIDs[i])
		if err != nil {
			return reconcile.Inventory{}, err
		}
		all.add(c, diffIDs[i])
	}
	return all.inventory()
}

// contents reads a layer, or remembers it.
func (s *Scanner) contents(ctx context.Context, file string, diffID reconcile.Digest) (*contents, error) {
	if c, ok := s.cache.get(diffID); ok {
		return c, nil
	}
	c, err := s.readLayer(ctx, file, diffID)
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
	copyright map[string]string
	links     map[string]string
}

// add puts a layer on top.
func (m *merged) add(c *contents, diffID reconcile.Digest) {
	if m.found == nil {
		m.found, m.broken, m.osRelease, m.copyright, m.links = map[string][]found{}, map[string]string{}, map[string]string{}, map[string]string{}, map[string]string{}
	}
	added := map[string][]found{}
	for p, packages := range c.Found {
		added[p] = brought(packages, m.found[p], diffID.String())
	}
	hidden := func(p string) bool { return c.hides(p) }
	maps.DeleteFunc(m.found, func(p string, _ []found) bool { return hidden(p) })
	maps.Copy(m.found, added)
	for _, x := range []struct{ below, above map[string]string }{
		{m.broken, c.Broken}, {m.osRelease, c.OSRelease}, {m.copyright, c.Copyright}, {m.links, c.Links},
	} {
		maps.DeleteFunc(x.below, func(p, _ string) bool { return hidden(p) })
		maps.Copy(x.below, x.above)
	}
}

// brought notes the layer that brought each package. A package database is written anew whenever a package is added; those that it held
// before came with a layer below.
func brought(packages, before []found, layer string) []found {
	known := map[found]string{}
	for _, f := range before {
		at := f.Layer
		f.Layer = ""
		known[f] = at
	}
	out := slices.Clone(packages)
	for i, f := range out {
		out[i].Layer = layer
		if at, ok := known[f]; ok {
			out[i].Layer = at
		}
	}
	return out
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

// inventory lists what is installed, sorted. A package that several files tell of is listed once, with the first of them.
func (m *merged) inventory() (reconcile.Inventory, error) {
	if len(m.broken) > 0 {
		reasons := slices.Sorted(maps.Values(m.broken))
		return reconcile.Inventory{}, unsure("%s", reasons[0])
	}
	system := m.system()
	inv := reconcile.Inventory{Lister: Name, Version: Version, Distribution: system.name(), Packages: []reconcile.Package{}}
	type identity struct{ ecosystem, name, version, purl string }
	seen := map[identity]int{}
	for _, p := range slices.Sorted(maps.Keys(m.found)) {
		for _, f := range m.found[p] {
			i := f.install(system)
			i.Path, i.Layer = p, f.Layer
			if f.System == "deb" && i.License == "" {
				i.License = m.copyrightOf(f.Name)
			}
			id := identity{i.Ecosystem, i.Name, i.Version, i.PURL}
			if at, ok := seen[id]; ok {
				inv.Packages[at].License = cmp.Or(inv.Packages[at].License, i.License)
				continue
			}
			seen[id] = len(inv.Packages)
			inv.Packages = append(inv.Packages, i)
		}
	}
	slices.SortFunc(inv.Packages, func(a, b reconcile.Package) int {
		return cmp.Or(cmp.Compare(a.PURL, b.PURL), cmp.Compare(a.Ecosystem, b.Ecosystem), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version))
	})
	return inv, nil
}

func (m *merged) system() osRelease {
	if s, ok := m.osRelease["etc/os-release"]; ok {
		return parseOSRelease(s)
	}
	return parseOSRelease(m.osRelease["usr/lib/os-release"])
}

// copyrightOf returns the licence that Debian's copyright file of a package tells. The file or its folder may be a link to another one.
func (m *merged) copyrightOf(name string) string {
	const maxLinks = 4
	at := documentation + name + "/copyright"
	for range maxLinks {
		if license, ok := m.copyright[at]; ok {
			return license
		}
		if to, ok := m.links[at]; ok {
			at = to
		} else if to, ok := m.links[path.Dir(at)]; ok {
			at = path.Join(to, "copyright")
		} else {
			return ""
		}
	}
	return ""
}

// install says what a package is in a given system. In a system that isn't known, or that has packages of another kind, it has no ecosystem.
func (f found) install(system osRelease) reconcile.Package {
	p := reconcile.Package{Name: f.Name, Version: f.Version, Ecosystem: f.Eco, PURL: f.PURL, Source: f.Source, License: f.License}
	if f.System == "" {
		return p
	}
	p.PURL = f.purlOf(system)
	if system.kind() == f.System {
		p.Ecosystem = system.ecosystem()
	}
	return p
}

// purlOf makes the package URL of a system's package: package-url specification, types deb, apk and rpm. The qualifier "upstream" names
// the source package, as other tools write it: with it, the URL is all that advisories need.
func (f found) purlOf(os osRelease) string {
	q := map[string]string{}
	set := func(k, v string) {
		if v != "" {
			q[k] = v
		}
	}
	set("arch", f.Arch)
	if os.id != "" {
		set("distro", strings.TrimSuffix(os.id+"-"+os.version, "-"))
	}
	set("upstream", f.Source)
	if f.Source != "" && f.SourceVersion != "" {
		set("upstream", f.Source+"@"+f.SourceVersion)
	}
	if f.Epoch > 0 {
		set("epoch", strconv.Itoa(f.Epoch))
	}
	u := purl.PackageURL{Type: f.System, Namespace: os.id, Name: f.Name, Version: f.Version, Qualifiers: purl.QualifiersFromMap(q)}
	return u.String()
}
