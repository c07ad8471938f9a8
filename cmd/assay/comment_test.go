package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/forge/forgetest"
	"github.com/assay-oci/assay/reconcile/report"
)

// workflow is the environment of a job of GitHub Actions, and a report that blocks some images.
func workflow(t *testing.T, s *forgetest.Server, blocked int) (plan, summary, output string) {
	t.Helper()
	dir := t.TempDir()
	plan, summary, output = filepath.Join(dir, "plan.json"), filepath.Join(dir, "summary"), filepath.Join(dir, "output")
	for name, value := range map[string]string{"GITHUB_API_URL": s.URL, "GITHUB_TOKEN": "token", "ASSAY_GITHUB_TOKEN": "", "ASSAY_GITHUB_APP_ID": "", "GITHUB_ACTIONS": "true",
		"GITHUB_STEP_SUMMARY": summary, "GITHUB_OUTPUT": output, "GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "acme/catalog", "GITHUB_RUN_ID": "42"} {
		t.Setenv(name, value)
	}
	s.Propose("dev", map[string]string{"a": "b"})
	r := reconcile.Report{Plan: reconcile.Plan{Schema: reconcile.PlanSchema}}
	for i := range blocked {
		r.Plan.Blocked = append(r.Plan.Blocked, reconcile.Finding{Rule: "sources", Image: fmt.Sprintf("app%d:1.0", i), Summary: "50% of it\n::set-output name=x::y", Origin: reconcile.Origin{File: "images/a,b.hcl", Line: i + 1}})
	}
	var b bytes.Buffer
	if err := report.JSON(&b, r); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(plan, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return plan, summary, output
}

func assay(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, stdio{strings.NewReader(""), &out, &errs})
	return code, out.String(), errs.String()
}

func TestCommentAndSummary(t *testing.T) {
	s := forgetest.New(t, "acme/catalog")
	s.Token("token", forgetest.Permissions{"issues": "write"})
	plan, summary, output := workflow(t, s, 12)
	for range 2 {
		code, stdout, stderr := assay(t, "comment", "--report", plan, "--pull-request", "1", "--path", "deploy")
		if code != 0 || strings.Count(stdout, "\n") != report.MaxAnnotations || !strings.HasPrefix(stdout, "::error file=deploy/images/a%2Cb.hcl,line=1,title=sources app0%3A1.0::50%25 of it ::set-output") {
			t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
		}
	}
	if all := s.Comments(1); len(all) != 1 || all[0].Edits != 0 || !strings.Contains(all[0].Body, "`app11:1.0`") {
		t.Errorf("comments %+v", all)
	}
	if got, err := os.ReadFile(summary); err != nil || !strings.Contains(string(got), "### Assay plan") {
		t.Errorf("summary %q, %v", got, err)
	}
	got, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	first := strings.SplitN(string(got), "\n", 2)[0]
	if !strings.HasPrefix(first, "summary<<assay_") || strings.Count(string(got), first+"\n") != 1 || !strings.Contains(string(got), "\n12\n") || !strings.Contains(string(got), "#issuecomment-") {
		t.Errorf("outputs %s", got)
	}
}

// A fork's token can't comment: the rest is done, and the job is green.
func TestAForkGetsASummary(t *testing.T) {
	s := forgetest.New(t, "acme/catalog")
	s.Token("token", forgetest.Permissions{"issues": "read"})
	plan, summary, _ := workflow(t, s, 1)
	code, stdout, stderr := assay(t, "comment", "--report", plan, "--pull-request", "1")
	if code != 0 || !strings.Contains(stderr, "not published") || !strings.Contains(stderr, "issues=write") || !strings.HasPrefix(stdout, "::notice title=assay::not published: ") || !strings.Contains(stdout, "\n::error ") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if got, err := os.ReadFile(summary); err != nil || len(got) == 0 {
		t.Errorf("summary %q, %v", got, err)
	}
}

func TestALongReportIsShortened(t *testing.T) {
	s := forgetest.New(t, "acme/catalog")
	s.Token("token", forgetest.Permissions{"issues": "write"})
	plan, _, _ := workflow(t, s, 3000)
	if code, _, stderr := assay(t, "comment", "--report", plan, "--pull-request", "1"); code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	body := s.Comments(1)[0].Body
	if n := len([]rune(body)); n > 60_100 || n < 50_000 {
		t.Errorf("%d characters", n)
	}
	if !strings.HasSuffix(strings.TrimSpace(body), "[The whole report](https://github.com/acme/catalog/actions/runs/42)") || strings.Count(body, "<details") != strings.Count(body, "</details>") {
		t.Errorf("its end: %s", body[len(body)-300:])
	}
}

func TestWhatIsNoReport(t *testing.T) {
	for name, text := range map[string]string{"no JSON": "x", "another schema": `{"schema": "evil/v1"}`, "damaged": `{"schema": "` + report.Schema + `", "result": {"outcomes": [{}]}}`,
		"a long digest": `{"schema": "` + report.Schema + `", "plan": {"actions": [{"digest": "` + strings.Repeat("x\\n", 100_000) + `"}]}}`, "a long number": `{"schema": "` + report.Schema + `", "plan": {"actions": [{"bytes": ` + strings.Repeat("9", 100_000) + `}]}}`, "a list": "[]"} {
		p := filepath.Join(t.TempDir(), "r.json")
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, _, stderr := assay(t, "comment", "--report", p); code != exitError || strings.Count(stderr, "\n") != 1 || len(stderr) > 1000 || strings.Contains(stderr, "struct") {
			t.Errorf("%s: exit code %d, %.2000s", name, code, stderr)
		}
	}
}

// What a report says is hostile: nothing of it ends a line of ours, or stops the program.
func FuzzComment(f *testing.F) {
	f.Add([]byte(`{"schema": "` + report.Schema + `", "plan": {"blocked": [{"rule": "a", "image": "b", "summary": "c\n::error::d", "origin": {"file": "e\n"}}]}}`))
	f.Add([]byte(`{"schema": "` + report.Schema + `", "plan": {"actions": [{}], "profiles": [{}]}, "result": {"outcomes": [{}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := readReport(bytes.NewReader(data), "-")
		if err != nil {
			return
		}
		text, err := markdown(r, report.MarkdownOptions{Limit: 2000, Link: "https://example.com"})
		if n := len([]rune(text)); err != nil || n > 2000 {
			t.Errorf("%d characters, %v", n, err)
		}
		for l := range strings.Lines(report.Annotations(r, "")) {
			if !strings.HasPrefix(l, "::error ") && !strings.HasPrefix(l, "::warning ") {
				t.Errorf("a line of its own: %q", l)
			}
		}
		if n := strings.Count(outputs(r, ""), "\n"); n != 27 {
			t.Errorf("outputs of %d lines", n)
		}
	})
}

// What a pull request's own run left behind can be a plan alone, and no more of one than can be read in seconds.
func TestAReportFromOutside(t *testing.T) {
	s := forgetest.New(t, "acme/catalog")
	s.Token("token", forgetest.Permissions{"issues": "write", "pull_requests": "read"})
	plan, _, _ := workflow(t, s, 1)
	p := s.ProposeFrom("bob", "bob", map[string]string{"c": "d"})
	event := filepath.Join(t.TempDir(), "event.json")
	text := fmt.Sprintf(`{"workflow_run": {"event": "pull_request", "head_branch": %q, "head_sha": %q, "head_repository": {"owner": {"login": "bob"}}}}`, p.Branch, p.Head)
	if err := os.WriteFile(event, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GITHUB_EVENT_NAME", "workflow_run")
	t.Setenv("GITHUB_EVENT_PATH", event)
	entries := strings.TrimSuffix(strings.Repeat(`{"rule": "x"},`, maxEntries+1), ",")
	for name, report := range map[string]string{"reconciled": `{"schema": "assay.report/v1", "plan": {}, "result": {"outcomes": []}}`, "many": `{"schema": "assay.report/v1", "plan": {"notes": [` + entries + `]}}`,
		"long": `{"schema": "assay.report/v1", "plan": {"commit": "` + strings.Repeat("a", maxOutside) + `"}}`} {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(report), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, _, stderr := assay(t, "comment", "--report", file); code != exitError || strings.Count(stderr, "\n") != 1 || len(s.Comments(p.Number)) > 0 {
			t.Errorf("%s: exit code %d, %s\n%+v", name, code, stderr, s.Comments(p.Number))
		}
	}
	if code, _, stderr := assay(t, "comment", "--report", plan); code != 0 || len(s.Comments(p.Number)) != 1 || !strings.Contains(s.Comments(p.Number)[0].Body, "made by a run of the pull request itself") {
		t.Errorf("exit code %d, %s\n%+v", code, stderr, s.Comments(p.Number))
	}
}

// Catalogs of one repository don't write over each other, however their folders are spelled, and none leads out of the repository.
func TestCatalogsInFolders(t *testing.T) {
	s := forgetest.New(t, "acme/catalog")
	s.Token("token", forgetest.Permissions{"metadata": "read", "issues": "write", "checks": "write", "security_events": "write"})
	plan, _, _ := workflow(t, s, 1)
	event := filepath.Join(t.TempDir(), "event.json")
	if err := os.WriteFile(event, []byte(fmt.Sprintf(`{"number": 1, "pull_request": {"head": {"sha": %q}}}`, s.Git("rev-parse", "main"))), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GITHUB_EVENT_NAME", "pull_request")
	t.Setenv("GITHUB_EVENT_PATH", event)
	for _, folder := range []string{"", "deploy", "./deploy/", "../../deploy", "other"} {
		if code, stdout, stderr := assay(t, "comment", "--report", plan, "--path", folder, "--check", "--sarif"); code != 0 || strings.Contains(stdout, "file=..") || strings.Contains(stdout, "file=/") {
			t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
		}
	}
	all := s.Comments(1)
	if len(all) != 3 || !strings.HasPrefix(all[1].Body, "<!-- assay:report deploy -->\n") || !strings.Contains(all[1].Body, "### Assay plan of `deploy`: 1 blocked") || all[1].Edits != 0 {
		t.Errorf("comments %+v", all)
	}
	if k := s.Checks(); len(k) != 3 || k[1].Name != "assay/plan deploy" {
		t.Errorf("check runs %+v", k)
	}
	if a := s.Analyses(); len(a) != 5 || strings.Contains(a[0].SARIF, "automationDetails") || !strings.Contains(a[1].SARIF, `"id": "assay/deploy/"`) {
		t.Errorf("analyses %+v", a)
	}
}
