package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/assay-oci/assay/reconcile"
)

var day0 = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// TestMain keeps the machine's own credentials and git settings out of the tests.
func TestMain(m *testing.M) {
	for _, name := range []string{"ASSAY_GIT_TOKEN", "ASSAY_GIT_USERNAME", "GITHUB_TOKEN", "GITHUB_SERVER_URL", "GIT_DIR"} {
		os.Unsetenv(name)
	}
	os.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	os.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	os.Exit(m.Run())
}

// A checkout is a repository with a working tree.
type checkout struct {
	t    *testing.T
	dir  string
	repo *git.Repository
}

func newCheckout(t *testing.T) checkout {
	t.Helper()
	dir := t.TempDir()
	repo, err := git.PlainInitWithOptions(dir, &git.PlainInitOptions{InitOptions: git.InitOptions{DefaultBranch: "refs/heads/main"}})
	if err != nil {
		t.Fatal(err)
	}
	return checkout{t, dir, repo}
}

func (c checkout) write(name, text string) {
	c.t.Helper()
	p := filepath.Join(c.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		c.t.Fatal(err)
	}
}

// commit writes a file and commits everything, on the day given.
func (c checkout) commit(day int, name, text string) string {
	c.t.Helper()
	c.write(name, text)
	w, err := c.repo.Worktree()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := w.AddWithOptions(&git.AddOptions{All: true}); err != nil {
		c.t.Fatal(err)
	}
	who := &object.Signature{Name: "acme", Email: "acme@example.com", When: day0.AddDate(0, 0, day)}
	h, err := w.Commit("change "+name, &git.CommitOptions{Author: who, Committer: who, AllowEmptyCommits: true})
	if err != nil {
		c.t.Fatal(err)
	}
	return h.String()
}

func (c checkout) branch(name, commit string) {
	c.t.Helper()
	if err := c.repo.Storer.SetReference(plumbing.NewHashReference(plumbing.NewBranchReferenceName(name), plumbing.NewHash(commit))); err != nil {
		c.t.Fatal(err)
	}
}

// bare makes a bare clone.
func (c checkout) bare() string {
	c.t.Helper()
	dir := filepath.Join(c.t.TempDir(), "catalog.git")
	r, err := git.PlainInitWithOptions(dir, &git.PlainInitOptions{Bare: true, InitOptions: git.InitOptions{DefaultBranch: "refs/heads/main"}})
	if err != nil {
		c.t.Fatal(err)
	}
	c.push(r)
	return dir
}

// push makes the bare repository's branches those of the checkout.
func (c checkout) push(r *git.Repository) {
	c.t.Helper()
	_ = r.DeleteRemote("origin")
	o, err := r.CreateRemote(&config.RemoteConfig{Name: "origin", URLs: []string{c.dir}})
	if err == nil {
		err = o.Fetch(&git.FetchOptions{RefSpecs: []config.RefSpec{"+refs/heads/*:refs/heads/*"}, Force: true, Tags: git.AllTags})
	}
	if err == nil || errors.Is(err, git.NoErrAlreadyUpToDate) {
		err = r.DeleteRemote("origin")
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func open(t *testing.T, location string, o Options) *Source {
	t.Helper()
	s, err := Open(t.Context(), location, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func read(t *testing.T, f fs.FS, name string) string {
	t.Helper()
	b, err := fs.ReadFile(f, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestALocalRepositoryIsReadAtItsCommitNotItsFiles(t *testing.T) {
	c := newCheckout(t)
	first := c.commit(0, "a/x.hcl", "one")
	second := c.commit(1, "a/x.hcl", "two")
	c.write("a/x.hcl", "not committed")
	c.write("new.hcl", "not committed")
	s := open(t, c.dir, Options{})
	if s.Commit() != second || read(t, s.FS(), "a/x.hcl") != "two" {
		t.Error(s.Commit(), read(t, s.FS(), "a/x.hcl"))
	}
	if _, err := fs.Stat(s.FS(), "new.hcl"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	base, h, err := s.At(t.Context(), first)
	if err != nil || h != first || read(t, base, "a/x.hcl") != "one" {
		t.Error(h, err)
	}
	if base, h, err = s.At(t.Context(), "main~1"); err != nil || h != first || read(t, base, "a/x.hcl") != "one" {
		t.Error(h, err)
	}
	if s := open(t, c.dir, Options{Commit: first}); s.Commit() != first || read(t, s.FS(), "a/x.hcl") != "one" {
		t.Error(s.Commit())
	}
}

func TestEveryFileSystemOfACommitBehavesAsOne(t *testing.T) {
	c := newCheckout(t)
	c.commit(0, "a/b/x.hcl", "one")
	c.commit(1, "y.hcl", "two")
	if err := fstest.TestFS(open(t, c.dir, Options{}).FS(), "a/b/x.hcl", "y.hcl"); err != nil {
		t.Error(err)
	}
	if err := fstest.TestFS(open(t, c.dir, Options{Path: "a"}).FS(), "b/x.hcl"); err != nil {
		t.Error(err)
	}
}

func TestLocationsOfOneRepositoryGiveTheSame(t *testing.T) {
	c := newCheckout(t)
	h := c.commit(0, "catalog/x.hcl", "one")
	bare := c.bare()
	for name, s := range map[string]*Source{
		"checkout":       open(t, c.dir, Options{Path: "catalog"}),
		"folder":         open(t, filepath.Join(c.dir, "catalog"), Options{}),
		"bare":           open(t, bare, Options{Path: "catalog"}),
		"file URL":       open(t, "file://"+bare, Options{Path: "catalog", Ref: "main"}),
		"full reference": open(t, "file://"+bare, Options{Path: "catalog", Ref: "refs/heads/main"}),
	} {
		if s.Commit() != h || read(t, s.FS(), "x.hcl") != "one" {
			t.Errorf("%s: %s", name, s.Commit())
		}
		if tip, err := s.Tip(t.Context()); err != nil || tip != h {
			t.Errorf("%s: %s %v", name, tip, err)
		}
	}
}

func TestDirtyReadsTheFilesAsTheyAre(t *testing.T) {
	c := newCheckout(t)
	h := c.commit(0, "a/x.hcl", "one")
	c.write("a/x.hcl", "changed")
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(c.dir, "a", "link.hcl")); err != nil {
		t.Fatal(err)
	}
	s := open(t, c.dir, Options{Dirty: true, Path: "a"})
	if s.Commit() != "" || read(t, s.FS(), "x.hcl") != "changed" {
		t.Error(s.Commit())
	}
	if b, err := fs.ReadFile(s.FS(), "link.hcl"); err == nil {
		t.Errorf("a link led outside: %s", b)
	}
	if _, err := open(t, c.dir, Options{Dirty: true}).FS().Open(".git/config"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if tip, err := s.Tip(t.Context()); tip != h || err != nil {
		t.Error(tip, err)
	}
	for _, err := range s.Log(t.Context(), day0) {
		if !errors.Is(err, reconcile.ErrUnavailable) {
			t.Error(err)
		}
	}
	plain := open(t, t.TempDir(), Options{Dirty: true})
	if tip, err := plain.Tip(t.Context()); tip != "" || err != nil {
		t.Error(tip, err)
	}
}

func TestTheTipOfALocalRepositoryIsReadAgain(t *testing.T) {
	c := newCheckout(t)
	first := c.commit(0, "x.hcl", "one")
	s := open(t, c.dir, Options{Ref: "main"})
	second := c.commit(1, "x.hcl", "two")
	if tip, err := s.Tip(t.Context()); tip != second || err != nil || s.Commit() != first {
		t.Error(tip, err)
	}
	c.branch("main", first)
	if tip, err := s.Tip(t.Context()); tip != first || err != nil {
		t.Error(tip, err)
	}
}

func TestSymbolicLinksAndSubmodulesCantBeOpened(t *testing.T) {
	c := newCheckout(t)
	c.write("x.hcl", "one")
	if err := os.Symlink("/etc/passwd", filepath.Join(c.dir, "link.hcl")); err != nil {
		t.Fatal(err)
	}
	c.commit(0, "y.hcl", "y")
	f := open(t, c.dir, Options{}).FS()
	if _, err := f.Open("link.hcl"); err == nil {
		t.Error("a link was opened")
	}
	entries, err := fs.ReadDir(f, ".")
	if err != nil || len(entries) != 3 || entries[0].Type()&fs.ModeSymlink == 0 {
		t.Errorf("%v %v", entries, err)
	}
}

func TestAHostileTreeIsAnError(t *testing.T) {
	c := newCheckout(t)
	c.commit(0, "x.hcl", "one")
	blob := store(t, c.repo, plumbing.BlobObject, []byte("x"))
	huge := store(t, c.repo, plumbing.BlobObject, make([]byte, maxBlob+1))
	for name, entries := range map[string][]object.TreeEntry{
		"slash":    {{Name: "../../x.hcl", Mode: filemode.Regular, Hash: blob}},
		"dots":     {{Name: "..", Mode: filemode.Regular, Hash: blob}},
		"twice":    {{Name: "x.hcl", Mode: filemode.Regular, Hash: blob}, {Name: "x.hcl", Mode: filemode.Regular, Hash: huge}},
		"too long": {{Name: "x.hcl", Mode: filemode.Regular, Hash: huge}},
		"missing":  {{Name: "x.hcl", Mode: filemode.Regular, Hash: plumbing.NewHash("01")}},
		"module":   {{Name: "x.hcl", Mode: filemode.Submodule, Hash: blob}},
	} {
		t.Run(name, func(t *testing.T) {
			var raw []byte
			for _, e := range entries {
				raw = append(fmt.Appendf(raw, "%o %s\x00", uint32(e.Mode), e.Name), e.Hash[:]...)
			}
			tree := store(t, c.repo, plumbing.TreeObject, raw)
			commit := store(t, c.repo, plumbing.CommitObject, fmt.Appendf(nil, "tree %s\nauthor a <a> 1 +0000\ncommitter a <a> 1 +0000\n\nx\n", tree))
			s, err := Open(t.Context(), c.dir, Options{Commit: commit.String()})
			if err != nil {
				if !strings.Contains(err.Error(), "invalid name") {
					t.Error(err)
				}
				return
			}
			if b, err := fs.ReadFile(s.FS(), "x.hcl"); err == nil {
				t.Errorf("%d bytes were read", len(b))
			}
		})
	}
}

func store(t *testing.T, r *git.Repository, kind plumbing.ObjectType, data []byte) plumbing.Hash {
	t.Helper()
	o := r.Storer.NewEncodedObject()
	o.SetType(kind)
	w, err := o.Writer()
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	h, err := r.Storer.SetEncodedObject(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestLocationsThatCantBeReadSaySo(t *testing.T) {
	c := newCheckout(t)
	c.commit(0, "x.hcl", "one")
	for _, c := range []struct {
		location string
		options  Options
		want     string
	}{
		{"", Options{}, "no location"},
		{filepath.Join(c.dir, "missing"), Options{}, "no such file"},
		{t.TempDir(), Options{}, "it is no git repository"},
		{filepath.Join(c.dir, "x.hcl"), Options{}, "it is not a folder"},
		{c.dir, Options{Ref: "missing"}, `there is no "missing"`},
		{c.dir, Options{Commit: "abc"}, "is no commit"},
		{c.dir, Options{Commit: strings.Repeat("1", 40)}, "there is no remote"},
		{c.dir, Options{Path: "missing"}, "there is no folder"},
		{c.dir, Options{Path: "../x"}, "does not lie below"},
		{"https://acme:secret-word@git.example.com/x", Options{}, "holds a password"},
		{"https://secret-word@git.example.com/x", Options{}, "holds a user"},
		{"https://a:secret-word%zz@x", Options{}, "malformed"},
		{"http://git.example.com/x", Options{}, "use https"},
		{"git://git.example.com/x", Options{}, "is not supported"},
		{"ext::sh -c x", Options{}, "no such file"},
		{"https:///x", Options{}, "names no host"},
		{"https://git.example.com/x?token=secret-word", Options{}, "query"},
		{"https://git.example.com/x", Options{Dirty: true}, "working tree"},
	} {
		_, err := Open(t.Context(), c.location, c.options)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret-word") {
			t.Errorf("%s: %v", c.location, err)
		}
	}
}

// revisions are the commits that Log gives, oldest last.
func revisions(t *testing.T, s *Source, since time.Time) (out []string, err error) {
	t.Helper()
	for r, e := range s.Log(t.Context(), since) {
		if e != nil {
			return out, e
		}
		if _, err := fs.ReadDir(r.FS, "."); err != nil {
			t.Error(err)
		}
		out = append(out, r.Commit)
	}
	return out, nil
}

func TestLogGoesBackToTheCommitBeforeATime(t *testing.T) {
	c := newCheckout(t)
	var all []string
	for day := range 30 {
		all = append(all, c.commit(day, "x.hcl", fmt.Sprint(day)))
	}
	s := open(t, c.dir, Options{})
	for _, x := range []struct{ day, want int }{{0, 30}, {10, 21}, {29, 2}, {40, 1}, {-5, 30}} {
		got, err := revisions(t, s, day0.AddDate(0, 0, x.day))
		if err != nil || len(got) != x.want || got[0] != all[29] {
			t.Errorf("since day %d: %d commits, %v", x.day, len(got), err)
		}
	}
}

func TestAWrongDateDoesNotHideTheHistoryBehindIt(t *testing.T) {
	c := newCheckout(t)
	c.commit(0, "x.hcl", "0")
	c.commit(10, "x.hcl", "1")
	c.commit(-9000, "x.hcl", "2")
	got, err := revisions(t, open(t, c.dir, Options{}), day0.AddDate(0, 0, 5))
	if err != nil || len(got) != 3 {
		t.Error(got, err)
	}
}

func TestCallsOfTipShareAReadingThatBeganAfterThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c coalescer
		reads := 0
		release := make(chan struct{})
		answers := make(chan string, 11)
		ask := func() {
			h, err := c.get(t.Context(), func(context.Context) (string, error) {
				reads++
				n := fmt.Sprint(reads)
				<-release
				return n, nil
			})
			if err != nil {
				h = err.Error()
			}
			answers <- h
		}
		go ask()
		synctest.Wait() // the first reading is on its way, so it can't answer the others
		for range 10 {
			go ask()
		}
		synctest.Wait()
		close(release)
		count := map[string]int{}
		for range 11 {
			count[<-answers]++
		}
		if count["1"] != 1 || count["2"] != 10 || reads != 2 {
			t.Errorf("%v after %d reads", count, reads)
		}
	})
}

func TestACallerMayGiveUpWaitingForTheTip(t *testing.T) {
	var c coalescer
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	block := make(chan struct{})
	defer close(block)
	if _, err := c.get(ctx, func(context.Context) (string, error) { <-block; return "", nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
