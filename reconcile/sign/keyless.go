package sign

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/assay-oci/assay/reconcile"
	"github.com/sigstore/cosign/v2/pkg/types"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/rekor-tiles/v2/pkg/client/write"
	fulcio "github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"google.golang.org/protobuf/encoding/protojson"
)

// KeylessOptions say as whom to sign, and where.
type KeylessOptions struct {
	// Name is the signer's name, which its statements bear.
	Name string
	// Trust is the identity that certificates must bear. A token of anybody else signs nothing.
	Trust reconcile.Trust
	// Audience is what identity tokens are asked for; empty: "sigstore".
	Audience string
	// Instance is where to sign.
	Instance *Instance
	// Token gives identity tokens; nil: AmbientToken.
	Token TokenSource
	// Waiting, if set, is told before the signer waits because a service asked for it.
	Waiting func(service string, d time.Duration)
}

// A KeylessSigner signs as somebody whom a Sigstore instance gives certificates, with a key that never leaves the process and is forgotten when its
// certificate expires. It implements reconcile.Signer and may be used concurrently: statements share a certificate.
type KeylessSigner struct {
	options KeylessOptions
	renew   chan struct{} // holds one value: whoever has it may look at leaf and refused, and change them
	leaf    leaf
	refused error // who the token is of, if it is somebody else: that isn't asked again for each statement
}

var _ reconcile.Signer = (*KeylessSigner)(nil)

// leaf is a certificate and its key.
type leaf struct {
	keys  *sign.EphemeralKeypair
	der   []byte
	until time.Time // when it is renewed, which is before it expires
}

// NewKeyless makes a signer. It asks nobody: the first statement does.
func NewKeyless(o KeylessOptions) (*KeylessSigner, error) {
	if err := o.Trust.CheckIdentity(); err != nil {
		return nil, fmt.Errorf("signer %q: %w", o.Name, err)
	}
	if o.Audience == "" {
		o.Audience = "sigstore"
	}
	if o.Token == nil {
		o.Token = AmbientToken
	}
	s := &KeylessSigner{options: o, renew: make(chan struct{}, 1)}
	s.renew <- struct{}{}
	return s, nil
}

// Identity is whose records a Verifier must accept to accept the signer's.
func (s *KeylessSigner) Identity() Identity {
	return Identity{Name: s.options.Name, Trust: s.options.Trust, Certificates: s.options.Instance.Certificates}
}

// Sign makes the record of a signature or an attestation, as Signer.Sign does, and verifies it before it returns it. Where a service says that it is
// asked too much, Sign waits as long as it is told, until the context ends.
func (s *KeylessSigner) Sign(ctx context.Context, st reconcile.Statement) (reconcile.Record, error) {
	st.Signer, st.Time = s.options.Name, st.Time.UTC().Truncate(time.Second)
	fail := func(err error) (reconcile.Record, error) {
		return reconcile.Record{}, fmt.Errorf("sign %s as %q: %w", st.Subject.Short(), s.options.Name, err)
	}
	r, err := s.sign(ctx, st)
	if err != nil {
		return fail(err)
	}
	checked := verifyRecord(ctx, trusted{identities: []Identity{s.Identity()}}, st.Subject, r)
	if checked.Problem != "" {
		return fail(fmt.Errorf("the new record is not valid: %s", checked.Problem))
	}
	if !same(checked.Statement, st) {
		return fail(errors.New("the new record does not say what was to be signed"))
	}
	return checked, nil
}

func (s *KeylessSigner) sign(ctx context.Context, st reconcile.Statement) (reconcile.Record, error) {
	if err := checkStatement(st); err != nil {
		return reconcile.Record{}, err
	}
	if st.Format != reconcile.Bundle {
		return reconcile.Record{}, errors.New("only bundles can be signed without a key")
	}
	payload, err := bundlePayload(st)
	if err != nil {
		return reconcile.Record{}, err
	}
	if base64.StdEncoding.EncodedLen(len(payload)) > maxBundle { // before a log has it
		return reconcile.Record{}, errTooLarge
	}
	var made []byte
	err = s.patiently(ctx, func() error {
		l, err := s.certificate(ctx)
		if err != nil {
			return err
		}
		made, err = s.bundle(ctx, l, payload)
		return err
	})
	if err != nil {
		return reconcile.Record{}, err
	}
	return bundleRecord(st, made)
}

// bundle signs a payload and brings the signature before the instance's clocks and logs.
func (s *KeylessSigner) bundle(ctx context.Context, l leaf, payload []byte) ([]byte, error) {
	o := sign.BundleOptions{Context: ctx, CertificateProvider: issued(l.der)}
	for _, at := range s.options.Instance.services.clocks {
		o.TimestampAuthorities = append(o.TimestampAuthorities, sign.NewTimestampAuthority(&sign.TimestampAuthorityOptions{URL: at, Timeout: -1, Transport: &honest{ctx, at}}))
	}
	for _, log := range s.options.Instance.services.logs {
		r := &sign.RekorOptions{BaseURL: log.URL, Version: log.MajorAPIVersion, Retries: 5}
		if log.MajorAPIVersion == 2 {
			w, err := write.NewWriter(log.URL)
			if err != nil {
				return nil, fmt.Errorf("transparency log: %w", err)
			}
			r.ClientV2 = tiles{w, log.URL}
		}
		o.TransparencyLogs = append(o.TransparencyLogs, sign.NewRekor(r))
	}
	b, err := sign.Bundle(&sign.DSSEData{Data: payload, PayloadType: types.IntotoPayloadType}, l.keys, o)
	if err != nil {
		return nil, plain(err, "")
	}
	return protojson.Marshal(b)
}

// certificate returns one that is still valid for long enough to sign, and asks for another where there is none.
func (s *KeylessSigner) certificate(ctx context.Context) (leaf, error) {
	select {
	case <-s.renew:
	case <-ctx.Done():
		return leaf{}, ctx.Err()
	}
	defer func() { s.renew <- struct{}{} }()
	if s.refused != nil || time.Now().Before(s.leaf.until) {
		return s.leaf, s.refused
	}
	// While one waits, the others wait for it: a service that is asked too much isn't asked by each of them.
	err := s.patiently(ctx, func() error {
		l, err := s.request(ctx)
		if err == nil {
			s.leaf = l
		}
		return err
	})
	return s.leaf, err
}

// request asks Fulcio for a certificate for a new key, with a fresh identity token.
func (s *KeylessSigner) request(ctx context.Context) (leaf, error) {
	token, err := s.options.Token(ctx, s.options.Audience)
	if err != nil {
		return leaf{}, err
	}
	keys, err := sign.NewEphemeralKeypair(nil)
	if err != nil {
		return leaf{}, err
	}
	at := s.options.Instance.services.fulcio
	asked := time.Now()
	ca := sign.NewFulcio(&sign.FulcioOptions{BaseURL: at, Timeout: -1, Transport: &honest{ctx, at}})
	der, err := ca.GetCertificate(ctx, keys, &sign.CertificateProviderOptions{IDToken: token})
	if err != nil {
		return leaf{}, fmt.Errorf("ask %s for a certificate: %w", at, plain(err, token))
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return leaf{}, fmt.Errorf("ask %s for a certificate: what it issued can't be parsed", at)
	}
	who, err := fulcio.SummarizeCertificate(cert)
	if err != nil {
		return leaf{}, fmt.Errorf("ask %s for a certificate: what it issued names nobody", at)
	}
	if !s.options.Trust.Matches(who.Issuer, who.SubjectAlternativeName) { // before anything is signed or logged in that name
		s.refused = fmt.Errorf("the identity token is of %q by %q, and the catalog's signer %q is %q by %q; nothing that it signs would count",
			clip(who.SubjectAlternativeName), clip(who.Issuer), s.options.Name, clip(s.options.Trust.Subject), clip(s.options.Trust.Issuer))
		return leaf{}, s.refused
	}
	// What is signed last must still be timestamped in time: the last minute, or the last fifth of a shorter life, isn't used.
	life := cert.NotAfter.Sub(asked)
	return leaf{keys: keys, der: der, until: cert.NotAfter.Add(-min(time.Minute, life/5))}, nil
}

// issued is a certificate that is there already.
type issued []byte

func (c issued) GetCertificate(context.Context, sign.Keypair, *sign.CertificateProviderOptions) ([]byte, error) {
	return c, nil
}

// Bounds of waiting for a service.
const (
	firstWait = time.Second
	maxWait   = 10 * time.Minute // whatever a service asks for
	perAnswer = 30 * time.Second // for one answer
)

// busy is a service's answer that it is asked too much, or is out of order for now.
type busy struct {
	service string
	status  string
	after   time.Duration // that it asks to wait; zero if it doesn't say
}

func (b *busy) Error() string { return fmt.Sprintf("%s answered %s", b.service, b.status) }

// patiently does something again for as long as services say that they are busy, and the context lasts.
func (s *KeylessSigner) patiently(ctx context.Context, do func() error) error {
	for wait := firstWait; ; wait = min(2*wait, time.Minute) {
		err := do()
		var b *busy
		if err == nil || !errors.As(err, &b) || errors.Is(err, ctx.Err()) { // the last: whoever was called has waited already
			return err
		}
		d := min(max(wait, b.after), maxWait)
		if s.options.Waiting != nil {
			s.options.Waiting(b.service, d)
		}
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w, and there was no time left to wait: %w", err, ctx.Err())
		}
	}
}

// honest is a transport for clients that bind requests to no context and take every answer alike: a busy service's answer becomes an error that says so.
// It has one call's context.
type honest struct {
	ctx     context.Context
	service string
}

func (h *honest) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(h.ctx, perAnswer)
	resp, err := http.DefaultTransport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable {
		resp.Body.Close()
		cancel()
		return nil, &busy{service: h.service, status: resp.Status, after: retryAfter(resp.Header.Get("Retry-After"), time.Now())}
	}
	resp.Body = &cancelled{resp.Body, cancel}
	return resp, nil
}

// A cancelled body ends its request's context when it was read.
type cancelled struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (c *cancelled) Close() error {
	defer c.cancel()
	return c.ReadCloser.Close()
}

// retryAfter reads the header (RFC 9110, section 10.2.3): seconds, or a date.
func retryAfter(header string, now time.Time) time.Duration {
	if n, err := strconv.Atoi(header); err == nil && n > 0 {
		return time.Duration(min(n, int(maxWait/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}

// tiles is a client of Rekor v2 that tells when the log is busy. The library's client tells the status only in its message.
type tiles struct {
	write.Client
	service string
}

func (t tiles) Add(ctx context.Context, entry any) (*protorekor.TransparencyLogEntry, error) {
	out, err := t.Client.Add(ctx, entry)
	if err != nil {
		for _, code := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
			if strings.HasPrefix(err.Error(), fmt.Sprintf("unexpected response: %d ", code)) {
				return nil, &busy{service: t.service, status: fmt.Sprintf("%d %s", code, http.StatusText(code))}
			}
		}
	}
	return out, err
}

// maxMessage bounds what a service's answer may add to an error, in bytes.
const maxMessage = 500

// plain makes an error of what a service answered: one line, not long, and without the secret that it was sent.
func plain(err error, secret string) error {
	text := err.Error()
	if secret != "" {
		text = strings.ReplaceAll(text, secret, "(identity token)")
	}
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsControl(r) }), " ")
	if len(text) > maxMessage {
		text = text[:maxMessage] + "…"
	}
	return &answered{text, err}
}

type answered struct {
	text string
	err  error
}

func (a *answered) Error() string { return a.text }
func (a *answered) Unwrap() error { return a.err }

var errTooLarge = errors.New("the predicate is too large to be attested")

// bundleRecord makes the record around a bundle, which is JSON.
func bundleRecord(st reconcile.Statement, made []byte) (reconcile.Record, error) {
	var compact bytes.Buffer // protobuf's JSON varies its white space at random
	if err := json.Compact(&compact, made); err != nil {
		return reconcile.Record{}, err
	}
	if compact.Len() > maxBundle {
		return reconcile.Record{}, errTooLarge
	}
	kind := st.PredicateType
	if kind == "" {
		kind = types.CosignSignPredicateType
	}
	return reconcile.Record{Statement: st, MediaType: BundleMediaType, Payload: compact.Bytes(), Annotations: map[string]string{
		createdAnnotation:       st.Time.Format(time.RFC3339),
		contentAnnotation:       "dsse-envelope",
		predicateTypeAnnotation: kind,
	}}, nil
}
