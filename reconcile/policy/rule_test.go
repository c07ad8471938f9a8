package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/rogpeppe/go-internal/diff"

	"github.com/assay-oci/assay/reconcile"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func digest(s string) reconcile.Digest {
	sum := sha256.Sum256([]byte(s))
	return reconcile.MustDigest("sha256:" + hex.EncodeToString(sum[:]))
}

func repo(t *testing.T, s string) reconcile.Repo {
	t.Helper()
	r, err := reconcile.ParseRepo(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// decode reads a rule from the text of its block's body.
func decode(t *testing.T, name, body string) (reconcile.Rule, hcl.Diagnostics) {
	t.Helper()
	f, diags := hclsyntax.ParseConfig([]byte(body), "policy.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return Rules()[name](f.Body)
}

func rule(t *testing.T, name, body string) reconcile.Rule {
	t.Helper()
	r, diags := decode(t, name, body)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return r
}

// subject is nginx 1.27.3 on the platforms given.
func subjectOn(t *testing.T, platforms ...string) reconcile.Subject {
	t.Helper()
	s := reconcile.Subject{Want: reconcile.Want{Name: "nginx", Version: "1.27.3", From: reconcile.Image{Repo: repo(t, "docker.io/library/nginx"), Digest: digest("root")},
		Origin: reconcile.Origin{File: "nginx.hcl", Line: 4}}}
	tree := &reconcile.Tree{Root: digest("root")}
	for _, p := range platforms {
		m := reconcile.Manifest{Digest: digest(p), Blobs: []reconcile.Blob{{Digest: digest("layer"), Size: 1000}}}
		if p != "" {
			var err error
			if m.Platform, err = reconcile.ParsePlatform(p); err != nil {
				t.Fatal(err)
			}
		}
		tree.Manifests = append(tree.Manifests, m)
	}
	s.Evidence.Tree = tree
	return s
}

func scanned(s reconcile.Subject, platform string, scans ...reconcile.Scan) reconcile.Subject {
	for _, x := range scans {
		s.Evidence.Scans = append(s.Evidence.Scans, reconcile.PlatformScan{Manifest: digest(platform), Scan: x})
	}
	return s
}

// lines are the findings' identifiers and summaries.
func lines(fs []reconcile.Finding) string {
	var out []string
	for _, f := range fs {
		out = append(out, f.ID+": "+f.Summary)
	}
	return strings.Join(out, "\n")
}

func TestEveryRuleHasAnExampleThatDecodes(t *testing.T) {
	for name, d := range definitions {
		f, diags := hclsyntax.ParseConfig([]byte(d.example), "x.hcl", hcl.InitialPos)
		if diags.HasErrors() {
			t.Fatal(name, diags)
		}
		b := f.Body.(*hclsyntax.Body).Blocks[0]
		r, diags := Rules()[name](b.Body)
		if diags.HasErrors() || b.Labels[0] != name || r.Name() != name {
			t.Error(name, diags)
		}
	}
}

func TestTheReferenceIsCurrent(t *testing.T) {
	had, err := os.ReadFile("REFERENCE.md")
	if err != nil {
		t.Fatal(err)
	}
	if got := Reference(); !bytes.Equal(got, had) {
		t.Errorf("run go generate ./reconcile/policy\n%s", diff.Diff("REFERENCE.md", had, "generated", got))
	}
}

func TestMistakesInParametersAreDiagnostics(t *testing.T) {
	for _, c := range []struct{ rule, body, want string }{
		{"sources", "", "needs allow or deny"},
		{"sources", `allow = ["nginx"]`, "names no registry"},
		{"sources", `allow = ["docker.io/Library/x"]`, "is no repository"},
		{"sources", `allow = ["docker.io/[a-z]"]`, "is no repository"},
		{"sources", `allow = ["**/x"]`, "has ** in its host"},
		{"sources", `alow = []`, `Did you mean "allow"?`},
		{"sources", `allow = [upper("x")]`, "Function calls not allowed"},
		{"scanners", `minimum = -1`, "from 1 to 100"},
		{"scanners", `max_age = "week"`, "is no duration"},
		{"vulnerabilities", `deny = "hihg"`, "is no severity"},
		{"vulnerabilities", `unknown = "maybe"`, "none of"},
		{"vulnerabilities", `quorum = 1000`, "from 1 to 100"},
		{"vulnerabilities", `grace = "-1h"`, "is no duration"},
		{"vulnerabilities", `fixable = "perhaps"`, "bool"},
		{"platforms", `require = []`, "names no platform"},
		{"platforms", `require = ["amd64"]`, "is not os/architecture"},
		{"platforms", ``, "require"},
		{"versions", `maximum = 0`, "At least one"},
		{"licenses", ``, "needs allow or deny"},
		{"approval", `required = 0`, "At least one"},
		{"approval", "required = 1\nfrom = \"friends\"", "none of"},
		{"approval", "required = 1\nimages = []", "names no image"},
		{"approval", "required = 1\nimages = [\"a\\\\b\"]", "no pattern"},
		{"approval", "required = 1\non_violation = \"delete\"", "none of"},
		{"approval", "required = 1\nviolation_grace = \"7d\"", "needs on_violation"},
		{"approval", "required = 1\non_violation = \"remove\"\nviolation_grace = \"soon\"", "is no duration"},
		{"vulnerabilities", `since = "never"`, "none of"},
		{"vulnerabilities", `epss = 1.5`, "probability"},
		{"vulnerabilities", `epss = 0`, "probability"},
		{"licenses", `deny = ["Nonesuch-1.0"]`, "not on SPDX's list"},
		{"licenses", `allow = ["MIT OR ISC"]`, "each licence by itself"},
		{"age", ``, "needs maximum or review_by"},
		{"age", `review_by = "soon"`, "none of"},
		{"end_of_life", "notice = \"1d\"\ngrace = \"1d\"", "notice or grace"},
		{"end_of_life", `extended = { "debian:11" = "later" }`, "is no date"},
		{"size", ``, "needs maximum or layers"},
		{"size", `maximum = "big"`, "is no size"},
		{"size", `maximum = "-1MB"`, "is no size"},
		{"config", ``, "demands nothing"},
		{"config", `ports = ["http"]`, "is no port"},
		{"config", `ports = ["90-80/tcp"]`, "is no port"},
		{"config", `labels = { a = "[" }`, "is no pattern"},
		{"packages", `deny = []`, "names no package"},
		{"packages", `deny = ["pkg:npm"]`, "is no package URL"},
		{"packages", `deny = ["pkg:npm/lodash@"]`, "no version behind"},
		{"packages", `deny = ["lodash@<"]`, "no version behind"},
		{"packages", `deny = ["pkg:npm/lodash?a=b"]`, "qualifiers"},
		{"malware", `minimum = -1`, "from 1 to 100"},
		{"signature", ``, "Either key or keyless"},
		{"signature", `key = "cosign.pub"`, "in PEM"},
		{"signature", "keyless {\nissuer = \"http://a\"\nsubject = \"x\"\n}", "https"},
		{"signature", "keyless {\nissuer = \"https://a\"\nsubject = \"^x\"\n}", "between ^ and $"},
		{"signature", "keyless {\nissuer = \"https://a\"\nsubject = \"\"\n}", "anybody"},
		{"signature", "key = \"-----BEGIN PUBLIC KEY-----\\nAAAA\\n-----END PUBLIC KEY-----\"", "in PEM"},
		{"provenance", ``, "what nobody signed"},
		{"provenance", makers + `level = 9`, "from 1 to 3"},
		{"provenance", makers + `level = 3`, "nothing in a provenance proves it"},
		{"provenance", makers + `hardened = [""]`, "any builder"},
		{"provenance", makers + `builder = "^(x$"`, "no regular expression"},
		{"vulnerabilities", `vex {}`, "whose word counts"},
		{"approval", "required = 1\nenforcement = \"maybe\"", "none of"},
		{"condition", `assert = image.name`, "must give true or false"},
		{"condition", `assert = 1`, "must give true or false"},
		{"condition", `assert = image.nmae == "x"`, "does not have an attribute"},
		{"condition", `assert = file("/etc/passwd") == ""`, "no function named"},
		{"condition", `assert = env.HOME == ""`, "no variable named"},
		{"condition", `assert = alltrue([for a in image.tags : anytrue([for b in image.tags : a == b])])`, "inside another one"},
		{"condition", `assert = alltrue([for p in image.packages : image.vulnerabilities[*].id == []])`, "inside another one"},
		{"condition", `assert = alltrue([for p in image.packages : image.packages == image.packages])`, "may stand as a whole"},
		{"condition", `assert = length([for p in image.packages : [image.packages]]) == 0`, "may stand as a whole"},
		{"condition", `assert = length([for p in image.packages : p.nmae]) == 0`, "does not have an attribute"},
		{"condition", `assert = anytrue([for v in image.vulnerabilities : v.fixed_in > 3])`, "Invalid operand"},
		{"condition", `assert = matches("[", image.name)`, "missing closing"},
		{"condition", `assert = format("%10000000d", image.size) == ""`, "more than 4194304 bytes"},
		{"condition", `assert = replace(join("", [for i in split("", replace(format("%200s", ""), " ", "aaaaaaaaaa")) : format("%900s", i)]), "", "xxxx") == ""`, "more than 4194304 bytes"},
		{"condition", `assert = alltrue([for p in image.packages : contains(image.licenses, p.license)])`, "may stand as a whole"},
		{"condition", `assert = alltrue([for p in image.packages : matches("x", join("", image.licenses))])`, "may stand as a whole"},
		{"condition", `assert = timestamp() == ""`, "no function named"},
		{"condition", `assert = matches("x{1000}{1000}", "a")`, "invalid regular expression"},
		{"condition", `assert = matches("(x{900}|y{900}|z{900}|a{900}|b{900}|c{900})", "a")`, "steps for a character"},
		{"condition", `assert = null`, "must give true or false"},
		{"condition", "assert = true " + strings.Repeat("&& true ", 400), "at most 500 parts"},
	} {
		t.Run(c.rule+" "+c.want, func(t *testing.T) {
			_, diags := decode(t, c.rule, c.body)
			if !diags.HasErrors() || !strings.Contains(diags.Error(), c.want) {
				t.Errorf("%s: %v", c.body, diags)
			}
		})
	}
}

func TestARuleThatIsOffFindsNothing(t *testing.T) {
	for name, body := range map[string]string{"approval": "required = 1\n", "vulnerabilities": "", "platforms": "require = [\"a/b\"]\n", "condition": "assert = false\n"} {
		r := rule(t, name, body+`enforcement = "off"`)
		if fs := r.Check(reconcile.Subject{}, now); fs != nil || r.Reads() != reconcile.ReadsDeclaration {
			t.Errorf("%s: %v", name, fs)
		}
		if fs := rule(t, name, body+`enforcement = "deny"`).Check(reconcile.Subject{}, now); len(fs) == 0 {
			t.Errorf("%s finds nothing where nothing is known", name)
		}
	}
}

func TestFindingsSayWhichImageAndWhere(t *testing.T) {
	s := subjectOn(t)
	for _, f := range rule(t, "approval", "required = 1").Check(s, now) {
		if f.Rule != "approval" || f.Image != "nginx:1.27.3" || f.Digest != s.Want.From.Digest || f.Origin != s.Want.Origin || f.Detail == "" {
			t.Errorf("%+v", f)
		}
	}
}

func TestRulesNeedTheContentOfAnImage(t *testing.T) {
	for name, body := range map[string]string{"platforms": `require = ["linux/amd64"]`, "scanners": "", "vulnerabilities": "", "condition": `assert = image.size > 0`} {
		r := rule(t, name, body)
		s := subjectOn(t)
		if got := r.Check(s, now); len(got) != 1 || got[0].ID != "no-image" {
			t.Errorf("%s of a chart: %v", name, got)
		}
		s.Evidence.Tree = nil
		if got := r.Check(s, now); len(got) != 1 || got[0].ID != "no-content" {
			t.Errorf("%s of nothing: %v", name, got)
		}
	}
}

func TestSources(t *testing.T) {
	for _, c := range []struct {
		body, from string
		ok         bool
	}{
		{`allow = ["docker.io/library/*"]`, "docker.io/library/nginx", true},
		{`allow = ["docker.io/library/*"]`, "docker.io/library/a/b", false},
		{`allow = ["docker.io/*"]`, "docker.io/library/nginx", true},
		{`allow = ["docker.io/nginx"]`, "index.docker.io/library/nginx", true},
		{`allow = ["index.docker.io/nginx"]`, "docker.io/nginx", true},
		{`allow = ["registry.k8s.io/**"]`, "registry.k8s.io/a/b/c", true},
		{`allow = ["registry.k8s.io/**"]`, "registry.k8s.io.evil.example/a", false},
		{`allow = ["registry.k8s.io:443/**"]`, "registry.k8s.io/a", true},
		{`allow = ["*.example.com/**"]`, "a.example.com/x/y", true},
		{`allow = ["*.example.com/**"]`, "evil.example/example.com/x", false},
		{`allow = ["REGISTRY.example.com/x"]`, "registry.example.com/x", true},
		{`allow = []`, "registry.example.com/x", false},
		{`deny = ["docker.io/**"]`, "docker.io/library/nginx", false},
		{`deny = ["docker.io/**"]`, "ghcr.io/x", true},
		{"allow = [\"docker.io/**\"]\ndeny = [\"docker.io/library/centos\"]", "docker.io/centos", false},
		{`allow = ["localhost:5000/**"]`, "localhost:5000/x", true},
	} {
		s := reconcile.Subject{Want: reconcile.Want{From: reconcile.Image{Repo: repo(t, c.from)}}}
		if got := rule(t, "sources", c.body).Check(s, now); (len(got) == 0) != c.ok {
			t.Errorf("%s, %s: %v", c.body, c.from, got)
		}
	}
}

func TestPlatforms(t *testing.T) {
	for _, c := range []struct {
		require string
		has     []string
		want    string
	}{
		{`"linux/amd64"`, []string{"linux/amd64", "unknown/unknown"}, ""},
		{`"linux/amd64", "linux/arm64"`, []string{"linux/amd64", "linux/arm64/v8"}, ""},
		{`"linux/arm64/v8"`, []string{"linux/arm64"}, "linux/arm64/v8: the image has no platform linux/arm64/v8"},
		{`"linux/amd64", "linux/s390x"`, []string{"linux/arm64"}, "linux/amd64: the image has no platform linux/amd64\nlinux/s390x: the image has no platform linux/s390x"},
		{`"unknown/unknown"`, []string{"linux/amd64", "unknown/unknown"}, "unknown/unknown: the image has no platform unknown/unknown"},
		{`"linux/amd64"`, []string{""}, "linux/amd64: the image has no platform linux/amd64"},
	} {
		if got := lines(rule(t, "platforms", "require = ["+c.require+"]").Check(subjectOn(t, c.has...), now)); got != c.want {
			t.Errorf("%s of %v: %s", c.require, c.has, got)
		}
	}
}

func TestVersions(t *testing.T) {
	s := subjectOn(t)
	sibling := func(name, version string) reconcile.Want { return reconcile.Want{Name: name, Version: version} }
	s.Siblings = []reconcile.Want{sibling("nginx", "1.26"), sibling("nginx", "1.27.3"), sibling("redis", "7")}
	if got := rule(t, "versions", "maximum = 2").Check(s, now); got != nil {
		t.Errorf("%v", got)
	}
	s.Siblings = append(s.Siblings, sibling("nginx", "1.25"))
	if got := lines(rule(t, "versions", "maximum = 2").Check(s, now)); got != "too-many-versions: nginx has 3 versions; at most 2 are allowed" {
		t.Error(got)
	}
}
