package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry"
	"github.com/assay-oci/assay/reconcile/sign"
)

// What signs and verifies.

// readers builds what reads registries, also those of names that somebody typed, and verifies records; it neither stages nor scans.
func (a *assembly) readers(ctx context.Context, typed ...string) (reconcile.Sensors, error) {
	a.reader = registry.NewReader(a.registries(typed...))
	v, err := a.verifier(ctx)
	return reconcile.Sensors{Holdings: a.reader, Content: a.reader, Records: v, Asking: a.progress.asking}, err
}

// verifying is what reads and verifies the chain of an image.
type verifying struct {
	reader  *registry.Reader
	records reconcile.Verifier
	desired reconcile.Desired // of the catalog, if that was given
	by      string            // whose records count, for people
}

// openVerify takes whose records of an image count from a key, an identity or a catalog.
func openVerify(ctx context.Context, io stdio, o verifyOptions, image string) (verifying, error) {
	reader := registry.NewReader(registry.Options{Insecure: o.insecure, Local: mayBeLocal(nil, append([]string{image}, o.insecure...))})
	switch {
	case o.key != "":
		key, err := sign.ReadPublicKey(o.key)
		return verifying{reader: reader, records: sign.NewVerifier(map[string]sign.PublicKey{o.key: key}, reader), by: "the holder of " + o.key}, err
	case o.trust != (reconcile.Trust{}):
		certificates, err := openCertificates(ctx, o)
		who := sign.Identity{Name: o.trust.Subject, Trust: o.trust, Certificates: certificates}
		return verifying{reader: reader, records: sign.NewVerifier(nil, reader, who), by: o.trust.Subject}, err
	}
	a, err := openRun(ctx, io, runOptions{catalogOptions: o.catalogOptions, output: o.output, cache: o.cache, insecure: o.insecure}, "")
	if err != nil {
		return verifying{}, err
	}
	defer a.close()
	if len(a.desired.Signers) == 0 {
		return verifying{}, errors.New("the catalog declares no signer, so nothing that lies beside its images can be verified")
	}
	s, err := a.readers(ctx, image)
	return verifying{reader: a.reader, records: s.Records, desired: a.desired, by: "the catalog's signers"}, err
}

// openCertificates trusts the Sigstore instance whose trusted root is given, or the public one.
func openCertificates(ctx context.Context, o verifyOptions) (*sign.Certificates, error) {
	if o.trustedRoot == "" {
		cache, err := (&runOptions{cache: o.cache}).folder()
		if err != nil {
			return nil, err
		}
		return sign.PublicCertificates(ctx, filepath.Join(cache, "sigstore"))
	}
	b, err := readTrustedRoot(o.trustedRoot)
	if err != nil {
		return nil, fmt.Errorf("read trusted root: %w", err)
	}
	c, err := sign.ParseTrustedRoot(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.trustedRoot, err)
	}
	return c, nil
}

// roots trusts the Sigstore instances that the catalog names, and the public one, for what identities signed upstream. The public one's files are read when
// somebody is first asked for.
func (a *assembly) roots() sign.Roots {
	var mu sync.Mutex
	had := map[string]*sign.Certificates{}
	return func(ctx context.Context, instance string) (*sign.Certificates, error) {
		mu.Lock()
		defer mu.Unlock()
		if c, ok := had[instance]; ok {
			return c, nil
		}
		c, err := a.openRoot(ctx, instance)
		if err == nil {
			had[instance] = c
		}
		return c, err
	}
}

func (a *assembly) openRoot(ctx context.Context, instance string) (*sign.Certificates, error) {
	if instance == "" {
		return sign.PublicCertificates(ctx, filepath.Join(a.cache, "sigstore"))
	}
	text, ok := a.desired.Instances[instance]
	if !ok {
		return nil, fmt.Errorf("the catalog has no sigstore block %q; one that is added counts once it is merged", instance)
	}
	c, err := sign.ParseTrustedRoot([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("sigstore %q: %w", instance, err)
	}
	return c, nil
}

// verifier builds what reads the records of the catalog's signers: by their keys, or by their identities.
func (a *assembly) verifier(ctx context.Context) (*sign.Verifier, error) {
	var identities []sign.Identity
	a.sigstore = map[string]*sign.Instance{}
	for _, spec := range a.desired.Signers {
		if spec.Keyless == (reconcile.Keyless{}) {
			continue
		}
		i, err := sign.OpenInstance(ctx, spec.Keyless, filepath.Join(a.cache, "sigstore"))
		if err != nil {
			return nil, fmt.Errorf("signer %q: %w", spec.Name, err)
		}
		a.sigstore[spec.Name] = i
		identities = append(identities, sign.Identity{Name: spec.Name, Trust: spec.Keyless.Trust(), Certificates: i.Certificates})
	}
	var err error
	if a.keys, err = a.publicKeys(ctx); err != nil {
		return nil, err
	}
	return sign.NewVerifier(a.keys, a.reader, identities...), nil
}

// waiting tells that a signing service is asked too much.
func (a *assembly) waiting(service string, d time.Duration) {
	fmt.Fprintf(a.io.err, "assay: %s is busy; waiting %s to sign\n", service, d.Round(time.Second))
}

// publicKeys finds the keys that signatures are verified with: in the catalog, or beside the private key as cosign writes it
// (cosign.key and cosign.pub), or in the private key itself.
func (a *assembly) publicKeys(ctx context.Context) (map[string]sign.PublicKey, error) {
	out := map[string]sign.PublicKey{}
	for _, spec := range a.desired.Signers {
		if spec.Keyless != (reconcile.Keyless{}) {
			continue
		}
		k, err := a.publicKey(ctx, spec)
		if err != nil {
			return nil, err
		}
		out[spec.Name] = k
	}
	return out, nil
}

func (a *assembly) publicKey(ctx context.Context, spec reconcile.SignerSpec) (sign.PublicKey, error) {
	if spec.PublicKey != "" {
		k, err := sign.ParsePublicKey([]byte(spec.PublicKey))
		if err != nil {
			return k, fmt.Errorf("signer %q: public_key: %w", spec.Name, err)
		}
		return k, nil
	}
	if !sign.Remote(spec.Key) {
		if k, err := sign.ReadPublicKey(strings.TrimSuffix(spec.Key, ".key") + ".pub"); err == nil {
			return k, nil
		}
	}
	s, err := sign.New(ctx, sign.Options{Name: spec.Name, Key: spec.Key, Password: a.password})
	if err != nil {
		return sign.PublicKey{}, fmt.Errorf("%w; to plan without the private key, write its public half into the catalog as public_key", err)
	}
	return s.PublicKey(), nil
}

// checkKey tells what is wrong with a reference to a key.
func checkKey(ref string) error { return sign.CheckKey(ref) }

// password asks at the terminal, without echo.
func (a *assembly) password(context.Context) ([]byte, error) {
	f, ok := a.io.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, fmt.Errorf("the key is encrypted: set ASSAY_KEY_PASSWORD")
	}
	fmt.Fprint(a.io.err, "password of the signing key: ")
	defer fmt.Fprintln(a.io.err)
	return term.ReadPassword(int(f.Fd()))
}
