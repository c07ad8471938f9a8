package reconcile

import (
	"slices"
	"time"
)

// state is what Ask and Diff share: the catalog's wishes beside what is known, with the look-ups that both need.
type state struct {
	d       Desired
	o       Observed
	now     time.Time
	wants   []*Want // sorted
	revoked map[Image]Revocation
	wanted  map[Repo]*wanted

	// made when first asked for
	siblings  map[[2]string][]Want     // by scope and name
	family    map[[2]string][]*Want    // the same
	digests   map[Repo]map[Digest]bool // named by tags
	found     map[*Want][]place
	judged    map[*Want][]Finding // by what is declared
	assessed  map[*Want]admission
	approved  map[Repo][]Approval
	absentees map[Repo][]Digest
	verdicts  map[*Want]judgement // by all rules, where the evidence is complete
	sentenced map[Repo]map[Digest]bool
	used      map[int]bool // waivers that something needed
	formers   map[*Want][]*Want
}

// wanted is what the catalog wants in one repository.
type wanted struct {
	wants   []*Want
	digests map[Digest]bool
	tags    map[Tag]bool
}

func newState(d Desired, o Observed, now time.Time) *state {
	s := &state{d: d, o: o, now: now, revoked: map[Image]Revocation{}, wanted: map[Repo]*wanted{}, digests: map[Repo]map[Digest]bool{},
		found: map[*Want][]place{}, judged: map[*Want][]Finding{}, assessed: map[*Want]admission{}, absentees: map[Repo][]Digest{},
		verdicts: map[*Want]judgement{}, sentenced: map[Repo]map[Digest]bool{}, used: map[int]bool{}, formers: map[*Want][]*Want{}}
	s.wants = make([]*Want, 0, len(d.Wants))
	for i := range d.Wants {
		s.wants = append(s.wants, &d.Wants[i])
	}
	sortBy(s.wants, func(w *Want) string { return w.Title() + "\x00" + w.Scope + "\x00" + w.From.String() })
	for _, r := range d.Revoked {
		for _, repo := range r.Repos {
			s.revoked[Image{repo, r.Digest}] = r
		}
	}
	for _, w := range s.wants {
		for _, t := range w.To {
			in := s.wantedIn(t.Repo)
			in.wants = append(in.wants, w)
			in.digests[w.From.Digest] = true
			for _, tag := range w.Tags {
				in.tags[tag] = true
			}
			s.wanted[t.Repo] = in
		}
	}
	return s
}

// versions returns all versions of a version's image, itself among them.
func (s *state) versions(w *Want) []Want {
	if s.siblings == nil {
		s.siblings, s.family = map[[2]string][]Want{}, map[[2]string][]*Want{}
		for _, v := range s.wants {
			k := [2]string{v.Scope, v.Name}
			s.siblings[k] = append(s.siblings[k], *v)
			s.family[k] = append(s.family[k], v)
		}
	}
	return s.siblings[[2]string{w.Scope, w.Name}]
}

// wantedIn returns what the catalog wants in a repository, which may be nothing.
func (s *state) wantedIn(r Repo) *wanted {
	if in, ok := s.wanted[r]; ok {
		return in
	}
	return &wanted{digests: map[Digest]bool{}, tags: map[Tag]bool{}}
}

// tags returns the tags of a repository, if the list could be read whole.
func (s *state) tags(r Repo) (map[Tag]Digest, bool) {
	a, ok := s.o.ok(Question{Kind: AskTags, Repo: r})
	return a.Tags, ok
}

// holds tells whether a repository has a digest, and whether that is known. A repository without tags is taken as one that
// holds nothing: registries don't tell it from one that doesn't exist.
func (s *state) holds(i Image) (held, known bool) {
	if a, ok := s.o.ok(Question{Kind: AskHas, Repo: i.Repo, Digest: i.Digest}); ok {
		return a.Has, true
	}
	tags, ok := s.tags(i.Repo)
	if !ok {
		return false, false
	}
	if s.tagged(i.Repo)[i.Digest] {
		return true, true
	}
	return false, len(tags) == 0
}

// tagged returns the digests that the tags of a repository name.
func (s *state) tagged(r Repo) map[Digest]bool {
	set, ok := s.digests[r]
	if !ok {
		tags, _ := s.tags(r)
		set = make(map[Digest]bool, len(tags))
		for _, d := range tags {
			if !d.IsZero() {
				set[d] = true
			}
		}
		s.digests[r] = set
	}
	return set
}

// place is a target of a Want as it was found.
type place struct {
	Target
	after After
	tags  map[Tag]Digest
	known bool // its tags, and whether it holds the digest, are known
	held  bool
}

// places returns the targets of a version as they were found, by repository. The slice is shared: nobody changes it.
func (s *state) places(w *Want) []place {
	if out, ok := s.found[w]; ok {
		return out
	}
	out := make([]place, 0, len(w.To))
	for _, t := range w.To {
		p := place{Target: t, after: s.after(t.Registry)}
		tags, ok := s.tags(t.Repo)
		held, known := s.holds(Image{t.Repo, w.From.Digest})
		p.tags, p.held, p.known = tags, held, ok && known
		out = append(out, p)
	}
	sortBy(out, func(p place) string { return p.Repo.String() })
	s.found[w] = out
	return out
}

func (s *state) after(registry string) After {
	for _, r := range s.d.Registries {
		if r.Name == registry {
			return r.After
		}
	}
	return After{}
}

// holder returns where the image can be read without asking its source, or else the source.
func holder(w *Want, places []place) Image {
	for _, p := range places {
		if p.known && p.held {
			return Image{p.Repo, w.From.Digest}
		}
	}
	return w.From
}

// tree returns the shape of a digest, whichever place told it: the digest makes them equal.
func (s *state) tree(w *Want, places []place) (Tree, bool) {
	for _, r := range append([]Repo{w.From.Repo}, repos(places)...) {
		if a, ok := s.o.ok(Question{Kind: AskTree, Repo: r, Digest: w.From.Digest}); ok {
			return a.Tree, true
		}
	}
	return Tree{}, false
}

func repos(places []place) []Repo {
	var out []Repo
	for _, p := range places {
		out = append(out, p.Repo)
	}
	return out
}

// records returns the valid records about a digest in a repository, and whether they are known.
func (s *state) records(i Image) ([]Record, bool) {
	a, ok := s.o.ok(Question{Kind: AskRecords, Repo: i.Repo, Digest: i.Digest})
	if !ok {
		return nil, false
	}
	var valid []Record
	for _, r := range a.Records {
		if r.Problem == "" && r.Statement.Subject == i.Digest {
			valid = append(valid, r)
		}
	}
	return valid, true
}

// tagsStand tells whether all the tags that a version shall have name its digest.
func tagsStand(w *Want, p place) bool {
	for _, t := range w.Tags {
		if p.tags[t] != w.From.Digest {
			return false
		}
	}
	return true
}

// settled tells whether a version needs nothing but, perhaps, records.
func settled(w *Want, places []place) bool {
	for _, p := range places {
		if p.known && (!p.held || !tagsStand(w, p)) {
			return false
		}
	}
	return true
}

// anyKnown tells whether any place has told what it holds.
func anyKnown(places []place) bool {
	return slices.ContainsFunc(places, func(p place) bool { return p.known })
}

// declared judges a version by the rules that need no evidence, so that nothing is fetched from a source that isn't allowed.
func (s *state) declared(w *Want) []Finding {
	out, ok := s.judged[w]
	if !ok {
		out = s.judge(w, Evidence{}, func(r Bound) bool { return r.Reads() == ReadsDeclaration }).refused
		s.judged[w] = out
	}
	return out
}

// owned returns every repository whose tags matter: those of wants and revocations and, where what is absent shall be deleted,
// all that the registries list below our prefixes.
func (s *state) owned() []Repo {
	seen := map[Repo]bool{}
	for r := range s.wanted {
		seen[r] = true
	}
	for i := range s.revoked {
		seen[i.Repo] = true
	}
	if s.d.Prune.Absent {
		for _, reg := range s.d.Registries {
			a, _ := s.o.ok(Question{Kind: AskRepos, Prefix: reg.Prefix})
			for _, r := range a.Repos {
				if reg.Prefix.Owns(r) {
					seen[r] = true
				}
			}
		}
	}
	out := make([]Repo, 0, len(seen))
	for r := range seen {
		out = append(out, r)
	}
	sortBy(out, Repo.String)
	return out
}
