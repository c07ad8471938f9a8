package main

import (
	"slices"

	"github.com/assay-oci/assay/reconcile"
)

// mistakes completes what a catalog breaks by all that its author got wrong: an entry is broken by its first mistake, and whoever learns of them one at a time
// needs a round for each. Warnings are apart. What is told of an image isn't told again of the file.
func mistakes(broken, found []reconcile.Finding) (all, warnings []reconcile.Finding) {
	of := func(f reconcile.Finding) reconcile.Finding {
		return reconcile.Finding{Rule: f.Rule, Summary: f.Summary, Detail: f.Detail, Origin: f.Origin}
	}
	told := map[reconcile.Finding]bool{}
	for _, f := range broken {
		if f.Image != "" {
			told[of(f)] = true
		}
	}
	all = slices.DeleteFunc(slices.Clone(broken), func(f reconcile.Finding) bool { return f.Image == "" && told[of(f)] })
	for _, f := range all {
		told[of(f)] = true
	}
	for _, f := range found {
		switch {
		case f.Severity != "":
			f.Warning = true
			warnings = append(warnings, f)
		case !told[of(f)]:
			told[of(f)] = true
			all = append(all, f)
		}
	}
	return all, warnings
}
