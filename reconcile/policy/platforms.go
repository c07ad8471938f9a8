package policy

import (
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/assay-oci/assay/reconcile"
)

type platforms struct {
	Require []string `hcl:"require" doc:"Platforms that the image must have, as \"os/architecture\" or \"os/architecture/variant\". One without a variant is satisfied by any variant."`
}

func init() {
	register("platforms", "Platforms that an image must have. Attestations inside an index (`unknown/unknown`) are no platforms.",
		`rule "platforms" {
  require = ["linux/amd64", "linux/arm64"]
}
`, buildPlatforms)
}

func buildPlatforms(p platforms, body hcl.Body) (reconcile.Reads, check, hcl.Diagnostics) {
	var diags hcl.Diagnostics
	var require []reconcile.Platform
	for _, s := range p.Require {
		x, err := reconcile.ParsePlatform(s)
		if err != nil {
			diags = append(diags, mistake(at(body, "require"), "Invalid platform", "%s.", err))
		}
		require = append(require, x)
	}
	if len(p.Require) == 0 {
		diags = append(diags, mistake(at(body, "require"), "Rule without effect", "The list names no platform."))
	}
	return reconcile.ReadsContent, func(s reconcile.Subject, _ time.Time) []reconcile.Finding {
		if s.Evidence.Tree == nil {
			return notRead()
		}
		runnable := s.Evidence.Tree.Runnable()
		if len(runnable) == 0 {
			return notRunnable()
		}
		var has []string
		for _, m := range runnable {
			if m.Platform.Runnable() {
				has = append(has, m.Platform.String())
			}
		}
		var out []reconcile.Finding
		for _, want := range require {
			if !anyOf(runnable, want) {
				out = append(out, reconcile.Finding{ID: want.String(), Summary: fmt.Sprintf("the image has no platform %s", want), Detail: hasOnly(has)})
			}
		}
		return out
	}, diags
}

func anyOf(ms []reconcile.Manifest, want reconcile.Platform) bool {
	for _, m := range ms {
		if m.Platform.OS == want.OS && m.Platform.Architecture == want.Architecture && (want.Variant == "" || want.Variant == m.Platform.Variant) {
			return true
		}
	}
	return false
}

func hasOnly(has []string) string {
	if len(has) == 0 {
		return "it names no platform; take an image that does"
	}
	return "it has " + strings.Join(has, ", ") + "; take an index that has all required platforms"
}
