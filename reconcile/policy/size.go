package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/assay-oci/assay/reconcile"
)

type size struct {
	Maximum string `hcl:"maximum,optional" default:"any size" doc:"How large one platform of the image may be, compressed as it is stored, as \"500MiB\"."`
	Layers  int    `hcl:"layers,optional" default:"any number" doc:"How many layers one platform may have."`
}

func init() {
	register("size", "How large an image may be: `too-large`, `too-many-layers`.",
		`rule "size" {
  maximum = "500MiB"
}
`, buildSize)
}

func buildSize(p size, body hcl.Body) (reconcile.Reads, check, hcl.Diagnostics) {
	var diags hcl.Diagnostics
	maximum, err := parseSize(p.Maximum)
	switch {
	case err != nil:
		diags = append(diags, mistake(at(body, "maximum"), "Invalid maximum", "%s.", err))
	case p.Layers < 0:
		diags = append(diags, mistake(at(body, "layers"), "Invalid layers", "At least one layer must be allowed."))
	case p.Maximum == "" && p.Layers == 0:
		diags = append(diags, mistake(body.MissingItemRange(), "Rule without effect", "The rule needs maximum or layers."))
	}
	return reconcile.ReadsContent, func(s reconcile.Subject, _ time.Time) []reconcile.Finding {
		return onEach(s, func(m reconcile.Manifest, where string) []reconcile.Finding {
			var out []reconcile.Finding
			if n := (reconcile.Tree{Manifests: []reconcile.Manifest{m}}).Bytes(); p.Maximum != "" && n > maximum {
				out = append(out, reconcile.Finding{ID: "too-large", Summary: fmt.Sprintf("the image%s has %.1f MiB; at most %s are allowed", where, float64(n)/(1<<20), p.Maximum),
					Detail: "make it smaller, or ask for a waiver"})
			}
			if n := len(m.Blobs) - 1; p.Layers > 0 && n > p.Layers {
				out = append(out, reconcile.Finding{ID: "too-many-layers", Summary: fmt.Sprintf("the image%s has %d layers; at most %d are allowed", where, n, p.Layers),
					Detail: "join layers in its build, or ask for a waiver"})
			}
			return out
		})
	}, diags
}

// sizeUnits are tried in this order, so that the longer ones come first.
var sizeUnits = []struct {
	suffix string
	bytes  int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}}

func parseSize(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	for _, u := range sizeUnits {
		if number, ok := strings.CutSuffix(s, u.suffix); ok {
			if n, err := strconv.ParseInt(number, 10, 32); err == nil && n > 0 {
				return n * u.bytes, nil
			}
			break
		}
	}
	return 0, fmt.Errorf("%q is no size; write a number and a unit, as in \"500MiB\"", clean(s, 80))
}
