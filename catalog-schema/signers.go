package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/hashicorp/hcl/v2"

	"github.com/assay-oci/assay/reconcile"
)

// Bounds of what signers make be read: their number, and the bytes of a trusted root or a signing configuration.
const (
	maxSigners = 100
	maxTrust   = 1 << 20
)

// checkSigners sees that each signer has one thing to sign with, and that no attribute is without effect.
func (t *tree) checkSigners() {
	if len(t.signers) > maxSigners {
		t.unsound("", mistake(t.signers[maxSigners].def(), "Too many signers", "A catalog has at most %d signers.", maxSigners))
	}
	for _, x := range t.signers {
		wrong := func(attr, summary, format string, args ...any) {
			t.unsound("", mistake(x.attr(attr), summary, format, args...))
		}
		if len(x.Keyless) == 0 {
			if x.Key == "" && !x.bad() {
				t.unsound("", mistake(x.def(), "Nothing to sign with", "A signer needs the attribute \"key\", a reference to the private key, or a block \"keyless\"."))
			}
			continue
		}
		if len(x.Keyless) > 1 {
			t.unsound("", mistake(x.Keyless[1].def(), "Second keyless block", "A signer is one identity. Write another signer for the other one."))
		}
		if x.Key != "" {
			wrong("key", "Both a key and none", "A signer has either a key or a keyless block. Remove one, or write two signers.")
		}
		if x.Public != "" {
			wrong("public_key", "A key of nothing", "A keyless signer has no public key: its certificates have a new one each time.")
		}
		if slices.Contains(x.Formats, signerFormat(reconcile.Legacy)) {
			wrong("formats", "Not without a key", "A keyless signer writes bundles only. Write [\"bundle\"], or leave it out.")
		}
		for _, k := range x.Keyless {
			if d := k.check(); d != nil {
				t.unsound("", d)
				x.fail(d)
			}
		}
	}
}

// checkFormats sees that what one signer writes hides no signature of another: cosign looks at no other format where there is a bundle.
func (t *tree) checkFormats() {
	writes := func(bundles bool) []*signerBlock {
		return slices.DeleteFunc(slices.Clone(t.signers), func(x *signerBlock) bool {
			return x.bad() || x.Retired || slices.Contains(x.spec().Formats, reconcile.Bundle) != bundles
		})
	}
	others := writes(true)
	if len(others) == 0 {
		return
	}
	for _, x := range writes(false) {
		t.unsound("", mistake(x.attr("formats"), "Signatures would not be seen", "The signer %q writes no bundles and %q does: where a bundle lies beside an image, cosign looks at nothing else. "+
			"Add \"bundle\" to its formats; the next run signs everything in them too.", x.label, others[0].label))
	}
}

// checkKeys sees that each key is one that could be read: a plan needs none where the public half is in the catalog, so that it would be found out after the merge.
func (t *tree) checkKeys(check CheckKey) {
	for _, x := range t.signers {
		if check == nil || x.Key == "" || x.bad() {
			continue
		}
		if err := check(x.Key); err != nil {
			t.unsound("", mistake(x.attr("key"), "Unusable key", "It can't be used: %v.", err))
		}
	}
}

func (k *keylessBlock) check() *hcl.Diagnostic {
	if k.bad() {
		return nil // that was reported
	}
	if err := (reconcile.Trust{Issuer: k.Issuer, Subject: k.Subject}).CheckIdentity(); err != nil {
		return mistake(k.attr("subject"), "No identity", "No certificate could bear it: %v.", err)
	}
	if (k.TrustedRoot == "") != (k.SigningConfig == "") {
		return mistake(k.def(), "Half an instance", "trusted_root and signing_config belong to one Sigstore instance: name both, or neither for the public one.")
	}
	return nil
}

// readTrust reads the files that keyless signers and Sigstore instances name.
func (t *tree) readTrust() {
	for _, x := range t.signers[:min(len(t.signers), maxSigners)] {
		for _, k := range x.Keyless {
			if k.bad() {
				continue
			}
			t.trustFile(&x.node, k.at(), "trusted_root", k.TrustedRoot, &k.trusted)
			t.trustFile(&x.node, k.at(), "signing_config", k.SigningConfig, &k.config)
		}
	}
	if len(t.sigstores) > maxSigners {
		t.unsound("", mistake(t.sigstores[maxSigners].def(), "Too many Sigstore instances", "A catalog has at most %d.", maxSigners))
	}
	for _, x := range t.sigstores[:min(len(t.sigstores), maxSigners)] {
		if !x.bad() {
			t.trustFile(&x.node, &x.node, "trusted_root", x.TrustedRoot, &x.trusted)
		}
	}
}

// trustFile reads a file of JSON that an attribute of n names. Without it, the whole block is bad: a signer would be one of the public instance.
func (t *tree) trustFile(block, n *node, attr string, name jsonPath, into *string) {
	if name == "" {
		return
	}
	b, err := readPlain(t.fsys, path.Join(block.folder, string(name)), maxTrust)
	if err == nil && !json.Valid(b) {
		err = errors.New("it is not JSON")
	}
	if err != nil {
		d := mistake(n.attr(attr), "Invalid file", "%q can't be used: %v.", clip(string(name)), err)
		t.unsound("", d)
		block.fail(d)
		return
	}
	*into = string(b)
}

// trust is what the files say that the signer names.
func (x *signerBlock) trust() string {
	var out string
	for _, k := range x.Keyless {
		out += fmt.Sprintf("%d %s %s", len(k.trusted), k.trusted, k.config)
	}
	return out
}

func (x *signerBlock) spec() reconcile.SignerSpec {
	s := reconcile.SignerSpec{Name: x.label, Key: x.Key, PublicKey: string(x.Public), Retired: x.Retired, Origin: origin(x.def()), Formats: []reconcile.Format{reconcile.Legacy, reconcile.Bundle}}
	for _, k := range x.Keyless {
		s.Formats = []reconcile.Format{reconcile.Bundle}
		s.Keyless = reconcile.Keyless{Issuer: k.Issuer, Subject: k.Subject, Audience: k.Audience, TrustedRoot: k.trusted, SigningConfig: k.config}
	}
	if len(x.Formats) > 0 {
		s.Formats = nil
		for _, f := range x.Formats {
			if !slices.Contains(s.Formats, reconcile.Format(f)) {
				s.Formats = append(s.Formats, reconcile.Format(f))
			}
		}
	}
	return s
}
