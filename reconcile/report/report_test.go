package report

import (
	"bytes"
	"flag"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

var update = flag.Bool("update", false, "write the golden files anew")

const sum = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

func repo(t testing.TB, s string) reconcile.Repo {
	t.Helper()
	r, err := reconcile.ParseRepo(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func tag(t testing.TB, s string) reconcile.Tag {
	t.Helper()
	v, err := reconcile.ParseTag(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// sample is a report with one of everything.
func sample(t testing.TB, applied bool) reconcile.Report {
	d := reconcile.MustDigest("sha256:" + sum)
	eu := repo(t, "registry.eu.example.com/approved/nginx")
	none := reconcile.Digest{}
	at := reconcile.Origin{File: "images/nginx.hcl", Line: 9}
	st := &reconcile.Statement{Format: reconcile.Bundle, Signer: "main", Subject: d, Identity: repo(t, "images.example.com/approved/nginx"), Time: time.Unix(0, 0).UTC()}
	r := reconcile.Report{Plan: reconcile.Plan{
		Schema: reconcile.PlanSchema, Commit: "4f2a7c19d3e05b6a8f1c2d3e4f5a6b7c8d9e0f1a",
		Actions: []reconcile.Action{
			{ID: "copy-1", Kind: reconcile.Copy, Title: "nginx:1.27.3", Digest: d, From: repo(t, "docker.io/library/nginx"), To: eu, Bytes: 68_400_000, Reason: "approved, and not in eu", Origin: at},
			{ID: "sign-1", Kind: reconcile.Sign, Title: "nginx:1.27.3", Digest: d, Statement: st, Reason: "no signature", Origin: at},
			{ID: "sign-2", Kind: reconcile.Sign, Title: "nginx:1.27.3", Digest: d, Statement: st, Reason: "no signature", Origin: at},
			{ID: "place-1", Kind: reconcile.Place, Title: "nginx:1.27.3", Digest: d, To: eu, Record: "sign-1", Reason: "made in this run", Origin: at},
			{ID: "tag-1", Kind: reconcile.TagIt, Title: "nginx:1.27.3", Digest: d, To: eu, Tag: tag(t, "1.27.3"), Reason: "new tag", If: reconcile.If{Was: &none}, Origin: at},
			{ID: "tag-2", Kind: reconcile.TagIt, Title: "nginx:1.27.3", Digest: d, To: eu, Tag: tag(t, "stable"), Reason: "moves from sha256:000000000000", If: reconcile.If{Was: &d}, Origin: at},
			{ID: "untag-1", Kind: reconcile.Untag, Title: "redis", Digest: d, To: repo(t, "registry.eu.example.com/approved/redis"), Tag: tag(t, "hack"), Reason: "the catalog approves no such tag"},
			{ID: "delete-1", Kind: reconcile.Delete, Title: "redis@sha256:9f86d081884c", Digest: d, To: repo(t, "registry.eu.example.com/approved/redis"), Drops: []reconcile.Tag{tag(t, "6")}, Reason: "revoked: CVE-2026-1234", Origin: reconcile.Origin{File: "images/redis.hcl", Line: 3}},
		},
		Blocked: []reconcile.Finding{
			{Rule: "sources", Image: "tool:2.0", Summary: "docker.io/someone/tool isn't allowed", Detail: "take it from docker.io/library", Origin: reconcile.Origin{File: "images/tool.hcl", Line: 5}},
			{Rule: "vulnerabilities", Image: "tool:2.0", Severity: reconcile.Critical, ID: "CVE-2019-10744", Package: "lodash", Summary: "Prototype Pollution in lodash", Detail: "update lodash 4.17.4 to 4.17.12, or ask for a waiver", Origin: reconcile.Origin{File: "images/tool.hcl", Line: 5}},
		},
		Profiles: []reconcile.Profile{{Image: "nginx:1.27.3", Source: repo(t, "docker.io/library/nginx"), Digest: d, Platforms: []string{"linux/amd64", "linux/arm64"}, Bytes: 71303168, Users: []string{""},
			Purpose: "</details> | @acme/everybody closes #1 <!-- assay -->", Owner: "@acme/edge", System: "debian:12", Support: &reconcile.Support{Until: time.Date(2028, 6, 30, 0, 0, 0, 0, time.UTC)},
			Licenses: []string{"BSD-2-Clause", "GPL-2.0-or-later` | x"}, Severities: map[string]int{"high": 2}, Fixable: 0, Disputed: []reconcile.Dispute{{ID: "CVE-2023-45853", Package: "zlib1g 1.2.13", Reports: []string{"trivy high"}, Silent: []string{"grype"}}},
			Scanners: []reconcile.ProfileScan{{Scanner: "trivy", Version: "0.70.0", Database: time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC), Packages: 113, Severities: map[string]int{"high": 2}},
				{Scanner: "grype", Severities: map[string]int{}, NoVerdict: "its database is 9 days old"}},
			Rules:  []reconcile.ProfileRule{{Rule: "sources", Result: "passed"}, {Rule: "config", Result: "warned", Found: 1}},
			Review: &reconcile.Review{State: reconcile.Pending, Reason: "its pull request isn't merged yet"},
			Since:  &reconcile.Comparison{Version: "1.27.2", Bytes: -1200, Added: []string{"libx 1 | <img src=x>"}, Updated: []string{"openssl 3.0.1 → 3.0.2"}, Fixed: []reconcile.ProfileVulnerability{{ID: "CVE-2026-1", Severity: "high", Package: "openssl 3.0.1"}, {ID: "CVE-2026-2", Severity: "low", Package: "openssl 3.0.1"}}, Introduced: []reconcile.ProfileVulnerability{{ID: "CVE-2026-3", Severity: "critical", Package: "libx 1", FixedIn: []string{"2"}}}, Config: []string{"user root → nginx"}}}},
		Violations: []reconcile.Finding{{Rule: "vulnerabilities", Severity: reconcile.Critical, ID: "CVE-2026-9999", Package: "zlib1g", Image: "redis:7.4",
			Summary: "critical CVE-2026-9999 in zlib1g 1.2.13: | <b>overflow</b> @acme/everybody", Detail: "update zlib1g 1.2.13 to 1.3.1", Origin: reconcile.Origin{File: "redis.hcl", Line: 4}}},
		Notes: []reconcile.Finding{{Rule: "tag-move", Image: "nginx:1.27.3", Summary: "tag stable moves", Origin: at}},
		Gaps:  []reconcile.Gap{{Question: reconcile.Question{Kind: reconcile.AskTags, Repo: repo(t, "registry.us.example.com/approved/nginx")}, Reason: "503 Service Unavailable"}},
	}}
	if applied {
		r.Result = &reconcile.Result{}
		for i, a := range r.Plan.Actions {
			o := reconcile.Outcome{ID: a.ID, Status: reconcile.Done}
			switch i {
			case 3:
				o.Status, o.Reason = reconcile.Failed, "put record: 500 Internal Server Error"
			case 4:
				o.Status, o.Reason = reconcile.Skipped, "place registry.eu.example.com/approved/nginx@sha256:9f86d081884c was not done"
			case 5:
				o.Status, o.Reason = reconcile.Stale, "the catalog has moved on to 111111111111"
			}
			r.Result.Outcomes = append(r.Result.Outcomes, o)
		}
	}
	return r
}

func TestGolden(t *testing.T) {
	for name, render := range map[string]func(*bytes.Buffer) error{
		"plan.txt":          func(b *bytes.Buffer) error { return Text(b, sample(t, false), false) },
		"plan.colour.txt":   func(b *bytes.Buffer) error { return Text(b, sample(t, false), true) },
		"plan.md":           func(b *bytes.Buffer) error { return Markdown(b, sample(t, false), MarkdownOptions{}) },
		"plan.json":         func(b *bytes.Buffer) error { return JSON(b, sample(t, false)) },
		"reconcile.txt":     func(b *bytes.Buffer) error { return Text(b, sample(t, true), false) },
		"reconcile.md":      func(b *bytes.Buffer) error { return Markdown(b, sample(t, true), MarkdownOptions{}) },
		"reconcile.json":    func(b *bytes.Buffer) error { return JSON(b, sample(t, true)) },
		"nothing-to-do.txt": func(b *bytes.Buffer) error { return Text(b, reconcile.Report{}, false) },
		"nothing-to-do.md":  func(b *bytes.Buffer) error { return Markdown(b, reconcile.Report{}, MarkdownOptions{}) },
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := render(&b); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name)
			if *update {
				if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b.Bytes(), want) {
				t.Errorf("%s differs; run make update-golden and read the difference\n%s", file, b.String())
			}
		})
	}
}

func TestARegistryThatIsDownFillsNoScreens(t *testing.T) {
	r := sample(t, false)
	for i := range 100 {
		q := reconcile.Question{Kind: reconcile.AskTags, Repo: repo(t, fmt.Sprintf("registry.eu.example.com/approved/app%d", i))}
		r.Plan.Gaps = append(r.Plan.Gaps, reconcile.Gap{Question: q, Reason: fmt.Sprintf("list %s: connection refused", q)})
	}
	for name, render := range map[string]func(*bytes.Buffer) error{
		"text":     func(b *bytes.Buffer) error { return Text(b, r, false) },
		"markdown": func(b *bytes.Buffer) error { return Markdown(b, r, MarkdownOptions{}) },
	} {
		var b bytes.Buffer
		if err := render(&b); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(b.String(), "connection refused"); n != mostGaps {
			t.Errorf("%s: %d gaps of one registry are written out", name, n)
		}
		if got := html.UnescapeString(b.String()); !strings.Contains(got, "and 90 more of registry.eu.example.com") || strings.Count(got, "the tags of registry.eu.example.com/approved/app0") != 1 {
			t.Errorf("%s:\n%s", name, got)
		}
	}
}
