package policy

import (
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/assay-oci/assay/reconcile"
)

type licenses struct {
	Deny  []string `hcl:"deny,optional" default:"[]" doc:"SPDX identifiers of licences that no package may have."`
	Allow []string `hcl:"allow,optional" default:"everything" doc:"SPDX identifiers of the only licences that packages may have."`
}

type approval struct {
	Required int    `hcl:"required" doc:"How many people must have approved the change."`
	From     string `hcl:"from,optional" default:"\"anyone\"" doc:"Who counts: \"anyone\" or \"codeowners\"."`
}

func init() {
	register("licenses", "Licences of the packages in an image. **This version gathers no evidence about licences, so the rule always blocks**; set `enforcement = \"off\"` until it does.",
		`rule "licenses" {
  deny = ["AGPL-3.0-only", "SSPL-1.0"]
}
`, buildLicenses)
	register("approval", "Reviews of the pull request that approved an image. **This version gathers no evidence about reviews, so the rule always blocks**; set `enforcement = \"off\"` until it does, and let the forge require reviews.",
		`rule "approval" {
  required = 1
  from     = "codeowners"
}
`, buildApproval)
}

func buildLicenses(p licenses, body hcl.Body) (reconcile.Reads, check, hcl.Diagnostics) {
	var diags hcl.Diagnostics
	if p.Allow == nil && p.Deny == nil {
		diags = append(diags, mistake(body.MissingItemRange(), "Rule without effect", "The rule needs allow or deny."))
	}
	return reconcile.ReadsDeclaration, unproven("the licences of its packages are not known"), diags
}

func buildApproval(p approval, body hcl.Body) (reconcile.Reads, check, hcl.Diagnostics) {
	var diags hcl.Diagnostics
	if p.Required < 1 {
		diags = append(diags, mistake(at(body, "required"), "Invalid required", "At least one approval must be required."))
	}
	if p.From != "" && p.From != "anyone" && p.From != "codeowners" {
		diags = append(diags, mistake(at(body, "from"), "Invalid from", `%q is none of "anyone" and "codeowners".`, clean(p.From, 80)))
	}
	return reconcile.ReadsDeclaration, unproven("who approved it is not known"), diags
}

// unproven blocks: evidence that nobody gathers is missing evidence.
func unproven(what string) check {
	return func(reconcile.Subject, time.Time) []reconcile.Finding {
		return []reconcile.Finding{{ID: "no-evidence", Summary: what + ": this version gathers no evidence about that",
			Detail: `set enforcement = "off" in the rule, or ask for a waiver`}}
	}
}
