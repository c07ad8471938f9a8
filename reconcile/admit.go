package reconcile

import (
	"fmt"
	"slices"
	"time"
)

// admit plans everything that a version lacks. Per place, the order is content with the records of others, our records, tags: a tag needs all that was planned before it
// there. Of one that is refused, nothing is copied, signed or tagged; what was found about it is still put on record where it was admitted once.
func (s *state) admit(a admission, j judgement, b *builder) {
	before := map[Repo]*planned{}
	refused := len(j.refused) > 0
	ready := s.once(a)
	if !refused {
		ready = s.ready(a, b)
		s.awaitTravel(a, ready, b)
	}
	for _, p := range a.places {
		before[p.Repo] = &planned{}
		if ready[p.Repo] && !p.held {
			before[p.Repo].content = []string{b.add(Action{
				Kind: Copy, Title: a.want.Title(), Digest: a.want.From.Digest, From: a.from.Repo, To: p.Repo, Bytes: a.tree.Bytes(),
				Reason: "approved, and not in " + p.Registry, Origin: a.want.Origin,
			})}
		}
		if ready[p.Repo] && !refused {
			before[p.Repo].content = append(before[p.Repo].content, s.travel(a, p, before[p.Repo].content, b)...)
		}
	}
	renewed := s.renewals(a)
	for _, n := range a.needs {
		if _, again := renewed[n.key]; !again && !(refused && (n.key.predicateType == "" || n.key.predicateType == ApprovalPredicate || !n.holder.IsZero() && a.admits())) {
			s.admitRecord(a, n, j, ready, before, b)
		}
	}
	for _, k := range s.keys(a) {
		if reason, again := renewed[k]; again {
			s.admitRecord(a, need{key: k, lacks: named(a.places, k.identity), reason: reason}, j, ready, before, b)
		}
	}
	s.retire(a, renewed, before, b)
	s.retireSigners(a, before, b)
	s.retireEntries(a, before, b)
	for _, p := range a.places {
		if ready[p.Repo] && !refused {
			s.admitTags(a, p, slices.Concat(before[p.Repo].content, before[p.Repo].records), b)
		}
	}
}

// once tells in which places the image was admitted once: they hold it, with a signature of ours.
func (s *state) once(a admission) map[Repo]bool {
	out := map[Repo]bool{}
	for _, p := range a.places {
		_, signed := s.signedSince(Image{p.Repo, a.want.From.Digest})
		out[p.Repo] = p.held && signed
	}
	return out
}

// named keeps the places that have an identity.
func named(places []place, identity Repo) []place {
	return slices.DeleteFunc(slices.Clone(places), func(p place) bool { return p.Identity != identity })
}

// renewals are the records that are made anew although there is a valid one, and why.
func (s *state) renewals(a admission) map[recordKey]string {
	out := map[recordKey]string{}
	for _, k := range s.keys(a) {
		if k.predicateType == "" {
			continue
		}
		if reason := s.refresh(a.want, k, named(a.places, k.identity)); reason != "" {
			out[k] = reason
		}
	}
	return out
}

// retire plans the deletion of records that another one has replaced, so that nothing grows without bound: where two were written at once, all but
// the one that counts; where one is made anew in this run, those before it, once it lies there.
func (s *state) retire(a admission, renewed map[recordKey]string, before map[Repo]*planned, b *builder) {
	for _, k := range s.keys(a) {
		for _, p := range named(a.places, k.identity) {
			old := s.fitting(k, p.Repo)
			var needs []string
			if _, again := renewed[k]; again {
				needs = before[p.Repo].made[k]
			}
			if len(needs) == 0 && len(old) > 0 {
				old = old[1:]
			}
			if len(old) == 0 {
				continue
			}
			act := Action{Kind: Retire, Title: a.want.Title(), Digest: k.subject, To: p.Repo, Needs: slices.Clone(needs), Reason: "a newer record replaces it", Origin: a.want.Origin}
			for _, r := range old {
				act.Remove = append(act.Remove, r.removal())
			}
			sortBy(act.Remove, func(x Removal) string { return x.Digest.s + x.Record })
			b.add(act)
		}
	}
}

// retireSigners plans the deletion of what signers left that sign nothing more, in the places where somebody else's signature of the same digest
// lies or is placed in this run: at no moment does a digest bear no valid signature.
func (s *state) retireSigners(a admission, before map[Repo]*planned, b *builder) {
	retired := map[string]bool{}
	for _, sp := range s.d.Signers {
		retired[sp.Name] = sp.Retired
	}
	for _, d := range a.tree.Signed() {
		for _, p := range a.places {
			var old []Record
			signed, joined := false, false // joined: a signature in cosign's first format is placed beside theirs
			records, _ := s.records(Image{p.Repo, d})
			for _, r := range records {
				if st := r.Statement; retired[st.Signer] {
					old = append(old, r)
				} else {
					signed = signed || st.PredicateType == ""
				}
			}
			for k := range before[p.Repo].made {
				signed = signed || k.subject == d && k.predicateType == ""
				joined = joined || k.subject == d && k.format == Legacy
			}
			if len(old) == 0 || !signed {
				continue
			}
			b.add(Action{Kind: Retire, Title: a.want.Title(), Digest: d, To: p.Repo, Remove: s.removed(Image{p.Repo, d}, old, joined), Needs: slices.Clone(before[p.Repo].records),
				Reason: "its signer is retired", Origin: a.want.Origin})
		}
	}
}

// retireEntries plans the deletion of what was said of a digest as entries that the catalog no longer has, once what is said of it as this one lies there: whoever
// reads an old entry's verdict would else believe it for ever, since nobody renews it. While a part of the catalog could not be read, nobody knows what it has.
func (s *state) retireEntries(a admission, before map[Repo]*planned, b *builder) {
	for _, p := range a.places {
		entries := map[string]bool{}
		for _, w := range s.wantedIn(p.Repo).wants {
			entries[w.Title()] = entries[w.Title()] || w.From.Digest == a.want.From.Digest
		}
		var old []Record
		judged := false
		i := Image{p.Repo, a.tree.Root}
		records, _ := s.records(i)
		for _, r := range records {
			switch st := r.Statement; st.PredicateType {
			case VerdictPredicate, ApprovalPredicate, UpstreamPredicate:
				if !entries[st.About] {
					old = append(old, r)
				}
				judged = judged || st.PredicateType == VerdictPredicate && st.About == a.want.Title()
			}
		}
		for k := range before[p.Repo].made {
			judged = judged || k.predicateType == VerdictPredicate
		}
		if len(old) > 0 && judged && len(s.d.Broken) == 0 {
			b.add(Action{Kind: Retire, Title: a.want.Title(), Digest: i.Digest, To: p.Repo, Remove: s.removed(i, old, false), Needs: slices.Clone(before[p.Repo].records),
				Reason: "the catalog has no such entry any more", Origin: a.want.Origin})
		}
	}
}

// removed says how records of ours about an image go, in an order that is always the same: as removal says, but in cosign's first format with their manifest
// where nothing would be left in it: neither what somebody else signed nor, if joined, what is placed in this run.
func (s *state) removed(i Image, old []Record, joined bool) []Removal {
	goes := map[string]bool{}
	for _, r := range old {
		goes[r.ID()] = true
	}
	a, _ := s.o.ok(Question{Kind: AskRecords, Repo: i.Repo, Digest: i.Digest})
	var out []Removal
	for _, r := range old {
		x := r.removal()
		if !joined && !slices.ContainsFunc(a.Records, func(o Record) bool { return o.At == r.At && !goes[o.ID()] }) {
			x.Record = ""
		}
		out = append(out, x)
	}
	sortBy(out, func(x Removal) string { return x.Digest.s + x.Record })
	return slices.Compact(out)
}

// removal says how a record goes: with its manifest or, in cosign's first format, out of the one that holds all signatures of a digest.
func (r Record) removal() Removal {
	out := Removal{Digest: r.At, Subject: r.Statement.Subject}
	if r.Statement.Format == Legacy {
		out.Record = r.ID()
	}
	return out
}

// planned holds the IDs of what was planned for a place so far. A record of ours needs the content there, which is its subject with what others signed
// about it, not our other records; a tag needs both.
type planned struct {
	content, records []string
	made             map[recordKey][]string // those of records, by what they are for
}

// admitRecord plans one record: made once, or taken from a place that holds it, and written to the places that lack it.
func (s *state) admitRecord(a admission, n need, j judgement, ready map[Repo]bool, before map[Repo]*planned, b *builder) {
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
		made, ok := s.statement(a, n, j)
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
		at := before[p.Repo]
		at.records = append(at.records, id)
		if at.made == nil {
			at.made = map[recordKey][]string{}
		}
		at.made[n.key] = append(at.made[n.key], id)
	}
}

// statement plans the making of a record. It isn't ok if there is nothing to say, as where a scanner gave no verdict.
func (s *state) statement(a admission, n need, j judgement) (Action, bool) {
	st := Statement{
		Format: n.key.format, Signer: n.key.signer, Subject: n.key.subject, Identity: n.key.identity,
		PredicateType: n.key.predicateType, About: n.key.about, Time: s.now.UTC().Truncate(time.Second),
	}
	act := Action{Kind: Sign, Title: a.want.Title(), Digest: n.key.subject, Statement: &st, Origin: a.want.Origin}
	act.Reason = fmt.Sprintf("no signature by %q", n.key.signer)
	if n.key.predicateType != "" {
		what, predicate, ok := s.predicate(a, n.key, j)
		if !ok {
			return Action{}, false
		}
		st.Predicate = predicate
		act.Kind, act.Reason = Attest, "no attestation of "+what
	}
	switch {
	case n.reason != "" && n.key.predicateType != "":
		act.Reason = n.reason
	case n.reason != "":
		act.Reason += " (" + n.reason + ")"
	}
	return act, true
}

// predicate is what a record says, and what that is in words.
func (s *state) predicate(a admission, k recordKey, j judgement) (what, predicate string, ok bool) {
	switch k.predicateType {
	case VerdictPredicate:
		if _, judged := s.full(a.want); !judged || j.result() == "" {
			return "", "", false
		}
		return "the verdict", s.verdictOf(a.want, s.known(a.want, a.tree, a.places), j, k.identity), true
	case ApprovalPredicate:
		return "the approval", s.approvalOf(a.want, s.known(a.want, a.tree, a.places)), true
	case UpstreamPredicate:
		up := s.upstream(a.want, a.places)
		return "what others signed", marshal(up), len(up.Asked) > 0
	}
	if k.predicateType == BillPredicate {
		_, scan, ok := s.lister(a.want, k.subject, a.places)
		if !ok {
			return "", "", false
		}
		bill, err := s.o.Bill(*scan.Inventory, Image{k.identity, k.subject}, scan.Finished)
		return "the bill of materials", bill, err == nil
	}
	scan, ok := s.scanNow(a.want, k.subject, k.about, a.places, k.predicateType == InventoryPredicate)
	switch {
	case !ok || k.predicateType == VulnerabilityPredicate && scan.NoVerdict != "" || k.predicateType == InventoryPredicate && scan.Inventory == nil:
		return "", "", false
	case k.predicateType == InventoryPredicate:
		return "what " + k.about + " found to be installed", marshal(scan.Inventory), true
	}
	scan.Vulnerabilities = seenSince(scan.Vulnerabilities, scan.Vulnerabilities, s.now)
	return "what " + k.about + " found", scanPredicate(scan), true
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
	approved := slices.ContainsFunc(s.d.Replaced, func(v Want) bool { return v.From.Digest == was && v.Version == w.Version && v.Name == w.Name }) ||
		slices.ContainsFunc(a.History.Approvals, func(v Approval) bool { return v.Digest == was && v.Version == w.Version && v.Image == w.Name })
	if !approved {
		return nil, ok // if not, the gap says why
	}
	return []Finding{{
		Rule: "fixed-tag", Image: w.Title(), Digest: w.From.Digest, Origin: w.Origin,
		Summary: fmt.Sprintf("version %q was approved as %s, and a version's own tag does not move to another digest", w.Version, was.Short()),
		Detail:  "give the new digest a version of its own, or set mutable = true",
	}}, false
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
