package report

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

// A story is a report as people meet it, and how it is written for them.
type story struct {
	name   string
	report reconcile.Report
	write  func(*bytes.Buffer, reconcile.Report) error
}

// noon is when the stories' plans are made.
var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func numbered(n int) reconcile.Digest {
	return reconcile.MustDigest("sha256:" + strings.Repeat(fmt.Sprintf("%02x", n), 32))
}

func markdown(o MarkdownOptions) func(*bytes.Buffer, reconcile.Report) error {
	return func(b *bytes.Buffer, r reconcile.Report) error { return Markdown(b, r, o) }
}

const runLink = "https://github.com/acme/catalog/actions/runs/42"

func stories(t testing.TB) []story {
	s := scene{t}
	ready := s.plan(s.admit("nginx", "1.27.3", 3)...)
	ready.Plan.Profiles = []reconcile.Profile{s.profile("nginx:1.27.3", 3)}
	line := reconcile.Origin{File: "images/nginx.hcl", Line: 9}
	ready.Plan.Notes = []reconcile.Finding{
		{Rule: "approval", Image: "nginx:1.27.3", Digest: numbered(3), ID: "pending", Summary: "its pull request is still open", Detail: "1 of the file's code owners must approve the pull request before it is merged", Pending: true, Origin: line},
		{Rule: "config", Scope: "payments", Image: "nginx:1.27.3", Digest: numbered(3), ID: "root", Summary: "it runs as root on linux/amd64", Detail: "set USER in its Dockerfile, or ask for a waiver", Warning: true, Origin: line}}
	approved := approve(ready, reconcile.Unknown)
	done := s.applied(ready)

	later := s.applied(ready)
	later.Plan.Profiles = slices.Clone(later.Plan.Profiles)
	later.Plan.Profiles[0].Vulnerabilities = append(slices.Clone(later.Plan.Profiles[0].Vulnerabilities), reconcile.ProfileVulnerability{ID: "CVE-2026-7777", Severity: reconcile.Critical, Package: "libssl3 3.0.15", FixedIn: []string{"3.0.16"}})
	later.Plan.Profiles[0].Severities = map[string]int{"critical": 1, "high": 2}
	later.Plan.Blocked = []reconcile.Finding{{Rule: "vulnerabilities", Image: "redis:7.4", Digest: numbered(7), Severity: reconcile.Critical, ID: "CVE-2026-7777", Package: "libssl3",
		Summary: "critical CVE-2026-7777 in libssl3 3.0.15: overflow in X.509 names (grype, trivy)", Detail: "update libssl3 3.0.15 to 3.0.16, or ask for a waiver", Origin: reconcile.Origin{File: "images/redis.hcl", Line: 5}}}
	approvedBoth := approved
	approvedBoth.Images = append(slices.Clone(approved.Images), ApprovedImage{Image: "redis:7.4", Digest: numbered(7), Verdict: "ready"})

	first := s.plan(s.admit("postgres", "17.2", 4)...)
	p := s.profile("postgres:17.2", 4)
	p.Since, p.Review, p.Upstream = nil, nil, []reconcile.ProfileSigner{{Signer: "https://github.com/acme/postgres/.github/workflows/release.yml@refs/heads/main", Signed: "image", Time: noon.Add(-72 * time.Hour)}}
	first.Plan.Profiles = []reconcile.Profile{p}

	changed := s.plan(s.admit("nginx", "1.27.3", 3)...)
	changed.Plan.Profiles = ready.Plan.Profiles
	at := reconcile.Origin{File: "payments/scope.hcl", Line: 7}
	changed.Plan.Notes = append(slices.Clone(ready.Plan.Notes), []reconcile.Finding{
		{Rule: "policy-change", ID: "loosened", Scope: "payments", Summary: `the rule "vulnerabilities" of the policy "baseline" is changed: deny from "high" to "critical"`, Detail: "Until this is merged, images are judged by both.", Origin: at},
		{Rule: "policy-change", Summary: `the waiver "CVE-2026-4321" from the rule "vulnerabilities" is added`, Origin: reconcile.Origin{File: "waivers.hcl", Line: 1}},
	}...)

	return []story{
		{"new-version", ready, markdown(MarkdownOptions{})},
		{"first-version", first, markdown(MarkdownOptions{})},
		{"blocked", s.blocked(false), markdown(MarkdownOptions{})},
		{"fixed", s.blocked(true), markdown(MarkdownOptions{})},
		{"policy-changed", changed, markdown(MarkdownOptions{})},
		{"revoked", s.revoked(), markdown(MarkdownOptions{})},
		{"removed", s.removed(), markdown(MarkdownOptions{})},
		{"done", done, markdown(MarkdownOptions{Approved: &approved, Ended: noon.Add(4 * time.Minute)})},
		{"partly-failed", s.partly(ready), markdown(MarkdownOptions{Approved: &approved, Ended: noon.Add(4 * time.Minute)})},
		{"differs", later, markdown(MarkdownOptions{Approved: &approvedBoth, Ended: noon.Add(4 * time.Minute)})},
		{"drift", s.drift(), func(b *bytes.Buffer, r reconcile.Report) error {
			_, err := Drift(b, r, DriftOptions{Mention: true})
			return err
		}},
		{"shortened", s.many(), markdown(MarkdownOptions{Limit: 4000, Link: runLink})},
		{"hostile", hostile(t, `</details></code> | @acme/admins fixes #1 <!-- assay:report --> [x](https://evil.example.com) www.evil.example.com`+"\u202e`\n::error::"), markdown(MarkdownOptions{})},
	}
}

// scene makes what stories are about.
type scene struct{ t testing.TB }

func (s scene) plan(actions ...reconcile.Action) reconcile.Report {
	prefix := func(p string) reconcile.Prefix {
		v, err := reconcile.ParsePrefix(p)
		if err != nil {
			s.t.Fatal(err)
		}
		return v
	}
	return reconcile.Report{Plan: reconcile.Plan{Schema: reconcile.PlanSchema, Catalog: "https://github.com/acme/catalog", Commit: "4f2a7c19d3e05b6a8f1c2d3e4f5a6b7c8d9e0f1a", Made: noon,
		Registries: []reconcile.PlanRegistry{{Name: "eu", Prefix: prefix("registry.eu.example.com/approved")}, {Name: "us", Prefix: prefix("registry.us.example.com/approved")}},
		Owners:     map[string]string{"nginx": "@acme/edge", "redis": "@acme/data"}, Actions: actions}}
}

func (s scene) repos(name string) []reconcile.Repo {
	return []reconcile.Repo{repo(s.t, "registry.eu.example.com/approved/"+name), repo(s.t, "registry.us.example.com/approved/"+name)}
}

// admit is what it takes to admit a version in both registries.
func (s scene) admit(name, version string, n int) []reconcile.Action {
	var out []reconcile.Action
	title, at := name+":"+version, reconcile.Origin{File: "images/" + name + ".hcl", Line: 9}
	identity := repo(s.t, "images.example.com/approved/"+name)
	gone, was := reconcile.Digest{}, numbered(1)
	add := func(a reconcile.Action) {
		a.ID, a.Title, a.Digest, a.Origin = fmt.Sprintf("%s-%s-%d", a.Kind, name, len(out)), title, numbered(n), at
		out = append(out, a)
	}
	add(reconcile.Action{Kind: reconcile.Sign, Statement: &reconcile.Statement{Format: reconcile.Bundle, Signer: "main", Subject: numbered(n), Identity: identity, Time: noon}, Reason: "no signature"})
	for _, r := range s.repos(name) {
		add(reconcile.Action{Kind: reconcile.Copy, From: repo(s.t, "docker.io/library/"+name), To: r, Bytes: 68_400_000, Reason: "approved, and not in " + r.Host()})
		add(reconcile.Action{Kind: reconcile.Place, To: r, Reason: "made in this run"})
		add(reconcile.Action{Kind: reconcile.TagIt, To: r, Tag: tag(s.t, version), If: reconcile.If{Was: &gone}, Reason: "new tag"})
		add(reconcile.Action{Kind: reconcile.TagIt, To: r, Tag: tag(s.t, "next"), If: reconcile.If{Was: &gone}, Reason: "new tag"})
		add(reconcile.Action{Kind: reconcile.TagIt, To: r, Tag: tag(s.t, "stable"), If: reconcile.If{Was: &was}, Reason: "moves from " + was.Short()})
	}
	return out
}

func (s scene) profile(image string, n int) reconcile.Profile {
	name, _, _ := strings.Cut(image, ":")
	vs := []reconcile.ProfileVulnerability{{ID: "CVE-2023-45853", Severity: reconcile.High, Package: "zlib1g 1.2.13"}, {ID: "CVE-2026-3", Severity: reconcile.High, Package: "libxml2 2.9.14"}}
	return reconcile.Profile{Image: image, Digest: numbered(n), Source: repo(s.t, "docker.io/library/"+name), Owner: "@acme/edge", Purpose: "Reverse proxy at the edge",
		Origin: reconcile.Origin{File: "images/" + name + ".hcl", Line: 9}, Platforms: []string{"linux/amd64", "linux/arm64"}, Bytes: 68_400_000, Users: []string{""},
		System: "debian:12", Support: &reconcile.Support{Until: time.Date(2028, 6, 30, 0, 0, 0, 0, time.UTC), Data: noon.Add(-50 * time.Hour)},
		Licenses: []string{"BSD-2-Clause", "GPL-2.0-or-later", "MIT"}, Severities: map[string]int{"high": 2}, Vulnerabilities: vs,
		Disputed: []reconcile.Dispute{{ID: "CVE-2023-45853", Package: "zlib1g 1.2.13", Reports: []string{"trivy high"}, Silent: []string{"builtin", "grype"}}},
		Scanners: []reconcile.ProfileScan{
			{Scanner: "builtin", Version: "1.0", Database: noon.Add(-3 * time.Hour), Finished: noon.Add(-5 * time.Minute), Packages: 113, Severities: map[string]int{"high": 1}},
			{Scanner: "grype", Version: "0.110.0", Database: noon.Add(-9 * time.Hour), Finished: noon.Add(-5 * time.Minute), Packages: 113, Severities: map[string]int{"high": 1}},
			{Scanner: "trivy", Version: "0.70.0", Database: noon.Add(-3 * time.Hour), Finished: noon.Add(-4 * time.Minute), Packages: 113, Severities: map[string]int{"high": 2}}},
		Rules: []reconcile.ProfileRule{{Rule: "approval", Policy: "baseline", Result: "warned", Found: 1}, {Rule: "config", Policy: "baseline", Scope: "payments", Result: "warned", Found: 1},
			{Rule: "licenses", Policy: "baseline", Result: "passed"}, {Rule: "sources", Policy: "baseline", Result: "passed"},
			{Rule: "vulnerabilities", Policy: "baseline", Result: "waived", Waived: []string{"CVE-2026-3 until 2027-01-31: the parser isn't reachable"}}},
		Review: &reconcile.Review{State: reconcile.Pending, Owners: []string{"@acme/platform"}},
		Since: &reconcile.Comparison{Version: "1.27.2", Digest: numbered(1), Approved: noon.Add(-40 * 24 * time.Hour), Bytes: 1_200_000,
			Added: []string{"libavif15 0.11.1", "libyuv0 0.0"}, Removed: []string{"libtiff6 4.5.0"}, Updated: []string{"libssl3 3.0.14 → 3.0.15", "nginx 1.27.2 → 1.27.3"},
			Introduced: vs[1:], Fixed: []reconcile.ProfileVulnerability{{ID: "CVE-2026-1", Severity: reconcile.Critical, Package: "libssl3 3.0.14", FixedIn: []string{"3.0.15"}}, {ID: "CVE-2026-2", Severity: reconcile.Low, Package: "libtiff6 4.5.0"}},
			Config: []string{"entrypoint none → /docker-entrypoint.sh"}}}
}

// blocked is a new image that two rules refuse, or the same with the one thing mended that its author could mend.
func (s scene) blocked(mended bool) reconcile.Report {
	at := reconcile.Origin{File: "images/tool.hcl", Line: 5}
	p := s.profile("tool:2.0", 5)
	p.Since, p.Review, p.Purpose, p.Owner, p.Disputed = nil, nil, "Converts invoices", "@acme/billing", nil
	vs := reconcile.Finding{Rule: "vulnerabilities", Image: "tool:2.0", Digest: numbered(5), Severity: reconcile.Critical, ID: "CVE-2019-10744", Package: "lodash",
		Summary: "critical CVE-2019-10744 in lodash 4.17.4: prototype pollution (grype, trivy)", Detail: "update lodash 4.17.4 to 4.17.12, or ask for a waiver", Origin: at}
	license := reconcile.Finding{Rule: "licenses", Image: "tool:2.0", Digest: numbered(5), ID: "AGPL-3.0-only", Package: "ghostscript", Summary: "the licence of ghostscript 10.0, AGPL-3.0-only, is not acceptable",
		Detail: "use an image without it, or ask for a waiver; denied are AGPL-*", Origin: at}
	if mended {
		r := s.plan(s.admit("tool", "2.0", 5)...)
		p.Vulnerabilities, p.Severities, p.Rules = nil, map[string]int{}, p.Rules[2:4]
		r.Plan.Profiles = []reconcile.Profile{p}
		return r
	}
	p.Blocked = true
	p.Vulnerabilities = append([]reconcile.ProfileVulnerability{{ID: vs.ID, Severity: reconcile.Critical, Package: "lodash 4.17.4", FixedIn: []string{"4.17.12"}}}, p.Vulnerabilities...)
	p.Severities, p.Fixable = map[string]int{"critical": 1, "high": 2}, 1
	for i := range p.Scanners[1:] {
		p.Scanners[i+1].Severities["critical"] = 1
	}
	p.Rules = []reconcile.ProfileRule{{Rule: "licenses", Policy: "baseline", Result: "failed", Found: 1}, {Rule: "sources", Policy: "baseline", Result: "passed"}, {Rule: "vulnerabilities", Policy: "baseline", Result: "failed", Found: 1}}
	p.Licenses = append(p.Licenses, "AGPL-3.0-only")
	r := s.plan()
	r.Plan.Profiles, r.Plan.Blocked = []reconcile.Profile{p}, []reconcile.Finding{license, vs}
	r.Plan.Blocked = append(r.Plan.Blocked, reconcile.Finding{Rule: "sources", Image: "other:1.0", Digest: numbered(6), ID: "docker.io/someone/other", Summary: "docker.io/someone/other is not an allowed source",
		Detail: "take the image from one of docker.io/library/*, or ask for the source to be allowed", Origin: reconcile.Origin{File: "images/other.hcl", Line: 2}})
	return r
}

func (s scene) goes(kind reconcile.Kind, n int, name string, tags ...string) []reconcile.Action {
	var out []reconcile.Action
	for _, r := range s.repos(name) {
		a := reconcile.Action{ID: fmt.Sprintf("%s-%s-%d-%s", kind, name, n, r.Host()), Kind: kind, Title: name, Digest: numbered(n), To: r, Origin: reconcile.Origin{File: "images/" + name + ".hcl", Line: 20}}
		if kind == reconcile.Untag {
			for _, x := range tags {
				a.ID, a.Tag, a.Reason = a.ID+x, tag(s.t, x), "the catalog approves no such tag"
				out = append(out, a)
			}
			continue
		}
		a.Title = name + "@" + numbered(n).Short()
		for _, x := range tags {
			a.Drops = append(a.Drops, tag(s.t, x))
		}
		out = append(out, a)
	}
	return out
}

func (s scene) revoked() reconcile.Report {
	all := s.goes(reconcile.Delete, 9, "nginx", "1.25", "1.25.5")
	for i := range all {
		all[i].Reason, all[i].Revoked = "revoked: CVE-2026-1234: request smuggling", &reconcile.Revoked{Reason: "CVE-2026-1234: request smuggling", Replacement: "1.27.3"}
	}
	return s.plan(all...)
}

func (s scene) removed() reconcile.Report {
	all := slices.Concat(s.goes(reconcile.Untag, 8, "redis", "6", "6.2"), s.goes(reconcile.Delete, 10, "redis"))
	for i := range all {
		all[i].Reason = cmp.Or(all[i].Reason, "absent from the catalog for more than 168h0m0s")
	}
	return s.plan(all...)
}

func (s scene) applied(r reconcile.Report) reconcile.Report {
	r.Result = &reconcile.Result{}
	for _, a := range r.Plan.Actions {
		r.Result.Outcomes = append(r.Result.Outcomes, reconcile.Outcome{ID: a.ID, Status: reconcile.Done})
	}
	return r
}

// partly is done in the first registry, and not in the second.
func (s scene) partly(r reconcile.Report) reconcile.Report {
	r = s.applied(r)
	broken := false
	for i, a := range r.Plan.Actions {
		if a.To.Host() != "registry.us.example.com" {
			continue
		}
		r.Result.Outcomes[i].Status, r.Result.Outcomes[i].Reason = reconcile.Skipped, "an action that it needs was not done"
		if !broken {
			r.Result.Outcomes[i].Status, r.Result.Outcomes[i].Reason = reconcile.Failed, "put blob: 503 Service Unavailable; try again later"
			broken = true
		}
	}
	return r
}

func (s scene) drift() reconcile.Report {
	var moved reconcile.Action
	for _, a := range s.admit("nginx", "1.27.3", 3) {
		if moves(a) {
			moved = a
			break
		}
	}
	r := s.plan(append([]reconcile.Action{moved}, s.goes(reconcile.Untag, 8, "redis", "hack")...)...)
	r.Plan.Violations = []reconcile.Finding{{Rule: "vulnerabilities", Image: "redis:7.4", Digest: numbered(7), Severity: reconcile.Critical, ID: "CVE-2026-7777", Package: "libssl3",
		Summary: "critical CVE-2026-7777 in libssl3 3.0.15: overflow in X.509 names (grype, trivy)", Detail: "update libssl3 3.0.15 to 3.0.16, or ask for a waiver", Origin: reconcile.Origin{File: "images/redis.hcl", Line: 5}}}
	r.Plan.Gaps = []reconcile.Gap{{Question: reconcile.Question{Kind: reconcile.AskTags, Repo: repo(s.t, "registry.us.example.com/approved/postgres")}, Reason: "503 Service Unavailable"}}
	return r
}

// many is more than fits.
func (s scene) many() reconcile.Report {
	r := s.plan()
	for i := range 40 {
		name := fmt.Sprintf("app%02d", i)
		r.Plan.Actions = append(r.Plan.Actions, s.admit(name, "1.0", 20+i)...)
		r.Plan.Profiles = append(r.Plan.Profiles, s.profile(name+":1.0", 20+i))
	}
	b := s.blocked(false).Plan
	r.Plan.Blocked, r.Plan.Profiles = b.Blocked, append(r.Plan.Profiles, b.Profiles...)
	return r
}

func TestStories(t *testing.T) {
	for _, s := range stories(t) {
		t.Run(s.name, func(t *testing.T) {
			var b, again bytes.Buffer
			if err := s.write(&b, s.report); err != nil {
				t.Fatal(err)
			}
			if err := s.write(&again, s.report); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
				t.Errorf("the same report gives other bytes, %v", err)
			}
			checkStructure(t, b.String())
			compareGolden(t, filepath.Join("testdata", s.name+".golden.md"), b.Bytes())
		})
	}
}

func compareGolden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is another one; read the difference, then run make update-golden\n%s", file, got)
	}
}
