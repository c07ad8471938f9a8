// Package sign signs statements about images, and verifies them, as the cosign command does. It is the only importer of cosign and sigstore-go.
//
// A Signer has a key, and sends nothing anywhere: no transparency log, no timestamp authority. A KeylessSigner has an identity, for which a Sigstore
// instance gives it short-lived certificates; its signatures are timestamped and logged as that instance's signing configuration says.
//
// Two formats are written (see reconcile.Format): cosign's first one, a "simple signing" payload with the signature as annotation, and
// Sigstore bundles v0.3 that hold a DSSE envelope around an in-toto statement v1. The manifests around them are the registry's business.
package sign

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/assay-oci/assay/reconcile"
	cbundle "github.com/sigstore/cosign/v2/pkg/cosign/bundle"
	"github.com/sigstore/cosign/v2/pkg/oci/static"
	"github.com/sigstore/cosign/v2/pkg/types"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/dsse"
)

// BundleMediaType is the media type of a Sigstore bundle v0.3, and the artifact type of the manifest that holds it.
const BundleMediaType = "application/vnd.dev.sigstore.bundle.v0.3+json"

// LegacyMediaType is the media type of the layer that holds a signature's payload in cosign's first format.
const LegacyMediaType = string(types.SimpleSigningMediaType)

// Annotations that the cosign command puts on the manifest of a bundle.
const (
	createdAnnotation       = "org.opencontainers.image.created"
	contentAnnotation       = "dev.sigstore.bundle.content"
	predicateTypeAnnotation = "dev.sigstore.bundle.predicateType"
)

// Options say with which key to sign.
type Options struct {
	// Name is the signer's name, which its statements bear.
	Name string
	// Key refers to a private key: the path of a file, file:// and an absolute path, env:// and a variable's name, k8s://namespace/secret, or a key of a
	// management service (awskms://, azurekms://, gcpkms://, hashivault://, in sigstore's spelling). A file, variable or secret holds, in PEM, what
	// `cosign generate-key-pair` wrote or an unencrypted RSA, ECDSA or Ed25519 key.
	Key string
	// Password is asked for the password of an encrypted key if neither ASSAY_KEY_PASSWORD nor COSIGN_PASSWORD is set. It may be nil.
	Password func(context.Context) ([]byte, error)
}

// A Signer signs with one key. It implements reconcile.Signer and may be used concurrently.
type Signer struct {
	name string
	key  signature.SignerVerifier
	pub  PublicKey
}

var _ reconcile.Signer = (*Signer)(nil)

// New loads the key, which takes about a second if it is encrypted.
func New(ctx context.Context, o Options) (*Signer, error) {
	key, err := load(ctx, o.Key, o.Password)
	if err != nil {
		return nil, fmt.Errorf("signer %q: %w", o.Name, err)
	}
	raw, err := key.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("signer %q: %w", o.Name, err)
	}
	pub, err := newPublicKey(raw)
	if err != nil {
		return nil, fmt.Errorf("signer %q: %w", o.Name, err)
	}
	return &Signer{name: o.Name, key: key, pub: pub}, nil
}

// PublicKey returns the key that verifies what the signer makes.
func (s *Signer) PublicKey() PublicKey { return s.pub }

// Sign makes the record of a signature or, if the statement has a predicate type, of an attestation, and verifies it before it returns it.
// The record's statement is the one that was read back: its time has whole seconds, its predicate no superfluous white space.
func (s *Signer) Sign(ctx context.Context, st reconcile.Statement) (reconcile.Record, error) {
	st.Signer, st.Time = s.name, st.Time.UTC().Truncate(time.Second)
	r, err := s.sign(ctx, st)
	if err != nil {
		return reconcile.Record{}, fmt.Errorf("sign %s as %q: %w", st.Subject.Short(), s.name, err)
	}
	checked := verifyRecord(ctx, trusted{keys: []namedKey{{s.name, s.pub}}}, st.Subject, r)
	if checked.Problem != "" {
		return reconcile.Record{}, fmt.Errorf("sign %s as %q: the new record is not valid: %s", st.Subject.Short(), s.name, checked.Problem)
	}
	if !same(checked.Statement, st) {
		return reconcile.Record{}, fmt.Errorf("sign %s as %q: the new record does not say what was to be signed", st.Subject.Short(), s.name)
	}
	return checked, nil
}

func (s *Signer) sign(ctx context.Context, st reconcile.Statement) (reconcile.Record, error) {
	if err := ctx.Err(); err != nil {
		return reconcile.Record{}, err
	}
	if err := checkStatement(st); err != nil {
		return reconcile.Record{}, err
	}
	if st.Format == reconcile.Legacy {
		return s.signLegacy(st)
	}
	return s.signBundle(st)
}

func (s *Signer) signLegacy(st reconcile.Statement) (reconcile.Record, error) {
	b, err := legacyPayload(st)
	if err != nil {
		return reconcile.Record{}, err
	}
	sig, err := s.key.SignMessage(bytes.NewReader(b))
	if err != nil {
		return reconcile.Record{}, err
	}
	layer, err := static.NewSignature(b, base64.StdEncoding.EncodeToString(sig))
	if err != nil {
		return reconcile.Record{}, err
	}
	annotations, err := layer.Annotations()
	if err != nil {
		return reconcile.Record{}, err
	}
	return reconcile.Record{Statement: st, MediaType: LegacyMediaType, Payload: b, Annotations: annotations}, nil
}

func (s *Signer) signBundle(st reconcile.Statement) (reconcile.Record, error) {
	b, err := bundlePayload(st)
	if err != nil {
		return reconcile.Record{}, err
	}
	envelope, err := dsse.WrapSigner(s.key, types.IntotoPayloadType).SignMessage(bytes.NewReader(b))
	if err != nil {
		return reconcile.Record{}, err
	}
	pub, err := s.key.PublicKey()
	if err != nil {
		return reconcile.Record{}, err
	}
	made, err := cbundle.MakeNewBundle(pub, nil, b, envelope, nil, nil)
	if err != nil {
		return reconcile.Record{}, err
	}
	return bundleRecord(st, made)
}

// same compares what was read back with what was to be signed; white space in a predicate means nothing.
func same(got, want reconcile.Statement) bool {
	var a, b bytes.Buffer
	if want.Predicate != "" && (json.Compact(&a, []byte(got.Predicate)) != nil || json.Compact(&b, []byte(want.Predicate)) != nil) {
		return false
	}
	got.Predicate, want.Predicate = a.String(), b.String()
	return got == want
}
