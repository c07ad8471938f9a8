package sign

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/sigstore/cosign/v2/pkg/oci/static"
	"github.com/sigstore/cosign/v2/pkg/types"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/dsse"
)

// legacy makes a record in cosign's first format, with a certificate: of a simple signing payload, or of a statement.
func (s *sigstore) legacy(t testing.TB, content string, m made) reconcile.Record {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	key := newKey(t)
	leaf, err := ca.GenerateLeafCert(m.trust.Subject, m.trust.Issuer, m.issued, key, s.cert, s.key)
	must(err)
	signer, err := signature.LoadECDSASigner(key, crypto.SHA256)
	must(err)
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})
	r := reconcile.Record{MediaType: LegacyMediaType, Payload: []byte(content), Annotations: map[string]string{static.CertificateAnnotationKey: string(certificate), static.ChainAnnotationKey: "not read"}}
	var stamped, body []byte // what is timestamped, and what the log says
	if strings.Contains(content, "predicateType") {
		r.MediaType = types.DssePayloadType
		r.Payload, err = dsse.WrapSigner(signer, types.IntotoPayloadType).SignMessage(strings.NewReader(content))
		must(err)
		stamped = r.Payload
		var e struct{ Signatures []struct{ Sig string } }
		must(json.Unmarshal(r.Payload, &e))
		body = fmt.Appendf(nil, `{"apiVersion":"0.0.1","kind":"dsse","spec":{"envelopeHash":{"algorithm":"sha256","value":"%x"},"payloadHash":{"algorithm":"sha256","value":"%x"},"signatures":[{"signature":%q,"verifier":%q}]}}`,
			sha256.Sum256(r.Payload), sha256.Sum256([]byte(content)), e.Signatures[0].Sig, base64.StdEncoding.EncodeToString(certificate))
	} else {
		stamped, err = signer.SignMessage(strings.NewReader(content))
		must(err)
		r.Annotations[static.SignatureAnnotationKey] = base64.StdEncoding.EncodeToString(stamped)
		body = fmt.Appendf(nil, `{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":{"algorithm":"sha256","value":"%x"}},"signature":{"content":%q,"publicKey":{"content":%q}}}}`,
			sha256.Sum256([]byte(content)), r.Annotations[static.SignatureAnnotationKey], base64.StdEncoding.EncodeToString(certificate))
	}
	if !m.stamped.IsZero() {
		hashed := sha256.Sum256(stamped)
		b, err := s.stamp(hashed[:], m.stamped)
		must(err)
		annotation, err := json.Marshal(map[string][]byte{"SignedRFC3161Timestamp": b})
		must(err)
		r.Annotations[static.RFC3161TimestampAnnotationKey] = string(annotation)
	}
	if !m.logged.IsZero() {
		id, err := s.log.RekorLogID()
		must(err)
		p := tlog.RekorPayload{Body: base64.StdEncoding.EncodeToString(body), IntegratedTime: m.logged.Unix(), LogIndex: 7, LogID: id}
		promise, err := s.log.RekorSignPayload(p)
		must(err)
		annotation, err := json.Marshal(map[string]any{"SignedEntryTimestamp": promise, "Payload": p})
		must(err)
		r.Annotations[static.BundleAnnotationKey] = string(annotation)
	}
	return r
}

const provenanceType = "https://slsa.dev/provenance/v1"

// contents are what is signed in cosign's first format: a signature's payload, and a statement.
func contents() map[string]string {
	return map[string]string{"signature": simpleOf(digestA.String(), cosignKind), "attestation": inTotoOf("v0.1", provenanceType, "{}", digestA.Hex())}
}

// proven asks a witness that trusts one instance what one identity signed.
func proven(t *testing.T, c *Certificates, r reconcile.Record) []reconcile.Proof {
	t.Helper()
	out, err := NewWitness(beside{digestA: {r}}, func(context.Context, string) (*Certificates, error) { return c, nil }).Proofs(t.Context(), upstreamImage(t), acme)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestCertificatesInTheFirstFormat(t *testing.T) {
	s := newSigstore(t)
	now := time.Now().Truncate(time.Second)
	then := now.Add(-past)
	for _, c := range []struct {
		name   string
		logged bool // whether the instance has a log
		made   made
		at     time.Time
	}{
		{"in the log, with a timestamp", true, made{issued: now, stamped: now.Add(time.Minute), logged: now.Add(time.Second)}, now.Add(time.Second)},
		{"in the log", true, made{issued: now, logged: now}, now},
		{"with a timestamp, of an instance without a log", false, made{issued: now, stamped: now}, now},
		{"of a certificate that has expired since", true, made{issued: then, stamped: then, logged: then}, then},
	} {
		for kind, content := range contents() {
			t.Run(kind+" "+c.name, func(t *testing.T) {
				c.made.trust = acme
				got := proven(t, s.certificates(t, c.logged), s.legacy(t, content, c.made))
				want := reconcile.Proof{Trust: acme, Subject: digestA, Signer: acme.Subject, Time: c.at.UTC()}
				if kind == "attestation" {
					want.PredicateType, want.Predicate = provenanceType, "{}"
				}
				if len(got) != 1 || got[0] != want {
					t.Errorf("%+v, want %+v", got, want)
				}
			})
		}
	}
}

func TestCertificatesInTheFirstFormatThatProveNothing(t *testing.T) {
	s, other := newSigstore(t), newSigstore(t)
	now := time.Now().Truncate(time.Second)
	fresh := made{trust: acme, issued: now, stamped: now, logged: now}
	with := func(change func(*made)) made {
		m := fresh
		change(&m)
		return m
	}
	annotated := func(key, value string) func(*reconcile.Record) {
		return func(r *reconcile.Record) { *r = annotate(*r, key, value) }
	}
	for kind, content := range contents() {
		one := s.legacy(t, content, fresh) // by the same identity, of the same content
		from := func(key string) func(*reconcile.Record) { return annotated(key, one.Annotations[key]) }
		for _, c := range []struct {
			name   string
			by     *sigstore
			logged bool
			made   made
			change func(*reconcile.Record)
		}{
			{"not in the log of an instance that has one", s, true, with(func(m *made) { m.logged = time.Time{} }), nil},
			{"at no time that anybody vouches for", s, false, with(func(m *made) { m.stamped = time.Time{} }), nil},
			{"a log's time, of an instance that has none", s, false, with(func(m *made) { m.stamped = time.Time{}; m.logged = now }), nil},
			{"logged when the certificate had expired", s, true, with(func(m *made) { m.issued = now.Add(-past) }), nil},
			{"stamped when the certificate had expired", s, false, with(func(m *made) { m.issued = now.Add(-past) }), nil},
			{"stamped before the certificate was issued", s, false, with(func(m *made) { m.stamped = now.Add(-past) }), nil},
			{"of another instance", other, true, fresh, nil},
			{"of another instance without a log", other, false, fresh, nil},
			{"by somebody else", s, true, with(func(m *made) { m.trust.Subject = "https://github.com/evil/x" }), nil},
			{"vouched for by somebody else", s, true, with(func(m *made) { m.trust.Issuer = "https://issuer.example.com" }), nil},
			{"changed", s, true, fresh, func(r *reconcile.Record) { r.Payload = append([]byte(" "), r.Payload...) }},
			{"with another one's certificate", s, true, fresh, from(static.CertificateAnnotationKey)},
			{"with another one's log entry", s, true, fresh, from(static.BundleAnnotationKey)},
			{"with another one's timestamp", s, false, fresh, from(static.RFC3161TimestampAnnotationKey)},
			{"without a certificate", s, true, fresh, annotated(static.CertificateAnnotationKey, "")},
			{"with two certificates", s, true, fresh, func(r *reconcile.Record) {
				*r = annotate(*r, static.CertificateAnnotationKey, r.Annotations[static.CertificateAnnotationKey]+one.Annotations[static.CertificateAnnotationKey])
			}},
			{"with a certificate that is none", s, true, fresh, annotated(static.CertificateAnnotationKey, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")},
			{"with a log entry whose body is a number", s, true, fresh, annotated(static.BundleAnnotationKey, `{"SignedEntryTimestamp":"AA==","Payload":{"body":1,"integratedTime":1,"logIndex":1,"logID":"x"}}`)},
			{"with a log entry whose body is an object", s, true, fresh, annotated(static.BundleAnnotationKey, `{"SignedEntryTimestamp":"AA==","Payload":{"body":{},"integratedTime":1,"logIndex":1,"logID":"x"}}`)},
			{"with a log entry whose body is no entry", s, true, fresh, annotated(static.BundleAnnotationKey, `{"SignedEntryTimestamp":"AA==","Payload":{"body":"e30=","integratedTime":1,"logIndex":1,"logID":"x"}}`)},
			{"with a log entry of lists that are empty", s, true, fresh, annotated(static.BundleAnnotationKey, `{"SignedEntryTimestamp":"AA==","Payload":{"body":"`+
				base64.StdEncoding.EncodeToString([]byte(`{"apiVersion":"0.0.1","kind":"dsse","spec":{"signatures":[]}}`))+`","integratedTime":1,"logIndex":1,"logID":"00"}}`)},
			{"with a log entry that is null", s, true, fresh, annotated(static.BundleAnnotationKey, `null`)},
			{"with a log entry that is no JSON", s, true, fresh, annotated(static.BundleAnnotationKey, `{`)},
			{"with a timestamp that is null", s, false, fresh, annotated(static.RFC3161TimestampAnnotationKey, `null`)},
			{"with a timestamp that is none", s, false, fresh, annotated(static.RFC3161TimestampAnnotationKey, `{"SignedRFC3161Timestamp":"AAAA"}`)},
			{"with a timestamp that is no JSON", s, false, fresh, annotated(static.RFC3161TimestampAnnotationKey, `x`)},
		} {
			t.Run(kind+" "+c.name, func(t *testing.T) {
				r := c.by.legacy(t, content, c.made)
				if c.change != nil {
					c.change(&r)
				}
				if got := proven(t, s.certificates(t, c.logged), r); len(got) > 0 {
					t.Errorf("%+v", got)
				}
			})
		}
	}
}

// Whoever has got hold of a key after its certificate expired can't use an old timestamp for an attestation: the one of a signature that was made in
// time, laid beside the attestation with that signature.
func TestAnOldTimestampOfSomethingElseProvesNoAttestation(t *testing.T) {
	s := newSigstore(t)
	then := time.Now().Add(-past)
	old := s.legacy(t, contents()["signature"], made{trust: acme, issued: then, stamped: then})
	forged := s.legacy(t, contents()["attestation"], made{trust: acme, issued: then, stamped: time.Now()})
	for _, key := range []string{static.SignatureAnnotationKey, static.RFC3161TimestampAnnotationKey} {
		forged = annotate(forged, key, old.Annotations[key])
	}
	if got := proven(t, s.certificates(t, false), forged); len(got) > 0 {
		t.Errorf("%+v", got)
	}
}

// Whatever lies in the annotations, reading them ends without a panic.
func FuzzCertificatesInTheFirstFormat(f *testing.F) {
	s := newSigstore(f)
	now := time.Now()
	for _, content := range contents() {
		r := s.legacy(f, content, made{trust: acme, issued: now, stamped: now, logged: now})
		a := r.Annotations
		f.Add(r.MediaType, r.Payload, a[static.SignatureAnnotationKey], a[static.CertificateAnnotationKey], a[static.BundleAnnotationKey], a[static.RFC3161TimestampAnnotationKey])
	}
	c := s.certificates(f, true)
	f.Fuzz(func(t *testing.T, mediaType string, payload []byte, sig, certificate, entry, stamp string) {
		r := reconcile.Record{MediaType: mediaType, Payload: payload, Annotations: map[string]string{static.SignatureAnnotationKey: sig, static.CertificateAnnotationKey: certificate,
			static.BundleAnnotationKey: entry, static.RFC3161TimestampAnnotationKey: stamp}}
		for _, p := range proven(t, c, r) {
			if p.Signer != acme.Subject || p.Subject != digestA {
				t.Errorf("%+v", p)
			}
		}
	})
}
