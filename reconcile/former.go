package reconcile

import (
	"slices"
	"time"
)

// former is the version of an image that is approved now, which a version that is to be admitted is compared with: of those that a registry holds, the one
// that the new version takes a tag from, or else the one that was admitted last. Beside the catalog's own versions it may be one that a pull request takes out, or, where
// the catalog doesn't know it any more, one that bears our signature and a tag that moves.
type former struct {
	want   *Want
	when   time.Time // since when it is signed, where that is known
	places []place   // that hold it
}

func (s *state) former(w *Want) (former, bool) {
	var out former
	takes := false
	for _, c := range s.predecessors(w) {
		var at []place
		var when time.Time
		taken := false
		for _, p := range s.places(c) {
			if !p.known || !p.held {
				continue
			}
			at = append(at, p)
			if t, _ := s.signedSince(Image{p.Repo, c.From.Digest}); t.After(when) {
				when = t
			}
			taken = taken || slices.ContainsFunc(w.Tags, func(tag Tag) bool { return p.tags[tag] == c.From.Digest })
		}
		if len(at) > 0 && (out.want == nil || taken && !takes || taken == takes && when.After(out.when)) {
			out, takes = former{c, when, at}, taken
		}
	}
	return out, out.want != nil
}

// predecessors are what a version may be compared with, each digest once.
func (s *state) predecessors(w *Want) []*Want {
	if out, ok := s.formers[w]; ok {
		return out
	}
	s.versions(w)
	var out []*Want
	add := func(c *Want) {
		if c.From.Digest != w.From.Digest && !slices.ContainsFunc(out, func(o *Want) bool { return o.From.Digest == c.From.Digest }) {
			out = append(out, c)
		}
	}
	for _, c := range s.family[[2]string{w.Scope, w.Name}] {
		add(c)
	}
	for i := range s.d.Replaced {
		if c := &s.d.Replaced[i]; c.Name == w.Name && c.Scope == w.Scope {
			add(c)
		}
	}
	for _, p := range s.places(w) {
		for _, tag := range w.Tags {
			if d := p.tags[tag]; !d.IsZero() && len(s.d.Signers) > 0 {
				add(&Want{Name: w.Name, Version: labelOf(p, d, w.Tags), From: Image{p.Repo, d}, To: w.To, Scope: w.Scope, unlisted: true})
			}
		}
	}
	s.formers[w] = out
	return out
}

// labelOf names a digest by a tag that isn't one of those that move.
func labelOf(p place, d Digest, moving []Tag) string {
	name := ""
	for tag, at := range p.tags {
		if at == d && !slices.Contains(moving, tag) && (name == "" || tag.s < name) {
			name = tag.s
		}
	}
	if name == "" {
		return d.Short()
	}
	return name
}

// askFormer asks for the shape of what a version is compared with, and then for its records.
func (s *state) askFormer(w *Want) []Question {
	f, ok := s.former(w)
	if !ok {
		return nil
	}
	at := f.places[0]
	tree, ok := s.tree(f.want, f.places)
	if !ok {
		return []Question{{Kind: AskTree, Repo: at.Repo, Digest: f.want.From.Digest}}
	}
	if len(s.d.Signers) == 0 {
		return nil
	}
	var qs []Question
	for _, d := range tree.Signed() {
		qs = append(qs, Question{Kind: AskRecords, Repo: at.Repo, Digest: d})
	}
	return qs
}

// askFormers asks for what is to be admitted, and allowed to be by what the catalog says.
func (s *state) askFormers() []Question {
	var qs []Question
	for _, w := range s.wants {
		if a := s.assess(w); a.hasTree && !settled(w, a.places) && len(s.declared(w)) == 0 {
			qs = append(qs, s.askFormer(w)...)
		}
	}
	return qs
}

// compared tells whether a version can be called approved: the catalog names it, or named it, or it bears our signature.
func (f former) compared() bool { return !f.want.unlisted || !f.when.IsZero() }
