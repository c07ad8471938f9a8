package test

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/forge/forgetest"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
)

// gated is an organization whose catalog lies in a folder of a repository at a forge, where ann owns the images.
type gated struct {
	*world
	forge  *forgetest.Server
	folder string
}

func newGated(t *testing.T, folder, baseline string) *gated {
	t.Helper()
	g := &gated{world: newWorld(t, registrytest.Distribution), forge: forgetest.New(t, "acme/catalog"), folder: folder}
	t.Setenv("GITHUB_API_URL", g.forge.URL)
	t.Setenv("GITHUB_TOKEN", "token")
	t.Setenv("ASSAY_GITHUB_TOKEN", "")
	g.forge.Token("token", forgetest.Reader())
	g.forge.Role("ann", "write")
	g.extra = "gate {\n  mode       = \"reviews\"\n  repository = \"acme/catalog\"\n" + baseline + "}\npolicy \"gate\" {\n  rule \"approval\" {\n    required = 1\n    from     = \"codeowners\"\n  }\n}\n"
	g.forge.Push("main", map[string]string{g.in("catalog.hcl"): g.organization(), ".github/CODEOWNERS": "/" + g.in("images") + "/ @ann\n"})
	return g
}

func (g *gated) in(name string) string { return path.Join(g.folder, name) }

// entry is the file of an image whose content is new.
func (g *gated) entry(name string, seed uint64) map[string]string {
	return map[string]string{g.in("images/" + name + ".hcl"): g.image(name, "1.0 "+g.push(name, "1.0", seed))}
}

// review runs plan or reconcile and returns what it tells of how an image was approved.
func (g *gated) review(command, image string, args ...string) reconcile.Review {
	g.t.Helper()
	o := g.assay(append([]string{command, "--catalog", g.forge.Dir, "--path", g.folder, "--cache", g.cache(), "-o", "json"}, args...)...)
	var r struct{ Plan reconcile.Plan }
	if err := json.Unmarshal([]byte(o.stdout), &r); err != nil {
		g.t.Fatalf("%v\n%s%s", err, o.stdout, o.stderr)
	}
	for _, p := range r.Plan.Profiles {
		if strings.HasPrefix(p.Image, image+":") && p.Review != nil {
			return *p.Review
		}
	}
	g.t.Fatalf("%s %v: nothing is told of %s (exit code %d)\n%s%s", command, args, image, o.code, o.stdout, o.stderr)
	return reconcile.Review{}
}

// From the request to the admission, for each way to merge: the plan says that it is pending, the reconcile who approved it, and the runs after it ask the
// forge nothing, since the approval is on record.
func TestAnApprovalIsVerified(t *testing.T) {
	for i, how := range []string{"merge", "squash", "rebase"} {
		t.Run(how, func(t *testing.T) {
			g := newGated(t, []string{"", "deploy/catalog"}[i%2], "")
			p := g.forge.Propose("dev", g.entry("app", 7))
			if got := g.review("plan", "app", "--ref", p.Branch, "--base", "main"); got.State != reconcile.Pending || got.PullRequest != p.Number || got.Head != p.Head {
				t.Errorf("while it is open: %+v", got)
			}
			g.forge.Review(p, "ann", "CHANGES_REQUESTED")
			g.forge.Amend(p, map[string]string{g.in("README.md"): "why"})
			g.forge.Review(p, "ann", "APPROVED")
			commit := g.forge.Merge(p, how)
			g.forge.Next(forgetest.Limit{Status: 502})
			got := g.review("reconcile", "app")
			if got.State != reconcile.Approved || got.Merge != commit || len(got.Approvers) != 1 || got.Approvers[0] != (reconcile.Approver{Login: "ann", Owner: "@ann", Rule: "/" + g.in("images") + "/"}) {
				t.Errorf("after the merge: %+v", got)
			}
			if got := tags(t, g.eu, "approved/app"); len(got) == 0 {
				t.Error("it was approved and is not there")
			}
			told := []string{fmt.Sprintf("by ann for @ann, code owner of /%s/", g.in("images")), fmt.Sprintf("in pull request %d by dev %s", p.Number, got.URL),
				fmt.Sprintf("reviewed at %s, merged as %s", got.Head, commit)}
			o := g.assay("verify", g.us.Host+"/approved/app:1.0", "--key", "cosign.pub", "--require", "approval") // whoever asks has neither the catalog nor the forge
			if o.code != 0 || !strings.Contains(o.stdout, strings.Join(told, "\n  ")+"\n") {
				t.Errorf("exit code %d, want %q in\n%s%s", o.code, told, o.stdout, o.stderr)
			}
			before := len(g.forge.Requests())
			if o := g.assay("reconcile", "--catalog", g.forge.Dir, "--path", g.folder, "--cache", g.cache()); o.code != 0 {
				t.Errorf("exit code %d\n%s%s", o.code, o.stdout, o.stderr)
			}
			if n := len(g.forge.Requests()) - before; n > 0 {
				t.Errorf("the forge was asked %d times about what is on record", n)
			}
		})
	}
}

func TestWhatWentAroundTheGate(t *testing.T) {
	g := newGated(t, "", "")
	direct := g.forge.Push("main", g.entry("direct", 1))
	bypassed := g.forge.Propose("dev", g.entry("bypassed", 2))
	g.forge.Merge(bypassed, "squash")
	stale := g.forge.Propose("dev", g.entry("stale", 3))
	g.forge.Review(stale, "ann", "APPROVED")
	g.forge.Amend(stale, g.entry("stale", 4))
	g.forge.Merge(stale, "merge")
	for image, want := range map[string]string{"direct": direct[:12] + " came to main without a pull request", "bypassed": "without an approval", "stale": "stale"} {
		if got := g.review("plan", image); got.State != reconcile.NotApproved || !strings.Contains(got.Reason, want) {
			t.Errorf("%s: %+v", image, got)
		}
	}
	if o := g.assay("reconcile", "--catalog", g.forge.Dir, "--cache", g.cache()); o.code != 3 {
		t.Errorf("exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	for _, image := range []string{"direct", "bypassed", "stale"} {
		if got := tags(t, g.eu, "approved/"+image); len(got) > 0 {
			t.Errorf("%s was admitted: %v", image, got)
		}
	}
	// what a pull request says of the gate has no say
	loose := g.forge.Propose("dev", map[string]string{"catalog.hcl": strings.Replace(g.organization(), `"reviews"`, `"off"`, 1)})
	if got := g.review("plan", "direct", "--ref", loose.Branch, "--base", "main"); got.State != reconcile.NotApproved {
		t.Errorf("under a gate that the pull request opens: %+v", got)
	}
}

// Entries that are older than the gate rest on a commit that its reviewers have looked at.
func TestTheBaseline(t *testing.T) {
	g := newGated(t, "", "")
	baseline := g.forge.Push("main", g.entry("old", 1))
	g.extra = strings.Replace(g.extra, "}", "  baseline = \""+baseline+"\"\n}", 1)
	g.forge.Push("main", map[string]string{"catalog.hcl": g.organization()})
	g.forge.Push("main", g.entry("new", 2))
	if got := g.review("plan", "old"); got.State != reconcile.Approved || !got.Baseline || got.Commit != baseline {
		t.Errorf("old: %+v", got)
	}
	if got := g.review("plan", "new"); got.State != reconcile.NotApproved {
		t.Errorf("new: %+v", got)
	}
}

// A forge that can't be asked approves nothing, and stops nothing else.
func TestAForgeThatCannotBeAsked(t *testing.T) {
	g := newGated(t, "", "")
	g.forge.Push("main", g.entry("app", 1))
	t.Setenv("GITHUB_API_URL", "http://github.example.com")
	if got := g.review("plan", "app"); got.State != reconcile.UnknownReview || !strings.Contains(got.Reason, "use https") {
		t.Errorf("%+v", got)
	}
}
