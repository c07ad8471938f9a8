package download

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A site serves one file under all paths, as object stores do.
type site struct {
	content atomic.Pointer[string]
	full    atomic.Int32 // times that it was sent
	etag    bool
}

var modified = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := *s.content.Load()
	if s.etag {
		tag := fmt.Sprintf("%q", fmt.Sprintf("%d-%.10s", len(c), c))
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	} else {
		at := modified.Add(time.Duration(len(c)) * time.Second).Format(http.TimeFormat)
		w.Header().Set("Last-Modified", at)
		if r.Header.Get("If-Modified-Since") == at {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	s.full.Add(1)
	fmt.Fprint(w, c)
}

func (s *site) set(c string) { s.content.Store(&c) }

func TestWhatDidNotChangeIsNotSentAgain(t *testing.T) {
	for _, etag := range []bool{true, false} {
		s := &site{etag: etag}
		s.set("one")
		srv := httptest.NewServer(s)
		t.Cleanup(srv.Close)
		o := Options{Dir: t.TempDir()}
		from := srv.URL + "/Red%20Hat/all.zip"
		for i, want := range []struct {
			content string
			changed bool
			full    int32
		}{{"one", true, 1}, {"one", false, 1}, {"three", true, 2}, {"three", false, 2}} {
			s.set(want.content)
			file, changed, err := Get(t.Context(), o, from)
			if err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(file)
			if err != nil || string(b) != want.content || changed != want.changed || s.full.Load() != want.full || filepath.Base(file) != "all.zip" {
				t.Errorf("etag %v, step %d: %s has %q, changed %v, sent %d times, %v", etag, i, file, b, changed, s.full.Load(), err)
			}
		}
		file, _, _ := Get(t.Context(), o, from)
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if _, changed, err := Get(t.Context(), o, from); err != nil || !changed {
			t.Errorf("what vanished was not fetched again: %v, %v", changed, err)
		}
		o.Refresh = true
		if _, changed, err := Get(t.Context(), o, from); err != nil || !changed {
			t.Errorf("a refresh fetched nothing: %v, %v", changed, err)
		}
	}
}

func TestADownloadThatFailsLeavesTheOldFile(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"answered 500": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"answered 304": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNotModified) },
		"404":          http.NotFound,
		"larger than":  func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("x", 200)) },
		"unexpected EOF": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "50")
			fmt.Fprint(w, "short")
		},
		"leads on too often": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) },
	}
	for want, answer := range answers {
		t.Run(want, func(t *testing.T) {
			var broken atomic.Bool
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if broken.Load() {
					answer(w, r)
					return
				}
				fmt.Fprint(w, "good")
			}))
			t.Cleanup(srv.Close)
			o := Options{Dir: t.TempDir(), Limit: 100}
			file, _, err := Get(t.Context(), o, srv.URL+"/x.zip")
			if err != nil {
				t.Fatal(err)
			}
			broken.Store(true)
			if _, _, err := Get(t.Context(), o, srv.URL+"/x.zip"); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
			if b, err := os.ReadFile(file); err != nil || string(b) != "good" {
				t.Errorf("the old file has %q, %v", b, err)
			}
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "new-*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestPasswordsAndPathsOfURLs(t *testing.T) {
	_, _, err := Get(t.Context(), Options{Dir: t.TempDir()}, "http://user:secret@127.0.0.1:1/a.zip")
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
	for _, bad := range []string{"ftp://example.com/x", "file:///etc/passwd", "x.zip", "http://", "://user:secret@h"} {
		if _, _, err := Get(t.Context(), Options{Dir: t.TempDir()}, bad); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	s := &site{}
	s.set("x")
	srv := httptest.NewServer(s)
	defer srv.Close()
	dir := t.TempDir()
	for _, path := range []string{"", "/", "/..", "/%2e%2e%2f%2e%2e%2fx", "/validators.json", "/.x"} {
		file, _, err := Get(t.Context(), Options{Dir: dir}, srv.URL+path)
		if rel, e := filepath.Rel(dir, file); err != nil || e != nil || strings.HasPrefix(rel, "..") || strings.Count(rel, "/") != 1 || filepath.Base(rel) == "validators.json" {
			t.Errorf("%q lies at %s: %v", path, file, err)
		}
	}
}
