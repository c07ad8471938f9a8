package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Diff makes the plan: everything that differs between what the catalog wants and what was observed, and why the rest won't be done.
// It is pure: it reads no clock, doesn't fail, and gives the same bytes whatever the order of its input.
func Diff(d Desired, o Observed, now time.Time) Plan {
	s := newState(d, o, now)
	b := newBuilder()
	b.blocked = append(b.blocked, d.Broken...)
	b.notes = append(append(b.notes, d.Changes...), d.Warnings...)
	for _, w := range s.wants {
		s.diffWant(w, b)
	}
	s.diffRemoval(b)
	s.tellTakenOut(b)
	s.tellWaivers(b)
	return b.plan(d, o, now)
}

// builder collects what Diff decides.
type builder struct {
	actions []Action
	planned map[string]bool // by ID
	blocked []Finding
	notes   []Finding

	violations []Finding
	profiles   []Profile
}

func newBuilder() *builder { return &builder{planned: map[string]bool{}} }

// add plans an action, once: two versions of one digest, and indexes that share a platform's image, lack the same content and records.
func (b *builder) add(a Action) string {
	a = a.withID()
	if !b.planned[a.ID] {
		b.planned[a.ID] = true
		b.actions = append(b.actions, a)
	}
	return a.ID
}

func (b *builder) plan(d Desired, o Observed, now time.Time) Plan {
	p := Plan{Schema: PlanSchema, Catalog: d.Catalog, Commit: d.Commit, Made: now.UTC(), Actions: b.actions, Blocked: b.blocked, Violations: b.violations, Notes: b.notes, Profiles: b.profiles}
	for _, r := range d.Registries {
		p.Registries = append(p.Registries, PlanRegistry{r.Name, r.Prefix})
	}
	sortBy(p.Registries, func(r PlanRegistry) string { return r.Name })
	for i := range p.Actions {
		p.Actions[i].If.Commit = d.Commit
		sortBy(p.Actions[i].Needs, func(s string) string { return s })
	}
	for _, g := range o.Gaps() {
		// an image that its source doesn't have is a finding
		if !told[g.Question.Kind] && !(g.Question.Kind == AskTree && g.Missing) {
			p.Gaps = append(p.Gaps, g)
		}
	}
	p.Owners = owners(d.Wants, p)
	sortActions(p.Actions)
	sortFindings(p.Blocked)
	sortFindings(p.Violations)
	sortFindings(p.Notes)
	p.Actions = orEmpty(p.Actions)
	p.Blocked, p.Violations, p.Notes, p.Gaps = orEmpty(p.Blocked), orEmpty(p.Violations), orEmpty(p.Notes), orEmpty(p.Gaps)
	return p
}

// owners names the owners of the images that a plan speaks of.
func owners(wants []Want, p Plan) map[string]string {
	spoken := map[string]bool{}
	mark := func(title string) {
		name, _, _ := strings.Cut(title, "@")
		name, _, _ = strings.Cut(name, ":")
		spoken[name] = true
	}
	for _, a := range p.Actions {
		mark(a.Title)
	}
	for _, f := range slices.Concat(p.Blocked, p.Violations, p.Notes) {
		mark(f.Image)
	}
	out := map[string]string{}
	for _, w := range wants {
		if w.Owner != "" && spoken[w.Name] && (out[w.Name] == "" || w.Owner < out[w.Name]) {
			out[w.Name] = w.Owner
		}
	}
	return out
}

// told are the questions whose gaps the rules tell of: a scan that failed is "no verdict", an unknown signature or review "no evidence".
var told = map[string]bool{AskScan: true, AskRescan: true, AskProofs: true, AskReview: true}

// orEmpty keeps "null" out of the JSON.
func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// diffWant plans one version, and touches nothing else: one bad entry stops itself alone.
func (s *state) diffWant(w *Want, b *builder) {
	a := s.assess(w)
	declared := s.declared(w)
	switch {
	case a.admits() && len(declared) > 0:
		b.blocked = append(b.blocked, declared...)
		return
	case !a.hasTree && a.admits():
		b.blocked = append(b.blocked, s.missingAtSource(w)...)
		return
	case !a.hasTree:
		b.violations = append(b.violations, declared...)
		return
	}
	j, ok := s.full(w)
	switch {
	case !ok && a.admits():
		return // what is missing was asked for and could not be had: a gap says why
	case !ok:
		b.violations = append(b.violations, declared...)
	case a.admits():
		b.blocked = append(b.blocked, j.refused...)
	default:
		b.violations = append(b.violations, j.refused...)
	}
	b.notes = append(b.notes, j.warned...)
	if a.admits() {
		b.profiles = append(b.profiles, s.profile(a, j))
	}
	s.admit(a, j, b)
}

// missingAtSource turns the answer "there is no such digest" into a finding on the catalog's line.
func (s *state) missingAtSource(w *Want) []Finding {
	a, _ := s.o.answer(Question{Kind: AskTree, Repo: w.From.Repo, Digest: w.From.Digest})
	if a.Gap == nil || !a.Gap.Missing {
		return nil
	}
	return []Finding{{
		Rule: "source", Image: w.Title(), Digest: w.From.Digest, Origin: w.Origin,
		Summary: fmt.Sprintf("%s does not hold %s", w.From.Repo, w.From.Digest.Short()),
		Detail:  "write the digest that the source has now, as crane digest prints it, or remove the version",
	}}
}

// admission is a version with all that differs about it.
type admission struct {
	want    *Want
	places  []place // known, not revoked
	tree    Tree
	hasTree bool
	from    Image
	needs   []need
	unseen  bool // a proposed version of which no registry tells whether it holds it: it is judged, and nothing is planned

	attested map[Digest]bool // manifests that bear an attested scan somewhere; nil if there are no needs
}

// need is a record that some places lack.
type need struct {
	key    recordKey
	lacks  []place
	holder Repo   // the first place that holds a valid one; zero if none does
	record string // its ID there
	reason string
}

// recordKey names a record by what it is for. Equal keys are interchangeable records.
type recordKey struct {
	subject       Digest
	signer        string
	format        Format
	identity      Repo
	predicateType string
	about         string
}

func (s *state) assess(w *Want) admission {
	a, ok := s.assessed[w]
	if !ok {
		a = s.compare(w)
		s.assessed[w] = a
	}
	return a
}

func (s *state) compare(w *Want) admission {
	all := s.places(w)
	a := admission{want: w, unseen: w.Proposed && !anyKnown(all)}
	for _, p := range all {
		if _, revoked := s.revoked[Image{p.Repo, w.From.Digest}]; p.known && !revoked {
			a.places = append(a.places, p)
		}
	}
	a.from = holder(w, a.places)
	a.tree, a.hasTree = s.tree(w, all)
	if a.hasTree {
		a.places = s.recordsOf(a)
		if a.needs = s.needs(a); len(a.needs) > 0 {
			a.attested = s.attested(a)
		}
	}
	return a
}

func (s *state) attested(a admission) map[Digest]bool {
	out := map[Digest]bool{}
	for _, m := range a.tree.Runnable() {
		for _, sc := range s.d.Scanners {
			if _, ok := s.attestedScan(m.Digest, sc.Name, a.places); ok {
				out[m.Digest] = true
			}
		}
	}
	return out
}

// recordsOf drops the places whose records could not be read: unknown is not absent, so nothing is signed or tagged there.
func (s *state) recordsOf(a admission) []place {
	if len(s.d.Signers) == 0 {
		return a.places
	}
	var out []place
	signed := a.tree.Signed()
	for _, p := range a.places {
		known := true
		for _, d := range signed {
			if _, ok := s.o.ok(Question{Kind: AskRecords, Repo: p.Repo, Digest: d}); p.held && !ok {
				known = false
			}
		}
		if known {
			out = append(out, p)
		}
	}
	return out
}

func (s *state) needs(a admission) []need {
	var out []need
	for _, k := range s.keys(a) {
		n := need{key: k}
		for _, p := range a.places {
			if p.Identity != k.identity {
				continue
			}
			ok, why := s.bears(k, p)
			switch {
			case !ok:
				n.lacks, n.reason = append(n.lacks, p), why
			case n.holder.IsZero():
				n.holder = p.Repo
			}
		}
		if len(n.lacks) == 0 {
			continue
		}
		if !n.holder.IsZero() {
			n.record = s.recordID(k, n.holder)
		}
		out = append(out, n)
	}
	return out
}

// keys lists the records that an admitted image bears: a signature on the index and each runnable manifest in every format of every
// signer; of each scan what was found and what is installed; and the verdict.
func (s *state) keys(a admission) []recordKey {
	identities := map[Repo]bool{}
	for _, p := range a.places {
		identities[p.Identity] = true
	}
	signed, runnable := a.tree.Signed(), a.tree.Runnable()
	about := []string{VerdictPredicate, ApprovalPredicate}
	if len(a.want.trusts()) > 0 {
		about = append(about, UpstreamPredicate)
	}
	var out []recordKey
	for identity := range identities {
		for _, signer := range s.d.Signers {
			if signer.Retired {
				continue
			}
			for _, f := range signer.Formats {
				for _, d := range signed {
					out = append(out, recordKey{subject: d, signer: signer.Name, format: f, identity: identity})
				}
				if f != Bundle {
					continue
				}
				for _, m := range runnable {
					for _, sc := range s.d.Scanners {
						out = append(out, recordKey{m.Digest, signer.Name, Bundle, identity, VulnerabilityPredicate, sc.Name},
							recordKey{m.Digest, signer.Name, Bundle, identity, InventoryPredicate, sc.Name})
					}
					if s.o.Bill != nil && len(s.d.Scanners) > 0 {
						out = append(out, recordKey{subject: m.Digest, signer: signer.Name, format: Bundle, identity: identity, predicateType: BillPredicate})
					}
				}
				for _, predicate := range about {
					out = append(out, recordKey{a.tree.Root, signer.Name, Bundle, identity, predicate, a.want.Title()})
				}
			}
		}
	}
	return out
}

// bears tells whether a valid record for the key lies in a place, or why there is none.
func (s *state) bears(k recordKey, p place) (ok bool, why string) {
	answer, _ := s.o.ok(Question{Kind: AskRecords, Repo: p.Repo, Digest: k.subject})
	for _, r := range answer.Records {
		if k.fits(r) {
			return true, ""
		}
		if r.Problem != "" && r.Statement.Format == k.format && why == "" {
			why = r.Problem
		}
	}
	return false, why
}

// recordID names the record for the key that lies in a repository: of attestations the newest, where there are several.
func (s *state) recordID(k recordKey, r Repo) string {
	return s.fitting(k, r)[0].ID()
}

// fitting returns the valid records for the key that lie in a repository, the one that counts first.
func (s *state) fitting(k recordKey, r Repo) []Record {
	var out []Record
	answer, _ := s.o.ok(Question{Kind: AskRecords, Repo: r, Digest: k.subject})
	for _, rec := range answer.Records {
		if k.fits(rec) {
			out = append(out, rec)
		}
	}
	slices.SortFunc(out, func(a, b Record) int {
		switch {
		case k.predicateType == "": // the oldest signature says since when the image is approved
			return cmp.Or(a.Statement.Time.Compare(b.Statement.Time), strings.Compare(a.ID(), b.ID()))
		case newer(&a, &b):
			return -1
		}
		return 1
	})
	return out
}

// fits tells whether a record is valid and what the key names.
func (k recordKey) fits(r Record) bool {
	st := r.Statement
	return r.Problem == "" && st.Subject == k.subject && st.Signer == k.signer && st.Format == k.format && st.Identity == k.identity &&
		st.PredicateType == k.predicateType && (k.predicateType == "" || aboutOf(st) == k.about)
}

func aboutOf(st Statement) string {
	if st.About != "" {
		return st.About
	}
	scan, _ := readScan(st.Predicate)
	return scan.Scanner
}

// admits tells whether something would become newly visible or be newly signed, which needs a verdict. (A scanner that gave no
// verdict leaves no attestation; that alone is no reason to scan again what another one has attested.)
func (a admission) admits() bool {
	if a.unseen || !settled(a.want, a.places) {
		return true
	}
	for _, n := range a.needs {
		if n.holder.IsZero() && !(n.key.predicateType != "" && a.attested[n.key.subject]) {
			return true
		}
	}
	return false
}
