package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/forge/forgetest"
	"github.com/assay-oci/assay/reconcile/registry"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
)

// publishing is what the token of a workflow needs to publish everything.
var publishing = forgetest.Permissions{"metadata": "read", "contents": "read", "pull_requests": "read", "issues": "write", "checks": "write", "security_events": "write"}

// newStory is a gated catalog, and a job of GitHub Actions that works on it.
func newStory(t *testing.T) *gated {
	t.Helper()
	g := newGated(t, "", "")
	g.forge.Token("token", publishing)
	for name, value := range map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "acme/catalog", "GITHUB_SERVER_URL": "https://github.com", "GITHUB_RUN_ID": "42",
		"GITHUB_STEP_SUMMARY": filepath.Join(g.dir, "summary"), "GITHUB_OUTPUT": filepath.Join(g.dir, "output"), "GITHUB_EVENT_PATH": filepath.Join(g.dir, "event.json"), "GITHUB_EVENT_NAME": "schedule"} {
		t.Setenv(name, value)
	}
	return g
}

// event is what started the job.
func (g *gated) event(name string, payload map[string]any) {
	g.t.Helper()
	b, err := json.Marshal(payload)
	if err != nil {
		g.t.Fatal(err)
	}
	if err := os.WriteFile(os.Getenv("GITHUB_EVENT_PATH"), b, 0o600); err != nil {
		g.t.Fatal(err)
	}
	g.t.Setenv("GITHUB_EVENT_NAME", name)
}

// planned is the job of a pull request: it plans, and publishes the plan. It returns what publishing gave.
func (g *gated) planned(p *forgetest.Pull, code int, args ...string) output {
	g.t.Helper()
	g.event("pull_request", map[string]any{"number": p.Number, "pull_request": map[string]any{"head": map[string]any{"sha": p.Head}}})
	g.report(code, "plan", "--ref", p.Branch, "--base", "main")
	return g.publish(append([]string{"comment"}, args...)...)
}

// pushed is the job of a push: it reconciles, and publishes what came of it.
func (g *gated) pushed(before, after string, code int, args ...string) output {
	g.t.Helper()
	g.event("push", map[string]any{"ref": "refs/heads/main", "before": before, "after": after})
	g.report(code, "reconcile")
	return g.publish(append([]string{"comment"}, args...)...)
}

func (g *gated) reportFile() string { return filepath.Join(g.dir, "report.json") }

// report runs plan or reconcile, and keeps what it writes.
func (g *gated) report(code int, command string, args ...string) {
	g.t.Helper()
	o := g.assay(append([]string{command, "--catalog", g.forge.Dir, "--cache", g.cache(), "-o", "json"}, args...)...)
	if o.code != code {
		g.t.Fatalf("%s %v: exit code %d, want %d\n%s%s", command, args, o.code, code, o.stdout, o.stderr)
	}
	if err := os.WriteFile(g.reportFile(), []byte(o.stdout), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

func (g *gated) publish(args ...string) output {
	g.t.Helper()
	o := g.assay(append(args, "--report", g.reportFile())...)
	if o.code != 0 {
		g.t.Fatalf("%v: exit code %d\n%s%s", args, o.code, o.stdout, o.stderr)
	}
	return o
}

// ours is the one comment of ours on a pull request.
func (g *gated) ours(number int) forgetest.Comment {
	g.t.Helper()
	all := slices.DeleteFunc(g.forge.Comments(number), func(c forgetest.Comment) bool { return c.Author != "github-actions[bot]" })
	if len(all) != 1 {
		g.t.Fatalf("%d comments of ours on #%d", len(all), number)
	}
	return all[0]
}

var changing = []struct {
	what *regexp.Regexp
	as   string
}{
	{regexp.MustCompile(`<!-- assay-trace/v1 [A-Za-z0-9+/=]* -->`), "<!-- assay-trace/v1 TRACE -->"},
	{regexp.MustCompile(`(?s)<details><summary>All actions</summary>.*?</details>\n\n`), ""}, // in the order of the registries' addresses
	{regexp.MustCompile(`(?m)^.*: ` + "`tag .* of us" + `.*\n`), ""},                         // the same
	{regexp.MustCompile(`since \d{4}-\d\d-\d\d`), "since DATE"},
	{regexp.MustCompile(`sha256:[0-9a-f]+…?`), "sha256:DIGEST"},
	{regexp.MustCompile(`\b[0-9a-f]{12}\b|\b[0-9a-f]{40}\b`), "COMMIT"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d UTC`), "TIME UTC"},
	{regexp.MustCompile(`\d\d:\d\d UTC on \d{4}-\d\d-\d\d`), "TIME UTC"},
}

// golden compares a text with a file of testdata/comments, but for what is another in each run.
func (g *gated) golden(name, text string) {
	g.t.Helper()
	for host, as := range map[string]string{g.source.Host: "source.example.com", g.eu.Host: "eu.example.com", g.us.Host: "us.example.com"} {
		text = strings.ReplaceAll(text, host, as)
	}
	for _, c := range changing {
		text = c.what.ReplaceAllString(text, c.as)
	}
	file := filepath.Join("testdata", "comments", name+".md")
	if *update {
		if err := os.WriteFile(file, []byte(text+"\n"), 0o644); err != nil {
			g.t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		g.t.Fatal(err)
	}
	if strings.TrimSpace(string(want)) != strings.TrimSpace(text) {
		g.t.Errorf("%s is now\n%s", file, text)
	}
}

// from is the file of an image whose content comes from another repository of the source.
func (g *gated) from(name, source string, seed uint64) map[string]string {
	return map[string]string{g.in("images/" + name + ".hcl"): strings.Replace(g.image(name, "1.0 "+g.push(source, "1.0", seed)+" stable"), g.source.Host+"/"+name+"\"", g.source.Host+"/"+source+"\"", 1)}
}

// A developer asks for an image, learns why it is blocked, mends that; the code owner approves; it is merged and admitted: on one comment.
func TestFromRequestToAdmission(t *testing.T) {
	for _, how := range []string{"merge", "squash", "rebase"} {
		t.Run(how, func(t *testing.T) {
			g := newStory(t)
			g.extra += "policy \"own\" {\n  rule \"sources\" {\n    deny = [\"" + g.source.Host + "/untrusted/**\"]\n  }\n}\n"
			g.forge.Push("main", map[string]string{"catalog.hcl": g.organization()})
			p := g.forge.Propose("dev", g.from("app", "untrusted/app", 7))
			o := g.planned(p, 3, "--labels", "--check")
			first := g.ours(p.Number)
			g.golden("blocked", first.Body)
			if !strings.Contains(o.stdout, "::error file=images/app.hcl,line=3,title=sources app%3A1.0::") {
				t.Errorf("annotations %s", o.stdout)
			}
			if got := g.forge.Labels(p.Number); !slices.Equal(got, []string{"assay:blocked"}) {
				t.Errorf("labels %q", got)
			}
			if k := g.forge.Checks(); len(k) != 1 || k[0].Commit != p.Head || k[0].Conclusion != "failure" || len(k[0].Annotations) != 1 {
				t.Errorf("check runs %+v", k)
			}

			g.forge.Amend(p, g.from("app", "app", 7))
			g.planned(p, 0, "--labels", "--check", "--sarif")
			if c := g.ours(p.Number); c.ID != first.ID || c.Edits != 1 {
				t.Errorf("comment %+v", c)
			}
			g.golden("ready", g.ours(p.Number).Body)
			if got := g.forge.Labels(p.Number); !slices.Equal(got, []string{"assay:ready"}) {
				t.Errorf("labels %q", got)
			}
			if a := g.forge.Analyses(); len(a) != 1 || a[0].Ref != fmt.Sprintf("refs/pull/%d/head", p.Number) || a[0].Commit != p.Head {
				t.Errorf("analyses %+v", a)
			}
			g.planned(p, 0)
			if c := g.ours(p.Number); c.Edits > 2 { // a second later, what was planned is the same, and its time is another
				t.Errorf("it was written %d times", c.Edits)
			}

			g.forge.Review(p, "ann", "APPROVED")
			before := g.forge.Git("rev-parse", "main")
			after := g.forge.Merge(p, how)
			g.pushed(before, after, 0, "--labels")
			if c := g.ours(p.Number); c.ID != first.ID {
				t.Errorf("comment %+v", c)
			}
			g.golden("admitted", g.ours(p.Number).Body)
			if got := g.forge.Labels(p.Number); !slices.Equal(got, []string{"assay:done"}) {
				t.Errorf("labels %q", got)
			}
			if len(tags(t, g.eu, "approved/app")) != 2 {
				t.Error("it is not there")
			}
		})
	}
}

// A queue merges several pull requests with one push: each comment tells of its own. One that changed nothing in the catalog, and has no comment, gets none.
func TestAQueuesPullRequests(t *testing.T) {
	g := newStory(t)
	one, two, three := g.forge.Propose("dev", g.entry("one", 1)), g.forge.Propose("dev", g.entry("two", 2)), g.forge.Propose("dev", map[string]string{"README.md": "more"})
	for _, p := range []*forgetest.Pull{one, two} {
		g.planned(p, 0)
		g.forge.Review(p, "ann", "APPROVED")
	}
	group := g.forge.Group("squash", one, two, three)
	g.event("merge_group", map[string]any{"merge_group": map[string]any{"head_sha": g.forge.Git("rev-parse", group), "head_ref": "refs/heads/" + group}})
	g.report(0, "plan", "--ref", group, "--base", "main")
	g.publish("comment")
	if c := g.ours(one.Number); c.Edits > 0 {
		t.Errorf("the queue's plan was written on a pull request: %+v", c)
	}
	before, after := g.forge.Land(group)
	asked := len(g.forge.Requests())
	g.pushed(before, after, 0)
	who := 0
	for _, r := range g.forge.Requests()[asked:] {
		if r == "GET /user" {
			who++
		}
	}
	if who != 1 {
		t.Errorf("whose token it is was asked %d times", who)
	}
	for p, other := range map[*forgetest.Pull]string{one: "two:1.0", two: "one:1.0"} {
		own := map[string]string{"two:1.0": "one:1.0", "one:1.0": "two:1.0"}[other]
		if c := g.ours(p.Number); !strings.Contains(c.Body, own) || strings.Contains(c.Body, other) || !strings.Contains(c.Body, "Reconciled") {
			t.Errorf("on #%d:\n%s", p.Number, c.Body)
		}
	}
	if all := g.forge.Comments(three.Number); len(all) > 0 {
		t.Errorf("on #%d: %+v", three.Number, all)
	}
}

// A fork's own run may not comment: it is green, with its summary. The run that follows it comments from its plan, which it takes as data, and says whose that is.
func TestAForksPullRequest(t *testing.T) {
	g := newStory(t)
	g.forge.Token("token", forgetest.Reader())
	p := g.forge.ProposeFrom("bob", "bob", g.entry("app", 1))
	o := g.planned(p, 0, "--labels", "--check", "--sarif")
	if n := strings.Count(o.stderr, "assay: not published: "); n != 3 {
		t.Errorf("%d things were told\n%s", n, o.stderr)
	}
	if summary, err := os.ReadFile(os.Getenv("GITHUB_STEP_SUMMARY")); err != nil || !strings.Contains(string(summary), "app:1.0") {
		t.Errorf("summary %s, %v", summary, err)
	}
	g.forge.Token("token", publishing)
	run := map[string]any{"event": "pull_request", "head_branch": p.Branch, "head_sha": p.Head, "head_repository": map[string]any{"owner": map[string]any{"login": "bob"}}}
	g.event("workflow_run", map[string]any{"workflow_run": run})
	g.publish("comment")
	g.golden("fork", g.ours(p.Number).Body)
	// a newer commit makes the plan old
	run["head_sha"] = g.forge.Git("rev-parse", "main")
	g.event("workflow_run", map[string]any{"workflow_run": run})
	if o := g.publish("comment"); !strings.Contains(o.stderr, "no open one has the head") || g.ours(p.Number).Edits > 0 {
		t.Errorf("%s\n%+v", o.stderr, g.ours(p.Number))
	}
}

// A revocation says what will be deleted where and which tags disappear; then, that it is gone.
func TestARevocationOnItsPullRequest(t *testing.T) {
	g := newStory(t)
	entry := g.from("app", "app", 1)
	p := g.forge.Propose("dev", entry)
	g.forge.Review(p, "ann", "APPROVED")
	before := g.forge.Git("rev-parse", "main")
	g.pushed(before, g.forge.Merge(p, "merge"), 0)
	old := tags(t, g.eu, "approved/app")["1.0"]
	next := g.push("app", "2.0", 5)
	p = g.forge.Propose("dev", map[string]string{"images/app.hcl": g.image("app", "2.0 "+next+" stable"),
		"revoked.hcl": fmt.Sprintf("revoke \"app\" {\n  digest      = %q\n  reason      = \"CVE-2026-1234\"\n  replacement = \"2.0\"\n}\n", old)})
	g.planned(p, 0, "--labels")
	g.golden("revocation", g.ours(p.Number).Body)
	if got := g.forge.Labels(p.Number); !slices.Equal(got, []string{"assay:ready", "assay:removes"}) {
		t.Errorf("labels %q", got)
	}
	g.forge.Review(p, "ann", "APPROVED")
	before = g.forge.Git("rev-parse", "main")
	g.pushed(before, g.forge.Merge(p, "squash"), 0)
	g.golden("revoked", g.ours(p.Number).Body)
	if holds(t, g.eu, "approved/app", old) {
		t.Error("it is still there")
	}
}

func broken(s *registrytest.Server) {
	s.Disturb(registrytest.Faults{Rate: 1, Kinds: []string{registrytest.Error500}})
}

// What was approved and what was done may differ. Here the registry in the US has gone since: what failed, and that it is tried again, stands on the pull request.
func TestWhatFailsAfterTheMerge(t *testing.T) {
	g := newStory(t)
	p := g.forge.Propose("dev", g.entry("app", 1))
	g.planned(p, 0)
	g.forge.Review(p, "ann", "APPROVED")
	before := g.forge.Git("rev-parse", "main")
	after := g.forge.Merge(p, "merge")
	broken(g.us)
	g.pushed(before, after, 4, "--labels")
	g.golden("failed", g.ours(p.Number).Body)
	g.us.Disturb(registrytest.Faults{})
	g.pushed(before, after, 0, "--labels")
	if body := g.ours(p.Number).Body; strings.Contains(body, "could not be read") || !strings.Contains(body, "**Reconciled** 1 of 1 registry") {
		t.Errorf("after the second run:\n%s", body)
	}
}

// One issue tells of drift, and is closed when there is none. What can't be read is no news.
func TestDriftOpensAndClosesAnIssue(t *testing.T) {
	g := newStory(t)
	p := g.forge.Propose("dev", g.entry("app", 1))
	g.forge.Review(p, "ann", "APPROVED")
	before := g.forge.Git("rev-parse", "main")
	g.pushed(before, g.forge.Merge(p, "merge"), 0)
	g.event("schedule", map[string]any{})
	watch := func(command string, code int) []forgetest.Issue {
		g.report(code, command)
		g.publish("drift")
		return g.forge.Issues()
	}
	if all := watch("plan", 0); len(all) != 0 {
		t.Fatalf("%+v", all)
	}
	tag, err := reconcile.ParseTag("1.0")
	if err == nil {
		err = registry.NewWriter(reader()).Untag(t.Context(), g.eu.Repo("approved/app"), tag)
	}
	if err != nil {
		t.Fatal(err)
	}
	all := watch("plan", 0)
	if len(all) != 1 || all[0].State != "open" {
		t.Fatalf("%+v", all)
	}
	g.golden("drift", all[0].Body)
	if all = watch("plan", 0); len(all) != 1 || all[0].Edits > 0 {
		t.Fatalf("the same again: %+v", all)
	}
	broken(g.eu)
	if all = watch("plan", 4); len(all) != 1 || all[0].Edits > 0 || all[0].State != "open" {
		t.Fatalf("nobody knows: %+v", all)
	}
	g.eu.Disturb(registrytest.Faults{})
	if all = watch("reconcile", 0); len(all) != 1 || all[0].State != "closed" {
		t.Fatalf("corrected: %+v", all)
	}
}

// Limits in the middle are waited out, and a run that was killed between two calls is completed by the next one.
func TestPublishingIsInterrupted(t *testing.T) {
	g := newStory(t)
	p := g.forge.Propose("dev", g.entry("app", 1))
	comments := fmt.Sprintf("/repos/acme/catalog/issues/%d/comments", p.Number)
	g.forge.After("GET "+comments, func() {
		g.forge.Next(forgetest.Limit{Status: 429, Header: map[string]string{"Retry-After": "0"}, Body: "{}"})
	})
	g.event("pull_request", map[string]any{"number": p.Number, "pull_request": map[string]any{"head": map[string]any{"sha": p.Head}}})
	g.report(0, "plan", "--ref", p.Branch, "--base", "main")
	for _, request := range []string{"POST " + comments, fmt.Sprintf("POST /repos/acme/catalog/issues/%d/labels", p.Number), "POST /repos/acme/catalog/check-runs"} {
		cmd := g.command("comment", "--report", g.reportFile(), "--labels", "--check")
		killed := make(chan struct{})
		g.forge.After(request, func() {
			_ = cmd.Process.Kill()
			_, _ = cmd.Process.Wait()
			close(killed)
		})
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-killed:
		case <-time.After(time.Minute):
			t.Fatalf("there was no %s\n%q", request, g.forge.Requests())
		}
	}
	g.publish("comment", "--labels", "--check")
	if c := g.ours(p.Number); c.Edits > 0 {
		t.Errorf("%+v", c)
	}
	if got := g.forge.Labels(p.Number); !slices.Equal(got, []string{"assay:ready"}) {
		t.Errorf("labels %q", got)
	}
	if k := g.forge.Checks(); len(k) != 1 || k[0].Status != "completed" || k[0].Conclusion != "success" {
		t.Errorf("check runs %+v", k)
	}
}

// A direct push has no pull request to tell.
func TestADirectPushHasNobodyToTell(t *testing.T) {
	g := newStory(t)
	before := g.forge.Git("rev-parse", "main")
	o := g.pushed(before, g.forge.Push("main", g.entry("app", 1)), 3)
	if !strings.Contains(o.stderr, "no pull request brought") {
		t.Errorf("%s", o.stderr)
	}
}
