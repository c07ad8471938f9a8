package report

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/assay-oci/assay/reconcile"
)

func TestATraceIsReadBack(t *testing.T) {
	r := sample(t, false)
	r.Plan.Profiles[0].Vulnerabilities = []reconcile.ProfileVulnerability{{ID: "CVE-2026-3", Severity: reconcile.Critical}, {ID: "CVE-2026-1", Severity: reconcile.Low}}
	trace := Trace(r)
	if strings.ContainsAny(trace, "\n<>") || strings.Contains(trace, "--") || len(trace) > maxTrace {
		t.Fatalf("%q", trace)
	}
	got, ok := ReadTrace("<!-- assay -->\n### Assay plan\n\n<!-- " + trace + " -->\n")
	if !ok || !reflect.DeepEqual(got, approve(r, reconcile.Unknown)) {
		t.Fatalf("%+v, %v", got, ok)
	}
	if fmt.Sprint(got.Images[2].Vulnerabilities) != "[CVE-2026-1 CVE-2026-3]" || got.Images[2].Verdict != ready || got.Images[3].Verdict != removed || got.Commit != r.Plan.Commit {
		t.Errorf("%+v", got)
	}
	if again := got.Trace(); again != trace {
		t.Errorf("%q is another trace", again)
	}
}

// crowded is a report on many images with many vulnerabilities.
func crowded(images, each int) reconcile.Report {
	var r reconcile.Report
	random := rand.New(rand.NewPCG(1, 2))
	for i := range images {
		p := reconcile.Profile{Image: fmt.Sprintf("image%d:1", i)}
		for range each {
			s := severityOrder[random.IntN(len(severityOrder))]
			p.Vulnerabilities = append(p.Vulnerabilities, reconcile.ProfileVulnerability{ID: fmt.Sprintf("CVE-%d-%d", 2015+random.IntN(12), random.IntN(99999)), Severity: s})
		}
		r.Plan.Profiles = append(r.Plan.Profiles, p)
	}
	return r
}

func TestATraceThatIsTooLongLosesTheLesserVulnerabilities(t *testing.T) {
	for _, c := range []struct {
		images, each int
		least        reconcile.Severity
	}{{1, 100, reconcile.Unknown}, {20, 150, reconcile.High}, {100, 1000, none}} {
		trace := Trace(crowded(c.images, c.each))
		got, ok := ReadTrace("<!-- " + trace + " -->")
		if !ok || got.Least != c.least || len(got.Images) != c.images || len(trace) > maxTrace {
			t.Errorf("%d images of %d: %d characters, %q, %v", c.images, c.each, len(trace), got.Least, ok)
		}
	}
	if trace := Trace(crowded(5000, 0)); trace != "" {
		t.Errorf("%d characters", len(trace))
	}
}

func packed(s string) string {
	var b bytes.Buffer
	z, _ := flate.NewWriter(&b, 9)
	z.Write([]byte(s))
	z.Close()
	return "<!-- " + traceMark + base64.StdEncoding.EncodeToString(b.Bytes()) + " -->"
}

func TestWhatIsNoTrace(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":          "",
		"no end":           "<!-- " + traceMark + "AAAA",
		"no base64":        "<!-- " + traceMark + "%%%% -->",
		"no deflate":       "<!-- " + traceMark + "AAAA -->",
		"no JSON":          packed("x"),
		"a bomb":           packed(strings.Repeat(" ", 4<<20)),
		"another verdict":  packed(`{"least": "unknown", "images": [{"image": "a", "verdict": "<b>"}]}`),
		"no name":          packed(`{"least": "unknown", "images": [{"verdict": "ready"}]}`),
		"no digest":        packed(`{"least": "unknown", "images": [{"image": "a", "verdict": "ready", "digest": "x"}]}`),
		"a long name":      packed(`{"least": "unknown", "images": [{"image": "` + strings.Repeat("a", 1000) + `", "verdict": "ready"}]}`),
		"another severity": packed(`{"least": "@acme", "images": []}`),
		"unsorted":         packed(`{"least": "unknown", "images": [{"image": "a", "verdict": "ready", "vulnerabilities": ["b", "a"]}]}`),
	} {
		if a, ok := ReadTrace(text); ok {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

func FuzzReadTrace(f *testing.F) {
	f.Add("<!-- " + Trace(crowded(2, 3)) + " -->")
	f.Add("<!-- " + traceMark + "AAAA -->")
	f.Add(packed(`{"images": [{}]}`))
	f.Fuzz(func(t *testing.T, comment string) {
		a, ok := ReadTrace(comment)
		if !ok {
			return
		}
		again, ok := ReadTrace("<!-- " + a.Trace() + " -->")
		if a.Trace() != "" && (!ok || !reflect.DeepEqual(again.Trace(), a.Trace())) {
			t.Errorf("%+v is read back as %+v", a, again)
		}
		var b bytes.Buffer
		r := sample(t, true)
		if err := Markdown(&b, r, MarkdownOptions{Approved: &a}); err != nil {
			t.Fatal(err)
		}
		checkStructure(t, b.String())
	})
}

func TestWhatDiffersFromTheApprovedPlan(t *testing.T) {
	plan := sample(t, false)
	now := sample(t, true)
	now.Plan.Profiles[0].Vulnerabilities = []reconcile.ProfileVulnerability{{ID: "CVE-2026-7777", Severity: reconcile.Critical}}
	a := approve(plan, reconcile.Unknown)
	a.Images[0].Verdict = ready // tool:2.0, blocked by now
	a.Images = append(a.Images[:1], a.Images[2:]...)
	a.Images = append(a.Images, ApprovedImage{Image: "postgres:17", Verdict: ready})
	var b bytes.Buffer
	if err := Markdown(&b, now, MarkdownOptions{Approved: &a}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"- `tool:2.0`: **blocked** now, ready when it was approved\n", "- `redis:7.4` was not in it, and is in violation\n",
		"- `nginx:1.27.3`: 1 vulnerability is new since: `CVE-2026-7777`\n", "- `postgres:17` was approved as ready, and nothing was left to do about it: an earlier run did it, or a later change took it out\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if a := approve(plan, reconcile.Unknown); len(differences(a, rows(sample(t, true)))) > 0 {
		t.Error("it differs from itself")
	}
	a.Images[1].Digest = reconcile.MustDigest("sha256:" + strings.Repeat("0", 64))
	if len(differences(a, rows(now))) == 0 {
		t.Error("another digest is no difference")
	}
}

func TestOnlyWhatConcernsAPullRequest(t *testing.T) {
	r := Only(sample(t, true), []string{"images/nginx.hcl"})
	var titles []string
	for _, x := range rows(r) {
		titles = append(titles, x.title)
	}
	// what stands in no file concerns everybody
	if got := strings.Join(titles, " "); got != "nginx:1.27.3 redis@sha256:9f86d081884c" || len(r.Result.Outcomes) != len(r.Plan.Actions) || len(r.Plan.Gaps) != 1 {
		t.Errorf("%s, %d outcomes of %d actions", got, len(r.Result.Outcomes), len(r.Plan.Actions))
	}
	if r := Only(sample(t, false), nil); r.Result != nil || len(r.Plan.Profiles) != 1 {
		t.Errorf("%+v", r) // the sample's profile names no file
	}
}
