package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

// mostListed is how many packages, vulnerabilities or licences one line of a profile names.
const mostListed = 20

// evidence is, folded, what a reviewer decides by: one item for each version that is to be admitted or was refused after it was examined.
func (p *page) evidence() *section {
	s := &section{rank: rankFolded, noun: [2]string{"image's evidence", "images' evidence"}, biggest: true}
	for _, x := range p.rows {
		if x.profile == nil {
			continue
		}
		var b strings.Builder
		fmt.Fprintf(&b, "<details><summary>%s — evidence</summary>\n\n| | |\n|---|---|\n", htmlCode(x.title))
		for _, row := range p.profileRows(*x.profile) {
			fmt.Fprintf(&b, "| %s | %s |\n", row[0], row[1])
		}
		b.WriteString("\n" + p.ruleTable(*x.profile) + "</details>\n\n")
		s.add(b.String())
	}
	return s
}

// profileRows are the rows of one profile: a word of ours, and Markdown in which everything foreign is escaped.
func (p *page) profileRows(x reconcile.Profile) [][2]string {
	rows := [][2]string{{"source", joined(code(x.Source.String()+"@"+x.Digest.Short()), codes(x.Platforms), size(x.Bytes))}}
	add := func(what, value string) {
		if value != "" {
			rows = append(rows, [2]string{what, value})
		}
	}
	add("for", joined(code(x.Purpose), code(x.Owner)))
	add("signed upstream", cmp.Or(p.signers(x.Upstream), p.unsigned(x)))
	add("base", p.base(x))
	add("licences", joined(codes(x.Licenses), p.deniedLicenses(x)))
	for _, s := range x.Scanners {
		add("scanner", p.scannerRow(s))
	}
	add("together", together(x))
	add("worst", worst(x.Vulnerabilities))
	add("they disagree", disputes(x.Disputed))
	add("approval", p.approval(x))
	add("rules", ruleCounts(x.Rules))
	if c := x.Since; c == nil {
		add("compared", "first version: nothing of this image is approved now")
	} else {
		rows = append(rows, p.comparisonRows(*c, len(x.Scanners) > 0)...)
	}
	return rows
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

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// age tells how old something was when the plan was made. Without a time of the plan, and for what is younger, it is the time itself.
func (p *page) age(t time.Time) string {
	made := p.r.Plan.Made
	if t.IsZero() {
		return ""
	}
	d := made.Sub(t)
	switch {
	case made.IsZero() || d < 0:
		return "of " + t.UTC().Format("2006-01-02 15:04 UTC")
	case d < time.Hour:
		return fmt.Sprintf("%d min old", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h old", int(d.Hours()))
	}
	return fmt.Sprintf("%d d old", int(d.Hours()/24))
}

// known names a piece of evidence with its age; empty if the age isn't known.
func (p *page) known(what string, t time.Time) string {
	if age := p.age(t); age != "" {
		return what + " " + age
	}
	return ""
}

func (p *page) signers(all []reconcile.ProfileSigner) string {
	var out []string
	for i, s := range all {
		if i == mostListed {
			out = append(out, fmt.Sprintf("and %d more", len(all)-mostListed))
			break
		}
		age := ""
		if a := p.age(s.Time); a != "" {
			age = " (" + a + ")"
		}
		out = append(out, code(s.Signed)+" by "+code(s.Signer)+age)
	}
	return strings.Join(out, ", ")
}

// unsigned says that no signature was found, and whether anybody looked for one.
func (p *page) unsigned(x reconcile.Profile) string {
	if slices.ContainsFunc(x.Rules, func(r reconcile.ProfileRule) bool { return r.Rule == "signature" || r.Rule == "provenance" }) {
		return "nothing by those whom the rules trust"
	}
	return "not looked at: no rule asks for it"
}

func (p *page) base(x reconcile.Profile) string {
	var users []string
	for _, u := range x.Users {
		users = append(users, cmp.Or(u, "root"))
	}
	support := ""
	if s := x.Support; s != nil {
		switch {
		case !s.Until.IsZero() && !p.r.Plan.Made.IsZero() && s.Until.Add(24*time.Hour).Before(p.r.Plan.Made):
			support = "**no longer maintained** since " + s.Until.Format(time.DateOnly)
		case !s.Until.IsZero():
			support = "maintained until " + s.Until.Format(time.DateOnly)
		case s.Ended:
			support = "**no longer maintained**"
		}
		if known := p.known("list of dates", s.Data); support != "" && known != "" {
			support += " (" + known + ")"
		}
	}
	runs := ""
	if len(users) > 0 {
		runs = "runs as " + codes(distinct(users))
	}
	return joined(code(x.System), support, runs)
}

// deniedLicenses are those that a rule speaks against.
func (p *page) deniedLicenses(x reconcile.Profile) string {
	if len(x.Licenses) == 0 && !slices.ContainsFunc(x.Rules, func(r reconcile.ProfileRule) bool { return r.Rule == "licenses" }) {
		return ""
	}
	var denied []string
	for _, f := range p.about(x) {
		if f.Rule == "licenses" {
			denied = append(denied, cmp.Or(f.ID, f.Summary))
		}
	}
	switch {
	case len(denied) > 0:
		return "**not acceptable: " + codes(distinct(denied)) + "**"
	case slices.ContainsFunc(x.Rules, func(r reconcile.ProfileRule) bool { return r.Rule == "licenses" }):
		return "none denied"
	}
	return "no rule judges them"
}

// about are the findings on an image, those that only warn among them.
func (p *page) about(x reconcile.Profile) []reconcile.Finding {
	if p.findings == nil {
		p.findings = map[string][]reconcile.Finding{}
		for _, f := range slices.Concat(p.r.Plan.Blocked, p.r.Plan.Violations, p.r.Plan.Notes) {
			p.findings[f.Image] = append(p.findings[f.Image], f)
		}
	}
	return p.findings[x.Image]
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

func (p *page) scannerRow(s reconcile.ProfileScan) string {
	name := code(strings.TrimSuffix(s.Scanner+" "+s.Version, " "))
	if s.NoVerdict != "" {
		return joined(name+": **no verdict**", code(s.NoVerdict))
	}
	return joined(name, counted(s.Packages, "package", "packages"), severities(s.Severities), cmp.Or(p.known("database", s.Database), "database of unknown age"), p.known("scan", s.Finished))
}

func together(x reconcile.Profile) string {
	if len(x.Scanners) == 0 {
		return ""
	}
	return joined(severities(x.Severities), fmt.Sprintf("%d with a fix", x.Fixable))
}

// worst names the vulnerabilities of the highest severities.
func worst(all []reconcile.ProfileVulnerability) string {
	n := 0
	for n < len(all) && n < mostListed && all[n].Severity.Rank() >= reconcile.High.Rank() {
		n++
	}
	return vulnerabilities(all[:n], len(all))
}

// vulnerabilities writes some, and counts the rest of so many in all.
func vulnerabilities(shown []reconcile.ProfileVulnerability, all int) string {
	var out []string
	for _, v := range shown {
		fix := ""
		if len(v.FixedIn) > 0 {
			fix = ", fixed in " + code(strings.Join(v.FixedIn[:min(len(v.FixedIn), mostNamed)], " or "))
		}
		out = append(out, fmt.Sprintf("%s %s in %s%s", word(v.Severity), code(v.ID), cmp.Or(code(v.Package), "?"), fix))
	}
	if more := all - len(shown); more > 0 && len(shown) > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(out, " · ")
}

// word is a severity in one of the words that there are: a report that is read back may have any.
func word(s reconcile.Severity) string {
	if s.Rank() == 0 {
		return string(reconcile.Unknown)
	}
	return string(s)
}

func disputes(all []reconcile.Dispute) string {
	var out []string
	for i, d := range all {
		if i == mostListed {
			out = append(out, fmt.Sprintf("and %d more", len(all)-mostListed))
			break
		}
		out = append(out, fmt.Sprintf("%s in %s: %s; not %s", code(d.ID), cmp.Or(code(d.Package), "?"), codes(d.Reports), codes(d.Silent)))
	}
	return strings.Join(out, " · ")
}

var results = []string{"passed", "warned", "waived", "failed"}

func ruleCounts(rules []reconcile.ProfileRule) string {
	counts := map[string]int{}
	var failed []string
	for _, r := range rules {
		counts[r.Result]++
		if r.Result == "failed" {
			failed = append(failed, r.Rule)
		}
	}
	var out []string
	for _, result := range results {
		out = append(out, fmt.Sprintf("%d %s", counts[result], result))
	}
	if len(failed) > 0 {
		return strings.Join(out, ", ") + ": " + codes(distinct(failed))
	}
	return strings.Join(out, ", ")
}

// ruleTable shows, folded, how each rule ended and why.
func (p *page) ruleTable(x reconcile.Profile) string {
	if len(x.Rules) == 0 {
		return ""
	}
	found := map[string][]string{}
	for _, f := range p.about(x) {
		found[f.Rule+"\x00"+f.Scope] = append(found[f.Rule+"\x00"+f.Scope], sentence(f))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "<details><summary>Rules: %s</summary>\n\n| rule | policy | scope | result | |\n|---|---|---|---|---|\n", htmlCounts(x.Rules))
	for _, r := range x.Rules {
		why := found[r.Rule+"\x00"+r.Scope]
		if r.Result == "passed" || r.Result == "waived" {
			why = nil
		}
		shown := some(distinct(append(slices.Clone(r.Waived), why...)))
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", code(r.Rule), code(r.Policy), cmp.Or(code(r.Scope), "organization"), code(r.Result), shown)
	}
	b.WriteString("\n</details>\n")
	return b.String()
}

// htmlCounts counts results in words of ours alone.
func htmlCounts(rules []reconcile.ProfileRule) string {
	counts := map[string]int{}
	for _, r := range rules {
		counts[r.Result]++
	}
	var out []string
	for _, result := range results {
		out = append(out, fmt.Sprintf("%d %s", counts[result], result))
	}
	return strings.Join(out, ", ")
}

// approval says who approved, or who must.
func (p *page) approval(x reconcile.Profile) string {
	r := x.Review
	if r == nil {
		return ""
	}
	var by, must []string
	for _, a := range r.Approvers {
		by = append(by, a.Login)
	}
	for _, f := range p.about(x) {
		if f.Rule == "approval" && f.Pending {
			must = append(must, f.Detail)
		}
	}
	approvers, needs, owners := "", "", ""
	if len(by) > 0 {
		approvers = "by " + codes(distinct(by))
	}
	if len(must) > 0 {
		needs = codes(distinct(must))
	}
	if len(r.Owners) > 0 {
		owners = "owned by " + codes(r.Owners)
	}
	pull := ""
	if r.PullRequest > 0 {
		pull = "in pull request " + code(fmt.Sprint(r.PullRequest))
	}
	return joined(code(string(r.State)), approvers, pull, needs, owners, code(r.Reason))
}

// balance counts vulnerabilities fixed and introduced, the bad ones of these by severity.
func balance(c reconcile.Comparison) string {
	counts := map[string]int{}
	for _, v := range c.Introduced {
		if v.Severity.Rank() >= reconcile.High.Rank() {
			counts[string(v.Severity)]++
		}
	}
	bad := ""
	if len(counts) > 0 {
		bad = " (" + severities(counts) + ")"
	}
	return fmt.Sprintf("%d fixed, %d introduced%s", len(c.Fixed), len(c.Introduced), bad)
}

func packages(c reconcile.Comparison) string {
	if c.Unlisted {
		return "what is installed can't be compared"
	}
	return fmt.Sprintf("+%d −%d ~%d packages", len(c.Added), len(c.Removed), len(c.Updated))
}

func grown(bytes int64) string {
	switch {
	case bytes < 0:
		return "−" + size(-bytes)
	case bytes == 0:
		return "same size"
	}
	return "+" + size(bytes)
}

// comparisonRows compare with what is approved now; what is inside only if somebody looked into it.
func (p *page) comparisonRows(c reconcile.Comparison, scanned bool) [][2]string {
	approved := "approved now"
	if !c.Approved.IsZero() {
		approved = "approved since " + c.Approved.UTC().Format(time.DateOnly)
	}
	inside := ""
	if scanned {
		inside = joined(balance(c), packages(c))
	}
	rows := [][2]string{{"compared", joined("with "+code(c.Version)+", "+approved, inside, grown(c.Bytes))}}
	for _, x := range []struct {
		what string
		said string
	}{{"introduced", vulnerabilities(c.Introduced[:min(len(c.Introduced), mostListed)], len(c.Introduced))},
		{"fixed", vulnerabilities(c.Fixed[:min(len(c.Fixed), mostListed)], len(c.Fixed))},
		{"added", codes(c.Added)}, {"removed", codes(c.Removed)}, {"updated", codes(c.Updated)}, {"configuration", codes(c.Config)}} {
		if x.said != "" {
			rows = append(rows, [2]string{x.what, x.said})
		}
	}
	return rows
}
