//go:build actions

// Package actions runs the workflows that assay init writes, and the Action, from an event to a comment: with act, on this machine, without containers. GitHub, the
// registries and the mirror of advisories are on loopback; the program is built by the Action from this source. See standins for what isn't GitHub's own.
package actions

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/assay-oci/assay/reconcile/forge/forgetest"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
)

// A site is a catalog's repository as assay init wrote it, at a GitHub that runs its workflows.
type site struct {
	t      *testing.T
	dir    string
	action string // the repository that the Action lies in
	github
	source, registry *registrytest.Server
	runs             int
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), github: newGithub(t), source: registrytest.New(t, registrytest.Distribution), registry: registrytest.New(t, registrytest.Distribution)}
	s.copyRepository()
	s.writeKey()
	assay := filepath.Join(s.dir, "assay")
	s.command(s.action, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", assay, "./cmd/assay")
	s.command(s.dir, assay, "init", "catalog", "--registry", s.registry.Host+"/approved", "--signer", filepath.Join(s.dir, "cosign.key"), "--owner", "@ann", "--action", "acme/assay/action@"+strings.Repeat("ab", 20))
	files := map[string]string{}
	root := filepath.Join(s.dir, "catalog")
	if err := filepath.WalkDir(root, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		files[strings.TrimPrefix(name, root+"/")] = strings.ReplaceAll(string(b), `"docker.io/library/*"`, strconv.Quote(s.source.Host+"/**"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	s.Push("main", files)
	s.Role("ann", "write")
	s.Rules(map[string]any{"type": "pull_request", "ruleset_source_type": "Repository", "ruleset_id": 1, "parameters": map[string]any{"required_approving_review_count": 1,
		"require_code_owner_review": true, "dismiss_stale_reviews_on_push": true, "require_last_push_approval": false, "required_review_thread_resolution": false}})
	return s
}

// copyRepository takes what Git knows of this repository, changes that are not committed among it, and leaves out what was built.
func (s *site) copyRepository() {
	s.t.Helper()
	s.action = filepath.Join(s.dir, "action")
	for _, name := range strings.Split(strings.TrimSpace(s.command("../..", "git", "ls-files", "--cached", "--others", "--exclude-standard", "--", "*.go", "go.mod", "go.sum", "cmd", "reconcile", "catalog-schema", "examples", "action")), "\n") {
		in, err := os.Open(filepath.Join("../..", name))
		if err != nil {
			continue // deleted, and not committed yet
		}
		to := filepath.Join(s.action, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			s.t.Fatal(err)
		}
		out, err := os.Create(to)
		if err != nil {
			s.t.Fatal(err)
		}
		if _, err := io.Copy(out, in); err != nil {
			s.t.Fatal(err)
		}
		in.Close()
		out.Close()
	}
}

func (s *site) writeKey() {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		s.t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cosign.key": {Type: "PRIVATE KEY", Bytes: private}, "cosign.pub": {Type: "PUBLIC KEY", Bytes: public}} {
		if err := os.WriteFile(filepath.Join(s.dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *site) command(dir, name string, args ...string) string {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// image is the file of an image whose only package is acme-lib in a version.
func (s *site) image(name, version string) map[string]string {
	pushed := s.source.Push(name, registrytest.Image("amd64", lib(version)), "1.0")
	return map[string]string{"images/" + name + ".hcl": fmt.Sprintf("image %q {\n  source  = \"%s/%s\"\n  owner   = \"@ann\"\n  purpose = \"A test\"\n\n  version \"1.0\" {\n    digest = %q\n  }\n}\n",
		name, s.source.Host, name, pushed.Digest)}
}

// A run is what a workflow's run gave.
type run struct {
	id  int
	log string
	err error
}

// permissions are those of a workflow's one job: what its token may do, and no more. A fork's may write nothing.
func (s *site) permissions(workflow string, fork bool) forgetest.Permissions {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.Dir, ".github/workflows", workflow+".yml"))
	if err != nil {
		s.t.Fatal(err)
	}
	var w struct {
		Permissions map[string]string
		Jobs        map[string]struct{ Permissions map[string]string }
	}
	if err := yaml.Unmarshal(b, &w); err != nil || len(w.Jobs) != 1 || w.Permissions == nil || len(w.Permissions) > 0 {
		s.t.Fatalf("%s: %v, %d jobs, %v for all", workflow, err, len(w.Jobs), w.Permissions)
	}
	out := forgetest.Permissions{"metadata": "read"} // which every token may
	for _, job := range w.Jobs {
		for name, level := range job.Permissions {
			if fork {
				level = "read"
			}
			out[strings.ReplaceAll(name, "-", "_")] = level
		}
	}
	return out
}

// do runs a workflow for an event, with the token that its job asks for, and tells whether it succeeded.
func (s *site) do(workflow, event string, payload map[string]any, commit, ref string, fork bool) run {
	s.t.Helper()
	s.runs++
	token := fmt.Sprintf("ghs-run-%d", s.runs)
	s.Token(token, s.permissions(workflow, fork))
	work := filepath.Join(s.dir, fmt.Sprint("work-", s.runs))
	if err := os.Mkdir(work, 0o755); err != nil {
		s.t.Fatal(err)
	}
	args := []string{event, "-W", filepath.Join(s.Dir, ".github/workflows", workflow+".yml"), "-C", work, "-e", write(s.t, filepath.Join(s.dir, "event.json"), payload),
		"-P", "ubuntu-latest=-self-hosted", "--no-cache-server", "--use-new-action-cache", "--action-cache-path", filepath.Join(s.dir, "act"), "-s", "GITHUB_TOKEN=" + token,
		"--var", "ASSAY_ECOSYSTEMS=npm", "--var", "ASSAY_MIRROR=" + s.url + "/osv"}
	for k, v := range map[string]string{"GITHUB_SERVER_URL": s.url, "GITHUB_API_URL": s.url + "/api/v3", "GITHUB_REPOSITORY": "acme/catalog", "GITHUB_REF": ref, "SHA_REF": commit, "GITHUB_RUN_ID": fmt.Sprint(s.runs)} {
		args = append(args, "--env", k+"="+v)
	}
	for repository, folder := range s.actions(workflow) {
		args = append(args, "--local-repository", repository+"="+folder)
	}
	cmd := exec.CommandContext(s.t.Context(), tool(s.t, "act"), args...)
	cmd.Dir = work
	cmd.Env = append(os.Environ(), "HOME="+s.dir, "XDG_CACHE_HOME="+s.dir, "ARTIFACTS="+filepath.Join(s.dir, "kept"), "GIT_CONFIG_NOSYSTEM=1", "DOCKER_HOST=unix:///nowhere", "GITHUB_TOKEN=")
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH"} {
		cmd.Env = append(cmd.Env, name+"="+strings.TrimSpace(s.command(s.dir, "go", "env", name)))
	}
	out, err := cmd.CombinedOutput()
	if _, e := os.Stat(filepath.Join(work, "pwned")); e == nil {
		s.t.Error("the title of a pull request was run")
	}
	return run{s.runs, string(out), err}
}

// actions are where those that a workflow uses are found.
func (s *site) actions(workflow string) map[string]string {
	s.t.Helper()
	out := map[string]string{}
	for _, name := range []string{filepath.Join(s.Dir, ".github/workflows", workflow+".yml"), "../../action/action.yml"} {
		b, err := os.ReadFile(name)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`uses: (([\w-]+)/([\w-]+))\S*(@[0-9a-f]{40})`).FindAllStringSubmatch(string(b), -1) {
			folder := s.action
			if m[2] == "actions" {
				folder, err = filepath.Abs(filepath.Join("standins", m[3]))
			}
			if _, e := os.Stat(folder); e != nil || err != nil {
				s.t.Fatal(e, err)
			}
			out[m[1]+m[4]] = folder
		}
	}
	return out
}

func tool(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("ASSAY_TEST_TOOLS")
	if dir == "" {
		dir = "../../.cache/tools"
	}
	program, err := filepath.Abs(filepath.Join(dir, name))
	if err == nil {
		_, err = os.Stat(program)
	}
	if err != nil {
		t.Fatalf("there is no %s: run make test-actions (%v)", name, err)
	}
	return program
}
