package report

import (
	"bytes"
	"strings"
	"testing"

	"github.com/assay-oci/assay/reconcile"
)

func drifted(t *testing.T, r reconcile.Report, o DriftOptions) (bool, string) {
	t.Helper()
	var b bytes.Buffer
	drifted, err := Drift(&b, r, o)
	if err != nil {
		t.Fatal(err)
	}
	return drifted, b.String()
}

func TestDrift(t *testing.T) {
	s := scene{t}
	r := s.drift()
	if is, text := drifted(t, r, DriftOptions{}); !is || strings.Contains(strings.ReplaceAll(text, "`@acme/edge`", ""), "@acme/edge") || !strings.Contains(text, "`@acme/edge`") {
		t.Errorf("%v, or owners are mentioned unasked:\n%s", is, text)
	}
	if is, text := drifted(t, s.plan(), DriftOptions{}); is || !strings.HasPrefix(text, "### Assay drift: none") {
		t.Errorf("%v\n%s", is, text)
	}

	only := s.plan()
	only.Plan.Gaps = r.Plan.Gaps
	if is, text := drifted(t, only, DriftOptions{}); is || !strings.Contains(text, "1 could not be read") {
		t.Errorf("what could not be read is called drift: %v\n%s", is, text)
	}

	// a reconcile tells of what is left
	done := s.applied(s.plan(r.Plan.Actions...))
	if is, text := drifted(t, done, DriftOptions{}); is {
		t.Errorf("all was done:\n%s", text)
	}
	done.Result.Outcomes[0] = reconcile.Outcome{ID: done.Plan.Actions[0].ID, Status: reconcile.Failed, Reason: "503"}
	if is, text := drifted(t, done, DriftOptions{}); !is || strings.Count(text, "\n- ") != 1 || !strings.Contains(text, "`503`") {
		t.Errorf("%v\n%s", is, text)
	}

	violating := s.plan()
	violating.Plan.Violations = r.Plan.Violations
	if is, _ := drifted(t, violating, DriftOptions{}); !is {
		t.Error("an approved image that turned vulnerable isn't told")
	}
}

func TestOnlyAnAccountIsMentioned(t *testing.T) {
	r := scene{t}.drift()
	for owner, mentioned := range map[string]bool{"@acme/edge": true, "@octocat": true, "octocat": false, "@acme/edge @everybody": false, "@acme/edge\n@x": false, "@a/b/c": false, "edge@example.com": false, "@-x": false} {
		r.Plan.Owners = map[string]string{"nginx": owner}
		_, text := drifted(t, r, DriftOptions{Mention: true})
		if got := strings.Contains(text, " · "+owner+"\n"); got != mentioned {
			t.Errorf("%q: mentioned: %v", owner, got)
		}
	}
}
