package reconcile

import (
	"slices"
	"testing"
)

// Where no registry can be read, a version that a pull request brings in is judged from its source all the same, and nothing is planned for it. Those that the catalog
// had before cost their sources no request: for all that is known, the registries hold them.
func TestWhatIsProposedIsJudgedWithoutRegistries(t *testing.T) {
	w, d := settledWorld(t)
	good, bad := want(d, w.index("docker.io/library/redis", "redis"), "redis", "7"), want(d, w.index("quay.io/acme/tool", "tool"), "tool", "1")
	good.Proposed, bad.Proposed = true, true
	d.Wants = append(d.Wants, good, bad)
	for _, x := range d.Wants {
		for _, to := range x.To {
			w.broken[Question{Kind: AskTags, Repo: to.Repo}] = ErrUnavailable
		}
	}
	p := preview(t, w, d)
	if len(p.Actions) > 0 || len(p.Gaps) != 6 || len(p.Profiles) != 1 || p.Profiles[0].Image != "redis:7" || p.Profiles[0].Blocked {
		b, _ := p.MarshalIndent()
		t.Errorf("%s", b)
	}
	if got := summaries(p.Blocked); got != "sources: quay.io/acme/tool is not allowed" {
		t.Errorf("blocked: %s", got)
	}
	for _, q := range w.asked {
		if q.Repo.Host() != "eu.example.com" && q.Repo.Host() != "us.example.com" && q.Repo != good.From.Repo {
			t.Errorf("%s was asked for %s", q.Repo, q.Kind)
		}
	}
	if !slices.ContainsFunc(w.asked, func(q Question) bool { return q.Kind == AskScan }) {
		t.Error("it was not scanned")
	}
	checkShuffled(t, w, d, p)
	// one registry that tells is enough to compare with
	for _, x := range d.Wants {
		delete(w.broken, Question{Kind: AskTags, Repo: x.To[0].Repo})
	}
	if p := preview(t, w, d); kinds(p) == "" || len(p.Gaps) != 3 {
		t.Errorf("%s, %d gaps", kinds(p), len(p.Gaps))
	}
}
