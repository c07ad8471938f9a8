package sign

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/cosign/v2/pkg/oci/static"
	"github.com/sigstore/cosign/v2/pkg/types"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/verify"
	sigdsse "github.com/sigstore/sigstore/pkg/signature/dsse"
	"github.com/sigstore/sigstore/pkg/signature/payload"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Upstream reads what lies beside an image where it comes from, and the shape of the image.
type Upstream interface {
	// Beside returns all that anybody has attached, unverified, or an error.
	Beside(context.Context, reconcile.Image) ([]reconcile.Record, error)
	Tree(context.Context, reconcile.Image) (reconcile.Tree, error)
}

// Roots gives the certificates of a Sigstore instance whose identities are trusted upstream, by its name; the empty name is the public one's. It is called
// once for each question about an identity, and may be called concurrently.
type Roots func(ctx context.Context, instance string) (*Certificates, error)

// A Witness reads what others signed about an image where it comes from. It implements reconcile.Witness and may be used concurrently.
//
// Keys and certificates are verified in both of cosign's formats.
type Witness struct {
	source Upstream
	roots  Roots
}

var _ reconcile.Witness = (*Witness)(nil)

// NewWitness returns a witness. Roots may be nil; then, and where it fails, what an identity signed is unknown, never absent.
func NewWitness(source Upstream, roots Roots) *Witness { return &Witness{source, roots} }

// Bounds on what is kept of others' words: it goes into a record of our own.
const (
	maxProofs    = 200     // by one trust, about one image
	maxPredicate = 1 << 20 // bytes of one predicate
	maxKept      = 4 << 20 // bytes of all predicates by one trust
	maxStatement = 8 << 20 // bytes of a statement; a bill of materials is large
	maxSubjects  = 1000    // digests of which one statement speaks
	slsaPrefix   = "https://slsa.dev/provenance/"
	vexPrefix    = "https://openvex.dev/ns"
)

// Proofs returns what one trust signed about an image's root and each of its runnable manifests: signatures and attestations, verified. What is not
// valid, or somebody else's, is no proof and is left out. Predicates are kept of SLSA provenance and OpenVEX alone, up to 1 MiB each: of others, only that
// they exist. A registry that could not be read is an error.
func (w *Witness) Proofs(ctx context.Context, image reconcile.Image, t reconcile.Trust) ([]reconcile.Proof, error) {
	open, err := w.opener(ctx, t)
	if err != nil {
		return nil, fmt.Errorf("verify who signed %s: %w", image, err)
	}
	tree, err := w.source.Tree(ctx, image)
	if err != nil {
		return nil, err
	}
	out := []reconcile.Proof{}
	kept := 0
	for _, d := range tree.Signed() {
		records, err := w.source.Beside(ctx, reconcile.Image{Repo: image.Repo, Digest: d})
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			p, err := prove(ctx, open, d, r)
			if err != nil {
				continue
			}
			p.Trust = t
			out, kept = append(out, p), kept+len(p.Predicate)
		}
	}
	if len(out) > maxProofs || kept > maxKept {
		return nil, fmt.Errorf("verify who signed %s: there are %d records with %d bytes of predicates by one signer, more than %d and %d", image, len(out), kept, maxProofs, maxKept)
	}
	return out, nil
}

// An opener verifies what one record signs: it returns a simple signing payload or an in-toto statement, who signed it, and when. What the content says is
// left to the caller, but for bundles by certificate, whose digest is verified too.
type opener func(context.Context, reconcile.Digest, reconcile.Record) (signed, error)

// signed is content whose signature was verified.
type signed struct {
	content   []byte
	statement bool // whether it is an in-toto statement; else a simple signing payload
	signer    string
	at        time.Time
}

func (w *Witness) opener(ctx context.Context, t reconcile.Trust) (opener, error) {
	switch {
	case t.Key != "" && (t.Issuer != "" || t.Subject != "" || t.Instance != ""):
		return nil, errors.New("either a key or an identity must say whom to trust")
	case t.Key != "":
		k, err := ParsePublicKey([]byte(t.Key))
		return k.open, err
	case w.roots == nil:
		return nil, errors.New("certificates are not verifiable without a trusted root")
	}
	if err := t.CheckIdentity(); err != nil {
		return nil, err
	}
	certificates, err := w.roots(ctx, t.Instance)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, d reconcile.Digest, r reconcile.Record) (signed, error) {
		switch {
		case r.MediaType == LegacyMediaType, r.MediaType == types.DssePayloadType:
			return certificates.openLegacy(ctx, d, r, t)
		case isBundle(r.MediaType):
			c, err := certificates.Verify(ctx, r.Payload, d, t)
			return signed{c.Statement, true, c.Signer, c.Time}, err
		}
		return signed{}, errors.New("neither a signature nor an attestation")
	}, nil
}

// isBundle tells the media types of Sigstore bundles, of any version.
func isBundle(mediaType string) bool {
	return strings.HasPrefix(mediaType, "application/vnd.dev.sigstore.bundle")
}

// prove verifies one record, alone: whatever it holds, it spoils no other, and makes nothing panic.
func prove(ctx context.Context, open opener, subject reconcile.Digest, r reconcile.Record) (p reconcile.Proof, err error) {
	defer func() {
		if x := recover(); x != nil { // the libraries have panicked on hostile input before
			p, err = reconcile.Proof{}, errors.New("malformed: it can't be parsed")
		}
	}()
	if size(r.Annotations) > maxValue || len(r.Payload) > maxBundle {
		return p, errors.New("malformed: it is too large")
	}
	s, err := open(ctx, subject, r)
	if err != nil {
		return p, err
	}
	p = reconcile.Proof{Subject: subject, Signer: s.signer, Time: s.at.UTC()}
	if !s.statement {
		return p, checkSimple(s.content, subject)
	}
	p.PredicateType, p.Predicate, err = readUpstream(s.content, subject)
	return p, err
}

// open verifies a record by one key, in either of cosign's formats.
func (k PublicKey) open(ctx context.Context, subject reconcile.Digest, r reconcile.Record) (signed, error) {
	switch {
	case r.MediaType == LegacyMediaType:
		return k.openSignature(ctx, subject, r)
	case r.MediaType == types.DssePayloadType:
		return k.openEnvelope(r.Payload)
	case isBundle(r.MediaType):
		return k.openBundle(ctx, r.Payload)
	}
	return signed{}, errors.New("neither a signature nor an attestation")
}

func (k PublicKey) openSignature(ctx context.Context, subject reconcile.Digest, r reconcile.Record) (signed, error) {
	sig := r.Annotations[static.SignatureAnnotationKey]
	if len(r.Payload) > maxLegacy || sig == "" {
		return signed{}, errors.New("malformed: it is too large, or bears no signature")
	}
	if err := checkLogEntry(r.Annotations[static.BundleAnnotationKey]); err != nil {
		return signed{}, err
	}
	layer, err := static.NewSignature(r.Payload, sig)
	if err != nil {
		return signed{}, err
	}
	hash, err := v1.NewHash(subject.String())
	if err != nil {
		return signed{}, err
	}
	_, err = cosign.VerifyImageSignature(ctx, layer, hash, &cosign.CheckOpts{SigVerifier: k.verifier, IgnoreTlog: true})
	return signed{content: r.Payload}, err
}

// openEnvelope verifies an attestation in cosign's first format. It is parsed once, and what is verified is what was parsed.
func (k PublicKey) openEnvelope(b []byte) (signed, error) {
	var e dsse.Envelope
	if err := json.Unmarshal(b, &e); err != nil {
		return signed{}, errors.New("malformed: it is not an envelope")
	}
	if e.PayloadType != types.IntotoPayloadType {
		return signed{}, errors.New("its payload is not an in-toto statement")
	}
	canonical, err := json.Marshal(e)
	if err != nil {
		return signed{}, err
	}
	if err := sigdsse.WrapVerifier(k.verifier).VerifySignature(bytes.NewReader(canonical), nil); err != nil {
		return signed{}, errOtherKey
	}
	content, err := e.DecodeB64Payload()
	return signed{content: content, statement: true}, err
}

func (k PublicKey) openBundle(ctx context.Context, raw []byte) (signed, error) {
	var b bundle.Bundle
	if err := b.UnmarshalJSON(raw); err != nil {
		return signed{}, errors.New("malformed: it is not a Sigstore bundle")
	}
	envelope := b.GetDsseEnvelope()
	switch {
	case envelope == nil || envelope.PayloadType != types.IntotoPayloadType:
		return signed{}, errors.New("its payload is not an in-toto statement")
	case b.GetVerificationMaterial().GetPublicKey() == nil:
		return signed{}, errors.New("signed with a certificate, not by a key")
	}
	if err := checkBundle(ctx, &b, k, verify.WithoutArtifactUnsafe()); err != nil {
		return signed{}, errOtherKey
	}
	return signed{content: envelope.Payload, statement: true}, nil
}

// checkSimple checks that a simple signing payload is a signature of the digest. Its docker-reference is anything: it names wherever the image lay when
// it was signed.
func checkSimple(b []byte, subject reconcile.Digest) error {
	var p payload.SimpleContainerImage
	switch err := json.Unmarshal(b, &p); {
	case err != nil:
		return errors.New("malformed: the payload is not a signature's JSON")
	case p.Critical.Type != payload.CosignSignatureType:
		return errors.New("not a signature: the payload is of another type")
	case p.Critical.Image.DockerManifestDigest != subject.String():
		return fmt.Errorf("about another digest, not %s", subject.Short())
	}
	return nil
}

// Versions of in-toto's statement that others write.
const oldStatementType = "https://in-toto.io/Statement/v0.1"

// readUpstream reads an in-toto statement of somebody else that must be about the digest, among others perhaps. It returns an empty predicate type for a
// signature. Signed is the type: what a manifest's annotations say of it counts for nothing.
func readUpstream(b []byte, subject reconcile.Digest) (predicateType, predicate string, err error) {
	var st inToto
	if len(b) > maxStatement || json.Unmarshal(b, &st) != nil {
		return "", "", errNoStatement
	}
	switch {
	case st.Type != statementType && st.Type != oldStatementType:
		return "", "", errors.New("not an in-toto statement of a known version")
	case st.PredicateType == "" || len(st.PredicateType) > 500:
		return "", "", errors.New("malformed: the statement has no predicate type")
	case len(st.Subject) > maxSubjects || !about(st.Subject, subject):
		return "", "", fmt.Errorf("about another digest, not %s", subject.Short())
	case st.PredicateType == types.CosignSignPredicateType:
		return "", "", nil
	case !judged(st.PredicateType) || len(st.Predicate) > maxPredicate:
		return st.PredicateType, "", nil
	case !isObject(string(st.Predicate)):
		return "", "", errors.New("malformed: the attestation has no predicate")
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, st.Predicate); err != nil {
		return "", "", errNoStatement
	}
	return st.PredicateType, compact.String(), nil
}

func about(subjects []resource, d reconcile.Digest) bool {
	for _, s := range subjects {
		if s.Digest[d.Algorithm()] == d.Hex() {
			return true
		}
	}
	return false
}

// judged tells the predicates that rules read.
func judged(predicateType string) bool {
	return strings.HasPrefix(predicateType, slsaPrefix) || strings.HasPrefix(predicateType, vexPrefix)
}
