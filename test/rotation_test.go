package test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
	"github.com/assay-oci/assay/reconcile/sign"
)

// rotation is a world in which one signer replaces another.
type rotation struct {
	*world
	keys map[string]sign.PublicKey
}

func newRotation(t *testing.T, w *world) rotation {
	t.Helper()
	w.signing = false
	r := rotation{w, map[string]sign.PublicKey{}}
	for _, name := range []string{"old", "new"} {
		dir := filepath.Join(w.dir, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		writeKey(t, dir)
		key, err := sign.ReadPublicKey(filepath.Join(dir, "cosign.pub"))
		if err != nil {
			t.Fatal(err)
		}
		r.keys[name] = key
	}
	return r
}

// signers makes the catalog name some of the two; one that is named "-old" is retired.
func (r rotation) signers(names ...string) {
	r.extra = ""
	for _, n := range names {
		n, retired := strings.CutPrefix(n, "-")
		r.extra += fmt.Sprintf("signer %q {\n  key     = %q\n  retired = %t\n}\n", n, filepath.Join(r.dir, n, "cosign.key"), retired)
	}
}

// complete lists the signers whose signatures stand in both formats on the index and on each platform's manifest.
func (r rotation) complete(s *registrytest.Server, digest string) map[string]bool {
	r.t.Helper()
	v := sign.NewVerifier(r.keys, reader())
	root := reconcile.Image{Repo: s.Repo("approved/web"), Digest: reconcile.MustDigest(digest)}
	tree, err := reader().Tree(context.Background(), root)
	if err != nil {
		r.t.Error(err)
		return nil
	}
	out := map[string]bool{"old": true, "new": true}
	for _, d := range tree.Signed() {
		records, err := v.Records(context.Background(), reconcile.Image{Repo: root.Repo, Digest: d})
		if err != nil {
			r.t.Error(err)
			return nil
		}
		found := map[string]map[reconcile.Format]bool{"old": {}, "new": {}}
		for _, rec := range records {
			if rec.Problem == "" && rec.Statement.PredicateType == "" {
				found[rec.Statement.Signer][rec.Statement.Format] = true
			}
		}
		for name, formats := range found {
			out[name] = out[name] && len(formats) == 2
		}
	}
	return out
}

// A new signer is added and signs everything in the next run; then the old one is retired, and what it signed is deleted. Before each write in between, each digest is signed by one
// of them, wholly.
func TestOneSignerReplacesAnotherWithoutAMomentBetween(t *testing.T) {
	k, w := newKiller(t)
	r := newRotation(t, w)
	one, two := r.push("web", "1.0", 10), r.push("web", "1.1", 20)
	files := func() map[string]string {
		return map[string]string{"web.hcl": r.image("web", "1.0 "+one+" stable", "1.1 "+two)}
	}
	step := func(names ...string) int {
		t.Helper()
		r.signers(names...)
		r.commit(files())
		writes := k.writes
		r.run(0, "reconcile")
		return k.writes - writes
	}
	step("old")
	k.before = func() {
		for _, d := range []string{one, two} {
			if c := r.complete(r.eu, d); !c["old"] && !c["new"] {
				t.Errorf("before a write, %s is signed by neither", d)
			}
		}
	}
	if n := step("old", "new"); n < 12 {
		t.Errorf("the new signer signed with %d writes", n)
	}
	for _, s := range []*registrytest.Server{r.eu, r.us} {
		for _, d := range []string{one, two} {
			if c := r.complete(s, d); !c["old"] || !c["new"] {
				t.Errorf("after the new one was added, %s on %s: %v", d, s.Host, c)
			}
		}
	}
	if n := step("-old", "new"); n < 12 {
		t.Errorf("what the old signer signed was deleted with %d writes", n)
	}
	signed := func(when string) {
		t.Helper()
		for _, s := range []*registrytest.Server{r.eu, r.us} {
			for _, d := range []string{one, two} {
				if c := r.complete(s, d); !c["new"] || c["old"] {
					t.Errorf("%s, %s on %s: %v", when, d, s.Host, c)
				}
			}
		}
	}
	signed("after the old one was retired")
	if n := step("new"); n != 0 {
		t.Errorf("taking the retired one out of the catalog took %d writes", n)
	}
	signed("after the old one was taken out")
	if p := r.plan(0); len(p.Actions) > 0 {
		t.Errorf("there is something left to do: %v", kinds(p))
	}
}

// A signer that writes bundles alone, as one without a key does, replaces one that writes both formats: nothing stays of the first format either.
func TestASignerWithBundlesAloneReplacesOneWithBothFormats(t *testing.T) {
	for _, software := range []registrytest.Software{registrytest.Distribution, registrytest.Referrers} {
		t.Run(string(software), func(t *testing.T) {
			r := newRotation(t, newWorld(t, software))
			digest := r.push("web", "1.0", 10)
			for _, names := range [][]string{{"old"}, {"old", "new"}, {"-old", "new"}, {"new"}} {
				r.signers(names...)
				r.extra = strings.Replace(r.extra, "signer \"new\" {\n", "signer \"new\" {\n  formats = [\"bundle\"]\n", 1)
				r.commit(map[string]string{"web.hcl": r.image("web", "1.0 "+digest)})
				r.run(0, "reconcile")
			}
			for _, s := range []*registrytest.Server{r.eu, r.us} {
				for _, d := range append(r.platforms("web", digest), digest) {
					records, err := sign.NewVerifier(r.keys, reader()).Records(t.Context(), reconcile.Image{Repo: s.Repo("approved/web"), Digest: reconcile.MustDigest(d)})
					if err != nil {
						t.Fatal(err)
					}
					signed := 0
					for _, rec := range records {
						if rec.Statement.Signer != "new" || rec.Statement.Format != reconcile.Bundle {
							t.Errorf("%s in %s: %s by %q is left", d, s.Host, rec.Statement.Format, rec.Statement.Signer)
						}
						if rec.Statement.PredicateType == "" {
							signed++
						}
					}
					if signed != 1 {
						t.Errorf("%s in %s bears %d signatures", d, s.Host, signed)
					}
				}
			}
		})
	}
}
