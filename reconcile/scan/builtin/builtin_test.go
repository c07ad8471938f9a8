package builtin

import (
	"testing"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/scan/scantest"
)

// imported returns a directory with a database of scantest's advisories.
func imported(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := Import(t.Context(), dir, scantest.OSV(t)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestConformance(t *testing.T) {
	scantest.Run(t, func(t *testing.T) reconcile.Scanner { return New(Options{Dir: imported(t)}) })
}
