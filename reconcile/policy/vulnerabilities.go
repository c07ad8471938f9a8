package policy

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/assay-oci/assay/reconcile"
)

type vulnerabilities struct {
	Deny    string `hcl:"deny,optional" default:"\"high\"" doc:"This severity and above: \"negligible\", \"low\", \"medium\", \"high\" or \"critical\". Where scanners differ, the highest counts."`
	Fixable bool   `hcl:"fixable,optional" default:"false" doc:"Only those with a fix."`
	Grace   string `hcl:"grace,optional" default:"\"0s\"" doc:"For how long after its publication a vulnerability is let pass. One without a date, or with a date to come, has no grace."`
	Quorum  int    `hcl:"quorum,optional" default:"1" doc:"How many scanners must report it, of those that gave a verdict and cover the package's ecosystem; never more than there are. \"builtin\" and \"osv-scanner\" read the same data and count as one."`
	Unknown string `hcl:"unknown,optional" default:"\"deny\"" doc:"What becomes of a vulnerability whose severity no scanner knows: \"deny\" or \"allow\"."`
}

func init() {
	register("vulnerabilities", "Vulnerabilities that scanners found, merged by package and identifier (a CVE where there is one). "+
		"A platform without a verdict, or one on which no scanner saw a package, is a finding too: `no-verdict`, `no-packages`.",
		`rule "vulnerabilities" {
  deny    = "high"
  fixable = true
  grace   = "168h"
  quorum  = 1
}
`, buildVulnerabilities)
}

var severities = []reconcile.Severity{reconcile.Negligible, reconcile.Low, reconcile.Medium, reconcile.High, reconcile.Critical}

func buildVulnerabilities(p vulnerabilities, body hcl.Body) (reconcile.Reads, check, hcl.Diagnostics) {
	grace, diags := duration(body, "grace", p.Grace)
	p.Deny, p.Unknown = or(p.Deny, string(reconcile.High)), or(p.Unknown, "deny")
	if !slices.Contains(severities, reconcile.Severity(p.Deny)) {
		diags = append(diags, mistake(at(body, "deny"), "Invalid deny", "%q is no severity; known are %q.", clean(p.Deny, 80), severities))
	}
	if p.Unknown != "deny" && p.Unknown != "allow" {
		diags = append(diags, mistake(at(body, "unknown"), "Invalid unknown", `%q is none of "deny" and "allow".`, clean(p.Unknown, 80)))
	}
	if p.Quorum == 0 {
		p.Quorum = 1
	}
	if p.Quorum < 0 || p.Quorum > 100 {
		diags = append(diags, mistake(at(body, "quorum"), "Invalid quorum", "A number from 1 to 100 is needed here."))
	}
	return reconcile.ReadsScans, func(s reconcile.Subject, now time.Time) []reconcile.Finding { return p.judge(s, grace, now) }, diags
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// denied is one vulnerability that the rule denies, and where.
type denied struct {
	merged
	platforms []string
}

func (p vulnerabilities) judge(s reconcile.Subject, grace time.Duration, now time.Time) []reconcile.Finding {
	if s.Evidence.Tree == nil {
		return notRead()
	}
	runnable := s.Evidence.Tree.Runnable()
	if len(runnable) == 0 {
		return notRunnable()
	}
	var out []reconcile.Finding
	all := map[string]*denied{}
	for _, m := range runnable {
		vs := verdicts(s, m.Digest, 0, now)
		if f := unscanned(vs, platformName(m)); f != nil {
			out = append(out, *f)
			continue
		}
		for _, v := range merge(vs) {
			if !p.denies(v, vs, grace, now) {
				continue
			}
			key := v.key + "\x00" + v.id
			if all[key] == nil {
				all[key] = &denied{merged: v}
			}
			all[key].add(v, platformName(m))
		}
	}
	keys := make([]string, 0, len(all))
	for k := range all {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		out = append(out, all[k].finding(len(runnable)))
	}
	return out
}

// add takes the worst of what was found on several platforms.
func (d *denied) add(v merged, platform string) {
	d.platforms = append(d.platforms, platform)
	if v.severity.Rank() > d.severity.Rank() {
		d.severity = v.severity
	}
	d.unknown = d.severity.Rank() == 0
	d.fixed = append(d.fixed, v.fixed...)
	d.scanners = append(d.scanners, v.scanners...)
	for _, list := range []*[]string{&d.fixed, &d.scanners, &d.platforms} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
}

// unscanned is the finding for a platform about which no scanner said anything, or on which none saw anything.
func unscanned(vs []verdict, platform string) *reconcile.Finding {
	var silent []string
	seen, gave := 0, 0
	for _, v := range vs {
		if v.without != "" {
			silent = append(silent, v.scanner+": "+clean(v.without, 200))
			continue
		}
		gave++
		seen += max(v.scan.Packages, len(v.scan.Vulnerabilities))
	}
	switch {
	case gave == 0 && len(silent) == 0:
		return &reconcile.Finding{ID: "no-verdict", Summary: "no scanner has looked at " + platform, Detail: "the catalog must declare a scanner"}
	case gave == 0:
		return &reconcile.Finding{ID: "no-verdict", Summary: "no scanner gave a verdict on " + platform, Detail: strings.Join(silent, "; ")}
	case seen == 0:
		return &reconcile.Finding{ID: "no-packages", Summary: "no scanner saw a package on " + platform + ", so nothing can be said about its vulnerabilities",
			Detail: "if it really has none, as a static binary may, ask for a waiver of no-packages"}
	}
	return nil
}

func (p vulnerabilities) denies(v merged, vs []verdict, grace time.Duration, now time.Time) bool {
	switch {
	case v.unknown && p.Unknown == "allow":
		return false
	case !v.unknown && v.severity.Rank() < reconcile.Severity(p.Deny).Rank():
		return false
	case p.Fixable && len(v.fixed) == 0:
		return false
	case inGrace(v.published, grace, now):
		return false
	}
	votes, able := voices(v, vs)
	return votes >= min(p.Quorum, able)
}

// inGrace tells whether a vulnerability was published so recently that it is let pass. A date to come is no date.
func inGrace(published time.Time, grace time.Duration, now time.Time) bool {
	return grace > 0 && !published.IsZero() && !published.After(now) && now.Sub(published) < grace
}

// voices counts the scanners that reported a vulnerability, and those that could have.
func voices(v merged, vs []verdict) (votes, able int) {
	reported, covering := map[string]bool{}, map[string]bool{}
	for _, s := range v.scanners {
		reported[voice(s)], covering[voice(s)] = true, true
	}
	for _, x := range vs {
		if x.without == "" && x.scan.Packages > 0 && covers(x.scan.Ecosystems, v.pkg) {
			covering[voice(x.scanner)] = true
		}
	}
	return len(reported), len(covering)
}

// covers tells whether a scanner's database covers the package's ecosystem. "Debian" covers "Debian:12"; another release doesn't.
func covers(ecosystems []string, p reconcile.Package) bool {
	want := p.Ecosystem
	if want == "" {
		want = ecosystemOf(p.PURL)
	}
	for _, e := range ecosystems {
		if strings.EqualFold(e, want) || baseEcosystem(e) == baseEcosystem(want) && (!strings.Contains(e, ":") || !strings.Contains(want, ":")) {
			return want != ""
		}
	}
	return false
}

// ecosystemOf names the ecosystem of a package URL.
func ecosystemOf(purl string) string {
	name := strings.TrimPrefix(purl, "pkg:")
	longest := ""
	for ecosystem, typ := range purlTypes {
		if strings.HasPrefix(name, typ+"/") && len(typ) > len(purlTypes[longest]) {
			longest = ecosystem
		}
	}
	return longest
}

func (d *denied) finding(platforms int) reconcile.Finding {
	name, version := clean(d.pkg.Name, 200), clean(d.pkg.Version, 100)
	summary := fmt.Sprintf("%s %s in %s %s", d.severity, d.id, name, version)
	if d.unknown {
		summary = fmt.Sprintf("%s of unknown severity in %s %s", d.id, name, version)
	}
	if len(d.platforms) < platforms {
		summary += " on " + strings.Join(d.platforms, ", ")
	}
	if s := clean(strings.TrimSpace(d.summary), 300); s != "" {
		summary += ": " + s
	}
	return reconcile.Finding{Severity: d.severity, ID: d.id, Package: d.pkg.Name, Summary: summary + " (" + strings.Join(d.scanners, ", ") + ")", Detail: d.remedy(name, version)}
}

func (d *denied) remedy(name, version string) string {
	if len(d.fixed) == 0 {
		return "no version with a fix is known: use an image without " + name + ", or ask for a waiver"
	}
	fixed := d.fixed
	more := ""
	if len(fixed) > 5 {
		fixed, more = fixed[:5], " or another"
	}
	return fmt.Sprintf("update %s %s to %s%s, or ask for a waiver", name, version, clean(strings.Join(fixed, " or "), 300), more)
}
