package policy

import (
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/assay-oci/assay/reconcile"
)

// The rules of this file judge evidence that this version doesn't gather. Their parameters are checked already, so that a catalog can be written;
// they block, for evidence that nobody gathers is missing evidence.

type signature struct {
	Key     string    `hcl:"key,optional" default:"none" doc:"The public key, in PEM, with which the image must be signed where it comes from."`
	Keyless []keyless `hcl:"keyless,block" doc:"Or who must have signed it with a certificate of Sigstore."`
}

type keyless struct {
	Issuer  string `hcl:"issuer" doc:"The issuer of the signer's identity, exactly, as \"https://token.actions.githubusercontent.com\"."`
	Subject string `hcl:"subject" doc:"The signer's identity, exactly; or a regular expression between ^ and $."`
}

type provenance struct {
	Builder string `hcl:"builder,optional" default:"any" doc:"The builder's identifier: exactly, or a regular expression between ^ and $."`
	Source  string `hcl:"source,optional" default:"any" doc:"The repository that it was built from, likewise."`
	Level   int    `hcl:"level,optional" default:"1" doc:"The least level of SLSA's build track, from 1 to 3."`
}

type approval struct {
	Required int    `hcl:"required" doc:"How many people must have approved the change."`
	From     string `hcl:"from,optional" default:"\"anyone\"" doc:"Who counts: \"anyone\" or \"codeowners\"."`
}

func init() {
	const gap = " **This version gathers no evidence about that, so the rule always finds `no-evidence`**; set `enforcement` to \"off\" or \"warn\" until it does"
	register("signature", "Who signed an image where it comes from."+gap+".",
		`rule "signature" {
  images = ["acme-*"]

  keyless {
    issuer  = "https://token.actions.githubusercontent.com"
    subject = "^https://github.com/acme/[^/]+/.github/workflows/release.yml@refs/tags/v[0-9.]+$"
  }
}
`, buildSignature)
	register("provenance", "How an image was built, by its SLSA provenance."+gap+".",
		`rule "provenance" {
  builder = "https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_container_slsa3.yml@refs/tags/v2.1.0"
  source  = "https://github.com/acme/app"
  level   = 3
}
`, buildProvenance)
	register("approval", "Reviews of the pull request that approved an image."+gap+", and let the forge require reviews.",
		`rule "approval" {
  required = 1
  from     = "codeowners"
}
`, buildApproval)
}

func buildSignature(p signature, body hcl.Body) (reconcile.Reads, check, hcl.Diagnostics) {
	var diags hcl.Diagnostics
	switch {
	case p.Key == "" && len(p.Keyless) == 0, p.Key != "" && len(p.Keyless) > 0:
		diags = append(diags, mistake(body.MissingItemRange(), "Key or keyless", "The rule needs either key or keyless blocks."))
	case p.Key != "" && !strings.HasPrefix(strings.TrimSpace(p.Key), "-----BEGIN PUBLIC KEY-----"):
		diags = append(diags, mistake(at(body, "key"), "Invalid key", "A public key in PEM is needed here, as cosign.pub has it."))
	}
	for _, k := range p.Keyless {
		if u, err := url.Parse(k.Issuer); err != nil || u.Scheme != "https" || u.Host == "" {
			diags = append(diags, mistake(body.MissingItemRange(), "Invalid issuer", "%q is no https address.", clean(k.Issuer, 200)))
		}
		diags = append(diags, exactOrAnchored(body.MissingItemRange(), "subject", k.Subject)...)
		if k.Subject == "" {
			diags = append(diags, mistake(body.MissingItemRange(), "Invalid subject", "An empty subject would be anybody."))
		}
	}
	return reconcile.ReadsDeclaration, unproven("who signed it is not known"), diags
}

func buildProvenance(p provenance, body hcl.Body) (reconcile.Reads, check, hcl.Diagnostics) {
	diags := exactOrAnchored(at(body, "builder"), "builder", p.Builder)
	diags = append(diags, exactOrAnchored(at(body, "source"), "source", p.Source)...)
	if p.Level < 0 || p.Level > 3 {
		diags = append(diags, mistake(at(body, "level"), "Invalid level", "A number from 1 to 3 is needed here."))
	}
	if p.Builder == "" && p.Source == "" && p.Level == 0 {
		diags = append(diags, mistake(body.MissingItemRange(), "Rule without effect", "The rule needs builder, source or level."))
	}
	return reconcile.ReadsDeclaration, unproven("how it was built is not known"), diags
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

func buildApproval(p approval, body hcl.Body) (reconcile.Reads, check, hcl.Diagnostics) {
	var diags hcl.Diagnostics
	if p.Required < 1 {
		diags = append(diags, mistake(at(body, "required"), "Invalid required", "At least one approval must be required."))
	}
	diags = append(diags, oneOf(body, "from", p.From, "anyone", "codeowners")...)
	return reconcile.ReadsDeclaration, unproven("who approved it is not known"), diags
}

// unproven finds that there is no evidence.
func unproven(what string) check {
	return func(reconcile.Subject, time.Time) []reconcile.Finding {
		return []reconcile.Finding{{ID: "no-evidence", Summary: what + ": this version gathers no evidence about that",
			Detail: `set enforcement = "off" in the rule, or ask for a waiver`, Unknown: true}}
	}
}
