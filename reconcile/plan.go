package reconcile

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"
)

// Kind is what an action does.
type Kind string

// The kinds, in the order in which they happen to an image.
const (
	Copy   Kind = "copy"   // content by digest, without a tag
	Sign   Kind = "sign"   // make the record of a signature
	Attest Kind = "attest" // make the record of an attestation
	Place  Kind = "place"  // write a record beside the image
	TagIt  Kind = "tag"
	Untag  Kind = "untag"
	Delete Kind = "delete"
	Retire Kind = "retire" // delete records that newer ones replace
)

var phase = map[Kind]int{Copy: 0, Sign: 1, Attest: 2, Place: 3, TagIt: 4, Untag: 5, Delete: 6, Retire: 7}

// An Action is one difference between what is and what shall be, and says all that is needed to remove it. It is plain data.
type Action struct {
	ID        string     `json:"id"` // stable: the same difference has the same ID in every plan
	Kind      Kind       `json:"kind"`
	Title     string     `json:"title"`               // the image's name and version, for people
	Digest    Digest     `json:"digest"`              // what it is about
	From      Repo       `json:"from,omitzero"`       // copy: where to read; place: the holder of the record, if none was made
	To        Repo       `json:"to,omitzero"`         // where to write; zero for sign and attest
	Tag       Tag        `json:"tag,omitzero"`        // tag, untag
	Statement *Statement `json:"statement,omitempty"` // sign, attest
	Record    string     `json:"record,omitempty"`    // place: the ID of the action that made it, or the record's own ID at From
	Remove    []Removal  `json:"remove,omitempty"`    // delete, retire: manifests in this order
	Drops     []Tag      `json:"drops,omitempty"`     // delete: the tags that disappear with it
	Revoked   *Revoked   `json:"revoked,omitempty"`   // delete: set if it goes because it was revoked
	Bytes     int64      `json:"bytes,omitempty"`     // copy: the size of all blobs
	Reason    string     `json:"reason"`
	If        If         `json:"if"`
	Needs     []string   `json:"needs,omitempty"` // IDs of the actions that must be done before
	After     []string   `json:"after,omitempty"` // IDs of the actions that must have ended before, however they end
	Origin    Origin     `json:"origin,omitzero"`

	Beside []Attachment `json:"beside,omitempty"` // place: records of others at From, in place of Record
}

// Revoked is the catalog's word on why a digest must not exist. It is the author's text, to be shown escaped.
type Revoked struct {
	Reason      string `json:"reason"`
	Replacement string `json:"replacement,omitempty"` // the version to move to
}

// A Removal is one manifest to delete. Subject is set where it is a record about another one.
type Removal struct {
	Digest  Digest `json:"digest"`
	Subject Digest `json:"subject,omitzero"`
	Record  string `json:"record,omitempty"` // retire: the ID of one signature among others in the manifest, which stays
}

// If holds the preconditions of an action. Apply checks them right before it writes; where one doesn't hold, the outcome is Stale.
type If struct {
	Commit string  `json:"commit,omitempty"` // the catalog's branch is still at this commit
	Was    *Digest `json:"was,omitempty"`    // the tag still names this digest; an empty digest: there is no such tag
}

// A Plan is everything that one run will do, and why it won't do the rest. It is sorted, and the same input gives the same bytes.
type Plan struct {
	Schema  string `json:"schema"`
	Catalog string `json:"catalog,omitempty"` // its repository: a URL without credentials
	Commit  string `json:"commit"`
	// Files are those of the catalog that a pull request changes, of one that changes nothing but images: what stands in others isn't its business. Nil if all is.
	Files      []string       `json:"files,omitzero"`
	Made       time.Time      `json:"made,omitzero"` // the time that it was planned for, by which ages are told
	Registries []PlanRegistry `json:"registries,omitempty"`
	// Owners are those of the images that the plan speaks of, by the images' labels.
	Owners  map[string]string `json:"owners,omitempty"`
	Actions []Action          `json:"actions"`
	Blocked []Finding         `json:"blocked"`
	// Violations are what approved images that the registries hold violate now. What becomes of them stands among the actions.
	Violations []Finding `json:"violations"`
	Notes      []Finding `json:"notes"`
	// Profiles describe the versions that are to be admitted, and those that are blocked but could be examined.
	Profiles []Profile `json:"profiles,omitempty"`
	Gaps     []Gap     `json:"gaps"`
}

// PlanRegistry is a registry of the catalog by the name that people use for it.
type PlanRegistry struct {
	Name   string `json:"name"`
	Prefix Prefix `json:"prefix"` // everything below it is owned
}

// PlanSchema is the version of a plan's JSON form. Fields may be added to it without a new version.
const PlanSchema = "assay.plan/v1"

// MarshalIndent gives the plan as JSON for people and machines, the same bytes for the same plan.
func (p Plan) MarshalIndent() ([]byte, error) {
	b, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write plan: %w", err)
	}
	return append(b, '\n'), nil
}

// Empty tells whether there is nothing to do.
func (p Plan) Empty() bool { return len(p.Actions) == 0 }

// id gives the action its stable name.
func (a Action) withID() Action {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n%s\n%s\n", a.Kind, a.Digest, a.To, a.Tag, a.Record)
	for _, r := range a.Remove {
		if a.Kind == Retire {
			fmt.Fprintf(h, "%s %s\n", r.Digest, r.Record)
		}
	}
	if s := a.Statement; s != nil {
		// the time isn't part of it: the same difference has the same ID whenever it is seen
		fmt.Fprintf(h, "%s\n%s\n%s\n%s\n%s\n%s\n", s.Format, s.Signer, s.Subject, s.Identity, s.PredicateType, s.About)
	}
	a.ID = string(a.Kind) + "-" + hex.EncodeToString(h.Sum(nil))[:16]
	return a
}

func sortActions(as []Action) {
	slices.SortFunc(as, func(a, b Action) int {
		return cmp.Or(strings.Compare(a.Title, b.Title), phase[a.Kind]-phase[b.Kind], a.To.compare(b.To),
			strings.Compare(a.Tag.s, b.Tag.s), strings.Compare(a.Digest.s, b.Digest.s), strings.Compare(a.ID, b.ID))
	})
}

func sortFindings(fs []Finding) {
	sortBy(fs, func(f Finding) string {
		return fmt.Sprintf("%s\x00%08d\x00%s\x00%s\x00%d\x00%s\x00%s\x00%s\x00%s\x00%s", f.Origin.File, f.Origin.Line, f.Image, f.Rule,
			9-f.Severity.Rank(), f.ID, f.Package, f.Scope, f.Digest, f.Summary)
	})
}

// sortBy sorts by a key that is made once for each element.
func sortBy[T any](s []T, key func(T) string) {
	if len(s) < 2 {
		return
	}
	type keyed struct {
		key   string
		value T
	}
	all := make([]keyed, len(s))
	for i, v := range s {
		all[i] = keyed{key(v), v}
	}
	slices.SortStableFunc(all, func(a, b keyed) int { return strings.Compare(a.key, b.key) })
	for i, k := range all {
		s[i] = k.value
	}
}

// ID names a record by its content.
func (r Record) ID() string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n", r.Statement.Format, r.MediaType, r.Statement.Subject)
	h.Write(r.Payload)
	keys := make([]string, 0, len(r.Annotations))
	for k := range r.Annotations {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		fmt.Fprintf(h, "\n%q=%q", k, r.Annotations[k])
	}
	return hex.EncodeToString(h.Sum(nil))[:32]
}
