package sign

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var (
	digestA = reconcile.MustDigest("sha256:" + strings.Repeat("a", 64))
	digestB = reconcile.MustDigest("sha256:" + strings.Repeat("b", 64))
	when    = time.Date(2026, 11, 21, 10, 30, 15, 0, time.UTC)
)

const vulnType = "https://cosign.sigstore.dev/attestation/vuln/v1"

func repo(t testing.TB, s string) reconcile.Repo {
	t.Helper()
	r, err := reconcile.ParseRepo(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// writeKey writes an unencrypted private key and returns its path.
func writeKey(t testing.TB, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.key")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func pkcs8(t testing.TB, key crypto.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return writeKey(t, "PRIVATE KEY", der)
}

func newSigner(t testing.TB, name string) *Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(t.Context(), Options{Name: name, Key: pkcs8(t, key)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func statement(t testing.TB, format reconcile.Format) reconcile.Statement {
	return reconcile.Statement{Format: format, Subject: digestA, Identity: repo(t, "images.example.com/approved/nginx"), Time: when}
}

func attestation(t testing.TB) reconcile.Statement {
	s := statement(t, reconcile.Bundle)
	s.PredicateType, s.About = vulnType, "builtin"
	s.Predicate = `{"scanner":{"uri":"https://scanner.example.com/?a=1&b=<2>"},"count":12345678901234567890,"pi":3.10}`
	return s
}

func mustSign(t testing.TB, s *Signer, st reconcile.Statement) reconcile.Record {
	t.Helper()
	r, err := s.Sign(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// attached is a source that holds given records.
type attached []reconcile.Record

func (a attached) Attached(context.Context, reconcile.Image) ([]reconcile.Record, error) {
	return a, nil
}

// raw is what a registry gives back of a record: nothing of the statement.
func raw(r reconcile.Record) reconcile.Record {
	r.Statement, r.Problem = reconcile.Statement{}, ""
	return r
}

func verifyOne(t testing.TB, keys map[string]PublicKey, subject reconcile.Digest, r reconcile.Record) reconcile.Record {
	t.Helper()
	got, err := NewVerifier(keys, attached{r}).Records(t.Context(), reconcile.Image{Repo: repo(t, "registry.example.com/x"), Digest: subject})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 {
		t.Fatalf("%d records, want 1", len(got))
	}
	return got[0]
}

func TestWhatIsSignedIsReadBack(t *testing.T) {
	s := newSigner(t, "main")
	keys := map[string]PublicKey{"main": s.PublicKey(), "other": newSigner(t, "other").PublicKey()}
	for name, st := range map[string]reconcile.Statement{
		"legacy signature":   statement(t, reconcile.Legacy),
		"bundle signature":   statement(t, reconcile.Bundle),
		"bundle attestation": attestation(t),
	} {
		t.Run(name, func(t *testing.T) {
			r := mustSign(t, s, st)
			want := st
			want.Signer = "main"
			opt := cmpopts.EquateComparable(reconcile.Repo{}, reconcile.Digest{})
			if d := cmp.Diff(want, r.Statement, opt); d != "" {
				t.Errorf("the new record's statement (-want +got):\n%s", d)
			}
			got := verifyOne(t, keys, digestA, raw(r))
			if got.Problem != "" {
				t.Fatalf("problem: %s", got.Problem)
			}
			if d := cmp.Diff(want, got.Statement, opt); d != "" {
				t.Errorf("statement read back (-want +got):\n%s", d)
			}
			if got.ID() != r.ID() {
				t.Error("the record has another ID after it was read back")
			}
		})
	}
}

func TestKindsOfKey(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	p521, _ := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	rsa2048, _ := rsa.GenerateKey(rand.Reader, 2048)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	sec1, err := x509.MarshalECPrivateKey(p256)
	if err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"ECDSA P-256 in PKCS #8": pkcs8(t, p256),
		"ECDSA P-384 in PKCS #8": pkcs8(t, p384),
		"ECDSA P-521 in PKCS #8": pkcs8(t, p521),
		"ECDSA in SEC 1":         writeKey(t, "EC PRIVATE KEY", sec1),
		"RSA in PKCS #8":         pkcs8(t, rsa2048),
		"RSA in PKCS #1":         writeKey(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsa2048)),
		"Ed25519 in PKCS #8":     pkcs8(t, ed),
		"reference with file://": "file://" + pkcs8(t, ed),
	} {
		t.Run(name, func(t *testing.T) {
			s, err := New(t.Context(), Options{Name: "main", Key: path})
			if err != nil {
				t.Fatal(err)
			}
			pub, err := ParsePublicKey(s.PublicKey().PEM())
			if err != nil {
				t.Fatal(err)
			}
			for _, st := range []reconcile.Statement{statement(t, reconcile.Legacy), attestation(t)} {
				if p := verifyOne(t, map[string]PublicKey{"main": pub}, digestA, raw(mustSign(t, s, st))).Problem; p != "" {
					t.Errorf("%s: %s", st.Format, p)
				}
			}
		})
	}
}

func TestEncryptedKeyPair(t *testing.T) {
	t.Setenv(PasswordVariable, "")
	t.Setenv(CosignPasswordVariable, "")
	os.Unsetenv(PasswordVariable)
	os.Unsetenv(CosignPasswordVariable)
	dir := t.TempDir()
	private, public, err := GenerateKeyPair(dir, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(private); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("private key: %v, %v; want mode 0600", info.Mode(), err)
	}
	if _, _, err := GenerateKeyPair(dir, nil); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second key pair in the same folder: %v; want that the file exists", err)
	}
	asked := 0
	ask := func(p string) func(context.Context) ([]byte, error) {
		return func(context.Context) ([]byte, error) { asked++; return []byte(p), nil }
	}
	if _, err := New(t.Context(), Options{Name: "main", Key: private}); err == nil || !strings.Contains(err.Error(), PasswordVariable) {
		t.Errorf("without a password: %v; want the variable's name", err)
	}
	if _, err := New(t.Context(), Options{Name: "main", Key: private, Password: ask("wrong")}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("wrong password: %v", err)
	}
	s, err := New(t.Context(), Options{Name: "main", Key: private, Password: ask("secret")})
	if err != nil {
		t.Fatal(err)
	}
	if asked != 2 {
		t.Errorf("asked %d times, want once for each key", asked)
	}
	for _, ref := range []string{public, private} {
		pub, err := ReadPublicKey(ref)
		if err != nil {
			t.Fatal(err)
		}
		if p := verifyOne(t, map[string]PublicKey{"main": pub}, digestA, raw(mustSign(t, s, statement(t, reconcile.Legacy)))).Problem; p != "" {
			t.Error(p)
		}
	}
	t.Setenv(CosignPasswordVariable, "secret")
	if _, err := New(t.Context(), Options{Name: "main", Key: private, Password: ask("wrong")}); err != nil {
		t.Errorf("the password of %s is not used: %v", CosignPasswordVariable, err)
	}
}

// A scheme that cosign doesn't know makes it run a program of that name.
func TestWhatIsNoReferenceToAKey(t *testing.T) {
	bin := t.TempDir()
	marker := filepath.Join(bin, "ran")
	program := "#!/bin/sh\ntouch " + marker + "\n"
	if err := os.WriteFile(filepath.Join(bin, "sigstore-kms-evil"), []byte(program), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	for _, ref := range []string{"evil://key", "x://key", "https://example.com/key", "pkcs11:token=x", "gitlab://project", "file://relative", "env://", "env://A=B", "k8s://secret", "k8s://../x", "awskms://", ""} {
		if _, err := New(t.Context(), Options{Name: "main", Key: ref}); err == nil || !strings.Contains(err.Error(), "key") {
			t.Errorf("%q: %v; want a refusal that says what to write", ref, err)
		}
		if _, err := ReadPublicKey(ref); err == nil {
			t.Errorf("public key %q was read", ref)
		}
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("a program named after the scheme was run")
	}
}

func TestBrokenKeys(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skip("this Go makes no weak keys")
	}
	big := filepath.Join(t.TempDir(), "big.key")
	if err := os.WriteFile(big, make([]byte, maxKeyFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, path := range map[string]string{
		"too weak":          pkcs8(t, weak),
		"can't be parsed":   writeKey(t, "PRIVATE KEY", []byte("no DER")),
		"no private key":    writeKey(t, "CERTIFICATE", []byte("x")),
		"cosign import-key": writeKey(t, "ENCRYPTED PRIVATE KEY", []byte("x")),
		"is larger":         big,
		"is a directory":    t.TempDir(),
		"no such file":      filepath.Join(t.TempDir(), "absent.key"),
	} {
		if _, err := New(t.Context(), Options{Name: "main", Key: path}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestUnsignableStatements(t *testing.T) {
	s := newSigner(t, "main")
	for want, change := range map[string]func(*reconcile.Statement){
		"no subject":      func(s *reconcile.Statement) { s.Subject = reconcile.Digest{} },
		"no identity":     func(s *reconcile.Statement) { s.Identity = reconcile.Repo{} },
		"no time":         func(s *reconcile.Statement) { s.Time = time.Time{} },
		"not a format":    func(s *reconcile.Statement) { s.Format = "paper" },
		"bundles only":    func(s *reconcile.Statement) { s.Format = reconcile.Legacy },
		"not a JSON":      func(s *reconcile.Statement) { s.Predicate = `{} {}` },
		"no predicate":    func(s *reconcile.Statement) { s.PredicateType = "" },
		"type of signatu": func(s *reconcile.Statement) { s.PredicateType = "https://sigstore.dev/cosign/sign/v1" },
	} {
		st := attestation(t)
		change(&st)
		if _, err := s.Sign(t.Context(), st); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Sign(ctx, attestation(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestSignersWorkConcurrently(t *testing.T) {
	s := newSigner(t, "main")
	v := NewVerifier(map[string]PublicKey{"main": s.PublicKey()}, attached{raw(mustSign(t, s, attestation(t)))})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := s.Sign(t.Context(), statement(t, reconcile.Bundle)); err != nil {
				t.Error(err)
			}
			got, err := v.Records(t.Context(), reconcile.Image{Digest: digestA})
			if err != nil || got[0].Problem != "" {
				t.Error(err, got)
			}
		})
	}
	wg.Wait()
}
