package report

import (
	"fmt"
	"path"
	"strings"

	"github.com/assay-oci/assay/reconcile"
)

// MaxAnnotations is how many errors, and how many warnings, GitHub shows of one step.
const MaxAnnotations = 10

// Annotations are workflow commands of GitHub Actions, one a line, that put findings on the catalog's lines. The folder is that of the catalog within
// its repository.
func Annotations(r reconcile.Report, folder string) string {
	var b strings.Builder
	write := func(kind string, fs []reconcile.Finding) {
		for _, f := range fs[:min(len(fs), MaxAnnotations)] {
			b.WriteString("::" + kind + " ")
			if f.Origin.File != "" {
				fmt.Fprintf(&b, "file=%s,line=%d,", commandProperty(path.Join(folder, f.Origin.File)), max(f.Origin.Line, 1))
			}
			fmt.Fprintf(&b, "title=%s::%s\n", commandProperty(strings.TrimSpace(f.Rule+" "+f.Image)), commandData(f.Summary))
		}
	}
	write("error", append(Blocked(r), r.Plan.Violations...))
	write("warning", r.Plan.Notes)
	return b.String()
}

// commandData escapes the message of a workflow command (actions/toolkit, "Workflow commands").
func commandData(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(Plain(s))
}

func commandProperty(s string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(commandData(s))
}
