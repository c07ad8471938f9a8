package sign

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/sigstore/cosign/v2/pkg/types"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// Certificates verifies what was signed with the short-lived certificates of one Sigstore instance. It asks nobody, and may be used concurrently.
type Certificates struct {
	material root.TrustedMaterial
	verifier *verify.Verifier
	logged   bool // whether an entry in a transparency log is demanded
}

// Certified is what a bundle says that was signed with a certificate. Signer and Issuer are somebody else's words, to be shown escaped.
type Certified struct {
	Statement []byte    // the in-toto statement that was signed
	Signer    string    // the identity in the certificate, such as an e-mail address or a workflow's URL
	Issuer    string    // who vouched for it
	Time      time.Time // the earliest that a log or a timestamp authority vouches for
}

// Ways in which a certificate's bundle is not valid.
var (
	errNoCertificate = errors.New("signed by a key, not with a certificate")
	errOtherRoot     = errors.New("its certificate was not issued by an authority of the trusted root")
	errExpired       = errors.New("signed when its certificate was not valid: before, or after it had expired")
	errNoLog         = errors.New("no transparency log of the trusted root has it")
	errNoTime        = errors.New("nothing that the trusted root knows proves when it was signed: no timestamp, no time of a log")
	errUncertain     = errors.New("its certificate does not count: the certificate log's promise is missing or not valid")
)

// NewCertificates trusts an instance. What is demanded is as strong as what it offers: an entry in a transparency log where it has one, the certificate
// log's promise where it has one, and always a time that a timestamp authority or a log vouches for, since a certificate expires in minutes.
func NewCertificates(material root.TrustedMaterial) (*Certificates, error) {
	c := &Certificates{material: material, logged: len(material.RekorLogs()) > 0}
	options := []verify.VerifierOption{verify.WithObserverTimestamps(1), verify.WithoutStatementPredicate()}
	if len(material.FulcioCertificateAuthorities()) == 0 {
		return nil, errors.New("the trusted root names no certificate authority")
	}
	if !c.logged && len(material.TimestampingAuthorities()) == 0 {
		return nil, errors.New("the trusted root names neither a transparency log nor a timestamp authority, so nothing could prove that a certificate was valid when it signed")
	}
	if c.logged {
		options = append(options, verify.WithTransparencyLog(1))
	}
	if len(material.CTLogs()) > 0 {
		options = append(options, verify.WithSignedCertificateTimestamps(1))
	}
	var err error
	if c.verifier, err = verify.NewVerifier(material, options...); err != nil {
		return nil, fmt.Errorf("trusted root: %w", err)
	}
	return c, nil
}

// Verify verifies a Sigstore bundle (JSON) around an in-toto statement of which the digest is a subject: its certificate, log entry, timestamp and
// signature, and that the identity in the certificate is the one that is trusted. An error says in a person's words why it isn't valid. Nothing that
// it is given makes it panic; bundles of more than 64 MiB are refused.
func (c *Certificates) Verify(ctx context.Context, bundleJSON []byte, subject reconcile.Digest, t reconcile.Trust) (out Certified, err error) {
	defer func() {
		if p := recover(); p != nil { // the libraries have panicked on hostile input before
			out, err = Certified{}, errors.New("malformed: it can't be parsed")
		}
	}()
	if err := ctx.Err(); err != nil {
		return Certified{}, err
	}
	if len(bundleJSON) > maxBundle {
		return Certified{}, errors.New("malformed: the bundle is too large")
	}
	var b bundle.Bundle
	if err := b.UnmarshalJSON(bundleJSON); err != nil {
		return Certified{}, errors.New("malformed: it is not a Sigstore bundle")
	}
	return c.verify(&b, subject, t)
}

func (c *Certificates) verify(b *bundle.Bundle, subject reconcile.Digest, t reconcile.Trust) (Certified, error) {
	if err := t.CheckIdentity(); err != nil {
		return Certified{}, fmt.Errorf("nobody is trusted: %w", err)
	}
	envelope := b.GetDsseEnvelope()
	switch {
	case envelope == nil:
		return Certified{}, errors.New("a signature over content, not a statement about an image")
	case envelope.PayloadType != types.IntotoPayloadType:
		return Certified{}, errors.New("its payload is not an in-toto statement")
	case !isObject(string(envelope.Payload)):
		return Certified{}, errNoStatement
	case b.GetVerificationMaterial().GetPublicKey() != nil:
		return Certified{}, errNoCertificate
	}
	digest, err := hex.DecodeString(subject.Hex())
	if err != nil {
		return Certified{}, err
	}
	artifact := verify.ArtifactDigest{Algorithm: subject.Algorithm(), Digest: digest}
	// the identity is compared here and not there: so it is known whose bundle was refused, and there is one way of comparing
	result, err := c.verifier.Verify(b, verify.NewPolicy(verify.WithArtifactDigest(artifact.Algorithm, artifact.Digest), verify.WithoutIdentitiesUnsafe()))
	if err != nil {
		return Certified{}, c.reason(b, artifact, subject)
	}
	if result.Signature == nil || result.Signature.Certificate == nil {
		return Certified{}, errNoCertificate
	}
	who := result.Signature.Certificate
	if !t.Matches(who.Issuer, who.SubjectAlternativeName) {
		return Certified{}, otherIdentity(who.Issuer, who.SubjectAlternativeName)
	}
	return Certified{Statement: envelope.Payload, Signer: who.SubjectAlternativeName, Issuer: who.Issuer, Time: earliest(result.VerifiedTimestamps)}, nil
}

// reason tells why a bundle was refused. The library has no error for it that could be told apart, so the steps are gone once more, from what says
// most to what says least.
func (c *Certificates) reason(b *bundle.Bundle, artifact verify.ArtifactDigest, subject reconcile.Digest) error {
	content, err := b.VerificationContent()
	if err != nil {
		return errors.New("malformed: its certificate can't be parsed")
	}
	leaf := content.Certificate()
	if leaf == nil {
		return errNoCertificate
	}
	signature, err := b.SignatureContent()
	if err != nil || verify.VerifySignature(signature, content, c.material) != nil {
		return errChanged
	}
	if verify.VerifySignatureWithArtifactDigests(signature, content, c.material, []verify.ArtifactDigest{artifact}) != nil {
		return fmt.Errorf("about another digest, not %s", subject.Short())
	}
	if _, err := verify.VerifyLeafCertificate(leaf.NotBefore, leaf, c.material); err != nil && len(leaf.UnhandledCriticalExtensions) == 0 {
		return errOtherRoot
	}
	logTimes, err := c.verifier.VerifyTransparencyLogInclusion(b)
	if err != nil && loggedOutside(b, leaf) {
		return errExpired
	}
	if err != nil {
		return errNoLog
	}
	times, err := c.verifier.VerifyObserverTimestamps(b, logTimes)
	if err != nil {
		return errNoTime
	}
	for _, at := range times {
		if at.Timestamp.Before(leaf.NotBefore) || at.Timestamp.After(leaf.NotAfter) {
			return errExpired
		}
		if _, err := verify.VerifyLeafCertificate(at.Timestamp, leaf, c.material); err != nil {
			return errOtherRoot // the authority itself was not trusted at that time
		}
	}
	return errUncertain
}

// loggedOutside tells whether a log's entry says that it was made when the certificate wasn't valid: the library then takes it for no entry.
func loggedOutside(b *bundle.Bundle, leaf *x509.Certificate) bool {
	entries, err := b.TlogEntries()
	return err == nil && slices.ContainsFunc(entries, func(e *tlog.Entry) bool {
		at := e.IntegratedTime()
		return at.Unix() > 0 && (at.Before(leaf.NotBefore) || at.After(leaf.NotAfter))
	})
}

func otherIdentity(issuer, subject string) error {
	return fmt.Errorf("signed by another identity, %q of %q", clip(subject), clip(issuer))
}

func earliest(times []verify.TimestampVerificationResult) (out time.Time) {
	for _, t := range times {
		if out.IsZero() || t.Timestamp.Before(out) {
			out = t.Timestamp.UTC()
		}
	}
	return out
}

// clip shortens what others wrote, for a message.
func clip(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}

// An Identity is whose records a Verifier accepts under a signer's name.
type Identity struct {
	Name         string // the signer's
	Trust        reconcile.Trust
	Certificates *Certificates
}

// verifyCertificate fills the statement of a record that was signed with a certificate.
func verifyCertificate(b *bundle.Bundle, identities []Identity, r *reconcile.Record) error {
	if len(identities) == 0 {
		return errors.New("signed with a certificate, not by a key")
	}
	var refused error
	for _, i := range identities {
		found, err := i.Certificates.verify(b, r.Statement.Subject, i.Trust)
		if err != nil {
			if refused == nil || errors.Is(refused, errOtherRoot) { // another instance may know the certificate
				refused = err
			}
			continue
		}
		r.Statement.Signer = i.Name
		return readBundlePayload(&r.Statement, found.Statement)
	}
	return refused
}
