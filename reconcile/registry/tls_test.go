package registry

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"golang.org/x/sync/errgroup"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
)

// trusting returns a Writer that reaches example.com at a server on loopback, by https.
func trusting(s *httptest.Server) *Writer {
	config := s.Client().Transport.(*http.Transport).TLSClientConfig
	r := NewReader(Options{Keychain: authn.NewMultiKeychain(), TLS: config, Patience: 2})
	r.client.http.Transport.(*guard).next.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == "example.com:443" {
			address = s.Listener.Addr().String()
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	return NewWriter(r)
}

func TestHTTP2IsUsedWhereItIsOffered(t *testing.T) {
	source := registrytest.New(t, registrytest.Distribution)
	image := source.Push("app", registrytest.Index(true, nil, registrytest.Layer(1, 200_000), registrytest.Layer(2, 200_000)), "1")
	behind := registrytest.New(t, registrytest.Distribution)
	var old, conns atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			old.Add(1)
		}
		behind.Traffic.ServeHTTP(w, r)
	}))
	s.EnableHTTP2 = true
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.StartTLS()
	defer s.Close()
	w := trusting(s)
	var group errgroup.Group
	for _, path := range []string{"a", "b", "c", "d"} {
		repo, err := reconcile.ParseRepo("example.com/" + path)
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() error {
			if _, err := w.Copy(t.Context(), image, repo); err != nil {
				return err
			}
			_, err := w.Tree(t.Context(), reconcile.Image{Repo: repo, Digest: image.Digest})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if old.Load() > 0 || conns.Load() > 4 {
		t.Errorf("%d requests by HTTP/1, %d connections", old.Load(), conns.Load())
	}
}

func TestAnUntrustedCertificateIsAnErrorAtOnce(t *testing.T) {
	var conns atomic.Int64
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	w := trusting(s)
	w.client.http.Transport.(*guard).next.TLSClientConfig = nil
	repo, err := reconcile.ParseRepo("example.com/app")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Tags(t.Context(), repo); err == nil || conns.Load() != 1 {
		t.Errorf("%v after %d connections", err, conns.Load())
	}
}

func TestHostsAreReachedWhereTheyAre(t *testing.T) {
	c := newClient(Options{Insecure: []string{"old.example.com"}})
	for name, want := range map[string]string{
		"docker.io": "https://index.docker.io", "ghcr.io": "https://ghcr.io", "localhost:5000": "http://localhost:5000",
		"[::1]:5000": "http://[::1]:5000", "old.example.com": "http://old.example.com", "10.0.0.1:5000": "https://10.0.0.1:5000",
	} {
		h, err := c.host(name)
		if err != nil || h.base.String() != want {
			t.Errorf("%s is reached at %v (%v)", name, h, err)
		}
	}
}
