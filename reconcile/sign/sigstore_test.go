package sign

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/digitorus/timestamp"
	ssldsse "github.com/secure-systems-lab/go-securesystemslib/dsse"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	prototrust "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/sigstore/sigstore/pkg/signature"
	sigdsse "github.com/sigstore/sigstore/pkg/signature/dsse"
	"google.golang.org/protobuf/encoding/protojson"
)

const (
	workflow     = "https://github.com/acme/catalog/.github/workflows/reconcile.yml@refs/heads/main"
	githubIssuer = "https://token.actions.githubusercontent.com"
)

var acme = reconcile.Trust{Issuer: githubIssuer, Subject: workflow}

// A sigstore is a private instance with real certificates, timestamps and log entries, in this process.
type sigstore struct {
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	clock *x509.Certificate // of the timestamp authority, whose key is the same; nil for none
	log   *ca.VirtualSigstore
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// past is when certificates were issued that have expired by now.
const past = time.Hour

func newSigstore(t testing.TB) *sigstore {
	t.Helper()
	cert, key, err := ca.GenerateRootCa()
	if err != nil {
		t.Fatal(err)
	}
	log, err := ca.NewVirtualSigstore()
	if err != nil {
		t.Fatal(err)
	}
	return &sigstore{cert: cert, key: key, log: log, clock: newClock(t, cert, key)}
}

// newClock makes the certificate of a timestamp authority (RFC 3161, section 2.3: its one purpose is critical). The library's own are too short-lived.
func newClock(t testing.TB, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	purpose, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: parent.NotBefore, NotAfter: parent.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: purpose}},
	}, parent, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// trustedRoot is what the instance publishes about itself, as JSON.
func (s *sigstore) trustedRoot(t testing.TB, logged bool) []byte {
	t.Helper()
	from, to := time.Now().Add(-4*time.Hour), time.Now().Add(4*time.Hour)
	var tsas []root.TimestampingAuthority
	if s.clock != nil {
		tsas = append(tsas, &root.SigstoreTimestampingAuthority{Root: s.cert, Leaf: s.clock, ValidityPeriodStart: from, ValidityPeriodEnd: to, URI: "https://clock.example.com"})
	}
	logs := map[string]*root.TransparencyLog{}
	if logged {
		for id, l := range s.log.RekorLogs() {
			l.ValidityPeriodStart = from
			logs[id] = l
		}
	}
	r, err := root.NewTrustedRoot(root.TrustedRootMediaType01, []root.CertificateAuthority{
		&root.FulcioCertificateAuthority{Root: s.cert, ValidityPeriodStart: from, ValidityPeriodEnd: to, URI: "https://ca.example.com"}}, nil, tsas, logs)
	if err != nil {
		t.Fatal(err)
	}
	if !logged {
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	// the library writes the identifier of a log in hexadecimal digits where it has made it itself, and reads it back as bytes
	b, err := r.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var p prototrust.TrustedRoot
	if err := protojson.Unmarshal(b, &p); err != nil {
		t.Fatal(err)
	}
	for _, l := range p.Tlogs {
		id, err := s.log.RekorLogID()
		if err != nil {
			t.Fatal(err)
		}
		if l.LogId.KeyId, err = hex.DecodeString(id); err != nil {
			t.Fatal(err)
		}
	}
	b, err = protojson.Marshal(&p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (s *sigstore) certificates(t testing.TB, logged bool) *Certificates {
	t.Helper()
	c, err := ParseTrustedRoot(s.trustedRoot(t, logged))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// stamp vouches for a digest (SHA-256) at a time.
func (s *sigstore) stamp(hashed []byte, at time.Time) ([]byte, error) {
	ts := timestamp.Timestamp{HashAlgorithm: crypto.SHA256, HashedMessage: hashed, Time: at, Policy: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2}}
	return ts.CreateResponseWithOpts(s.clock, s.key, crypto.SHA256)
}

// made says how a bundle is made.
type made struct {
	trust   reconcile.Trust
	issued  time.Time // the certificate
	stamped time.Time // zero: not
	logged  time.Time // zero: not
}

// attest makes a bundle around a statement.
func (s *sigstore) attest(t testing.TB, payload []byte, m made) *protobundle.Bundle {
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
	wrap, err := ssldsse.NewEnvelopeSigner(&sigdsse.SignerAdapter{SignatureSigner: signer, Pub: key.Public()})
	must(err)
	envelope, err := wrap.SignPayload(t.Context(), "application/vnd.in-toto+json", payload)
	must(err)
	sig, err := base64.StdEncoding.DecodeString(envelope.Signatures[0].Sig)
	must(err)
	material := &protobundle.VerificationMaterial{Content: &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: leaf.Raw}}}
	if !m.stamped.IsZero() {
		h := crypto.SHA256.New()
		h.Write(sig)
		b, err := s.stamp(h.Sum(nil), m.stamped)
		must(err)
		material.TimestampVerificationData = &protobundle.TimestampVerificationData{Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: b}}}
	}
	if !m.logged.IsZero() {
		entry, err := s.log.GenerateTlogEntry(leaf, envelope, sig, m.logged.Unix(), true)
		must(err)
		promised, err := s.promised(entry.TransparencyLogEntry())
		must(err)
		material.TlogEntries = append(material.TlogEntries, promised)
	}
	return &protobundle.Bundle{MediaType: BundleMediaType, VerificationMaterial: material, Content: &protobundle.Bundle_DsseEnvelope{
		DsseEnvelope: &protodsse.Envelope{Payload: payload, PayloadType: envelope.PayloadType, Signatures: []*protodsse.Signature{{Sig: sig}}}}}
}

// promised adds what Rekor v1 says of an entry besides its place in the log.
func (s *sigstore) promised(e *protorekor.TransparencyLogEntry) (*protorekor.TransparencyLogEntry, error) {
	set, err := s.log.RekorSignPayload(tlog.RekorPayload{
		Body: base64.StdEncoding.EncodeToString(e.CanonicalizedBody), IntegratedTime: e.IntegratedTime, LogIndex: e.LogIndex, LogID: hex.EncodeToString(e.LogId.KeyId)})
	e.InclusionPromise = &protorekor.InclusionPromise{SignedEntryTimestamp: set}
	e.KindVersion = &protorekor.KindVersion{Kind: "dsse", Version: "0.0.1"}
	return e, err
}

func asJSON(t testing.TB, b *protobundle.Bundle) []byte {
	t.Helper()
	out, err := protojson.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A service is the instance on loopback: Fulcio's and a timestamp authority's protocols, as far as they are spoken here.
type service struct {
	*sigstore
	*httptest.Server
	life    time.Duration // of certificates; zero: ten minutes
	refuse  atomic.Int32  // answers 429 to so many requests for certificates
	full    atomic.Int32  // answers 429 to so many entries for the log
	issued  atomic.Int32
	stamped atomic.Int32
	entered atomic.Int32
	tokens  chan string // those that were shown
}

func serve(t *testing.T) *service {
	t.Helper()
	s := &service{sigstore: newSigstore(t), tokens: make(chan string, 1000)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v2/signingCert", s.issue)
	mux.HandleFunc("POST /api/v1/timestamp", s.vouch)
	mux.HandleFunc("POST /api/v1/log/entries", s.enter)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// token is what an issuer would sign; whether it did is for Fulcio to know.
func token(issuer, email string) string {
	part := func(v any) string {
		b, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	return part(map[string]string{"alg": "none"}) + "." + part(map[string]any{"iss": issuer, "sub": email, "email": email, "email_verified": true}) + ".c2ln"
}

// refused is whom the service gives no certificate.
const refused = "refused@example.com"

func (s *service) issue(w http.ResponseWriter, r *http.Request) {
	if s.refuse.Add(-1) >= 0 {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "slow down", http.StatusTooManyRequests)
		return
	}
	bearer := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.tokens <- bearer
	var claims struct{ Iss, Email string }
	var req struct {
		PublicKeyRequest struct {
			PublicKey struct{ Content string }
		}
	}
	if parts := strings.Split(bearer, "."); len(parts) == 3 {
		b, _ := base64.RawURLEncoding.DecodeString(parts[1])
		_ = json.Unmarshal(b, &claims)
	}
	if json.NewDecoder(r.Body).Decode(&req) != nil || claims.Email == refused {
		http.Error(w, "the token "+bearer+" is not valid", http.StatusBadRequest)
		return
	}
	block, _ := pem.Decode([]byte(req.PublicKeyRequest.PublicKey.Content))
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	from := time.Now()
	if s.life > 0 {
		from = from.Add(s.life - 10*time.Minute) // the library makes those of ten minutes alone
	}
	leaf, err := ca.GenerateLeafCert(claims.Email, claims.Iss, from, half{pub}, s.cert, s.key)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.issued.Add(1)
	chain := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}))
	_ = json.NewEncoder(w).Encode(map[string]any{"signedCertificateEmbeddedSct": map[string]any{"chain": map[string]any{"certificates": []string{chain}}}})
}

// half is the public half of a key that somebody else has.
type half struct{ pub crypto.PublicKey }

func (h half) Public() crypto.PublicKey { return h.pub }
func (h half) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, fmt.Errorf("not there")
}

func (s *service) vouch(w http.ResponseWriter, r *http.Request) {
	var b bytes.Buffer
	_, _ = b.ReadFrom(r.Body)
	req, err := timestamp.ParseRequest(b.Bytes())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	out, err := s.stamp(req.HashedMessage, time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.stamped.Add(1)
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(out)
}

// enter logs a DSSE envelope as Rekor v1 does.
func (s *service) enter(w http.ResponseWriter, r *http.Request) {
	if s.full.Add(-1) >= 0 {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	var proposed struct {
		Spec struct {
			ProposedContent struct {
				Envelope  string
				Verifiers [][]byte
			}
		}
	}
	var envelope ssldsse.Envelope
	fail := func(err error) { http.Error(w, err.Error(), http.StatusBadRequest) }
	if err := json.NewDecoder(r.Body).Decode(&proposed); err != nil {
		fail(err)
		return
	}
	if err := json.Unmarshal([]byte(proposed.Spec.ProposedContent.Envelope), &envelope); err != nil || len(envelope.Signatures) != 1 {
		fail(fmt.Errorf("envelope: %w", err))
		return
	}
	block, _ := pem.Decode(proposed.Spec.ProposedContent.Verifiers[0])
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		fail(err)
		return
	}
	sig, err := base64.StdEncoding.DecodeString(envelope.Signatures[0].Sig)
	if err != nil {
		fail(err)
		return
	}
	entry, err := s.log.GenerateTlogEntry(leaf, &envelope, sig, time.Now().Unix(), true)
	if err != nil {
		fail(err)
		return
	}
	e, err := s.promised(entry.TransparencyLogEntry())
	if err != nil {
		fail(err)
		return
	}
	s.entered.Add(1)
	proof := e.InclusionProof
	id := strings.Repeat("a", 64)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("ETag", id)
	w.Header().Set("Location", "/api/v1/log/entries/"+id)
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]any{id: map[string]any{
		"body": e.CanonicalizedBody, "integratedTime": e.IntegratedTime, "logID": hex.EncodeToString(e.LogId.KeyId), "logIndex": e.LogIndex,
		"verification": map[string]any{"signedEntryTimestamp": e.InclusionPromise.SignedEntryTimestamp, "inclusionProof": map[string]any{
			"checkpoint": proof.Checkpoint.Envelope, "hashes": []string{}, "logIndex": proof.LogIndex, "rootHash": hex.EncodeToString(proof.RootHash), "treeSize": proof.TreeSize}}}})
}

// logged is the instance as a catalog names it, with a log that is asked with the protocol of Rekor v1.
func (s *service) logged(t *testing.T) reconcile.Keyless {
	t.Helper()
	k := s.keyless(t)
	c, err := root.NewSigningConfigFromJSON([]byte(k.SigningConfig))
	if err != nil {
		t.Fatal(err)
	}
	c.WithRekorLogURLs(root.Service{URL: s.URL, MajorAPIVersion: 1, ValidityPeriodStart: time.Now().Add(-time.Hour)})
	b, err := c.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	k.TrustedRoot, k.SigningConfig = string(s.trustedRoot(t, true)), string(b)
	return k
}

// keyless is the instance as a catalog names it.
func (s *service) keyless(t *testing.T) reconcile.Keyless {
	t.Helper()
	here := root.Service{URL: s.URL, MajorAPIVersion: 1, ValidityPeriodStart: time.Now().Add(-time.Hour)}
	clock := here
	clock.URL += "/api/v1/timestamp"
	one := root.ServiceConfiguration{Selector: prototrust.ServiceSelector_ANY}
	c, err := root.NewSigningConfig(root.SigningConfigMediaType02, []root.Service{here}, nil, nil, one, []root.Service{clock}, one)
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return reconcile.Keyless{Issuer: githubIssuer, Subject: workflow, TrustedRoot: string(s.trustedRoot(t, false)), SigningConfig: string(b)}
}
