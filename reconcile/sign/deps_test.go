package sign

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Cosign's command and its key references pull in Kubernetes, GitLab, PKCS #11 and every cloud's client, and run programs named after
// schemes.
func TestDependencies(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, "github.com/sigstore/cosign/v2/pkg/cosign") {
		t.Fatal("the list of dependencies is not what was expected")
	}
	forbidden := []string{
		"github.com/sigstore/cosign/v2/cmd/",
		"github.com/sigstore/cosign/v2/pkg/signature",
		"github.com/sigstore/cosign/v2/pkg/cosign/kubernetes",
		"github.com/sigstore/cosign/v2/pkg/cosign/git",
		"github.com/sigstore/cosign/v2/pkg/cosign/pkcs11key",
		"k8s.io/client-go",
		"github.com/assay-oci/assay/reconcile/registry",
		"github.com/assay-oci/assay/reconcile/scan",
	}
	for _, dep := range deps {
		for _, f := range forbidden {
			if strings.HasPrefix(dep, f) {
				t.Errorf("%s is imported", dep)
			}
		}
	}
}
