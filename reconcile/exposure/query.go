package exposure

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// A Query says what to look for. What is empty or nil doesn't narrow it; with several, an image must match each.
type Query struct {
	ID      string             // a vulnerability's identifier or an alias, such as a CVE
	Package func(Package) bool // whether a package is meant
	License func(string) bool  // whether a package's licence, an SPDX expression, is meant; never asked about unknown ones
}

// Empty tells whether a query looks for nothing.
func (q Query) Empty() bool { return q.ID == "" && q.Package == nil && q.License == nil }

// A Match is one package of one approved image that a query is about.
type Match struct {
	Image     string    `json:"image"`
	Version   string    `json:"version"`
	Digest    string    `json:"digest"`
	Platforms []string  `json:"platforms"`
	Scope     string    `json:"scope"`
	Owner     string    `json:"owner,omitempty"`
	Package   string    `json:"package"`
	Installed string    `json:"installed"`
	PURL      string    `json:"purl,omitempty"`
	License   string    `json:"license,omitempty"`
	ID        string    `json:"id,omitempty"`
	Severity  string    `json:"severity,omitempty"`
	FixedIn   []string  `json:"fixed_in,omitempty"`
	Since     time.Time `json:"since,omitzero"` // when it was first seen in this image, or else when the image was admitted
	Places    []string  `json:"places"`         // the repositories that hold it
	MoveTo    []string  `json:"move_to"`        // approved versions of the same image that the query is not about, or what the revocation names

	manifests []string
	index     int // of the image in the index
}

// Find returns every match, sorted by image, version, package and identifier.
func (x *Index) Find(q Query) []Match {
	if q.Empty() {
		return nil
	}
	s := x.search(q)
	var out []Match
	hit := map[int]bool{}
	for n := range x.Images {
		found := s.image(n)
		out = append(out, found...)
		hit[n] = len(found) > 0
	}
	versions := map[[2]string][]int{}
	for n, i := range x.Images {
		versions[i.label()] = append(versions[i.label()], n)
	}
	for i := range out {
		out[i].MoveTo = x.moveTo(versions[x.Images[out[i].index].label()], hit)
	}
	slices.SortFunc(out, func(a, b Match) int {
		return cmp.Or(strings.Compare(a.Image, b.Image), strings.Compare(a.Version, b.Version), strings.Compare(a.Scope, b.Scope),
			strings.Compare(a.Package, b.Package), strings.Compare(a.Installed, b.Installed), strings.Compare(a.ID, b.ID), strings.Compare(a.PURL, b.PURL))
	})
	return out
}

// search is a query with what it means in the index: each package and advisory is looked at once, however many images have it.
type search struct {
	x          *Index
	q          Query
	packages   []bool
	advisories []bool
}

func (x *Index) search(q Query) *search {
	s := &search{x: x, q: q, packages: make([]bool, len(x.Packages)), advisories: make([]bool, len(x.Advisories))}
	for i, p := range x.Packages {
		s.packages[i] = (q.Package == nil || q.Package(p)) && (q.License == nil || p.License != "" && q.License(p.License))
	}
	for i, a := range x.Advisories {
		s.advisories[i] = q.ID != "" && s.packages[a.Package] && (strings.EqualFold(a.ID, q.ID) || slices.ContainsFunc(a.Aliases, func(n string) bool { return strings.EqualFold(n, q.ID) }))
	}
	return s
}

// image returns the matches in one image, those of several platforms folded.
func (s *search) image(n int) []Match {
	var out []Match
	at := map[[2]uint32]int{}
	i := s.x.Images[n]
	add := func(m Manifest, k [2]uint32, match Match) {
		j, ok := at[k]
		if !ok {
			j = len(out)
			at[k] = j
			match.Image, match.Version, match.Digest, match.Scope, match.Owner, match.index = i.Name, i.Version, i.Digest, i.Scope, i.Owner, n
			match.Places = []string{}
			for _, p := range i.Places {
				match.Places = append(match.Places, p.Repo)
				if since := p.Since; match.ID == "" && !since.IsZero() && (match.Since.IsZero() || since.Before(match.Since)) {
					match.Since = since
				}
			}
			out = append(out, match)
		}
		x := &out[j]
		x.Platforms, x.manifests = append(x.Platforms, m.Platform), append(x.manifests, m.Digest)
		if t := match.Since; !t.IsZero() && (x.Since.IsZero() || t.Before(x.Since)) {
			x.Since = t
		}
	}
	for _, m := range i.Manifests {
		if s.q.ID == "" {
			for _, p := range m.Packages {
				if s.packages[p] {
					add(m, [2]uint32{p}, s.x.Packages[p].match())
				}
			}
			continue
		}
		for _, f := range m.Found {
			if s.advisories[f.Advisory] {
				a := s.x.Advisories[f.Advisory]
				match := s.x.Packages[a.Package].match()
				match.ID, match.Severity, match.FixedIn, match.Since = a.ID, a.Severity, a.FixedIn, f.Since
				add(m, [2]uint32{a.Package, f.Advisory + 1}, match)
			}
		}
	}
	return out
}

func (p Package) match() Match {
	return Match{Package: p.Name, Installed: p.Version, PURL: p.PURL, License: p.License}
}

// label tells the images of a catalog apart.
func (i Image) label() [2]string { return [2]string{i.Scope, i.Name} }

// moveTo names what to use instead: of the versions of one image those that the query is not about.
func (x *Index) moveTo(versions []int, hit map[int]bool) []string {
	out := []string{}
	for _, n := range versions {
		if i := x.Images[n]; !hit[n] && len(i.Manifests) > 0 && i.listed() {
			out = append(out, i.Version)
		}
	}
	slices.Sort(out)
	return out
}

// listed tells whether it is known of each platform what is installed: what is unknown is nothing to move to.
func (i Image) listed() bool {
	return !slices.ContainsFunc(i.Manifests, func(m Manifest) bool { return !m.Listed })
}

// Unlisted names the images of which the records don't say what is installed. A query can't speak about them.
func (x *Index) Unlisted() []string {
	var out []string
	for _, i := range x.Images {
		if !i.listed() || len(i.Manifests) == 0 {
			out = append(out, i.Name+":"+i.Version)
		}
	}
	return out
}
