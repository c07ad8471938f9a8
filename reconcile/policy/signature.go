package policy

import (
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/assay-oci/assay/reconcile"
)

type signature struct {
	Key     string    `hcl:"key,optional" default:"none" doc:"The public key, in PEM, with which the image must be signed where it comes from."`
	Keyless []keyless `hcl:"keyless,block" doc:"Or who must have signed it with a certificate of Sigstore; where there are several, any of them."`
}

func init() {
	registerTrusting("signature", "Who signed an image where it comes from: its index, or each of its platforms, in either of cosign's formats "+
		"(with a certificate: in a bundle). An attestation is no signature, whoever signed it. Where no such signature is found, the finding is `unsigned`; "+
		"where nobody could look, `no-evidence`.",
		`rule "signature" {
  images = ["acme-*"]

  keyless {
    issuer  = "https://token.actions.githubusercontent.com"
    subject = "^https://github\\.com/acme/[^/]+/\\.github/workflows/release\\.yml@refs/tags/v[0-9.]+$"
  }
}
`, buildSignature)
}

func buildSignature(p signature, body hcl.Body) (decoded, hcl.Diagnostics) {
	ts, diags := trusted(body, p.Key, p.Keyless)
	return decoded{reconcile.ReadsUpstream, func(s reconcile.Subject, _ time.Time) []reconcile.Finding { return judgeSignature(s, ts) }, ts}, diags
}

func judgeSignature(s reconcile.Subject, ts []reconcile.Trust) []reconcile.Finding {
	if s.Evidence.Tree == nil {
		return notRead()
	}
	proofs, known := proofsBy(s.Evidence.Upstream, ts)
	var signatures []reconcile.Proof
	for _, p := range proofs {
		if p.PredicateType == "" {
			signatures = append(signatures, p)
		}
	}
	switch {
	case covers(s, signatures):
		return nil
	case !known:
		return []reconcile.Finding{notAsked("who signed it", ts)}
	}
	f := reconcile.Finding{ID: "unsigned", Summary: "at " + s.Want.From.Repo.String() + " it is not signed by " + trustNames(ts),
		Detail: "take a digest that they signed, on its index or on each platform; or ask for the signer to be allowed"}
	switch {
	case len(signatures) > 0:
		f.Summary += " on every platform"
	case len(proofs) > 0:
		f.Summary += "; there are attestations by them, and an attestation is no signature"
	}
	return []reconcile.Finding{f}
}
