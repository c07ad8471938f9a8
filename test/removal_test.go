package test

import (
	"strings"
	"testing"
)

// A reviewer of a pull request that takes an image out, or moves it, learns what becomes of what the registries hold.
func TestAnImageIsTakenOut(t *testing.T) {
	for prune, want := range map[string]string{"": "its tags and its content stay, since the catalog has no prune block", "prune {\n  limit = 3\n  grace = \"1h\"\n}\n": "its tags go, and its content once it has been absent for 1h0m0s"} {
		g := newStory(t)
		g.extra += prune
		g.forge.Push("main", map[string]string{"catalog.hcl": g.organization()})
		p := g.forge.Propose("dev", g.entry("app", 1))
		g.forge.Amend(p, g.entry("other", 2))
		g.forge.Review(p, "ann", "APPROVED")
		before := g.forge.Git("rev-parse", "main")
		g.pushed(before, g.forge.Merge(p, "merge"), 0)
		if body := g.ours(p.Number).Body; !strings.Contains(body, "2 admitted") || !strings.Contains(body, "docker pull ") {
			t.Errorf("it was never planned, and merged: %s", body)
		}
		p = g.forge.Propose("dev", map[string]string{"images/app.hcl": ""})
		o := g.planned(p, 0)
		if body := g.ours(p.Number).Body; !strings.Contains(body, "`app:1.0`") || !strings.Contains(body, want) || strings.Contains(body, "the registries match") || strings.Contains(body, "approved/app@") {
			t.Errorf("%s", body)
		}
		if !strings.Contains(o.stdout, "::warning file=images/app.hcl,line=3,title=taken-out app%3A1.0::") {
			t.Errorf("%s", o.stdout)
		}
		again := g.forge.Propose("dev", map[string]string{"images/app.hcl": g.image("app", "1.0 "+g.push("app", "1.0", 3))})
		g.planned(again, 3)
		if body := g.ours(again.Number).Body; !strings.Contains(body, "**blocked** by 1 rule: `fixed-tag`") {
			t.Errorf("its digest is replaced: %s", body)
		}
		q := g.forge.Propose("dev", map[string]string{"team/scope.hcl": "scope \"team\" {\n  level = \"application\"\n  path  = \"team\"\n}\n", "images/app.hcl": "", "team/app.hcl": g.forge.Git("show", "main:images/app.hcl") + "\n"})
		g.planned(q, 0)
		if body := g.ours(q.Number).Body; !strings.Contains(body, want) || !strings.Contains(body, "moves from the scope") {
			t.Errorf("%s", body)
		}
		g.forge.Review(p, "ann", "APPROVED")
		before = g.forge.Git("rev-parse", "main")
		g.pushed(before, g.forge.Merge(p, "squash"), 0)
		if body := g.ours(p.Number).Body; prune != "" && (!strings.Contains(body, "is gone in `eu`, `us`") || !strings.Contains(body, "Differs from the approved plan: nothing")) {
			t.Errorf("%s", body)
		}
	}
}
