package policy

import (
	"crypto/x509"
	"encoding/pem"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/assay-oci/assay/reconcile"
)

// A keyless block names an identity in Sigstore's certificates.
type keyless struct {
	Issuer   string `hcl:"issuer" doc:"The issuer of the signer's identity, exactly, as \"https://token.actions.githubusercontent.com\"."`
	Subject  string `hcl:"subject" doc:"The signer's identity, exactly; or a regular expression between ^ and $, which must match all of it."`
	Sigstore string `hcl:"sigstore,optional" doc:"The label of the catalog's sigstore block whose certificates count. Default: those of the public Sigstore instance."`
}

// trusted turns a rule's key and keyless blocks into those whom it trusts, and reports mistakes in them.
func trusted(body hcl.Body, key string, identities []keyless) ([]reconcile.Trust, hcl.Diagnostics) {
	var diags hcl.Diagnostics
	var out []reconcile.Trust
	switch {
	case key == "" && len(identities) == 0, key != "" && len(identities) > 0:
		return nil, hcl.Diagnostics{mistake(body.MissingItemRange(), "Key or keyless", "Either key or keyless blocks must say whose word counts; what nobody signed proves nothing.")}
	case key != "" && !publicKey(key):
		return nil, hcl.Diagnostics{mistake(at(body, "key"), "Invalid key", "A public key in PEM is needed here, as cosign.pub has it.")}
	case key != "":
		return []reconcile.Trust{{Key: strings.TrimSpace(key) + "\n"}}, nil
	}
	for _, k := range identities {
		if u, err := url.Parse(k.Issuer); err != nil || u.Scheme != "https" && (u.Scheme != "http" || k.Sigstore == "") || u.Host == "" { // it is compared, and never asked
			diags = append(diags, mistake(body.MissingItemRange(), "Invalid issuer", "%q is no https address.", clean(k.Issuer, 200)))
		}
		diags = append(diags, exactOrAnchored(body.MissingItemRange(), "subject", k.Subject)...)
		if k.Subject == "" {
			diags = append(diags, mistake(body.MissingItemRange(), "Invalid subject", "An empty subject would be anybody."))
		}
		out = append(out, reconcile.Trust{Issuer: k.Issuer, Subject: k.Subject, Instance: k.Sigstore})
	}
	return out, diags
}

// publicKey tells whether a text is one public key in PEM (PKIX).
func publicKey(s string) bool {
	block, rest := pem.Decode([]byte(strings.TrimSpace(s)))
	if block == nil || block.Type != "PUBLIC KEY" || len(strings.TrimSpace(string(rest))) > 0 {
		return false
	}
	_, err := x509.ParsePKIXPublicKey(block.Bytes)
	return err == nil
}

// exactOrAnchored reports a regular expression that is not anchored at both ends: it would match more than is read from it.
func exactOrAnchored(at hcl.Range, name, s string) hcl.Diagnostics {
	begins, ends := strings.HasPrefix(s, "^"), strings.HasSuffix(s, "$")
	switch {
	case begins != ends:
		return hcl.Diagnostics{mistake(at, "Invalid "+name, "A regular expression stands between ^ and $; anything else is compared exactly.")}
	case begins && len(s) > 1000:
		return hcl.Diagnostics{mistake(at, "Invalid "+name, "The regular expression is longer than 1000 bytes.")}
	case begins:
		if _, err := regexp.Compile(s); err != nil {
			return hcl.Diagnostics{mistake(at, "Invalid "+name, "This is no regular expression: %s.", clean(err.Error(), 200))}
		}
	}
	return nil
}

// matcher compares a text with what exactOrAnchored has seen. An expression must match all of it: "^a|b$" by itself would match whatever begins
// with an a. An empty pattern matches anything.
func matcher(pattern string) func(string) bool {
	switch {
	case pattern == "":
		return func(string) bool { return true }
	case !strings.HasPrefix(pattern, "^"):
		return func(s string) bool { return s == pattern }
	}
	e, err := regexp.Compile(`\A(?:` + pattern + `)\z`)
	if err != nil {
		return func(string) bool { return false } // the mistake was reported
	}
	return e.MatchString
}

// trustNames writes those who are trusted for people.
func trustNames(ts []reconcile.Trust) string {
	var out []string
	for _, t := range ts {
		if t.Key != "" {
			out = append(out, "the holder of the rule's key")
			continue
		}
		name := clean(t.Subject, 200) + " of " + clean(t.Issuer, 100)
		if t.Instance != "" {
			name += " in " + clean(t.Instance, 100)
		}
		out = append(out, name)
	}
	return strings.Join(out, ", or ")
}

// proofsBy are the verified records of those who are trusted. known is false if for one of them nobody has looked.
func proofsBy(u reconcile.Upstream, ts []reconcile.Trust) (proofs []reconcile.Proof, known bool) {
	known = true
	for _, t := range ts {
		known = known && slices.Contains(u.Asked, t)
	}
	for _, p := range u.Proofs {
		if slices.Contains(ts, p.Trust) && slices.Contains(u.Asked, p.Trust) {
			proofs = append(proofs, p)
		}
	}
	return proofs, known
}

// covers tells whether proofs speak of the whole image: of its root, or of each manifest that runs.
func covers(s reconcile.Subject, ps []reconcile.Proof) bool {
	about := func(d reconcile.Digest) bool {
		return slices.ContainsFunc(ps, func(p reconcile.Proof) bool { return p.Subject == d })
	}
	runnable := s.Evidence.Tree.Runnable()
	return about(s.Evidence.Tree.Root) || len(runnable) > 0 && !slices.ContainsFunc(runnable, func(m reconcile.Manifest) bool { return !about(m.Digest) })
}

// notAsked is the finding where nobody has looked for a trusted signer's records: their absence isn't known.
func notAsked(what string, ts []reconcile.Trust) reconcile.Finding {
	return reconcile.Finding{ID: "no-evidence", Summary: what + " is not known: the records beside the image at its source were not read",
		Detail: "the source must be readable, and what " + trustNames(ts) + " signed must be verifiable", Unknown: true}
}
