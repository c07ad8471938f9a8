package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/assay-oci/assay/reconcile/scan/scantest"
)

func TestAMirrorIsFetchedOnceAndThenOnlyIfItChanged(t *testing.T) {
	var sent atomic.Int32
	files := http.FileServer(http.Dir(scantest.OSV(t)))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-Modified-Since") == "" {
			sent.Add(1)
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	cache := t.TempDir()
	update := func() string {
		t.Helper()
		var out, errs bytes.Buffer
		if code := run(t.Context(), []string{"db", "update", "--cache", cache, srv.URL + "/", "--ecosystem", "Debian", "--ecosystem", "npm"}, stdio{nil, &out, &errs}); code != exitOK {
			t.Fatalf("exit code %d: %s", code, errs.String())
		}
		return out.String()
	}
	if got := update(); !strings.HasPrefix(got, "Imported 12 advisories for 2 ecosystems") {
		t.Errorf("first: %q", got)
	}
	if got := update(); !strings.HasPrefix(got, "The database holds these 12 advisories already") || sent.Load() != 2 {
		t.Errorf("second: %q, after %d full requests", got, sent.Load())
	}
}

func TestSourcesThatAreMirrors(t *testing.T) {
	got, err := expand([]string{"a.zip", "https://osv.example.com/x", "https://osv.example.com/all.zip"}, []string{"Red Hat", "../x"})
	want := "a.zip https://osv.example.com/x/Red%20Hat/all.zip https://osv.example.com/x/..%2Fx/all.zip https://osv.example.com/all.zip"
	if err != nil || strings.Join(got, " ") != want {
		t.Errorf("%v, %v", got, err)
	}
}
