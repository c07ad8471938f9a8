package catalog

import (
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/assay-oci/assay/reconcile"
)

// Defaults of the prune and rescan blocks; the first two count without a prune block too.
const (
	defaultLimit = 10
	defaultGrace = 168 * time.Hour

	defaultInterval = 24 * time.Hour
	defaultExpires  = 720 * time.Hour
)

// maxRegistries bounds the registries of a catalog, each of which is compared with all others.
const maxRegistries = 100

// check reports the mistakes that show only when blocks are seen together, within one commit.
func (t *tree) check() {
	t.checkUnseen()
	t.checkScopes()
	t.checkPlaces()
	t.checkScanners()
	t.checkSigners()
	t.checkFormats()
	t.checkRegistries()
	t.checkNames()
}

func (t *tree) checkScopes() {
	if t.scopes[""] == nil && t.causes[""] == nil {
		at := fileRange(t.prefix + "scope.hcl")
		t.unsound("", mistake(at, "No organization", "The catalog's root folder has no scope block. Write: scope \"<name>\" { level = \"organization\" }"))
	}
	for _, folder := range t.scopeFolders() {
		s := t.scopes[folder]
		if s.bad() {
			continue
		}
		t.checkLevel(s)
		t.note(folder, t.checkRegistryNames(&s.node, s.Registries))
		if outer := t.around(folder); outer != nil {
			t.note(folder, narrower(&s.node, s.Registries, t.registriesOf(outer.folder)))
		}
		t.checkUpstream(s)
	}
}

// checkUpstream sees that what travels with images hides no signature of ours: cosign looks at no other format where there is a bundle.
func (t *tree) checkUpstream(s *scopeBlock) {
	if _, said := s.block.Body.Attributes["upstream_records"]; said && !s.Upstream && t.upstreamOf(s.folder) {
		t.unsound(s.folder, mistake(s.attr("upstream_records"), "Not narrower", "A scope around this one has records of others travel with its images, and that holds here too. Remove the line."))
	}
	for _, x := range t.signers {
		if s.Upstream && !x.bad() && !x.Retired && !slices.Contains(x.spec().Formats, reconcile.Bundle) {
			t.unsound(s.folder, mistake(s.attr("upstream_records"), "Ours would not be seen", "The signer %q (line %d of %s) writes no bundles, and where others' bundles lie beside an image, cosign looks at nothing else. "+
				"Add \"bundle\" to its formats.", x.label, x.def().Start.Line, x.def().Filename))
		}
	}
}

func (t *tree) checkLevel(s *scopeBlock) {
	outer := t.around(s.folder)
	switch {
	case s.folder == "" && s.Level != "organization":
		t.unsound("", mistake(s.attr("level"), "Invalid level", "The scope of the catalog's root folder is the organization."))
	case outer == nil || outer.bad():
	case slices.Index(levels, string(s.Level)) <= slices.Index(levels, string(outer.Level)):
		t.unsound(s.folder, mistake(s.attr("level"), "Invalid level", "%s can't lie within the %s %q. From wide to narrow: %s.",
			article(string(s.Level)), outer.Level, outer.label, oneOf(levels)))
	}
}

// around returns the scope around a scope's folder.
func (t *tree) around(folder string) *scopeBlock {
	var out *scopeBlock
	for _, f := range enclosing(folder) {
		if s := t.scopes[f]; s != nil && f != folder {
			out = s
		}
	}
	return out
}

// scopeOf returns the folder of the narrowest scope that a folder belongs to.
func (t *tree) scopeOf(folder string) string {
	out := ""
	for _, f := range enclosing(folder) {
		if t.scopes[f] != nil {
			out = f
		}
	}
	return out
}

// knownScanners are those that need no command.
var knownScanners = []string{builtin, "grype", "osv-scanner", "trivy"}

// checkScanners sees that each scanner can be run, and that no attribute is without effect.
func (t *tree) checkScanners() {
	for _, x := range t.scanners {
		wrong := func(attr, summary, format string, args ...any) {
			t.unsound("", mistake(x.attr(attr), summary, format, args...))
		}
		own := x.label == builtin
		if own {
			for _, attr := range x.ofPrograms() {
				wrong(attr, "Part of Assay", "The scanner %q is part of Assay and not another program: remove %s, or give the scanner another name.", builtin, attr)
			}
		}
		if a := x.Checksum.Algorithm(); a != "" && a != "sha256" {
			wrong("checksum", "Unknown checksum", "Programs are compared by their sha256 checksum, not by %s.", clip(a))
		}
		switch {
		case own || x.bad() || x.label == "":
		case x.Command != nil && len(x.Command) == 0:
			wrong("command", "No command", "The list is empty. Name a program and its arguments.")
		case x.Command != nil && x.Program != "":
			wrong("program", "Two programs", "The command names the program already; remove one of them.")
		case x.Command == nil && !slices.Contains(knownScanners, x.label):
			t.unsound("", mistake(x.labelRange(), "Unknown scanner", "Assay knows no scanner %q; it knows %s.%s Another one needs a command that prints the documented JSON.", clip(x.label),
				oneOf(knownScanners), t.hint(x.label, knownScanners)))
		}
	}
}

// ofPrograms lists the attributes of a scanner that only another program can have.
func (x *scannerBlock) ofPrograms() []string {
	var out []string
	for _, a := range []struct {
		name string
		set  bool
	}{
		{"command", x.Command != nil}, {"program", x.Program != ""}, {"version", x.Version != ""}, {"checksum", !x.Checksum.IsZero()}, {"database", x.Database != ""},
		{"timeout", x.Timeout != 0}, {"memory", x.Memory != 0}, {"confined", x.Confined},
	} {
		if a.set {
			out = append(out, a.name)
		}
	}
	return out
}

// checkPlaces sees that the organization's blocks stand in its scope.
func (t *tree) checkPlaces() {
	place := func(n *node) {
		if s := t.scopeOf(n.folder); s != "" {
			t.unsound("", mistake(n.def(), "Wrong place", "A %s block stands only in the organization's scope; this folder belongs to the scope %q.", n.block.Type, t.scopes[s].label))
		}
	}
	for _, x := range t.registries {
		place(&x.node)
	}
	for _, x := range t.scanners {
		place(&x.node)
	}
	for _, x := range t.signers {
		place(&x.node)
	}
	for _, x := range t.sigstores {
		place(&x.node)
	}
	for i, x := range t.rescans {
		place(&x.node)
		if i > 0 {
			t.unsound("", mistake(x.def(), "Second rescan block", "A catalog has one rescan block; the first is at line %d of %s.", t.rescans[0].def().Start.Line, t.rescans[0].def().Filename))
		}
		if !x.bad() && (x.Interval <= 0 || x.Expires <= x.Interval) {
			t.unsound("", mistake(x.def(), "Evidence that expires too early", "interval must be more than 0, and expires more than interval: what expires is renewed by the runs between."))
		}
	}
	for i, x := range t.gates {
		place(&x.node)
		if i > 0 {
			t.unsound("", mistake(x.def(), "Second gate block", "A catalog has one gate block; the first is at line %d of %s.", t.gates[0].def().Start.Line, t.gates[0].def().Filename))
		}
	}
	for i, x := range t.prunes {
		place(&x.node)
		if i > 0 {
			t.unsound("", mistake(x.def(), "Second prune block", "A catalog has one prune block; the first is at line %d of %s.", t.prunes[0].def().Start.Line, t.prunes[0].def().Filename))
		}
	}
}

// checkNames reports labels given twice.
func (t *tree) checkNames() {
	scanners, signers, sigstores, policies := map[string]*node{}, map[string]*node{}, map[string]*node{}, map[string]*node{}
	for _, x := range t.scanners {
		t.once(scanners, &x.node, "")
	}
	for _, x := range t.signers {
		t.once(signers, &x.node, "")
	}
	for _, x := range t.sigstores {
		t.once(sigstores, &x.node, "")
	}
	for _, x := range t.policies {
		t.once(policies, &x.node, x.folder)
	}
	documents := map[string]*node{}
	for _, x := range t.vex {
		t.once(documents, &x.node, x.folder)
	}
	images := map[string]*node{}
	for _, x := range t.images {
		if x.label == "" {
			continue
		}
		if first := images[x.label]; first != nil {
			d := alreadyAt(&x.node, first)
			t.entry(&x.node, d)
			first.fail(d) // nobody knows which of them is meant
			continue
		}
		images[x.label] = &x.node
	}
}

// once reports a label that was seen before in the folder; an error in it is one of the folder.
func (t *tree) once(seen map[string]*node, n *node, folder string) {
	key := folder + "\x00" + n.label
	if first := seen[key]; first != nil {
		t.unsound(folder, alreadyAt(n, first))
		return
	}
	seen[key] = n
}

func alreadyAt(n, first *node) *hcl.Diagnostic {
	return mistake(n.labelRange(), "Name given twice", "%s %q stands at line %d of %s already.", article(n.block.Type), n.label, first.def().Start.Line, first.def().Filename)
}

func (t *tree) checkRegistries() {
	if len(t.registries) > maxRegistries {
		t.unsound("", mistake(t.registries[maxRegistries].def(), "Too many registries", "A catalog has at most %d registries.", maxRegistries))
		return
	}
	seen := map[string]*registryBlock{}
	for _, x := range t.registries {
		if first := seen[x.label]; first != nil {
			t.unsound("", alreadyAt(&x.node, &first.node))
			continue
		}
		seen[x.label] = x
	}
	for i, a := range t.registries {
		for _, b := range t.registries[:i] {
			if !a.bad() && !b.bad() && a.Address.Host() == b.Address.Host() && (encloses(a.Address.Path(), b.Address.Path()) || encloses(b.Address.Path(), a.Address.Path())) {
				t.unsound("", mistake(a.attr("address"), "Overlapping registries", "The address overlaps that of the registry %q (%s). What two registries own can't be told apart.", b.label, b.Address))
			}
		}
		if name := a.After.Registry; name != "" && !a.bad() {
			t.note("", t.checkRegistryNames(&a.node, []string{name}))
			if d := afterCycle(seen, a); d != nil {
				t.unsound("", d)
			}
		}
	}
}

func afterCycle(all map[string]*registryBlock, from *registryBlock) *hcl.Diagnostic {
	way := from.label
	for x, steps := all[from.After.Registry], 0; x != nil && steps <= len(all); x, steps = all[x.After.Registry], steps+1 {
		way += " waits for " + x.label
		if x == from {
			return mistake(from.attr("after"), "Circular promotion", "No image could ever enter: %s.", way)
		}
		way = fmt.Sprintf("%s, which", way)
	}
	return nil
}

// checkRegistryNames reports names of registries that don't exist.
func (t *tree) checkRegistryNames(n *node, list []string) hcl.Diagnostics {
	var known []string
	for _, r := range t.registries {
		known = append(known, r.label)
	}
	var out hcl.Diagnostics
	if list != nil && len(list) == 0 {
		out = append(out, mistake(n.attr("registries"), "No registry", "The list is empty, so the images would go nowhere. Leave it out, or name a registry."))
	}
	for _, name := range list {
		if !slices.Contains(known, name) {
			attr := "registries"
			if n.block.Type == "registry" {
				attr = "after"
			}
			out = append(out, mistake(n.attr(attr), "Unknown registry", "There is no registry %q.%s", clip(name), t.hint(name, known)))
		}
	}
	return out
}

// narrower reports registries that an enclosing scope doesn't allow.
func narrower(n *node, list, allowed []string) hcl.Diagnostics {
	var out hcl.Diagnostics
	for _, name := range list {
		if allowed != nil && !slices.Contains(allowed, name) {
			out = append(out, mistake(n.attr("registries"), "Registry not allowed", "The scope around it publishes to %s only; %q is not among them.", oneOf(allowed), clip(name)))
		}
	}
	return out
}

// registriesOf returns the names of the registries that a scope's images go to, or nil for all: those that each enclosing scope allows.
func (t *tree) registriesOf(folder string) []string {
	var out []string
	for _, f := range enclosing(folder) {
		s := t.scopes[f]
		switch {
		case s == nil || s.Registries == nil:
		case out == nil:
			out = s.Registries
		default:
			both := []string{}
			for _, name := range out {
				if slices.Contains(s.Registries, name) {
					both = append(both, name)
				}
			}
			out = both
		}
	}
	return out
}

// upstreamOf tells whether the records of others travel with a scope's images: it or a scope around it says so.
func (t *tree) upstreamOf(folder string) bool {
	return slices.ContainsFunc(enclosing(folder), func(f string) bool { return t.scopes[f] != nil && t.scopes[f].Upstream })
}

// pathOf returns the path that a scope publishes below.
func (t *tree) pathOf(folder string) string {
	var out repoPath
	for _, f := range enclosing(folder) {
		if s := t.scopes[f]; s != nil && s.Path != "" {
			out = s.Path
		}
	}
	return string(out)
}
