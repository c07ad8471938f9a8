//go:build actions

package actions

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/assay-oci/assay/reconcile/forge/forgetest"
)

// A github is a whole one: the API below /api/v3, as on a GitHub Enterprise Server, the repository by git's smart protocol, and a mirror of advisories.
type github struct {
	*forgetest.Server
	url   string
	fixed *atomic.Value // the version in which the one advisory says that acme-lib was fixed
}

func newGithub(t *testing.T) github {
	t.Helper()
	g := github{Server: forgetest.New(t, "acme/catalog"), fixed: &atomic.Value{}}
	g.fixed.Store("2.0.0")
	g.Git("config", "uploadpack.allowAnySHA1InWant", "true") // as GitHub's are
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "acme"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(g.Dir, ".git"), filepath.Join(root, "acme", "catalog")); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/api/v3/", http.StripPrefix("/api/v3", g.Server))
	mux.Handle("/acme/catalog/", &cgi.Handler{Path: filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"), Dir: root, Stderr: io.Discard,
		Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "HOME=" + root}})
	mux.HandleFunc("/osv/npm/all.zip", g.advisories)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	g.url, g.URL = s.URL, s.URL+"/api/v3"
	return g
}

// advisories is a mirror's file: one advisory, about one package.
func (g github) advisories(w http.ResponseWriter, _ *http.Request) {
	z := zip.NewWriter(w)
	f, err := z.Create("ACME-2026-1.json")
	if err == nil {
		_, err = io.WriteString(f, `{"schema_version": "1.6.0", "id": "ACME-2026-1", "modified": "`+time.Now().UTC().Format(time.RFC3339)+`", "published": "2026-05-01T00:00:00Z", "summary": "acme-lib runs what it reads",
			"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
			"affected": [{"package": {"ecosystem": "npm", "name": "acme-lib"}, "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "`+g.fixed.Load().(string)+`"}]}]}]}`)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		panic(err)
	}
}

// lib is a layer that holds acme-lib in a version.
func lib(version string) v1.Layer {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for name, content := range map[string]string{
		"app/package-lock.json":                  `{"name": "app", "version": "1.0.0", "lockfileVersion": 3, "packages": {"": {"name": "app", "version": "1.0.0"}, "node_modules/acme-lib": {"version": "` + version + `"}}}`,
		"app/node_modules/acme-lib/package.json": `{"name": "acme-lib", "version": "` + version + `", "license": "MIT"}`,
	} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			panic(err)
		}
		_, _ = io.WriteString(w, content)
	}
	_ = w.Close()
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil }, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		panic(err)
	}
	return layer
}

// tried makes the commit by which GitHub tries out a merge, below refs/pull.
func (g github) tried(p *forgetest.Pull) string {
	g.Git("checkout", "-q", "--detach", "main")
	g.Git("merge", "-q", "--no-ff", "-m", "trial", p.Branch)
	commit := g.Git("rev-parse", "HEAD")
	g.Git("update-ref", fmt.Sprintf("refs/pull/%d/merge", p.Number), commit)
	g.Git("checkout", "-q", "main")
	return commit
}

// Events, with what the workflows and the program read of them ("Webhook events and payloads" in GitHub's documentation).

func (g github) repository() map[string]any {
	return map[string]any{"full_name": "acme/catalog", "name": "catalog", "default_branch": "main", "owner": map[string]any{"login": "acme"}}
}

func (g github) head(p *forgetest.Pull) map[string]any {
	owner := "acme"
	if p.Fork != "" {
		owner = p.Fork
	}
	return map[string]any{"id": 7, "name": "catalog", "full_name": owner + "/catalog", "owner": map[string]any{"login": owner}}
}

func (g github) pullRequest(p *forgetest.Pull) map[string]any {
	return map[string]any{"action": "synchronize", "number": p.Number, "repository": g.repository(), "pull_request": map[string]any{
		"number": p.Number, "title": "\"; touch pwned; `touch pwned` $(touch pwned)\n::set-output name=blocked::0", "user": map[string]any{"login": p.Author}, "base": map[string]any{"ref": "main", "sha": g.Git("rev-parse", "main"), "repo": g.repository()},
		"head": map[string]any{"ref": p.Branch, "sha": p.Head, "repo": g.head(p)}}}
}

func (g github) workflowRun(p *forgetest.Pull, id int) map[string]any {
	return map[string]any{"action": "completed", "repository": g.repository(), "workflow_run": map[string]any{
		"id": id, "name": "plan", "event": "pull_request", "conclusion": "success", "head_branch": p.Branch, "head_sha": p.Head, "head_repository": g.head(p), "pull_requests": []any{}}}
}

func (g github) mergeGroup(base, head, branch string) map[string]any {
	return map[string]any{"action": "checks_requested", "repository": g.repository(), "merge_group": map[string]any{"base_sha": base, "base_ref": "refs/heads/main", "head_sha": head, "head_ref": "refs/heads/" + branch}}
}

func (g github) push(before, after string) map[string]any {
	return map[string]any{"ref": "refs/heads/main", "before": before, "after": after, "deleted": false, "repository": g.repository()}
}

func (g github) schedule() map[string]any {
	return map[string]any{"schedule": "23 4 * * *", "repository": g.repository()}
}

func write(t *testing.T, name string, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
