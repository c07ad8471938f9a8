package test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
)

// trial makes the commit that a forge tries the merge of a pull request out with, below refs/pull.
func (g *gated) trial(number, branch string) string {
	g.t.Helper()
	g.forge.Git("checkout", "-q", "--detach", "main")
	g.forge.Git("merge", "-q", "--no-ff", "-m", "trial", branch)
	commit := g.forge.Git("rev-parse", "HEAD")
	g.forge.Git("update-ref", "refs/pull/"+number+"/merge", commit)
	g.forge.Git("checkout", "-q", "main")
	return commit
}

// A workflow plans the merge that the forge tries out. What was merged since the pull request began is no change of its, and it is found by its own head.
func TestTheMergeThatIsTriedOutIsPlanned(t *testing.T) {
	g := newGated(t, "", "")
	p := g.forge.Propose("dev", g.entry("app", 1))
	g.forge.Push("main", map[string]string{"images/other.hcl": g.image("other", "1.0 "+g.push("other", "1.0", 2)), "policy.hcl": "policy \"more\" {\n  rule \"versions\" {\n    maximum = 3\n  }\n}\n"})
	commit := g.trial("1", p.Branch)
	got := g.review("plan", "app", "--commit", commit, "--base", commit+"^")
	if got.State != reconcile.Pending || got.PullRequest != p.Number || got.Head != p.Head {
		t.Errorf("%+v", got)
	}
	o := g.assay("plan", "--catalog", g.forge.Dir, "--cache", g.cache(), "--commit", commit, "--base", commit+"^", "-o", "json")
	if strings.Contains(o.stdout, `"changes"`) {
		t.Errorf("what main changed counts as the pull request's\n%s", o.stdout)
	}
}

// A fork's pull request has no credentials: the source and the policy are judged all the same, and what could not be read is told.
func TestAPlanWithoutCredentials(t *testing.T) {
	refusing := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	w := newWorldOn(t, registrytest.Start(t, refusing), registrytest.Start(t, refusing))
	w.extra = "policy \"no\" {\n  rule \"sources\" {\n    deny = [\"" + w.source.Host + "/denied\"]\n  }\n}\n"
	w.commit(map[string]string{"app.hcl": w.image("app", "1.0 "+w.push("app", "1.0", 1))})
	w.run(4, "plan")
	if o := w.run(0, "plan", "--allow-gaps", "-o", "markdown"); !strings.Contains(o.stdout, "401") {
		t.Errorf("it doesn't say what it could not read\n%s", o.stdout)
	}
	w.commit(map[string]string{"denied.hcl": w.image("denied", "1.0 "+w.push("denied", "1.0", 1))})
	if o := w.run(3, "plan", "--allow-gaps"); !strings.Contains(o.stdout, "is denied as a source") {
		t.Errorf("the policy isn't judged\n%s", o.stdout)
	}
}
