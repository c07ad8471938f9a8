package policy

import (
	"fmt"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/spdx"
)

// PackageMatcher reads a pattern as the rule "packages" writes it, such as "pkg:npm/lodash@<4.17.21", and tells which packages it is about.
func PackageMatcher(pattern string) (func(reconcile.Package) bool, error) {
	p, err := parsePackagePattern(pattern)
	if err != nil {
		return nil, fmt.Errorf("package %w", err)
	}
	return p.matches, nil
}

// LicenseMatcher reads a pattern as the rule "licenses" writes it, such as "AGPL-3.0-only" or "GPL-*", and tells which licence expressions name such a
// licence, whether or not they leave a choice.
func LicenseMatcher(pattern string) (func(expression string) bool, error) {
	p, err := spdx.ParsePattern(pattern)
	if err != nil {
		return nil, fmt.Errorf("licence %q: %w", clean(pattern, 200), err)
	}
	return func(expression string) bool {
		e, err := spdx.Parse(expression)
		if err != nil {
			return false
		}
		for _, l := range e.Licenses() {
			if p.Matches(l) {
				return true
			}
		}
		return false
	}, nil
}
