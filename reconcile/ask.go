package reconcile

import (
	"slices"
	"time"
)

// Ask names what has to be read next to make a plan, or nothing when Diff can decide everything. It never repeats a
// question, and what a question is about follows from answers to earlier ones: first the registries' inventory, then the shape of what
// isn't settled, then records, then scans (as many as the stage can hold), then what others laid beside what is to be admitted, and history only where something could be removed or
// a fixed tag has moved.
func Ask(d Desired, o Observed, now time.Time) []Question {
	s := newState(d, o, now)
	for _, next := range []func() []Question{s.askInventory, s.askHeld, s.askTrees, s.askRecords, s.askFormers, s.askOrigins, s.askScans, s.askTravel, s.askHistory, s.askRemoval} {
		if qs := s.open(next()); len(qs) > 0 {
			return qs
		}
	}
	return nil
}

// open drops the questions that have been asked and sorts the rest.
func (s *state) open(qs []Question) []Question {
	var out []Question
	for _, q := range qs {
		if !s.o.asked(q) {
			out = append(out, q)
		}
	}
	slices.SortFunc(out, Question.compare)
	return slices.Compact(out)
}

func (s *state) askInventory() []Question {
	var qs []Question
	if s.d.Prune.Absent {
		for _, r := range s.d.Registries {
			qs = append(qs, Question{Kind: AskRepos, Prefix: r.Prefix})
		}
		if open := s.open(qs); len(open) > 0 {
			return open
		}
	}
	for _, r := range s.owned() {
		qs = append(qs, Question{Kind: AskTags, Repo: r})
	}
	return qs
}

// askHeld asks for digests that no tag shows: versions whose tags are missing, and revoked ones.
func (s *state) askHeld() []Question {
	var qs []Question
	ask := func(i Image) {
		if _, known := s.holds(i); !known {
			if _, ok := s.tags(i.Repo); ok {
				qs = append(qs, Question{Kind: AskHas, Repo: i.Repo, Digest: i.Digest})
			}
		}
	}
	for _, w := range s.wants {
		for _, t := range w.To {
			ask(Image{t.Repo, w.From.Digest})
		}
	}
	for i := range s.revoked {
		ask(i)
	}
	return qs
}

func (s *state) askTrees() []Question {
	var qs []Question
	for _, w := range s.wants {
		places := s.places(w)
		if settled(w, places) && len(s.d.Signers) == 0 {
			continue
		}
		from := holder(w, places)
		if from == w.From && (len(s.declared(w)) > 0 || !w.Proposed && !anyKnown(places)) {
			continue // refused anyway; or held by a registry that doesn't answer, for all that is known
		}
		if _, ok := s.tree(w, places); !ok {
			qs = append(qs, Question{Kind: AskTree, Repo: from.Repo, Digest: from.Digest})
		}
	}
	return qs
}

func (s *state) askRecords() []Question {
	if len(s.d.Signers) == 0 {
		return nil
	}
	var qs []Question
	for _, w := range s.wants {
		places := s.places(w)
		tree, ok := s.tree(w, places)
		if !ok {
			continue
		}
		signed := tree.Signed()
		for _, p := range places {
			if !p.known || !p.held {
				continue
			}
			for _, d := range signed {
				qs = append(qs, Question{Kind: AskRecords, Repo: p.Repo, Digest: d})
			}
		}
	}
	return qs
}

// askScans asks for the scans of what is to be admitted and has no attested scan yet, for as many images as fit the stage together.
func (s *state) askScans() []Question {
	var qs []Question
	var bytes int64
	for _, w := range s.wants {
		mine := s.open(s.scansOf(w))
		if len(mine) == 0 {
			continue
		}
		tree, _ := s.tree(w, s.places(w))
		if size := tree.Bytes(); s.o.Budget > 0 && bytes+size > s.o.Budget && bytes > 0 {
			continue
		} else {
			bytes += size
		}
		qs = append(qs, mine...)
	}
	return qs
}

// scansOf returns the scans that a version must have before it can be judged.
func (s *state) scansOf(w *Want) []Question {
	if len(s.d.Scanners) == 0 {
		return nil
	}
	places := s.places(w)
	tree, ok := s.tree(w, places)
	if !ok || !s.recordsKnown(tree, places) {
		return nil
	}
	admits := s.assess(w).admits()
	if admits && len(s.declared(w)) > 0 {
		return nil // nothing is fetched for what is refused anyway
	}
	from := holder(w, places)
	var missing, absent, attested, aged []Question
	for _, m := range tree.Runnable() {
		for _, sc := range s.d.Scanners {
			q := Question{Kind: AskScan, Repo: from.Repo, Digest: m.Digest, Root: tree.Root, Scanner: sc.Name}
			scan, ok := s.attestedScan(m.Digest, sc.Name, places)
			switch {
			case !ok && admits:
				missing = append(missing, q)
			case !ok:
				absent = append(absent, q)
			case ok && s.aged(scan):
				aged = append(aged, s.again(q, places))
			case ok:
				attested = append(attested, q)
			}
		}
	}
	missing = append(missing, aged...)
	if !admits {
		return append(missing, s.lacking(w, tree, places, absent)...)
	}
	if len(s.open(missing)) > 0 || len(s.open(attested)) == 0 {
		return missing
	}
	// What was attested saves a scan as long as it satisfies the rules. If it doesn't, it may only be too old.
	if s.refusedByScans(w, tree, places) {
		return append(missing, attested...)
	}
	return missing
}

// lacking returns the scans that an approved image never had, as from a scanner that is new in the catalog, if its rules ask for more than is there.
func (s *state) lacking(w *Want, tree Tree, places []place, absent []Question) []Question {
	if len(absent) == 0 || len(s.d.Signers) == 0 || !s.refusedByScans(w, tree, places) {
		return nil
	}
	return absent
}

func (s *state) refusedByScans(w *Want, tree Tree, places []place) bool {
	return len(s.judge(w, s.known(w, tree, places), func(r Bound) bool { return r.Reads() >= ReadsScans }).refused) > 0
}

// again is the question for a scan that has aged: judged from the attested inventory, without content, where the scanner can do that.
func (s *state) again(q Question, places []place) Question {
	for _, p := range places {
		if _, ok := s.attestedInventory(q.Digest, q.Scanner, []place{p}); ok && s.o.Rescans[q.Scanner] {
			q.Kind, q.Repo = AskRescan, p.Repo
			break
		}
	}
	return q
}

// recordsKnown tells whether at least one place that holds the image has told its records, or none holds it.
func (s *state) recordsKnown(tree Tree, places []place) bool {
	if len(s.d.Signers) == 0 {
		return true
	}
	for _, p := range places {
		if p.known && p.held {
			if _, ok := s.records(Image{p.Repo, tree.Root}); !ok && !s.o.asked(Question{Kind: AskRecords, Repo: p.Repo, Digest: tree.Root}) {
				return false
			}
		}
	}
	return true
}

// historySpan is how far back an approval is looked for when a version's own tag was found to have moved.
const historySpan = 30 * 24 * time.Hour

// askHistory asks Git where a decision depends on what was approved before: a version's own tag names another digest than
// the catalog (was it changed in the catalog, or by hand in the registry?), or something may have been absent for long enough to be deleted.
func (s *state) askHistory() []Question {
	need := s.d.Prune.Absent && s.mayHaveLeft()
	for _, w := range s.wants {
		for _, p := range s.places(w) {
			if p.known && s.ownTagMoved(w, p) {
				need = true
			}
		}
	}
	if !need {
		return nil
	}
	return []Question{s.historyQuestion()}
}

// mayHaveLeft tells whether a registry may hold something that the catalog no longer names. Cosign's first format leaves a tag beside
// everything that we signed, so where it is written a tag list without a stranger's record says no, and history need not be read.
func (s *state) mayHaveLeft() bool {
	if len(s.d.Wants) == 0 {
		return false
	}
	if !s.d.leavesTags() {
		return true
	}
	return slices.ContainsFunc(s.owned(), func(r Repo) bool { return len(s.maybeHeld(r)) > 0 })
}

func (d Desired) leavesTags() bool {
	return slices.ContainsFunc(d.Signers, func(s SignerSpec) bool { return slices.Contains(s.Formats, Legacy) })
}

// historyQuestion reaches back twice the grace period, to the full day so that runs of one day ask the same.
func (s *state) historyQuestion() Question {
	span := max(historySpan, 2*s.d.Prune.Grace)
	return Question{Kind: AskHistory, Since: s.now.Add(-span).UTC().Truncate(24 * time.Hour)}
}

// ownTagMoved tells whether a version's own tag, which must not move, names another digest in the registry.
func (s *state) ownTagMoved(w *Want, p place) bool {
	if w.Mutable || len(w.Tags) == 0 {
		return false
	}
	was := p.tags[w.Tags[0]]
	return !was.IsZero() && was != w.From.Digest
}

// askRemoval asks for everything that deleting safely needs: what the candidates consist of, which records speak about them, and
// what stays in the same repositories, so that nothing shared is deleted.
func (s *state) askRemoval() []Question {
	var qs []Question
	for _, r := range s.owned() {
		if _, ok := s.tags(r); !ok {
			continue
		}
		for _, d := range s.maybeHeld(r) {
			if _, known := s.holds(Image{r, d}); !known {
				qs = append(qs, Question{Kind: AskHas, Repo: r, Digest: d})
			}
		}
		qs = append(qs, s.askMentioned(r)...)
		doomed := s.doomed(r)
		if len(doomed) == 0 {
			continue
		}
		for _, d := range s.staying(r, doomed) {
			qs = append(qs, Question{Kind: AskTree, Repo: r, Digest: d})
		}
		for _, x := range doomed {
			digests := []Digest{x.digest}
			if tree, ok := s.doomedTree(r, x); ok {
				digests = nil
				for _, m := range tree.Manifests {
					digests = append(digests, m.Digest)
				}
				qs = append(qs, s.askParts(r, x, digests)...)
			} else {
				qs = append(qs, s.nextTree(r, x)...)
			}
			for _, d := range digests {
				if len(s.d.Signers) > 0 {
					qs = append(qs, Question{Kind: AskRecords, Repo: r, Digest: d})
				}
				if s.d.UpstreamRecords {
					qs = append(qs, Question{Kind: AskBeside, Repo: r, Digest: d})
				}
			}
		}
	}
	return qs
}

// nextTree asks the repository for the shape of what is to be deleted and, only where it has lost the root, the source.
func (s *state) nextTree(r Repo, x doomed) []Question {
	qs := doomedQuestions(r, x)
	if held, _ := s.holds(Image{r, x.digest}); held || !s.o.asked(qs[0]) {
		return qs[:1]
	}
	return qs
}

// askMentioned asks whether the records that are left of a digest that shall be gone are ours.
func (s *state) askMentioned(r Repo) []Question {
	if len(s.d.Signers) == 0 {
		return nil
	}
	var qs []Question
	gone := s.maybeHeld(r)
	for _, v := range s.d.Revoked {
		if slices.Contains(v.Repos, r) {
			gone = append(gone, v.Digest)
		}
	}
	for _, d := range gone {
		if held, known := s.holds(Image{r, d}); known && !held && s.mentioned(r, d) {
			qs = append(qs, Question{Kind: AskRecords, Repo: r, Digest: d})
		}
	}
	return qs
}

// askParts asks which parts are left of an image whose root an interrupted deletion has taken.
func (s *state) askParts(r Repo, x doomed, parts []Digest) []Question {
	if held, _ := s.holds(Image{r, x.digest}); held {
		return nil
	}
	var qs []Question
	for _, d := range parts {
		qs = append(qs, Question{Kind: AskHas, Repo: r, Digest: d})
	}
	return qs
}
