//go:build policycontroller

package signing

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
	"github.com/assay-oci/assay/reconcile/sign"
)

// A cluster is a folder with two keys, a registry that assay fills, and the policy of the examples with one of the keys.
type cluster struct {
	t          *testing.T
	dir        string
	source, eu *registrytest.Server
	keys       map[string]string // public ones, in PEM, of "ours" and of a "stranger"
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), source: registrytest.New(t, registrytest.Distribution), eu: registrytest.New(t, registrytest.Distribution), keys: map[string]string{}}
	for _, who := range []string{"ours", "stranger"} {
		if err := os.Mkdir(filepath.Join(c.dir, who), 0o700); err != nil {
			t.Fatal(err)
		}
		_, public, err := sign.GenerateKeyPair(filepath.Join(c.dir, who), []byte("secret"))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(public)
		if err != nil {
			t.Fatal(err)
		}
		c.keys[who] = string(b)
	}
	return c
}

// built is the path of a program that make test-policy-controller built.
func (c *cluster) built(parts ...string) string {
	c.t.Helper()
	path, err := filepath.Abs(filepath.Join(append([]string{"..", ".."}, parts...)...))
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		c.t.Fatalf("%v; run make test-policy-controller", err)
	}
	return path
}

func (c *cluster) run(program string, args ...string) (string, error) {
	cmd := exec.CommandContext(c.t.Context(), program, args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "HOME="+c.dir, "ASSAY_KEY_PASSWORD=secret", "GIT_CONFIG_NOSYSTEM=1", "TUF_ROOT="+filepath.Join(c.dir, "tuf"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *cluster) must(program string, args ...string) {
	c.t.Helper()
	if out, err := c.run(program, args...); err != nil {
		c.t.Fatalf("%s %v: %v\n%s", filepath.Base(program), args, err, out)
	}
}

// admit has the whole program admit an image with signatures in some formats, and returns its name in the registry.
func (c *cluster) admit(formats string) string {
	c.t.Helper()
	image := c.source.Push("web", registrytest.Index(false, nil, registrytest.Layer(2, 3_000), registrytest.Layer(3, 3_000)), "1.0")
	c.must("git", "init", "-q", "-b", "main", "catalog")
	catalog := fmt.Sprintf("scope \"acme\" {\n  level = \"organization\"\n}\nregistry \"eu\" {\n  address  = \"%s/approved\"\n  identity = \"images.example.com/approved\"\n}\n"+
		"signer \"main\" {\n  key     = %q\n  formats = %s\n}\nimage \"web\" {\n  source = \"%s/web\"\n  version \"1.0\" {\n    digest = %q\n  }\n}\n",
		c.eu.Host, filepath.Join(c.dir, "ours", "cosign.key"), formats, c.source.Host, image.Digest)
	if err := os.WriteFile(filepath.Join(c.dir, "catalog", "catalog.hcl"), []byte(catalog), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.must("git", "-C", "catalog", "add", "-A")
	c.must("git", "-C", "catalog", "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "-m", "approve")
	c.must(c.built("bin", "assay"), "reconcile", "--catalog", "catalog", "--cache", filepath.Join(c.dir, "cache"))
	return reconcile.Image{Repo: c.eu.Repo("approved/web"), Digest: image.Digest}.String()
}

// policy is the one in the examples, for the test's registry and somebody's key.
func (c *cluster) policy(who string) string {
	c.t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "examples", "kubernetes", "clusterimagepolicy.yaml"))
	if err != nil {
		c.t.Fatal(err)
	}
	pem := "          " + strings.ReplaceAll(strings.TrimSpace(c.keys[who]), "\n", "\n          ") + "\n"
	s := regexp.MustCompile(`(?s) +-----BEGIN.*-----END PUBLIC KEY-----\n`).ReplaceAllLiteralString(string(b), pem)
	if s = strings.Replace(s, "registry.eu.example.com", c.eu.Host, 1); !strings.Contains(s, pem) || !strings.Contains(s, c.eu.Host) {
		c.t.Fatal("the example has another form than the test knows")
	}
	path := filepath.Join(c.dir, who, "policy.yaml")
	if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// sigstore policy-controller's own tester admits what the whole program signed in cosign's first format, and nothing else. Bundles it does not read.
func TestPolicyControllerAdmitsWhatIsSigned(t *testing.T) {
	for _, f := range []struct {
		formats  string
		admitted bool
	}{{`["legacy"]`, true}, {`["legacy", "bundle"]`, true}, {`["bundle"]`, false}} {
		t.Run(f.formats, func(t *testing.T) {
			c := newCluster(t)
			signed := c.admit(f.formats)
			unsigned := registrytest.Push(t, c.eu.Host, "approved/other", registrytest.Image("amd64", registrytest.Layer(5, 10)), "1.0").String()
			for _, x := range []struct {
				name, key, image, why string
				admitted              bool
			}{
				{"signed", "ours", signed, "no signatures found", f.admitted},
				{"signed by another key", "stranger", signed, "no ", false},
				{"not signed", "ours", unsigned, "no signatures found", false},
			} {
				out, err := c.run(c.built(".cache", "tools", "policytester"), "-policy", c.policy(x.key), "-image", x.image)
				if (err == nil) != x.admitted || err != nil && !strings.Contains(out, x.why) {
					t.Errorf("%s: %v\n%s", x.name, err, out)
				}
			}
		})
	}
}
