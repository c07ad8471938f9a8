package sign

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/google/go-cmp/cmp"
	"github.com/sigstore/cosign/v2/pkg/oci/static"
	"github.com/sigstore/sigstore/pkg/signature/dsse"
)

// beside is an image at its source: what lies beside each of its manifests.
type beside map[reconcile.Digest][]reconcile.Record

func (b beside) Beside(_ context.Context, i reconcile.Image) ([]reconcile.Record, error) {
	return b[i.Digest], nil
}

// Tree is an index, digestA, with one platform, digestB.
func (b beside) Tree(context.Context, reconcile.Image) (reconcile.Tree, error) {
	return reconcile.Tree{Root: digestA, Manifests: []reconcile.Manifest{
		{Digest: digestB, Platform: reconcile.Platform{OS: "linux", Architecture: "amd64"}},
		{Digest: digestA, MediaType: "application/vnd.oci.image.index.v1+json", Children: []reconcile.Digest{digestB}},
	}}, nil
}

func trust(s *Signer) reconcile.Trust { return reconcile.Trust{Key: string(s.PublicKey().PEM())} }

func upstreamImage(t testing.TB) reconcile.Image {
	return reconcile.Image{Repo: repo(t, "registry.example.com/app"), Digest: digestA}
}

func proofs(t *testing.T, b beside, trusted reconcile.Trust) []reconcile.Proof {
	t.Helper()
	out, err := NewWitness(b, nil).Proofs(t.Context(), upstreamImage(t), trusted)
	if err != nil {
		t.Fatal(err)
	}
	for i := range out {
		if out[i].Trust != trusted {
			t.Errorf("proof %d names another trust", i)
		}
		out[i].Trust = reconcile.Trust{}
	}
	return out
}

// attestationOf is an attestation in cosign's first format.
func attestationOf(t testing.TB, s *Signer, payloadType, statement string) reconcile.Record {
	t.Helper()
	envelope, err := dsse.WrapSigner(s.key, payloadType).SignMessage(strings.NewReader(statement))
	if err != nil {
		t.Fatal(err)
	}
	return reconcile.Record{MediaType: "application/vnd.dsse.envelope.v1+json", Payload: envelope, Annotations: map[string]string{"predicateType": "https://cosign.sigstore.dev/attestation/v1"}}
}

const inTotoType = "application/vnd.in-toto+json"

// inTotoOf is a statement as others write it: a version of in-toto's, several subjects, any name.
func inTotoOf(version, predicateType, predicate string, digests ...string) string {
	var subjects []string
	for _, d := range digests {
		subjects = append(subjects, `{"name":"anything at all","digest":{"sha256":"`+d+`"}}`)
	}
	return `{"_type":"https://in-toto.io/Statement/` + version + `","subject":[` + strings.Join(subjects, ",") + `],"predicateType":"` + predicateType + `","predicate":` + predicate + `}`
}

// simpleOf is a signature's payload as the cosign command writes it where an image is pushed.
func simpleOf(digest, kind string) string {
	return `{"critical":{"identity":{"docker-reference":"localhost:5000/Anything@x"},"image":{"docker-manifest-digest":"` + digest + `"},"type":"` + kind + `"},"optional":null}`
}

const cosignKind = "cosign container image signature"

func TestWhatOthersSignedIsRead(t *testing.T) {
	s := newSigner(t, "upstream")
	a, b := digestA.Hex(), digestB.Hex()
	const provenance = "https://slsa.dev/provenance/v1"
	for name, c := range map[string]struct {
		record reconcile.Record
		want   reconcile.Proof
	}{
		"a signature":                 {legacyOf(t, s, simpleOf("sha256:"+a, cosignKind)), reconcile.Proof{}},
		"a signature in a bundle":     {bundleOf(t, s, inTotoType, inTotoOf("v1", "https://sigstore.dev/cosign/sign/v1", "{}", a)), reconcile.Proof{}},
		"provenance":                  {bundleOf(t, s, inTotoType, inTotoOf("v1", provenance, `{ "runDetails": {} }`, a)), reconcile.Proof{PredicateType: provenance, Predicate: `{"runDetails":{}}`}},
		"provenance in a tag":         {attestationOf(t, s, inTotoType, inTotoOf("v0.1", "https://slsa.dev/provenance/v0.2", `{"builder":{}}`, a)), reconcile.Proof{PredicateType: "https://slsa.dev/provenance/v0.2", Predicate: `{"builder":{}}`}},
		"about several":               {bundleOf(t, s, inTotoType, inTotoOf("v1", provenance, `{}`, b, a)), reconcile.Proof{PredicateType: provenance, Predicate: "{}"}},
		"OpenVEX":                     {bundleOf(t, s, inTotoType, inTotoOf("v0.1", "https://openvex.dev/ns/v0.2.0", `{"a":1}`, a)), reconcile.Proof{PredicateType: "https://openvex.dev/ns/v0.2.0", Predicate: `{"a":1}`}},
		"another predicate":           {bundleOf(t, s, inTotoType, inTotoOf("v1", "https://cyclonedx.org/bom", `{"a":1}`, a)), reconcile.Proof{PredicateType: "https://cyclonedx.org/bom"}},
		"provenance that is huge":     {bundleOf(t, s, inTotoType, inTotoOf("v1", provenance, `{"a":"`+strings.Repeat("x", maxPredicate)+`"}`, a)), reconcile.Proof{PredicateType: provenance}},
		"what an annotation says":     {annotate(bundleOf(t, s, inTotoType, inTotoOf("v1", provenance, `{}`, a)), predicateTypeAnnotation, "https://sigstore.dev/cosign/sign/v1"), reconcile.Proof{PredicateType: provenance, Predicate: "{}"}},
		"what we would write, as one": {raw(mustSign(t, s, statement(t, reconcile.Legacy))), reconcile.Proof{}},
	} {
		t.Run(name, func(t *testing.T) {
			c.want.Subject = digestA
			if diff := cmp.Diff([]reconcile.Proof{c.want}, proofs(t, beside{digestA: {c.record}}, trust(s)), cmp.AllowUnexported(reconcile.Digest{})); diff != "" {
				t.Error(diff)
			}
			if got := proofs(t, beside{digestA: {c.record}}, trust(newSigner(t, "other"))); len(got) > 0 {
				t.Errorf("by a key that signed nothing: %+v", got)
			}
		})
	}
	both := beside{digestA: {legacyOf(t, s, simpleOf("sha256:"+a, cosignKind))}, digestB: {legacyOf(t, s, simpleOf("sha256:"+b, cosignKind))}}
	if got := proofs(t, both, trust(s)); len(got) != 2 || got[0].Subject != digestB || got[1].Subject != digestA {
		t.Errorf("of an index and its platform: %+v", got)
	}
}

// Beside what is hostile, what is valid still counts, and nothing panics.
func TestWhatIsNoProof(t *testing.T) {
	s := newSigner(t, "upstream")
	a, b := digestA.Hex(), digestB.Hex()
	good := legacyOf(t, s, simpleOf("sha256:"+a, cosignKind))
	hostile := map[string]reconcile.Record{
		// cosign v2.6.5 dies of this one, in a goroutine of its own
		"log entry whose body is a number":     annotate(good, static.BundleAnnotationKey, `{"SignedEntryTimestamp":"AA==","Payload":{"body":1,"integratedTime":1,"logIndex":1,"logID":"x"}}`),
		"log entry that is no JSON":            annotate(good, static.BundleAnnotationKey, `{`),
		"signature of another digest":          legacyOf(t, s, simpleOf("sha256:"+b, cosignKind)),
		"signature of another type":            legacyOf(t, s, simpleOf("sha256:"+a, "atomic container signature")),
		"signature that is no JSON":            legacyOf(t, s, "sha256:"+a),
		"signature without signature":          annotate(good, static.SignatureAnnotationKey, ""),
		"signature with huge annotations":      annotate(good, "x", strings.Repeat("x", maxValue)),
		"huge signature":                       legacyOf(t, s, strings.Repeat(" ", maxLegacy+1)),
		"bundle of another digest":             bundleOf(t, s, inTotoType, inTotoOf("v1", "https://sigstore.dev/cosign/sign/v1", "{}", b)),
		"bundle about nothing":                 bundleOf(t, s, inTotoType, inTotoOf("v1", "https://sigstore.dev/cosign/sign/v1", "{}")),
		"bundle of other content":              bundleOf(t, s, "text/plain", inTotoOf("v1", "https://sigstore.dev/cosign/sign/v1", "{}", a)),
		"bundle of an unknown statement":       bundleOf(t, s, inTotoType, inTotoOf("v9", "https://sigstore.dev/cosign/sign/v1", "{}", a)),
		"bundle without predicate type":        bundleOf(t, s, inTotoType, inTotoOf("v1", "", "{}", a)),
		"provenance whose predicate is a list": bundleOf(t, s, inTotoType, inTotoOf("v1", "https://slsa.dev/provenance/v1", "[1]", a)),
		"attestation of another digest":        attestationOf(t, s, inTotoType, inTotoOf("v0.1", "https://slsa.dev/provenance/v1", "{}", b)),
		"attestation of other content":         attestationOf(t, s, "text/plain", inTotoOf("v0.1", "https://slsa.dev/provenance/v1", "{}", a)),
		"attestation that is no envelope":      {MediaType: "application/vnd.dsse.envelope.v1+json", Payload: []byte(`[]`)},
		"envelope without signatures":          {MediaType: "application/vnd.dsse.envelope.v1+json", Payload: []byte(`{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[]}`)},
		"numbers where texts belong":           {MediaType: "application/vnd.dsse.envelope.v1+json", Payload: []byte(`{"payloadType":1,"payload":2,"signatures":[{"sig":3}]}`)},
		"nothing":                              {MediaType: BundleMediaType},
		"something else":                       {MediaType: "application/spdx+json", Payload: []byte("{}")},
	}
	all := []reconcile.Record{}
	for name, r := range hostile {
		if got := proofs(t, beside{digestA: {r}}, trust(s)); len(got) != 0 {
			t.Errorf("%s: %+v", name, got)
		}
		all = append(all, r)
	}
	if got := proofs(t, beside{digestA: append(all, good)}, trust(s)); len(got) != 1 {
		t.Errorf("the one that is valid among others: %+v", got)
	}
}

func TestAPanicSpoilsNoOtherRecord(t *testing.T) {
	open := func(_ context.Context, _ reconcile.Digest, r reconcile.Record) (signed, error) {
		panic("a library's")
	}
	if p, err := prove(t.Context(), open, digestA, reconcile.Record{}); err == nil || p != (reconcile.Proof{}) {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestWhatAnIdentitySigned(t *testing.T) {
	s, other := newSigstore(t), newSigstore(t)
	now := time.Now()
	by := func(s *sigstore, who reconcile.Trust, predicateType string) reconcile.Record {
		b := s.attest(t, []byte(inTotoOf("v1", predicateType, "{}", digestB.Hex(), digestA.Hex())), made{trust: who, issued: now.Add(-time.Minute), stamped: now, logged: now})
		return reconcile.Record{MediaType: BundleMediaType, Payload: asJSON(t, b)}
	}
	const signature, provenance = "https://sigstore.dev/cosign/sign/v1", "https://slsa.dev/provenance/v1"
	stranger := reconcile.Trust{Issuer: acme.Issuer, Subject: "https://github.com/evil/x"}
	source := beside{digestA: {by(s, acme, signature), by(s, acme, provenance), by(s, stranger, signature), by(other, acme, signature),
		bundleOf(t, newSigner(t, "key"), inTotoType, inTotoOf("v1", signature, "{}", digestA.Hex()))}}
	roots := func(_ context.Context, instance string) (*Certificates, error) {
		return map[string]*sigstore{"": s, "private": other}[instance].certificates(t, true), nil
	}
	private := acme
	private.Instance = "private"
	if got, err := NewWitness(source, roots).Proofs(t.Context(), upstreamImage(t), private); err != nil || len(got) != 1 || got[0].Trust != private {
		t.Errorf("by the same identity in another instance: %+v, %v", got, err)
	}
	got, err := NewWitness(source, roots).Proofs(t.Context(), upstreamImage(t), acme)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].PredicateType != "" || got[1].PredicateType != provenance || got[1].Predicate != "{}" {
		t.Fatalf("%+v", got)
	}
	for _, p := range got {
		if p.Trust != acme || p.Signer != acme.Subject || p.Subject != digestA || now.Sub(p.Time).Abs() > time.Minute {
			t.Errorf("%+v", p)
		}
	}
}

func TestAnIdentityIsUnknownWithoutATrustedRoot(t *testing.T) {
	s := newSigstore(t)
	roots := func(context.Context, string) (*Certificates, error) { return s.certificates(t, true), nil }
	for _, nobody := range []reconcile.Trust{{}, {Issuer: "https://a"}, {Key: "x", Subject: "y"}, {Key: "no key"}, {Issuer: "https://a", Subject: "^x"}} {
		if _, err := NewWitness(beside{}, roots).Proofs(t.Context(), upstreamImage(t), nobody); err == nil {
			t.Errorf("%+v is trusted", nobody)
		}
	}
	unreachable := func(context.Context, string) (*Certificates, error) { return nil, reconcile.ErrUnavailable }
	for _, roots := range []Roots{nil, unreachable} {
		if _, err := NewWitness(beside{}, roots).Proofs(t.Context(), upstreamImage(t), acme); err == nil {
			t.Error("nobody could be asked, and there is said to be nothing")
		}
	}
}

type unreadable struct{ beside }

func (unreadable) Beside(context.Context, reconcile.Image) ([]reconcile.Record, error) {
	return nil, reconcile.ErrUnavailable
}

func TestASourceThatCannotBeReadProvesNothing(t *testing.T) {
	s := newSigner(t, "upstream")
	if _, err := NewWitness(unreadable{}, nil).Proofs(t.Context(), upstreamImage(t), trust(s)); !errors.Is(err, reconcile.ErrUnavailable) {
		t.Errorf("%v", err)
	}
	many := beside{}
	for range maxProofs + 1 {
		many[digestA] = append(many[digestA], legacyOf(t, s, simpleOf(digestA.String(), cosignKind)))
	}
	if _, err := NewWitness(many, nil).Proofs(t.Context(), upstreamImage(t), trust(s)); err == nil {
		t.Error("more proofs than can be kept are no error")
	}
}

// Whatever lies beside an image, reading it ends, without a panic, and nothing counts that the key did not sign.
func FuzzProofs(f *testing.F) {
	s := newSigner(f, "upstream")
	valid := map[string]bool{}
	for _, r := range []reconcile.Record{legacyOf(f, s, simpleOf(digestA.String(), cosignKind)), bundleOf(f, s, inTotoType, inTotoOf("v1", "https://slsa.dev/provenance/v1", "{}", digestA.Hex())),
		attestationOf(f, s, inTotoType, inTotoOf("v0.1", "https://slsa.dev/provenance/v0.2", "{}", digestA.Hex()))} {
		b, _, _ := payloadOf(r)
		valid[b] = true
		f.Add(r.MediaType, r.Payload, r.Annotations[static.SignatureAnnotationKey], "")
	}
	key := s.PublicKey()
	f.Fuzz(func(t *testing.T, mediaType string, payload []byte, sig, entry string) {
		r := reconcile.Record{MediaType: mediaType, Payload: payload, Annotations: map[string]string{static.SignatureAnnotationKey: sig, static.BundleAnnotationKey: entry}}
		if _, err := prove(t.Context(), key.open, digestA, r); err != nil || mediaType == "application/vnd.dsse.envelope.v1+json" {
			return
		}
		if b, ok, err := payloadOf(r); err != nil || !ok || !valid[b] {
			t.Errorf("a proof that was never signed: %s", payload)
		}
	})
}
