// Package report renders what a run planned and did: for people at a terminal, for a pull request, and for machines. It is pure: the same
// report gives the same bytes. All text that comes from images, registries or pull requests passes Plain or code first.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/assay-oci/assay/reconcile"
)

// Schema is the version of the JSON form of a report. Fields may be added without a new version.
const Schema = "assay.report/v1"

// JSON writes a report for machines. A preview has no result.
func JSON(w io.Writer, r reconcile.Report) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Schema  string  `json:"schema"`
		Summary Summary `json:"summary"`
		reconcile.Report
	}{Schema, Summarize(r), r})
}

// Summary counts what a report says. Add, Change and Remove count images' places (one version in one repository), as planned.
type Summary struct {
	Add        int `json:"add"`        // versions that enter a repository, or get records there
	Change     int `json:"change"`     // tags that move
	Remove     int `json:"remove"`     // tags and digests that go
	Blocked    int `json:"blocked"`    // images that are refused
	Violations int `json:"violations"` // approved images that newly violate their policy
	Gaps       int `json:"gaps"`       // things that could not be read
	Done       int `json:"done"`       // actions; zero in a preview, like the three below
	Failed     int `json:"failed"`     // or the run itself
	Stale      int `json:"stale"`
	Skipped    int `json:"skipped"`
}

// Summarize counts.
func Summarize(r reconcile.Report) Summary {
	var s Summary
	add := map[string]bool{}
	for _, a := range r.Plan.Actions {
		switch {
		case a.Kind == reconcile.Retire:
		case a.Kind == reconcile.Untag || a.Kind == reconcile.Delete:
			s.Remove++
		case moves(a):
			s.Change++
		case !a.To.IsZero():
			add[a.Title+"\x00"+a.To.String()] = true
		}
	}
	s.Add = len(add)
	s.Blocked = images(Blocked(r))
	s.Violations = images(r.Plan.Violations)
	s.Gaps = len(r.Plan.Gaps)
	if r.Error != "" {
		s.Failed = 1
	}
	if r.Result == nil {
		return s
	}
	for _, o := range r.Result.Outcomes {
		switch o.Status {
		case reconcile.Done:
			s.Done++
		case reconcile.Failed:
			s.Failed++
		case reconcile.Stale:
			s.Stale++
		case reconcile.Skipped:
			s.Skipped++
		}
	}
	return s
}

// Blocked returns what was refused when planning, and what a registry turned out to be unable to do.
func Blocked(r reconcile.Report) []reconcile.Finding {
	out := r.Plan.Blocked
	if r.Result != nil {
		out = append(append([]reconcile.Finding(nil), out...), r.Result.Blocked...)
	}
	return told(out)
}

// told drops what would read the same again, as when the rules of two scopes find the same.
func told(fs []reconcile.Finding) []reconcile.Finding {
	seen := map[reconcile.Finding]bool{}
	var out []reconcile.Finding
	for _, f := range fs {
		f.Scope = ""
		if !seen[f] {
			seen[f] = true
			out = append(out, f)
		}
	}
	return out
}

// Line is the one line that every run ends with.
func (s Summary) Line(applied bool) string {
	if s == (Summary{}) {
		return "Nothing to do: the registries match the catalog."
	}
	var parts []string
	part := func(n int, format string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf(format, n))
		}
	}
	if !applied {
		part(s.Add, "%d to add")
		part(s.Change, "%d to change")
		part(s.Remove, "%d to remove")
		part(s.Failed, "%d failed")
	} else {
		part(s.Done, "%d done")
		part(s.Failed, "%d failed")
		part(s.Stale, "%d stale")
		part(s.Skipped, "%d skipped")
	}
	part(s.Blocked, "%d blocked")
	part(s.Violations, "%d in violation")
	part(s.Gaps, "%d could not be read")
	if len(parts) == 0 {
		parts = []string{"nothing to do"}
	}
	head := "Plan: "
	if applied {
		head = "Reconciled: "
	}
	return head + strings.Join(parts, ", ") + "."
}

func moves(a reconcile.Action) bool {
	return a.Kind == reconcile.TagIt && a.If.Was != nil && !a.If.Was.IsZero()
}

// images counts findings by the image that they are about; a finding about none counts by itself.
func images(fs []reconcile.Finding) int {
	seen := map[string]bool{}
	for i, f := range fs {
		k := f.Image
		if k == "" {
			k = fmt.Sprint(i)
		}
		seen[k] = true
	}
	return len(seen)
}

// group is what one image has to do.
type group struct {
	title  string
	origin reconcile.Origin
	lines  []line
}

// line is one row of a group: an action, or several of one kind that differ in nothing that a person decides by.
type line struct {
	mark     byte // '+', '~' or '-'
	verb     string
	what     string
	reason   string
	count    int
	outcomes map[reconcile.Status]int
	failures []string
}

// groups folds the actions of a report by image, keeping the plan's order.
func groups(r reconcile.Report) []group {
	outcomes := map[string]reconcile.Outcome{}
	if r.Result != nil {
		for _, o := range r.Result.Outcomes {
			outcomes[o.ID] = o
		}
	}
	var out []group
	for _, a := range r.Plan.Actions {
		if len(out) == 0 || out[len(out)-1].title != a.Title {
			out = append(out, group{title: a.Title, origin: a.Origin})
		}
		g := &out[len(out)-1]
		g.fold(describe(a), outcomes[a.ID])
	}
	return out
}

func (g *group) fold(l line, o reconcile.Outcome) {
	i := slices.IndexFunc(g.lines, func(x line) bool { return x.verb == l.verb && x.what == l.what && x.reason == l.reason })
	if i < 0 {
		l.outcomes = map[reconcile.Status]int{}
		g.lines = append(g.lines, l)
		i = len(g.lines) - 1
	}
	g.lines[i].count++
	if o.Status == "" {
		return
	}
	g.lines[i].outcomes[o.Status]++
	if o.Status != reconcile.Done && o.Reason != "" {
		g.lines[i].failures = append(g.lines[i].failures, o.Reason)
	}
}

func describe(a reconcile.Action) line {
	l := line{mark: '+', verb: string(a.Kind), reason: a.Reason}
	if a.Statement == nil {
		a.Statement = &reconcile.Statement{} // of a report that is read back, and lacks what it should have
	}
	switch a.Kind {
	default: // of a report that is read back, and says what it likes
		l.verb, l.what = "unknown", string(a.Kind)
	case reconcile.Copy:
		l.what = fmt.Sprintf("%s (%s) from %s", a.To, size(a.Bytes), a.From)
	case reconcile.Sign:
		l.what = fmt.Sprintf("as %s by %q", a.Statement.Identity, a.Statement.Signer)
		l.reason = "" // each manifest has its own; the count says it
	case reconcile.Attest:
		l.what = fmt.Sprintf("%s, signed by %q", attested(*a.Statement), a.Statement.Signer)
		if strings.HasPrefix(l.reason, "no attestation of ") {
			l.reason = "" // the line says it
		}
	case reconcile.Place:
		l.what = "records in " + a.To.String()
	case reconcile.TagIt:
		l.what = a.To.String() + ":" + a.Tag.String()
		if moves(a) {
			l.mark = '~'
		}
	case reconcile.Retire:
		l.mark, l.what = '-', "records in "+a.To.String()
	case reconcile.Untag:
		l.mark, l.what = '-', a.To.String()+":"+a.Tag.String()
	case reconcile.Delete:
		l.mark, l.what = '-', fmt.Sprintf("%s@%s", a.To, a.Digest.Short())
		if len(a.Drops) > 0 {
			var tags []string
			for _, t := range a.Drops {
				tags = append(tags, t.String())
			}
			l.what += " with tag " + strings.Join(tags, ", ")
		}
	}
	return l
}

// attested says in a word or two what an attestation is about.
func attested(s reconcile.Statement) string {
	switch s.PredicateType {
	case reconcile.VulnerabilityPredicate:
		return "scan by " + s.About
	case reconcile.InventoryPredicate:
		return "inventory by " + s.About
	case reconcile.BillPredicate:
		return "bill of materials"
	case reconcile.VerdictPredicate:
		return "verdict"
	case reconcile.ApprovalPredicate:
		return "approval"
	case reconcile.UpstreamPredicate:
		return "what others signed"
	}
	return s.PredicateType
}
