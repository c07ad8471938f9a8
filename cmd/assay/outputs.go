package main

import (
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/report"
)

// outputs are those of a workflow's step, in the format of the file that GITHUB_OUTPUT names. The delimiter is random, so that no value can end itself and
// begin another one.
func outputs(r reconcile.Report, comment string) string {
	s := report.Summarize(r)
	delimiter := "assay_" + rand.Text()
	var b strings.Builder
	for _, o := range []struct {
		name  string
		value any
	}{{"summary", s.Line(r.Result != nil)}, {"add", s.Add}, {"change", s.Change}, {"remove", s.Remove}, {"blocked", s.Blocked}, {"violations", s.Violations},
		{"gaps", s.Gaps}, {"failed", s.Failed + s.Stale}, {"comment-url", comment}} {
		fmt.Fprintf(&b, "%s<<%s\n%s\n%s\n", o.name, delimiter, report.Plain(fmt.Sprint(o.value)), delimiter)
	}
	return b.String()
}
