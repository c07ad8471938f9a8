package sign

import (
	"strings"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
)

func TestCertificatesAreVerified(t *testing.T) {
	s, other := newSigstore(t), newSigstore(t)
	payload, err := bundlePayload(statement(t, reconcile.Bundle))
	if err != nil {
		t.Fatal(err)
	}
	now, then := time.Now(), time.Now().Add(-past)
	soon := then.Add(5 * time.Minute)
	fresh := made{trust: acme, issued: now.Add(-time.Minute), stamped: now, logged: now}
	for _, c := range []struct {
		name   string
		by     *sigstore
		how    made
		trust  reconcile.Trust
		about  reconcile.Digest
		logs   bool
		tamper func(*protobundle.Bundle)
		want   string
	}{
		{name: "stamped and logged", how: fresh, logs: true},
		{name: "an expression", how: fresh, logs: true, trust: reconcile.Trust{Issuer: githubIssuer, Subject: `^https://github\.com/acme/[^/]+/\.github/workflows/.*@refs/heads/main$`}},
		{name: "expired by now, stamped in time", how: made{trust: acme, issued: then, stamped: soon}},
		{name: "expired by now, logged in time", how: made{trust: acme, issued: then, logged: soon}, logs: true},
		{name: "expired by now, both", how: made{trust: acme, issued: then, stamped: soon, logged: soon}, logs: true},
		{name: "stamped too late", how: made{trust: acme, issued: then, stamped: now}, want: errExpired.Error()},
		{name: "logged too late", how: made{trust: acme, issued: then, logged: now}, logs: true, want: errExpired.Error()},
		{name: "stamped in time, logged too late", how: made{trust: acme, issued: then, stamped: soon, logged: now}, logs: true, want: errExpired.Error()},
		{name: "before it was issued", how: made{trust: acme, issued: now, stamped: now.Add(-time.Minute / 2)}, want: errExpired.Error()},
		{name: "no time", how: made{trust: acme, issued: now}, want: errNoTime.Error()},
		{name: "not logged", how: made{trust: acme, issued: now.Add(-time.Minute), stamped: now}, logs: true, want: errNoLog.Error()},
		{name: "another instance", by: other, how: fresh, logs: true, want: errOtherRoot.Error()},
		{name: "another workflow", how: made{trust: reconcile.Trust{Issuer: githubIssuer, Subject: "https://github.com/evil/x"}, issued: now.Add(-time.Minute), stamped: now}, want: `another identity, "https://github.com/evil/x"`},
		{name: "another issuer", how: made{trust: reconcile.Trust{Issuer: "https://evil.example.com", Subject: workflow}, issued: now.Add(-time.Minute), stamped: now}, want: `of "https://evil.example.com"`},
		{name: "nobody is trusted", how: fresh, logs: true, trust: reconcile.Trust{Issuer: githubIssuer, Subject: "^"}, want: "nobody is trusted"},
		{name: "another digest", how: fresh, logs: true, about: digestB, want: "about another digest"},
		{name: "changed", how: fresh, logs: true, want: errChanged.Error(), tamper: func(b *protobundle.Bundle) {
			e := b.GetDsseEnvelope()
			e.Payload = []byte(strings.Replace(string(e.Payload), "nginx", "evil!", 1))
		}},
		{name: "another's log entry", how: fresh, logs: true, want: errNoLog.Error(), tamper: func(b *protobundle.Bundle) {
			b.VerificationMaterial.TlogEntries = s.attest(t, payload, fresh).VerificationMaterial.TlogEntries
		}},
		{name: "another's timestamp", how: made{trust: acme, issued: now.Add(-time.Minute), stamped: now}, want: errNoTime.Error(), tamper: func(b *protobundle.Bundle) {
			b.VerificationMaterial.TimestampVerificationData = s.attest(t, payload, fresh).VerificationMaterial.TimestampVerificationData
		}},
		{name: "another's certificate", how: fresh, logs: true, want: errChanged.Error(), tamper: func(b *protobundle.Bundle) {
			b.VerificationMaterial.Content = s.attest(t, payload, fresh).VerificationMaterial.Content
		}},
		{name: "no certificate", how: fresh, logs: true, want: "malformed", tamper: func(b *protobundle.Bundle) {
			b.VerificationMaterial.GetCertificate().RawBytes = []byte("x")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			by, trust, about := c.by, c.trust, c.about
			if by == nil {
				by = s
			}
			if trust == (reconcile.Trust{}) {
				trust = acme
			}
			if about.IsZero() {
				about = digestA
			}
			b := by.attest(t, payload, c.how)
			if c.tamper != nil {
				c.tamper(b)
			}
			got, err := s.certificates(t, c.logs).Verify(t.Context(), asJSON(t, b), about, trust)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
					t.Fatalf("got %v, want %s", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			at := c.how.stamped
			if at.IsZero() {
				at = c.how.logged
			}
			if string(got.Statement) != string(payload) || got.Signer != workflow || got.Issuer != githubIssuer || got.Time.Sub(at).Abs() > time.Second {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// A verifier reads records of keys and of certificates beside each other, each by its signer's name.
func TestRecordsOfKeysAndIdentities(t *testing.T) {
	s := newSigstore(t)
	payload, err := bundlePayload(attestation(t))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	r := reconcile.Record{MediaType: BundleMediaType, Payload: asJSON(t, s.attest(t, payload, made{trust: acme, issued: now.Add(-time.Minute), stamped: now}))}
	key := newSigner(t, "main")
	byKey := raw(mustSign(t, key, statement(t, reconcile.Bundle)))
	keys := map[string]PublicKey{"main": key.PublicKey()}
	identity := Identity{Name: "ci", Trust: acme, Certificates: s.certificates(t, false)}
	stranger := Identity{Name: "stranger", Trust: reconcile.Trust{Issuer: githubIssuer, Subject: "somebody"}, Certificates: identity.Certificates}
	elsewhere := Identity{Name: "elsewhere", Trust: acme, Certificates: newSigstore(t).certificates(t, false)}
	for _, c := range []struct {
		name       string
		keys       map[string]PublicKey
		identities []Identity
		want       []string // the signer, or the problem, of the certificate's and of the key's record
	}{
		{"both", keys, []Identity{identity}, []string{"ci", "main"}},
		{"the key alone", keys, nil, []string{"signed with a certificate, not by a key", "main"}},
		{"the identity alone", nil, []Identity{stranger, elsewhere, identity}, []string{"ci", errNoCertificate.Error()}},
		{"another identity", nil, []Identity{elsewhere, stranger}, []string{"signed by another identity", errNoCertificate.Error()}},
		{"another instance", nil, []Identity{elsewhere}, []string{errOtherRoot.Error(), errNoCertificate.Error()}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := NewVerifier(c.keys, attached{r, byKey}, c.identities...)
			got, err := v.Records(t.Context(), reconcile.Image{Digest: digestA})
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range c.want {
				if g := got[i]; !strings.HasPrefix(g.Statement.Signer+g.Problem, want) {
					t.Errorf("record %d: signer %q, problem %q; want %q", i, g.Statement.Signer, g.Problem, want)
				}
			}
			if got[0].Problem == "" && got[0].Statement.PredicateType != vulnType {
				t.Errorf("the attestation was read as %q", got[0].Statement.PredicateType)
			}
		})
	}
}

func TestATrustedRootThatProvesNothingIsRefused(t *testing.T) {
	s := newSigstore(t)
	s.clock = nil
	if _, err := ParseTrustedRoot(s.trustedRoot(t, false)); err == nil || !strings.Contains(err.Error(), "neither a transparency log nor a timestamp authority") {
		t.Error(err)
	}
	for _, b := range []string{"", "{}", "[]", strings.Repeat(" ", maxTrust+1)} {
		if _, err := ParseTrustedRoot([]byte(b)); err == nil {
			t.Errorf("%.10q is taken for a trusted root", b)
		}
	}
}

// Whatever is read, verification ends without a panic, and nothing is valid that was not signed.
func FuzzCertificates(f *testing.F) {
	s := newSigstore(f)
	c := s.certificates(f, false)
	payload, err := bundlePayload(statement(f, reconcile.Bundle))
	if err != nil {
		f.Fatal(err)
	}
	now := time.Now()
	for _, m := range []made{{trust: acme, issued: now.Add(-time.Minute), stamped: now}, {trust: acme, issued: now, logged: now}} {
		f.Add(asJSON(f, s.attest(f, payload, m)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := c.Verify(t.Context(), b, digestA, acme); err == nil && string(got.Statement) != string(payload) {
			t.Errorf("valid, but never signed: %s", got.Statement)
		}
	})
}

func BenchmarkVerifyCertificate(b *testing.B) {
	s := newSigstore(b)
	c := s.certificates(b, true)
	payload, err := bundlePayload(statement(b, reconcile.Bundle))
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	made := asJSON(b, s.attest(b, payload, made{trust: acme, issued: now.Add(-time.Minute), stamped: now, logged: now}))
	for b.Loop() {
		if _, err := c.Verify(b.Context(), made, digestA, acme); err != nil {
			b.Fatal(err)
		}
	}
}
