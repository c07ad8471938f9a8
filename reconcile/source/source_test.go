package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

// work is a repository made with the git command.
type work struct {
	t   *testing.T
	dir string
}

func newWork(t *testing.T) *work {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Fatal("the tests need the git command")
	}
	t.Setenv("GIT_CONFIG_GLOBAL", filepath.Join(t.TempDir(), "gitconfig"))
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	w := &work{t, t.TempDir()}
	w.git("init", "-q", "-b", "main")
	return w
}

func (w *work) git(args ...string) string {
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

// commit writes a file and commits it at a time so many days ago.
func (w *work) commit(name, content string, daysAgo int) string {
	w.t.Helper()
	p := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
	w.git("add", "-A")
	when := time.Now().AddDate(0, 0, -daysAgo).Format(time.RFC3339)
	w.t.Setenv("GIT_COMMITTER_DATE", when)
	w.git("commit", "-q", "-m", content)
	return w.git("rev-parse", "HEAD")
}

func read(t *testing.T, s *Source, name string) string {
	t.Helper()
	b, err := fs.ReadFile(s.FS(), name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func open(t *testing.T, location string, o Options) *Source {
	t.Helper()
	s, err := Open(context.Background(), location, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// serveGit serves the folders below root the way Git hosts do, over smart HTTP. A token, if not empty, is asked for.
func serveGit(t *testing.T, root, token string) (url string, requests *atomic.Int64) {
	t.Helper()
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := &cgi.Handler{Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"),
		Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=2",
			"GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*", "GIT_CONFIG_KEY_1=uploadpack.allowAnySHA1InWant", "GIT_CONFIG_VALUE_1=true"}}
	requests = &atomic.Int64{}
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if _, password, _ := r.BasicAuth(); password != token {
			rw.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(rw, "who are you?", http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(rw, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, requests
}

func TestEveryKindOfLocation(t *testing.T) {
	w := newWork(t)
	first := w.commit("catalog/a.hcl", "one", 2)
	second := w.commit("catalog/a.hcl", "two", 1)
	bare := filepath.Join(t.TempDir(), "bare.git")
	w.git("clone", "-q", "--bare", w.dir, bare)
	url, _ := serveGit(t, filepath.Dir(bare), "")
	for name, location := range map[string]string{
		"checkout": w.dir, "folder of a checkout": filepath.Join(w.dir, "catalog"), "bare": bare, "file": "file://" + bare, "http": url + "/bare.git",
	} {
		t.Run(name, func(t *testing.T) {
			path := "catalog"
			if name == "folder of a checkout" {
				path = ""
			}
			s := open(t, location, Options{Path: path})
			if s.Commit() != second || read(t, s, "a.hcl") != "two" {
				t.Errorf("newest: %s %q", s.Commit(), read(t, s, "a.hcl"))
			}
			if err := fstest.TestFS(s.FS(), "a.hcl"); err != nil {
				t.Error(err)
			}
			old := open(t, location, Options{Path: path, Commit: first})
			if old.Commit() != first || read(t, old, "a.hcl") != "one" {
				t.Errorf("old: %s %q", old.Commit(), read(t, old, "a.hcl"))
			}
			if tip, err := old.Tip(context.Background()); err != nil || tip != second {
				t.Errorf("tip: %s %v", tip, err)
			}
			if _, hash, err := s.At(context.Background(), "main"); err != nil || hash != second {
				t.Errorf("at main: %s %v", hash, err)
			}
			if _, err := Open(context.Background(), location, Options{Ref: "nowhere"}); err == nil || !strings.Contains(err.Error(), `"nowhere"`) {
				t.Errorf("unknown ref: %v", err)
			}
			if _, err := Open(context.Background(), location, Options{Path: "missing"}); err == nil {
				t.Error("a missing folder was opened")
			}
		})
	}
}

func TestUncommittedStateNeedsTheFlag(t *testing.T) {
	w := newWork(t)
	w.commit("a.hcl", "committed", 1)
	if err := os.WriteFile(filepath.Join(w.dir, "a.hcl"), []byte("edited"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := read(t, open(t, w.dir, Options{}), "a.hcl"); got != "committed" {
		t.Errorf("without the flag: %q", got)
	}
	dirty := open(t, w.dir, Options{Dirty: true})
	if got := read(t, dirty, "a.hcl"); got != "edited" || dirty.Commit() != "" {
		t.Errorf("with it: %q at %q", got, dirty.Commit())
	}
	if _, err := Open(context.Background(), w.dir, Options{Dirty: true, Ref: "main"}); err == nil {
		t.Error("a working tree was read at a ref")
	}
}

func TestTipIsAskedAnew(t *testing.T) {
	w := newWork(t)
	w.commit("a.hcl", "one", 3)
	bare := filepath.Join(t.TempDir(), "bare.git")
	w.git("clone", "-q", "--bare", w.dir, bare)
	w.git("remote", "add", "origin", bare)
	url, requests := serveGit(t, filepath.Dir(bare), "")
	for _, location := range []string{bare, url + "/bare.git"} {
		s := open(t, location, Options{})
		next := w.commit("a.hcl", location, 1)
		w.git("push", "-q", "--force", "origin", "main")
		if tip, err := s.Tip(context.Background()); err != nil || tip != next || s.Commit() == next {
			t.Errorf("%s: tip %s, %v, want %s", location, tip, err, next)
		}
		w.git("reset", "-q", "--hard", "HEAD~1")
		w.git("push", "-q", "--force", "origin", "main")
		if tip, err := s.Tip(context.Background()); err != nil || tip == next {
			t.Errorf("%s: after a forced push the tip is still %s, %v", location, tip, err)
		}
	}
	s := open(t, url+"/bare.git", Options{})
	before := requests.Load()
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if _, err := s.Tip(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := requests.Load() - before; n > 30 {
		t.Errorf("100 concurrent calls made %d requests", n)
	}
}

func TestLogDeepensAndFollowsFirstParents(t *testing.T) {
	w := newWork(t)
	for i := range 60 {
		w.commit("a.hcl", fmt.Sprint(i), 60-i)
	}
	bare := filepath.Join(t.TempDir(), "bare.git")
	w.git("clone", "-q", "--bare", w.dir, bare)
	url, _ := serveGit(t, filepath.Dir(bare), "")
	shallow := filepath.Join(t.TempDir(), "shallow")
	w.git("clone", "-q", "--depth", "1", url+"/bare.git", shallow)
	for name, location := range map[string]string{"local": w.dir, "remote": url + "/bare.git", "file": "file://" + bare, "shallow checkout": shallow} {
		t.Run(name, func(t *testing.T) {
			s := open(t, location, Options{})
			var got []string
			for c, err := range s.Log(context.Background(), time.Now().AddDate(0, 0, -55)) {
				if err != nil {
					t.Fatal(err)
				}
				b, err := fs.ReadFile(c.Files, "a.hcl")
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(b))
				if newest := len(got) == 1; newest != c.Until.IsZero() {
					t.Errorf("state %s held until %v", b, c.Until)
				}
			}
			if len(got) < 54 || len(got) > 58 || got[0] != "59" {
				t.Errorf("%d states: %v", len(got), got)
			}
		})
	}
}

func TestHistoryThatCannotBeHadIsUnavailable(t *testing.T) {
	w := newWork(t)
	w.commit("a.hcl", "one", 3)
	w.commit("a.hcl", "two", 1)
	shallow := filepath.Join(t.TempDir(), "shallow")
	w.git("clone", "-q", "--depth", "1", "file://"+w.dir, shallow)
	cmd := exec.Command("git", "-C", shallow, "remote", "remove", "origin")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	var last error
	for _, err := range open(t, shallow, Options{}).Log(context.Background(), time.Now().AddDate(0, 0, -10)) {
		last = err
	}
	if !errors.Is(last, reconcile.ErrUnavailable) {
		t.Errorf("the log ended with %v", last)
	}
}

func TestTokensGoToTheCatalogsHostAlone(t *testing.T) {
	w := newWork(t)
	w.commit("a.hcl", "one", 1)
	bare := filepath.Join(t.TempDir(), "bare.git")
	w.git("clone", "-q", "--bare", w.dir, bare)
	url, _ := serveGit(t, filepath.Dir(bare), "s3cret")
	if _, err := Open(context.Background(), url+"/bare.git", Options{}); err == nil || !strings.Contains(err.Error(), "ASSAY_GIT_TOKEN") {
		t.Errorf("without a token: %v", err)
	}
	t.Setenv("GITHUB_TOKEN", "s3cret")
	if _, err := Open(context.Background(), url+"/bare.git", Options{}); err == nil {
		t.Error("GITHUB_TOKEN was sent to another host")
	}
	t.Setenv("GITHUB_SERVER_URL", url)
	if _, err := Open(context.Background(), url+"/bare.git", Options{}); err != nil {
		t.Errorf("GITHUB_TOKEN for its own server: %v", err)
	}
	t.Setenv("GITHUB_TOKEN", "")
	t.Setenv("ASSAY_GIT_TOKEN", "s3cret")
	if _, err := Open(context.Background(), url+"/bare.git", Options{}); err != nil {
		t.Errorf("ASSAY_GIT_TOKEN: %v", err)
	}
	t.Setenv("ASSAY_GIT_TOKEN", "wrong")
	if _, err := Open(context.Background(), url+"/bare.git", Options{}); err == nil || strings.Contains(err.Error(), "wrong") {
		t.Errorf("a wrong token: %v", err)
	}
	t.Setenv("ASSAY_GIT_TOKEN", "")
	helper := fmt.Sprintf("[credential]\n\thelper = \"!f() { echo username=u; echo password=%s; }; f\"\n", "s3cret")
	if err := os.WriteFile(os.Getenv("GIT_CONFIG_GLOBAL"), []byte(helper), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), url+"/bare.git", Options{}); err != nil {
		t.Errorf("git's helper: %v", err)
	}
}

func TestLocationsThatAreRefused(t *testing.T) {
	for location, want := range map[string]string{
		"https://u:hunter2@example.com/c.git": "ASSAY_GIT_TOKEN",
		"http://example.com/c.git":            "use https",
		"ext::sh -c touch%20x":                "no such file",
		"ftp://example.com/c":                 "none of https, ssh, file",
		filepath.Join(t.TempDir(), "missing"): "no such file",
		t.TempDir():                           "--working-tree",
	} {
		_, err := Open(context.Background(), location, Options{})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q", location, err, want)
		}
	}
	if _, err := Open(context.Background(), ".", Options{Path: "../.."}); err == nil || !strings.Contains(err.Error(), "leads out") {
		t.Errorf("a path out of the repository: %v", err)
	}
}

func TestLinksStayLinks(t *testing.T) {
	w := newWork(t)
	if err := os.Symlink("/etc/passwd", filepath.Join(w.dir, "evil.hcl")); err != nil {
		t.Fatal(err)
	}
	w.commit("a.hcl", "one", 1)
	s := open(t, w.dir, Options{})
	info, err := fs.Stat(s.FS(), "evil.hcl")
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("%v %v", info, err)
	}
	if _, err := fs.ReadFile(s.FS(), "evil.hcl"); err == nil {
		t.Error("a link was followed")
	}
}
