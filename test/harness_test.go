// Package test runs the whole program: the assay binary, real registries, real Git, and the commands that others read our work with.
package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
	"github.com/assay-oci/assay/reconcile/sign"
)

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "assay-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "assay")
	build := exec.Command("go", "build", "-o", binary, "../cmd/assay")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build assay:", err)
		return 1
	}
	os.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	os.Setenv("ASSAY_KEY_PASSWORD", "secret")
	os.Setenv("COSIGN_PASSWORD", "secret")
	os.Setenv("GIT_CONFIG_GLOBAL", filepath.Join(dir, "gitconfig"))
	os.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	os.Unsetenv("NO_COLOR")
	return m.Run()
}

// world is an organization: a catalog in Git, a source and two registries.
type world struct {
	t       *testing.T
	dir     string
	source  *registrytest.Server
	eu, us  *registrytest.Server
	signing bool
	extra   string // more of the organization's file
	scope   string // more of its scope block
}

func newWorld(t *testing.T, software registrytest.Software) *world {
	t.Helper()
	return newWorldOn(t, registrytest.New(t, software), registrytest.New(t, software))
}

func newWorldOn(t *testing.T, eu, us *registrytest.Server) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), signing: true, source: registrytest.New(t, registrytest.Distribution), eu: eu, us: us}
	writeKey(t, w.dir)
	w.git("init", "-q", "-b", "main", w.catalog())
	return w
}

func (w *world) catalog() string { return filepath.Join(w.dir, "catalog") }

func (w *world) git(args ...string) string {
	w.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// organization is the root file of the catalog.
func (w *world) organization() string {
	signer := ""
	if w.signing {
		signer = fmt.Sprintf("signer \"main\" {\n  key = %q\n}\n", filepath.Join(w.dir, "cosign.key"))
	}
	return fmt.Sprintf(`scope "acme" {
  level = "organization"
%s}
registry "eu" {
  address  = "%s/approved"
  identity = "images.example.com/approved"
}
registry "us" {
  address  = "%s/approved"
  identity = "images.example.com/approved"
}
%s%s
policy "baseline" {
  rule "sources" {
    allow = ["%s/**"]
  }
}
`, w.scope, w.eu.Host, w.us.Host, signer, w.extra, w.source.Host)
}

// image is the file of an image; each version is "label digest tag,tag".
func (w *world) image(name string, versions ...string) string {
	s := fmt.Sprintf("image %q {\n  source = \"%s/%s\"\n", name, w.source.Host, name)
	for _, v := range versions {
		f := strings.Fields(v)
		s += fmt.Sprintf("  version %q {\n    digest = %q\n", f[0], f[1])
		if len(f) > 2 {
			s += fmt.Sprintf("    tags   = [\"%s\"]\n", strings.Join(strings.Split(f[2], ","), `", "`))
		}
		s += "  }\n"
	}
	return s + "}\n"
}

// commit replaces the catalog's files and commits them.
func (w *world) commit(files map[string]string) string {
	w.t.Helper()
	files["catalog.hcl"] = w.organization()
	old, _ := filepath.Glob(filepath.Join(w.catalog(), "*.hcl"))
	for _, f := range old {
		os.Remove(f)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(w.catalog(), name), []byte(content), 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
	w.git("-C", w.catalog(), "add", "-A")
	w.git("-C", w.catalog(), "commit", "-q", "--allow-empty", "-m", "change")
	return w.git("-C", w.catalog(), "rev-parse", "HEAD")
}

// write replaces one file of the catalog, uncommitted.
func (w *world) write(name, content string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.catalog(), name), []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// dropCache takes away what the program kept from earlier runs.
func (w *world) dropCache() {
	w.t.Helper()
	if err := os.RemoveAll(w.cache()); err != nil {
		w.t.Fatal(err)
	}
}

// output is what a run of the program gave.
type output struct {
	stdout, stderr string
	code           int
}

func (w *world) cache() string { return filepath.Join(w.dir, "cache") }

func (w *world) command(args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "NO_COLOR=1", "HOME="+w.dir)
	return cmd
}

func (w *world) assay(args ...string) output {
	w.t.Helper()
	cmd := w.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	return output{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// run runs plan or reconcile on the catalog and expects an exit code.
func (w *world) run(code int, command string, args ...string) output {
	w.t.Helper()
	o := w.assay(append([]string{command, "--catalog", w.catalog(), "--cache", w.cache()}, args...)...)
	if o.code != code {
		w.t.Fatalf("assay %s %v: exit code %d, want %d\n%s%s", command, args, o.code, code, o.stdout, o.stderr)
	}
	return o
}

// plan returns the plan in its JSON form.
func (w *world) plan(code int) reconcile.Plan {
	w.t.Helper()
	var r struct{ Plan reconcile.Plan }
	if err := json.Unmarshal([]byte(w.run(code, "plan", "-o", "json").stdout), &r); err != nil {
		w.t.Fatal(err)
	}
	return r.Plan
}

// kinds counts actions for a table: "copy 2, tag 4".
func kinds(p reconcile.Plan) string {
	count := map[reconcile.Kind]int{}
	var order []reconcile.Kind
	for _, k := range []reconcile.Kind{reconcile.Copy, reconcile.Sign, reconcile.Attest, reconcile.Place, reconcile.TagIt, reconcile.Untag, reconcile.Delete} {
		for _, a := range p.Actions {
			if a.Kind == k {
				if count[k] == 0 {
					order = append(order, k)
				}
				count[k]++
			}
		}
	}
	var out []string
	for _, k := range order {
		out = append(out, fmt.Sprintf("%s %d", k, count[k]))
	}
	return strings.Join(out, ", ")
}

func (w *world) reset() {
	for _, s := range []*registrytest.Server{w.source, w.eu, w.us} {
		s.Reset()
	}
}

// push writes an index of two platforms with an attestation to the source, and returns its digest.
func (w *world) push(name, tag string, seed uint64) string {
	w.t.Helper()
	base := []v1.Layer{registrytest.Layer(1, 20_000)}
	idx := registrytest.Index(true, base, registrytest.Layer(seed, 3_000), registrytest.Layer(seed+1, 3_000))
	return w.source.Push(name, idx, tag).Digest.String()
}

// reader looks at a registry without the program's cache.
func reader() *registry.Reader { return registry.NewReader(registry.Options{}) }

// tags returns what the tags of a repository name; those of records are left out.
func tags(t *testing.T, s *registrytest.Server, path string) map[string]string {
	t.Helper()
	all, err := reader().Tags(context.Background(), s.Repo(path))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for tag, d := range all {
		if _, record := tag.Subject(); !record {
			out[tag.String()] = d.String()
		}
	}
	return out
}

// unsigned lists the manifests of an image that bear no valid signature in both formats.
func (w *world) unsigned(s *registrytest.Server, path, digest string) []string {
	w.t.Helper()
	key, err := sign.ReadPublicKey(filepath.Join(w.dir, "cosign.pub"))
	if err != nil {
		w.t.Fatal(err)
	}
	r := reader()
	v := sign.NewVerifier(map[string]sign.PublicKey{"main": key}, r)
	root := reconcile.Image{Repo: s.Repo(path), Digest: reconcile.MustDigest(digest)}
	tree, err := r.Tree(context.Background(), root)
	if err != nil {
		return []string{err.Error()}
	}
	var out []string
	for _, d := range tree.Signed() {
		records, err := v.Records(context.Background(), reconcile.Image{Repo: root.Repo, Digest: d})
		formats := map[reconcile.Format]bool{}
		for _, rec := range records {
			if rec.Problem == "" && rec.Statement.PredicateType == "" {
				formats[rec.Statement.Format] = true
			}
		}
		if err != nil || len(formats) != 2 {
			out = append(out, fmt.Sprintf("%s has %v, %v", d.Short(), formats, err))
		}
	}
	return out
}

func holds(t *testing.T, s *registrytest.Server, path, digest string) bool {
	t.Helper()
	has, err := reader().Has(context.Background(), reconcile.Image{Repo: s.Repo(path), Digest: reconcile.MustDigest(digest)})
	if err != nil {
		t.Fatal(err)
	}
	return has
}

func recordTags(t *testing.T, s *registrytest.Server, path string) []string {
	t.Helper()
	all, err := reader().Tags(context.Background(), s.Repo(path))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for tag := range all {
		if _, record := tag.Subject(); record {
			out = append(out, tag.String())
		}
	}
	return out
}
