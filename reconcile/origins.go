package reconcile

import (
	"encoding/json"
	"slices"
)

// askOrigins asks what others signed about what is to be admitted, and who approved it. What is admitted already is judged from what was recorded
// then, so that it costs neither its source nor the forge a request.
func (s *state) askOrigins() []Question {
	var qs []Question
	for _, w := range s.wants {
		a := s.assess(w)
		if !a.hasTree || !a.admits() || len(s.declared(w)) > 0 || len(a.places) == 0 && !a.unseen {
			continue
		}
		qs = append(qs, s.originsOf(w, a.places)...)
	}
	return qs
}

func (s *state) originsOf(w *Want, places []place) []Question {
	var qs []Question
	recorded := s.recordedUpstream(w, places)
	for _, t := range w.trusts() {
		if !slices.Contains(recorded.Asked, t) {
			qs = append(qs, Question{Kind: AskProofs, Repo: w.From.Repo, Digest: w.From.Digest, Trust: t})
		}
	}
	if _, known := s.recordedReview(w, places); s.o.Forge && !known {
		qs = append(qs, Question{Kind: AskReview, Entry: w.entry()})
	}
	return qs
}

func (w *Want) entry() Entry {
	return Entry{Image: w.Name, Version: w.Version, Digest: w.From.Digest, Origin: w.Origin}
}

// trusts lists those whose records the rules of a version judge.
func (w *Want) trusts() []Trust {
	var out []Trust
	for _, r := range w.Rules {
		for _, t := range r.Trusts {
			if !slices.Contains(out, t) {
				out = append(out, t)
			}
		}
	}
	sortBy(out, func(t Trust) string { return t.Key + "\x00" + t.Issuer + "\x00" + t.Subject + "\x00" + t.Instance })
	return out
}

// upstream is what is known of what others signed: what was found in this run, and what was recorded when the image was admitted.
func (s *state) upstream(w *Want, places []place) Upstream {
	recorded := s.recordedUpstream(w, places)
	out := Upstream{Asked: []Trust{}, Proofs: []Proof{}}
	for _, t := range w.trusts() {
		if a, ok := s.o.ok(Question{Kind: AskProofs, Repo: w.From.Repo, Digest: w.From.Digest, Trust: t}); ok {
			out.Asked, out.Proofs = append(out.Asked, t), append(out.Proofs, a.Proofs...)
			continue
		}
		if slices.Contains(recorded.Asked, t) {
			out.Asked = append(out.Asked, t)
			for _, p := range recorded.Proofs {
				if p.Trust == t {
					out.Proofs = append(out.Proofs, p)
				}
			}
		}
	}
	sortBy(out.Proofs, func(p Proof) string { return marshal(p) })
	return out
}

func (s *state) recordedUpstream(w *Want, places []place) Upstream {
	var out Upstream
	if r, ok := s.newest(recordKey{subject: w.From.Digest, predicateType: UpstreamPredicate, about: w.Title()}, places); ok {
		if json.Unmarshal([]byte(r.Statement.Predicate), &out) != nil {
			return Upstream{}
		}
	}
	return out
}

// review is how the catalog's entry of a version was approved; nil if nobody was asked.
func (s *state) review(w *Want, places []place) *Review {
	a, asked := s.o.answer(Question{Kind: AskReview, Entry: w.entry()})
	switch {
	case asked && a.Gap != nil:
		return &Review{State: UnknownReview, Reason: a.Gap.Reason}
	case asked:
		return &a.Review
	}
	if r, ok := s.recordedReview(w, places); ok {
		return &r
	}
	return nil
}

// recordedReview is what was recorded when the image was admitted. Only an approval is worth keeping: what was pending then may be approved by now.
func (s *state) recordedReview(w *Want, places []place) (Review, bool) {
	r, ok := s.newest(recordKey{subject: w.From.Digest, predicateType: ApprovalPredicate, about: w.Title()}, places)
	if !ok {
		return Review{}, false
	}
	var a ApprovalRecord
	if json.Unmarshal([]byte(r.Statement.Predicate), &a) != nil || a.Review == nil {
		return Review{}, false
	}
	return *a.Review, a.Review.State == Approved
}
