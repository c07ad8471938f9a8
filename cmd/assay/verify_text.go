package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/report"
)

// shown makes a record's text fit for a terminal: what is more than plain printable text on one line is quoted, and what is long is cut.
func shown(s string) string {
	if len(s) > 500 {
		s = strings.ToValidUTF8(s[:500], "") + "…"
	}
	if q := strconv.Quote(s); q != `"`+s+`"` || s == "" {
		return q
	}
	return s
}

func when(t time.Time) string {
	if t.IsZero() {
		return "an unknown time"
	}
	return t.UTC().Format("2006-01-02 15:04 UTC")
}

// text tells the chain to a person.
func (c *chain) text() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("%s", c.Image)
	if !c.Identity.IsZero() {
		line("  known as %s", c.Identity)
	}
	c.tellApproval(line)
	c.tellUpstream(line)
	c.tellVerdict(line)
	c.tellContents(line)
	c.tellSignatures(line)
	if len(c.Problems) > 0 {
		line("\nNot proven")
		for _, p := range c.Problems {
			line("  ✗ %s", report.Plain(p)) // a reason may quote what a record says
		}
	}
	return b.String()
}

func (c *chain) tellApproval(line func(string, ...any)) {
	line("\nApproved")
	a := c.Approval
	if a == nil {
		line("  nothing is on record")
		return
	}
	line("  as %s, from %s, recorded %s", shown(a.Image+":"+a.Version), shown(a.Source), when(c.Approved))
	line("  in %s%s", place(a.Catalog, a.Commit), entry(a.Origin))
	r := a.Review
	switch {
	case r == nil:
		line("  by whom is not on record: no forge was asked")
		return
	case r.State != reconcile.Approved:
		line("  the review was %s", shown(string(r.State)))
	case r.Baseline:
		line("  resting on the reviewed baseline")
	}
	for _, p := range r.Approvers {
		who := shown(p.Login)
		if p.Owner != "" {
			who += " for " + shown(p.Owner)
		}
		if p.Rule != "" {
			who += ", code owner of " + shown(p.Rule)
		}
		line("  by %s", who)
	}
	if r.PullRequest > 0 {
		line("  in pull request %d by %s %s", r.PullRequest, shown(r.Author), shown(r.URL))
	}
	if r.Head != "" || r.Merge != "" {
		line("  reviewed at %s, merged as %s", shown(r.Head), shown(r.Merge))
	}
}

func (c *chain) tellUpstream(line func(string, ...any)) {
	if len(c.Upstream) > 0 {
		line("\nWhere it comes from")
	}
	for _, x := range c.Upstream {
		if x.Signed == "image" {
			line("  signed by %s", shown(x.Signer))
		} else {
			line("  %s attested by %s", shown(x.Signed), shown(x.Signer))
		}
	}
}

func place(catalog, commit string) string {
	out := "a catalog without a name"
	if catalog != "" {
		out = "the catalog " + shown(catalog)
	}
	if commit != "" {
		out += " at " + shown(commit)
	}
	return out
}

func entry(o reconcile.Origin) string {
	if o.File == "" {
		return ""
	}
	return ", " + shown(o.File) + ":" + strconv.Itoa(o.Line)
}

func (c *chain) tellVerdict(line func(string, ...any)) {
	line("\nJudged")
	v := c.Verdict
	if v == nil {
		line("  nothing is on record")
		return
	}
	line("  %s on %s by the policy of %s", shown(v.Result), when(v.Verified), place(v.Policy, v.Commit))
	for _, o := range c.Otherwise {
		line("  but %s", shown(o))
	}
	for _, r := range v.Rules {
		line("  rule %s of %s: %s", shown(r.Rule), shown(r.Policy), shown(r.Result))
		for _, f := range r.Findings {
			line("    %s", shown(f))
		}
	}
	for _, w := range v.Waivers {
		line("  waiver of %s from %s until %s: %s", shown(w.ID), shown(w.Rule), w.Expires.UTC().Format(time.DateOnly), shown(w.Reason))
	}
	if len(v.Scans) == 0 {
		line("  on no scan")
	}
	for _, s := range v.Scans {
		line("  on the scan by %s %sof %s on %s, with a database of %s", shown(s.Scanner), spaced(s.Version), shown(s.Platform.String()), when(s.Finished), when(s.Database))
	}
}

func spaced(s string) string {
	if s == "" {
		return ""
	}
	return shown(s) + " "
}

func (c *chain) tellContents(line func(string, ...any)) {
	line("\nContains")
	for _, m := range c.Manifests {
		if !m.runs {
			continue
		}
		var has []string
		for _, lister := range m.Inventory {
			has = append(has, "inventory by "+shown(lister))
		}
		if m.Bill {
			has = append(has, "CycloneDX bill of materials")
		}
		for _, s := range m.Scans {
			has = append(has, "findings of "+shown(s))
		}
		if len(has) == 0 {
			has = []string{"nothing is on record"}
		}
		line("  %s: %s", m.what(c.root), strings.Join(has, ", "))
	}
}

func (c *chain) tellSignatures(line func(string, ...any)) {
	line("\nSigned")
	for _, m := range c.Manifests {
		line("  %s", m.what(c.root))
		for _, r := range m.Records {
			switch {
			case r.Refused:
				line("    ✗ %s, refused: %s", r.Format, shown(r.Problem))
			case r.Problem != "":
				line("    · %s, which counts for nothing here: %s", r.Format, shown(r.Problem))
			case r.Predicate == "":
				line("    ✓ signature (%s) by %s, %s", r.Format, shown(r.Signer), when(r.Time))
			}
		}
	}
}
