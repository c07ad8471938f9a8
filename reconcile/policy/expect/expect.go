// Package expect runs a catalog's expectations of its own policies: images with made-up evidence, and the verdict that they should get.
//
// A file named *.policytest.hcl holds test blocks; README.md beside this file describes them. They are judged by the rules and waivers that the
// catalog has where the file stands, without any network call.
package expect

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/assay-oci/assay/reconcile"
)

// A Test is one image and what is expected of it.
type Test struct {
	Name     string
	Folder   string // whose policies judge it
	Now      time.Time
	Subject  reconcile.Subject
	Blocked  bool // the verdict that is expected
	Findings []Expected
	Only     bool // whether there may be no finding beside Findings
	At       hcl.Range
}

// Expected is a finding that must be there. An empty field is any.
type Expected struct {
	Rule    string `hcl:"rule"`
	ID      string `hcl:"id,optional"`
	Package string `hcl:"package,optional"`
	Warning *bool  `hcl:"warning,optional"`
	Unknown *bool  `hcl:"unknown,optional"` // whether it rests on missing evidence
}

// A Result is what became of a test.
type Result struct {
	Name     string              `json:"name"`
	File     string              `json:"file"`
	Line     int                 `json:"line"`
	Passed   bool                `json:"passed"`
	Verdict  string              `json:"verdict"` // "admitted" or "blocked"
	Problems []string            `json:"problems,omitempty"`
	Findings []reconcile.Finding `json:"findings"`
}

// A Place is what judges images in one folder of a catalog.
type Place struct {
	Rules    []reconcile.Bound
	Scope    string // folder of the scope
	Waivers  []reconcile.Waiver
	Scanners []reconcile.ScannerSpec
}

// Run judges the test's image by what the place has, as a plan would.
func (t Test) Run(p Place) Result {
	w := t.Subject.Want
	w.Rules, w.Scope = p.Rules, p.Scope
	d := reconcile.Desired{Waivers: p.Waivers, Scanners: p.Scanners}
	for _, other := range t.Subject.Siblings {
		other.Scope = p.Scope
		d.Wants = append(d.Wants, other)
	}
	v := reconcile.Judge(d, w, t.Subject.Evidence, t.Now)
	blocked := len(v.Refused) > 0
	r := Result{Name: t.Name, File: t.At.Filename, Line: t.At.Start.Line, Verdict: verdict(blocked), Findings: slices.Concat(v.Refused, v.Warned)}
	if r.Findings == nil {
		r.Findings = []reconcile.Finding{}
	}
	if blocked != t.Blocked {
		r.Problems = append(r.Problems, fmt.Sprintf("the image is %s, not %s", r.Verdict, verdict(t.Blocked)))
	}
	r.Problems = append(r.Problems, t.compare(r.Findings)...)
	r.Passed = len(r.Problems) == 0
	return r
}

func verdict(blocked bool) string {
	if blocked {
		return "blocked"
	}
	return "admitted"
}

// compare says which expected findings are missing and which findings were not expected.
func (t Test) compare(fs []reconcile.Finding) []string {
	var out []string
	for _, e := range t.Findings {
		if !slices.ContainsFunc(fs, e.matches) {
			out = append(out, "there is no finding of "+e.String())
		}
	}
	if !t.Only {
		return out
	}
	for _, f := range fs {
		if !slices.ContainsFunc(t.Findings, func(e Expected) bool { return e.matches(f) }) {
			out = append(out, fmt.Sprintf("not expected: %s %s: %s", f.Rule, f.ID, f.Summary))
		}
	}
	return out
}

func (e Expected) matches(f reconcile.Finding) bool {
	return e.Rule == f.Rule && (e.ID == "" || e.ID == f.ID) && (e.Package == "" || reconcile.Package{Name: f.Package, PURL: f.PURL}.Is(e.Package)) &&
		(e.Warning == nil || *e.Warning == f.Warning) && (e.Unknown == nil || *e.Unknown == f.Unknown)
}

// String names the finding for people.
func (e Expected) String() string {
	parts := []string{"the rule " + e.Rule}
	if e.ID != "" {
		parts = append(parts, "with the identifier "+e.ID)
	}
	if e.Package != "" {
		parts = append(parts, "in the package "+e.Package)
	}
	if e.Warning != nil {
		parts = append(parts, map[bool]string{true: "that only warns", false: "that blocks"}[*e.Warning])
	}
	if e.Unknown != nil {
		parts = append(parts, map[bool]string{true: "for want of evidence", false: "for what was found"}[*e.Unknown])
	}
	return strings.Join(parts, " ")
}
