package expect

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/policy"
)

func parse(t *testing.T, src string) ([]Test, hcl.Diagnostics) {
	t.Helper()
	f, diags := hclsyntax.ParseConfig([]byte(src), "x.policytest.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return Decode(f.Body, "payments")
}

func bound(t *testing.T, name, body string) reconcile.Bound {
	t.Helper()
	f, diags := hclsyntax.ParseConfig([]byte(body), "policy.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	b, diags := policy.Rules()[name](f.Body)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	b.Scope = "payments"
	return b
}

const image = `
  image "nginx" {
    platform "linux/amd64" {
      scan "trivy" {
        vulnerability "CVE-2026-1" {
          package  = "lodash"
          version  = "4.17.4"
          purl     = "pkg:npm/lodash@4.17.4"
          severity = "high"
        }
      }
    }
  }
`

func TestRun(t *testing.T) {
	vulnerabilities, warns := bound(t, "vulnerabilities", ""), bound(t, "config", "forbid_root = true\nenforcement = \"warn\"")
	waiver := reconcile.Waiver{ID: "CVE-2026-1", Rule: "vulnerabilities", Package: "pkg:npm/lodash", Expires: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)}
	narrower := waiver
	narrower.Scope = "payments/other"
	for _, c := range []struct {
		name, now, expect string
		waivers           []reconcile.Waiver
		want              string // the problems
	}{
		{"as expected", "2026-11-21", `verdict = "blocked"
			finding { rule = "vulnerabilities" }`, nil, ""},
		{"admitted against expectation", "2026-11-21", `verdict = "blocked"`, []reconcile.Waiver{waiver}, "the image is admitted, not blocked"},
		{"blocked against expectation", "2026-11-21", `verdict = "admitted"`, nil, "the image is blocked, not admitted"},
		{"waived", "2026-11-21", `verdict = "admitted"`, []reconcile.Waiver{waiver}, ""},
		{"the waiver has expired", "2026-12-01", `verdict = "blocked"`, []reconcile.Waiver{waiver}, ""},
		{"the waiver is of another scope", "2026-11-21", `verdict = "blocked"`, []reconcile.Waiver{narrower}, ""},
		{"another finding is expected", "2026-11-21", "verdict = \"blocked\"\nfinding {\nrule = \"vulnerabilities\"\nid = \"CVE-2026-2\"\n}", nil, "there is no finding of the rule vulnerabilities with the identifier CVE-2026-2"},
		{"by its package", "2026-11-21", "verdict = \"blocked\"\nfinding {\nrule = \"vulnerabilities\"\npackage = \"pkg:npm/lodash@4.17.4\"\n}", nil, ""},
		{"not in this package", "2026-11-21", "verdict = \"blocked\"\nfinding {\nrule = \"vulnerabilities\"\npackage = \"zlib\"\n}", nil, "there is no finding of the rule vulnerabilities in the package zlib"},
		{"no more than expected", "2026-11-21", "verdict = \"blocked\"\nonly = true\nfinding {\nrule = \"vulnerabilities\"\n}", nil, "not expected: config root-user: the image runs as root: its configuration names no user"},
		{"a warning", "2026-11-21", "verdict = \"blocked\"\nonly = true\nfinding {\nrule = \"vulnerabilities\"\nwarning = false\nunknown = false\n}\nfinding {\nrule = \"config\"\nwarning = true\n}", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			tests, diags := parse(t, "test \"x\" {\nnow = \""+c.now+"\"\n"+image+"expect {\n"+c.expect+"\n}\n}\n")
			if diags.HasErrors() || len(tests) != 1 {
				t.Fatal(diags)
			}
			r := tests[0].Run(Place{Rules: []reconcile.Bound{vulnerabilities, warns}, Scope: "payments", Waivers: c.waivers})
			if got := strings.Join(r.Problems, "; "); got != c.want || r.Passed != (c.want == "") {
				t.Errorf("%q, passed: %v", got, r.Passed)
			}
		})
	}
}

func TestWhatIsNoTest(t *testing.T) {
	const expect = "expect {\nverdict = \"blocked\"\n}\n"
	for _, c := range []struct{ src, want string }{
		{"test \"x\" {\n" + image + expect + "}", "now"},
		{"test \"x\" {\nnow = \"\"\n" + image + expect + "}", "is needed"},
		{"test \"x\" {\nnow = \"soon\"\n" + image + expect + "}", "is no day"},
		{"test \"x\" {\nnow = \"2026-11-21\"\n" + image + "expect {\nverdict = \"maybe\"\n}\n}", "none of"},
		{"test \"x\" {\nnow = \"2026-11-21\"\n" + expect + "}", "image"},
		{"test \"x\" {\nnow = \"2026-11-21\"\nimage \"NGINX\" {}\n" + expect + "}", "source"},
		{"test \"x\" {\nnow = \"2026-11-21\"\nimage \"a\" {\nplatform \"arm\" {}\n}\n" + expect + "}", "platform"},
		{"test \"x\" {\nnow = \"2026-11-21\"\nimage \"a\" {\nplatform \"linux/arm64\" {\nlayers = 1000000000\n}\n}\n" + expect + "}", "layers"},
		{"test \"x\" {\nnow = \"2026-11-21\"\n" + strings.Replace(image, `"high"`, `"awful"`, 1) + expect + "}", "severity"},
		{"rule \"x\" {}", "Blocks of type"},
		{"test \"x\" {\nnow = upper(\"x\")\n" + image + expect + "}", "Function calls not allowed"},
	} {
		if _, diags := parse(t, c.src); !diags.HasErrors() || !strings.Contains(diags.Error(), c.want) {
			t.Errorf("%s: %v", c.src, diags)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("test \"x\" {\nnow = \"2026-11-21\"\n" + image + "expect {\nverdict = \"blocked\"\n}\n}\n")
	f.Add("test \"x\" {\nnow = \"2026-11-21\"\nimage \"a\" {\nunread = true\n}\nexpect {\nverdict = \"admitted\"\nonly = true\n}\n}\n")
	decode := policy.Rules()["vulnerabilities"]
	f.Fuzz(func(t *testing.T, src string) {
		if len(src) > 4000 {
			return
		}
		file, diags := hclsyntax.ParseConfig([]byte(src), "x", hcl.InitialPos)
		if diags.HasErrors() {
			return
		}
		tests, diags := Decode(file.Body, "")
		if diags.HasErrors() {
			return
		}
		b, diags := decode(hcl.EmptyBody())
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		for _, x := range tests {
			if r := x.Run(Place{Rules: []reconcile.Bound{b}}); r.Passed != (len(r.Problems) == 0) {
				t.Errorf("%+v", r)
			}
		}
	})
}

func TestOtherVersionsCount(t *testing.T) {
	for others, want := range map[string]string{`"2"`: "admitted", `"2", "3"`: "blocked"} {
		tests, diags := parse(t, "test \"x\" {\nnow = \"2026-11-21\"\nimage \"nginx\" {\nother_versions = ["+others+"]\n}\nexpect {\nverdict = \""+want+"\"\n}\n}\n")
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		if r := tests[0].Run(Place{Rules: []reconcile.Bound{bound(t, "versions", "maximum = 2")}, Scope: "payments"}); !r.Passed {
			t.Errorf("%s: %v", others, r.Problems)
		}
	}
}
