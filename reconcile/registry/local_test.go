package registry

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
)

func TestAddressesThatContentHasNoBusinessWith(t *testing.T) {
	for s, want := range map[string]bool{
		"127.0.0.1": true, "127.9.9.9": true, "::1": true, "::ffff:127.0.0.1": true, "0.0.0.0": true, "0.1.2.3": true, "::": true, "169.254.169.254": true, "::ffff:169.254.169.254": true,
		"fe80::1": true, "fe80::1%eth0": true, "febf::1": true, "224.0.0.1": true, "ff02::1": true, "fd00:ec2::254": true, "fd20:ce::254": true, "168.63.129.16": true, "100.100.100.200": true,
		"64:ff9b::a9fe:a9fe": true, "64:ff9b::7f00:1": true,
		"10.0.0.1": false, "192.168.1.1": false, "172.16.0.1": false, "100.64.0.1": false, "fd00::1": false, "1.1.1.1": false, "2606:4700::1": false, "64:ff9b::101:101": false, "170.254.1.1": false,
	} {
		if got := localKind(netip.MustParseAddr(s)); (got != "") != want {
			t.Errorf("%s: %q", s, got)
		}
	}
}

func TestNamedHostsAreAllowedWithTheirPort(t *testing.T) {
	local := Named("127.0.0.1:5000", "LocalHost", "[::1]:5001", "[::1]")
	for host, want := range map[string]bool{
		"127.0.0.1:5000": true, "127.0.0.1:5001": false, "127.0.0.1:443": false, "localhost:443": true, "LOCALHOST:80": true, "localhost:5000": false, "[::1]:5001": true, "[::1]:443": true, "[::1]:5000": false, "": false,
	} {
		if local(host) != want {
			t.Errorf("%s: %t", host, !want)
		}
	}
	if Named()("127.0.0.1:80") {
		t.Error("nothing is named, and something is allowed")
	}
}

// refusedLocal reads an image's tree and expects that it fails at once, because of a host.
func refusedLocal(t *testing.T, r *Reader, i reconcile.Image, host string) {
	t.Helper()
	_, err := r.Tree(t.Context(), i)
	var local *localError
	if !errors.As(err, &local) || local.host != host || !strings.Contains(err.Error(), `allow = ["`+host+`/**"]`) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
}

func TestARedirectToThisMachineIsNotFollowed(t *testing.T) {
	behind := registrytest.New(t, registrytest.Distribution)
	i := behind.Push("app", registrytest.Image("amd64", registrytest.Layer(1, 100)), "1")
	behind.Reset()
	front := registrytest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+behind.Host+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	at := reconcile.Image{Repo: front.Repo("app"), Digest: i.Digest}
	refusedLocal(t, NewReader(Options{Local: Named(front.Host)}), at, behind.Host)
	if n := len(behind.Requests()); n > 0 {
		t.Errorf("it was asked %d times", n)
	}
	if _, err := NewReader(Options{Local: Named(front.Host, behind.Host)}).Tree(t.Context(), at); err != nil {
		t.Errorf("though it is allowed: %v", err)
	}
}

func TestATokenServerWhereCloudsKeepCredentialsIsNotAsked(t *testing.T) {
	for _, host := range []string{"169.254.169.254", "[fd00:ec2::254]", "metadata.example.com"} {
		s := registrytest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="https://%s/token",service="x"`, host))
			w.WriteHeader(http.StatusUnauthorized)
		}))
		r := NewReader(Options{Local: Named(s.Host)})
		r.client.http.Transport.(*guard).dialer.Resolver = &net.Resolver{PreferGo: true, Dial: nameserver(netip.MustParseAddr("169.254.169.254"))}
		at := reconcile.Image{Repo: s.Repo("app"), Digest: digestOf([]byte("x"))}
		if host == "metadata.example.com" {
			refusedLocal(t, r, at, host+":443")
		} else if _, err := r.Tree(t.Context(), at); err == nil || !strings.Contains(err.Error(), "link-local") { // go-containerregistry refuses what is written as an address
			t.Errorf("%v", err)
		}
	}
}

func TestARefusalIsOneLine(t *testing.T) {
	for _, e := range []error{&localError{"[fe80::1%\n::error::x]:80", netip.MustParseAddr("fe80::1%a\nb"), "a link-local address"}, &localError{"proxy.example.com:3128", netip.Addr{}, "the proxy that the environment names"}} {
		if strings.ContainsAny(e.Error(), "\n\r") || strings.Contains(e.Error(), "invalid") {
			t.Errorf("%q", e)
		}
	}
}

// nameserver answers that every name has one IPv4 address. It speaks DNS over a stream (RFC 1035, 4.1 and 4.2.2).
func nameserver(address netip.Addr) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer ours.Close()
			for {
				var length [2]byte
				if _, err := io.ReadFull(ours, length[:]); err != nil {
					return
				}
				q := make([]byte, binary.BigEndian.Uint16(length[:]))
				if _, err := io.ReadFull(ours, q); err != nil {
					return
				}
				end := 12
				for q[end] != 0 {
					end += int(q[end]) + 1
				}
				end += 5 // the name's end, type and class
				a := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, q[12:end]...)
				if binary.BigEndian.Uint16(q[end-4:]) == 1 { // A
					a[7] = 1
					a = append(append(a, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4), address.AsSlice()...)
				}
				if _, err := ours.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...)); err != nil {
					return
				}
			}
		}()
		return theirs, nil
	}
}

func TestANameThatResolvesToThisMachineIsNotCalled(t *testing.T) {
	s := registrytest.New(t, registrytest.Distribution)
	i := s.Push("app", registrytest.Image("amd64", registrytest.Layer(1, 100)), "1")
	s.Reset()
	_, port, err := net.SplitHostPort(s.Host)
	if err != nil {
		t.Fatal(err)
	}
	host := "rebound.example.com:" + port
	repo, err := reconcile.ParseRepo(host + "/app")
	if err != nil {
		t.Fatal(err)
	}
	reader := func(local func(string) bool) *Reader {
		r := NewReader(Options{Local: local, Insecure: []string{host}})
		r.client.http.Transport.(*guard).dialer.Resolver = &net.Resolver{PreferGo: true, Dial: nameserver(netip.MustParseAddr("127.0.0.1"))}
		return r
	}
	refusedLocal(t, reader(Named("other.example.com:"+port)), reconcile.Image{Repo: repo, Digest: i.Digest}, host)
	if n := len(s.Requests()); n > 0 {
		t.Errorf("it was asked %d times", n)
	}
	if _, err := reader(Named(host)).Tree(t.Context(), reconcile.Image{Repo: repo, Digest: i.Digest}); err != nil {
		t.Errorf("though its name is allowed: %v", err)
	}
}

// A proxy may lie on this machine. What is called through it is judged as far as it is written as an address, and it is no registry itself.
func TestAProxyMayLieOnThisMachine(t *testing.T) {
	s := registrytest.New(t, registrytest.Distribution)
	i := s.Push("app", registrytest.Image("amd64", registrytest.Layer(1, 100)), "1")
	var through []string
	proxy := registrytest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		through = append(through, r.URL.Host)
		httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: s.Host}).ServeHTTP(w, r)
	}))
	_, port, _ := net.SplitHostPort(proxy.Host)
	r := NewReader(Options{Local: Named(), Insecure: []string{"registry.example.com", "169.254.1.1:80", "localhost:" + port}})
	r.client.http.Transport.(*guard).proxy = func(req *http.Request) (*url.URL, error) {
		if req.URL.Host == "localhost:"+port {
			return nil, nil
		}
		return &url.URL{Scheme: "http", Host: "localhost:" + port}, nil
	}
	if _, err := r.Tree(t.Context(), image(t, "registry.example.com/app", i.Digest)); err != nil || len(through) == 0 {
		t.Errorf("%v, %v", err, through)
	}
	through = nil
	refusedLocal(t, r, image(t, "169.254.1.1:80/app", i.Digest), "169.254.1.1:80")
	refusedLocal(t, r, image(t, "localhost:"+port+"/app", i.Digest), "localhost:"+port)
	if len(through) > 0 {
		t.Errorf("%v", through)
	}
}

func image(t *testing.T, repo string, d reconcile.Digest) reconcile.Image {
	t.Helper()
	r, err := reconcile.ParseRepo(repo)
	if err != nil {
		t.Fatal(err)
	}
	return reconcile.Image{Repo: r, Digest: d}
}
