package main

import (
	"strings"
	"testing"
)

// What an event says of where a report belongs, in the shapes that GitHub gives it ("Webhook events and payloads" in its documentation).
func TestEvents(t *testing.T) {
	a, zeros := strings.Repeat("a", 40), strings.Repeat("0", 40)
	for name, c := range map[string]struct {
		text string
		want event
	}{
		"pull_request":        {`{"number": 7, "pull_request": {"number": 7, "head": {"sha": "` + a + `"}}}`, event{Pull: 7, Commit: a, Ref: "refs/pull/7/head"}},
		"pull_request_review": {`{"review": {"id": 1}, "pull_request": {"number": 7, "head": {"sha": "` + a + `"}}}`, event{Pull: 7, Commit: a, Ref: "refs/pull/7/head"}},
		"push":                {`{"ref": "refs/heads/main", "before": "` + zeros + `", "after": "` + a + `"}`, event{Commit: a, Ref: "refs/heads/main", Push: pushed{Before: zeros, After: a, Branch: "main"}}},
		"push of a tag":       {`{"ref": "refs/tags/v1", "before": "` + zeros + `", "after": "` + a + `"}`, event{Commit: a, Ref: "refs/tags/v1"}},
		"push of no branch":   {`{"ref": "refs/heads/main", "before": "` + a + `", "after": "` + zeros + `", "deleted": true}`, event{}},
		"merge_group":         {`{"merge_group": {"head_sha": "` + a + `", "head_ref": "refs/heads/queue"}}`, event{Commit: a, Ref: "refs/heads/queue"}},
		"workflow_run":        {`{"workflow_run": {"event": "push", "head_sha": "` + a + `"}}`, event{Commit: a}},
	} {
		kind, _, _ := strings.Cut(name, " ")
		if got, err := parseEvent(kind, []byte(c.text)); err != nil || got != c.want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for _, text := range []string{`{}`, `{"number": -1}`, `{"number": 1e30}`, `{"number": "1"}`, `[]`, ``} {
		if got, err := parseEvent("pull_request", []byte(text)); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}
