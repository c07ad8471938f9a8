package policy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/assay-oci/assay/reconcile"
)

var (
	maker     = reconcile.Trust{Issuer: "https://issuer.example.com", Subject: "release@example.com"}
	makers    = "keyless {\nissuer = \"https://issuer.example.com\"\nsubject = \"release@example.com\"\n}\n"
	strangers = strings.Replace(makers, maker.Subject, "stranger@example.com", 1)
	stranger  = reconcile.Trust{Issuer: "https://issuer.example.com", Subject: "stranger@example.com"}
)

const (
	slsa1  = "https://slsa.dev/provenance/v1"
	slsa02 = "https://slsa.dev/provenance/v0.2"
)

// proof is what somebody signed about one of the subject's manifests: "root" or a platform.
func proof(t reconcile.Trust, about, predicateType, predicate string) reconcile.Proof {
	return reconcile.Proof{Trust: t, Subject: digest(about), PredicateType: predicateType, Predicate: predicate}
}

// upstream is nginx on two platforms, of which somebody looked for what the maker signed.
func upstream(t *testing.T, ps ...reconcile.Proof) reconcile.Subject {
	s := subjectOn(t, "linux/amd64", "linux/arm64")
	s.Evidence.Upstream = reconcile.Upstream{Asked: []reconcile.Trust{maker}, Proofs: ps}
	return s
}

// ids are the identifiers of findings; those that rest on missing evidence end in a question mark, those that only tell in an exclamation mark.
func ids(fs []reconcile.Finding) string {
	var out []string
	for _, f := range fs {
		id := f.ID
		if f.Unknown {
			id += "?"
		}
		if f.Warning || f.Pending {
			id += "!"
		}
		out = append(out, id)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// A rule may believe a private instance, whose issuer need not be one of the internet: it is compared, and never asked.
func TestARuleNamesItsSigstoreInstance(t *testing.T) {
	private := reconcile.Trust{Issuer: "http://issuer.internal", Subject: maker.Subject, Instance: "acme"}
	b := rule(t, "signature", "keyless {\nissuer = \"http://issuer.internal\"\nsubject = \"release@example.com\"\nsigstore = \"acme\"\n}\n").(reconcile.Bound)
	if !slices.Equal(b.Trusts, []reconcile.Trust{private}) {
		t.Fatalf("%+v", b.Trusts)
	}
	s := upstream(t, proof(maker, "root", "", ""))
	s.Evidence.Upstream.Asked = []reconcile.Trust{maker, private}
	fs := b.Check(s, now)
	if len(fs) != 1 || !strings.Contains(fs[0].Summary+fs[0].Detail, "release@example.com of http://issuer.internal in acme") {
		t.Errorf("the same identity in another instance counts: %+v", fs)
	}
}

func TestSignature(t *testing.T) {
	const amd64, arm64 = "linux/amd64", "linux/arm64"
	for name, c := range map[string]struct {
		proofs []reconcile.Proof
		asked  []reconcile.Trust
		want   string
	}{
		"of the index":                  {[]reconcile.Proof{proof(maker, "root", "", "")}, []reconcile.Trust{maker}, ""},
		"of each platform":              {[]reconcile.Proof{proof(maker, amd64, "", ""), proof(maker, arm64, "", "")}, []reconcile.Trust{maker}, ""},
		"of one platform":               {[]reconcile.Proof{proof(maker, amd64, "", "")}, []reconcile.Trust{maker}, "unsigned"},
		"of another image":              {[]reconcile.Proof{proof(maker, "other", "", "")}, []reconcile.Trust{maker}, "unsigned"},
		"none":                          {nil, []reconcile.Trust{maker}, "unsigned"},
		"by somebody else":              {[]reconcile.Proof{proof(stranger, "root", "", "")}, []reconcile.Trust{maker, stranger}, "unsigned"},
		"an attestation":                {[]reconcile.Proof{proof(maker, "root", slsa1, "{}")}, []reconcile.Trust{maker}, "unsigned"},
		"nobody looked":                 {nil, nil, "no-evidence?"},
		"somebody else was looked for":  {[]reconcile.Proof{proof(stranger, "root", "", "")}, []reconcile.Trust{stranger}, "no-evidence?"},
		"a proof that nobody asked for": {[]reconcile.Proof{proof(maker, "root", "", "")}, nil, "no-evidence?"},
	} {
		t.Run(name, func(t *testing.T) {
			s := upstream(t, c.proofs...)
			s.Evidence.Upstream.Asked = c.asked
			fs := rule(t, "signature", makers).Check(s, now)
			if got := ids(fs); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			for _, f := range fs {
				if !strings.Contains(f.Summary+f.Detail, maker.Subject) || f.Detail == "" {
					t.Errorf("it isn't said who was expected: %+v", f)
				}
			}
		})
	}
	attested := rule(t, "signature", makers).Check(upstream(t, proof(maker, "root", slsa1, "{}")), now)
	if !strings.Contains(attested[0].Summary, "an attestation is no signature") {
		t.Errorf("%+v", attested)
	}
	either := makers + strangers
	s := upstream(t, proof(stranger, "root", "", ""))
	s.Evidence.Upstream.Asked = []reconcile.Trust{stranger}
	if got := rule(t, "signature", either).Check(s, now); got != nil {
		t.Errorf("one of two is enough, whether or not the other could be looked for: %v", got)
	}
}

func TestAKeyIsTrustedHoweverItIsIndented(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	for _, body := range []string{fmt.Sprintf("key = %q", text), "key = <<EOT\n\n" + text + "\nEOT\n"} {
		b := rule(t, "signature", body).(reconcile.Bound)
		if len(b.Trusts) != 1 || b.Trusts[0] != (reconcile.Trust{Key: text}) {
			t.Errorf("%+v", b.Trusts)
		}
	}
	off := rule(t, "signature", makers+`enforcement = "off"`).(reconcile.Bound)
	if len(off.Trusts) > 0 {
		t.Error("a rule that is off has somebody looked for")
	}
}

func TestProvenance(t *testing.T) {
	v1 := func(builder, parameters string) reconcile.Proof {
		return proof(maker, "root", slsa1, fmt.Sprintf(`{"buildDefinition":{"externalParameters":%s,"resolvedDependencies":[{"uri":"git+https://github.com/evil/app"}]},"runDetails":{"builder":{"id":%q}}}`, parameters, builder))
	}
	v02 := func(builder, source string) reconcile.Proof {
		return proof(maker, "root", slsa02, fmt.Sprintf(`{"builder":{"id":%q},"invocation":{"configSource":{"uri":%q}},"materials":[{"uri":"git+https://github.com/evil/app"}]}`, builder, source))
	}
	workflow := `{"workflow":{"repository":"https://github.com/acme/app","ref":"refs/heads/main"}}`
	const app, builder = `source = "https://github.com/acme/app"`, `builder = "https://builder.example.com/v1"`
	for name, c := range map[string]struct {
		body   string
		proofs []reconcile.Proof
		want   string
	}{
		"any":                                 {"", []reconcile.Proof{v1("https://x", "{}")}, ""},
		"of v0.2":                             {"", []reconcile.Proof{v02("https://x", "")}, ""},
		"none":                                {"", nil, "no-provenance"},
		"a signature":                         {"", []reconcile.Proof{proof(maker, "root", "", "")}, "no-provenance"},
		"by somebody else":                    {"", []reconcile.Proof{proof(stranger, "root", slsa1, "{}")}, "no-provenance"},
		"of one platform":                     {"", []reconcile.Proof{proof(maker, "linux/amd64", slsa1, "{}")}, "no-provenance"},
		"of each platform":                    {"", []reconcile.Proof{proof(maker, "linux/amd64", slsa1, "{}"), proof(maker, "linux/arm64", slsa02, "{}")}, ""},
		"too large":                           {"", []reconcile.Proof{proof(maker, "root", slsa1, "")}, "unreadable-provenance"},
		"of a later version":                  {"", []reconcile.Proof{proof(maker, "root", "https://slsa.dev/provenance/v2", "{}")}, "unreadable-provenance"},
		"whose builder is a number":           {"", []reconcile.Proof{proof(maker, "root", slsa1, `{"runDetails":{"builder":{"id":1}}}`)}, "unreadable-provenance"},
		"whose source is a number":            {app, []reconcile.Proof{v1("https://x", `{"source":1}`)}, "unreadable-provenance"},
		"the builder":                         {builder, []reconcile.Proof{v1("https://builder.example.com/v1", "{}")}, ""},
		"the builder, v0.2":                   {builder, []reconcile.Proof{v02("https://builder.example.com/v1", "")}, ""},
		"another builder":                     {builder, []reconcile.Proof{v1("https://builder.example.com/v1.evil", "{}")}, "other-builder"},
		"no builder":                          {builder, []reconcile.Proof{proof(maker, "root", slsa1, "{}")}, "other-builder"},
		"a builder by expression":             {`builder = "^https://builder\\.example\\.com/v[0-9]+$"`, []reconcile.Proof{v1("https://builder.example.com/v12", "{}")}, ""},
		"an alternative matches all of it":    {`builder = "^https://a|https://b$"`, []reconcile.Proof{v1("https://abc", "{}")}, "other-builder"},
		"the source, a workflow's":            {app, []reconcile.Proof{v1("https://x", workflow)}, ""},
		"the source with its revision":        {app, []reconcile.Proof{v02("https://x", "git+https://github.com/acme/app@refs/tags/v1")}, ""},
		"the source as git has it":            {`source = "git+https://github.com/acme/app.git"`, []reconcile.Proof{v1("https://x", `{"source":{"uri":"https://github.com/acme/app.git#abc"}}`)}, ""},
		"the source as text":                  {app, []reconcile.Proof{v1("https://x", `{"source":"git+https://github.com/acme/app"}`)}, ""},
		"buildkit's source":                   {app, []reconcile.Proof{v1("https://x", `{"configSource":{"uri":"https://github.com/acme/app.git#refs/heads/main"}}`)}, ""},
		"another source":                      {app, []reconcile.Proof{v02("https://x", "git+https://github.com/acme/app2@refs/tags/v1")}, "other-source"},
		"a source within the user's part":     {app, []reconcile.Proof{v02("https://x", "https://github.com/acme/app@evil.example/acme/app")}, ""},
		"a user named like the source":        {app, []reconcile.Proof{v02("https://x", "https://github.com%2Facme%2Fapp@evil.example/x")}, "other-source"},
		"two sources that differ":             {app, []reconcile.Proof{v1("https://x", `{"workflow":{"repository":"https://github.com/acme/app"},"source":"https://github.com/evil/app"}`)}, "other-source"},
		"no source":                           {app, []reconcile.Proof{v1("https://x", "{}")}, "other-source"},
		"what went in besides is no source":   {`source = "https://github.com/evil/app"`, []reconcile.Proof{v1("https://x", workflow), v02("https://x", "https://github.com/acme/app")}, "other-source"},
		"another builder and source":          {app + "\n" + builder, []reconcile.Proof{v1("https://x", "{}")}, "other-builder other-source"},
		"one that fits among others":          {builder, []reconcile.Proof{v1("https://x", "{}"), v1("https://builder.example.com/v1", "{}")}, ""},
		"level 2":                             {"level = 2", []reconcile.Proof{v1("https://x", "{}")}, ""},
		"level 3":                             {"level = 3\nhardened = [\"https://x\"]", []reconcile.Proof{v1("https://x", "{}")}, ""},
		"level 3 of a builder that isn't":     {"level = 3\nhardened = [\"https://y\"]", []reconcile.Proof{v1("https://x", "{}")}, "low-level"},
		"level 3 of a builder without a name": {"level = 3\nhardened = [\"^.*$\"]", []reconcile.Proof{proof(maker, "root", slsa1, "{}")}, "low-level"},
	} {
		t.Run(name, func(t *testing.T) {
			fs := rule(t, "provenance", makers+c.body).Check(upstream(t, c.proofs...), now)
			if got := ids(fs); got != c.want {
				t.Errorf("%q, want %q: %+v", got, c.want, fs)
			}
			for _, f := range fs {
				if f.Summary == "" || f.Detail == "" {
					t.Errorf("%+v", f)
				}
			}
		})
	}
	s := upstream(t)
	s.Evidence.Upstream.Asked = nil
	if got := ids(rule(t, "provenance", makers).Check(s, now)); got != "no-evidence?" {
		t.Errorf("nobody looked: %s", got)
	}
}

func TestApproval(t *testing.T) {
	by := func(logins ...string) []reconcile.Approver {
		var out []reconcile.Approver
		for _, l := range logins {
			login, owner, _ := strings.Cut(l, " ")
			out = append(out, reconcile.Approver{Login: login, Owner: owner})
		}
		return out
	}
	approved := func(a ...string) *reconcile.Review {
		return &reconcile.Review{State: reconcile.Approved, Author: "author", Approvers: by(a...)}
	}
	for name, c := range map[string]struct {
		body   string
		review *reconcile.Review
		want   string
	}{
		"one":                       {"required = 1", approved("a"), ""},
		"one of two":                {"required = 2", approved("a"), "too-few-approvals"},
		"two":                       {"required = 2", approved("a", "b"), ""},
		"one twice":                 {"required = 2", approved("a", "A"), "too-few-approvals"},
		"its author":                {"required = 1", approved("Author"), "too-few-approvals"},
		"nobody":                    {"required = 1", approved(""), "too-few-approvals"},
		"an owner":                  {"required = 1\nfrom = \"codeowners\"", approved("a @acme/edge"), ""},
		"no owner":                  {"required = 1\nfrom = \"codeowners\"", approved("a"), "too-few-approvals"},
		"each must own":             {"required = 2\nfrom = \"codeowners\"", approved("a @acme/edge", "b"), "too-few-approvals"},
		"two owners of one team":    {"required = 2\nfrom = \"codeowners\"", approved("a @acme/edge", "b @acme/edge"), ""},
		"still open":                {"required = 1", &reconcile.Review{State: reconcile.Pending}, "pending!"},
		"not approved":              {"required = 1", &reconcile.Review{State: reconcile.NotApproved, Reason: "changes were requested", Approvers: by("a")}, "not-approved"},
		"the forge is silent":       {"required = 1", &reconcile.Review{State: reconcile.UnknownReview, Reason: "timeout"}, "no-evidence?"},
		"a state that is none":      {"required = 1", &reconcile.Review{Approvers: by("a")}, "no-evidence?"},
		"nobody was asked":          {"required = 1", nil, "no-evidence?"},
		"the baseline":              {"required = 1", &reconcile.Review{State: reconcile.Approved, Baseline: true}, "baseline!"},
		"a baseline still unproven": {"required = 1", &reconcile.Review{State: reconcile.UnknownReview, Baseline: true}, "no-evidence?"},
	} {
		t.Run(name, func(t *testing.T) {
			s := subjectOn(t, "linux/amd64")
			s.Evidence.Review = c.review
			fs := rule(t, "approval", c.body).Check(s, now)
			if got := ids(fs); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			for _, f := range fs {
				if c.review != nil && !strings.Contains(f.Summary, c.review.Reason) || f.Detail == "" {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}

// openVEX is a document about CVE-2026-1.
func openVEX(day int, product, more string) string {
	return fmt.Sprintf(`{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://example.com/vex","author":"maker","timestamp":"2026-11-%02dT00:00:00Z","version":1,
		"statements":[{"vulnerability":{"name":"CVE-2026-1"},"products":[{"@id":%q}],%s}]}`, day, product, more)
}

func TestTheMakersVEXExcuses(t *testing.T) {
	const excuse, affected = `"status":"not_affected","justification":"vulnerable_code_not_present"`, `"status":"affected","action_statement":"update"`
	const ns = "https://openvex.dev/ns/v0.2.0"
	said := func(docs ...string) (out []reconcile.Proof) {
		for _, d := range docs {
			out = append(out, proof(maker, "root", ns, d))
		}
		return out
	}
	root, amd64 := "pkg:oci/nginx@"+digest("root").String(), "pkg:oci/nginx@"+digest("linux/amd64").String()
	for name, c := range map[string]struct {
		proofs []reconcile.Proof
		want   string
	}{
		"nothing":                           {nil, "CVE-2026-1 CVE-2026-2"},
		"this digest":                       {said(openVEX(1, root, excuse)), "CVE-2026-2"},
		"fixed":                             {said(openVEX(1, root, `"status":"fixed"`)), "CVE-2026-2"},
		"an older predicate type":           {[]reconcile.Proof{proof(maker, "root", "https://openvex.dev/ns", openVEX(1, root, excuse))}, "CVE-2026-2"},
		"by its name at the source":         {said(openVEX(1, "pkg:oci/nginx", excuse)), "CVE-2026-2"},
		"another name":                      {said(openVEX(1, "pkg:oci/redis", excuse)), "CVE-2026-1 CVE-2026-2"},
		"another digest":                    {said(openVEX(1, "pkg:oci/nginx@"+digest("other").String(), excuse)), "CVE-2026-1 CVE-2026-2"},
		"one of two platforms":              {said(openVEX(1, amd64, excuse)), "CVE-2026-1 CVE-2026-2"},
		"a package of any image":            {said(openVEX(1, "pkg:npm/lodash@4.17.4", excuse)), "CVE-2026-1 CVE-2026-2"},
		"affected":                          {said(openVEX(1, root, affected)), "CVE-2026-1 CVE-2026-2"},
		"taken back in a later document":    {said(openVEX(1, root, excuse), openVEX(2, root, affected)), "CVE-2026-1 CVE-2026-2"},
		"excused in a later document":       {said(openVEX(2, root, excuse), openVEX(1, root, affected)), "CVE-2026-2"},
		"a mistake":                         {said(openVEX(1, root, excuse), openVEX(1, root, `"status":"not_affected"`)), "CVE-2026-1 CVE-2026-2"},
		"a document that could not be kept": {append(said(openVEX(1, root, excuse)), proof(maker, "root", ns, "")), "CVE-2026-1 CVE-2026-2"},
		"by somebody else":                  {[]reconcile.Proof{proof(stranger, "root", ns, openVEX(1, root, excuse))}, "CVE-2026-1 CVE-2026-2"},
		"of another predicate type":         {[]reconcile.Proof{proof(maker, "root", "https://openvex.dev/nsx", openVEX(1, root, excuse))}, "CVE-2026-1 CVE-2026-2"},
	} {
		t.Run(name, func(t *testing.T) {
			s := upstream(t, c.proofs...)
			for _, p := range []string{"linux/amd64", "linux/arm64"} {
				s = scanned(s, p, scan("trivy", vuln("CVE-2026-1", reconcile.High), vuln("CVE-2026-2", reconcile.High)))
			}
			fs := rule(t, "vulnerabilities", "vex {\n"+makers+"}").Check(s, now)
			if got := ids(fs); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			if told := strings.Contains(fs[0].Detail, "1 others are excused"); told != (len(fs) == 1) && name != "one of two platforms" {
				t.Errorf("%s", fs[0].Detail)
			}
			if got := ids(rule(t, "vulnerabilities", "").Check(s, now)); got != "CVE-2026-1 CVE-2026-2" {
				t.Errorf("a rule that trusts nobody: %q", got)
			}
			s.Evidence.Upstream.Asked = nil
			if got := ids(rule(t, "vulnerabilities", "vex {\n"+makers+"}").Check(s, now)); got != "CVE-2026-1 CVE-2026-2" {
				t.Errorf("where nobody looked: %q", got)
			}
		})
	}
}
