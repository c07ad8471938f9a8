package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/assay-oci/assay/reconcile/forge/forgetest"
)

// What the comment tells of the end stays, whoever starts an old run again: the reconcile's, the plan's of the pull request, or that of a commit before its last.
func TestOldRunsAreStartedAgain(t *testing.T) {
	g := newStory(t)
	p := g.forge.Propose("dev", g.entry("app", 1))
	old := p.Head
	g.forge.Amend(p, g.entry("app", 2))
	g.planned(p, 0)
	planned := g.ours(p.Number)
	newest := p.Head
	stale := *p
	stale.Head = old
	if o := g.planned(&stale, 0); !strings.Contains(o.stderr, "the newest one is "+newest[:12]) || g.ours(p.Number).Body != planned.Body {
		t.Errorf("the plan of an older commit: %s\n%s", o.stderr, g.ours(p.Number).Body)
	}
	g.forge.Review(p, "ann", "APPROVED")
	before := g.forge.Git("rev-parse", "main")
	after := g.forge.Merge(p, "merge")
	g.pushed(before, after, 0)
	end := g.ours(p.Number)
	if !strings.Contains(end.Body, "docker pull ") {
		t.Fatalf("%s", end.Body)
	}
	g.pushed(before, after, 0)
	g.planned(p, 0)
	if c := g.ours(p.Number); c.Body != end.Body || c.Edits != end.Edits {
		t.Errorf("it is now\n%s", c.Body)
	}
}

// Of the runs that wait, GitHub keeps the newest alone. What that one did for the pull request of another is told there.
func TestARunThatWasOvertaken(t *testing.T) {
	g := newStory(t)
	var at []string
	var numbers []int
	for i, name := range []string{"zero", "one", "two", "three"} {
		p := g.forge.Propose("dev", g.entry(name, uint64(i)+1))
		g.planned(p, 0)
		g.forge.Review(p, "ann", "APPROVED")
		at, numbers = append(at, g.forge.Git("rev-parse", "main")), append(numbers, p.Number)
		after := g.forge.Merge(p, []string{"merge", "squash", "rebase", "merge"}[i])
		if i == 0 {
			g.pushed(at[0], after, 0)
		}
	}
	first := g.ours(numbers[0])
	g.pushed(at[3], g.forge.Git("rev-parse", "main"), 0, "--labels")
	for i, name := range []string{"one", "two", "three"} {
		if c := g.ours(numbers[i+1]); !strings.Contains(c.Body, "**Reconciled** 2 of 2 registries") || !strings.Contains(c.Body, fmt.Sprintf("/approved/%s@sha256:", name)) {
			t.Errorf("#%d says\n%s", numbers[i+1], c.Body)
		}
		if got := g.forge.Labels(numbers[i+1]); len(got) != 1 || got[0] != "assay:done" {
			t.Errorf("#%d has the labels %q", numbers[i+1], got)
		}
	}
	if c := g.ours(numbers[0]); c.Edits != first.Edits {
		t.Errorf("the one that had its end is now\n%s", c.Body)
	}
	asked := len(g.forge.Requests())
	g.pushed(at[3], g.forge.Git("rev-parse", "main"), 0)
	if n := len(g.forge.Requests()) - asked; n > 12 {
		t.Errorf("a run that has nothing to tell asks %d times\n%q", n, g.forge.Requests()[asked:])
	}
}

// One pull request that nobody may write on keeps the others of the push from nothing; and a permission that is missing is named.
func TestAPullRequestThatIsLocked(t *testing.T) {
	g := newStory(t)
	one, two := g.forge.Propose("dev", g.entry("one", 1)), g.forge.Propose("dev", g.entry("two", 2))
	for _, p := range []*forgetest.Pull{one, two} {
		g.planned(p, 0)
		g.forge.Review(p, "ann", "APPROVED")
	}
	before, after := g.forge.Land(g.forge.Group("squash", one, two))
	g.forge.After(fmt.Sprintf("GET /repos/acme/catalog/issues/%d/comments", one.Number), func() {
		g.forge.Next(forgetest.Limit{Status: 403, Body: `{"message": "Unable to create comment because issue is locked."}`})
	})
	o := g.pushed(before, after, 0)
	if !strings.Contains(o.stderr, "issue is locked") || !strings.Contains(o.stdout, "::notice title=assay::not published: ") || !strings.Contains(g.ours(two.Number).Body, "**Reconciled** 2 of 2") {
		t.Errorf("%s%s\n%s", o.stdout, o.stderr, g.ours(two.Number).Body)
	}
	g.forge.Token("token", forgetest.Permissions{"metadata": "read", "contents": "read", "issues": "write"})
	if o := g.publish("comment"); !strings.Contains(o.stderr, "pull_requests=read") {
		t.Errorf("%s", o.stderr)
	}
}
