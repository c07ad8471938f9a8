package source

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
)

// A location is where a repository is: a folder, or a URL.
type location struct {
	dir string   // of a local repository
	url *url.URL // of another one; without a password
}

func (l location) String() string {
	if l.dir != "" {
		return l.dir
	}
	return l.url.String()
}

// scp matches git's short form of ssh URLs.
var scp = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9_.-]*)@([A-Za-z0-9][A-Za-z0-9.-]*):([^:].*)$`)

// parseLocation refuses what would read a catalog, or send a credential, where others can change or see it.
func parseLocation(s string) (location, error) {
	if m := scp.FindStringSubmatch(s); m != nil {
		return location{url: &url.URL{Scheme: "ssh", User: url.User(m[1]), Host: m[2], Path: "/" + strings.TrimPrefix(m[3], "/")}}, nil
	}
	if !strings.Contains(s, "://") {
		if s == "" {
			return location{}, fmt.Errorf("no location is given; name a folder or a URL")
		}
		return location{dir: s}, nil
	}
	u, err := url.Parse(s)
	if err != nil { // its text may hold a password, so it is not repeated
		return location{}, fmt.Errorf("the URL is malformed")
	}
	if _, has := u.User.Password(); has {
		return location{}, fmt.Errorf("the URL of %s holds a password; remove it, and set ASSAY_GIT_TOKEN or use git's credential helpers", u.Host)
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return location{}, fmt.Errorf("the URL of %s has a query or a fragment; use the options for ref and path", u.Host)
	}
	switch u.Scheme {
	case "file":
		if u.Host != "" && u.Host != "localhost" {
			return location{}, fmt.Errorf("%s names a host; write file:///path", u)
		}
		return location{dir: u.Path}, nil
	case "http":
		if !loopback(u.Hostname()) {
			return location{}, fmt.Errorf("%s is not encrypted, so others could change the catalog; use https", u)
		}
	case "https":
		if u.User != nil { // a name alone may be a token
			return location{}, fmt.Errorf("the URL of %s holds a user; remove it, and set ASSAY_GIT_TOKEN or use git's credential helpers", u.Host)
		}
	case "ssh":
	default:
		return location{}, fmt.Errorf("the scheme %q is not supported; use https, ssh or file", u.Scheme)
	}
	if u.Host == "" {
		return location{}, fmt.Errorf("the URL %s names no host", u)
	}
	return location{url: u}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
