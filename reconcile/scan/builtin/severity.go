package builtin

import (
	"strings"

	"github.com/assay-oci/assay/reconcile"
	gocvss20 "github.com/pandatix/go-cvss/20"
	gocvss30 "github.com/pandatix/go-cvss/30"
	gocvss31 "github.com/pandatix/go-cvss/31"
	gocvss40 "github.com/pandatix/go-cvss/40"
)

// severityOf rates a record for one of its packages. A CVSS vector is rated by its base score; where there is none, the database's or the
// distribution's word counts. Of several, the highest.
func severityOf(r record, a affected) reconcile.Severity {
	s := highest(append(r.Severity, a.Severity...))
	if s != reconcile.Unknown {
		return s
	}
	for _, word := range []any{a.Ecosystem.Severity, a.Ecosystem.Urgency, a.Database.Severity, r.Database.Severity} {
		if w, ok := word.(string); ok {
			s = worse(s, severityWord(w))
		}
	}
	return s
}

func highest(scores []score) reconcile.Severity {
	s := reconcile.Unknown
	for _, x := range scores {
		s = worse(s, rate(x))
	}
	return s
}

func worse(a, b reconcile.Severity) reconcile.Severity {
	if b.Rank() > a.Rank() {
		return b
	}
	return a
}

func rate(x score) reconcile.Severity {
	v := strings.TrimSuffix(strings.TrimSpace(x.Score), "/")
	switch {
	case strings.HasPrefix(v, "CVSS:4.0/"):
		if c, err := gocvss40.ParseVector(v); err == nil {
			return rating(c.Score())
		}
	case strings.HasPrefix(v, "CVSS:3.1/"):
		if c, err := gocvss31.ParseVector(v); err == nil {
			return rating(c.BaseScore())
		}
	case strings.HasPrefix(v, "CVSS:3.0/"):
		if c, err := gocvss30.ParseVector(v); err == nil {
			return rating(c.BaseScore())
		}
	case x.Type == "CVSS_V2":
		if c, err := gocvss20.ParseVector(strings.Trim(v, "()")); err == nil {
			return ratingV2(c.BaseScore())
		}
	default:
		return severityWord(v) // Ubuntu's
	}
	return reconcile.Unknown
}

// rating: CVSS v3.1, section 5, and v4.0, section 6.
func rating(score float64) reconcile.Severity {
	switch {
	case score >= 9:
		return reconcile.Critical
	case score >= 7:
		return reconcile.High
	case score >= 4:
		return reconcile.Medium
	case score > 0:
		return reconcile.Low
	}
	return reconcile.Negligible
}

// ratingV2 is the National Vulnerability Database's: version 2 has no rating of its own, and nothing above high.
func ratingV2(score float64) reconcile.Severity {
	switch {
	case score >= 7:
		return reconcile.High
	case score >= 4:
		return reconcile.Medium
	}
	return reconcile.Low
}

func severityWord(s string) reconcile.Severity {
	switch strings.ToLower(strings.Trim(s, "* ")) {
	case "critical", "urgent":
		return reconcile.Critical
	case "high", "important":
		return reconcile.High
	case "medium", "moderate":
		return reconcile.Medium
	case "low":
		return reconcile.Low
	case "negligible", "unimportant", "none":
		return reconcile.Negligible
	}
	return reconcile.Unknown
}
