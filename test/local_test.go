package test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/assay-oci/assay/reconcile/registry/registrytest"
)

// requested is a repository with a pull request in the branch "request".
func (w *world) requested(files map[string]string) {
	w.t.Helper()
	w.git("-C", w.catalog(), "checkout", "-q", "-b", "request")
	w.commit(files)
	w.git("-C", w.catalog(), "checkout", "-q", "main")
}

// A pull request names sources, and none of them is asked anything if the merged policy doesn't allow it; the other images go on.
func TestASourceThatTheMergedPolicyDoesNotAllowIsAskedNothing(t *testing.T) {
	w, stranger := newWorld(t, registrytest.Distribution), registrytest.New(t, registrytest.Distribution)
	bad := stranger.Push("bad", registrytest.Image("amd64", registrytest.Layer(1, 100)), "1.0").Digest.String()
	w.commit(map[string]string{})
	own := w.source
	w.source = stranger
	files := map[string]string{"bad.hcl": w.image("bad", "1.0 "+bad), "policy.hcl": "policy \"mine\" {\n  rule \"sources\" {\n    allow = [\"" + stranger.Host + "/**\"]\n  }\n}\n"}
	w.source = own
	files["good.hcl"] = w.image("good", "1.0 "+w.push("good", "1.0", 1))
	w.requested(files)
	stranger.Reset()
	o := w.run(3, "plan", "--ref", "request", "--base", "main")
	if n := len(stranger.Requests()); n > 0 || !strings.Contains(o.stdout, "is not an allowed source") || !strings.Contains(o.stdout, "good:1.0") {
		t.Errorf("%d requests\n%s", n, o.stdout)
	}
}

// A policy that allows hosts by a pattern allows none on this machine. What a pull request says of that has no say, and its other images go on; what is merged
// has one.
func TestThisMachineIsCalledOnlyIfTheMergedCatalogNamesIt(t *testing.T) {
	w, inside := newWorld(t, registrytest.Distribution), registrytest.New(t, registrytest.Distribution)
	digest := inside.Push("db", registrytest.Image("amd64", registrytest.Layer(1, 100)), "1.0").Digest.String()
	_, port, err := net.SplitHostPort(inside.Host)
	if err != nil {
		t.Fatal(err)
	}
	here := "localhost:" + port
	db := fmt.Sprintf("image \"db\" {\n  source = \"%s/db\"\n  version \"1.0\" {\n    digest = %q\n  }\n}\n", here, digest)
	old, good := w.image("old", "1.0 "+w.push("old", "1.0", 1)), w.image("good", "1.0 "+w.push("good", "1.0", 2))
	w.source = &registrytest.Server{Host: "*"} // as the policy names it
	w.extra = "policy \"more\" {\n  rule \"platforms\" {\n    require = [\"linux/amd64\"]\n  }\n}\n"
	w.commit(map[string]string{"old.hcl": old})
	w.requested(map[string]string{"old.hcl": old, "good.hcl": good, "db.hcl": db, "mine.hcl": "policy \"mine\" {\n  rule \"sources\" {\n    allow = [\"" + here + "/**\", \"*/**\"]\n  }\n}\n"})
	inside.Reset()
	o := w.assay("plan", "--catalog", w.catalog(), "--cache", w.cache(), "--ref", "request", "--base", "main")
	if n := len(inside.Requests()); n > 0 || o.code == 0 || !strings.Contains(o.stdout, here+" is at 127.0.0.1, an address of this machine, and is not called") {
		t.Errorf("%d requests, exit code %d\n%s%s", n, o.code, o.stdout, o.stderr)
	}
	if !strings.Contains(o.stdout, "good:1.0") {
		t.Errorf("one image that can't be read stops the others\n%s", o.stdout)
	}
	w.commit(map[string]string{"db.hcl": db})
	if o := w.run(0, "plan"); !strings.Contains(o.stdout, "db:1.0") || len(inside.Requests()) == 0 {
		t.Errorf("it is merged, and not read\n%s", o.stdout)
	}
}

// Whoever types a name means it.
func TestWhatSomebodyTypesMayBeThisMachine(t *testing.T) {
	w := newWorld(t, registrytest.Distribution)
	w.push("app", "1.0", 1)
	if o := w.assay("scan", w.source.Host+"/app:1.0", "--cache", w.cache()); strings.Contains(o.stderr, "is not called") || !strings.Contains(o.stdout, "linux/amd64") {
		t.Errorf("%s%s", o.stdout, o.stderr)
	}
	if o := w.assay("verify", w.source.Host+"/app:1.0", "--key", "cosign.pub"); strings.Contains(o.stderr, "is not called") {
		t.Errorf("%s%s", o.stdout, o.stderr)
	}
}
