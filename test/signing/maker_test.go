//go:build signing

package signing

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/assay-oci/assay/reconcile/registry/registrytest"
	"github.com/assay-oci/assay/reconcile/sign"
)

// A maker signs and attests without a key, in a private Sigstore instance whose trusted root lies in the catalog. What it has no log to be in is in the
// first format's annotations, or in bundles: either is believed, and nobody else is.
func TestAMakersIdentityInAPrivateInstanceIsBelieved(t *testing.T) {
	const maker = "maker@example.com"
	for _, format := range []string{"false", "true"} {
		t.Run("bundles "+format, func(t *testing.T) {
			w := &world{instance: start(t), source: registrytest.New(t, registrytest.Distribution), eu: registrytest.New(t, registrytest.Distribution)}
			layers := []v1.Layer{registrytest.Layer(1, 20_000)}
			image := w.source.Push("web", registrytest.Index(true, layers, registrytest.Layer(2, 3_000), registrytest.Layer(3, 3_000)), "1.0")
			w.write("provenance.json", []byte(`{"buildDefinition":{"buildType":"https://builder.example.com/container","externalParameters":{"workflow":{"repository":"https://git.example.com/acme/web"}}},"runDetails":{"builder":{"id":"https://builder.example.com/v1"}}}`))
			sign := func(args ...string) {
				t.Helper()
				w.write("maker.token", []byte(w.token(maker)))
				w.must(tool(t, "cosign2"), slices.Concat(args, []string{"--fulcio-url=" + w.fulcio, "--timestamp-server-url=" + w.clock, "--identity-token=maker.token", "--tlog-upload=false", "--trusted-root=catalog/acme.json",
					"--insecure-skip-verify=true", "--new-bundle-format=" + format, "--yes", "--allow-insecure-registry", image.String()})...)
			}
			w.believes(image.Digest.String(), "somebody@example.com")
			blocked := func(want string) {
				t.Helper()
				if out, err := w.assay("reconcile"); err == nil || !strings.Contains(out, want) {
					t.Errorf("%q is missing: %v\n%s", want, err, out)
				}
			}
			blocked("it is not signed by")
			sign("sign")
			sign("attest", "--type=slsaprovenance1", "--predicate=provenance.json")
			blocked("it is not signed by somebody@example.com")
			w.believes(image.Digest.String(), maker)
			w.reconcile()
			out := w.must(tool(t, "assay"), "verify", w.eu.Host+"/approved/web:1.0", "--key", "cosign.pub")
			if told := "https://slsa.dev/provenance/v1 attested by " + maker + "\n  signed by " + maker; !strings.Contains(out, told) {
				t.Errorf("%q is missing:\n%s", told, out)
			}
		})
	}
}

// believes commits a catalog whose rules believe one identity of the instance.
func (w *world) believes(digest, subject string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Join(w.dir, "catalog"), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "cosign.key")); err != nil {
		if _, _, err := sign.GenerateKeyPair(w.dir, []byte("secret")); err != nil {
			w.t.Fatal(err)
		}
	}
	w.t.Setenv("ASSAY_KEY_PASSWORD", "secret")
	w.write("catalog/acme.json", w.trustedRoot(false))
	keyless := lines(`    keyless {`, fmt.Sprintf(`      issuer   = %q`, w.issuer), fmt.Sprintf(`      subject  = %q`, subject), `      sigstore = "acme"`, `    }`)
	w.write("catalog/catalog.hcl", []byte(lines(
		`scope "acme" {`, `  level = "organization"`, `}`,
		`registry "eu" {`, fmt.Sprintf(`  address  = "%s/approved"`, w.eu.Host), `  identity = "images.example.com/approved"`, `}`,
		`sigstore "acme" {`, `  trusted_root = "acme.json"`, `}`,
		`signer "main" {`, fmt.Sprintf(`  key = %q`, filepath.Join(w.dir, "cosign.key")), `}`,
		`policy "makers" {`, `  rule "signature" {`, keyless+`  }`, `  rule "provenance" {`, `    builder = "https://builder.example.com/v1"`, `    source  = "https://git.example.com/acme/web"`, keyless+`  }`, `}`,
		`image "web" {`, fmt.Sprintf(`  source = "%s/web"`, w.source.Host), `  version "1.0" {`, fmt.Sprintf(`    digest = %q`, digest), `  }`, `}`)))
	w.must("git", "init", "-q", "-b", "main", "catalog")
	w.must("git", "-C", "catalog", "add", "-A")
	w.must("git", "-C", "catalog", "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "--allow-empty", "-m", "change")
}
