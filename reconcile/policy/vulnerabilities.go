package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/assay-oci/assay/reconcile"
)

type vulnerabilities struct {
	Deny       string   `hcl:"deny,optional" default:"\"high\"" doc:"This severity and above: \"negligible\", \"low\", \"medium\", \"high\" or \"critical\". Where scanners differ, the highest counts."`
	SeverityOf string   `hcl:"severity_of,optional" default:"the highest" doc:"The scanner whose severity counts where it gave one, such as the one that knows the distribution's own."`
	Fixable    bool     `hcl:"fixable,optional" default:"false" doc:"Only those with a fix."`
	Grace      string   `hcl:"grace,optional" default:"\"0s\"" doc:"For how long a vulnerability is let pass. One without a date, or with a date to come, has no grace."`
	Since      string   `hcl:"since,optional" default:"\"published\"" doc:"When the grace begins: \"published\", or \"seen\" for when it was first found in an image that the registries hold; an image that is new has none then."`
	Quorum     int      `hcl:"quorum,optional" default:"1" doc:"How many scanners must report it, of those that gave a verdict and cover the package's ecosystem; never more than there are. \"builtin\" and \"osv-scanner\" read the same data and count as one."`
	Unknown    string   `hcl:"unknown,optional" default:"\"deny\"" doc:"What becomes of a vulnerability whose severity no scanner knows: \"deny\" or \"allow\"."`
	EPSS       *float64 `hcl:"epss,optional" default:"not looked at" doc:"A probability of exploitation (EPSS) from 0 to 1: a vulnerability that has it or more is denied whatever its severity, fix or date. It needs a scanner that reports EPSS."`
	Exploited  bool     `hcl:"exploited,optional" default:"false" doc:"Whether a vulnerability that is known to be exploited (CISA's KEV) is denied whatever its severity, fix or date. It needs a scanner that reports it."`
	VEX        []vex    `hcl:"vex,block" doc:"Whose OpenVEX, attached to the image where it comes from, excuses vulnerabilities: what its latest word calls not_affected or fixed in this image, by digest or by the name that it has there. One mistake in what they attached, or nobody to look, and nothing is excused."`
}

func init() {
	registerTrusting("vulnerabilities", "Vulnerabilities that scanners found, merged by package and identifier (a CVE where there is one). "+
		"A platform without a verdict, or one on which no scanner saw a package, is a finding too: `no-verdict`, `no-packages`.",
		`rule "vulnerabilities" {
  deny      = "high"
  fixable   = true
  grace     = "168h"
  since     = "published"
  quorum    = 1
  epss      = 0.5
  exploited = true

  vex {
    keyless {
      issuer  = "https://token.actions.githubusercontent.com"
      subject = "https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main"
    }
  }
}
`, buildVulnerabilities)
}

var severities = []reconcile.Severity{reconcile.Negligible, reconcile.Low, reconcile.Medium, reconcile.High, reconcile.Critical}

func buildVulnerabilities(p vulnerabilities, body hcl.Body) (decoded, hcl.Diagnostics) {
	grace, diags := duration(body, "grace", p.Grace)
	ts, more := vexTrusts(body, p.VEX)
	diags = append(diags, more...)
	diags = append(diags, oneOf(body, "unknown", p.Unknown, "deny", "allow")...)
	diags = append(diags, oneOf(body, "since", p.Since, "published", "seen")...)
	p.Deny, p.Unknown, p.Since = or(p.Deny, string(reconcile.High)), or(p.Unknown, "deny"), or(p.Since, "published")
	if !slices.Contains(severities, reconcile.Severity(p.Deny)) {
		diags = append(diags, mistake(at(body, "deny"), "Invalid deny", "%q is no severity; known are %q.", clean(p.Deny, 80), severities))
	}
	if p.Quorum == 0 {
		p.Quorum = 1
	}
	if p.Quorum < 0 || p.Quorum > 100 {
		diags = append(diags, mistake(at(body, "quorum"), "Invalid quorum", "A number from 1 to 100 is needed here."))
	}
	if p.EPSS != nil && !(*p.EPSS > 0 && *p.EPSS <= 1) {
		diags = append(diags, mistake(at(body, "epss"), "Invalid epss", "A probability above 0 and up to 1 is needed here."))
	}
	return decoded{reconcile.ReadsScans, func(s reconcile.Subject, now time.Time) []reconcile.Finding { return p.judge(s, ts, grace, now) }, ts}, diags
}

// denied is one vulnerability that the rule denies, and where.
type denied struct {
	reconcile.Merged
	severity  reconcile.Severity // that which counts
	scanners  []string
	platforms []string
}

func (p vulnerabilities) judge(s reconcile.Subject, ts []reconcile.Trust, grace time.Duration, now time.Time) []reconcile.Finding {
	all, excused := map[string]*denied{}, map[string]bool{}
	vex := excusesOf(s, ts)
	out := onEach(s, func(m reconcile.Manifest, _ string) []reconcile.Finding {
		vs := verdicts(s, m.Digest, 0, now)
		if f := unscanned(vs, platformName(m)); f != nil {
			return []reconcile.Finding{*f}
		}
		for _, v := range reconcile.Merge(scansOf(vs)) {
			if !p.denies(v, grace, now) {
				continue
			}
			key := v.Key + "\x00" + v.ID
			if vex.cover(v, m.Digest) {
				excused[key] = true
				continue
			}
			if all[key] == nil {
				all[key] = &denied{Merged: v}
			}
			all[key].add(v, p.severity(v), platformName(m))
		}
		return nil
	})
	for _, k := range slices.Sorted(maps.Keys(all)) {
		f := all[k].finding(len(s.Evidence.Tree.Runnable()))
		if len(excused) > 0 {
			f.Detail += fmt.Sprintf("; %d others are excused by the image's maker", len(excused))
		}
		out = append(out, f)
	}
	return out
}

// severity is the one that counts.
func (p vulnerabilities) severity(v reconcile.Merged) reconcile.Severity {
	if s := v.Severities()[p.SeverityOf]; s.Rank() > 0 {
		return s
	}
	return v.Severity
}

// add takes the worst of what was found on several platforms.
func (d *denied) add(v reconcile.Merged, severity reconcile.Severity, platform string) {
	d.platforms = append(d.platforms, platform)
	if d.severity == "" || severity.Rank() > d.severity.Rank() {
		d.severity = severity
	}
	d.FixedIn = append(d.FixedIn, v.FixedIn...)
	d.scanners = append(d.scanners, v.Scanners()...)
	for _, list := range []*[]string{&d.FixedIn, &d.scanners, &d.platforms} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
}

// unscanned is the finding for a platform about which no scanner said anything, or on which none saw anything.
func unscanned(vs []verdict, platform string) *reconcile.Finding {
	seen, gave := 0, 0
	for _, v := range vs {
		if v.without == "" {
			gave++
			seen += max(v.scan.Packages, len(v.scan.Vulnerabilities))
		}
	}
	switch {
	case len(vs) == 0:
		return &reconcile.Finding{ID: "no-verdict", Summary: "no scanner has looked at " + platform, Detail: "the catalog must declare a scanner", Unknown: true}
	case gave == 0:
		return &reconcile.Finding{ID: "no-verdict", Summary: "no scanner gave a verdict on " + platform, Detail: reasons(vs), Unknown: true}
	case seen == 0:
		return &reconcile.Finding{ID: "no-packages", Summary: "no scanner saw a package on " + platform + ", so nothing can be said about its vulnerabilities",
			Detail: "if it really has none, as a static binary may, ask for a waiver of no-packages", Unknown: true}
	}
	return nil
}

func (p vulnerabilities) denies(v reconcile.Merged, grace time.Duration, now time.Time) bool {
	if votes, able := v.Votes(); votes < min(p.Quorum, able) {
		return false
	}
	severity := p.severity(v)
	began := v.Published
	if p.Since == "seen" {
		began = v.FirstSeen
	}
	switch {
	case p.EPSS != nil && v.EPSS >= *p.EPSS, p.Exploited && v.Exploited:
		return true
	case severity.Rank() == 0 && p.Unknown == "allow":
		return false
	case severity.Rank() > 0 && severity.Rank() < reconcile.Severity(p.Deny).Rank():
		return false
	case p.Fixable && len(v.FixedIn) == 0:
		return false
	}
	return !inGrace(began, grace, now)
}

// inGrace tells whether a vulnerability was published so recently that it is let pass. A date to come is no date.
func inGrace(published time.Time, grace time.Duration, now time.Time) bool {
	return grace > 0 && !published.IsZero() && !published.After(now) && now.Sub(published) < grace
}

func (d *denied) finding(platforms int) reconcile.Finding {
	name, version := clean(d.Package.Name, 200), clean(d.Package.Version, 100)
	summary := fmt.Sprintf("%s %s in %s %s", d.severity, d.ID, name, version)
	if d.severity.Rank() == 0 {
		summary = fmt.Sprintf("%s of unknown severity in %s %s", d.ID, name, version)
	}
	if d.Exploited {
		summary += ", known to be exploited,"
	}
	if len(d.platforms) < platforms {
		summary += " on " + strings.Join(d.platforms, ", ")
	}
	if s := clean(strings.TrimSpace(d.Summary), 300); s != "" {
		summary += ": " + s
	}
	return reconcile.Finding{Severity: d.severity, ID: d.ID, Package: d.Package.Name, PURL: d.Package.PURL, Detail: d.remedy(name, version),
		Summary: strings.TrimSuffix(summary, ",") + " (" + strings.Join(d.scanners, ", ") + ")"}
}

func (d *denied) remedy(name, version string) string {
	if len(d.FixedIn) == 0 {
		return "no version with a fix is known: use an image without " + name + ", or ask for a waiver"
	}
	fixed := d.FixedIn
	more := ""
	if len(fixed) > 5 {
		fixed, more = fixed[:5], " or another"
	}
	return fmt.Sprintf("update %s %s to %s%s, or ask for a waiver", name, version, clean(strings.Join(fixed, " or "), 300), more)
}
