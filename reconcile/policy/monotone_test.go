package policy

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

// A tightening makes a rule's body and a tighter one.
type tightening struct {
	rule string
	make func(*rand.Rand) (loose, tight string)
}

// two picks two numbers, the smaller first.
func two(r *rand.Rand, n int) (int, int) {
	a, b := r.Intn(n), r.Intn(n)
	return min(a, b), max(a, b)
}

// nested picks some of the words, and some of those.
func nested(r *rand.Rand, words ...string) (larger, smaller string) {
	var a, b []string
	for _, w := range words {
		if r.Intn(3) > 0 {
			a = append(a, w)
			if r.Intn(2) > 0 {
				b = append(b, w)
			}
		}
	}
	return quote(a), quote(b)
}

func quote(ss []string) string {
	var out []string
	for _, s := range ss {
		out = append(out, fmt.Sprintf("%q", s))
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// perhaps is false, then perhaps true.
func perhaps(r *rand.Rand) (bool, bool) {
	a := r.Intn(2) == 0
	return a, a || r.Intn(2) == 0
}

func unknown(r *rand.Rand) (string, string) {
	a, b := perhaps(r)
	word := map[bool]string{false: "allow", true: "deny"}
	return fmt.Sprintf("unknown = %q\n", word[a]), fmt.Sprintf("unknown = %q\n", word[b])
}

var tightenings = []tightening{
	{"vulnerabilities", func(r *rand.Rand) (string, string) {
		common := []string{"", "since = \"seen\"\n", "severity_of = \"trivy\"\n"}[r.Intn(3)]
		lowDeny, highDeny := two(r, len(severities))
		short, long := two(r, 20)
		few, many := two(r, 3)
		fix, fixless := perhaps(r)
		kev, moreKev := perhaps(r)
		low, high := two(r, 10)
		loose, tight := unknown(r)
		loose += fmt.Sprintf("deny = %q\ngrace = \"%dd\"\nquorum = %d\nfixable = %v\nexploited = %v\n", severities[highDeny], long, many+1, !fix, kev)
		tight += fmt.Sprintf("deny = %q\ngrace = \"%dd\"\nquorum = %d\nfixable = %v\nexploited = %v\nepss = 0.%d1\n", severities[lowDeny], short, few+1, !fixless, moreKev, low)
		if r.Intn(2) == 0 {
			loose += fmt.Sprintf("epss = 0.%d1\n", high)
		}
		return common + loose, common + tight
	}},
	{"scanners", func(r *rand.Rand) (string, string) {
		few, many := two(r, 3)
		short, long := two(r, 90)
		more, less := nested(r, "trivy")
		return fmt.Sprintf("minimum = %d\nmax_age = \"%dd\"\nrequire = %s", few+1, long+1, less), fmt.Sprintf("minimum = %d\nmax_age = \"%dd\"\nrequire = %s", many+1, short+1, more)
	}},
	{"licenses", func(r *rand.Rand) (string, string) {
		loose, tight := unknown(r)
		more, less := nested(r, "MIT", "GPL-*", "GPL-3.0-only", "LicenseRef-acme")
		allowMore, allowLess := nested(r, "MIT", "GPL-2.0-only", "GPL-3.0-only WITH GCC-exception-3.1", "ISC", "LicenseRef-acme")
		tight += "allow = " + allowLess + "\n"
		// to name one of our own among those allowed is to make it known, and no tightening by itself
		if r.Intn(2) == 0 || less == "[]" || strings.Contains(allowLess, "Ref") {
			loose += "allow = " + allowMore + "\n"
		}
		return loose + "deny = " + less, tight + "deny = " + more
	}},
	{"platforms", func(r *rand.Rand) (string, string) {
		return `require = ["linux/amd64"]`, `require = ["linux/amd64", "linux/arm64"]`
	}},
	{"versions", func(r *rand.Rand) (string, string) {
		few, many := two(r, 4)
		return fmt.Sprintf("maximum = %d", many+1), fmt.Sprintf("maximum = %d", few+1)
	}},
	{"age", func(r *rand.Rand) (string, string) {
		short, long := two(r, 400)
		few, many := two(r, 3)
		words := []string{"ignored", "respected", "required"}
		loose, tight := unknown(r)
		return loose + fmt.Sprintf("maximum = \"%dd\"\nreview_by = %q", long, words[few]), tight + fmt.Sprintf("maximum = \"%dd\"\nreview_by = %q", short, words[many])
	}},
	{"end_of_life", func(r *rand.Rand) (string, string) {
		short, long := two(r, 400)
		loose, tight := unknown(r)
		if r.Intn(2) == 0 {
			return loose + fmt.Sprintf("grace = \"%dd\"", long), tight + fmt.Sprintf("grace = \"%dd\"", short)
		}
		return loose + fmt.Sprintf("notice = \"%dd\"\nextended = { \"debian:12\" = \"2027-01-01\" }", short), tight + fmt.Sprintf("notice = \"%dd\"", long)
	}},
	{"size", func(r *rand.Rand) (string, string) {
		few, many := two(r, 3000)
		return fmt.Sprintf("maximum = \"%dB\"", many+1), fmt.Sprintf("maximum = \"%dB\"\nlayers = 1", few+1)
	}},
	{"config", func(r *rand.Rand) (string, string) {
		ports, fewer := nested(r, "80/tcp", "1-1023/tcp", "8080", "53/udp")
		users, less := nested(r, "nginx", "root", "*")
		root, more := perhaps(r)
		return fmt.Sprintf("forbid_root = %v\nports = %s\nusers = %s\nnot_secret = [\"*\"]", root, ports, users),
			fmt.Sprintf("forbid_root = %v\nports = %s\nusers = %s\nforbid_secrets = true\nlabels = { a = \"b\" }", more, fewer, less)
	}},
	{"packages", func(r *rand.Rand) (string, string) {
		more, less := nested(r, "pkg:npm/a@<2", "b", "pkg:npm/**@>=1.5", "z")
		return "deny = " + strings.Replace(less, "[", `["x", `, 1), "deny = " + strings.Replace(more, "[", `["x", "y", `, 1)
	}},
	{"malware", func(r *rand.Rand) (string, string) {
		few, many := two(r, 3)
		return fmt.Sprintf("minimum = %d", few+1), fmt.Sprintf("minimum = %d", many+1)
	}},
	{"sources", func(r *rand.Rand) (string, string) {
		allow, fewer := nested(r, "docker.io/**", "docker.io/library/*", "ghcr.io/**")
		more, deny := nested(r, "docker.io/library/nginx", "quay.io/**")
		return fmt.Sprintf("allow = %s\ndeny = %s", allow, deny), fmt.Sprintf("allow = %s\ndeny = %s", fewer, more)
	}},
	{"signature", func(r *rand.Rand) (string, string) {
		return makers + strangers, makers
	}},
	{"provenance", func(r *rand.Rand) (string, string) {
		few, many := two(r, 2)
		builders := []string{"", "builder = \"^https://.*$\"\n", "builder = \"https://a.example\"\n"}
		loose, tight := two(r, 3)
		return makers + strangers + builders[loose] + fmt.Sprintf("level = %d\nhardened = [\"https://a.example\", \"https://b.example\"]", few+2),
			makers + builders[tight] + fmt.Sprintf("source = \"https://src.example/app\"\nlevel = %d\nhardened = [\"https://a.example\"]", many+2)
	}},
	{"approval", func(r *rand.Rand) (string, string) {
		few, many := two(r, 2)
		from := []string{"anyone", "codeowners"}
		loose, tight := two(r, 2)
		return fmt.Sprintf("required = %d\nfrom = %q", few+1, from[loose]), fmt.Sprintf("required = %d\nfrom = %q", many+1, from[tight])
	}},
	{"vulnerabilities", func(r *rand.Rand) (string, string) {
		return "vex {\n" + makers + "}", "" // fewer excuses
	}},
	{"condition", func(r *rand.Rand) (string, string) {
		terms := []string{`image.config.user != ""`, `length(image.vulnerabilities) < 2`, `contains(image.licenses, "MIT")`, `image.size > 10`, `image.distribution == "debian:12"`, `image.config.labels["a"] == "b"`}
		a, b := terms[r.Intn(len(terms))], terms[r.Intn(len(terms))]
		return "assert = " + a, "assert = " + a + " && " + b
	}},
}

// someSubject makes an image, of which any evidence may be missing.
func someSubject(t *testing.T, r *rand.Rand) reconcile.Subject {
	t.Helper()
	platforms := [][]string{{"linux/amd64"}, {"linux/amd64", "linux/arm64"}, {""}, nil}[r.Intn(4)]
	s := subjectOn(t, platforms...)
	if r.Intn(2) == 0 {
		s.Want.Review = now.AddDate(0, 0, r.Intn(100)-50)
	}
	for i := range r.Intn(3) {
		s.Siblings = append(s.Siblings, reconcile.Want{Name: "nginx", Version: fmt.Sprint(i)})
	}
	for i := range s.Evidence.Tree.Manifests {
		c := &s.Evidence.Tree.Manifests[i].Config
		c.User = []string{"", "0", "root", "nginx"}[r.Intn(4)]
		c.Created = []time.Time{{}, now, now.AddDate(0, 0, -r.Intn(500)), now.AddDate(1, 0, 0)}[r.Intn(4)]
		c.Ports = [][]string{nil, {"80/tcp"}, {"53/udp", "8080/tcp"}, {"x"}}[r.Intn(4)]
		c.Env = [][]string{nil, {"DB_PASSWORD=x"}}[r.Intn(2)]
		c.Labels = []map[string]string{nil, {"a": "b"}, {"a": "c"}}[r.Intn(3)]
	}
	for _, p := range platforms {
		for _, name := range []string{"trivy", "grype", "builtin", "osv-scanner"}[:r.Intn(5)] {
			s = scanned(s, p, someScan(r, name))
		}
	}
	s.Evidence.Upstream, s.Evidence.Review = someUpstream(r), someReview(r)
	if r.Intn(10) == 0 {
		s.Evidence.Tree = nil
	}
	return s
}

// someUpstream makes what others signed; each may not have been looked for.
func someUpstream(r *rand.Rand) reconcile.Upstream {
	var u reconcile.Upstream
	for _, t := range []reconcile.Trust{maker, stranger} {
		if r.Intn(4) == 0 {
			continue
		}
		u.Asked = append(u.Asked, t)
		for _, about := range []string{"root", "linux/amd64", "linux/arm64"} {
			if r.Intn(2) == 0 {
				u.Proofs = append(u.Proofs, proof(t, about, "", ""))
			}
			if r.Intn(2) == 0 {
				u.Proofs = append(u.Proofs, proof(t, about, slsa02, fmt.Sprintf(`{"builder":{"id":"https://%c.example"},"invocation":{"configSource":{"uri":"https://src.example/%s"}}}`, 'a'+rune(r.Intn(2)), []string{"app", "other"}[r.Intn(2)])))
			}
			if r.Intn(3) == 0 {
				u.Proofs = append(u.Proofs, proof(t, about, "https://openvex.dev/ns", openVEX(1+r.Intn(3), "pkg:oci/nginx", []string{`"status":"fixed"`, `"status":"under_investigation"`, `"status":"x"`}[r.Intn(3)])))
			}
		}
	}
	return u
}

// someReview makes what a forge says; it may not have been asked.
func someReview(r *rand.Rand) *reconcile.Review {
	if r.Intn(6) == 0 {
		return nil
	}
	out := &reconcile.Review{State: []reconcile.ReviewState{reconcile.Approved, reconcile.Approved, reconcile.Approved, reconcile.NotApproved, reconcile.UnknownReview}[r.Intn(5)], Author: "author"}
	for range r.Intn(4) {
		out.Approvers = append(out.Approvers, reconcile.Approver{Login: []string{"author", "a", "b", "c"}[r.Intn(4)], Owner: []string{"", "@acme/edge"}[r.Intn(2)]})
	}
	return out
}

func someScan(r *rand.Rand, name string) reconcile.Scan {
	s := scan(name)
	s.Database = []time.Time{{}, now.AddDate(0, 0, 3), now.AddDate(0, 0, -r.Intn(30))}[min(2, r.Intn(9))]
	s.Ecosystems = [][]string{nil, {"npm"}, {"Debian"}, {"npm", "Debian:12"}}[r.Intn(4)]
	s.Packages = r.Intn(3)
	s.Distribution = []string{"", "debian:12"}[r.Intn(2)]
	s.Support = []*reconcile.Support{nil, {Ended: r.Intn(2) == 0}, {Until: now.AddDate(0, 0, r.Intn(800)-400)}}[r.Intn(3)]
	s.MalwareChecked = r.Intn(2) == 0
	if r.Intn(8) == 0 {
		s.Malware = []reconcile.Malware{{ID: "x"}}
	}
	for range r.Intn(4) {
		v := vuln(fmt.Sprintf("CVE-2026-%d", r.Intn(3)), slices.Concat(severities, []reconcile.Severity{reconcile.Unknown})[r.Intn(6)])
		v.Published = []time.Time{{}, now.AddDate(0, 0, -r.Intn(30)), now.AddDate(0, 0, 9)}[r.Intn(3)]
		v.FirstSeen = []time.Time{{}, now.AddDate(0, 0, -r.Intn(30))}[r.Intn(2)]
		v.FixedIn = [][]string{nil, {"2"}}[r.Intn(2)]
		v.EPSS, v.Exploited = float64(r.Intn(10))/10, r.Intn(6) == 0
		s.Vulnerabilities = append(s.Vulnerabilities, v)
	}
	if r.Intn(3) > 0 {
		s.Inventory = &reconcile.Inventory{Lister: name}
		for range r.Intn(4) {
			p := pkg(fmt.Sprintf("pkg:npm/%c@%d.%d", 'a'+rune(r.Intn(3)), r.Intn(3), r.Intn(9)), []string{"", "MIT", "GPL-3.0-only", "GPL-2.0-only OR ISC", "Acme AND MIT", "LicenseRef-acme OR GPL-3.0-only", "see there", "GPL-3.0-only WITH GCC-exception-3.1"}[r.Intn(8)])
			s.Inventory.Packages = append(s.Inventory.Packages, p)
		}
	}
	if r.Intn(6) == 0 {
		s.NoVerdict = "failed"
	}
	return s
}

// Tightening a rule never admits what was refused, and binding more images doesn't either.
func TestATighterRuleNeverAdmitsMore(t *testing.T) {
	for _, x := range tightenings {
		t.Run(x.rule, func(t *testing.T) {
			refused, admitted := 0, 0
			for seed := range int64(400) {
				r := rand.New(rand.NewSource(seed))
				loose, tight := x.make(r)
				s := someSubject(t, r)
				looseRule, diags := decode(t, x.rule, loose+[]string{"", "\nimages = [\"ng*\"]", "\nimages = [\"redis\"]"}[r.Intn(3)])
				if diags.HasErrors() {
					t.Fatalf("%s: %v", loose, diags)
				}
				was, is := looseRule.Check(s, now), rule(t, x.rule, tight).Check(s, now)
				if len(was) > 0 && len(is) == 0 {
					t.Fatalf("seed %d: refused by\n%s\n%v\nadmitted by\n%s", seed, loose, was, tight)
				}
				if len(is) > 0 {
					refused++
				} else {
					admitted++
				}
			}
			if refused == 0 || admitted == 0 {
				t.Errorf("the cases show nothing: %d refused, %d admitted", refused, admitted)
			}
		})
	}
}

// blocks is what an image is refused for: each rule that binds it has its say, and none takes back what another one found.
func blocks(rules []reconcile.Bound, s reconcile.Subject) int {
	n := 0
	for _, b := range rules {
		if !b.Warn {
			n += len(b.Check(s, now))
		}
	}
	return n
}

// Adding a rule, or the rules of one more scope around an image, never admits what was refused, whatever is added.
func TestOneMoreRuleNeverAdmitsMore(t *testing.T) {
	for seed := range int64(300) {
		r := rand.New(rand.NewSource(seed))
		s := someSubject(t, r)
		var rules []reconcile.Bound
		was := 0
		for range 1 + r.Intn(6) {
			x := tightenings[r.Intn(len(tightenings))]
			loose, _ := x.make(r)
			b, diags := decode(t, x.rule, loose+"\nenforcement = \""+[]string{"deny", "warn", "off"}[r.Intn(3)]+"\"")
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			rules = append(rules, b.(reconcile.Bound))
			r.Shuffle(len(rules), func(i, j int) { rules[i], rules[j] = rules[j], rules[i] })
			is := blocks(rules, s)
			if is < was {
				t.Fatalf("seed %d: %d findings became %d", seed, was, is)
			}
			was = is
		}
	}
}

// What is missing may keep an image out, and never lets it in: taking a scan away doesn't satisfy a rule that speaks of what it found alone.
func TestMissingEvidenceIsNeverClean(t *testing.T) {
	for _, c := range []struct{ rule, body string }{
		{"vulnerabilities", `deny = "negligible"`}, {"scanners", ""}, {"licenses", `deny = ["GPL-*"]`}, {"end_of_life", ""}, {"packages", `deny = ["a"]`}, {"malware", ""},
		{"condition", `assert = length(image.vulnerabilities) == 0`}, {"condition", `assert = length(image.packages) == 0`}, {"condition", `assert = length(image.licenses) == 0`},
		{"condition", `assert = !image.support.ended`},
	} {
		s := subjectOn(t, "linux/amd64")
		for _, scans := range [][]reconcile.Scan{nil, {silent("trivy", "x")}, {silent("trivy", "x"), silent("grype", "y")}} {
			fs := rule(t, c.rule, c.body).Check(scanned(s, "linux/amd64", scans...), now)
			if len(fs) == 0 || slices.ContainsFunc(fs, func(f reconcile.Finding) bool { return !f.Unknown }) {
				t.Errorf("%s %s of %d silent scans: %+v", c.rule, c.body, len(scans), fs)
			}
		}
	}
}
