package catalog

import (
	"github.com/hashicorp/hcl/v2"

	"github.com/assay-oci/assay/reconcile"
)

// EntriesIn returns the versions that one file of a catalog declares; its name is relative to the catalog. Like Approvals it is lenient: a version
// was there, whatever mistake stands elsewhere in the file. A file that is longer than a catalog's may be declares none.
func EntriesIn(file string, src []byte, limits Limits) []reconcile.Entry {
	limits = limits.withDefaults()
	if int64(len(src)) > limits.File {
		return nil
	}
	t := &tree{limits: limits, files: map[string]*hcl.File{}, scopes: map[string]*scopeBlock{}, causes: map[string]*hcl.Diagnostic{}}
	t.file(file, src)
	var out []reconcile.Entry
	for _, x := range t.images {
		for _, v := range x.Versions {
			if !v.Digest.IsZero() {
				out = append(out, reconcile.Entry{Image: x.label, Version: v.label, Digest: v.Digest, Origin: origin(v.def())})
			}
		}
	}
	return out
}
