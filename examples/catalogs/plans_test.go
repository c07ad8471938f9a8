package catalogs

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	catalog "github.com/assay-oci/assay/catalog-schema"
	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/report"
)

var update = flag.Bool("update", false, "write the golden plans anew")

// commit is the one that the examples are read at.
const commit = "0123456789abcdef0123456789abcdef01234567"

// found is what scanners say, by an image's title; they find nothing in the others.
var found = map[string][]reconcile.Vulnerability{
	"ledger:4.3.1": {{ID: "CVE-2026-4321", Severity: reconcile.Medium, FixedIn: []string{"1:1.2.13.dfsg-2"}, Summary: "out-of-bounds read in minizip",
		Package:   reconcile.Package{Name: "zlib1g", Version: "1:1.2.13.dfsg-1", Ecosystem: "Debian:12"},
		Published: options.Now.Add(-30 * 24 * time.Hour)}},
	"ledger:4.2.0": {{ID: "CVE-2026-63072", Severity: reconcile.High, FixedIn: []string{"3.0.22-1~deb12u1"}, Summary: "heap buffer overflow in CMS key unwrapping",
		Package:   reconcile.Package{Name: "libssl3", Version: "3.0.20-1~deb12u2", Ecosystem: "Debian:12"},
		Published: options.Now.Add(-30 * 24 * time.Hour)}},
}

// Each example's folder shows the plan of its first run, and the plan that is left when all has been done that could be: after one
// run and, for registries that wait for others, another one when they need wait no longer.
func TestPlansOfTheExamples(t *testing.T) {
	files, err := filepath.Glob("*/acme.hcl")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		dir := filepath.Dir(f)
		t.Run(dir, func(t *testing.T) {
			at := options
			at.Commit = commit
			d, diags := catalog.LoadCommit(os.DirFS(dir), at)
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			w := newWorld(d, options.Now, found)
			known := reconcile.Observed{Budget: 1 << 40}
			golden(t, dir, "plan", reconcile.Preview(t.Context(), d, known, w.sensors(), w.now))
			if len(w.held)+len(w.tags)+len(w.records) > 0 {
				t.Errorf("the preview wrote something")
			}
			for _, wait := range []time.Duration{0, 73 * time.Hour} {
				w.now = w.now.Add(wait)
				r := reconcile.Reconcile(t.Context(), d, known, w.sensors(), w.effects(), w.now)
				for i, o := range r.Result.Outcomes {
					if o.Status != reconcile.Done {
						t.Errorf("%s of %s: %s, %s", r.Plan.Actions[i].Kind, r.Plan.Actions[i].Title, o.Status, o.Reason)
					}
				}
			}
			settled := reconcile.Preview(t.Context(), d, known, w.sensors(), w.now)
			golden(t, dir, "settled", settled)
			if len(settled.Plan.Actions) > 0 {
				t.Errorf("%d actions are left", len(settled.Plan.Actions))
			}
		})
	}
}

// golden compares a report with the files dir/name.golden.txt and .json.
func golden(t *testing.T, dir, name string, r reconcile.Report) {
	t.Helper()
	var text, data bytes.Buffer
	if err := report.Text(&text, r, false); err != nil {
		t.Fatal(err)
	}
	if err := report.JSON(&data, r); err != nil {
		t.Fatal(err)
	}
	for ext, got := range map[string][]byte{".txt": text.Bytes(), ".json": data.Bytes()} {
		path := filepath.Join(dir, name+".golden"+ext)
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: the plan is another one; read the difference, then run make update-golden\n%s", path, firstDifference(string(got), string(want)))
		}
	}
}

func firstDifference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return "got  " + a[i] + "\nwant " + b[i]
		}
	}
	return "one is longer"
}
