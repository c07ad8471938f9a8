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

type endOfLife struct {
	Notice   string            `hcl:"notice,optional" default:"\"0s\"" doc:"How long before the end an image is no longer accepted, as \"90d\"."`
	Grace    string            `hcl:"grace,optional" default:"\"0s\"" doc:"How long after the end it still is. It doesn't help where a scanner says only that the release has ended."`
	Extended map[string]string `hcl:"extended,optional" default:"none" doc:"Releases for which there is a contract of extended support, and its last day: { \"debian:11\" = \"2031-06-30\" }."`
	Unknown  string            `hcl:"unknown,optional" default:"\"deny\"" doc:"What becomes of an image whose distribution no scanner knows, or whose end nobody knows: \"deny\" or \"allow\"."`
}

func init() {
	register("end_of_life", "Whether the vendor still maintains the release of the distribution that an image is made of: `end-of-life`, `end-is-near`, `unknown-distribution` or `unknown-support`. "+
		"Where scanners give different dates, the earliest counts.",
		`rule "end_of_life" {
  notice = "30d"
  extended = {
    "debian:11" = "2031-06-30"
  }
}
`, buildEndOfLife)
}

func buildEndOfLife(p endOfLife, body hcl.Body) (reconcile.Reads, check, hcl.Diagnostics) {
	notice, diags := duration(body, "notice", p.Notice)
	grace, more := duration(body, "grace", p.Grace)
	diags = append(diags, more...)
	diags = append(diags, oneOf(body, "unknown", p.Unknown, "deny", "allow")...)
	if notice > 0 && grace > 0 {
		diags = append(diags, mistake(at(body, "grace"), "Notice and grace", "An image can't be refused before the end and accepted after it: give notice or grace."))
	}
	extended := map[string]time.Time{}
	for _, name := range slices.Sorted(maps.Keys(p.Extended)) {
		until, err := time.Parse(time.DateOnly, p.Extended[name])
		if err != nil {
			diags = append(diags, mistake(at(body, "extended"), "Invalid extended", `%q is no date; write year, month and day, as in "2031-06-30".`, clean(p.Extended[name], 80)))
		}
		extended[strings.ToLower(name)] = until
	}
	return reconcile.ReadsScans, func(s reconcile.Subject, now time.Time) []reconcile.Finding {
		return once(onEach(s, func(m reconcile.Manifest, where string) []reconcile.Finding {
			f := p.judge(verdicts(s, m.Digest, 0, now), extended, now.Add(notice-grace), now, where, platformName(m))
			if f == nil {
				return nil
			}
			return []reconcile.Finding{*f}
		}))
	}, diags
}

// support unites what scanners know of a distribution: the earliest end, and an end without a date only if none knows the date.
func support(vs []verdict) (distribution string, s *reconcile.Support) {
	for _, v := range vs {
		if v.without != "" {
			continue
		}
		if distribution == "" {
			distribution = v.scan.Distribution
		}
		x := v.scan.Support
		switch {
		case x == nil:
		case s == nil:
			c := *x
			s = &c
		case s.Until.IsZero() || !x.Until.IsZero() && x.Until.Before(s.Until):
			c := *x
			if x.Until.IsZero() {
				c.Ended = s.Ended || x.Ended
			}
			s = &c
		}
	}
	return distribution, s
}

// judge compares the end with the time that counts, which is later than now by the notice or earlier by the grace.
func (p endOfLife) judge(vs []verdict, extended map[string]time.Time, counts, now time.Time, where, platform string) *reconcile.Finding {
	if len(scansOf(vs)) == 0 {
		return unscanned(vs, platform)
	}
	distribution, s := support(vs)
	name := clean(distribution, 80)
	until, contracted := extended[strings.ToLower(distribution)]
	switch {
	case distribution == "" && p.Unknown == "allow":
		return nil
	case distribution == "":
		return &reconcile.Finding{ID: "unknown-distribution", Summary: "no scanner knows the distribution of the image" + where, Detail: `if it has none, as a static binary may, ask for a waiver, or set unknown = "allow"`, Unknown: true}
	case s == nil && p.Unknown == "allow":
		return nil
	case contracted && (s == nil || s.Until.Before(until) && (s.Ended || !s.Until.IsZero())): // a contract only prolongs
	case s == nil:
		return &reconcile.Finding{ID: "unknown-support", Summary: "no scanner knows until when " + name + " is maintained" + where, Detail: "a scanner must know the release, or name it in extended", Unknown: true}
	case s.Until.IsZero() && s.Ended:
		return &reconcile.Finding{ID: "end-of-life", Summary: name + " is no longer maintained by its vendor" + where, Detail: "take an image of a release that is maintained"}
	case s.Until.IsZero():
		return nil
	default:
		until = s.Until
	}
	last := until.UTC().Format(time.DateOnly)
	end := until.UTC().Truncate(24*time.Hour).AddDate(0, 0, 1) // the last day still counts
	switch {
	case counts.Before(end):
		return nil
	case now.Before(end):
		return &reconcile.Finding{ID: "end-is-near", Summary: fmt.Sprintf("%s is maintained only until %s%s", name, last, where), Detail: "take an image of a release that is maintained for longer"}
	}
	return &reconcile.Finding{ID: "end-of-life", Summary: fmt.Sprintf("%s is no longer maintained since %s%s", name, last, where), Detail: "take an image of a release that is maintained"}
}
