package sign

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/assay-oci/assay/reconcile"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/sigstore/cosign/v2/pkg/cosign"
	cbundle "github.com/sigstore/cosign/v2/pkg/cosign/bundle"
	"github.com/sigstore/cosign/v2/pkg/oci"
	"github.com/sigstore/cosign/v2/pkg/oci/static"
	"github.com/sigstore/cosign/v2/pkg/types"
	fulcio "github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// openLegacy verifies a signature or an attestation in cosign's first format that was made with a certificate, and demands what Verify demands: the
// certificate, the log's promise and the timestamp lie in the annotations of its layer. The chain that may lie there too isn't read, for the trusted
// root has its own. What the content says is left to the caller.
func (c *Certificates) openLegacy(ctx context.Context, subject reconcile.Digest, r reconcile.Record, t reconcile.Trust) (signed, error) {
	if r.MediaType == LegacyMediaType && len(r.Payload) > maxLegacy {
		return signed{}, errors.New("malformed: the payload is too large")
	}
	leaf, leafPEM, err := leafOf(r.Annotations)
	if err != nil {
		return signed{}, err
	}
	who, err := fulcio.SummarizeCertificate(leaf)
	if err != nil {
		return signed{}, errors.New("malformed: its certificate can't be read")
	}
	if !t.Matches(who.Issuer, who.SubjectAlternativeName) {
		return signed{}, otherIdentity(who.Issuer, who.SubjectAlternativeName)
	}
	options := []static.Option{static.WithCertChain(leafPEM, nil)}
	entry, err := logEntryOf(r.Annotations)
	if err != nil {
		return signed{}, err
	}
	if entry != nil {
		options = append(options, static.WithBundle(entry))
	}
	stamp, err := timestampOf(r.Annotations)
	if err != nil {
		return signed{}, err
	}
	if stamp != nil {
		options = append(options, static.WithRFC3161Timestamp(stamp))
	}
	hash, err := v1.NewHash(subject.String())
	if err != nil {
		return signed{}, err
	}
	// each is verified alone, in this goroutine: in others the library has panicked, where nobody can recover
	check := cosign.VerifyImageSignature
	var layer oci.Signature
	if r.MediaType == LegacyMediaType {
		layer, err = static.NewSignature(r.Payload, r.Annotations[static.SignatureAnnotationKey], options...)
	} else {
		// without the annotation of a signature, so that what is timestamped is this very envelope
		layer, err = static.NewAttestation(r.Payload, options...)
		check = func(ctx context.Context, s oci.Signature, h v1.Hash, co *cosign.CheckOpts) (bool, error) {
			return cosign.VerifyBlobAttestation(ctx, s, h, co)
		}
	}
	if err != nil {
		return signed{}, err
	}
	co := &cosign.CheckOpts{TrustedMaterial: c.material, Offline: true, IgnoreTlog: !c.logged, IgnoreSCT: len(c.material.CTLogs()) == 0,
		UseSignedTimestamps: len(c.material.TimestampingAuthorities()) > 0}
	logged, err := check(ctx, layer, hash, co)
	if err != nil {
		return signed{}, fmt.Errorf("its certificate, log entry, timestamp and signature don't fit together: %w", err)
	}
	out := signed{content: r.Payload, signer: who.SubjectAlternativeName}
	if out.at, err = c.observed(leaf, layer, co, logged, entry); err != nil {
		return signed{}, err
	}
	if r.MediaType == types.DssePayloadType {
		out.statement = true
		out.content, err = statementIn(r.Payload)
	}
	return out, err
}

// observed is the earliest time that a log or a timestamp authority vouches for. At each of them the certificate must have been valid, and issued by an
// authority that was trusted then.
func (c *Certificates) observed(leaf *x509.Certificate, layer oci.Signature, co *cosign.CheckOpts, logged bool, entry *cbundle.RekorBundle) (first time.Time, err error) {
	var times []time.Time
	if logged && entry != nil {
		times = append(times, time.Unix(entry.Payload.IntegratedTime, 0))
	}
	if co.UseSignedTimestamps {
		stamp, err := cosign.VerifyRFC3161Timestamp(layer, co)
		if err != nil {
			return first, errNoTime
		}
		if stamp != nil {
			times = append(times, stamp.Time)
		}
	}
	if len(times) == 0 {
		return first, errNoTime
	}
	for _, at := range times {
		if at.Before(leaf.NotBefore) || at.After(leaf.NotAfter) {
			return first, errExpired
		}
		if _, err := verify.VerifyLeafCertificate(at, leaf, c.material); err != nil {
			return first, errOtherRoot
		}
		if first.IsZero() || at.Before(first) {
			first = at.UTC()
		}
	}
	return first, nil
}

// leafOf reads the one certificate beside a record, and returns it in PEM as it was read.
func leafOf(annotations map[string]string) (*x509.Certificate, []byte, error) {
	text := annotations[static.CertificateAnnotationKey]
	if text == "" {
		return nil, nil, errNoCertificate
	}
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" || strings.TrimSpace(string(rest)) != "" {
		return nil, nil, errors.New("malformed: its certificate is not one in PEM")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, nil, errors.New("malformed: its certificate can't be parsed")
	}
	return leaf, pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}), nil
}

// logEntryOf reads what a log promised about a record; nil if there is nothing. The library takes the body for a text, whatever it is.
func logEntryOf(annotations map[string]string) (*cbundle.RekorBundle, error) {
	text := annotations[static.BundleAnnotationKey]
	if text == "" {
		return nil, nil
	}
	var e struct {
		SignedEntryTimestamp []byte
		Payload              struct {
			Body           string `json:"body"`
			IntegratedTime int64  `json:"integratedTime"`
			LogIndex       int64  `json:"logIndex"`
			LogID          string `json:"logID"`
		}
	}
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return nil, errors.New("malformed: its log entry can't be parsed")
	}
	return &cbundle.RekorBundle{SignedEntryTimestamp: e.SignedEntryTimestamp, Payload: cbundle.RekorPayload{
		Body: e.Payload.Body, IntegratedTime: e.Payload.IntegratedTime, LogIndex: e.Payload.LogIndex, LogID: e.Payload.LogID}}, nil
}

// timestampOf reads the timestamp beside a record; nil if there is none.
func timestampOf(annotations map[string]string) (*cbundle.RFC3161Timestamp, error) {
	text := annotations[static.RFC3161TimestampAnnotationKey]
	if text == "" {
		return nil, nil
	}
	var t cbundle.RFC3161Timestamp
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return nil, errors.New("malformed: its timestamp can't be parsed")
	}
	return &t, nil
}

// statementIn returns the payload of an envelope whose signature was verified.
func statementIn(envelope []byte) ([]byte, error) {
	var e dsse.Envelope
	if err := json.Unmarshal(envelope, &e); err != nil {
		return nil, errors.New("malformed: it is not an envelope")
	}
	if e.PayloadType != types.IntotoPayloadType {
		return nil, errors.New("its payload is not an in-toto statement")
	}
	return e.DecodeB64Payload()
}
