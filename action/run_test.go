package action

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// ran is what run.sh did.
type ran struct {
	flags   string // of the program, a line for each time
	outputs map[string]string
	printed string
	code    int
}

// runs runs run.sh for an event, with a program that notes its flags, says something on stderr, prints a report and ends with a code.
func runs(t *testing.T, event, says, report, code string, env ...string) ran {
	t.Helper()
	dir := t.TempDir()
	assay := filepath.Join(dir, "program")
	if err := os.WriteFile(assay, []byte("#!/bin/sh\necho \"$@\" >>"+dir+"/flags\nprintf '%s\\n' \"$SAYS\" >&2\nprintf %s \"$PRINTS\"\nexit $ENDS\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "run.sh")
	cmd.Env = append(os.Environ(), "RUNNER_TEMP="+dir, "GITHUB_OUTPUT="+filepath.Join(dir, "output"), "GITHUB_EVENT_NAME="+event, "ASSAY="+assay, "SAYS="+says, "PRINTS="+report, "ENDS="+code,
		"MODE=", "CATALOG=https://github.example.com/acme/catalog", "CATALOG_PATH=", "REF=", "COMMIT=c0ffee", "BASE=", "ALLOW_GAPS=false", "REPORT=", "ECOSYSTEMS=", "MIRROR=", "CACHE=/c", "STAGE=", "INSECURE=")
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	r := ran{outputs: map[string]string{}, printed: string(out), code: cmd.ProcessState.ExitCode()}
	flags, _ := os.ReadFile(filepath.Join(dir, "flags"))
	r.flags = strings.TrimSpace(string(flags))
	written, _ := os.ReadFile(filepath.Join(dir, "output"))
	for line := range strings.Lines(string(written)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		r.outputs[k] = strings.Replace(v, dir, "TEMP", 1)
	}
	return r
}

func TestTheEventDecidesWhatIsRun(t *testing.T) {
	const common = " --catalog https://github.example.com/acme/catalog --cache /c --output json"
	for name, c := range map[string]struct {
		event string
		env   []string
		flags string
		mode  string
	}{
		"a pull request":        {"pull_request", nil, "plan --commit c0ffee --base c0ffee^ --since c0ffee^" + common, "plan"},
		"a fork's":              {"pull_request", []string{"ALLOW_GAPS=true"}, "plan --commit c0ffee --base c0ffee^ --since c0ffee^" + common + " --allow-gaps", "plan"},
		"a queue":               {"merge_group", []string{"BASE=decaf"}, "plan --commit c0ffee --base decaf --since decaf" + common, "plan"},
		"a push":                {"push", nil, "reconcile" + common, "reconcile"},
		"by hand":               {"workflow_dispatch", []string{"REF=main", "CATALOG_PATH=a b", "STAGE=1GiB", "INSECURE=x:1,y:2"}, "reconcile" + common + " --path a b --stage 1GiB --insecure-registry x:1,y:2 --ref main", "reconcile"},
		"a schedule":            {"schedule", nil, "reconcile" + common, "drift"},
		"a mode that is named":  {"push", []string{"MODE=plan"}, "plan --commit c0ffee --base c0ffee^ --since c0ffee^" + common, "plan"},
		"another workflow":      {"workflow_run", []string{"REPORT=there/plan.json"}, "", "comment"},
		"nothing to comment on": {"workflow_run", nil, "", ""},
		"a target's":            {"pull_request_target", nil, "", ""},
		"something else":        {"issue_comment", nil, "", ""},
		"a mode that is none":   {"push", []string{"MODE=plan; true"}, "", ""},
	} {
		r := runs(t, c.event, "", "{}", "0", c.env...)
		if r.flags != c.flags || r.outputs["mode"] != c.mode || (r.code == 0) != (c.mode != "") || r.code != 0 && !strings.Contains(r.printed, "::error::assay: ") {
			t.Errorf("%s: %+v", name, r)
		}
	}
	// advisories that can't be fetched keep no report from being made
	if r := runs(t, "pull_request", "", "{}", "1", "ECOSYSTEMS=npm"); !strings.Contains(r.flags, "plan --commit c0ffee") || r.outputs["report"] == "" || !strings.Contains(r.printed, "not all advisories") {
		t.Errorf("without advisories: %+v", r)
	}
	if r := runs(t, "pull_request", "", "{}", "0", "ECOSYSTEMS=Debian,npm Go"); r.flags != "db update --cache /c --epss --kev --support --ecosystem Debian --ecosystem npm --ecosystem Go\nplan --commit c0ffee --base c0ffee^ --since c0ffee^"+common {
		t.Errorf("after the advisories: %+v", r)
	}
	if r := runs(t, "push", "", "{}", "0", "ECOSYSTEMS=npm", "MIRROR=https://mirror.example.com/osv"); r.flags != "db update --cache /c https://mirror.example.com/osv --ecosystem npm\nreconcile"+common {
		t.Errorf("from a mirror: %+v", r)
	}
}

// What the program ends with is for the last step: what it found is published before.
func TestTheReportIsAnOutputWhateverTheProgramEndsWith(t *testing.T) {
	if r := runs(t, "push", "", "{}", "3"); r.code != 0 || r.outputs["exit-code"] != "3" || r.outputs["report"] != "TEMP/assay/report.json" {
		t.Errorf("%+v", r)
	}
	if r := runs(t, "pull_request", "", "", "1"); r.code != 0 || r.outputs["exit-code"] != "1" || r.outputs["report"] != "" {
		t.Errorf("without a report: %+v", r)
	}
}

// Whatever the program says stands between two marks that nobody can guess, so that it commands nothing.
func TestWhatTheProgramSaysCommandsNothing(t *testing.T) {
	said := map[string]bool{}
	for range 2 {
		r := runs(t, "pull_request", "::set-output name=mode::evil\n##[set-output name=report;]evil", "{}", "0")
		m := regexp.MustCompile(`(?s)^::stop-commands::([0-9a-f]{32})\n(.*)\n::([0-9a-f]{32})::\n$`).FindStringSubmatch(r.printed)
		if m == nil || m[1] != m[3] || said[m[1]] || strings.Contains(m[2], m[1]) {
			t.Fatalf("%q", r.printed)
		}
		said[m[1]] = true
	}
}

func TestPublishingCommandsWhatTheProgramMeansAlone(t *testing.T) {
	dir := t.TempDir()
	assay := filepath.Join(dir, "program")
	if err := os.WriteFile(assay, []byte("#!/bin/sh\necho \"::notice::$*\"\nprintf '::error::evil\\n  ::add-mask::x\\nno \"##[set-output name=comment-url;]evil\"\\n' >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for want, env := range map[string][]string{
		"comment --report plan.json --path a b --check --sarif --labels": {"MODE=plan", "CATALOG_PATH=a b", "CHECK=true", "SARIF=true", "LABELS=true", "MENTION=true"},
		"comment --report plan.json":                                     {"MODE=comment", "CATALOG_PATH=", "CHECK=false", "SARIF=false", "LABELS=false", "MENTION=false"},
		"drift --report plan.json --mention":                             {"MODE=drift", "CATALOG_PATH=", "CHECK=true", "SARIF=false", "LABELS=false", "MENTION=true"},
	} {
		var out, errs strings.Builder
		cmd := exec.CommandContext(t.Context(), "bash", "publish.sh")
		cmd.Env = append(append(os.Environ(), "ASSAY="+assay, "REPORT=plan.json"), env...)
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Run(); err == nil || out.String() != "::notice::"+want+"\n" {
			t.Errorf("%v: %q", err, out.String())
		}
		if errs.String() != " : :error::evil\n : :add-mask::x\nno \"## [set-output name=comment-url;]evil\"\n" {
			t.Errorf("%q", errs.String())
		}
	}
}
