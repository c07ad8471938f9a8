package reconcile

import (
	"fmt"
	"slices"
	"strings"
)

// TakenOut is the rule of the notes about what a pull request takes out of the catalog.
const TakenOut = "taken-out"

// tellTakenOut says of each version that a pull request takes out what becomes of it, and where: it isn't revoked, so no run deletes it at once. Of one that has
// another digest now its tag tells.
func (s *state) tellTakenOut(b *builder) {
	for _, w := range s.d.Replaced {
		var from []string
		tags := "its tags and its content stay"
		for _, t := range w.To {
			wanted := s.wantedIn(t.Repo)
			_, revoked := s.revoked[Image{t.Repo, w.From.Digest}]
			if revoked || wanted.digests[w.From.Digest] || slices.ContainsFunc(wanted.wants, func(x *Want) bool { return x.Title() == w.Title() }) {
				continue
			}
			from = append(from, t.Registry)
			if len(wanted.wants) > 0 {
				tags = "its tags go, its content stays"
			}
		}
		if len(from) == 0 {
			continue
		}
		slices.Sort(from)
		f := Finding{Rule: TakenOut, Image: w.Title(), Digest: w.From.Digest, Origin: w.Origin, Warning: true}
		if s.d.Prune.Absent {
			f.Summary = fmt.Sprintf("it is taken out of the catalog: in %s its tags go, and its content once it has been absent for %s", strings.Join(from, ", "), s.d.Prune.Grace)
			f.Detail = "revoke it if it must go at once"
		} else {
			f.Summary = fmt.Sprintf("it is taken out of the catalog: in %s %s, since the catalog has no prune block", strings.Join(from, ", "), tags)
			f.Detail = "revoke it if it must go"
		}
		b.notes = append(b.notes, f)
	}
}
