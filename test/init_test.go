package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/assay-oci/assay/examples"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
)

// What init writes without flags is the example, and with flags nothing of the example's own names is left.
func TestInitWritesTheExample(t *testing.T) {
	w := newWorld(t, registrytest.Distribution)
	want, err := examples.Repository()
	if err != nil || len(want) < 9 {
		t.Fatal(len(want), err)
	}
	dir := filepath.Join(w.dir, "new", "catalog")
	w.done("init", dir)
	for name, content := range want {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != content {
			t.Errorf("%s is not what the examples have: %v", name, err)
		}
	}
	own := filepath.Join(w.dir, "own")
	w.done("init", own, "--organization", "umbrella", "--registry", w.eu.Host+"/ok", "--owner", "@umbrella-corp/images", "--repository", "umbrella-corp/the.catalog", "--branch", "trunk",
		"--action", "foo/assay/action@"+strings.Repeat("ab", 20))
	for name := range want {
		b, err := os.ReadFile(filepath.Join(own, name))
		if m := regexp.MustCompile(`@acme/platform|acme/catalog|registry\.example|images of acme|"acme"|OWNER/|"main"\]|heads/main`).Find(b); err != nil || m != nil {
			t.Errorf("%s still says %q (%v)", name, m, err)
		}
	}
	if b, _ := os.ReadFile(filepath.Join(own, "catalog.hcl")); !strings.Contains(string(b), `umbrella-corp/the\\.catalog/`) {
		t.Errorf("the signer's subject is no regular expression for the repository\n%s", b)
	}
}

// What init writes is a catalog: valid, in canonical form, and ready for the first plan and the first image.
func TestWhatInitWritesIsReady(t *testing.T) {
	w := newWorld(t, registrytest.Distribution)
	w.done("init", w.catalog(), "--registry", w.eu.Host+"/approved", "--signer", filepath.Join(w.dir, "cosign.key"))
	w.done("validate", w.catalog())
	w.done("fmt", "--check", w.catalog())
	w.git("-C", w.catalog(), "add", "-A")
	w.git("-C", w.catalog(), "commit", "-q", "-m", "init")
	if o := w.run(0, "plan"); !strings.Contains(o.stdout, "Nothing to do") {
		t.Errorf("the first plan\n%s%s", o.stdout, o.stderr)
	}
	for _, name := range []string{"reconcile.yml", "drift.yml"} {
		b, err := os.ReadFile(filepath.Join(w.catalog(), ".github/workflows", name))
		if err != nil || strings.Contains(string(b), "id-token") {
			t.Errorf("%s may prove an identity that signs nothing: %v", name, err)
		}
	}
	b, err := os.ReadFile(filepath.Join(w.catalog(), "images/nginx.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile(`(?m)^# ?`).ReplaceAllString(string(b[strings.Index(string(b), "# image"):]), "")
	w.write("images/nginx.hcl", strings.Replace(example, "sha256:…", "sha256:"+strings.Repeat("0", 64), 1))
	w.done("validate", w.catalog())
	w.done("fmt", "--check", w.catalog())
}

func TestInitOverwritesNothing(t *testing.T) {
	w := newWorld(t, registrytest.Distribution)
	w.write("catalog.hcl", "mine")
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(w.catalog(), "images")); err != nil {
		t.Fatal(err)
	}
	if o := w.assay("init", w.catalog()); o.code != 1 || !strings.Contains(o.stderr, "images/nginx.hcl") {
		t.Errorf("through a link that leads out: exit code %d\n%s", o.code, o.stderr)
	}
	if files, _ := os.ReadDir(outside); len(files) > 0 {
		t.Error("it was written to where the link leads")
	}
	if err := os.Remove(filepath.Join(w.catalog(), "images")); err != nil {
		t.Fatal(err)
	}
	o := w.done("init", w.catalog())
	if b, _ := os.ReadFile(filepath.Join(w.catalog(), "catalog.hcl")); string(b) != "mine" || !strings.Contains(o.stdout, "kept  catalog.hcl") || !strings.Contains(o.stdout, "wrote images/nginx.hcl") {
		t.Errorf("%s\n%s", b, o.stdout)
	}
	for flag, value := range map[string]string{"organization": `a" {}`, "owner": "acme", "repository": "a/b/c", "branch": `x"]`, "registry": "https://x", "signer": "a\nb", "action": "acme/assay/action@main"} {
		if o := w.assay("init", t.TempDir(), "--"+flag, value); o.code != 1 || o.stdout != "" {
			t.Errorf("--%s %q: exit code %d\n%s", flag, value, o.code, o.stdout)
		}
	}
}

// Workflows are linted as they are shipped, and as init writes them.
func TestWorkflowsAreLinted(t *testing.T) {
	lint := filepath.Join(os.Getenv("ASSAY_TEST_TOOLS"), "actionlint")
	if _, err := os.Stat(lint); err != nil || os.Getenv("ASSAY_TEST_TOOLS") == "" {
		t.Skip("ASSAY_TEST_TOOLS names no folder with actionlint; test/run builds it")
	}
	w := newWorld(t, registrytest.Distribution)
	w.done("init", w.catalog(), "--branch", "true", "--registry", "[::1]:5000/x", "--signer", "a.key", "--action", "foo/assay/action@"+strings.Repeat("ab", 20))
	for _, pattern := range []string{"../examples/workflows/*.yml", filepath.Join(w.catalog(), ".github/workflows/*.yml")} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) != 4 {
			t.Fatal(names, err)
		}
		if out, err := exec.CommandContext(t.Context(), lint, append([]string{"-no-color"}, names...)...).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		for _, name := range names {
			checkWorkflow(t, name)
		}
	}
	bad := filepath.Join(t.TempDir(), "bad.yml")
	if err := os.WriteFile(bad, []byte("on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo ${{ github.event.pull_request.title }}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := exec.CommandContext(t.Context(), lint, bad).Run(); err == nil {
		t.Error("the linter finds nothing in a workflow that runs a title")
	}
}

// checkWorkflow asserts what the linter doesn't know.
func checkWorkflow(t *testing.T, name string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	if !strings.Contains(text, "\npermissions: {}\n") {
		t.Errorf("%s: a job that says nothing may do what the repository's settings say", name)
	}
	for _, m := range regexp.MustCompile(`(?m)uses: (\S+)(.*)$`).FindAllStringSubmatch(text, -1) {
		example := m[1] == "OWNER/assay/action@<sha>" && strings.HasPrefix(name, "../examples/")
		if !example && !regexp.MustCompile(`@[0-9a-f]{40}$`).MatchString(m[1]) || !strings.HasPrefix(m[2], " # ") {
			t.Errorf("%s: %s is not pinned by a commit, with its version beside it", name, m[1])
		}
	}
	if strings.Contains(text, "pull_request_target") || strings.Contains(text, "actions/checkout") {
		t.Errorf("%s: it gives rights to what a fork brings", name)
	}
	if writes := strings.Contains(text, "secrets.REGISTRY_WRITE_"); writes != strings.Contains(text, "group: assay-reconcile\n  cancel-in-progress: false") || writes && strings.Contains(text, "pull_request:") {
		t.Errorf("%s: what writes to registries is not alone, or may be cancelled, or runs for pull requests", name)
	}
}

// done runs the program, which must succeed.
func (w *world) done(args ...string) output {
	w.t.Helper()
	o := w.assay(args...)
	if o.code != 0 {
		w.t.Fatalf("assay %v: exit code %d\n%s%s", args, o.code, o.stdout, o.stderr)
	}
	return o
}
