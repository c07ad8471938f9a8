package reconcile

import (
	"fmt"
	"slices"
)

// doomed is a digest that shall go from a repository.
type doomed struct {
	digest Digest
	title  string
	reason string
	origin Origin
	source Repo
	urgent bool // revoked, or in violation of its policy; else absent

	revoked *Revoked // set where the catalog revokes it
}

// doomed lists what is to be deleted from a repository: what was revoked, at once, and what the catalog has not approved for the whole
// grace period and no tag names any more.
func (s *state) doomed(r Repo) []doomed {
	var out []doomed
	for _, v := range s.d.Revoked {
		if !slices.Contains(v.Repos, r) {
			continue
		}
		if held, known := s.holds(Image{r, v.Digest}); known && (held || s.leftover(r, v.Digest)) {
			out = append(out, doomed{digest: v.Digest, title: v.Name + "@" + v.Digest.Short(), reason: "revoked: " + v.Reason, origin: v.Origin, source: v.From, urgent: true,
				revoked: &Revoked{v.Reason, v.Replacement}})
		}
	}
	out = append(out, s.executed(r)...)
	if s.d.Prune.Absent {
		out = append(out, s.absent(r)...)
	}
	sortBy(out, func(d doomed) string { return d.digest.s })
	out = slices.CompactFunc(out, func(a, b doomed) bool { return a.digest == b.digest })
	return s.roots(r, out)
}

// executed lists the images that violate their policy and are to be removed with their content.
func (s *state) executed(r Repo) []doomed {
	var out []doomed
	condemned := s.condemned(r)
	for _, w := range s.wantedIn(r).wants {
		if condemned[w.From.Digest] {
			out = append(out, doomed{digest: w.From.Digest, title: w.Name + "@" + w.From.Digest.Short(), reason: "it violates its policy", origin: w.Origin, source: w.From.Repo, urgent: true})
		}
	}
	return out
}

// roots leaves out what goes with another one anyway, being a part of it.
func (s *state) roots(r Repo, all []doomed) []doomed {
	parts := map[Digest]bool{}
	for _, x := range all {
		tree, _ := s.doomedTree(r, x)
		for _, m := range tree.Manifests {
			if m.Digest != x.digest {
				parts[m.Digest] = true
			}
		}
	}
	return slices.DeleteFunc(all, func(x doomed) bool { return parts[x.digest] })
}

// leftover tells whether records of ours still speak about a digest that is gone: its deletion was interrupted.
func (s *state) leftover(r Repo, d Digest) bool {
	if !s.mentioned(r, d) {
		return false
	}
	ours, _ := s.records(Image{r, d})
	return len(ours) > 0
}

// mentioned tells whether a record's tag names a digest.
func (s *state) mentioned(r Repo, d Digest) bool {
	tags, _ := s.tags(r)
	for t := range tags {
		if subject, ok := t.Subject(); ok && subject == d {
			return true
		}
	}
	return false
}

// doomedTree returns the shape of what is to be deleted. Where an interrupted deletion has already taken the root, its source is the
// place that can still tell what belonged to it.
func (s *state) doomedTree(r Repo, x doomed) (Tree, bool) {
	for _, q := range doomedQuestions(r, x) {
		if a, ok := s.o.ok(q); ok {
			return a.Tree, true
		}
	}
	return Tree{}, false
}

func doomedQuestions(r Repo, x doomed) []Question {
	qs := []Question{{Kind: AskTree, Repo: r, Digest: x.digest}}
	if !x.source.IsZero() {
		qs = append(qs, Question{Kind: AskTree, Repo: x.source, Digest: x.digest})
	}
	return qs
}

// candidates are digests that might have been absent from the catalog for long: what records speak about and what was once approved for
// the repository. Tagged digests aren't among them: tags go first.
func (s *state) candidates(r Repo) []Digest {
	seen := map[Digest]bool{}
	tags, _ := s.tags(r)
	for t := range tags {
		if subject, ok := t.Subject(); ok {
			seen[subject] = true
		}
	}
	for _, v := range s.approvals(r) {
		seen[v.Digest] = true
	}
	for _, d := range tags {
		delete(seen, d)
	}
	var out []Digest
	for d := range seen {
		if _, revoked := s.revoked[Image{r, d}]; !s.wantedIn(r).digests[d] && !revoked {
			out = append(out, d)
		}
	}
	sortBy(out, Digest.String)
	return out
}

// maybeHeld are the candidates of which it must be known whether the repository holds them.
func (s *state) maybeHeld(r Repo) []Digest {
	if !s.d.Prune.Absent || len(s.d.Wants) == 0 {
		return nil
	}
	out, ok := s.absentees[r]
	if !ok {
		if out = s.candidates(r); len(out) > 0 {
			children := s.childrenOf(r)
			out = slices.DeleteFunc(out, func(d Digest) bool { return children[d] })
		}
		s.absentees[r] = out
	}
	return out
}

// approvals returns what the catalog's history, where it is known, says of a repository.
func (s *state) approvals(r Repo) []Approval {
	if s.approved == nil {
		s.approved = map[Repo][]Approval{}
		a, _ := s.o.ok(s.historyQuestion())
		for _, v := range a.History.Approvals {
			for _, repo := range v.Repos {
				s.approved[repo] = append(s.approved[repo], v)
			}
		}
	}
	return s.approved[r]
}

// childrenOf returns the manifests below what is known to stay in a repository.
func (s *state) childrenOf(r Repo) map[Digest]bool {
	out := map[Digest]bool{}
	for _, w := range s.wantedIn(r).wants {
		if tree, ok := s.tree(w, s.places(w)); ok {
			for _, m := range tree.Manifests {
				out[m.Digest] = true
			}
		}
	}
	return out
}

func (s *state) absent(r Repo) []doomed {
	a, ok := s.o.ok(s.historyQuestion())
	if !ok || a.History.Since.After(s.now.Add(-s.d.Prune.Grace)) {
		return nil
	}
	var out []doomed
	for _, d := range s.maybeHeld(r) {
		if held, _ := s.holds(Image{r, d}); !held && !s.leftover(r, d) {
			continue
		}
		name, due := s.due(r, d)
		if due {
			out = append(out, doomed{digest: d, title: name + "@" + d.Short(),
				reason: fmt.Sprintf("absent from the catalog for more than %s", s.d.Prune.Grace)})
		}
	}
	return out
}

// due tells whether a digest has been absent for the whole grace period, and the name that it had.
func (s *state) due(r Repo, d Digest) (name string, due bool) {
	name = r.Path()
	for _, v := range s.approvals(r) {
		if v.Digest == d {
			name = v.Image
			if v.Last.IsZero() || v.Last.After(s.now.Add(-s.d.Prune.Grace)) {
				return name, false
			}
		}
	}
	return name, true
}

// staying lists what remains in a repository: what the catalog wants, what tags name, and what is within the grace period.
func (s *state) staying(r Repo, gone []doomed) []Digest {
	seen := map[Digest]bool{}
	for d := range s.wantedIn(r).digests {
		if held, _ := s.holds(Image{r, d}); held {
			seen[d] = true
		}
	}
	for d := range s.tagged(r) {
		seen[d] = true
	}
	for _, d := range s.maybeHeld(r) { // no longer approved, but within the grace period
		if held, _ := s.holds(Image{r, d}); held {
			seen[d] = true
		}
	}
	for _, x := range gone {
		delete(seen, x.digest)
	}
	out := make([]Digest, 0, len(seen))
	for d := range seen {
		out = append(out, d)
	}
	sortBy(out, Digest.String)
	return out
}

// diffRemoval plans what goes, over everything at once, and drops it all where removal isn't safe.
func (s *state) diffRemoval(b *builder) {
	removal := newBuilder()
	for _, r := range s.owned() {
		if _, ok := s.tags(r); ok {
			s.diffRepo(r, removal)
		}
	}
	if len(removal.actions) == 0 {
		b.blocked = append(b.blocked, removal.blocked...)
		return
	}
	if f, unsafe := s.unsafe(removal.actions); unsafe {
		b.blocked = append(b.blocked, f)
		return
	}
	for _, a := range removal.actions {
		if a.Kind == Delete {
			a.After = movesFrom(a, b.actions)
		}
		b.actions = append(b.actions, a)
	}
	b.blocked = append(b.blocked, removal.blocked...)
}

// movesFrom lists the actions that give a tag of what is deleted to another digest: after them, the deletion can't take it along.
func movesFrom(gone Action, actions []Action) []string {
	var out []string
	for _, a := range actions {
		if a.Kind == TagIt && a.To == gone.To && a.If.Was != nil && *a.If.Was == gone.Digest {
			out = append(out, a.ID)
		}
	}
	sortBy(out, func(s string) string { return s })
	return out
}

// unsafe says why nothing at all is removed in this run.
func (s *state) unsafe(removals []Action) (Finding, bool) {
	f := Finding{Rule: "prune"}
	images := map[string]bool{}
	for _, a := range removals {
		images[a.Digest.s] = true
	}
	switch {
	case len(s.d.Broken) > 0:
		f.Summary = "nothing is removed while a part of the catalog could not be read"
		f.Detail = "mend the entries that are reported beside this"
	case len(s.d.Wants)+s.d.Elsewhere == 0:
		f.Summary = fmt.Sprintf("the catalog approves no image at all; refusing to take tags or content from %d", len(images))
		f.Detail = "an empty catalog is more often a mistake than a wish; keep one image, or empty the registry by hand"
	case len(images) > s.d.Prune.Limit:
		f.Summary = fmt.Sprintf("%d images would lose tags or content, more than the limit of %d; nothing is removed", len(images), s.d.Prune.Limit)
		f.Detail = "raise limit in the prune block if this is meant"
	default:
		return Finding{}, false
	}
	return f, true
}

// diffRepo plans what goes from one repository.
func (s *state) diffRepo(r Repo, b *builder) {
	tags, _ := s.tags(r)
	wantedTags := s.wantedIn(r).tags
	deleted := map[Digest]bool{}
	gone := s.doomed(r)
	for _, x := range gone {
		if s.deletes(r, x, gone, b) {
			deleted[x.digest] = true
		}
	}
	for t, d := range tags {
		_, record := t.Subject()
		lost := s.lost(r, t, d)
		if record || wantedTags[t] && !lost || deleted[d] {
			continue
		}
		title, at := s.repoTitle(r)
		reason := "the catalog approves no such tag"
		if lost {
			reason = "the image violates its policy"
		}
		if why, unable := s.o.Unable[r.Host()]; unable {
			b.blocked = append(b.blocked, CannotUntag(title, r, t, d, why))
			continue
		}
		was := d
		b.add(Action{Kind: Untag, Title: title, Digest: d, To: r, Tag: t, If: If{Was: &was}, Reason: reason, Origin: at})
	}
}

// repoTitle names a repository by the image that lives there, where there is one, and tells where the catalog declares it.
func (s *state) repoTitle(r Repo) (string, Origin) {
	for _, w := range s.wantedIn(r).wants {
		return w.Name, w.Origin
	}
	for _, v := range s.d.Revoked {
		if slices.Contains(v.Repos, r) {
			return v.Name, v.Origin
		}
	}
	for _, w := range s.d.Replaced {
		if slices.ContainsFunc(w.To, func(t Target) bool { return t.Repo == r }) {
			return w.Name, w.Origin
		}
	}
	return r.Path(), Origin{}
}

// CannotUntag is the finding for a registry that removes a tag only together with its digest, and so with its other tags.
func CannotUntag(title string, r Repo, t Tag, d Digest, why string) Finding {
	return Finding{
		Rule: "untag", Image: title, Digest: d,
		Summary: fmt.Sprintf("tag %s of %s can't be removed: %s", t, r, why),
		Detail:  "delete it with the registry's own tools, or move to a registry that can (CNCF distribution 3 and later can)",
	}
}

// deletes plans the deletion of one digest with what belongs to it alone, or says why it must stay.
func (s *state) deletes(r Repo, x doomed, gone []doomed, b *builder) bool {
	shared, ok := s.shared(r, gone)
	if !ok {
		return false // a gap says what could not be read
	}
	if shared[x.digest] && !x.urgent {
		return false
	}
	if shared[x.digest] {
		b.blocked = append(b.blocked, Finding{
			Rule: "delete", Image: x.title, Digest: x.digest, Origin: x.origin,
			Summary: fmt.Sprintf("%s is part of an image that stays in %s", x.digest.Short(), r),
			Detail:  "remove or revoke the index that names it first",
		})
		return false
	}
	held, _ := s.holds(Image{r, x.digest})
	tree, known := s.doomedTree(r, x)
	if held && !known {
		return false // a gap says why
	}
	var parts []Digest
	for _, m := range slices.Backward(tree.Manifests) {
		if m.Digest != x.digest && !shared[m.Digest] {
			parts = append(parts, m.Digest)
		}
	}
	remove, ok := s.removals(r, x.digest, parts)
	if !ok || len(remove) == 0 {
		return false
	}
	b.add(Action{Kind: Delete, Title: x.title, Digest: x.digest, To: r, Remove: remove, Drops: s.drops(r, x.digest), Revoked: x.revoked, Reason: x.reason, Origin: x.origin})
	return true
}

// removals orders what is left of an image and its records. The root goes first, since registries refuse to delete what an index names, and
// its own records go last: while they are there, an interrupted deletion can be seen and is ended by the next run.
func (s *state) removals(r Repo, root Digest, parts []Digest) ([]Removal, bool) {
	var out []Removal
	whole, _ := s.holds(Image{r, root})
	if whole {
		out = append(out, Removal{Digest: root})
	}
	for _, d := range parts {
		if left, _ := s.holds(Image{r, d}); whole || left {
			out = append(out, Removal{Digest: d})
		}
		records, ok := s.recordsAt(r, d)
		if !ok {
			return nil, false
		}
		out = append(out, records...)
	}
	last, ok := s.recordsAt(r, root)
	return append(out, last...), ok
}

// recordsAt lists the manifests that hold records about a digest: ours, last, and those of others if the catalog lets them travel with images. Else
// those of others are left alone.
func (s *state) recordsAt(r Repo, subject Digest) ([]Removal, bool) {
	i, known := Image{r, subject}, true
	var ours, others []Removal
	if len(s.d.Signers) > 0 {
		var records []Record
		records, known = s.records(i)
		ours = s.removed(i, records, false)
	}
	if s.d.UpstreamRecords {
		for n := range ours { // whatever lies there goes
			ours[n].Record = ""
		}
		a, ok := s.o.ok(Question{Kind: AskBeside, Repo: r, Digest: subject})
		known = known && ok
		for _, x := range a.Beside {
			if x := (Removal{Digest: x.At, Subject: subject}); !slices.Contains(ours, x) {
				others = append(others, x)
			}
		}
	}
	sortBy(ours, func(x Removal) string { return x.Digest.s + x.Record })
	sortBy(others, func(x Removal) string { return x.Digest.s })
	return slices.Concat(slices.Compact(others), slices.Compact(ours)), known
}

// shared returns everything that what stays in a repository consists of. It isn't ok if any of that could not be read.
func (s *state) shared(r Repo, gone []doomed) (map[Digest]bool, bool) {
	out := map[Digest]bool{}
	for _, d := range s.staying(r, gone) {
		a, ok := s.o.ok(Question{Kind: AskTree, Repo: r, Digest: d})
		if !ok {
			return nil, false
		}
		for _, m := range a.Tree.Manifests {
			out[m.Digest] = true
		}
	}
	return out, true
}

func (s *state) drops(r Repo, d Digest) []Tag {
	tags, _ := s.tags(r)
	var out []Tag
	for t, at := range tags {
		if at == d && (!s.wantedIn(r).tags[t] || s.lost(r, t, d)) {
			out = append(out, t)
		}
	}
	sortBy(out, Tag.String)
	return out
}
