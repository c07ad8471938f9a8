package source

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-git/go-git/v5"

	"github.com/assay-oci/assay/reconcile"
)

// A server is git's own smart HTTP server on loopback.
type server struct {
	*httptest.Server
	dir  string // of the bare repository
	user string // who asked last

	mu       sync.Mutex
	requests int
	token    string // needed, if not empty
}

func serve(t *testing.T, bare string) *server {
	t.Helper()
	program, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not installed")
	}
	out, err := exec.Command(program, "--exec-path").Output()
	backend := filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	if err != nil || exec.Command("test", "-x", backend).Run() != nil {
		t.Skip("git http-backend is not installed")
	}
	s := &server{dir: bare}
	handler := &cgi.Handler{Path: backend, Dir: bare, Env: []string{"GIT_PROJECT_ROOT=" + filepath.Dir(bare), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "HOME=" + t.TempDir()}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		s.mu.Lock()
		s.requests++
		s.user = user
		refuse := s.token != "" && password != s.token
		s.mu.Unlock()
		if refuse {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) url() string { return s.URL + "/catalog.git" }

func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// allow sets a setting of the served repository.
func (s *server) config(t *testing.T, key, value string) {
	t.Helper()
	if out, err := exec.Command("git", "-C", s.dir, "config", key, value).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
}

// history serves a catalog with a commit a day, and returns their names.
func history(t *testing.T, days int) (checkout, *server, []string) {
	t.Helper()
	c := newCheckout(t)
	var all []string
	for day := range days {
		all = append(all, c.commit(day, "catalog/x.hcl", fmt.Sprint(day)))
	}
	s := serve(t, c.bare())
	s.config(t, "uploadpack.allowReachableSHA1InWant", "true")
	return c, s, all
}

func TestAURLIsFetchedShallowAndDeepenedOnDemand(t *testing.T) {
	for _, cacheDir := range []string{"", t.TempDir()} {
		t.Run("cache "+fmt.Sprint(cacheDir != ""), func(t *testing.T) {
			_, srv, all := history(t, 90)
			s := open(t, srv.url(), Options{Path: "catalog", CacheDir: cacheDir})
			if s.Commit() != all[89] || read(t, s.FS(), "x.hcl") != "89" {
				t.Fatal(s.Commit())
			}
			if n := commitsIn(t, s.repos[0]); n != 1 {
				t.Errorf("%d commits were fetched", n)
			}
			got, err := revisions(t, s, day0.AddDate(0, 0, 60))
			if err != nil || len(got) != 31 {
				t.Errorf("%d, %v", len(got), err)
			}
			if n := commitsIn(t, s.repos[1]); n != 64 {
				t.Errorf("%d commits were fetched for 30 days", n)
			}
			got, err = revisions(t, s, day0)
			if err != nil || len(got) != 90 || got[89] != all[0] {
				t.Errorf("%d, %v", len(got), err)
			}
			base, h, err := s.At(t.Context(), all[5])
			if err != nil || h != all[5] || read(t, base, "x.hcl") != "5" {
				t.Error(h, err)
			}
		})
	}
}

func commitsIn(t *testing.T, r *git.Repository) (n int) {
	t.Helper()
	it, err := r.CommitObjects()
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	for {
		if _, err := it.Next(); err != nil {
			return n
		}
		n++
	}
}

func TestACloneInTheCacheIsNotFetchedAgain(t *testing.T) {
	_, srv, all := history(t, 3)
	dir := t.TempDir()
	open(t, srv.url(), Options{CacheDir: dir})
	before := srv.count()
	if s := open(t, srv.url(), Options{CacheDir: dir}); s.Commit() != all[2] || read(t, s.FS(), "catalog/x.hcl") != "2" {
		t.Error(s.Commit())
	}
	if n := srv.count() - before; n != 1 {
		t.Errorf("%d requests; one asks for the branch", n)
	}
	before = srv.count()
	open(t, srv.url(), Options{CacheDir: dir, Commit: all[2]})
	if n := srv.count() - before; n != 0 {
		t.Errorf("%d requests for a commit that is in the cache", n)
	}
}

func TestTheCacheKeepsFewClones(t *testing.T) {
	c := newCheckout(t)
	c.commit(0, "x.hcl", "0")
	bare := c.bare()
	srv := serve(t, bare)
	srv.config(t, "uploadpack.allowReachableSHA1InWant", "true")
	dir := t.TempDir()
	repo, err := git.PlainOpen(bare)
	if err != nil {
		t.Fatal(err)
	}
	first := open(t, srv.url(), Options{CacheDir: dir})
	more := func(n int) {
		for day := range n {
			c.commit(day+1, "x.hcl", fmt.Sprint(n, day))
			c.push(repo)
			open(t, srv.url(), Options{CacheDir: dir})
		}
	}
	kept := func() []string { found, _ := filepath.Glob(dir + "/*"); return found }
	more(keptClones + 4)
	if n := len(kept()); n != keptClones+5 {
		t.Errorf("%d clones are there: one that may be read was removed", n)
	}
	if read(t, first.FS(), "x.hcl") == "" {
		t.Error("the first one can't be read any more")
	}
	old := time.Now().Add(-2 * stillUsed)
	for _, name := range kept() {
		if err := os.Chtimes(name, old, old); err != nil {
			t.Fatal(err)
		}
	}
	open(t, srv.url(), Options{CacheDir: dir, Commit: first.Commit()}) // which counts as used
	more(1)
	if n := len(kept()); n != keptClones {
		t.Errorf("%d clones are kept", n)
	}
	if read(t, first.FS(), "x.hcl") == "" {
		t.Error("one that is used was removed")
	}
}

func TestTheTipOfAURLIsAskedAfresh(t *testing.T) {
	c, srv, all := history(t, 3)
	repo, err := git.PlainOpen(srv.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"", "main", "refs/heads/main"} {
		s := open(t, srv.url(), Options{Ref: ref})
		moved := c.commit(10, "x.hcl", "moved "+ref)
		c.push(repo)
		if tip, err := s.Tip(t.Context()); err != nil || tip != moved {
			t.Errorf("%q: %s %v", ref, tip, err)
		}
		c.branch("main", all[1]) // forced back
		c.push(repo)
		if tip, err := s.Tip(t.Context()); err != nil || tip != all[1] {
			t.Errorf("%q: %s %v", ref, tip, err)
		}
		if s.Commit() == all[1] || read(t, s.FS(), "catalog/x.hcl") == "" {
			t.Error("the source moved with the branch")
		}
		c.branch("main", all[2])
		c.push(repo)
	}
}

func TestHistoryThatAForcePushRemovedIsUnavailable(t *testing.T) {
	c, srv, all := history(t, 5)
	repo, err := git.PlainOpen(srv.dir)
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, srv.url(), Options{})
	c.branch("main", all[1])
	c.push(repo)
	got, err := revisions(t, s, day0)
	if !errors.Is(err, reconcile.ErrUnavailable) || len(got) > 1 {
		t.Error(got, err)
	}
}

func TestAServerThatGivesNoSingleCommitsIsAskedForTheBranch(t *testing.T) {
	_, srv, all := history(t, 5)
	srv.config(t, "uploadpack.allowReachableSHA1InWant", "false")
	s := open(t, srv.url(), Options{Commit: all[1]})
	if s.Commit() != all[1] || read(t, s.FS(), "catalog/x.hcl") != "1" {
		t.Error(s.Commit())
	}
	if _, err := Open(t.Context(), srv.url(), Options{Commit: strings.Repeat("1", 40)}); !errors.Is(err, reconcile.ErrUnavailable) {
		t.Error(err)
	}
}

func TestAParentIsReadByItsChild(t *testing.T) {
	c, srv, all := history(t, 3)
	for name, location := range map[string]string{"url": srv.url(), "folder": c.dir} {
		s := open(t, location, Options{})
		for revision, want := range map[string]string{all[2] + "^": all[1], "HEAD^1": all[1], "main^^": all[0]} {
			f, h, err := s.At(t.Context(), revision)
			if err != nil || h != want || read(t, f, "catalog/x.hcl") == "2" {
				t.Errorf("%s: %s is %s, %v", name, revision, h, err)
			}
		}
		for _, revision := range []string{"HEAD^2", all[0] + "^"} {
			if _, _, err := s.At(t.Context(), revision); !errors.Is(err, reconcile.ErrNotFound) {
				t.Errorf("%s: %s: %v", name, revision, err)
			}
		}
	}
}

func TestTagsAreReadAsTheirCommits(t *testing.T) {
	c := newCheckout(t)
	first := c.commit(0, "x.hcl", "one")
	if out, err := exec.Command("git", "-C", c.dir, "-c", "user.name=acme", "-c", "user.email=a@example.com", "tag", "-a", "v1", "-m", "x").CombinedOutput(); err != nil {
		t.Skipf("git can't tag: %s", out)
	}
	c.commit(1, "x.hcl", "two")
	srv := serve(t, c.bare())
	if out, err := exec.Command("git", "-C", c.dir, "push", srv.dir, "v1").CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	for _, location := range []string{srv.url(), srv.dir} {
		s := open(t, location, Options{Ref: "v1"})
		tip, err := s.Tip(t.Context())
		if s.Commit() != first || read(t, s.FS(), "x.hcl") != "one" || tip != first || err != nil {
			t.Error(location, s.Commit(), tip, err)
		}
	}
}

func TestAShallowCheckoutIsDeepenedFromItsOrigin(t *testing.T) {
	_, srv, all := history(t, 40)
	dir := filepath.Join(t.TempDir(), "shallow")
	if out, err := exec.Command("git", "clone", "--depth=1", srv.url(), dir).CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	s := open(t, dir, Options{})
	got, err := revisions(t, s, day0)
	if err != nil || len(got) != 40 || got[39] != all[0] {
		t.Errorf("%d, %v", len(got), err)
	}
	if n := commitsIn(t, s.local); n != 1 {
		t.Error("the checkout was changed")
	}
	if out, err := exec.Command("git", "-C", dir, "remote", "remove", "origin").CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	if _, err := revisions(t, open(t, dir, Options{}), day0); !errors.Is(err, reconcile.ErrUnavailable) {
		t.Error(err)
	}
}

func TestATokenIsSentToTheCatalogsHost(t *testing.T) {
	_, srv, all := history(t, 1)
	srv.token = "secret-word"
	_, err := Open(t.Context(), srv.url(), Options{})
	if err == nil || !strings.Contains(err.Error(), "ASSAY_GIT_TOKEN") {
		t.Error(err)
	}
	t.Setenv("ASSAY_GIT_TOKEN", "wrong-word")
	if _, err := Open(t.Context(), srv.url(), Options{}); err == nil || strings.Contains(err.Error(), "wrong-word") {
		t.Error(err)
	}
	t.Setenv("ASSAY_GIT_TOKEN", "secret-word")
	if s := open(t, srv.url(), Options{}); s.Commit() != all[0] || srv.user != tokenUser {
		t.Error(s.Commit(), srv.user)
	}
}

func TestGitHubsTokenIsSentToItsOwnServerAlone(t *testing.T) {
	_, srv, all := history(t, 1)
	srv.token = "secret-word"
	t.Setenv("GITHUB_TOKEN", "secret-word")
	if _, err := Open(t.Context(), srv.url(), Options{}); err == nil {
		t.Error("the token was sent to another host")
	}
	t.Setenv("GITHUB_SERVER_URL", srv.URL)
	if s := open(t, srv.url(), Options{}); s.Commit() != all[0] {
		t.Error(s.Commit())
	}
	for _, c := range []struct {
		server, url string
		want        bool
	}{
		{"https://github.com", "https://github.com/acme/catalog", true},
		{"https://github.com", "https://github.com:443/acme/catalog", true},
		{"https://github.com", "https://github.com.evil.example/acme/catalog", false},
		{"https://github.com", "http://github.com/acme/catalog", false},
		{"https://github.com", "https://github.com:8443/acme/catalog", false},
		{"", "https://github.com/acme/catalog", false},
	} {
		u, err := url.Parse(c.url)
		if err != nil || sameOrigin(u, c.server) != c.want {
			t.Errorf("%s, %s", c.server, c.url)
		}
	}
}

func TestATokenDoesNotFollowARedirectToAnotherHost(t *testing.T) {
	_, srv, _ := history(t, 1)
	redirect := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)+r.URL.RequestURI(), http.StatusFound)
	}))
	defer redirect.Close()
	t.Setenv("ASSAY_GIT_TOKEN", "secret-word")
	_, err := Open(t.Context(), redirect.URL+"/catalog.git", Options{})
	if srv.user != "" {
		t.Errorf("the token reached another host (%v)", err)
	}
}

func TestGitsCredentialHelpersAreAsked(t *testing.T) {
	_, srv, all := history(t, 1)
	srv.token = "from-the-helper"
	settings := filepath.Join(t.TempDir(), "gitconfig")
	if err := writeFile(settings, "[credential]\n\thelper = \"!f() { echo username=helper; echo password=from-the-helper; }; f\"\n"); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GIT_CONFIG_GLOBAL", settings)
	if s := open(t, srv.url(), Options{}); s.Commit() != all[0] || srv.user != "helper" {
		t.Error(s.Commit(), srv.user)
	}
}

func TestAServerThatIsGoneIsAnError(t *testing.T) {
	_, srv, _ := history(t, 1)
	s := open(t, srv.url(), Options{})
	srv.Close()
	start := time.Now()
	if _, err := s.Tip(t.Context()); err == nil || time.Since(start) > 10*time.Second {
		t.Error(err)
	}
	if got, err := revisions(t, s, day0); err != nil || len(got) != 1 { // the whole history is here: its one commit
		t.Error(got, err)
	}
}

func writeFile(name, text string) error {
	return os.WriteFile(name, []byte(text), 0o600)
}
