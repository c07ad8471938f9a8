package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
	"github.com/assay-oci/assay/reconcile/sign"
)

// upstreamPolicy demands the maker's signature and provenance.
func upstreamPolicy(key string) string {
	return fmt.Sprintf(`policy "upstream" {
  rule "signature" {
    key = <<EOT
%sEOT
  }
  rule "provenance" {
    builder = "https://builder.example.com/v1"
    source  = "https://git.example.com/acme/web"
    key     = <<EOT
%sEOT
  }
}
`, key, key)
}

// The cosign command signs as a maker does; whether that is enough is judged by the whole program, and what was found is on record afterwards.
func TestAMakersSignatureAndProvenanceAreDemanded(t *testing.T) {
	for version, cosign := range cosigns(t) {
		t.Run(version, func(t *testing.T) {
			w := newWorld(t, registrytest.Distribution)
			keys := map[string]string{}
			for _, who := range []string{"maker", "stranger"} {
				dir := filepath.Join(w.dir, who)
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Fatal(err)
				}
				if _, _, err := sign.GenerateKeyPair(dir, []byte("secret")); err != nil {
					t.Fatal(err)
				}
				public, err := os.ReadFile(filepath.Join(dir, "cosign.pub"))
				if err != nil {
					t.Fatal(err)
				}
				keys[who] = string(public)
			}
			w.extra = upstreamPolicy(keys["maker"])
			digest := w.push("web", "1.0", 10)
			image := w.source.Host + "/web@" + digest
			w.commit(map[string]string{"web.hcl": w.image("web", "1.0 "+digest)})
			w.write("../provenance.json", `{"buildDefinition":{"buildType":"https://builder.example.com/container","externalParameters":{"workflow":{"repository":"https://git.example.com/acme/web"}}},"runDetails":{"builder":{"id":"https://builder.example.com/v1"}}}`)
			does := func(args ...string) {
				t.Helper()
				cmd := w.command()
				if strings.HasPrefix(version, "v3") { // it else asks the public instance which log to write to
					args = append(args, "--use-signing-config=false")
				}
				cmd.Path, cmd.Args = cosign, append([]string{cosign}, args...)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("cosign %v: %v\n%s", args, err, out)
				}
			}
			blocked := func(want string) {
				t.Helper()
				if o := w.run(3, "reconcile"); !strings.Contains(o.stdout, want) {
					t.Errorf("%q is missing:\n%s", want, o.stdout)
				}
				if got := tags(t, w.eu, "approved/web"); len(got) > 0 {
					t.Errorf("admitted: %v", got)
				}
			}

			blocked("it is not signed by the holder of the rule's key")
			offline := []string{"--tlog-upload=false", "--yes", "--allow-insecure-registry"}
			does(append([]string{"sign", "--key=stranger/cosign.key", image}, offline...)...)
			blocked("it is not signed by the holder of the rule's key")
			does(append([]string{"attest", "--key=maker/cosign.key", "--type=slsaprovenance1", "--predicate=provenance.json", image}, offline...)...)
			blocked("an attestation is no signature")
			does(append([]string{"sign", "--key=maker/cosign.key", image}, offline...)...)
			w.run(0, "reconcile")
			if got := tags(t, w.eu, "approved/web"); got["1.0"] != digest {
				t.Errorf("not admitted: %v", got)
			}
			ours, err := sign.ReadPublicKey(filepath.Join(w.dir, "cosign.pub"))
			if err != nil {
				t.Fatal(err)
			}
			records, err := sign.NewVerifier(map[string]sign.PublicKey{"main": ours}, reader()).Records(t.Context(), reconcile.Image{Repo: w.eu.Repo("approved/web"), Digest: reconcile.MustDigest(digest)})
			if err != nil {
				t.Fatal(err)
			}
			recorded := 0
			for _, r := range records {
				if r.Statement.PredicateType == reconcile.UpstreamPredicate && strings.Contains(r.Statement.Predicate, "https://slsa.dev/provenance/v1") {
					recorded++
				}
			}
			if recorded != 1 {
				t.Errorf("what the maker signed is on record %d times", recorded)
			}

			o := w.assay("verify", w.us.Host+"/approved/web@"+digest, "--key", "cosign.pub")
			if told := "Where it comes from\n  https://slsa.dev/provenance/v1 attested by a key\n  signed by a key\n"; o.code != 0 || !strings.Contains(o.stdout, told) {
				t.Errorf("exit code %d, what the maker signed is not told:\n%s%s", o.code, o.stdout, o.stderr)
			}

			w.reset()
			w.dropCache()
			if o := w.run(0, "plan"); !strings.Contains(o.stdout, "Nothing to do") {
				t.Errorf("afterwards: %s", o.stdout)
			}
			if n := len(w.source.Requests()); n > 0 {
				t.Errorf("what is on record was asked of the source again, by %d requests", n)
			}
		})
	}
}
