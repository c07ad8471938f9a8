package report

import (
	"fmt"
	"strings"

	"github.com/assay-oci/assay/reconcile"
)

// Proposed keeps of a plan what its pull request is answerable for: what stands in files that it changes, and in none. What was so in the branch before, such as an
// approved image that turned vulnerable, is counted in a note, and is the business of a drift run. A report on anything else stays as it is.
func Proposed(r reconcile.Report) reconcile.Report {
	if r.Plan.Files == nil || r.Result != nil {
		return r
	}
	own := Only(r, r.Plan.Files)
	all, kept := Summarize(r), Summarize(own)
	var parts []string
	for _, x := range []struct {
		n    int
		what string
	}{{all.Blocked - kept.Blocked, "blocked"}, {all.Violations - kept.Violations, "in violation"}, {all.Add + all.Change + all.Remove - kept.Add - kept.Change - kept.Remove, "to change"}} {
		if x.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", x.n, x.what))
		}
	}
	if len(parts) > 0 {
		own.Plan.Notes = append(own.Plan.Notes, reconcile.Finding{Rule: "elsewhere", Summary: "in the branch itself, whatever becomes of this pull request: " + strings.Join(parts, ", ")})
	}
	return own
}
