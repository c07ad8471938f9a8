package exposure

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

// Build folds what the registries hold into an index. The order of its input means nothing.
func Build(d reconcile.Desired, holdings []reconcile.Holding, gaps []reconcile.Gap, now time.Time) *Index {
	b := builder{x: &Index{Format: format, Commit: d.Commit, Built: now.UTC()}, packages: map[Package]uint32{}, advisories: map[string]uint32{}, images: map[string]int{}}
	holdings = slices.Clone(holdings)
	slices.SortFunc(holdings, func(x, y reconcile.Holding) int {
		return cmp.Or(strings.Compare(x.Want.Title(), y.Want.Title()), strings.Compare(x.Want.Scope, y.Want.Scope), strings.Compare(x.Target.Repo.String(), y.Target.Repo.String()))
	})
	for _, h := range holdings {
		b.add(h)
	}
	for _, r := range d.Revoked {
		b.x.Revoked = append(b.x.Revoked, Revoked{r.Name, r.Digest.String(), r.Reason, r.Replacement})
	}
	slices.SortFunc(b.x.Revoked, func(x, y Revoked) int {
		return cmp.Or(strings.Compare(x.Name, y.Name), strings.Compare(x.Digest, y.Digest))
	})
	for _, g := range gaps {
		b.x.Unread = append(b.x.Unread, g.Question.String()+": "+g.Reason)
	}
	return b.x
}

type builder struct {
	x          *Index
	packages   map[Package]uint32
	advisories map[string]uint32
	images     map[string]int
}

func (b *builder) add(h reconcile.Holding) {
	w := h.Want
	k := w.Scope + "\x00" + w.Title()
	at, ok := b.images[k]
	if !ok {
		at = len(b.x.Images)
		b.images[k] = at
		i := Image{Name: w.Name, Version: w.Version, Digest: w.From.Digest.String(), Scope: w.Scope, Owner: w.Owner}
		for _, t := range w.Tags {
			i.Tags = append(i.Tags, t.String())
		}
		runs := map[reconcile.Digest]bool{}
		for _, m := range h.Manifests {
			i.Manifests = append(i.Manifests, b.manifest(m))
			runs[m.Digest] = true
		}
		for _, m := range h.Tree.Manifests {
			if !runs[m.Digest] && m.Digest != w.From.Digest {
				i.Parts = append(i.Parts, m.Digest.String())
			}
		}
		b.x.Images = append(b.x.Images, i)
	}
	i := &b.x.Images[at]
	i.Places = append(i.Places, Place{Registry: h.Target.Registry, Repo: h.Target.Repo.String(), Since: h.Since})
	for n, m := range h.Manifests { // another registry may have records that the first one lacks
		if n < len(i.Manifests) && !i.Manifests[n].Listed {
			i.Manifests[n] = b.manifest(m)
		}
	}
}

func (b *builder) manifest(m reconcile.HeldManifest) Manifest {
	out := Manifest{Digest: m.Digest.String(), Platform: m.Platform.String()}
	for _, s := range m.Scans {
		if s.Inventory == nil {
			continue
		}
		out.Listed = true
		for _, p := range s.Inventory.Packages {
			out.Packages = append(out.Packages, b.pkg(p))
		}
	}
	for _, v := range reconcile.Merge(m.Scans) {
		out.Found = append(out.Found, Found{Advisory: b.advisory(v), Since: v.FirstSeen})
	}
	slices.Sort(out.Packages)
	out.Packages = slices.Compact(out.Packages)
	return out
}

func (b *builder) pkg(p reconcile.Package) uint32 {
	k := key(p)
	n, ok := b.packages[k]
	if !ok {
		n = uint32(len(b.x.Packages))
		b.packages[k] = n
		b.x.Packages = append(b.x.Packages, k)
	}
	return n
}

func (b *builder) advisory(v reconcile.Merged) uint32 {
	k := strings.Join([]string{v.ID, v.Key, string(v.Severity), strings.Join(v.FixedIn, " "), strings.Join(v.Aliases, " ")}, "\x00")
	n, ok := b.advisories[k]
	if !ok {
		n = uint32(len(b.x.Advisories))
		b.advisories[k] = n
		b.x.Advisories = append(b.x.Advisories, Advisory{ID: v.ID, Aliases: v.Aliases, Severity: string(v.Severity), Package: b.pkg(v.Package), FixedIn: v.FixedIn})
	}
	return n
}
