package test

import (
	"strings"
	"testing"
)

// An author learns of all mistakes on the pull request, at their lines, with what is expected there; and what waits for that is told apart.
func TestAnAuthorsMistakes(t *testing.T) {
	g := newStory(t)
	g.forge.Push("main", g.entry("app", 1))
	p := g.forge.Propose("dev", map[string]string{"images/bad.hcl": "image \"x\" {\n  sorce = \"a\"\n  owner = 3\n  version \"1\" { digest = \"sha256:1\" }\n}\n"})
	o := g.planned(p, 3)
	for _, want := range []string{"::error file=images/bad.hcl,line=1,title=catalog x::Missing attribute%0AAn image needs the attribute \"source\"",
		"::error file=images/bad.hcl,line=2,title=catalog::Unknown attribute%0AAn image has no attribute \"sorce\". Did you mean \"source\"?",
		"::error file=images/bad.hcl,line=3,title=catalog::Invalid owner%0A", "::error file=images/bad.hcl,line=4,title=catalog::Invalid digest%0A"} {
		if strings.Count(o.stdout, want) != 1 {
			t.Errorf("not once: %s\n%s", want, o.stdout)
		}
	}
	g.forge.Amend(p, map[string]string{"images/bad.hcl": "image \"x\" {\n  source =\n}\n"})
	o = g.planned(p, 3)
	if first, _, _ := strings.Cut(o.stdout, "\n"); !strings.HasPrefix(first, "::error file=images/bad.hcl,line=2,") || !strings.Contains(o.stdout, "The image can't be judged: Invalid expression%0Aimages/bad.hcl:2: ") {
		t.Errorf("annotations\n%s", o.stdout)
	}
	g.golden("mistake", g.ours(p.Number).Body)
	// what is no mistake is told too
	q := g.forge.Propose("dev", map[string]string{"images/none.hcl": "image \"none\" {\n  source = \"" + g.source.Host + "/none\"\n}\n"})
	if o = g.planned(q, 0); !strings.Contains(o.stdout, "::warning file=images/none.hcl,line=1,title=catalog::Image without a version%0A") {
		t.Errorf("annotations\n%s", o.stdout)
	}
}
