package github

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/forge/forgetest"
)

// publisher is a client whose token may do everything that publishing takes.
func publisher(t *testing.T) (*forgetest.Server, *Client) {
	t.Helper()
	s := forgetest.New(t, "acme/catalog")
	s.Token("workflow", forgetest.Permissions{"metadata": "read", "contents": "read", "pull_requests": "read", "issues": "write", "checks": "write", "security_events": "write"})
	c, err := New(Options{API: s.URL, Repository: "acme/catalog", Token: "workflow", Clock: &still{now: time.Now()}})
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

func numbers(all []Merged) []int {
	var out []int
	for _, m := range all {
		out = append(out, m.Number)
	}
	return out
}

// Whatever the way to merge, a push is known by its pull requests: one, or several that a queue or a busy afternoon brought together.
func TestPush(t *testing.T) {
	for _, how := range []string{"merge", "squash", "rebase"} {
		s, c := publisher(t)
		s.PageSize(2)
		before := s.Git("rev-parse", "main")
		one := s.Propose("dev", map[string]string{"images/a.hcl": "a", "images/b.hcl": "b"})
		s.Amend(one, map[string]string{"images/c.hcl": "c\nis\nlonger\nthan\nthat"})
		two := s.ProposeFrom("bob", "bob", map[string]string{"images/d.hcl": "d"})
		open := s.Propose("dev", map[string]string{"images/e.hcl": "e"})
		s.Merge(one, how)
		s.Push("main", map[string]string{"README.md": "without a pull request"})
		after := s.Merge(two, how)
		s.Lag(2)
		got, err := c.Push(t.Context(), before, after, "main")
		if err != nil || !slices.Equal(numbers(got), []int{one.Number, two.Number}) || !slices.Equal(got[0].Files, []string{"images/a.hcl", "images/b.hcl", "images/c.hcl"}) {
			t.Errorf("%s: %+v, %v", how, got, err)
		}
		if got, err := c.Push(t.Context(), strings.Repeat("0", 40), after, "main"); err != nil || !slices.Equal(numbers(got), []int{two.Number}) {
			t.Errorf("%s, a new branch: %+v, %v", how, got, err)
		}
		s.Git("mv", "images/c.hcl", "images/moved.hcl")
		s.Git("commit", "-qm", "move")
		s.Git("branch", "-f", open.Branch, "main")
		open.Head = s.Git("rev-parse", "main")
		s.Git("reset", "-q", "--hard", after)
		if files, err := c.Files(t.Context(), open.Number); err != nil || !slices.Equal(files, []string{"images/c.hcl", "images/moved.hcl"}) {
			t.Errorf("%s, moved: %q, %v", how, files, err)
		}
	}
}

func TestAQueueMergesTogether(t *testing.T) {
	for _, how := range []string{"merge", "squash", "rebase"} {
		s, c := publisher(t)
		one, two := s.Propose("dev", map[string]string{"a": "a"}), s.Propose("dev", map[string]string{"b": "b"})
		group := s.Group(how, one, two)
		if one.Merge != "" {
			t.Fatal("it was merged before its group landed")
		}
		before, after := s.Land(group)
		if got, err := c.Push(t.Context(), before, after, "main"); err != nil || !slices.Equal(numbers(got), []int{1, 2}) {
			t.Errorf("%s: %+v, %v", how, got, err)
		}
	}
}

// The pull request of a fork's branch is found by whose it is; neither a branch of the same name nor an older commit is taken for it.
func TestProposal(t *testing.T) {
	s, c := publisher(t)
	p := s.ProposeFrom("bob", "bob", map[string]string{"a": "a"})
	old := p.Head
	s.Amend(p, map[string]string{"a": "b"})
	if n, err := c.Proposal(t.Context(), "bob", p.Branch, p.Head); err != nil || n != p.Number {
		t.Errorf("%d, %v", n, err)
	}
	for _, x := range [][3]string{{"acme", p.Branch, p.Head}, {"bob", "main", p.Head}, {"bob", p.Branch, old}} {
		if n, err := c.Proposal(t.Context(), x[0], x[1], x[2]); !errors.Is(err, reconcile.ErrNotFound) {
			t.Errorf("%v: %d, %v", x, n, err)
		}
	}
}

// One issue is opened, kept, closed and opened again; others' issues are left alone, and what nobody needs isn't made.
func TestIssue(t *testing.T) {
	s, c := publisher(t)
	s.PageSize(2)
	s.File("mallory", "drift", driftMarker("")+"\nall is well")
	s.File("github-actions[bot]", "another", "of another program")
	write := func(body string, open bool) string {
		t.Helper()
		u, err := c.Issue(t.Context(), "", "Drift", body, open)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	if u := write("none", false); u != "" || len(s.Issues()) != 2 {
		t.Errorf("%q, %+v", u, s.Issues())
	}
	write("some", true)
	write("some", true)
	ours := func() forgetest.Issue { return s.Issues()[2] }
	if x := ours(); x.Edits != 0 || x.State != "open" || len(s.Issues()) != 3 {
		t.Errorf("%+v", s.Issues())
	}
	write("other", true)
	write("none", false)
	write("none", false)
	if x := ours(); x.Edits != 2 || x.State != "closed" || x.Reason != "completed" || !strings.HasSuffix(x.Body, "none") {
		t.Errorf("%+v", x)
	}
	write("again", true)
	s.File("github-actions[bot]", "Drift", driftMarker("")+"\nof a run at the same time")
	write("again", true)
	if all := s.Issues(); ours().State != "open" || ours().Edits != 3 || all[3].State != "closed" || all[3].Reason != "not_planned" || all[0].Edits+all[1].Edits > 0 {
		t.Errorf("%+v", all)
	}
}

// A check run is made once, whatever the number of its annotations and wherever it was cut off.
func TestCheck(t *testing.T) {
	s, c := publisher(t)
	k := Check{Name: "assay", Commit: s.Git("rev-parse", "main"), Conclusion: "failure", Title: "1 blocked", Summary: "text", Link: "https://example.com"}
	for i := range 120 {
		k.Marks = append(k.Marks, Mark{File: "a.hcl", Line: i, Level: "failure", Title: "sources", Message: fmt.Sprint(i)})
	}
	s.Next(forgetest.Limit{Status: 200, Body: `{"total_count": 0, "check_runs": []}`}, forgetest.Limit{Status: 403, Body: "{}"})
	if _, err := c.Check(t.Context(), k); !denied(err) || !strings.Contains(err.Error(), needChecks) {
		t.Errorf("error %v", err)
	}
	path := "/repos/acme/catalog/check-runs"
	// it is made, and the second of three parts fails for good
	s.After("POST "+path, func() { s.After("PATCH "+path+"/1001", func() { s.Next(forgetest.Limit{Status: 400, Body: "{}"}) }) })
	if _, err := c.Check(t.Context(), k); err == nil {
		t.Error("it was not cut off")
	}
	if all := s.Checks(); len(all) != 1 || len(all[0].Annotations) != 50 || all[0].Status != "in_progress" {
		t.Errorf("cut off: %+v", all)
	}
	if _, err := c.Check(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Check(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	all := s.Checks()
	if len(all) != 1 || len(all[0].Annotations) != 120 || all[0].Conclusion != "failure" || all[0].Status != "completed" {
		t.Errorf("%d check runs, %d annotations, %s", len(all), len(all[0].Annotations), all[0].Conclusion)
	}
	k.Marks, k.Conclusion = nil, "success"
	if u, err := c.Check(t.Context(), k); err != nil || u == "" || len(s.Checks()) != 2 {
		t.Errorf("%q, %v", u, err)
	}
}

func TestUpload(t *testing.T) {
	s, c := publisher(t)
	commit := s.Git("rev-parse", "main")
	if err := c.Upload(t.Context(), "refs/heads/main", commit, []byte(`{"version": "2.1.0"}`)); err != nil {
		t.Fatal(err)
	}
	if all := s.Analyses(); len(all) != 1 || all[0] != (forgetest.Analysis{Commit: commit, Ref: "refs/heads/main", SARIF: `{"version": "2.1.0"}`}) {
		t.Errorf("%+v", all)
	}
	s.Token("workflow", forgetest.Reader())
	if err := c.Upload(t.Context(), "refs/heads/main", commit, nil); !denied(err) || !strings.Contains(err.Error(), "security_events=write") {
		t.Errorf("error %v", err)
	}
}

func TestLabel(t *testing.T) {
	s, c := publisher(t)
	p := s.Propose("dev", map[string]string{"a": "a"})
	s.LabelBy(p.Number, "bug")
	for _, want := range [][]string{{"assay/Deploy:blocked"}, {"assay/Deploy:ready"}, nil} { // of another catalog, in a folder
		if err := c.Label(t.Context(), p.Number, "assay/Deploy:", want); err != nil {
			t.Fatal(err)
		}
		if got := s.Labels(p.Number); !slices.Equal(got, append([]string{"bug"}, want...)) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for _, want := range [][]string{{"assay:blocked", "assay:policy"}, {"assay:blocked", "assay:policy"}, {"assay:ready"}, nil, {"assay:ready"}} {
		if err := c.Label(t.Context(), p.Number, "assay:", want); err != nil {
			t.Fatal(err)
		}
		if got := s.Labels(p.Number); !slices.Equal(got, append([]string{"bug"}, want...)) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
