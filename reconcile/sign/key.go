package sign

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/cryptoutils/goodkey"
	"github.com/sigstore/sigstore/pkg/signature"
)

// Variables that hold the password of an encrypted key. The first that is set is used, even if it is empty.
const (
	PasswordVariable       = "ASSAY_KEY_PASSWORD"
	CosignPasswordVariable = "COSIGN_PASSWORD"
)

const maxKeyFile = 64 << 10 // bytes

// hash is what `cosign verify --key` hashes with, whatever the kind of key.
const hash = crypto.SHA256

// keyPath turns a reference to a file into its path.
func keyPath(ref string) (string, error) {
	if err := CheckKey(ref); err != nil {
		return "", err
	}
	switch s, _ := schemeOf(ref); s {
	case "":
		return ref, nil
	case schemeFile:
		return strings.TrimPrefix(ref, schemeFile), nil
	}
	return "", fmt.Errorf("key %q is no file", ref)
}

func readKeyFile(ref string) (string, []byte, error) {
	path, err := keyPath(ref)
	if err != nil {
		return "", nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", nil, fmt.Errorf("open key: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return "", nil, fmt.Errorf("open key: %w", err)
	} else if info.IsDir() {
		return "", nil, fmt.Errorf("key %s is a directory", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return "", nil, fmt.Errorf("read key: %w", err)
	}
	if len(b) > maxKeyFile {
		return "", nil, fmt.Errorf("key %s is larger than %d bytes, so it is no key", path, maxKeyFile)
	}
	return path, b, nil
}

// parseKey parses a private key: an encrypted one as cosign writes it, or PKCS #8, SEC 1 or PKCS #1 in PEM. What it was read from is for messages.
func parseKey(ctx context.Context, path string, b []byte, password func(context.Context) ([]byte, error)) (signature.SignerVerifier, error) {
	block := privateBlock(b)
	if block == nil {
		return nil, fmt.Errorf("key %s holds no private key in PEM", path)
	}
	der := block.Bytes
	switch block.Type {
	case cosign.CosignPrivateKeyPemType, cosign.SigstorePrivateKeyPemType:
		pass, err := findPassword(ctx, password)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", path, err)
		}
		if der, err = encrypted.Decrypt(block.Bytes, pass); err != nil {
			return nil, fmt.Errorf("decrypt key %s: wrong password, or the file is damaged", path)
		}
	case "ENCRYPTED PRIVATE KEY":
		return nil, fmt.Errorf("key %s is encrypted in a way that cosign doesn't use; convert it with `cosign import-key-pair`", path)
	}
	key, err := parsePrivate(block.Type, der)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", path, err)
	}
	sv, err := signature.LoadSignerVerifier(key, hash)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", path, err)
	}
	return sv, nil
}

// privateBlock returns the first block that is a private key; OpenSSL puts the parameters of a curve before it.
func privateBlock(b []byte) *pem.Block {
	for {
		block, rest := pem.Decode(b)
		if block == nil || strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return block
		}
		b = rest
	}
}

func parsePrivate(kind string, der []byte) (crypto.Signer, error) {
	var key any
	var err error
	switch kind {
	case cosign.ECPrivateKeyPemType:
		key, err = x509.ParseECPrivateKey(der)
	case cosign.RSAPrivateKeyPemType:
		key, err = x509.ParsePKCS1PrivateKey(der)
	case cosign.PrivateKeyPemType, cosign.CosignPrivateKeyPemType, cosign.SigstorePrivateKeyPemType:
		key, err = x509.ParsePKCS8PrivateKey(der)
	default:
		return nil, fmt.Errorf("%q is not a kind of private key that can sign", kind)
	}
	if err != nil {
		return nil, errors.New("the private key can't be parsed; is the file damaged?")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("only RSA, ECDSA and Ed25519 keys can sign")
	}
	if err := goodkey.ValidatePubKey(signer.Public()); err != nil {
		return nil, fmt.Errorf("the key is too weak: %w", err)
	}
	return signer, nil
}

func findPassword(ctx context.Context, ask func(context.Context) ([]byte, error)) ([]byte, error) {
	for _, name := range []string{PasswordVariable, CosignPasswordVariable} {
		if v, ok := os.LookupEnv(name); ok {
			return []byte(v), nil
		}
	}
	if ask == nil {
		return nil, fmt.Errorf("it is encrypted and no password is known; set %s", PasswordVariable)
	}
	pass, err := ask(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask for its password: %w", err)
	}
	return pass, nil
}

// A PublicKey verifies what a Signer made. It may be used concurrently. The zero value verifies nothing.
type PublicKey struct {
	verifier signature.Verifier
	pem      []byte
	hint     string // how a bundle names the key: its SHA-256 sum, in base64
}

// PEM returns the key as `cosign verify --key` reads it.
func (k PublicKey) PEM() []byte { return bytes.Clone(k.pem) }

// ParsePublicKey parses an RSA, ECDSA or Ed25519 public key in PEM (PKIX).
func ParsePublicKey(b []byte) (PublicKey, error) {
	if len(b) > maxKeyFile {
		return PublicKey{}, fmt.Errorf("public key is larger than %d bytes", maxKeyFile)
	}
	pub, err := cryptoutils.UnmarshalPEMToPublicKey(b)
	if err != nil {
		return PublicKey{}, fmt.Errorf("parse public key: %w", err)
	}
	return newPublicKey(pub)
}

// ReadPublicKey reads a public key from a file. The reference may also name a private key's file "x.key" beside which its public key
// lies as "x.pub", so that whoever verifies needs no private key.
func ReadPublicKey(ref string) (PublicKey, error) {
	path, err := keyPath(ref)
	if err != nil {
		return PublicKey{}, err
	}
	if stem, ok := strings.CutSuffix(path, ".key"); ok {
		path = stem + ".pub"
	}
	_, b, err := readKeyFile(path)
	if err != nil {
		return PublicKey{}, fmt.Errorf("public key: %w", err)
	}
	k, err := ParsePublicKey(b)
	if err != nil {
		return PublicKey{}, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

func newPublicKey(pub crypto.PublicKey) (PublicKey, error) {
	if err := goodkey.ValidatePubKey(pub); err != nil {
		return PublicKey{}, fmt.Errorf("the public key is too weak: %w", err)
	}
	v, err := signature.LoadVerifier(pub, hash)
	if err != nil {
		return PublicKey{}, fmt.Errorf("public key: %w", err)
	}
	b, err := cryptoutils.MarshalPublicKeyToPEM(pub)
	if err != nil {
		return PublicKey{}, fmt.Errorf("public key: %w", err)
	}
	block, _ := pem.Decode(b)
	sum := sha256.Sum256(block.Bytes)
	return PublicKey{verifier: v, pem: b, hint: base64.StdEncoding.EncodeToString(sum[:])}, nil
}

// GenerateKeyPair writes a new ECDSA P-256 key pair as `cosign generate-key-pair` does: dir/cosign.key, encrypted with the password,
// and dir/cosign.pub. It refuses to replace files.
func GenerateKeyPair(dir string, password []byte) (private, public string, err error) {
	keys, err := cosign.GenerateKeyPair(func(bool) ([]byte, error) { return password, nil })
	if err != nil {
		return "", "", fmt.Errorf("generate key pair: %w", err)
	}
	private, public = filepath.Join(dir, "cosign.key"), filepath.Join(dir, "cosign.pub")
	if err := writeNew(private, keys.PrivateBytes, 0o600); err != nil {
		return "", "", err
	}
	if err := writeNew(public, keys.PublicBytes, 0o644); err != nil {
		return "", "", errors.Join(err, os.Remove(private))
	}
	return private, public, nil
}

func writeNew(path string, b []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write key: %w", errors.Join(err, os.Remove(path)))
	}
	return nil
}
