//go:build signing

package signing

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
	"github.com/assay-oci/assay/reconcile/scan/scantest"
	"github.com/assay-oci/assay/reconcile/sign"
)

const sha256Hash = crypto.SHA256

// scan is what the scanner prints: it finds nothing in one package.
const scan = `{"schema": "assay.scan/v1", "version": "1.2.3", "database": "2026-11-20T06:00:00Z", "ecosystems": ["Go"], "packages": 1, "vulnerabilities": []}`

// A world is a catalog whose signer has no key, and a registry that holds what it approves.
type world struct {
	*instance
	source, eu *registrytest.Server
	digests    []string // the index first, then each platform's manifest
	maker      string   // the public key of who signed the image where it comes from
}

// What is attested of the index, and of each platform.
var (
	aboutIndex    = []string{reconcile.VerdictPredicate, reconcile.ApprovalPredicate, reconcile.UpstreamPredicate}
	aboutPlatform = []string{reconcile.VulnerabilityPredicate, reconcile.InventoryPredicate, reconcile.BillPredicate}
)

// publish signs an image: the whole program, with the catalog in Git.
func publish(t *testing.T) *world {
	t.Helper()
	w := &world{instance: start(t), source: registrytest.New(t, registrytest.Distribution), eu: registrytest.New(t, registrytest.Distribution)}
	one := w.push("1.0", 2)
	tree, err := registry.NewReader(registry.Options{}).Tree(t.Context(), one)
	if err != nil {
		t.Fatal(err)
	}
	w.digests = []string{one.Digest.String()}
	for _, m := range tree.Runnable() {
		w.digests = append(w.digests, m.Digest.String())
	}
	if err := os.Mkdir(filepath.Join(w.dir, "catalog"), 0o700); err != nil {
		t.Fatal(err)
	}
	w.must(tool(t, "assay"), "db", "update", "--cache", filepath.Join(w.dir, "cache"), scantest.OSV(t))
	w.makerSigns(one)
	w.write("catalog/trusted_root.json", w.trustedRoot(true))
	w.write("catalog/signing_config.json", w.signingConfig())
	w.catalog(who)
	w.write("token", []byte(w.token(who)))
	return w
}

// push writes an image of two platforms to its source, with a system that the built-in scanner knows.
func (w *world) push(tag string, seed uint64) reconcile.Image {
	w.t.Helper()
	system := scantest.Tar(w.t, append(scantest.Debian12(), scantest.Dpkg(scantest.Deb{Name: "base-files", Version: "12.4+deb12u12"}))...)
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(system)), nil }, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		w.t.Fatal(err)
	}
	return w.source.Push("web", registrytest.Index(true, []v1.Layer{layer}, registrytest.Layer(seed, 3_000), registrytest.Layer(seed+1, 3_000)), tag)
}

// makerSigns has the maker of an image sign it, with a key, where it comes from.
func (w *world) makerSigns(image reconcile.Image) {
	w.t.Helper()
	if w.maker == "" {
		if _, _, err := sign.GenerateKeyPair(w.dir, []byte("secret")); err != nil {
			w.t.Fatal(err)
		}
	}
	maker, err := sign.New(w.t.Context(), sign.Options{Name: "maker", Key: filepath.Join(w.dir, "cosign.key"),
		Password: func(context.Context) ([]byte, error) { return []byte("secret"), nil }})
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := maker.Sign(w.t.Context(), reconcile.Statement{Format: reconcile.Bundle, Subject: image.Digest, Identity: image.Repo, Time: time.Now()})
	if err == nil {
		err = registry.NewWriter(registry.NewReader(registry.Options{})).Place(w.t.Context(), r, image.Repo)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.maker = string(maker.PublicKey().PEM())
}

// catalog commits a catalog whose signer is somebody.
func (w *world) catalog(subject string) {
	w.t.Helper()
	w.write("catalog/catalog.hcl", []byte(lines(
		`scope "acme" {`, `  level = "organization"`, `}`,
		`registry "eu" {`, fmt.Sprintf(`  address  = "%s/approved"`, w.eu.Host), `  identity = "images.example.com/approved"`, `}`,
		`scanner "builtin" {`, `  max_age = "36500d"`, `}`,
		`scanner "other" {`, fmt.Sprintf(`  command = ["sh", "-c", %q]`, "echo '"+scan+"'"), `}`,
		`signer "ci" {`, `  keyless {`, fmt.Sprintf(`    issuer         = %q`, w.issuer), fmt.Sprintf(`    subject        = %q`, subject),
		`    trusted_root   = "trusted_root.json"`, `    signing_config = "signing_config.json"`, `  }`, `}`,
		`policy "baseline" {`, `  rule "scanners" {`, `    minimum = 2`, `  }`, `  rule "signature" {`, `    key = <<EOT`, w.maker+"EOT", `  }`, `  rule "sources" {`, fmt.Sprintf(`    allow = ["%s/**"]`, w.source.Host), `  }`, `}`,
		`image "web" {`, fmt.Sprintf(`  source = "%s/web"`, w.source.Host), `  version "1.0" {`, fmt.Sprintf(`    digest = %q`, w.digests[0]), `  }`, `}`)))
	w.must("git", "init", "-q", "-b", "main", "catalog")
	w.must("git", "-C", "catalog", "add", "-A")
	w.must("git", "-C", "catalog", "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "--allow-empty", "-m", "change")
}

// command runs a program in the world's folder.
func (w *world) command(program string, args ...string) (string, error) {
	cmd := exec.Command(program, args...)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "HOME="+w.dir, "TUF_ROOT="+filepath.Join(w.dir, "tuf"), "NO_COLOR=1", "ASSAY_ID_TOKEN_FILE="+filepath.Join(w.dir, "token"))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	return stdout.String() + stderr.String(), err
}

func (w *world) must(program string, args ...string) string {
	w.t.Helper()
	out, err := w.command(program, args...)
	if err != nil {
		w.t.Fatalf("%s %v: %v\n%s", filepath.Base(program), args, err, out)
	}
	return out
}

func (w *world) assay(command string, args ...string) (string, error) {
	return w.command(tool(w.t, "assay"), append([]string{command, "--catalog", "catalog", "--cache", filepath.Join(w.dir, "cache")}, args...)...)
}

func (w *world) reconcile() string {
	w.t.Helper()
	out, err := w.assay("reconcile")
	if err != nil {
		w.t.Fatalf("assay reconcile: %v\n%s", err, out)
	}
	return out
}

// names are the digests as they are called on the registry.
func (w *world) names() []string {
	var out []string
	for _, d := range w.digests {
		out = append(out, w.eu.Host+"/approved/web@"+d)
	}
	return out
}

// How a cosign command is asked about an identity of the private instance. It has no certificate log.
var asked = []string{"--new-bundle-format", "--trusted-root=catalog/trusted_root.json", "--insecure-ignore-sct=true", "--use-signed-timestamps", "--allow-insecure-registry"}

var cosigns = []string{"cosign2", "cosign3"}

// judged lets both cosign commands verify everything, and refuse what isn't so.
func (w *world) judged(t *testing.T) {
	as := func(subject, issuer string) []string {
		return append(slices.Clip(asked), "--certificate-identity="+subject, "--certificate-oidc-issuer="+issuer)
	}
	for _, cosign := range cosigns {
		t.Run(cosign, func(t *testing.T) {
			verify := func(args ...string) (string, error) { return w.command(tool(t, cosign), args...) }
			for _, name := range w.names() {
				if out, err := verify(slices.Concat([]string{"verify"}, as(who, w.issuer), []string{name})...); err != nil {
					t.Errorf("%s: %v\n%s", name, err, out)
				}
			}
			for i, name := range w.names() {
				attested := aboutPlatform
				if i == 0 {
					attested = aboutIndex
				}
				for _, predicate := range attested {
					out, err := verify(slices.Concat([]string{"verify-attestation", "--type=" + predicate}, as(who, w.issuer), []string{name})...)
					want := 1
					if predicate == reconcile.VulnerabilityPredicate {
						want = 2 // scanners
					}
					if err != nil || strings.Count(out, `"payload":`) != want {
						t.Errorf("attestations %s of %s: %v, want %d\n%s", predicate, name, err, want, out)
					}
				}
			}
			for _, wrong := range [][]string{as("somebody@example.com", w.issuer), as(who, "https://issuer.example.com")} {
				if out, err := verify(slices.Concat([]string{"verify"}, wrong, w.names()[:1])...); err == nil {
					t.Errorf("another identity is accepted: %v\n%s", wrong, out)
				}
				if out, err := verify(slices.Concat([]string{"verify-attestation", "--type=vuln"}, wrong, w.names()[1:2])...); err == nil {
					t.Errorf("another identity is accepted: %v\n%s", wrong, out)
				}
			}
		})
	}
	t.Run("assay", func(t *testing.T) {
		if out, err := w.assay("plan", "--detailed-exitcode"); err != nil { // 2 if anything were to be signed again
			t.Errorf("there is something to do: %v\n%s", err, out)
		}
		verify := func(subject, issuer string) (string, error) {
			return w.command(tool(t, "assay"), "verify", w.names()[0], "--trusted-root", "catalog/trusted_root.json", "--certificate-identity", subject, "--certificate-oidc-issuer", issuer, "--require", "scans")
		}
		for _, subject := range []string{who, "^" + regexp.QuoteMeta(who) + "$"} {
			if out, err := verify(subject, w.issuer); err != nil || strings.Count(out, "✓ signature (bundle)") != len(w.digests) {
				t.Errorf("as %s: %v\n%s", subject, err, out)
			}
		}
		for _, wrong := range [][2]string{{"somebody@example.com", w.issuer}, {who, "https://issuer.example.com"}} {
			if out, err := verify(wrong[0], wrong[1]); err == nil || !strings.Contains(out, "signed by another identity") {
				t.Errorf("as %v: %v\n%s", wrong, err, out)
			}
		}
		if out, err := w.assay("verify", w.names()[0]); err != nil {
			t.Errorf("by the catalog's signers: %v\n%s", err, out)
		}
	})
}

// What assay signs as somebody is verified by both cosign commands, when it was signed and after its certificate has expired.
func TestKeyless(t *testing.T) {
	w := publish(t)
	begun := time.Now()
	out := w.reconcile()
	t.Logf("signed in %s:\n%s", time.Since(begun).Round(time.Millisecond), out)
	expiry := time.Now().Add(10 * time.Minute) // Fulcio's certificates live for ten
	w.judged(t)

	t.Run("again, nothing is signed", func(t *testing.T) {
		before := w.records(t)
		w.write("token", []byte("no token"))
		w.reconcile()
		if after := w.records(t); !slices.Equal(before, after) {
			t.Errorf("the records changed:\n%v\n%v", before, after)
		}
	})
	t.Run("a token of somebody else signs nothing", func(t *testing.T) {
		other := w.push("2.0", 12)
		w.makerSigns(other)
		had := w.digests
		w.digests = []string{other.Digest.String()}
		defer func() { w.digests = had; w.catalog(who) }()
		w.catalog(who)
		w.write("token", []byte(w.token("somebody@example.com")))
		out, err := w.assay("reconcile")
		if err == nil || !strings.Contains(out, `the identity token is of "somebody@example.com"`) {
			t.Errorf("%v\n%s", err, out)
		}
		if strings.Contains(out, w.token("somebody@example.com")[:40]) {
			t.Error("the token is told")
		}
	})
	t.Run("another identity in the catalog", func(t *testing.T) {
		w.catalog("somebody@example.com")
		defer w.catalog(who)
		out, err := w.assay("plan", "-o", "json")
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if !strings.Contains(out, `"sign"`) {
			t.Errorf("what another signed counts:\n%s", out)
		}
	})
	t.Run("after the certificate has expired", func(t *testing.T) {
		if testing.Short() {
			t.Skip("takes ten minutes")
		}
		time.Sleep(time.Until(expiry.Add(5 * time.Second)))
		w.judged(t)
	})
}

// records lists the digests of the manifests beside the images.
func (w *world) records(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, d := range w.digests {
		found, err := registry.NewReader(registry.Options{}).Attached(t.Context(), reconcile.Image{Repo: w.eu.Repo("approved/web"), Digest: reconcile.MustDigest(d)})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range found {
			out = append(out, r.At.String())
			if !json.Valid(r.Payload) {
				t.Errorf("%s is no JSON", r.At)
			}
		}
	}
	slices.Sort(out)
	return out
}
