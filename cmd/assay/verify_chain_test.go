package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

// beside is what one signer wrote about an image of one manifest, under a name.
func beside(t *testing.T, name string, now time.Time, predicateTypes ...string) []reconcile.Record {
	t.Helper()
	identity, err := reconcile.ParseRepo(name)
	if err != nil {
		t.Fatal(err)
	}
	var out []reconcile.Record
	for _, p := range predicateTypes {
		st := reconcile.Statement{Format: reconcile.Bundle, Signer: "key", Identity: identity, PredicateType: p, Time: now}
		if p == reconcile.VerdictPredicate {
			st.About, st.Predicate = "web:1.0", `{"verificationResult":"PASSED","assay":{"image":"web:1.0"}}`
		}
		out = append(out, reconcile.Record{Statement: st})
	}
	return out
}

// Where no name is demanded, the records of any one name prove an image: what lies there under another name can't spoil it, wherever it stands in the
// list, and makes up for nothing either. Of two names that prove it, the one that is most like the repository's counts.
func TestRecordsUnderAnotherName(t *testing.T) {
	now := time.Now()
	const verdict = reconcile.VerdictPredicate
	web := func(p ...string) []reconcile.Record { return beside(t, "images.example.com/approved/web", now, p...) }
	api := func(p ...string) []reconcile.Record { return beside(t, "images.example.com/approved/api", now, p...) }
	for name, c := range map[string]struct {
		records []reconcile.Record
		known   string // the name
		problem string
	}{
		"alone":                              {web("", verdict), "images.example.com/approved/web", ""},
		"before ours":                        {slices.Concat(api(""), web("", verdict)), "images.example.com/approved/web", ""},
		"after ours":                         {slices.Concat(web("", verdict), api("")), "images.example.com/approved/web", ""},
		"another name's, and whole":          {api("", verdict), "images.example.com/approved/api", ""},
		"two that are whole":                 {slices.Concat(api("", verdict), web("", verdict)), "images.example.com/approved/web", ""},
		"one is signed, the other is judged": {slices.Concat(api(verdict), web("")), "images.example.com/approved/web", "there is no verdict"},
		"none":                               {nil, "", "bears no signature"},
	} {
		t.Run(name, func(t *testing.T) {
			image, err := reconcile.ParseRepo("registry.example.com/approved/web")
			if err != nil {
				t.Fatal(err)
			}
			root := reconcile.MustDigest("sha256:" + strings.Repeat("a", 64))
			c1 := &chain{repo: image, root: root, Manifests: []manifestLink{{Digest: root, runs: true}}, records: map[reconcile.Digest][]reconcile.Record{root: c.records}}
			c1.judge(expected{by: "the key"}, now)
			if got := strings.Join(c1.Problems, "; "); (c.problem == "") != (got == "") || !strings.Contains(got, c.problem) {
				t.Errorf("problems: %q, want %q", got, c.problem)
			}
			if got := c1.Identity; got.IsZero() != (c.known == "") || !got.IsZero() && got.String() != c.known {
				t.Errorf("known as %s, want %s", got, c.known)
			}
			if n := len(c1.Manifests[0].Records); n != len(c.records) {
				t.Errorf("%d records are told, not %d", n, len(c.records))
			}
		})
	}
}

// A digest may be approved as two entries, by different rules. It is proven if one of its newest verdicts passed; that another one, which is newer, didn't is told.
func TestAVerdictAgainstItAsAnotherEntryIsTold(t *testing.T) {
	now := time.Now()
	image, err := reconcile.ParseRepo("registry.example.com/approved/web")
	if err != nil {
		t.Fatal(err)
	}
	failed := beside(t, "images.example.com/approved/web", now, reconcile.VerdictPredicate)[0]
	failed.Statement.About, failed.Statement.Predicate = "strict:1.0", `{"verificationResult":"FAILED","assay":{"image":"strict:1.0"}}`
	records := append(beside(t, "images.example.com/approved/web", now.Add(-time.Hour), "", reconcile.VerdictPredicate), failed)
	root := reconcile.MustDigest("sha256:" + strings.Repeat("a", 64))
	c := &chain{repo: image, root: root, Manifests: []manifestLink{{Digest: root, runs: true}}, records: map[reconcile.Digest][]reconcile.Record{root: records}}
	c.judge(expected{by: "the key"}, now)
	if len(c.Problems) > 0 || c.Verdict == nil || c.Verdict.Image != "web:1.0" || !strings.Contains(c.text(), "\n  but as strict:1.0: the newest verdict, of ") {
		t.Errorf("%v\n%s", c.Problems, c.text())
	}
}
