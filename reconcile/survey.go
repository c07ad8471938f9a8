package reconcile

import (
	"context"
	"time"
)

// A Holding is an approved image in one repository that holds it, with what its records say.
type Holding struct {
	Want      Want
	Target    Target
	Tree      Tree
	Since     time.Time // when it was admitted: the time of its oldest signature; zero if it bears none
	Manifests []HeldManifest
}

// A HeldManifest is one platform of a Holding, with the scans that are attested for it. A scanner's inventory is in its Scan, and there is a Scan
// without a verdict for an inventory that has no attested scan.
type HeldManifest struct {
	Digest   Digest
	Platform Platform
	Scans    []Scan
}

// Survey reads what the registries hold of a catalog's images and what the records beside them say. It asks no source and no scanner. What could
// not be read is in the gaps, and images below them may be missing.
func Survey(ctx context.Context, d Desired, s Sensors, now time.Time) ([]Holding, []Gap) {
	d.Prune.Absent = false
	o := Observed{}
	for {
		st := newState(d, o, now)
		var qs []Question
		for _, next := range []func() []Question{st.askInventory, st.askHeld, st.askHeldTrees, st.askRecords} {
			if qs = st.open(next()); len(qs) > 0 {
				break
			}
		}
		if len(qs) == 0 {
			return st.holdings(), o.Gaps()
		}
		if s.Asking != nil {
			s.Asking(qs)
		}
		o = o.With(answerAll(ctx, s, o, qs))
	}
}

// askHeldTrees asks for the shape of what registries hold.
func (s *state) askHeldTrees() []Question {
	var qs []Question
	for _, w := range s.wants {
		places := s.places(w)
		if from := holder(w, places); from != w.From {
			if _, ok := s.tree(w, places); !ok {
				qs = append(qs, Question{Kind: AskTree, Repo: from.Repo, Digest: from.Digest})
			}
		}
	}
	return qs
}

func (s *state) holdings() []Holding {
	var out []Holding
	for _, w := range s.wants {
		places := s.places(w)
		tree, ok := s.tree(w, places)
		if !ok {
			continue
		}
		for _, p := range places {
			if !p.known || !p.held {
				continue
			}
			h := Holding{Want: *w, Target: p.Target, Tree: tree}
			h.Since, _ = s.signedSince(Image{p.Repo, tree.Root})
			for _, m := range tree.Runnable() {
				h.Manifests = append(h.Manifests, HeldManifest{m.Digest, m.Platform, s.attestedScans(m.Digest, p)})
			}
			out = append(out, h)
		}
	}
	return out
}

// attestedScans returns what every scanner that left a record said, whether the catalog still declares it or not.
func (s *state) attestedScans(manifest Digest, p place) []Scan {
	a, _ := s.o.ok(Question{Kind: AskRecords, Repo: p.Repo, Digest: manifest})
	names := map[string]bool{}
	for _, r := range a.Records {
		if st := r.Statement; r.Problem == "" && (st.PredicateType == VulnerabilityPredicate || st.PredicateType == InventoryPredicate) {
			names[aboutOf(st)] = true
		}
	}
	var out []Scan
	for name := range names {
		scan, ok := s.attestedScan(manifest, name, []place{p})
		if !ok {
			scan = Scan{Scanner: name, NoVerdict: "its scan is not attested"}
		}
		if i, ok := s.attestedInventory(manifest, name, []place{p}); ok {
			scan.Inventory = &i
		}
		out = append(out, scan)
	}
	sortBy(out, func(x Scan) string { return x.Scanner })
	return out
}
