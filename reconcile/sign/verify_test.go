package sign

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
	cbundle "github.com/sigstore/cosign/v2/pkg/cosign/bundle"
	"github.com/sigstore/cosign/v2/pkg/oci/static"
	"github.com/sigstore/sigstore/pkg/signature/dsse"
)

// edit changes one place of a bundle's JSON.
func edit(t testing.TB, r reconcile.Record, change func(map[string]any)) reconcile.Record {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(r.Payload, &m); err != nil {
		t.Fatal(err)
	}
	change(m)
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	r.Payload = b
	return r
}

// annotate returns the record with one annotation changed.
func annotate(r reconcile.Record, key, value string) reconcile.Record {
	m := map[string]string{key: value}
	for k, v := range r.Annotations {
		if k != key {
			m[k] = v
		}
	}
	r.Annotations = m
	return r
}

// bundleOf signs any payload with the signer's key, as somebody else's tool might.
func bundleOf(t testing.TB, s *Signer, payloadType, payload string) reconcile.Record {
	t.Helper()
	envelope, err := dsse.WrapSigner(s.key, payloadType).SignMessage(strings.NewReader(payload))
	if err != nil {
		t.Fatal(err)
	}
	pub, err := s.key.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	b, err := cbundle.MakeNewBundle(pub, nil, []byte(payload), envelope, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return reconcile.Record{MediaType: BundleMediaType, Payload: b}
}

func legacyOf(t testing.TB, s *Signer, payload string) reconcile.Record {
	t.Helper()
	sig, err := s.key.SignMessage(strings.NewReader(payload))
	if err != nil {
		t.Fatal(err)
	}
	return reconcile.Record{MediaType: LegacyMediaType, Payload: []byte(payload),
		Annotations: map[string]string{static.SignatureAnnotationKey: base64.StdEncoding.EncodeToString(sig)}}
}

func certificate(t testing.TB) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: when.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestWhatIsNotValidSaysWhy(t *testing.T) {
	const intoto = "application/vnd.in-toto+json"
	s, other := newSigner(t, "main"), newSigner(t, "other")
	keys := map[string]PublicKey{"main": s.PublicKey()}
	legacy, signature, att := raw(mustSign(t, s, statement(t, reconcile.Legacy))), raw(mustSign(t, s, statement(t, reconcile.Bundle))), raw(mustSign(t, s, attestation(t)))
	digest := strings.Repeat("a", 64)
	subject := `"subject":[{"name":"images.example.com/x","digest":{"sha256":"` + digest + `"}}]`
	head := `{"_type":"https://in-toto.io/Statement/v1",`

	tests := map[string]struct {
		record  reconcile.Record
		subject reconcile.Digest
		want    string
	}{
		"legacy by another key":      {raw(mustSign(t, other, statement(t, reconcile.Legacy))), digestA, "signed by another key"},
		"bundle by another key":      {raw(mustSign(t, other, statement(t, reconcile.Bundle))), digestA, "signed by another key"},
		"attestation by another key": {raw(mustSign(t, other, attestation(t))), digestA, "signed by another key"},
		"legacy of another digest":   {legacy, digestB, "about another digest"},
		"bundle of another digest":   {signature, digestB, "about another digest"},
		"attestation of another":     {att, digestB, "about another digest"},
		"legacy, payload changed": {func() reconcile.Record {
			r := legacy
			r.Payload = bytes.Replace(r.Payload, []byte("nginx"), []byte("mysql"), 1)
			return r
		}(), digestA, "changed after"},
		"bundle, payload changed": {edit(t, att, func(m map[string]any) {
			env := m["dsseEnvelope"].(map[string]any)
			b, _ := base64.StdEncoding.DecodeString(env["payload"].(string))
			env["payload"] = base64.StdEncoding.EncodeToString(bytes.Replace(b, []byte("builtin"), []byte("another"), 1))
		}), digestA, "changed after"},
		"bundle, signature removed": {edit(t, att, func(m map[string]any) {
			m["dsseEnvelope"].(map[string]any)["signatures"] = []any{}
		}), digestA, "does not match"},
		"bundle, signature twice": {edit(t, att, func(m map[string]any) {
			env := m["dsseEnvelope"].(map[string]any)
			sigs := env["signatures"].([]any)
			env["signatures"] = append(sigs, sigs[0])
		}), digestA, "does not match"},
		"bundle with a certificate": {edit(t, att, func(m map[string]any) {
			m["verificationMaterial"] = map[string]any{"certificate": map[string]any{"rawBytes": certificate(t)}}
		}), digestA, "certificate"},
		"bundle over content": {edit(t, att, func(m map[string]any) {
			delete(m, "dsseEnvelope")
			m["messageSignature"] = map[string]any{"messageDigest": map[string]any{"algorithm": "SHA2_256", "digest": "AAAA"}, "signature": "AAAA"}
		}), digestA, "not a statement about an image"},
		"bundle of a later version":   {edit(t, att, func(m map[string]any) { m["mediaType"] = "application/vnd.dev.sigstore.bundle.v0.9+json" }), digestA, "not a Sigstore bundle"},
		"legacy without signature":    {annotate(legacy, static.SignatureAnnotationKey, ""), digestA, "bears no signature"},
		"legacy, signature no base64": {annotate(legacy, static.SignatureAnnotationKey, "%%"), digestA, "signed by another key"},
		// `cosign verify` v2.6.5 dies of this one
		"legacy whose log entry's body is a number": {annotate(legacy, static.BundleAnnotationKey, `{"SignedEntryTimestamp":"AA==","Payload":{"body":1,"integratedTime":1,"logIndex":1,"logID":"x"}}`), digestA, "log entry"},
		"legacy with huge annotations":              {annotate(legacy, "x", strings.Repeat("x", maxValue)), digestA, "too large"},
		"legacy too large":                          {legacyOf(t, s, strings.Repeat(" ", maxLegacy+1)), digestA, "too large"},
		"legacy of another type":                    {legacyOf(t, s, `{"critical":{"identity":{"docker-reference":"images.example.com/x"},"image":{"docker-manifest-digest":"sha256:`+digest+`"},"type":"atomic container signature"}}`), digestA, "not a signature"},
		"legacy without identity":                   {legacyOf(t, s, `{"critical":{"identity":{},"image":{"docker-manifest-digest":"sha256:`+digest+`"},"type":"cosign container image signature"}}`), digestA, "of which image"},
		"legacy, identity no repository":            {legacyOf(t, s, `{"critical":{"identity":{"docker-reference":"../x"},"image":{"docker-manifest-digest":"sha256:`+digest+`"},"type":"cosign container image signature"}}`), digestA, "not named as a repository"},
		"legacy that is no JSON":                    {legacyOf(t, s, `sha256:`+digest), digestA, "another digest"},
		"legacy attestation":                        {reconcile.Record{MediaType: "application/vnd.dsse.envelope.v1+json", Payload: []byte("{}")}, digestA, "first format"},
		"something else":                            {reconcile.Record{MediaType: "application/spdx+json", Payload: []byte("{}")}, digestA, "neither a signature nor an attestation"},
		"nothing at all":                            {reconcile.Record{MediaType: BundleMediaType}, digestA, "not a Sigstore bundle"},
		"bundle of other content":                   {bundleOf(t, s, "application/octet-stream", head+subject+`,"predicateType":"x","predicate":{}}`), digestA, "not an in-toto statement"},
		"bundle that is no statement":               {bundleOf(t, s, intoto, `[1]`), digestA, "not an in-toto statement"},
		"statement of version 0.1":                  {bundleOf(t, s, intoto, `{"_type":"https://in-toto.io/Statement/v0.1",`+subject+`,"predicateType":"x","predicate":{}}`), digestA, "version 1"},
		"statement without predicate type":          {bundleOf(t, s, intoto, head+subject+`,"predicate":{}}`), digestA, "no predicate type"},
		"attestation without predicate":             {bundleOf(t, s, intoto, head+subject+`,"predicateType":"x"}`), digestA, "no predicate"},
		"statement without subject":                 {bundleOf(t, s, intoto, head+`"subject":[],"predicateType":"x","predicate":{}}`), digestA, "several digests"},
		"statement about two digests":               {bundleOf(t, s, intoto, head+`"subject":[{"name":"images.example.com/x","digest":{"sha256":"`+digest+`"}},{"name":"images.example.com/y","digest":{"sha256":"`+digestB.Hex()+`"}}],"predicateType":"x","predicate":{}}`), digestA, "several digests"},
		"statement without identity":                {bundleOf(t, s, intoto, head+`"subject":[{"digest":{"sha256":"`+digest+`"}}],"predicateType":"https://sigstore.dev/cosign/sign/v1"}`), digestA, "of which image"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := verifyOne(t, keys, test.subject, test.record)
			if !strings.Contains(got.Problem, test.want) {
				t.Errorf("problem %q, want %q", got.Problem, test.want)
			}
			if got.Problem != "" && (got.Statement.Signer != "" || got.Statement.Predicate != "" || !got.Statement.Identity.IsZero()) {
				t.Errorf("an invalid record tells %+v", got.Statement)
			}
		})
	}
}

func TestRawStatementIsNotBelieved(t *testing.T) {
	s, other := newSigner(t, "main"), newSigner(t, "other")
	r := mustSign(t, other, attestation(t))
	r.Statement.Signer = "main"
	got := verifyOne(t, map[string]PublicKey{"main": s.PublicKey()}, digestA, r)
	if got.Problem == "" || got.Statement.Signer != "" || got.Statement.PredicateType != "" {
		t.Errorf("a source's claim was believed: %+v, %q", got.Statement, got.Problem)
	}
}

func TestVerifiedAttestationIsNoSignature(t *testing.T) {
	s := newSigner(t, "main")
	got := verifyOne(t, map[string]PublicKey{"main": s.PublicKey()}, digestA, annotate(raw(mustSign(t, s, attestation(t))), predicateTypeAnnotation, "https://sigstore.dev/cosign/sign/v1"))
	if got.Problem != "" || got.Statement.PredicateType != vulnType {
		t.Errorf("predicate type %q, problem %q; want the signed type, whatever the manifest says", got.Statement.PredicateType, got.Problem)
	}
}

func TestSignerIsTheOneWhoseKeySigned(t *testing.T) {
	a, b := newSigner(t, "a"), newSigner(t, "b")
	keys := map[string]PublicKey{"a": a.PublicKey(), "b": b.PublicKey(), "zero": {}}
	for _, s := range []*Signer{a, b} {
		for _, st := range []reconcile.Statement{statement(t, reconcile.Legacy), statement(t, reconcile.Bundle)} {
			if got := verifyOne(t, keys, digestA, raw(mustSign(t, s, st))); got.Problem != "" || got.Statement.Signer != s.name {
				t.Errorf("%s by %s: signer %q, problem %q", st.Format, s.name, got.Statement.Signer, got.Problem)
			}
		}
	}
	if got := verifyOne(t, nil, digestA, raw(mustSign(t, a, statement(t, reconcile.Bundle)))); got.Problem == "" {
		t.Error("a record is valid though no key is known")
	}
}

// The cosign command itself writes neither a name nor a predicate into a signature's bundle.
func TestSignatureOfTheCosignCommandWithAName(t *testing.T) {
	s := newSigner(t, "main")
	r := bundleOf(t, s, "application/vnd.in-toto+json", `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"images.example.com/x","digest":{"sha256":"`+digestA.Hex()+`"}}],"predicateType":"https://sigstore.dev/cosign/sign/v1"}`)
	got := verifyOne(t, map[string]PublicKey{"main": s.PublicKey()}, digestA, r)
	if got.Problem != "" || got.Statement.PredicateType != "" || !got.Statement.Time.IsZero() {
		t.Errorf("%+v, problem %q; want a signature without a time", got.Statement, got.Problem)
	}
}

type failing struct{}

func (failing) Attached(context.Context, reconcile.Image) ([]reconcile.Record, error) {
	return nil, reconcile.ErrUnavailable
}

func TestUnknownIsNotAbsent(t *testing.T) {
	image := reconcile.Image{Repo: repo(t, "registry.example.com/x"), Digest: digestA}
	if _, err := NewVerifier(nil, failing{}).Records(t.Context(), image); !errors.Is(err, reconcile.ErrUnavailable) {
		t.Errorf("the source's error became %v", err)
	}
	if _, err := NewVerifier(nil, make(attached, maxRecords+1)).Records(t.Context(), image); err == nil {
		t.Error("more records than can be verified are no error")
	}
	if got, err := NewVerifier(nil, attached(nil)).Records(t.Context(), image); err != nil || len(got) != 0 {
		t.Errorf("no records: %v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewVerifier(nil, make(attached, 1)).Records(ctx, image); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Whatever is read, verification ends, without a panic, and nothing is valid that the key did not sign.
func FuzzVerifyRecord(f *testing.F) {
	s := newSigner(f, "main")
	keys := []namedKey{{"main", s.PublicKey()}}
	valid := map[string]bool{}
	for _, st := range []reconcile.Statement{statement(f, reconcile.Legacy), statement(f, reconcile.Bundle), attestation(f)} {
		r := mustSign(f, s, st)
		b, _, _ := payloadOf(r)
		valid[b] = true
		f.Add(r.MediaType, r.Payload, r.Annotations[static.SignatureAnnotationKey], "")
	}
	f.Add(LegacyMediaType, []byte("{}"), "AA==", `{"Payload":{"body":1}}`)
	f.Fuzz(func(t *testing.T, mediaType string, payload []byte, sig, entry string) {
		r := reconcile.Record{MediaType: mediaType, Payload: payload, Annotations: map[string]string{static.SignatureAnnotationKey: sig, static.BundleAnnotationKey: entry}}
		got := verifyRecord(t.Context(), trusted{keys: keys}, digestA, r)
		if got.Problem != "" {
			return
		}
		if b, ok, err := payloadOf(r); err != nil || !ok || !valid[b] {
			t.Errorf("valid, but never signed: %s", payload)
		}
	})
}

// payloadOf returns what a record's signature speaks about.
func payloadOf(r reconcile.Record) (string, bool, error) {
	if r.MediaType == LegacyMediaType {
		return string(r.Payload), true, nil
	}
	var b struct {
		DsseEnvelope struct{ Payload []byte }
	}
	err := json.Unmarshal(r.Payload, &b)
	return string(b.DsseEnvelope.Payload), len(b.DsseEnvelope.Payload) > 0, err
}
