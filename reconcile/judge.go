package reconcile

import (
	"fmt"
	"slices"
	"time"
)

// judgement is what rules say of a version.
type judgement struct {
	refused []Finding // of rules that deny
	warned  []Finding // of rules that only warn
	waivers []int     // those that were needed, by their place in the catalog's list
	rules   []ruled
}

// ruled is how one rule ended.
type ruled struct {
	Bound
	refused []Finding
	warned  []Finding
	waived  []int // waivers, by their place in the catalog's list
}

// judge asks the rules that pick selects, and completes what they found with where the rule and the image stand.
func (s *state) judge(w *Want, e Evidence, pick func(Bound) bool) judgement {
	subject := Subject{Want: *w, Siblings: s.versions(w), Evidence: e, Expected: s.d.Scanners}
	var j judgement
	for _, r := range w.Rules {
		if !pick(r) {
			continue
		}
		in := ruled{Bound: r}
		for _, f := range r.Check(subject, s.now) {
			f.Rule, f.Scope, f.Image, f.Digest, f.Warning = r.Name(), r.Scope, w.Title(), w.From.Digest, r.Warn || f.Warning
			if f.Origin == (Origin{}) {
				f.Origin = w.Origin
			}
			switch i := s.waiver(f, w); {
			case i >= 0:
				j.waivers = append(j.waivers, i)
				s.used[i] = true
				in.waived = append(in.waived, i)
			case f.Warning || f.Pending:
				in.warned = append(in.warned, f)
			default:
				in.refused = append(in.refused, f)
			}
		}
		j.refused, j.warned, j.rules = append(j.refused, in.refused...), append(j.warned, in.warned...), append(j.rules, in)
	}
	slices.Sort(j.waivers)
	j.waivers = slices.Compact(j.waivers)
	return j
}

// waiver returns the first waiver in force that covers a finding, or -1: one of the same scope as the rule or of a scope around it.
func (s *state) waiver(f Finding, w *Want) int {
	return slices.IndexFunc(s.d.Waivers, func(v Waiver) bool { return v.Covers(f, w.Name, w.From.Digest, s.now) })
}

// tellWaivers notes the waivers that have no effect any more: the expired ones, and those that nothing needed although everything that
// they could cover was judged.
func (s *state) tellWaivers(b *builder) {
	for i, v := range s.d.Waivers {
		f := Finding{Rule: "waiver", ID: v.ID, Scope: v.Scope, Image: v.Image, Digest: v.Digest, Package: v.Package, Origin: v.Origin, Warning: true}
		switch {
		case !s.now.Before(v.Expires):
			f.Summary = fmt.Sprintf("the waiver of %s from rule %q expired on %s and has no effect", v.ID, v.Rule, v.Expires.Add(-time.Nanosecond).UTC().Format(time.DateOnly))
			f.Detail = "remove it, or have it reviewed again with a new date"
		case !s.used[i] && s.judgedAll(v):
			f.Summary = fmt.Sprintf("the waiver of %s from rule %q covers nothing: no image in its scope needs it", v.ID, v.Rule)
			f.Detail = "remove it: what it excused is gone"
		default:
			continue
		}
		b.notes = append(b.notes, f)
	}
}

// judgedAll tells whether every version that a waiver could cover was judged by all its rules.
func (s *state) judgedAll(v Waiver) bool {
	if s.d.Elsewhere > 0 || len(s.d.Broken) > 0 {
		return false
	}
	for _, w := range s.wants {
		if (encloses(v.Scope, w.Scope) || encloses(w.Scope, v.Scope)) && (v.Image == "" || v.Image == w.Name) && (v.Digest.IsZero() || v.Digest == w.From.Digest) {
			if _, ok := s.full(w); !ok {
				return false
			}
		}
	}
	return true
}

// full judges a version by all its rules. It isn't ok while the evidence that it needs is incomplete: what was not read is no reason to call
// an image anything.
func (s *state) full(w *Want) (judgement, bool) {
	if j, ok := s.verdicts[w]; ok {
		return j, true
	}
	a := s.assess(w)
	if !a.hasTree || len(a.places) == 0 && !a.unseen || len(s.d.Signers) == 0 && !a.admits() {
		return judgement{}, false // without a signer there is no record of what was found when it was admitted
	}
	e, complete := s.evidence(w, a.tree, a.places)
	if !complete {
		return judgement{}, false
	}
	j := s.judge(w, e, func(Bound) bool { return true })
	s.verdicts[w] = j
	return j, true
}

// onRecord tells since when a verdict of ours says that the image in this place violates its policy.
func (s *state) onRecord(w *Want, p place) (time.Time, bool) {
	r, ok := s.newest(recordKey{subject: w.From.Digest, identity: p.Identity, predicateType: VerdictPredicate, about: w.Title()}, []place{p})
	if !ok || readVerdict(r.Statement.Predicate) != failed {
		return time.Time{}, false
	}
	return r.Statement.Time, true
}

// sentence says what becomes of an image in a place that holds it and violates its policy: the hardest of what its rules ask for. Missing evidence
// is enough to refuse an image, and never enough to take one away.
func (s *state) sentence(w *Want, p place) Violation {
	j, ok := s.full(w)
	if !ok || !p.held {
		return ""
	}
	out := Violation("")
	for _, r := range j.rules {
		proven := slices.ContainsFunc(r.refused, func(f Finding) bool { return !f.Unknown })
		switch {
		case len(r.refused) == 0:
		case !proven || r.OnViolation == ReportIt || r.OnViolation == "":
			out = harder(out, ReportIt)
		case r.OnViolation == Remove && !s.graceOver(w, p, r.Grace):
			out = harder(out, Quarantine)
		default:
			out = harder(out, r.OnViolation)
		}
	}
	return out
}

// graceOver tells whether a violation has been on record for long enough. Without a signer nothing is on record, so there only no grace at all
// is over.
func (s *state) graceOver(w *Want, p place, grace time.Duration) bool {
	since, ok := s.onRecord(w, p)
	return grace == 0 || ok && !s.now.Before(since.Add(grace))
}

func harder(a, b Violation) Violation {
	if slices.Index(violations, b) > slices.Index(violations, a) {
		return b
	}
	return a
}

// violations are in the order of their hardness.
var violations = []Violation{"", ReportIt, Quarantine, Remove}

// condemned lists the versions whose image in a repository shall lose its tags, by digest, and says for each whether its content goes too: only
// if every version that names the digest there is to be removed.
func (s *state) condemned(r Repo) map[Digest]bool {
	if out, ok := s.sentenced[r]; ok {
		return out
	}
	out := map[Digest]bool{}
	spared := map[Digest]bool{}
	for _, w := range s.wantedIn(r).wants {
		for _, p := range s.places(w) {
			if p.Repo != r || !p.known {
				continue
			}
			switch s.sentence(w, p) {
			case Remove:
				out[w.From.Digest] = true
			case Quarantine:
				out[w.From.Digest] = out[w.From.Digest] || false
				spared[w.From.Digest] = true
			default:
				spared[w.From.Digest] = true
			}
		}
	}
	for d := range spared {
		if _, ok := out[d]; ok {
			out[d] = false
		}
	}
	s.sentenced[r] = out
	return out
}

// lost tells whether a tag of a repository goes because each version that wants it there violates its policy.
func (s *state) lost(r Repo, t Tag, d Digest) bool {
	if _, ok := s.condemned(r)[d]; !ok {
		return false
	}
	for _, w := range s.wantedIn(r).wants {
		if !slices.Contains(w.Tags, t) {
			continue
		}
		for _, p := range s.places(w) {
			if v := s.sentence(w, p); p.Repo == r && (w.From.Digest != d || v != Quarantine && v != Remove) {
				return false
			}
		}
	}
	return true
}

// result is the judgement in a verification summary's words; empty if nothing but missing evidence speaks against the image, which proves nothing.
func (j judgement) result() string {
	switch {
	case slices.ContainsFunc(j.refused, func(f Finding) bool { return !f.Unknown }):
		return failed
	case len(j.refused) > 0:
		return ""
	}
	return passed
}
