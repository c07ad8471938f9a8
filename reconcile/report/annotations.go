package report

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/assay-oci/assay/reconcile"
)

// MaxAnnotations is how many errors, and how many warnings, GitHub shows of one step.
const MaxAnnotations = 10

// Annotations are workflow commands of GitHub Actions, one a line, that put findings on the catalog's lines, with what can be done. The folder is that of the
// catalog within its repository. Where there are more than are shown, what can be mended at its own line comes before what only waits for that.
func Annotations(r reconcile.Report, folder string) string {
	var b strings.Builder
	write := func(kind string, fs []reconcile.Finding) {
		slices.SortStableFunc(fs, func(a, b reconcile.Finding) int { return later(a) - later(b) })
		for _, f := range fs[:min(len(fs), MaxAnnotations)] {
			b.WriteString("::" + kind + " ")
			if f.Origin.File != "" {
				fmt.Fprintf(&b, "file=%s,line=%d,", commandProperty(InFolder(folder, f.Origin.File)), max(f.Origin.Line, 1))
			}
			message := commandData(f.Summary)
			if f.Detail != "" {
				message += "%0A" + commandData(f.Detail)
			}
			fmt.Fprintf(&b, "title=%s::%s\n", commandProperty(strings.TrimSpace(f.Rule+" "+f.Image)), message)
		}
	}
	if r.Error != "" {
		b.WriteString("::error title=assay::" + commandData(r.Error) + "\n")
	}
	write("error", slices.Concat(Blocked(r), told(r.Plan.Violations)))
	write("warning", told(r.Plan.Notes))
	return b.String()
}

// Notice is the workflow command that tells something on the run's page.
func Notice(text string) string { return "::notice title=assay::" + commandData(text) + "\n" }

// later tells what waits for something else: an image that can't be judged while its catalog is broken.
func later(f reconcile.Finding) int {
	if unjudged(f) {
		return 1
	}
	return 0
}

func unjudged(f reconcile.Finding) bool { return f.Rule == "catalog" && f.Unknown }

// InFolder turns the name of a file in the catalog, which is foreign text, into a path in the repository that holds the catalog in a folder. It leads nowhere else.
func InFolder(folder, name string) string {
	return strings.TrimPrefix(path.Join("/", path.Join("/", folder), path.Join("/", name)), "/")
}

// commandData escapes the message of a workflow command (actions/toolkit, "Workflow commands").
func commandData(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(Plain(s))
}

func commandProperty(s string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(commandData(s))
}
