package openvex

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

// A claim is what one statement says about one vulnerability in one product.
type claim struct {
	vulnerability string
	product       target
	part          component // empty for the whole product
	statement     Statement
	at            time.Time
}

// A target is which images a product stands for.
type target struct {
	image  string // the label; empty for any
	digest reconcile.Digest
	pkg    component // where the product is itself a package
}

// A component is a package by its URL or its name, made ready to be compared.
type component struct {
	text          string
	name, version string // those of its URL, as reconcile.PackageKey writes them; empty for a name
	last          string // the last part of its name
}

func newComponent(s string) component {
	c := component{text: s}
	name := s
	if strings.HasPrefix(s, "pkg:") {
		key := reconcile.PackageKey(reconcile.Package{PURL: s})
		i := strings.LastIndex(key, "@")
		c.name, c.version = key[:i], key[i+1:]
		name = c.name
	}
	c.last = name[strings.LastIndex(name, "/")+1:]
	return c
}

// same tells whether two names may mean the same package. Versions count only where both have one.
func (c component) same(o component) bool {
	if c.name == "" || o.name == "" {
		return c.last == o.last
	}
	return c.name == o.name && (c.version == "" || o.version == "" || c.version == o.version)
}

// Waivers are what the document excuses: for each vulnerability that its latest word says a product doesn't have. Rule, scope and expiry
// are left to the caller, who must set them, and may only narrow the rest.
//
// A product is an image by digest ("pkg:oci/nginx@sha256:…", or a digest by itself), an image by its label in the catalog ("nginx", or
// "pkg:oci/nginx"), or a package ("pkg:npm/lodash@4.17.4"). Products that are none of these excuse nothing. Of two statements about one vulnerability
// that bear on the same product the later counts; of two of the same time the one that excuses nothing.
func (d Document) Waivers() []reconcile.Waiver {
	claims := d.claims()
	against := map[string][]claim{}
	for _, c := range claims {
		if !c.statement.Status.excuses() {
			against[c.vulnerability] = append(against[c.vulnerability], c)
		}
	}
	var out []reconcile.Waiver
	for _, c := range claims {
		if !c.statement.Status.excuses() || c.product.pkg.text != "" && c.part.text != "" || slices.ContainsFunc(against[c.vulnerability], c.contradictedBy) {
			continue
		}
		w := reconcile.Waiver{ID: c.vulnerability, Image: c.product.image, Digest: c.product.digest, Package: c.part.text, Justification: c.statement.Justification, Reason: c.statement.reason()}
		if c.product.pkg.text != "" {
			w.Package = c.product.pkg.text
		}
		out = append(out, w)
	}
	slices.SortFunc(out, compare)
	return slices.CompactFunc(out, func(a, b reconcile.Waiver) bool { return compare(a, b) == 0 })
}

func compare(a, b reconcile.Waiver) int {
	return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Image, b.Image), cmp.Compare(a.Digest.String(), b.Digest.String()), cmp.Compare(a.Package, b.Package),
		cmp.Compare(a.Justification, b.Justification), cmp.Compare(a.Reason, b.Reason))
}

func (s Statement) reason() string {
	for _, text := range []string{s.ImpactStatement, s.StatusNotes} {
		if text != "" {
			return text
		}
	}
	return "the VEX document says " + strings.ReplaceAll(string(s.Status), "_", " ")
}

// contradictedBy tells whether a claim that excuses nothing, and isn't older, bears on what c excuses.
func (c claim) contradictedBy(o claim) bool {
	if o.at.Before(c.at) {
		return false
	}
	return c.product.overlaps(o.product) && (c.part.text == "" || o.part.text == "" || c.part.same(o.part))
}

// overlaps tells whether two targets may be the same: where they can't be told apart, they may.
func (t target) overlaps(o target) bool {
	if !t.digest.IsZero() && !o.digest.IsZero() && t.digest != o.digest {
		return false
	}
	if t.image != "" && o.image != "" && t.image != o.image && (t.digest.IsZero() || t.digest != o.digest) {
		return false
	}
	return t.pkg.text == "" || o.pkg.text == "" || t.pkg.same(o.pkg)
}

func (d Document) claims() []claim {
	var out []claim
	for _, s := range d.Statements {
		at := d.Timestamp
		for _, t := range []*time.Time{s.Timestamp, s.LastUpdated} {
			if t != nil {
				at = *t
			}
		}
		names := reconcile.Canonical(append([]string{s.Vulnerability.Name}, s.Vulnerability.Aliases...))
		for _, name := range names {
			for _, p := range s.Products {
				t, ok := targetOf(p.Component)
				if !ok && s.Status.excuses() {
					continue
				}
				for _, part := range parts(p.Subcomponents) {
					out = append(out, claim{name, t, part, s, at}) // one that excuses nothing bears on all, where its product isn't understood
				}
			}
		}
	}
	return out
}

// names lists how a component may be called.
func (c Component) names() []string {
	var out []string
	for _, s := range []string{c.ID, c.Identifiers["purl"]} {
		if s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// targetOf is what a product stands for: all that its identifiers and its digest say together. ok is false if they don't name one that
// a waiver can speak of, or contradict one another.
func targetOf(c Component) (t target, ok bool) {
	for _, name := range c.names() {
		x, known := parseTarget(name)
		if !known {
			continue // another kind of identifier, of which the others say more
		}
		if t, ok = t.and(x); !ok {
			return target{}, false
		}
	}
	if h := c.Hashes["sha-256"]; h != "" {
		d, err := reconcile.ParseDigest("sha256:" + strings.ToLower(h))
		if err != nil {
			return target{}, false
		}
		if t, ok = t.and(target{digest: d}); !ok {
			return target{}, false
		}
	}
	return t, t != target{} && (t.pkg == component{} || t == target{pkg: t.pkg})
}

// and is what both targets stand for; ok is false if they contradict one another.
func (t target) and(o target) (both target, ok bool) {
	image, ok1 := either(t.image, o.image)
	digest, ok2 := either(t.digest, o.digest)
	pkg, ok3 := either(t.pkg, o.pkg)
	return target{image, digest, pkg}, ok1 && ok2 && ok3
}

func either[T comparable](a, b T) (T, bool) {
	var zero T
	switch {
	case a == zero:
		return b, true
	case b == zero:
		return a, true
	}
	return a, a == b
}

// parseTarget reads one identifier of a product.
func parseTarget(s string) (target, bool) {
	if d, err := reconcile.ParseDigest(s); err == nil {
		return target{digest: d}, true
	}
	rest, oci := strings.CutPrefix(s, "pkg:oci/")
	switch {
	case oci:
		rest, _, _ = strings.Cut(rest, "#")
		rest, _, _ = strings.Cut(rest, "?")
		name, version, versioned := strings.Cut(rest, "@")
		name, err := url.PathUnescape(name)
		if err != nil || name == "" {
			return target{}, false
		}
		if !versioned {
			return target{image: name}, true
		}
		version, err = url.PathUnescape(version)
		if err != nil {
			return target{}, false
		}
		d, err := reconcile.ParseDigest(version) // the name of an image by digest is only for people
		return target{digest: d}, err == nil
	case strings.HasPrefix(s, "pkg:"):
		return target{pkg: newComponent(s)}, strings.Contains(s, "/")
	case strings.ContainsAny(s, ":@?# \t\n"): // another kind of identifier
		return target{}, false
	}
	return target{image: s}, true
}

// parts are the components that a statement narrows a product to; one empty part stands for the whole. A component that can't be named as a
// package is left out, and so excuses nothing.
func parts(cs []Component) []component {
	if len(cs) == 0 {
		return []component{{}}
	}
	var out []component
	for _, c := range cs {
		name := c.ID
		if purl := c.Identifiers["purl"]; purl != "" {
			if strings.HasPrefix(name, "pkg:") && name != purl {
				continue
			}
			name = purl
		}
		if strings.HasPrefix(name, "pkg:") || name != "" && !strings.Contains(name, ":") {
			out = append(out, newComponent(name))
		}
	}
	return out
}
