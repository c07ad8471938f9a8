package sign

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms"

	// The drivers register themselves. Decision 14 says why they are always linked.
	_ "github.com/sigstore/sigstore/pkg/signature/kms/aws"
	_ "github.com/sigstore/sigstore/pkg/signature/kms/azure"
	_ "github.com/sigstore/sigstore/pkg/signature/kms/gcp"
	_ "github.com/sigstore/sigstore/pkg/signature/kms/hashivault"
)

// scheme matches what a reference that is no path begins with. One letter and a colon is a drive's name, unless two slashes follow.
var scheme = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9+.-]*://|[A-Za-z0-9+.-]+:)`)

// Schemes of references to keys. Anything else is refused before sigstore sees it: it runs a program that is named after a scheme that it doesn't
// know.
const (
	schemeFile = "file://"
	schemeEnv  = "env://"
	schemeK8s  = "k8s://"
)

// kmsSchemes are those of key management services, and of whom they are.
var kmsSchemes = []string{"awskms://", "azurekms://", "gcpkms://", "hashivault://"}

// schemeOf returns the scheme of a reference; empty for a path.
func schemeOf(ref string) (string, error) {
	if ref == "" {
		return "", errors.New("no key is named; give the path of a private key's file")
	}
	known := slices.Concat([]string{schemeFile, schemeEnv, schemeK8s}, kmsSchemes)
	for _, s := range known {
		if strings.HasPrefix(ref, s) {
			return s, nil
		}
	}
	if s := scheme.FindString(ref); s != "" {
		return "", fmt.Errorf("key %q: references that start with %q are not supported; known are %s (write ./ before a file's name with a colon)",
			ref, s, strings.Join(known, ", "))
	}
	return "", nil
}

// CheckKey tells what is wrong with a reference to a key, without reading it.
func CheckKey(ref string) error {
	s, err := schemeOf(ref)
	if err != nil {
		return err
	}
	rest := strings.TrimPrefix(ref, s)
	switch {
	case s == schemeFile && !filepath.IsAbs(rest):
		return fmt.Errorf("key %q: a file:// reference needs an absolute path, as in file:///etc/assay/cosign.key", ref)
	case s == schemeEnv && !variable.MatchString(rest):
		return fmt.Errorf("key %q: write the name of a variable after env://, as in env://SIGNING_KEY", ref)
	case s == schemeK8s && !secretName.MatchString(rest):
		return fmt.Errorf("key %q: write k8s://namespace/name, the name of a secret that cosign generate-key-pair made", ref)
	case s != "" && rest == "":
		return fmt.Errorf("key %q names no key", ref)
	}
	return nil
}

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Remote tells whether a key is held by a service: its public half is asked for there, and lies in no file.
func Remote(ref string) bool {
	s, err := schemeOf(ref)
	return err == nil && s != "" && s != schemeFile
}

// load finds the private key that a reference names.
func load(ctx context.Context, ref string, password func(context.Context) ([]byte, error)) (signature.SignerVerifier, error) {
	if err := CheckKey(ref); err != nil {
		return nil, err
	}
	s, _ := schemeOf(ref)
	switch {
	case slices.Contains(kmsSchemes, s):
		sv, err := kms.Get(ctx, ref, hash)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", ref, err)
		}
		return sv, nil
	case s == schemeEnv:
		name := strings.TrimPrefix(ref, s)
		pem := os.Getenv(name)
		if pem == "" {
			return nil, fmt.Errorf("key %s: the variable %s is not set", ref, name)
		}
		return parseKey(ctx, ref, []byte(pem), password)
	case s == schemeK8s:
		secret, err := readSecret(ctx, strings.TrimPrefix(ref, s))
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", ref, err)
		}
		return parseKey(ctx, ref, secret.private, func(ctx context.Context) ([]byte, error) { return secret.password, nil })
	}
	path, b, err := readKeyFile(ref)
	if err != nil {
		return nil, err
	}
	return parseKey(ctx, path, b, password)
}
