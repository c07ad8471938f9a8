//go:build actions

package actions

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assay-oci/assay/reconcile/forge/forgetest"
	"github.com/assay-oci/assay/reconcile/registry"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
)

func (s *site) plan(p *forgetest.Pull) run {
	s.t.Helper()
	commit := s.tried(p)
	return s.do("plan", "pull_request", s.pullRequest(p), commit, fmt.Sprintf("refs/pull/%d/merge", p.Number), p.Fork != "")
}

func (s *site) comment(number int) string {
	s.t.Helper()
	var all []string
	for _, c := range s.Comments(number) {
		all = append(all, c.Body)
	}
	if len(all) > 1 {
		s.t.Errorf("#%d has %d comments", number, len(all))
	}
	return strings.Join(all, "\n")
}

// From the request over a blocked plan to the admission: one comment, which says at each step how things stand.
func TestARequestIsPlannedCommentedAndReconciled(t *testing.T) {
	s := newSite(t)
	p := s.Propose("dev", s.image("app", "1.0.0"))
	if r := s.plan(p); r.err == nil || !strings.Contains(r.log, "exit status 3") {
		t.Errorf("what is vulnerable is not blocked: %v\n%s", r.err, r.log)
	}
	if c := s.comment(p.Number); !strings.Contains(c, "ACME-2026-1") || !strings.Contains(c, "blocked") {
		t.Errorf("the comment doesn't say why it is blocked\n%s", c)
	}
	s.Amend(p, s.image("app", "2.0.0"))
	if r := s.plan(p); r.err != nil {
		t.Errorf("what was fixed is not ready: %v\n%s", r.err, r.log)
	}
	if c := s.comment(p.Number); strings.Contains(c, "ACME-2026-1") || !strings.Contains(c, "app") {
		t.Errorf("the comment doesn't say that it is ready\n%s", c)
	}
	s.Review(p, "ann", "APPROVED")
	before := s.Git("rev-parse", "main")
	after := s.Merge(p, "squash")
	if r := s.do("reconcile", "push", s.push(before, after), after, "refs/heads/main", false); r.err != nil {
		t.Errorf("after the merge: %v\n%s", r.err, r.log)
	}
	if c := s.comment(p.Number); !strings.Contains(c, s.registry.Host+"/approved/app") {
		t.Errorf("the comment has no end\n%s", c)
	}
}

// A queue plans the group as it will be merged, and comments nowhere. Its one push ends the comments of all that it merged.
func TestAQueueIsPlannedAndEachRequestEnds(t *testing.T) {
	s := newSite(t)
	a, b := s.Propose("dev", s.image("a", "2.0.0")), s.Propose("dev", s.image("b", "2.0.1"))
	for _, p := range []*forgetest.Pull{a, b} {
		s.Review(p, "ann", "APPROVED")
	}
	base, group := s.Git("rev-parse", "main"), s.Group("squash", a, b)
	head := s.Git("rev-parse", group)
	r := s.do("plan", "merge_group", s.mergeGroup(base, head, group), head, "refs/heads/"+group, false)
	if r.err != nil || !strings.Contains(r.log, "a:1.0") || !strings.Contains(r.log, "b:1.0") || s.comment(1)+s.comment(2) != "" {
		t.Errorf("%v\n%s", r.err, r.log)
	}
	before, after := s.Land(group)
	if r := s.do("reconcile", "push", s.push(before, after), after, "refs/heads/main", false); r.err != nil {
		t.Errorf("%v\n%s", r.err, r.log)
	}
	for _, p := range []*forgetest.Pull{a, b} {
		own := []string{"", "a", "b"}[p.Number]
		if c := s.comment(p.Number); !strings.Contains(c, s.registry.Host+"/approved/"+own) {
			t.Errorf("#%d has no end\n%s", p.Number, c)
		}
	}
}

// A fork's run may not comment: it is green, and the workflow that runs after it comments from its artifact, which has no say about where.
func TestAForksPlanIsCommentedByTheNextWorkflow(t *testing.T) {
	s := newSite(t)
	p := s.ProposeFrom("stranger", "stranger", s.image("app", "2.0.0"))
	r := s.plan(p)
	if r.err != nil {
		t.Fatalf("%v\n%s", r.err, r.log)
	}
	if c := s.comment(p.Number); c != "" {
		t.Errorf("it was commented by a token that may not\n%s", c)
	}
	if next := s.do("comment", "workflow_run", s.workflowRun(p, r.id), s.Git("rev-parse", "main"), "refs/heads/main", false); next.err != nil {
		t.Errorf("%v\n%s", next.err, next.log)
	}
	if c := s.comment(p.Number); !strings.Contains(c, "app") || !strings.Contains(c, "may have changed what it says") {
		t.Errorf("nobody commented, or without a warning of who planned it: %q", c)
	}
	// the next commit's plan was not kept: nothing is said about it
	s.Amend(p, s.image("app", "3.0.0"))
	had := s.comment(p.Number)
	if late := s.do("comment", "workflow_run", s.workflowRun(p, 999), s.Git("rev-parse", "main"), "refs/heads/main", false); late.err != nil || s.comment(p.Number) != had {
		t.Errorf("without a plan: %v\n%s", late.err, late.log)
	}
	hostile := filepath.Join(s.dir, "kept", "998", "assay-plan")
	if err := os.MkdirAll(hostile, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(hostile, "plan.json"), []byte(`{"schema": "assay.report/v1", "plan": {"actions": [{"title": "::set-output name=x::y"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if bad := s.do("comment", "workflow_run", s.workflowRun(p, 998), s.Git("rev-parse", "main"), "refs/heads/main", false); bad.err == nil || s.comment(p.Number) != had {
		t.Errorf("a plan that is none: %v\n%s", bad.err, bad.log)
	}
}

// A drift run corrects what was changed by hand, and keeps one issue: open while an approved image violates its policy, closed when that is over.
func TestDriftIsCorrectedAndTold(t *testing.T) {
	s := newSite(t)
	s.Push("main", map[string]string{"catalog.hcl": strings.Replace(s.Git("show", "main:catalog.hcl")+"\n", `"24h"`, `"1s"`, 1)})
	p := s.Propose("dev", s.image("app", "2.0.0"))
	s.Review(p, "ann", "APPROVED")
	s.Merge(p, "merge")
	drift := func() run {
		s.t.Helper()
		return s.do("drift", "schedule", s.schedule(), s.Git("rev-parse", "main"), "refs/heads/main", false)
	}
	if r := drift(); r.err != nil || len(s.Issues()) > 0 {
		t.Fatalf("%d issues: %v\n%s", len(s.Issues()), r.err, r.log)
	}
	s.registry.Push("approved/app", registrytest.Image("amd64", lib("9.9.9")), "by-hand")
	s.fixed.Store("3.0.0")
	if r := drift(); r.err == nil || !strings.Contains(r.log, "exit status 3") {
		t.Errorf("an approved image that turned vulnerable is none: %v\n%s", r.err, r.log)
	}
	if open := s.open(); len(open) != 1 || !strings.Contains(open[0].Body, "ACME-2026-1") {
		t.Fatalf("%+v", open)
	}
	tags, err := registry.NewReader(registry.Options{}).Tags(t.Context(), s.registry.Repo("approved/app"))
	for tag := range tags {
		if tag.String() == "by-hand" {
			t.Error("what was tagged by hand stays")
		}
	}
	if err != nil || len(tags) == 0 {
		t.Errorf("%v, %v", tags, err)
	}
	s.fixed.Store("2.0.0")
	if r := drift(); r.err != nil || len(s.open()) != 0 || len(s.Issues()) != 1 {
		t.Errorf("%d issues are open: %v\n%s", len(s.open()), r.err, r.log)
	}
}

func (s *site) open() []forgetest.Issue {
	var out []forgetest.Issue
	for _, i := range s.Issues() {
		if i.State == "open" {
			out = append(out, i)
		}
	}
	return out
}
