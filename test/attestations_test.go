package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry"
	"github.com/assay-oci/assay/reconcile/sign"
)

// About the index, and about each platform: the attestations of an image that two scanners saw and its maker signed, with what each says beside its
// type, once or as often as there are scanners.
var (
	aboutIndex = map[string][]string{
		reconcile.VerdictPredicate:  {`"verificationResult":"PASSED"`},
		reconcile.ApprovalPredicate: {`"image":"app"`},
		reconcile.UpstreamPredicate: {`"asked":[{"key":`},
	}
	aboutPlatform = map[string][]string{
		reconcile.VulnerabilityPredicate: {`"scanner":"builtin"`, `"scanner":"other"`},
		reconcile.InventoryPredicate:     {`"lister":"builtin"`},
		reconcile.BillPredicate:          {`"bomFormat":"CycloneDX"`},
	}
)

// newAttested is an organization with two scanners and a rule that demands the maker's signature. The catalog is committed, and not reconciled.
func newAttested(t *testing.T, formats string) scanned {
	t.Helper()
	s := newScanned(t, "3.0.22-1~deb12u2")
	s.answer(clean)
	for _, who := range []string{"maker", "stranger"} {
		if err := os.Mkdir(filepath.Join(s.dir, who), 0o700); err != nil {
			t.Fatal(err)
		}
		writeKey(t, filepath.Join(s.dir, who))
	}
	s.write("../trusted_root.json", `{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`)
	public, err := os.ReadFile(filepath.Join(s.dir, "maker", "cosign.pub"))
	if err != nil {
		t.Fatal(err)
	}
	s.signing = false
	s.extra += fmt.Sprintf("signer \"main\" {\n  key = %q\n  formats = %s\n}\npolicy \"maker\" {\n  rule \"signature\" {\n    key = <<EOT\n%sEOT\n  }\n}\n",
		filepath.Join(s.dir, "cosign.key"), formats, public)
	s.commit(map[string]string{"app.hcl": s.image("app", "1.0 "+s.digests[0])})
	return s
}

// signAsMaker has the maker sign the image where it comes from.
func (s scanned) signAsMaker(format reconcile.Format) {
	s.t.Helper()
	maker, err := sign.New(s.t.Context(), sign.Options{Name: "maker", Key: filepath.Join(s.dir, "maker", "cosign.key")})
	if err != nil {
		s.t.Fatal(err)
	}
	at := s.source.Repo("app")
	r, err := maker.Sign(s.t.Context(), reconcile.Statement{Format: format, Subject: reconcile.MustDigest(s.digests[0]), Identity: at, Time: time.Now()})
	if err == nil {
		err = registry.NewWriter(reader()).Place(s.t.Context(), r, at)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// Attestations are bundles, whatever the signatures are: a catalog that wants cosign's first format alone has none.
func TestCosignVerifiesEachAttestation(t *testing.T) {
	commands := cosigns(t)
	for _, c := range []struct {
		formats  string
		way      []string
		attested bool
	}{{`["legacy"]`, plain, false}, {`["bundle"]`, asBundles, true}, {`["legacy", "bundle"]`, asBundles, true}} {
		t.Run(c.formats, func(t *testing.T) {
			t.Parallel()
			s := newAttested(t, c.formats)
			s.signAsMaker(reconcile.Legacy)
			s.run(0, "reconcile")
			p := published(s)
			for version, cosign := range commands {
				ask := func(verb string, args ...string) (string, error) {
					return p.command(cosign, slices.Concat([]string{verb}, c.way, args)...)
				}
				for i, d := range s.digests {
					name, attested := s.us.Host+"/approved/app@"+d, aboutPlatform
					if i == 0 {
						attested = aboutIndex
					}
					if out, err := ask("verify", "--key=cosign.pub", name); err != nil {
						t.Errorf("cosign %s: the signature of %s: %v\n%s", version, d, err, out)
					}
					for predicate, says := range attested {
						out, err := ask("verify-attestation", "--type="+predicate, "--key=cosign.pub", name)
						if !c.attested {
							if err == nil {
								t.Errorf("cosign %s: there is an attestation of type %s about %s:\n%s", version, predicate, d, out)
							}
							continue
						}
						if err != nil {
							t.Errorf("cosign %s: %s about %s: %v\n%s", version, predicate, d, err, out)
						}
						p.expectStatements(out, predicate, d, says)
						if out, err := ask("verify-attestation", "--type="+predicate, "--key=stranger/cosign.pub", name); err == nil {
							t.Errorf("cosign %s: %s about %s by another key is accepted\n%s", version, predicate, d, out)
						}
					}
				}
			}
		})
	}
}

// expectStatements looks for one statement of a type about a digest for each text, and no other one, in what cosign prints.
func (p published) expectStatements(out, predicateType, digest string, says []string) {
	p.t.Helper()
	var found []string
	for line := range strings.Lines(out) {
		var envelope struct{ Payload []byte }
		var s inToto
		if json.Unmarshal([]byte(line), &envelope) != nil || json.Unmarshal(envelope.Payload, &s) != nil {
			continue
		}
		if s.PredicateType != predicateType || len(s.Subject) != 1 || "sha256:"+s.Subject[0].Digest["sha256"] != digest {
			p.t.Errorf("asked for %s about %s, cosign shows %s about %v", predicateType, digest, s.PredicateType, s.Subject)
		}
		found = append(found, string(s.Predicate))
	}
	for _, text := range says {
		if n := len(slices.DeleteFunc(slices.Clone(found), func(f string) bool { return !strings.Contains(f, text) })); n != 1 || len(found) != len(says) {
			p.t.Errorf("%s about %s: of %d statements, %d contain %s", predicateType, digest, len(found), n, text)
		}
	}
}
