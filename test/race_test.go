package test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
	"github.com/assay-oci/assay/reconcile/sign"
)

// Eight reconcilers at once, each a process with a cache of its own, as many times as ASSAY_TEST_ROUNDS says (once by default). What a race lost or wrote
// twice, the next run heals: then each digest bears one valid record of each kind.
func TestEightReconcilersAtOnceLeaveOneRecordOfEachKind(t *testing.T) {
	rounds, _ := strconv.Atoi(os.Getenv("ASSAY_TEST_ROUNDS"))
	for _, software := range []registrytest.Software{registrytest.Distribution, registrytest.Google, registrytest.Referrers} {
		t.Run(string(software), func(t *testing.T) {
			for round := range max(1, rounds) {
				w := newWorld(t, software)
				digest := w.push("web", "1.0", uint64(10+round))
				w.commit(map[string]string{"web.hcl": w.image("web", "1.0 "+digest+" stable")})
				var all sync.WaitGroup
				for n := range 8 {
					all.Go(func() {
						cmd := w.command("reconcile", "--catalog", w.catalog(), "--cache", filepath.Join(w.dir, fmt.Sprint("cache-", n)))
						if out, err := cmd.CombinedOutput(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() == 1 { // 4 is: run it again
							t.Errorf("%v\n%s", err, out)
						}
					})
				}
				all.Wait()
				w.run(0, "reconcile")
				if p := w.plan(0); !p.Empty() {
					t.Errorf("round %d: left to do: %s", round, kinds(p))
				}
				for _, s := range []*registrytest.Server{w.eu, w.us} {
					for what, n := range w.recordKinds(s, "approved/web", digest) {
						if n != 1 {
							t.Errorf("round %d: %s lies %d times in %s", round, what, n, s.Host)
						}
					}
				}
			}
		})
	}
}

// recordKinds counts the valid records beside each manifest of an image. Those that must be there are there, with 0 if they aren't.
func (w *world) recordKinds(s *registrytest.Server, path, digest string) map[string]int {
	w.t.Helper()
	key, err := sign.ReadPublicKey(filepath.Join(w.dir, "cosign.pub"))
	if err != nil {
		w.t.Fatal(err)
	}
	r := reader()
	v := sign.NewVerifier(map[string]sign.PublicKey{"main": key}, r)
	root := reconcile.Image{Repo: s.Repo(path), Digest: reconcile.MustDigest(digest)}
	tree, err := r.Tree(context.Background(), root)
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]int{}
	for _, d := range tree.Signed() {
		for _, f := range []reconcile.Format{reconcile.Legacy, reconcile.Bundle} {
			out[fmt.Sprintf("%s of %s", f, d.Short())] = 0
		}
		if d == root.Digest {
			out[fmt.Sprintf("%s of %s%s", reconcile.Bundle, d.Short(), reconcile.VerdictPredicate)] = 0
			out[fmt.Sprintf("%s of %s%s", reconcile.Bundle, d.Short(), reconcile.ApprovalPredicate)] = 0
		}
		records, err := v.Records(context.Background(), reconcile.Image{Repo: root.Repo, Digest: d})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, rec := range records {
			if rec.Problem != "" {
				w.t.Errorf("%s: %s", d, rec.Problem)
			}
			out[fmt.Sprintf("%s of %s%s", rec.Statement.Format, d.Short(), rec.Statement.PredicateType)]++
		}
	}
	return out
}
