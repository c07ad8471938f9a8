package registry

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry/quirks"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
)

func TestChallenges(t *testing.T) {
	for value, want := range map[string][]challenge{
		`Bearer realm="https://a/b",service="x y",scope="repository:a:pull,push"`: {{"bearer", map[string]string{"realm": "https://a/b", "service": "x y", "scope": "repository:a:pull,push"}}},
		`Basic realm="a \"b\" c"`:                {{"basic", map[string]string{"realm": `a "b" c`}}},
		`Basic realm=plain , Bearer Realm = "r"`: {{"basic", map[string]string{"realm": "plain"}}, {"bearer", map[string]string{"realm": "r"}}},
		`Negotiate, Basic realm="x"`:             {{"negotiate", map[string]string{}}, {"basic", map[string]string{"realm": "x"}}},
		``:                                       nil,
		`="x"`:                                   nil,
		`Bearer realm="unclosed`:                 {{"bearer", map[string]string{"realm": "unclosed"}}},
		`Bearer/1 x=y`:                           nil,
	} {
		if got := parseChallenges(value); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v instead of %v", value, got, want)
		}
	}
	h := http.Header{"Www-Authenticate": {`Basic realm="x"`, `Bearer realm="y"`}}
	if c, ok := pickChallenge(h); !ok || c.scheme != "bearer" {
		t.Errorf("%v is picked", c)
	}
}

func FuzzChallenges(f *testing.F) {
	f.Add(`Bearer realm="https://a/b",service="x",scope="repository:a:pull", Basic realm=x`)
	f.Add(`a="\`)
	f.Fuzz(func(t *testing.T, s string) {
		for _, c := range parseChallenges(s) {
			if c.scheme == "" || c.scheme != strings.ToLower(c.scheme) {
				t.Errorf("scheme %q", c.scheme)
			}
		}
	})
}

func TestNextPage(t *testing.T) {
	for value, want := range map[string]string{
		`</v2/x?last=a>; rel="next"`:                  "/v2/x?last=a",
		`<a>; rel="prev", <b>; title="t"; rel="next"`: "b",
		`<a>; rel=next`:                               "a",
		`<a>; REL="Next"`:                             "a",
		`<a>; rel="nextish"`:                          "",
		`<a`:                                          "",
		``:                                            "",
		`<a>; rel="first", <b>; rel="last"`:           "",
		`<a>; rel=nextpage`:                           "",
	} {
		if got := nextPage(http.Header{"Link": {value}}); got != want {
			t.Errorf("%s: %q instead of %q", value, got, want)
		}
	}
}

func FuzzNextPage(f *testing.F) {
	f.Add(`<a>; rel="prev", <b>; rel="next"`)
	f.Fuzz(func(t *testing.T, s string) {
		if next := nextPage(http.Header{"Link": {s}}); !strings.Contains(s, next) {
			t.Errorf("%q", next)
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:` + strings.Repeat("a", 64) + `","size":1}]}`))
	f.Add([]byte(`{"schemaVersion":2,"config":{"digest":"sha256:` + strings.Repeat("a", 64) + `","size":1},"layers":[]}`))
	f.Add([]byte(`{"schemaVersion":1}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := parseManifest(raw)
		if err != nil {
			return
		}
		n := node{manifest: m}
		if m.index() && len(n.blobs()) > 0 || !m.index() && len(n.children()) > 0 {
			t.Errorf("%+v is an index and an image", m)
		}
		for _, d := range m.named() {
			if d.Digest.IsZero() || d.Size < 0 {
				t.Errorf("%+v", d)
			}
		}
		n.artifact()
	})
}

func TestAnEndlessListIsAnError(t *testing.T) {
	n := 0
	s := registrytest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n++
		w.Header().Set("Link", fmt.Sprintf(`</v2/_catalog?last=%d>; rel="next"`, n))
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"repositories":["team/a%d","team/b%d"]}`, n, n)
	}))
	r := NewReader(Options{Keychain: authn.NewMultiKeychain()})
	r.client.entries = 100
	if repos, err := r.Repos(t.Context(), s.Prefix("team")); err == nil || !strings.Contains(err.Error(), "no end") {
		t.Errorf("%d repositories, %v", len(repos), err)
	}
	if n != 51 {
		t.Errorf("%d pages were read", n)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "5": 5 * time.Second, "-5": 0, "x": 0, "99999999999999": 0,
		"Fri, 01 May 2026 12:00:30 GMT": 30 * time.Second, "Fri, 01 May 2026 11:00:00 GMT": 0,
	} {
		if got := retryAfter(http.Header{"Retry-After": {value}}, now); got != want {
			t.Errorf("%q: %s instead of %s", value, got, want)
		}
	}
}

func TestPlainHTTPIsForThisMachineAlone(t *testing.T) {
	o := Options{Insecure: []string{"old.example.com:5000"}}
	for host, want := range map[string]bool{
		"localhost": true, "localhost:5000": true, "127.0.0.1:5000": true, "127.9.9.9": true, "[::1]:5000": true, "old.example.com:5000": true,
		"old.example.com": false, "10.0.0.1:5000": false, "192.168.1.1": false, "registry.example.com": false, "localhost.example.com": false,
		"127.0.0.1.example.com": false, "[::ffff:127.0.0.1]:80": true,
	} {
		if got := o.plain(host); got != want {
			t.Errorf("%s: %v", host, got)
		}
	}
}

func TestRedirectsStayOffThisMachine(t *testing.T) {
	c := newClient(Options{})
	for to, ok := range map[string]bool{
		"https://blobs.example.com/x?signature=1": true, "http://blobs.example.com/": false, "https://127.0.0.1/": false, "https://localhost/": false,
		"https://169.254.169.254/latest": false, "https://[fe80::1]/": false, "https://0.0.0.0/": false, "https://user:pw@blobs.example.com/": false,
		"https://10.1.2.3/minio": true, "file:///etc/passwd": false,
	} {
		from, _ := http.NewRequest(http.MethodGet, "https://registry.example.com/v2/", nil)
		next, err := http.NewRequest(http.MethodGet, to, nil)
		if err != nil {
			t.Fatal(err)
		}
		next.Header.Set("Authorization", "Bearer x")
		if err := c.checkRedirect(next, []*http.Request{from}); (err == nil) != ok {
			t.Errorf("%s: %v", to, err)
		}
		if next.Header.Get("Authorization") != "" {
			t.Errorf("%s gets the credentials", to)
		}
	}
}

func TestTokensAreRenewedBeforeTheyExpire(t *testing.T) {
	s := registrytest.New(t, registrytest.Distribution)
	image := s.Push("app", registrytest.Image("amd64", registrytest.Layer(1, 10)), "1")
	guard := &registrytest.Guard{Anonymous: true, Lifetime: 100 * time.Second}
	s.Protect(guard)
	r := NewReader(Options{Keychain: authn.NewMultiKeychain()})
	if _, err := r.Has(t.Context(), image); err != nil {
		t.Fatal(err)
	}
	h, _ := r.client.host(s.Host)
	for _, token := range h.auth.tokens {
		if left := time.Until(token.expires); left < 85*time.Second || left > 91*time.Second {
			t.Errorf("a token of 100 s is kept for %s", left)
		}
		token.expires = time.Now()
	}
	s.Reset()
	if _, err := r.Has(t.Context(), image); err != nil {
		t.Fatal(err)
	}
	if len(guard.Issued()) != 2 || s.Count("HEAD", "") != 1 {
		t.Errorf("tokens %v, requests %v", guard.Issued(), s.Summary())
	}
}

func TestTheCacheVerifiesAndForgets(t *testing.T) {
	dir := t.TempDir()
	content := []byte("some manifest")
	d := digestOf(content)
	newCache(dir, 0).put(d, content)
	if got, ok := newCache(dir, 0).get(d); !ok || !bytes.Equal(got, content) {
		t.Fatal("it is not kept")
	}
	name := newCache(dir, 0).file(d)
	if err := os.WriteFile(name, []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, ok := newCache(dir, 0).get(d); ok {
		t.Errorf("it gives %q", got)
	}
	if _, err := os.Stat(name); !os.IsNotExist(err) {
		t.Error("what is damaged stays")
	}
	if err := os.Symlink("/etc/hostname", name); err == nil {
		if _, ok := newCache(dir, 0).get(d); ok {
			t.Error("it follows links to other content")
		}
	}
}

func TestTheCacheOnDiskIsBounded(t *testing.T) {
	c := newCache(t.TempDir(), 100_000)
	old := digestOf([]byte("the oldest"))
	if err := c.write(old, []byte("the oldest")); err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(c.file(old), past, past); err != nil {
		t.Fatal(err)
	}
	var last reconcile.Digest
	for i := range 150 {
		content := []byte(fmt.Sprintf("%01000d", i))
		last = digestOf(content)
		if err := c.write(last, content); err != nil {
			t.Fatal(err)
		}
		when := past.Add(time.Duration(i+1) * time.Minute)
		if err := os.Chtimes(c.file(last), when, when); err != nil {
			t.Fatal(err)
		}
	}
	c.prune()
	var total int64
	_ = filepath.Walk(c.dir, func(_ string, info os.FileInfo, _ error) error {
		if info.Mode().IsRegular() {
			total += info.Size()
		}
		return nil
	})
	if total > 100_000 || total < 70_000 {
		t.Errorf("%d bytes are left", total)
	}
	if _, ok := newCache(c.dir, 0).get(old); ok {
		t.Error("the oldest is still there")
	}
	if _, ok := newCache(c.dir, 0).get(last); !ok {
		t.Error("the newest is gone")
	}
}

func TestTheCacheInMemoryIsBounded(t *testing.T) {
	c := newCache("", 0)
	for i := range 40 {
		content := bytes.Repeat([]byte{byte(i)}, 1<<20)
		c.put(digestOf(content), content)
	}
	if c.bytes > maxMemory || len(c.entries) != c.recent.Len() {
		t.Errorf("%d bytes, %d entries", c.bytes, len(c.entries))
	}
}

func TestTheLimitGrowsAndShrinks(t *testing.T) {
	l := newLimiter()
	ctx := context.Background()
	for range 10 {
		n := int(l.limit)
		for range n {
			if err := l.acquire(ctx); err != nil {
				t.Fatal(err)
			}
		}
		for range n {
			l.answered(time.Millisecond)
		}
	}
	grown := l.limit
	if grown <= firstLimit || grown > maxLimit {
		t.Errorf("the limit has grown to %v", grown)
	}
	var starts []time.Time
	for range 10 {
		if err := l.acquire(ctx); err != nil {
			t.Fatal(err)
		}
		starts = append(starts, time.Now())
	}
	for _, s := range starts {
		l.troubled(s, 0.5, 0)
	}
	if l.limit != grown/2 {
		t.Errorf("trouble at one time took the limit from %v to %v", grown, l.limit)
	}
	if l.running != 0 {
		t.Errorf("%d places are lost", l.running)
	}
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	for range 200 {
		_ = l.acquire(ctx)
	}
	if l.running > int(l.limit) || len(l.queue) != 0 {
		t.Errorf("%d running, %d waiting", l.running, len(l.queue))
	}
}

func TestQuirksAreComplete(t *testing.T) {
	for _, q := range quirks.All {
		if len(q.Hosts) == 0 || q.Source == "" {
			t.Errorf("%+v", q)
		}
		if _, err := time.Parse(time.DateOnly, q.Verified); err != nil {
			t.Error(err)
		}
	}
	for host, known := range map[string]bool{"ghcr.io": true, "x.ghcr.io": false, "1.dkr.ecr.eu-west-1.amazonaws.com": true, "amazonaws.com.example.com": false} {
		if got := len(quirks.Of(host).Hosts) > 0; got != known {
			t.Errorf("%s: %v", host, got)
		}
	}
}
