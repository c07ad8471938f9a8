package registrytest

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry/serve"
)

// A Software is a registry implementation.
type Software string

// The registries that tests can start.
const (
	Distribution Software = "distribution" // CNCF distribution v3, in this process, content in memory
	Google       Software = "ggcr"         // go-containerregistry's own, without the referrers API
	Referrers    Software = "ggcr-referrers"
	Debian       Software = "debian" // docker-registry 2.8, a process of its own
)

// All lists every Software.
var All = []Software{Distribution, Google, Referrers, Debian}

// A Server is a running registry behind its Traffic.
type Server struct {
	*Traffic
	Host string // "127.0.0.1:port"
	t    testing.TB
	stop func()
}

// New starts a registry, which ends with the test. Where Debian's isn't installed, the test is skipped.
func New(t testing.TB, software Software) *Server {
	t.Helper()
	switch software {
	case Distribution:
		return Start(t, distribution(t, ""))
	case Google:
		return Start(t, registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	case Referrers:
		return Start(t, registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true)))
	case Debian:
		return Start(t, debian(t))
	}
	t.Fatalf("no registry is called %q", software)
	return nil
}

// NewIn starts CNCF distribution on a folder.
func NewIn(t testing.TB, dir string) *Server { return Start(t, distribution(t, dir)) }

// Start serves any handler behind a Traffic.
func Start(t testing.TB, h http.Handler) *Server {
	t.Helper()
	traffic := NewTraffic(h)
	s := httptest.NewUnstartedServer(traffic)
	s.Config.ConnState = traffic.ConnState
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	t.Cleanup(s.Close)
	return &Server{Traffic: traffic, Host: s.Listener.Addr().String(), t: t, stop: s.Close}
}

// Repo returns a repository of the server.
func (s *Server) Repo(path string) reconcile.Repo {
	s.t.Helper()
	r, err := reconcile.ParseRepo(s.Host + "/" + path)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// Prefix returns a prefix on the server; an empty path is the whole of it.
func (s *Server) Prefix(path string) reconcile.Prefix {
	s.t.Helper()
	p, err := reconcile.ParsePrefix(s.Host + "/" + path)
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

func distribution(t testing.TB, dir string) http.Handler {
	h, stop, err := serve.Handler(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return h
}

// debian starts docker-registry on a free port and returns a proxy to it.
func debian(t testing.TB) http.Handler {
	t.Helper()
	binary, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Skip("docker-registry is not installed (Debian: apt-get install docker-registry)")
	}
	dir := t.TempDir()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	_ = listener.Close()
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %q}, delete: {enabled: true}}\nhttp: {addr: %q}\n",
		filepath.Join(dir, "data"), addr)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, binary, "serve", config)
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	waitFor(t, "http://"+addr+"/v2/")
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr})
	proxy.Transport = &http.Transport{MaxIdleConnsPerHost: 64}
	director := proxy.Director
	proxy.Director = func(r *http.Request) { host := r.Host; director(r); r.Host = host }
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	return proxy
}

// waitFor returns when the address answers.
func waitFor(t testing.TB, address string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not answer: %v", address, err)
		}
		time.Sleep(20 * time.Millisecond) // another process starts; there is nothing else to wait on
	}
}

// Stop ends the server before the test does.
func (s *Server) Stop() { s.stop() }
