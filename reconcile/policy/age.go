package policy

import (
	"fmt"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/assay-oci/assay/reconcile"
)

type age struct {
	Maximum  string `hcl:"maximum,optional" default:"any age" doc:"How long ago the image may have been built, by its configuration, as \"365d\"."`
	Unknown  string `hcl:"unknown,optional" default:"\"deny\"" doc:"What becomes of an image that doesn't say when it was built, or gives a date that can't be (before 2013 or to come), as reproducible builds do: \"deny\" or \"allow\"."`
	ReviewBy string `hcl:"review_by,optional" default:"\"ignored\"" doc:"\"respected\": an image whose review_by has passed is a finding. \"required\": one without review_by is one too."`
}

func init() {
	register("age", "How old an image may be, and its approval: an image is `too-old`, of `unknown-age`, its `review-is-due`, or it has `no-review-date`.",
		`rule "age" {
  maximum   = "365d"
  unknown   = "allow"
  review_by = "required"
}
`, buildAge)
}

// firstContainer is before any container image in the OCI's or Docker's format was built.
var firstContainer = time.Date(2013, 1, 1, 0, 0, 0, 0, time.UTC)

func buildAge(p age, body hcl.Body) (reconcile.Reads, check, hcl.Diagnostics) {
	maximum, diags := duration(body, "maximum", p.Maximum)
	diags = append(diags, oneOf(body, "unknown", p.Unknown, "deny", "allow")...)
	diags = append(diags, oneOf(body, "review_by", p.ReviewBy, "ignored", "respected", "required")...)
	review := p.ReviewBy == "respected" || p.ReviewBy == "required"
	if p.Maximum == "" && !review {
		diags = append(diags, mistake(body.MissingItemRange(), "Rule without effect", "The rule needs maximum or review_by."))
	}
	reads := reconcile.ReadsDeclaration
	if p.Maximum != "" {
		reads = reconcile.ReadsContent
	}
	return reads, func(s reconcile.Subject, now time.Time) []reconcile.Finding {
		var out []reconcile.Finding
		if review {
			out = append(out, p.reviewed(s.Want, now)...)
		}
		if p.Maximum != "" {
			out = append(out, onEach(s, func(m reconcile.Manifest, where string) []reconcile.Finding {
				return p.built(m.Config.Created, maximum, now, where)
			})...)
		}
		return out
	}, diags
}

func (p age) reviewed(w reconcile.Want, now time.Time) []reconcile.Finding {
	switch {
	case w.Review.IsZero() && p.ReviewBy == "required":
		return []reconcile.Finding{{ID: "no-review-date", Summary: "the approval has no date at which it is looked at again", Detail: `add review_by = "…" to the image`}}
	case !w.Review.IsZero() && !now.Before(w.Review):
		return []reconcile.Finding{{ID: "review-is-due", Summary: "the approval was to be looked at again by " + w.Review.UTC().Format(time.DateOnly),
			Detail: "review it, and set review_by to a later date"}}
	}
	return nil
}

func (p age) built(created time.Time, maximum time.Duration, now time.Time, where string) []reconcile.Finding {
	switch {
	case created.Before(firstContainer) || created.Sub(now) > clockSkew:
		if p.Unknown == "allow" {
			return nil
		}
		return []reconcile.Finding{{ID: "unknown-age", Summary: "the image" + where + " does not say when it was built", Detail: `take one that does, or set unknown = "allow"`, Unknown: true}}
	case now.Sub(created) > maximum:
		return []reconcile.Finding{{ID: "too-old", Summary: fmt.Sprintf("the image%s was built on %s, %d days ago", where, created.UTC().Format(time.DateOnly), int(now.Sub(created).Hours()/24)),
			Detail: fmt.Sprintf("take one that is at most %d days old, or ask for a waiver", int(maximum.Hours()/24))}}
	}
	return nil
}
