package test

import (
	"os"
	"strings"
	"testing"
)

// What is wrong in the branch itself isn't the business of a pull request that doesn't touch it: it is counted, and stops nobody; unless the policy is changed,
// by which all is judged.
func TestWhatIsWrongInTheBranch(t *testing.T) {
	g := newStory(t)
	g.forge.Push("main", g.entry("direct", 1))
	words := g.forge.Propose("dev", map[string]string{"README.md": "more"})
	g.planned(words, 0, "--check")
	if body := g.ours(words.Number).Body; strings.Contains(body, "direct") || !strings.Contains(body, "in the branch itself, whatever becomes of this pull request: 1 blocked") {
		t.Errorf("%s", body)
	}
	if k := g.forge.Checks(); len(k) != 1 || k[0].Conclusion != "success" {
		t.Errorf("check runs %+v", k)
	}
	p := g.forge.Propose("dev", g.entry("app", 2))
	o := g.planned(p, 0)
	g.golden("elsewhere", g.ours(p.Number).Body)
	if strings.Contains(o.stdout, "::error") {
		t.Errorf("annotations\n%s", o.stdout)
	}
	if o := g.assay("plan", "--catalog", g.forge.Dir, "--cache", g.cache(), "--ref", p.Branch, "--base", "main"); o.code != 0 || strings.Contains(o.stdout, "direct:") || !strings.Contains(o.stdout, "1 blocked") {
		t.Errorf("exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	own := g.forge.Propose("dev", map[string]string{"images/direct.hcl": g.image("direct", "1.0 "+g.push("direct", "1.0", 1)+" stable")})
	g.planned(own, 3)
	policy := g.forge.Propose("dev", map[string]string{"catalog.hcl": g.organization() + "policy \"more\" {\n  rule \"platforms\" {\n    require = [\"linux/amd64\"]\n  }\n}\n"})
	g.planned(policy, 3)
	if body := g.ours(policy.Number).Body; !strings.Contains(body, "`direct:1.0`") {
		t.Errorf("%s", body)
	}
}

// A run that ended before it had anything to tell says why where people look, in the place of what an older one said.
func TestARunThatFails(t *testing.T) {
	g := newStory(t)
	p := g.forge.Propose("dev", g.entry("app", 1))
	g.planned(p, 0)
	g.report(1, "plan", "--ref", p.Branch, "--base", "gone")
	o := g.publish("comment", "--labels", "--check")
	if body := g.ours(p.Number).Body; !strings.Contains(body, "### Assay plan: failed") || !strings.Contains(body, "`") || strings.Contains(body, "app:1.0") {
		t.Errorf("%s", body)
	}
	if !strings.HasPrefix(o.stdout, "::error title=assay::") || g.forge.Checks()[0].Conclusion != "failure" || g.forge.Labels(p.Number)[0] != "assay:failed" {
		t.Errorf("%s\n%+v\n%q", o.stdout, g.forge.Checks(), g.forge.Labels(p.Number))
	}
	g.planned(p, 0)
	g.forge.Review(p, "ann", "APPROVED")
	before := g.forge.Git("rev-parse", "main")
	after := g.forge.Merge(p, "merge")
	key := g.dir + "/cosign.key"
	if err := os.Rename(key, key+".away"); err != nil {
		t.Fatal(err)
	}
	g.pushed(before, after, 1)
	if body := g.ours(p.Number).Body; !strings.Contains(body, "### Assay reconcile: failed") || !strings.Contains(body, "cosign.key") {
		t.Errorf("%s", body)
	}
	g.event("schedule", map[string]any{})
	g.publish("drift")
	if all := g.forge.Issues(); len(all) > 0 {
		t.Errorf("nobody knows whether there is drift: %+v", all)
	}
	if err := os.Rename(key+".away", key); err != nil {
		t.Fatal(err)
	}
	g.pushed(before, after, 0)
	if body := g.ours(p.Number).Body; !strings.Contains(body, "docker pull ") || !strings.Contains(body, "Differs from the approved plan: nothing") {
		t.Errorf("%s", body)
	}
}
