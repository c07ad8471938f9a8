package test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
	"github.com/assay-oci/assay/reconcile/sign"
)

// chained is an image that was admitted by a catalog with a scanner, and what makes records about it as ours, or a stranger's.
type chained struct {
	*world
	digest string
	image  reconcile.Image
	ours   *sign.Signer
	other  *sign.Signer
}

func newChained(t *testing.T) chained {
	t.Helper()
	w := newWorld(t, registrytest.Distribution)
	c := chained{world: w, digest: w.push("web", "1.0", 10)}
	w.commit(map[string]string{"web.hcl": w.image("web", "1.0 "+c.digest)})
	w.run(0, "reconcile")
	c.image = reconcile.Image{Repo: w.eu.Repo("approved/web"), Digest: reconcile.MustDigest(c.digest)}
	stranger := filepath.Join(w.dir, "stranger")
	if err := os.Mkdir(stranger, 0o700); err != nil {
		t.Fatal(err)
	}
	writeKey(t, stranger)
	c.ours, c.other = c.signer(w.dir), c.signer(stranger)
	return c
}

func (c chained) signer(dir string) *sign.Signer {
	c.t.Helper()
	s, err := sign.New(c.t.Context(), sign.Options{Name: "main", Key: filepath.Join(dir, "cosign.key")})
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

// verdict is a verdict of ours about a digest.
func (c chained) verdict(s *sign.Signer, subject reconcile.Digest, result string, at time.Time) reconcile.Record {
	c.t.Helper()
	identity, err := reconcile.ParseRepo("images.example.com/approved/web")
	if err != nil {
		c.t.Fatal(err)
	}
	r, err := s.Sign(c.t.Context(), reconcile.Statement{Format: reconcile.Bundle, Subject: subject, Identity: identity, About: "web:1.0", PredicateType: reconcile.VerdictPredicate, Time: at,
		Predicate: fmt.Sprintf(`{"verificationResult":%q,"timeVerified":"2026-01-01T00:00:00Z","assay":{"image":"web:1.0","rules":[]}}`, result)})
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

func (c chained) place(r reconcile.Record) {
	c.t.Helper()
	r.Statement.Subject = c.image.Digest
	if err := registry.NewWriter(reader()).Place(c.t.Context(), r, c.image.Repo); err != nil {
		c.t.Fatal(err)
	}
}

// remove deletes the records that pick selects.
func (c chained) remove(pick func(reconcile.Record) bool) {
	c.t.Helper()
	w := registry.NewWriter(reader())
	for _, r := range c.read(c.image) {
		if pick(r) {
			if err := w.Delete(c.t.Context(), reconcile.Image{Repo: c.image.Repo, Digest: r.At}, c.image.Digest); err != nil {
				c.t.Fatal(err)
			}
		}
	}
}

func (c chained) read(i reconcile.Image) []reconcile.Record {
	c.t.Helper()
	rs, err := sign.NewVerifier(map[string]sign.PublicKey{"main": c.ours.PublicKey()}, reader()).Records(c.t.Context(), i)
	if err != nil {
		c.t.Fatal(err)
	}
	return rs
}

// refused expects that the chain is not proven, for a reason that contains a text.
func (c chained) refused(want string, args ...string) {
	c.t.Helper()
	o := c.assay(append([]string{"verify", c.image.String(), "--key", "cosign.pub"}, args...)...)
	if o.code != 1 || !strings.Contains(o.stderr, want) || strings.Count(o.stderr, "\n") != 1 {
		c.t.Errorf("exit code %d, %q is missing:\n%s%s", o.code, want, o.stdout, o.stderr)
	}
}

func (c chained) proven(args ...string) output {
	c.t.Helper()
	o := c.assay(append([]string{"verify", c.image.String(), "--key", "cosign.pub"}, args...)...)
	if o.code != 0 || o.stderr != "" {
		c.t.Errorf("exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	return o
}

func TestVerifyTellsTheChain(t *testing.T) {
	c := newChained(t)
	o := c.proven()
	parts := []string{"Approved", "as web:1.0, from " + c.source.Host + "/web@" + c.digest, "web.hcl:3", "Judged", "PASSED on ", "rule sources of baseline: passed", "Contains", "Signed", "signature (legacy) by cosign.pub", "signature (bundle) by cosign.pub"}
	at := 0
	for _, p := range parts {
		i := strings.Index(o.stdout[at:], p)
		if i < 0 {
			t.Fatalf("%q is missing, or out of order:\n%s", p, o.stdout)
		}
		at += i
	}
	var chain struct {
		Identity  string
		Verdict   struct{ Result, Image, Commit string }
		Approval  struct{ Image, Version string }
		Manifests []struct{ Signed bool }
		Problems  []string
	}
	if err := json.Unmarshal([]byte(c.proven("-o", "json").stdout), &chain); err != nil {
		t.Fatal(err)
	}
	if chain.Identity != "images.example.com/approved/web" || chain.Verdict.Result != "PASSED" || chain.Approval.Image != "web" || len(chain.Manifests) != 3 || chain.Problems != nil {
		t.Errorf("%+v", chain)
	}
	c.proven("--identity", "images.example.com/approved/web")
	for _, ref := range []string{":1.0", ":1.0@" + c.digest} { // as pods and pull requests write it
		if o := c.assay("verify", c.image.Repo.String()+ref, "--key", "cosign.pub"); o.code != 0 || !strings.HasPrefix(o.stdout, c.image.String()+"\n") {
			t.Errorf("%s: exit code %d\n%s%s", ref, o.code, o.stdout, o.stderr)
		}
	}
	c.refused("not as images.example.com/other", "--identity", "images.example.com/other")
	c.refused("no forge was asked", "--require", "approval")
	c.refused("no scan of", "--require", "scans,inventory")
	if o := c.assay("verify", c.image.String(), "--catalog", c.catalog(), "--cache", c.cache()); o.code != 0 {
		t.Errorf("by the catalog's signers: exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	for _, wrong := range [][]string{{}, {"--key", "cosign.pub", "--catalog", "."}, {"--key", "cosign.pub", "--require", "faith"}, {"--key", "cosign.pub", "-o", "yaml"}, {"--key", "missing.pub"}} {
		if o := c.assay(append([]string{"verify", c.image.String()}, wrong...)...); o.code != 1 || strings.Count(o.stderr, "\n") != 1 {
			t.Errorf("%v: exit code %d, %s", wrong, o.code, o.stderr)
		}
	}
}

func TestVerifyRefusesEachWithItsOwnReason(t *testing.T) {
	c := newChained(t)
	isVerdict := func(r reconcile.Record) bool { return r.Statement.PredicateType == reconcile.VerdictPredicate }
	kept := c.read(c.image)
	now := time.Now().Truncate(time.Second)

	t.Run("a signature by another key", func(t *testing.T) {
		o := c.assay("verify", c.image.String(), "--key", filepath.Join("stranger", "cosign.pub"))
		if o.code != 1 || !strings.Contains(o.stderr, "no valid signature") || !strings.Contains(o.stderr, "signed by another key") {
			t.Errorf("%d %s", o.code, o.stderr)
		}
		c.place(c.verdict(c.other, c.image.Digest, "FAILED", now.Add(time.Hour))) // a stranger's word about our image changes nothing
		c.proven()
	})
	t.Run("an older verdict beside a newer one", func(t *testing.T) {
		c.place(c.verdict(c.ours, c.image.Digest, "PASSED", now.Add(time.Minute)))
		c.place(c.verdict(c.ours, c.image.Digest, "FAILED", now.Add(2*time.Minute)))
		c.refused("is FAILED; an older one that lies beside it does not count")
		c.remove(isVerdict)
		c.refused("there is no verdict by the holder of cosign.pub")
		c.place(c.verdict(c.ours, c.image.Digest, "PASSED", now.Add(-48*time.Hour)))
		c.proven("--max-age", "72h")
		c.refused("has expired: it may be 24h0m0s old", "--max-age", "24h")
		c.remove(isVerdict)
		c.place(c.verdict(c.ours, c.image.Digest, "PASSED", now.Add(48*time.Hour)))
		c.refused("a time to come")
		c.remove(isVerdict)
		for _, r := range kept {
			if isVerdict(r) {
				c.place(r)
			}
		}
		c.proven()
	})
	// Whoever may push can lay false records beside an image. They prove nothing and disprove nothing: what is proven without them stays so.
	for _, f := range []struct {
		name, why string
		record    reconcile.Record
	}{
		{"an attestation of another digest", "about another digest", c.verdict(c.ours, reconcile.MustDigest("sha256:"+strings.Repeat("b", 64)), "PASSED", now)},
		{"a tampered attestation", "its content does not match its signature", tampered(t, c.verdict(c.ours, c.image.Digest, "FAILED", now))},
	} {
		t.Run(f.name, func(t *testing.T) {
			c.place(f.record)
			if o := c.proven(); !strings.Contains(o.stdout, "✗ bundle, refused: "+f.why) {
				t.Errorf("it is not told:\n%s", o.stdout)
			}
			c.remove(isVerdict)
			c.refused("there is no verdict by the holder of cosign.pub; refused beside it: " + f.why)
			c.remove(func(r reconcile.Record) bool { return strings.Contains(r.Problem, f.why) })
			for _, r := range kept {
				if isVerdict(r) {
					c.place(r)
				}
			}
			c.proven()
		})
	}
	t.Run("an attestation presented as a signature", func(t *testing.T) {
		c.remove(func(r reconcile.Record) bool { return r.Problem == "" && r.Statement.PredicateType == "" })
		c.refused("(index) bears no signature by the holder of cosign.pub: of the records there that are valid, each is an attestation")
	})
}

// tampered changes what a bundle's payload says, and nothing else.
func tampered(t *testing.T, r reconcile.Record) reconcile.Record {
	t.Helper()
	var b map[string]any
	if err := json.Unmarshal(r.Payload, &b); err != nil {
		t.Fatal(err)
	}
	envelope := b["dsseEnvelope"].(map[string]any)
	statement, err := base64.StdEncoding.DecodeString(envelope["payload"].(string))
	if err != nil {
		t.Fatal(err)
	}
	envelope["payload"] = base64.StdEncoding.EncodeToString([]byte(strings.Replace(string(statement), "FAILED", "PASSED", 1)))
	if r.Payload, err = json.Marshal(b); err != nil {
		t.Fatal(err)
	}
	return r
}

// What a record says is somebody's text: it can't take over a terminal.
func TestVerifyEscapesWhatRecordsSay(t *testing.T) {
	c := newChained(t)
	c.remove(func(r reconcile.Record) bool { return r.Statement.PredicateType == reconcile.VerdictPredicate })
	identity, err := reconcile.ParseRepo("images.example.com/approved/web")
	if err != nil {
		t.Fatal(err)
	}
	predicate, err := json.Marshal(map[string]any{"verificationResult": "PASSED", "assay": map[string]any{"image": "web:1.0", "rules": []any{map[string]any{"rule": "x\x1b[2J\u202e\nProven", "result": "passed"}}}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.ours.Sign(t.Context(), reconcile.Statement{Format: reconcile.Bundle, Subject: c.image.Digest, Identity: identity, About: "web:1.0", PredicateType: reconcile.VerdictPredicate, Time: time.Now(), Predicate: string(predicate)})
	if err != nil {
		t.Fatal(err)
	}
	c.place(r)
	if o := c.proven(); strings.ContainsAny(o.stdout, "\x1b\u202e") || strings.Contains(o.stdout, "\nProven") {
		t.Errorf("%q", o.stdout)
	}
}
