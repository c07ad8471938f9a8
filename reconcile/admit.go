package reconcile

import (
	"fmt"
	"slices"
	"time"
)

// admit plans everything that a version with a good verdict lacks. Per place, the order is content, records, tags: a tag needs all that
// was planned before it there.
func (s *state) admit(a admission, e Evidence, b *builder) {
	before := map[Repo]*planned{}
	ready := s.ready(a, b)
	for _, p := range a.places {
		before[p.Repo] = &planned{}
		if ready[p.Repo] && !p.held {
			before[p.Repo].content = []string{b.add(Action{
				Kind: Copy, Title: a.want.Title(), Digest: a.want.From.Digest, From: a.from.Repo, To: p.Repo, Bytes: a.tree.Bytes(),
				Reason: "approved, and not in " + p.Registry, Origin: a.want.Origin,
			})}
		}
	}
	for _, n := range a.needs {
		s.admitRecord(a, n, e, ready, before, b)
	}
	for _, p := range a.places {
		if ready[p.Repo] {
			s.admitTags(a, p, slices.Concat(before[p.Repo].content, before[p.Repo].records), b)
		}
	}
}

// planned holds the IDs of what was planned for a place so far. A record needs its subject there, not the other records; a tag needs
// both.
type planned struct{ content, records []string }

// admitRecord plans one record: made once, or taken from a place that holds it, and written to the places that lack it.
func (s *state) admitRecord(a admission, n need, e Evidence, ready map[Repo]bool, before map[Repo]*planned, b *builder) {
	var lacks []place
	for _, p := range n.lacks {
		if ready[p.Repo] {
			lacks = append(lacks, p)
		}
	}
	if len(lacks) == 0 {
		return
	}
	record, reason := n.record, "taken from "+n.holder.Host()
	var needs []string
	if n.holder.IsZero() {
		made, ok := s.statement(a, n, e)
		if !ok {
			return
		}
		record, reason = b.add(made), "made in this run"
		needs = []string{record}
	}
	for _, p := range lacks {
		id := b.add(Action{
			Kind: Place, Title: a.want.Title(), Digest: n.key.subject, From: n.holder, To: p.Repo, Record: record,
			Reason: reason, Needs: slices.Concat(before[p.Repo].content, needs), Origin: a.want.Origin,
		})
		before[p.Repo].records = append(before[p.Repo].records, id)
	}
}

// statement plans the making of a record: a signature, or the attestation of a scan that gave a verdict.
func (s *state) statement(a admission, n need, e Evidence) (Action, bool) {
	st := Statement{
		Format: n.key.format, Signer: n.key.signer, Subject: n.key.subject, Identity: n.key.identity,
		PredicateType: n.key.predicateType, About: n.key.about, Time: s.now.UTC().Truncate(time.Second),
	}
	act := Action{Kind: Sign, Title: a.want.Title(), Digest: n.key.subject, Statement: &st, Origin: a.want.Origin}
	act.Reason = fmt.Sprintf("no signature by %q", n.key.signer)
	if n.key.predicateType != "" {
		scan, ok := scanOf(e, n.key)
		if !ok {
			return Action{}, false
		}
		st.Predicate = scanPredicate(scan)
		act.Kind, act.Reason = Attest, fmt.Sprintf("no attestation of what %s found", n.key.about)
	}
	if n.reason != "" {
		act.Reason += " (" + n.reason + ")"
	}
	return act, true
}

func scanOf(e Evidence, k recordKey) (Scan, bool) {
	for _, ps := range e.Scans {
		if ps.Manifest == k.subject && ps.Scan.Scanner == k.about && ps.Scan.NoVerdict == "" {
			return ps.Scan, true
		}
	}
	return Scan{}, false
}

func (s *state) admitTags(a admission, p place, needs []string, b *builder) {
	w := a.want
	for i, t := range w.Tags {
		was := p.tags[t]
		if was == w.From.Digest {
			continue
		}
		act := Action{Kind: TagIt, Title: w.Title(), Digest: w.From.Digest, To: p.Repo, Tag: t, If: If{Was: &was}, Needs: slices.Clone(needs), Origin: w.Origin}
		switch {
		case was.IsZero():
			act.Reason = "new tag"
		case i == 0 && !w.Mutable:
			if f, ok := s.fixedTag(w, was); !ok {
				b.blocked = append(b.blocked, f...)
				continue
			}
			act.Reason = fmt.Sprintf("named %s, which nobody approved: corrected", was.Short())
		default:
			act.Reason = fmt.Sprintf("moves from %s", was.Short())
			b.notes = append(b.notes, Finding{
				Rule: "tag-move", Image: w.Title(), Digest: w.From.Digest, Origin: w.Origin,
				Summary: fmt.Sprintf("tag %s of %s moves from %s to %s", t, p.Repo, was.Short(), w.From.Digest.Short()),
			})
		}
		b.add(act)
	}
}

// fixedTag tells whether a version's own tag may be set back: it may if the digest that it names now was never approved under it. If it was,
// the catalog itself moved a tag that doesn't move; if that can't be told, nothing is written.
func (s *state) fixedTag(w *Want, was Digest) ([]Finding, bool) {
	a, ok := s.o.ok(s.historyQuestion())
	if !ok {
		return nil, false // the gap says why
	}
	for _, v := range a.History.Approvals {
		if v.Digest == was && v.Version == w.Version && v.Image == w.Name {
			return []Finding{{
				Rule: "fixed-tag", Image: w.Title(), Digest: w.From.Digest, Origin: w.Origin,
				Summary: fmt.Sprintf("version %q was approved as %s, and a version's own tag does not move to another digest", w.Version, was.Short()),
				Detail:  "give the new digest a version of its own, or set mutable = true",
			}}, false
		}
	}
	return nil, true
}

// ready tells which places may receive the image now: all but those that wait for another registry.
func (s *state) ready(a admission, b *builder) map[Repo]bool {
	out := map[Repo]bool{}
	for _, p := range a.places {
		if p.after.Registry == "" || settled(a.want, []place{p}) {
			out[p.Repo] = true
			continue
		}
		why := s.waits(a, p)
		out[p.Repo] = why == ""
		if why != "" {
			b.notes = append(b.notes, Finding{
				Rule: "after", Image: a.want.Title(), Digest: a.want.From.Digest, Origin: a.want.Origin,
				Summary: fmt.Sprintf("%s waits: %s", p.Registry, why),
			})
		}
	}
	return out
}

// waits says what a place still waits for, or nothing. The time that counts is the one in the oldest valid signature beside the image
// in the registry before it, which is when it was admitted there.
func (s *state) waits(a admission, p place) string {
	for _, q := range a.places {
		if q.Registry != p.after.Registry {
			continue
		}
		if !q.held || !tagsStand(a.want, q) {
			return fmt.Sprintf("the image is not in %s yet", q.Registry)
		}
		if p.after.Soak == 0 {
			return ""
		}
		since, ok := s.signedSince(Image{q.Repo, a.want.From.Digest})
		if !ok {
			return fmt.Sprintf("there is no valid signature in %s, which would say since when it holds the image", q.Registry)
		}
		if until := since.Add(p.after.Soak); s.now.Before(until) {
			return fmt.Sprintf("%s must hold it until %s", q.Registry, until.UTC().Format("2006-01-02 15:04 UTC"))
		}
		return ""
	}
	return fmt.Sprintf("the image does not go to %s, or what that registry holds could not be read", p.after.Registry)
}

func (s *state) signedSince(i Image) (time.Time, bool) {
	var since time.Time
	valid, _ := s.records(i)
	for _, r := range valid {
		if t := r.Statement.Time; r.Statement.PredicateType == "" && !t.IsZero() && (since.IsZero() || t.Before(since)) {
			since = t
		}
	}
	return since, !since.IsZero()
}
