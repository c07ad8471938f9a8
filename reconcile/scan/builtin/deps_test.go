package builtin

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// scalibr's root package imports every plugin that it has, with clients of clouds and Kubernetes.
func TestDependencies(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	deps := strings.Fields(string(out))
	const scalibr = "github.com/google/osv-scalibr"
	if !slices.Contains(deps, scalibr+"/semantic") {
		t.Fatal("the list of dependencies is not what was expected")
	}
	for _, dep := range deps {
		for _, forbidden := range []string{scalibr + "/enricher", scalibr + "/plugin/list", scalibr + "/detector", "k8s.io/", "cloud.google.com/go/storage", "testing/",
			"github.com/assay-oci/assay/reconcile/registry", "github.com/assay-oci/assay/reconcile/sign", "github.com/assay-oci/assay/reconcile/scan/stage"} {
			if dep == scalibr || strings.HasPrefix(dep, forbidden) {
				t.Errorf("%s is imported", dep)
			}
		}
	}
}
