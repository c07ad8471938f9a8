package main

import (
	"slices"
	"testing"

	"github.com/assay-oci/assay/reconcile"
)

func TestMistakes(t *testing.T) {
	at := func(line int) reconcile.Origin { return reconcile.Origin{File: "images/app.hcl", Line: line} }
	first := reconcile.Finding{Rule: "catalog", Summary: "Missing attribute", Detail: "source", Origin: at(1)}
	ofImage := first
	ofImage.Image = "app"
	second := reconcile.Finding{Rule: "catalog", Summary: "Unknown attribute", Detail: "sorce", Origin: at(2)}
	warning := reconcile.Finding{Rule: "catalog", Summary: "Expired waiver", Severity: reconcile.Low, Origin: at(3)}
	all, warnings := mistakes([]reconcile.Finding{first, ofImage}, []reconcile.Finding{first, second, warning, second})
	if !slices.Equal(all, []reconcile.Finding{ofImage, second}) {
		t.Errorf("mistakes %+v", all)
	}
	if warning.Warning = true; !slices.Equal(warnings, []reconcile.Finding{warning}) {
		t.Errorf("warnings %+v", warnings)
	}
}
