package policy

import (
	"fmt"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/assay-oci/assay/reconcile"
)

type versions struct {
	Maximum int `hcl:"maximum" doc:"How many versions of one image may be approved at a time."`
}

func init() {
	register("versions", "Keeps the number of approved versions of an image small. Where there are too many, each of them has the finding: nobody but you knows which to drop.",
		`rule "versions" {
  maximum = 3
}
`, buildVersions)
}

func buildVersions(p versions, body hcl.Body) (reconcile.Reads, check, hcl.Diagnostics) {
	var diags hcl.Diagnostics
	if p.Maximum < 1 {
		diags = append(diags, mistake(at(body, "maximum"), "Invalid maximum", "At least one version must be allowed."))
	}
	return reconcile.ReadsDeclaration, func(s reconcile.Subject, _ time.Time) []reconcile.Finding {
		all := map[string]bool{s.Want.Version: true}
		for _, w := range s.Siblings {
			if w.Name == s.Want.Name {
				all[w.Version] = true
			}
		}
		if len(all) <= p.Maximum {
			return nil
		}
		return []reconcile.Finding{{ID: "too-many-versions", Summary: fmt.Sprintf("%s has %d versions; at most %d are allowed", s.Want.Name, len(all), p.Maximum),
			Detail: fmt.Sprintf("remove %d of them from the catalog", len(all)-p.Maximum)}}
	}, diags
}
