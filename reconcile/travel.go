package reconcile

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
)

// An Attachment is a record that lies beside an image, by the place where it lies: nobody has read what it says.
type Attachment struct {
	At    Digest `json:"at"`             // the manifest that refers to the image or, where there is a Tag, the one in it
	Tag   Tag    `json:"tag,omitzero"`   // beside the image, as cosign's first formats use it: "sha256-<hex>.sig", .att or .sbom
	Layer Digest `json:"layer,omitzero"` // the record among those in the Tag's manifest
}

// askTravel asks what lies beside an image that is to be admitted in a scope whose images bring their records along. Of what is refused, nothing is
// asked; nor of what was admitted already.
func (s *state) askTravel() []Question {
	var qs []Question
	for _, w := range s.wants {
		if a := s.assess(w); w.UpstreamRecords && a.hasTree && len(s.declared(w)) == 0 {
			if j, ok := s.full(w); ok && len(j.refused) == 0 {
				qs = append(qs, s.travelQuestions(a)...)
			}
		}
	}
	return qs
}

func (s *state) travelQuestions(a admission) []Question {
	if !slices.ContainsFunc(a.places, func(p place) bool { return !s.admitted(a.want, p) && s.mayEnter(a, p) }) {
		return nil
	}
	var qs []Question
	from := s.bearer(a)
	for _, d := range a.tree.Signed() {
		qs = append(qs, Question{Kind: AskBeside, Repo: from, Digest: d})
	}
	return qs
}

// mayEnter tells whether a place may receive the image now.
func (s *state) mayEnter(a admission, p place) bool {
	return p.after.Registry == "" || settled(a.want, []place{p}) || s.waits(a, p) == ""
}

// admitted tells whether all that comes before our signature of the image lies in a place: its content, and the records of others. Without a
// signer, its tags say so.
func (s *state) admitted(w *Want, p place) bool {
	if len(s.d.Signers) == 0 {
		return p.held && tagsStand(w, p)
	}
	_, signed := s.signedSince(Image{p.Repo, w.From.Digest})
	return p.held && signed
}

// bearer is where the records of others are taken from: where the image was admitted before or, if it was nowhere, its source.
func (s *state) bearer(a admission) Repo {
	for _, p := range a.places {
		if s.admitted(a.want, p) {
			return p.Repo
		}
	}
	return a.want.From.Repo
}

// maxTravel bounds the records of others about one manifest: whoever may write beside it where it comes from could else fill every registry.
const maxTravel = 200

// awaitTravel holds the image back from the places that lack records of others, where those could not be read or are too many: unknown is not absent,
// and what doesn't travel with the image never does.
func (s *state) awaitTravel(a admission, ready map[Repo]bool, b *builder) {
	if !a.want.UpstreamRecords {
		return
	}
	for _, q := range s.travelQuestions(a) {
		answer, ok := s.o.ok(q)
		n := len(s.others(Image{q.Repo, q.Digest}, answer.Beside))
		for _, p := range a.places {
			if (!ok || n > maxTravel) && !s.admitted(a.want, p) {
				ready[p.Repo] = false
			}
		}
		if n > maxTravel {
			b.blocked = append(b.blocked, Finding{
				Rule: "upstream-records", Image: a.want.Title(), Digest: a.want.From.Digest, Origin: a.want.Origin,
				Summary: fmt.Sprintf("%d records of others lie beside %s, more than the %d that travel with an image", n, Image{q.Repo, q.Digest}.short(), maxTravel),
				Detail:  "have its maker remove those that nobody needs, or move the image to a scope without upstream_records",
			})
		}
	}
}

// travel plans that the records of others come to a place, before ours do. It returns the IDs of the actions.
func (s *state) travel(a admission, p place, content []string, b *builder) []string {
	if !a.want.UpstreamRecords || s.admitted(a.want, p) {
		return nil
	}
	var out []string
	for _, q := range s.travelQuestions(a) {
		answer, _ := s.o.ok(q)
		if others := s.others(Image{q.Repo, q.Digest}, answer.Beside); len(others) > 0 {
			out = append(out, b.add(Action{Kind: Place, Title: a.want.Title(), Digest: q.Digest, From: q.Repo, To: p.Repo, Beside: others,
				Reason: fmt.Sprintf("with it: %d of others", len(others)), Needs: slices.Clone(content), Origin: a.want.Origin}))
		}
	}
	return out
}

// others leaves out what is ours: that is placed by itself, where it is needed.
func (s *state) others(i Image, found []Attachment) []Attachment {
	ours := map[Digest]bool{}
	records, _ := s.records(i)
	for _, r := range records {
		if r.Statement.Format == Legacy {
			sum := sha256.Sum256(r.Payload)
			ours[Digest{"sha256:" + hex.EncodeToString(sum[:])}] = true
		} else {
			ours[r.At] = true
		}
	}
	found = slices.DeleteFunc(slices.Clone(found), func(x Attachment) bool { return ours[x.Layer] || x.Tag == Tag{} && ours[x.At] })
	sortBy(found, func(x Attachment) string { return x.Tag.s + " " + x.At.s + " " + x.Layer.s })
	return slices.Compact(found)
}
