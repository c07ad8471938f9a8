package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/assay-oci/assay/reconcile"
)

// Each catalog of a repository has labels of its own, none of which begins with another's family.
func TestLabels(t *testing.T) {
	r := reconcile.Report{Plan: reconcile.Plan{Blocked: []reconcile.Finding{{Rule: "sources"}}, Notes: []reconcile.Finding{{Rule: "policy-change"}}}}
	for folder, want := range map[string][]string{"": {"assay:blocked", "assay:policy"}, "deploy/": {"assay/deploy:blocked", "assay/deploy:policy"}, "../x\n": {"assay/x:blocked", "assay/x:policy"}} {
		if got := labels(r, labelFamily(folder)); !slices.Equal(got, want) {
			t.Errorf("%q: %q", folder, got)
		}
	}
	for _, l := range labels(r, labelFamily(strings.Repeat("deep/", 100))) {
		if n := len([]rune(l)); n > 50 {
			t.Errorf("%q has %d characters, more than GitHub takes", l, n)
		}
	}
}
