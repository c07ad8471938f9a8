package registry

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A localError says that a host lies where nobody is called whom Options.Local doesn't allow.
type localError struct {
	host    string // with its port, as it was named
	address netip.Addr
	kind    string
}

func (e *localError) Error() string {
	host := printable(e.host, 100) // that of a redirect is anybody's text
	where := fmt.Sprintf("%s is %s", host, e.kind)
	if at := e.address.WithZone(""); at.IsValid() && !strings.Contains(host, at.String()) {
		where = fmt.Sprintf("%s is at %s, %s", host, at, e.kind)
	}
	return fmt.Sprintf("%s, and is not called: what is merged doesn't name it; if it is a registry of yours, allow it in a rule of the merged policy, as in sources { allow = [\"%s/**\"] }", where, host)
}

// Where clouds answer with credentials, besides the link-local addresses (their documentation of instance metadata, 2026-11).
var metadata = map[netip.Addr]bool{
	netip.MustParseAddr("fd00:ec2::254"):   true, // AWS
	netip.MustParseAddr("fd20:ce::254"):    true, // Google Cloud
	netip.MustParseAddr("168.63.129.16"):   true, // Azure
	netip.MustParseAddr("100.100.100.200"): true, // Alibaba Cloud
}

// nat64 are addresses that stand for the IPv4 address in their last four bytes (RFC 6052, 2.1).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// localKind tells what makes an address one that content has no business to lead us to; empty for others. Private networks are not among them: registries lie there.
func localKind(ip netip.Addr) string {
	ip = ip.Unmap().WithZone("")
	if nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	switch {
	case ip.IsLoopback():
		return "an address of this machine"
	case ip.IsUnspecified(), ip.Is4() && ip.As4()[0] == 0:
		return "an address of this machine"
	case ip.IsLinkLocalUnicast():
		return "a link-local address"
	case ip.IsMulticast():
		return "a multicast address"
	case metadata[ip]:
		return "where a cloud keeps credentials"
	}
	return ""
}

// Named returns an Options.Local for hosts that are named as in reconcile.Repo. One without a port has the usual ones.
func Named(hosts ...string) func(host string) bool {
	set := map[string]bool{}
	for _, h := range hosts {
		h = strings.ToLower(h)
		if _, _, err := net.SplitHostPort(h); err == nil {
			set[h] = true
			continue
		}
		for _, port := range []string{"443", "80"} {
			set[net.JoinHostPort(strings.Trim(h, "[]"), port)] = true
		}
	}
	return func(host string) bool { return set[strings.ToLower(host)] }
}

// A guard keeps connections from leading to this machine, its link or a cloud's credentials. It judges the address that is dialled, so neither a name that resolves
// to it, nor a redirect, nor a token server leads there. Where a proxy is used, that one resolves names; then addresses written as such are judged.
type guard struct {
	local   func(host string) bool // nil: nothing is kept from anything
	proxy   func(*http.Request) (*url.URL, error)
	dialer  net.Dialer
	proxies sync.Map // "host:port" of those that the environment names
	next    *http.Transport
}

func newGuard(o Options) *guard {
	return &guard{local: o.Local, proxy: http.ProxyFromEnvironment, dialer: net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}}
}

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := g.judge(req.URL); err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	return g.next.RoundTrip(req)
}

// judge refuses a host that is written as an address, and a proxy that is called as if it were a registry. A name is judged by what it resolves to.
func (g *guard) judge(u *url.URL) error {
	host := hostPort(u)
	kind := ""
	ip, err := netip.ParseAddr(u.Hostname())
	if err == nil {
		kind = localKind(ip)
	} else if _, proxy := g.proxies.Load(host); proxy {
		kind = "the proxy that the environment names"
	}
	if kind == "" || g.local == nil || g.local(host) {
		return nil
	}
	return &localError{host, ip, kind}
}

// throughProxy is the transport's Proxy.
func (g *guard) throughProxy(req *http.Request) (*url.URL, error) {
	u, err := g.proxy(req)
	if u != nil {
		g.proxies.Store(hostPort(u), true)
	}
	return u, err
}

// dial is the transport's DialContext. A proxy that the environment names may lie anywhere.
func (g *guard) dial(ctx context.Context, network, host string) (net.Conn, error) {
	d := g.dialer
	if _, proxy := g.proxies.Load(host); g.local != nil && !proxy {
		d.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("the address %q can't be judged: %w", address, err)
			}
			if kind := localKind(at.Addr()); kind != "" && !g.local(host) {
				return &localError{host, at.Addr(), kind}
			}
			return nil
		}
	}
	return d.DialContext(ctx, network, host)
}

// hostPort is a URL's host with its port.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}
