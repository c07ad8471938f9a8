package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

// mostListed is how many packages, vulnerabilities or licences one line of a profile names.
const mostListed = 20

// profiles writes, folded, what a reviewer decides by: one section for each version that is to be admitted or was refused after it was examined.
func (m *printer) profiles(ps []reconcile.Profile) {
	for _, p := range ps {
		m.printf("<details><summary>%s — evidence</summary>\n\n| | |\n|---|---|\n", code(p.Image))
		for _, row := range profileRows(p) {
			m.printf("| %s | %s |\n", row[0], row[1])
		}
		m.printf("\n</details>\n\n")
	}
}

// profileRows are the rows of one profile: a word of ours, and Markdown in which everything foreign is escaped.
func profileRows(p reconcile.Profile) [][2]string {
	rows := [][2]string{{"source", fmt.Sprintf("%s · %s · %s", code(p.Source.String()+"@"+p.Digest.Short()), codes(p.Platforms), size(p.Bytes))}}
	add := func(what, value string) {
		if value != "" {
			rows = append(rows, [2]string{what, value})
		}
	}
	add("for", joined(whole(p.Purpose), whole(p.Owner)))
	add("signed upstream", signers(p.Upstream))
	add("base", base(p))
	add("licences", codes(p.Licenses))
	for _, s := range p.Scanners {
		add("scanner", scannerRow(s))
	}
	add("together", together(p))
	add("rules", ruleCounts(p.Rules))
	add("approval", reviewRow(p.Review))
	if c := p.Since; c == nil {
		add("compared", "first version")
	} else {
		rows = append(rows, comparisonRows(*c)...)
	}
	return rows
}

func whole(s string) string {
	if s == "" {
		return ""
	}
	return code(s)
}

// codes shows the first of a list, each escaped by itself, and counts the rest.
func codes(list []string) string {
	var out []string
	for i, s := range list {
		if i == mostListed {
			out = append(out, fmt.Sprintf("and %d more", len(list)-mostListed))
			break
		}
		out = append(out, code(s))
	}
	return strings.Join(out, ", ")
}

func joined(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " · ")
}

func signers(all []reconcile.ProfileSigner) string {
	var out []string
	for _, s := range all {
		out = append(out, code(s.Signed)+" by "+code(s.Signer))
	}
	return strings.Join(out, ", ")
}

func base(p reconcile.Profile) string {
	var users []string
	for _, u := range p.Users {
		users = append(users, code(cmp.Or(u, "root")))
	}
	support := ""
	if s := p.Support; s != nil {
		switch {
		case !s.Until.IsZero():
			support = "maintained until " + s.Until.Format(time.DateOnly)
		case s.Ended:
			support = "**no longer maintained**"
		}
	}
	runs := ""
	if len(users) > 0 {
		runs = "runs as " + strings.Join(users, ", ")
	}
	return joined(whole(p.System), support, runs)
}

var severityOrder = []reconcile.Severity{reconcile.Critical, reconcile.High, reconcile.Medium, reconcile.Low, reconcile.Negligible, reconcile.Unknown}

func severities(counts map[string]int) string {
	var out []string
	for _, s := range severityOrder {
		if n := counts[string(s)]; n > 0 {
			out = append(out, fmt.Sprintf("%d %s", n, s))
		}
	}
	if len(out) == 0 {
		return "nothing known"
	}
	return strings.Join(out, ", ")
}

func scannerRow(s reconcile.ProfileScan) string {
	if s.NoVerdict != "" {
		return code(s.Scanner) + ": **no verdict**: " + code(s.NoVerdict)
	}
	age := ""
	if !s.Database.IsZero() {
		age = "database of " + s.Database.UTC().Format("2006-01-02 15:04 UTC")
	}
	return joined(code(strings.TrimSpace(s.Scanner+" "+s.Version)), fmt.Sprintf("%d packages", s.Packages), severities(s.Severities), age)
}

func together(p reconcile.Profile) string {
	if len(p.Scanners) == 0 {
		return ""
	}
	disputed := ""
	if len(p.Disputed) > 0 {
		disputed = fmt.Sprintf("they disagree on %d: %s", len(p.Disputed), codes(p.Disputed))
	}
	return joined(severities(p.Severities), fmt.Sprintf("%d with a fix", p.Fixable), disputed)
}

func ruleCounts(rules []reconcile.ProfileRule) string {
	counts := map[string]int{}
	var failed []string
	for _, r := range rules {
		counts[r.Result]++
		if r.Result == "failed" {
			failed = append(failed, r.Rule)
		}
	}
	out := fmt.Sprintf("%d passed, %d warned, %d waived, %d failed", counts["passed"], counts["warned"], counts["waived"], counts["failed"])
	if len(failed) > 0 {
		out += ": " + codes(distinct(failed))
	}
	return out
}

func reviewRow(r *reconcile.Review) string {
	if r == nil {
		return ""
	}
	var by []string
	for _, a := range r.Approvers {
		by = append(by, a.Login)
	}
	approvers := ""
	if len(by) > 0 {
		approvers = "by " + codes(by)
	}
	return joined(code(string(r.State)), approvers, whole(r.Reason))
}

func comparisonRows(c reconcile.Comparison) [][2]string {
	sign := "+"
	if c.Bytes < 0 {
		sign, c.Bytes = "−", -c.Bytes
	}
	packages := fmt.Sprintf("+%d −%d ~%d packages", len(c.Added), len(c.Removed), len(c.Updated))
	if c.Unlisted {
		packages = "what is installed can't be compared"
	}
	rows := [][2]string{{"compared", fmt.Sprintf("with %s, approved now · %d fixed, %d introduced · %s · %s%s", code(c.Version), len(c.Fixed), len(c.Introduced), packages, sign, size(c.Bytes))}}
	for _, x := range []struct {
		what string
		list []string
	}{{"introduced", c.Introduced}, {"fixed", c.Fixed}, {"added", c.Added}, {"removed", c.Removed}, {"updated", c.Updated}, {"configuration", c.Config}} {
		if len(x.list) > 0 {
			rows = append(rows, [2]string{x.what, codes(x.list)})
		}
	}
	return rows
}
