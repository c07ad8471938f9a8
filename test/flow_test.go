package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/assay-oci/assay/reconcile/registry/registrytest"
)

// The same story on every registry that we know: add, do nothing, move, correct, revoke.
func TestTheWholeWay(t *testing.T) {
	for _, software := range registrytest.All {
		t.Run(string(software), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, software)
			one, two := w.push("web", "1.0", 10), w.push("web", "1.1", 20)
			w.commit(map[string]string{"web.hcl": w.image("web", "1.0 "+one+" stable")})

			if got := kinds(w.plan(0)); got != "copy 2, sign 6, attest 2, place 16, tag 4" {
				t.Errorf("first plan: %s", got)
			}
			if n := w.eu.Count("PUT", "") + w.eu.Count("POST", "") + w.eu.Count("DELETE", ""); n != 0 {
				t.Errorf("a plan wrote %d times", n)
			}
			w.run(0, "reconcile")
			for _, s := range []*registrytest.Server{w.eu, w.us} {
				if got := fmt.Sprint(tags(t, s, "approved/web")); got != fmt.Sprintf("map[1.0:%s stable:%s]", one, one) {
					t.Errorf("tags: %s", got)
				}
				if bad := w.unsigned(s, "approved/web", one); bad != nil {
					t.Errorf("not signed: %v", bad)
				}
			}
			if o := w.run(0, "plan", "--detailed-exitcode"); !strings.Contains(o.stdout, "Nothing to do") {
				t.Errorf("after reconcile: %s", o.stdout)
			}

			w.commit(map[string]string{"web.hcl": w.image("web", "1.0 "+one, "1.1 "+two+" stable")})
			o := w.run(2, "plan", "--detailed-exitcode")
			if !strings.Contains(o.stdout, "~ tag") || !strings.Contains(o.stdout, "web.hcl:") {
				t.Errorf("a moved tag is not shown:\n%s", o.stdout)
			}
			w.run(0, "reconcile")
			if got := tags(t, w.eu, "approved/web"); got["stable"] != two || got["1.0"] != one {
				t.Errorf("tags after the move: %v", got)
			}

			registrytest.Push(t, w.eu.Host, "approved/web", registrytest.Image("amd64", registrytest.Layer(99, 100)), "stable", "1.0")
			w.run(0, "reconcile")
			if got := tags(t, w.eu, "approved/web"); got["stable"] != two || got["1.0"] != one {
				t.Errorf("tags after a change by hand: %v", got)
			}

			w.commit(map[string]string{"web.hcl": w.image("web", "1.1 "+two+" stable") + fmt.Sprintf("revoke \"web\" {\n  digest = %q\n  reason = \"CVE-2026-1234\"\n}\n", one)})
			w.run(0, "reconcile")
			for _, s := range []*registrytest.Server{w.eu, w.us} {
				if got := fmt.Sprint(tags(t, s, "approved/web")); got != fmt.Sprintf("map[1.1:%s stable:%s]", two, two) {
					t.Errorf("tags after the revocation: %s", got)
				}
				if holds(t, s, "approved/web", one) {
					t.Error("the revoked digest is still there")
				}
				if bad := w.unsigned(s, "approved/web", two); bad != nil {
					t.Errorf("what stays lost its signatures: %v", bad)
				}
				for _, tag := range recordTags(t, s, "approved/web") {
					if strings.Contains(tag, strings.TrimPrefix(one, "sha256:")) {
						t.Errorf("a record of the revoked digest is left: %s", tag)
					}
				}
			}
			if o := w.run(0, "plan", "--detailed-exitcode"); !strings.Contains(o.stdout, "Nothing to do") {
				t.Errorf("at the end: %s", o.stdout)
			}
		})
	}
}

func TestRegistryThatCannotUntag(t *testing.T) {
	w := newWorld(t, registrytest.Debian)
	one := w.push("web", "1.0", 10)
	w.commit(map[string]string{"web.hcl": w.image("web", "1.0 "+one)})
	w.run(0, "reconcile")
	foreign := registrytest.Push(t, w.eu.Host, "approved/web", registrytest.Image("amd64", registrytest.Layer(99, 100)), "hack", "other")
	o := w.run(3, "reconcile")
	if !strings.Contains(o.stdout, "can't be removed") {
		t.Errorf("the finding is missing:\n%s", o.stdout)
	}
	got := tags(t, w.eu, "approved/web")
	if got["hack"] != foreign.Digest.String() || got["other"] != foreign.Digest.String() || got["1.0"] != one {
		t.Errorf("something was pushed over a tag, or more than the tag was deleted: %v", got)
	}
	w.reset()
	if o := w.run(3, "reconcile"); !strings.Contains(o.stdout, "can't be removed") {
		t.Errorf("the next run does not say it:\n%s", o.stdout)
	}
	if n := w.eu.Count("DELETE", ""); n != 0 {
		t.Errorf("the next run tried %d times again", n)
	}
}

func TestSinceLooksOnlyAtWhatTheCatalogChanged(t *testing.T) {
	w := newWorld(t, registrytest.Distribution)
	web, api, next := w.push("web", "1.0", 10), w.push("api", "1.0", 20), w.push("web", "1.1", 30)
	before := w.commit(map[string]string{"web.hcl": w.image("web", "1.0 "+web+" stable"), "api.hcl": w.image("api", "1.0 "+api)})
	w.run(0, "reconcile")
	w.commit(map[string]string{"web.hcl": w.image("web", "1.1 "+next+" stable"), "api.hcl": w.image("api", "1.0 "+api)})
	w.reset()
	w.run(0, "reconcile", "--since", before)
	for _, s := range []*registrytest.Server{w.eu, w.us} {
		for _, r := range s.Requests() {
			if strings.HasPrefix(r.Path, "/v2/approved/api/") && r.Kind != "mount" {
				t.Errorf("%s %s, though nothing changed there", r.Method, r.Path)
			}
		}
		if got := fmt.Sprint(tags(t, s, "approved/web")); got != fmt.Sprintf("map[1.1:%s stable:%s]", next, next) {
			t.Errorf("tags: %s", got)
		}
	}
	if o := w.run(0, "plan", "--detailed-exitcode"); !strings.Contains(o.stdout, "Nothing to do") {
		t.Errorf("a sweep finds more: %s", o.stdout)
	}
	w.run(1, "reconcile", "--since", strings.Repeat("ab", 20))
}
