package sign

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assay-oci/assay/reconcile"
)

// held is a private key that a service holds.
func held(t *testing.T) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return key, der
}

// vault serves what the transit secrets engine of HashiCorp Vault answers to a read of a key and to a signature of a digest.
func vault(t *testing.T) {
	key, der := held(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Vault-Token") != "secret" {
			http.Error(w, `{"errors":["permission denied"]}`, http.StatusForbidden)
			return
		}
		data := map[string]any{}
		switch {
		case r.URL.Path == "/v1/transit/keys/approved":
			pub := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
			data = map[string]any{"latest_version": 1, "keys": map[string]any{"1": map[string]any{"name": "P-256", "public_key": pub}}}
		case strings.HasPrefix(r.URL.Path, "/v1/transit/sign/approved/"):
			var in struct {
				Input     string `json:"input"`
				Prehashed bool   `json:"prehashed"`
			}
			if err := json.NewDecoder(r.Body).Decode(&in); err != nil || !in.Prehashed {
				http.Error(w, "{}", http.StatusBadRequest)
				return
			}
			digest, _ := base64.StdEncoding.DecodeString(in.Input)
			sig, err := key.Sign(rand.Reader, digest, crypto.SHA256)
			if err != nil {
				t.Error(err)
			}
			data["signature"] = "vault:v1:" + base64.StdEncoding.EncodeToString(sig)
		default:
			http.Error(w, `{"errors":[]}`, http.StatusNotFound)
			return
		}
		json.NewEncoder(w).Encode(map[string]any{"data": data})
	}))
	t.Cleanup(s.Close)
	t.Setenv("VAULT_ADDR", s.URL)
	t.Setenv("VAULT_TOKEN", "secret")
}

// aws serves what AWS KMS answers to GetPublicKey, DescribeKey and Sign (its JSON 1.1 protocol), and returns where.
func aws(t *testing.T) string {
	key, der := held(t)
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		var in struct{ KeyId, MessageType, Message string }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.KeyId != "alias/approved" || !strings.Contains(r.Header.Get("Authorization"), "Credential=AKIDEXAMPLE/") {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"__type":"NotFoundException"}`)
			return
		}
		meta := map[string]any{"KeyId": "k", "KeyUsage": "SIGN_VERIFY", "SigningAlgorithms": []string{"ECDSA_SHA_256"}, "CustomerMasterKeySpec": "ECC_NIST_P256"}
		switch _, call, _ := strings.Cut(r.Header.Get("X-Amz-Target"), "."); call {
		case "GetPublicKey":
			meta["PublicKey"] = der
			json.NewEncoder(w).Encode(meta)
		case "DescribeKey":
			json.NewEncoder(w).Encode(map[string]any{"KeyMetadata": meta})
		case "Sign":
			digest, _ := base64.StdEncoding.DecodeString(in.Message)
			sig, err := key.Sign(rand.Reader, digest, crypto.SHA256)
			if err != nil || in.MessageType != "DIGEST" {
				t.Error(err, in.MessageType)
			}
			json.NewEncoder(w).Encode(map[string]any{"KeyId": "k", "Signature": sig, "SigningAlgorithm": "ECDSA_SHA_256"})
		}
	}))
	t.Cleanup(s.Close)
	for k, v := range map[string]string{"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "eu-central-1", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_TLS_INSECURE_SKIP_VERIFY": "1", "AWS_CA_BUNDLE": "", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull} {
		t.Setenv(k, v)
	}
	return strings.TrimPrefix(s.URL, "https://")
}

// kubernetes serves one secret as the API server of a cluster does, and makes this process one of its pods. It returns the account's folder.
func kubernetes(t *testing.T, data map[string][]byte) string {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer token-of-the-pod":
			w.WriteHeader(http.StatusForbidden)
		case r.URL.Path != "/api/v1/namespaces/assay/secrets/signing":
			w.WriteHeader(http.StatusNotFound)
		default:
			json.NewEncoder(w).Encode(map[string]any{"kind": "Secret", "data": data})
		}
	}))
	t.Cleanup(s.Close)
	host, port, _ := net.SplitHostPort(strings.TrimPrefix(s.URL, "https://"))
	t.Setenv(hostVariable, host)
	t.Setenv(portVariable, port)
	dir := t.TempDir()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if os.WriteFile(filepath.Join(dir, "ca.crt"), ca, 0o600) != nil || os.WriteFile(filepath.Join(dir, "token"), []byte("token-of-the-pod\n"), 0o600) != nil {
		t.Fatal("the account could not be written")
	}
	return dir
}

// signs checks that what a signer made is valid by its public key, in both formats.
func signs(t *testing.T, ref string) {
	t.Helper()
	s, err := New(t.Context(), Options{Name: "main", Key: ref})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []reconcile.Format{reconcile.Legacy, reconcile.Bundle} {
		if p := verifyOne(t, map[string]PublicKey{"main": s.PublicKey()}, digestA, raw(mustSign(t, s, statement(t, f)))).Problem; p != "" {
			t.Errorf("%s: %s", f, p)
		}
	}
}

func TestKeysOfManagementServices(t *testing.T) {
	t.Run("HashiCorp Vault", func(t *testing.T) {
		vault(t)
		signs(t, "hashivault://approved")
		if _, err := New(t.Context(), Options{Name: "main", Key: "hashivault://other"}); err == nil {
			t.Error("a key that isn't there was found")
		}
	})
	t.Run("AWS KMS", func(t *testing.T) {
		at := aws(t)
		signs(t, "awskms://"+at+"/alias/approved")
		if _, err := New(t.Context(), Options{Name: "main", Key: "awskms://" + at + "/alias/other"}); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("a key that isn't there: %v", err)
		}
	})
}

func TestAKeyInTheEnvironment(t *testing.T) {
	private, _, err := GenerateKeyPair(t.TempDir(), []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(private)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SIGNING_KEY", string(pem))
	t.Setenv(PasswordVariable, "secret")
	signs(t, "env://SIGNING_KEY")
	if _, err := New(t.Context(), Options{Name: "main", Key: "env://NO_SUCH_KEY"}); err == nil || !strings.Contains(err.Error(), "NO_SUCH_KEY is not set") {
		t.Errorf("a variable that isn't set: %v", err)
	}
	t.Setenv("NOT_A_KEY", "s3cret-t0ken")
	if _, err := New(t.Context(), Options{Name: "main", Key: "env://NOT_A_KEY"}); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a variable that holds something else: %v", err)
	}
}

func TestAKeyInAKubernetesSecret(t *testing.T) {
	private, _, err := GenerateKeyPair(t.TempDir(), []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(private)
	if err != nil {
		t.Fatal(err)
	}
	c, err := inCluster(kubernetes(t, map[string][]byte{"cosign.key": key, "cosign.password": []byte("secret"), "cosign.pub": nil}))
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.secret(t.Context(), "assay/signing")
	if err != nil || string(got.password) != "secret" || string(got.private) != string(key) {
		t.Errorf("%d bytes, %v", len(got.private), err)
	}
	if _, err := c.secret(t.Context(), "assay/other"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a secret that isn't there: %v", err)
	}
	c.token = "stolen"
	if _, err := c.secret(t.Context(), "assay/signing"); err == nil || !strings.Contains(err.Error(), "may not read") {
		t.Errorf("without permission: %v", err)
	}
	if _, err := inCluster(t.TempDir()); err == nil {
		t.Error("a pod without an account")
	}
	t.Setenv(hostVariable, "")
	if _, err := New(t.Context(), Options{Name: "main", Key: "k8s://assay/signing"}); err == nil || !strings.Contains(err.Error(), "no pod") {
		t.Errorf("outside of a cluster: %v", err)
	}
}
