package sign

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/assay-oci/assay/reconcile"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/cosign/v2/pkg/oci/static"
	"github.com/sigstore/cosign/v2/pkg/types"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// Bounds on what anybody who can write beside an image makes us read.
const (
	maxRecords = 1000      // about one image
	maxLegacy  = 64 << 10  // bytes of a simple signing payload
	maxBundle  = 64 << 20  // bytes of a bundle; inventories are large
	maxValue   = 256 << 10 // bytes of all annotations
)

// A Source reads records as they lie beside an image, unverified. It returns all of them or an error.
type Source interface {
	Attached(context.Context, reconcile.Image) ([]reconcile.Record, error)
}

// A Verifier reads and verifies records. It implements reconcile.Verifier and may be used concurrently.
type Verifier struct {
	trusted trusted
	source  Source
}

var _ reconcile.Verifier = (*Verifier)(nil)

// trusted is whom a verifier accepts.
type trusted struct {
	keys       []namedKey
	identities []Identity
}

type namedKey struct {
	name string
	key  PublicKey
}

// NewVerifier returns a verifier that accepts the given keys, by the names of their signers, and the identities.
func NewVerifier(keys map[string]PublicKey, source Source, identities ...Identity) *Verifier {
	v := &Verifier{source: source, trusted: trusted{identities: identities}}
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		v.trusted.keys = append(v.trusted.keys, namedKey{name, keys[name]})
	}
	return v
}

// Records returns everything attached to the image. A record that is valid has no Problem, and its Statement is what was signed; of one
// that isn't, nothing in Statement can be relied upon but its format, and Problem says why, in a person's words.
func (v *Verifier) Records(ctx context.Context, image reconcile.Image) ([]reconcile.Record, error) {
	found, err := v.source.Attached(ctx, image)
	if err != nil {
		return nil, fmt.Errorf("read the records about %s: %w", image, err)
	}
	if len(found) > maxRecords {
		return nil, fmt.Errorf("read the records about %s: there are %d, more than %d; delete those that are not needed", image, len(found), maxRecords)
	}
	out := make([]reconcile.Record, 0, len(found))
	for _, r := range found {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("verify the records about %s: %w", image, err)
		}
		out = append(out, verifyRecord(ctx, v.trusted, image.Digest, r))
	}
	return out, nil
}

// verifyRecord fills the record's statement or its problem. Nothing that it is given makes it panic.
func verifyRecord(ctx context.Context, t trusted, subject reconcile.Digest, r reconcile.Record) (out reconcile.Record) {
	r.Problem = ""
	r.Statement = reconcile.Statement{Format: format(r), Subject: subject}
	defer func() {
		if p := recover(); p != nil { // the libraries have panicked on hostile input before
			out = invalid(r, errors.New("malformed: it can't be parsed"))
		}
	}()
	verified := r
	var err error
	switch {
	case size(r.Annotations) > maxValue:
		err = errors.New("malformed: its annotations are too large")
	case r.MediaType == LegacyMediaType:
		err = verifyLegacy(ctx, t.keys, &verified)
	case r.MediaType == BundleMediaType:
		err = verifyBundle(ctx, t, &verified)
	case r.MediaType == types.DssePayloadType:
		err = errors.New("an attestation in cosign's first format, which is not read")
	default:
		err = errors.New("neither a signature nor an attestation")
	}
	if err != nil {
		return invalid(r, err)
	}
	return verified
}

func invalid(r reconcile.Record, err error) reconcile.Record {
	r.Problem = err.Error()
	return r
}

func format(r reconcile.Record) reconcile.Format {
	switch r.MediaType {
	case LegacyMediaType, types.DssePayloadType:
		return reconcile.Legacy
	case BundleMediaType:
		return reconcile.Bundle
	}
	return r.Statement.Format
}

func size(annotations map[string]string) (n int) {
	for k, v := range annotations {
		n += len(k) + len(v)
	}
	return n
}

var (
	errOtherKey    = errors.New("signed by another key")
	errChanged     = errors.New("its content does not match its signature: it was changed after it was signed, or is malformed")
	errNoStatement = errors.New("malformed: the signed content is not an in-toto statement")
)

func verifyLegacy(ctx context.Context, keys []namedKey, r *reconcile.Record) error {
	if len(r.Payload) > maxLegacy {
		return errors.New("malformed: the payload is too large")
	}
	sig := r.Annotations[static.SignatureAnnotationKey]
	if sig == "" {
		return errors.New("malformed: it bears no signature")
	}
	if err := checkLogEntry(r.Annotations[static.BundleAnnotationKey]); err != nil {
		return err
	}
	layer, err := static.NewSignature(r.Payload, sig)
	if err != nil {
		return errors.New("malformed: it can't be parsed")
	}
	hash, err := v1.NewHash(r.Statement.Subject.String())
	if err != nil {
		return errors.New("about a digest that cosign can't sign in its first format")
	}
	signer, err := firstThat(keys, func(k PublicKey) error {
		_, err := cosign.VerifyImageSignature(ctx, layer, hash, &cosign.CheckOpts{SigVerifier: k.verifier, IgnoreTlog: true})
		return err
	})
	if err != nil {
		return errors.New("signed by another key, or changed after it was signed") // the format doesn't tell which
	}
	r.Statement.Signer = signer
	if err := cosign.SimpleClaimVerifier(layer, hash, nil); err != nil {
		return fmt.Errorf("about another digest, not %s", r.Statement.Subject.Short())
	}
	return readLegacyPayload(&r.Statement, r.Payload)
}

// checkLogEntry refuses an entry of a transparency log on which the cosign command v2 ends with a panic. The entry isn't verified: a
// key's signature stands without it.
func checkLogEntry(annotation string) error {
	if annotation == "" {
		return nil
	}
	var entry struct {
		Payload struct {
			Body string `json:"body"`
		}
	}
	if err := json.Unmarshal([]byte(annotation), &entry); err != nil {
		return errors.New("malformed: its log entry can't be parsed")
	}
	return nil
}

func verifyBundle(ctx context.Context, t trusted, r *reconcile.Record) error {
	if len(r.Payload) > maxBundle {
		return errors.New("malformed: the bundle is too large")
	}
	var b bundle.Bundle
	if err := b.UnmarshalJSON(r.Payload); err != nil {
		return errors.New("malformed: it is not a Sigstore bundle")
	}
	envelope := b.GetDsseEnvelope()
	switch {
	case envelope == nil:
		return errors.New("a signature over content, not a statement about an image")
	case envelope.PayloadType != types.IntotoPayloadType:
		return errors.New("its payload is not an in-toto statement")
	case !isObject(string(envelope.Payload)):
		return errNoStatement
	case b.GetVerificationMaterial().GetPublicKey() == nil:
		return verifyCertificate(&b, t.identities, r)
	case len(t.keys) == 0 && len(t.identities) > 0:
		return errNoCertificate
	}
	keys := t.keys
	signer, err := firstThat(keys, func(k PublicKey) error { return checkBundle(ctx, &b, k, verify.WithoutArtifactUnsafe()) })
	if err != nil && claims(keys, b.GetVerificationMaterial().GetPublicKey().GetHint()) {
		return errChanged
	}
	if err != nil {
		return errOtherKey
	}
	r.Statement.Signer = signer
	if err := readBundlePayload(&r.Statement, envelope.Payload); err != nil {
		return err
	}
	// once more, as the cosign command does it, with the digest: ours is not the only reading of the subject
	digest, err := hex.DecodeString(r.Statement.Subject.Hex())
	if err != nil {
		return err
	}
	_, err = firstThat(keys, func(k PublicKey) error {
		return checkBundle(ctx, &b, k, verify.WithArtifactDigest(r.Statement.Subject.Algorithm(), digest))
	})
	if err != nil {
		return fmt.Errorf("about another digest, not %s", r.Statement.Subject.Short())
	}
	return nil
}

func checkBundle(ctx context.Context, b *bundle.Bundle, k PublicKey, artifact verify.ArtifactPolicyOption) error {
	_, err := cosign.VerifyNewBundle(ctx, &cosign.CheckOpts{
		NewBundleFormat: true,
		IgnoreTlog:      true,
		SigVerifier:     k.verifier,
		TrustedMaterial: root.TrustedMaterialCollection{}, // nothing but the key is trusted
	}, artifact, b)
	return err
}

// claims tells whether a bundle says that one of the keys signed it.
func claims(keys []namedKey, hint string) bool {
	return slices.ContainsFunc(keys, func(k namedKey) bool { return k.key.hint != "" && k.key.hint == hint })
}

// firstThat returns the name of the first key that a check accepts.
func firstThat(keys []namedKey, check func(PublicKey) error) (string, error) {
	for _, k := range keys {
		if k.key.verifier != nil && check(k.key) == nil {
			return k.name, nil
		}
	}
	return "", errOtherKey
}
