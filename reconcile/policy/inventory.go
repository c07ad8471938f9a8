package policy

import (
	"slices"
	"strings"

	"github.com/assay-oci/assay/reconcile"
)

// A listed package is one that scanners list, with all the licences that they state for it.
type listed struct {
	reconcile.Package
	licenses []string // distinct; empty if none states one
}

// inventory unites the packages that the scanners with a verdict list, sorted by key. ok is false if none lists any inventory: then nothing is
// known of the image's packages.
func inventory(vs []verdict) (out []listed, ok bool) {
	by := map[string]*listed{}
	for _, v := range vs {
		if v.without != "" || v.scan.Inventory == nil {
			continue
		}
		ok = true
		for _, p := range v.scan.Inventory.Packages {
			key := reconcile.PackageKey(p)
			if by[key] == nil {
				by[key] = &listed{Package: p}
			}
			l := by[key]
			if s := strings.TrimSpace(p.License); s != "" && !slices.Contains(l.licenses, s) {
				l.licenses = append(l.licenses, s)
			}
		}
	}
	keys := make([]string, 0, len(by))
	for k, l := range by {
		keys = append(keys, k)
		slices.Sort(l.licenses)
	}
	slices.Sort(keys)
	for _, k := range keys {
		out = append(out, *by[k])
	}
	return out, ok
}

// noInventory is the finding where no scanner lists the packages of a platform.
func noInventory(vs []verdict, what, platform string) []reconcile.Finding {
	detail := "a scanner that lists packages must give a verdict"
	if why := reasons(vs); why != "" {
		detail += "; " + why
	}
	return []reconcile.Finding{{ID: "no-inventory", Summary: "no scanner lists the packages on " + platform + ", so nothing can be said about " + what, Detail: detail, Unknown: true}}
}

func (l listed) title() string {
	return strings.TrimSpace(clean(l.Name, 200) + " " + clean(l.Version, 100))
}
