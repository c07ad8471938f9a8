package main

import (
	"io/fs"

	catalog "github.com/assay-oci/assay/catalog-schema"
	"github.com/assay-oci/assay/reconcile/policy/expect"
)

// readTests reads the expectations of a catalog, in the order of their files.
func readTests(fsys fs.FS) ([]expect.Test, *catalog.Diagnostics) {
	files, diags := catalog.TestFiles(fsys, catalog.Limits{})
	var out []expect.Test
	for _, f := range files {
		tests, more := expect.Decode(f.Body, f.Folder)
		diags.Diagnostics = append(diags.Diagnostics, more...)
		out = append(out, tests...)
	}
	return out, diags
}
