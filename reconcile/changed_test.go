package reconcile

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestChangedKeepsRepositoriesWhole(t *testing.T) {
	w := newWorld()
	d := scene(w)
	for _, name := range []string{"nginx", "redis", "web"} {
		d.Wants = append(d.Wants, want(d, w.index("docker.io/library/"+name, name+"1"), name, "1"), want(d, w.index("docker.io/library/"+name, name+"2"), name, "2"))
	}
	if got := Changed(d, d, nil); len(got.Wants) != 0 || got.Elsewhere != 6 {
		t.Errorf("nothing changed: %d wants, %d elsewhere", len(got.Wants), got.Elsewhere)
	}
	moved := d
	moved.Wants = slices.Clone(d.Wants)
	moved.Wants[0].Origin.Line = 99
	if got := Changed(d, moved, nil); len(got.Wants) != 0 {
		t.Errorf("a line that moved is a change: %d", len(got.Wants))
	}
	next := d
	next.Wants = slices.Clone(d.Wants)
	next.Wants[1].Tags = append(slices.Clone(next.Wants[1].Tags), tag("stable"))
	got := Changed(d, next, nil)
	if len(got.Wants) != 2 || got.Wants[0].Name != "nginx" || got.Wants[1].Name != "nginx" {
		t.Errorf("a new tag: %v", got.Wants)
	}
	if got := Changed(d, next, []Finding{{Rule: "policy-change"}}); len(got.Wants) != 6 {
		t.Errorf("a change of policy narrows to %d", len(got.Wants))
	}
	policy := next
	policy.Prune.Limit = 3
	if got := Changed(d, policy, nil); len(got.Wants) != 6 {
		t.Errorf("another limit narrows to %d", len(got.Wants))
	}
	broken := next
	broken.Broken = []Finding{{Rule: "catalog"}}
	if got := Changed(d, broken, nil); len(got.Wants) != 6 {
		t.Errorf("a broken entry narrows to %d", len(got.Wants))
	}
}

// From a settled world, a run over what has changed ends as a run over everything does.
func TestChangedEndsAsTheWholeDoes(t *testing.T) {
	for seed := range uint64(60) {
		end := func(narrow bool) (*world, string) {
			rnd := rand.New(rand.NewPCG(seed, 7))
			w := newWorld()
			d := scene(w)
			for _, name := range []string{"a", "b", "c", "e"} {
				for _, v := range []string{"1", "2"} {
					d.Wants = append(d.Wants, want(d, w.index("docker.io/library/"+name, name+v), name, v, "t"+v))
				}
			}
			run1(t, w, d)
			next := d
			next.Wants = nil
			for _, x := range d.Wants {
				switch rnd.IntN(6) {
				case 0: // gone
				case 1:
					x.Tags = append(slices.Clone(x.Tags), tag("more"+x.Version))
					next.Wants = append(next.Wants, x)
				case 2:
					x.Tags = x.Tags[:1]
					next.Wants = append(next.Wants, x)
				case 3:
					next.Revoked = append(next.Revoked, Revocation{Name: x.Name, Digest: x.From.Digest, Reason: "CVE-1", Repos: []Repo{x.To[0].Repo, x.To[1].Repo}, From: x.From.Repo})
				default:
					next.Wants = append(next.Wants, x)
				}
			}
			todo := next
			if narrow {
				todo = Changed(d, next, nil)
			}
			w.asked = nil
			Reconcile(context.Background(), todo, Observed{}, w.sensors(), w.effects(), now)
			return w, w.visible()
		}
		whole, want := end(false)
		part, got := end(true)
		if got != want {
			t.Fatalf("seed %d: the narrowed run ends with\n%s\nwant\n%s", seed, got, want)
		}
		if len(part.asked) > len(whole.asked) {
			t.Errorf("seed %d: the narrowed run asked %d questions, the whole one %d", seed, len(part.asked), len(whole.asked))
		}
	}
}
