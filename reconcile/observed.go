package reconcile

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// Kinds of Question.
const (
	AskRepos   = "repositories" // which repositories lie below Prefix
	AskTags    = "tags"         // which tags does Repo have, and which digests do they name
	AskHas     = "has"          // does Repo hold Digest
	AskTree    = "tree"         // what is below Digest in Repo
	AskRecords = "records"      // which records about Digest does Repo hold
	AskScan    = "scan"         // what does Scanner say about the manifest Digest in Repo
	AskRescan  = "rescan"       // what does Scanner say now about what it attested to be in the manifest Digest in Repo
	AskProofs  = "proofs"       // what did Trust sign about Digest in Repo
	AskBeside  = "beside"       // what did anybody lay beside Digest in Repo
	AskReview  = "review"       // how was Entry approved
	AskHistory = "history"      // what did the catalog approve since Since
)

// A Question names one thing to read. Questions are comparable: the same question is the same value.
type Question struct {
	Kind    string    `json:"kind"`
	Prefix  Prefix    `json:"prefix,omitzero"`
	Repo    Repo      `json:"repo,omitzero"`
	Digest  Digest    `json:"digest,omitzero"`
	Root    Digest    `json:"root,omitzero"` // of a scan: the image that the manifest belongs to
	Scanner string    `json:"scanner,omitempty"`
	Trust   Trust     `json:"trust,omitzero"`
	Entry   Entry     `json:"entry,omitzero"`
	Since   time.Time `json:"since,omitzero"`
}

// A Gap is something that could not be read. It never means "empty": nothing is removed below it, and what depends on it waits.
type Gap struct {
	Question Question `json:"question"`
	Reason   string   `json:"reason"`
	Missing  bool     `json:"missing,omitempty"` // the registry answered that there is no such thing
}

// An Answer is the reply of a sensor: exactly one of its fields belongs to the question's kind, unless Gap is set.
type Answer struct {
	Gap     *Gap
	Repos   []Repo
	Tags    map[Tag]Digest // whole; a record's tag has a zero digest; a repository that doesn't exist has no tags
	Has     bool
	Tree    Tree
	Records []Record
	Scan    Scan
	History History
	Proofs  []Proof
	Beside  []Attachment
	Review  Review
}

// History is what the catalog approved during a span of time.
type History struct {
	Since     time.Time
	Approvals []Approval
}

// An Approval is a digest that the catalog named for a version of an image at some commit.
type Approval struct {
	Image   string
	Version string
	Digest  Digest
	Repos   []Repo
	Last    time.Time // when the last commit that had it was replaced; zero if the newest commit has it
}

// Observed is what is known so far. It is immutable: With returns a new one.
type Observed struct {
	Budget  int64                          // bytes that the stage can hold at once; zero if nothing needs staging
	Unable  map[string]string              // hosts that can't untag, and why
	Forge   bool                           // whether somebody can be asked for reviews
	Bill    Bill                           // nil: no bill of materials is put on record
	Rescans map[string]bool                // scanners that can judge their own inventories again
	answers map[string]map[Question]Answer // by the question's kind
	read    *reading
}

// Bill writes an inventory of an image, under its canonical name, and the time when it was made, as a document of BillPredicate. It is pure. An
// inventory that can't be written has an error.
type Bill func(Inventory, Image, time.Time) (string, error)

// With returns what is known once a question is answered.
func (o Observed) With(answers map[Question]Answer) Observed {
	own := map[string]bool{}
	o.answers = maps.Clone(o.answers)
	if o.answers == nil {
		o.answers = map[string]map[Question]Answer{}
	}
	if o.read == nil {
		o.read = &reading{scans: map[*Record]Scan{}, inventories: map[*Record]Inventory{}}
	}
	for q, a := range answers {
		if !own[q.Kind] { // what is not added to stays shared
			own[q.Kind] = true
			o.answers[q.Kind] = grow(o.answers[q.Kind], len(answers))
		}
		o.answers[q.Kind][q] = a
	}
	return o
}

// without returns what is known when questions of one kind are open again.
func (o Observed) without(kind string, qs []Question) Observed {
	o.answers = maps.Clone(o.answers)
	o.answers[kind] = maps.Clone(o.answers[kind])
	for _, q := range qs {
		delete(o.answers[kind], q)
	}
	return o
}

// grow returns a copy with room for n more.
func grow(m map[Question]Answer, n int) map[Question]Answer {
	out := make(map[Question]Answer, len(m)+n)
	maps.Copy(out, m)
	return out
}

// Gaps returns what could not be read, in the order of the questions.
func (o Observed) Gaps() []Gap {
	var out []Gap
	for _, answers := range o.answers {
		for _, a := range answers {
			if a.Gap != nil {
				out = append(out, *a.Gap)
			}
		}
	}
	slices.SortFunc(out, func(a, b Gap) int { return a.Question.compare(b.Question) })
	return out
}

// answer returns what was answered to a question, which may be a gap, and whether it was asked.
func (o Observed) answer(q Question) (Answer, bool) {
	a, ok := o.answers[q.Kind][q]
	return a, ok
}

func (o Observed) asked(q Question) bool { _, ok := o.answer(q); return ok }

// ok returns the answer to a question if there is one and it isn't a gap.
func (o Observed) ok(q Question) (Answer, bool) {
	a, ok := o.answer(q)
	return a, ok && a.Gap == nil
}

// compare orders questions.
func (q Question) compare(r Question) int {
	return cmp.Or(strings.Compare(q.Kind, r.Kind), q.Prefix.compare(r.Prefix), q.Repo.compare(r.Repo), strings.Compare(q.Root.s, r.Root.s),
		strings.Compare(q.Digest.s, r.Digest.s), strings.Compare(q.Scanner, r.Scanner), q.Since.Compare(r.Since),
		strings.Compare(q.Trust.Key, r.Trust.Key), strings.Compare(q.Trust.Issuer, r.Trust.Issuer), strings.Compare(q.Trust.Subject, r.Trust.Subject), strings.Compare(q.Trust.Instance, r.Trust.Instance),
		strings.Compare(q.Entry.Image, r.Entry.Image), strings.Compare(q.Entry.Version, r.Entry.Version))
}

// String says what is asked, for people.
func (q Question) String() string {
	switch q.Kind {
	case AskRepos:
		return "the repositories of " + q.Prefix.String()
	case AskTags:
		return "the tags of " + q.Repo.String()
	case AskHistory:
		return "the catalog's history"
	case AskProofs:
		return "what others signed about " + Image{q.Repo, q.Digest}.String()
	case AskBeside:
		return "what lies beside " + Image{q.Repo, q.Digest}.String()
	case AskReview:
		return "the reviews of " + q.Entry.Image + ":" + q.Entry.Version
	case AskRecords:
		return "the records about " + Image{q.Repo, q.Digest}.String()
	case AskScan, AskRescan:
		return "the scan of " + Image{q.Repo, q.Digest}.String() + " by " + q.Scanner
	}
	return Image{q.Repo, q.Digest}.String()
}
