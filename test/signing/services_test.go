//go:build signing

// Package signing tests signatures without a key with the real programs, built from their modules: make test-signing. A private Sigstore instance (Fulcio, a
// timestamp authority, Rekor v2) and an issuer of identity tokens run on loopback; assay signs, and the cosign commands judge what it wrote.
package signing

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	prototrust "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"github.com/sigstore/rekor-tiles/v2/pkg/note"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
)

// who is the identity that signs.
const who = "reconciler@example.com"

// An instance is a private Sigstore instance, with an issuer that vouches for anybody.
type instance struct {
	t        *testing.T
	dir      string
	issuer   string
	tokenKey *ecdsa.PrivateKey
	caCert   *x509.Certificate
	fulcio   string
	clock    string
	log      string
	logKey   *ecdsa.PrivateKey
}

// logOrigin is the name of the log, and so the host in the trusted root's address of it.
const logOrigin = "log.example.com"

func start(t *testing.T) *instance {
	t.Helper()
	i := &instance{t: t, dir: t.TempDir(), tokenKey: newKey(t), logKey: newKey(t)}
	i.startIssuer()
	i.startFulcio()
	i.startClock()
	i.startLog()
	return i
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// startIssuer serves what OpenID Connect Discovery 1.0 asks of an issuer, as far as Fulcio reads it.
func (i *instance) startIssuer() {
	mux := http.NewServeMux()
	s := httptest.NewServer(mux)
	i.t.Cleanup(s.Close)
	i.issuer = s.URL
	public, err := i.tokenKey.PublicKey.ECDH()
	if err != nil {
		i.t.Fatal(err)
	}
	point := public.Bytes() // 4, x, y
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": s.URL, "jwks_uri": s.URL + "/keys", "id_token_signing_alg_values_supported": []string{"ES256"},
			"response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"}})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]string{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "1",
			"x": base64.RawURLEncoding.EncodeToString(point[1:33]), "y": base64.RawURLEncoding.EncodeToString(point[33:])}}})
	})
}

// token is an identity token of the issuer (RFC 7519, with ES256 of RFC 7518).
func (i *instance) token(email string) string {
	i.t.Helper()
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			i.t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	now := time.Now()
	signed := part(map[string]string{"alg": "ES256", "kid": "1", "typ": "JWT"}) + "." + part(map[string]any{
		"iss": i.issuer, "sub": email, "aud": "sigstore", "email": email, "email_verified": true, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix()})
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, i.tokenKey, sum[:])
	if err != nil {
		i.t.Fatal(err)
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func (i *instance) startFulcio() {
	key := newKey(i.t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "acme", Organization: []string{"acme"}}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true, MaxPathLen: 1}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		i.t.Fatal(err)
	}
	if i.caCert, err = x509.ParseCertificate(der); err != nil {
		i.t.Fatal(err)
	}
	i.write("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	i.writeKey("ca.key", key)
	config, err := json.Marshal(map[string]any{"OIDCIssuers": map[string]any{i.issuer: map[string]string{"IssuerURL": i.issuer, "ClientID": "sigstore", "Type": "email"}}})
	if err != nil {
		i.t.Fatal(err)
	}
	i.write("fulcio.json", config)
	port := freePort(i.t)
	i.fulcio = "http://127.0.0.1:" + port
	i.run("fulcio", i.fulcio+"/healthz", "serve", "--ca=fileca", "--fileca-cert=ca.pem", "--fileca-key=ca.key", "--fileca-key-passwd=", "--fileca-watch=false", "--ct-log-url=",
		"--config-path=fulcio.json", "--host=127.0.0.1", "--port="+port, "--grpc-host=127.0.0.1", "--grpc-port="+freePort(i.t), "--metrics-port="+freePort(i.t),
		"--legacy-unix-domain-socket="+filepath.Join(i.dir, "fulcio.sock"))
}

func (i *instance) startClock() {
	port := freePort(i.t)
	i.clock = "http://127.0.0.1:" + port + "/api/v1/timestamp"
	i.run("timestamp-server", "http://127.0.0.1:"+port+"/ping", "serve", "--host=127.0.0.1", "--port="+port, "--timestamp-signer=memory", "--disable-ntp-monitoring")
}

func (i *instance) startLog() {
	port := freePort(i.t)
	i.log = "http://127.0.0.1:" + port
	i.writeKey("log.key", i.logKey)
	i.run("rekor-server", i.log+"/healthz", "serve", "--hostname="+logOrigin, "--storage-dir="+filepath.Join(i.dir, "log"), "--signer-filepath=log.key", "--http-address=127.0.0.1",
		"--http-port="+port, "--grpc-port="+freePort(i.t), "--http-metrics-port="+freePort(i.t), "--checkpoint-interval=200ms", "--batch-max-age=50ms")
}

// run starts a program in the instance's folder, waits until the address answers, and ends it after the test.
func (i *instance) run(name, ready string, args ...string) {
	i.t.Helper()
	cmd := exec.Command(tool(i.t, name), args...)
	cmd.Dir = i.dir
	cmd.Env = append(os.Environ(), "HOME="+i.dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		i.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	i.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if i.t.Failed() {
			i.t.Logf("%s:\n%s", name, tail(out.String()))
		}
	})
	deadline := time.After(time.Minute)
	for {
		if resp, err := http.Get(ready); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case err := <-ended:
			ended <- err
			i.t.Fatalf("%s ended: %v\n%s", name, err, tail(out.String()))
		case <-deadline:
			i.t.Fatalf("%s doesn't answer at %s", name, ready)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func tail(s string) string { return s[max(0, len(s)-4000):] }

// tool is the path of a program that make test-signing built.
func tool(t *testing.T, name string) string {
	t.Helper()
	folder := filepath.Join("..", "..", ".cache", "tools")
	if name == "assay" {
		folder = filepath.Join("..", "..", "bin")
	}
	path, err := filepath.Abs(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v; run make test-signing", err)
	}
	return path
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func (i *instance) write(name string, b []byte) {
	i.t.Helper()
	if err := os.WriteFile(filepath.Join(i.dir, name), b, 0o600); err != nil {
		i.t.Fatal(err)
	}
}

func (i *instance) writeKey(name string, key *ecdsa.PrivateKey) {
	i.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		i.t.Fatal(err)
	}
	i.write(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// trustedRoot is what a verifier must know of the instance; of one without a log, if it is to believe what nobody logged.
func (i *instance) trustedRoot(logged bool) []byte {
	i.t.Helper()
	resp, err := http.Get(i.clock + "/certchain")
	if err != nil {
		i.t.Fatal(err)
	}
	defer resp.Body.Close()
	chain, err := io.ReadAll(resp.Body)
	if err != nil {
		i.t.Fatal(err)
	}
	certs, err := cryptoutils.UnmarshalCertificatesFromPEM(chain)
	if err != nil || len(certs) < 2 {
		i.t.Fatalf("the timestamp authority's certificates: %v\n%s", err, chain)
	}
	_, id, err := note.KeyHash(logOrigin, i.logKey.Public())
	if err != nil {
		i.t.Fatal(err)
	}
	from, to := time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	logs := map[string]*root.TransparencyLog{}
	if logged {
		logs[fmt.Sprintf("%x", id)] = &root.TransparencyLog{BaseURL: "https://" + logOrigin, ID: id, ValidityPeriodStart: from, ValidityPeriodEnd: to, HashFunc: sha256Hash,
			PublicKey: i.logKey.Public(), SignatureHashFunc: sha256Hash}
	}
	r, err := root.NewTrustedRoot(root.TrustedRootMediaType01,
		[]root.CertificateAuthority{&root.FulcioCertificateAuthority{Root: i.caCert, ValidityPeriodStart: from, ValidityPeriodEnd: to, URI: i.fulcio}},
		nil,
		[]root.TimestampingAuthority{&root.SigstoreTimestampingAuthority{Leaf: certs[0], Intermediates: certs[1 : len(certs)-1], Root: certs[len(certs)-1],
			ValidityPeriodStart: from, ValidityPeriodEnd: to, URI: i.clock}}, logs)
	if err != nil {
		i.t.Fatal(err)
	}
	b, err := r.MarshalJSON()
	if err != nil {
		i.t.Fatal(err)
	}
	return b
}

// signingConfig is what a signer must know of the instance.
func (i *instance) signingConfig() []byte {
	i.t.Helper()
	at := func(url string, version uint32) []root.Service {
		return []root.Service{{URL: url, MajorAPIVersion: version, ValidityPeriodStart: time.Now().Add(-time.Hour), Operator: "acme"}}
	}
	any := root.ServiceConfiguration{Selector: prototrust.ServiceSelector_ANY}
	c, err := root.NewSigningConfig(root.SigningConfigMediaType02, at(i.fulcio, 1), at(i.issuer, 1), at(i.log, 2), any, at(i.clock, 1), any)
	if err != nil {
		i.t.Fatal(err)
	}
	b, err := c.MarshalJSON()
	if err != nil {
		i.t.Fatal(err)
	}
	return b
}

func lines(s ...string) string { return strings.Join(s, "\n") + "\n" }
