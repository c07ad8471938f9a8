package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/http"
	"github.com/go-git/go-git/v5/plumbing/transport/ssh"
)

// Credentials come from the environment or from git's own helpers, and go to the catalog's host alone:
//
//	ASSAY_GIT_TOKEN    a token for the catalog's host
//	GITHUB_TOKEN       for the host of GITHUB_SERVER_URL (github.com) only
//	ASSAY_GIT_SSH_KEY  the path of a private key without a passphrase; otherwise the ssh agent is asked
//
// For https, git's credential helpers are asked where a server refuses what there is.

// authenticator finds credentials for one URL.
type authenticator struct {
	url    *url.URL // nil for what needs none
	method transport.AuthMethod
}

func newAuthenticator(location string) (authenticator, error) {
	if !strings.Contains(location, "://") {
		return sshAuthenticator(location)
	}
	u, err := url.Parse(location)
	if err != nil {
		return authenticator{}, errors.New("read catalog: its URL can't be parsed")
	}
	switch u.Scheme {
	case "file":
		return authenticator{}, nil
	case "ssh":
		return sshAuthenticator(location)
	case "https", "http":
	default:
		return authenticator{}, fmt.Errorf("read catalog %s: %q is none of https, ssh, file", redacted(location), u.Scheme)
	}
	if _, secret := u.User.Password(); secret {
		return authenticator{}, fmt.Errorf("read catalog %s: a password in a URL ends up in logs; set ASSAY_GIT_TOKEN instead", redacted(location))
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		return authenticator{}, fmt.Errorf("read catalog %s: plain http could be forged on its way; use https", redacted(location))
	}
	a := authenticator{url: u}
	if token := tokenFor(u); token != "" {
		a.method = &http.BasicAuth{Username: "x-access-token", Password: token}
	}
	return a, nil
}

func tokenFor(u *url.URL) string {
	if t := os.Getenv("ASSAY_GIT_TOKEN"); t != "" {
		return t
	}
	server := os.Getenv("GITHUB_SERVER_URL")
	if server == "" {
		server = "https://github.com"
	}
	if g, err := url.Parse(server); err == nil && g.Host == u.Host && g.Scheme == u.Scheme {
		return os.Getenv("GITHUB_TOKEN")
	}
	return ""
}

func sshAuthenticator(location string) (authenticator, error) {
	file := os.Getenv("ASSAY_GIT_SSH_KEY")
	if file == "" {
		return authenticator{}, nil // go-git asks the agent
	}
	endpoint, err := transport.NewEndpoint(location)
	if err != nil {
		return authenticator{}, fmt.Errorf("read catalog %s: %w", redacted(location), err)
	}
	user := endpoint.User
	if user == "" {
		user = "git"
	}
	keys, err := ssh.NewPublicKeysFromFile(user, file, "")
	if err != nil {
		return authenticator{}, fmt.Errorf("read the key that ASSAY_GIT_SSH_KEY names: %w", err)
	}
	return authenticator{method: keys}, nil
}

// with makes a request, and once more with what git's helpers know if the server wants credentials.
func (a *authenticator) with(ctx context.Context, request func(transport.AuthMethod) error) error {
	err := request(a.method)
	refused := errors.Is(err, transport.ErrAuthenticationRequired) || errors.Is(err, transport.ErrAuthorizationFailed)
	if !refused || a.url == nil || a.method != nil {
		return err
	}
	method, ok := askGit(ctx, a.url)
	if !ok {
		return fmt.Errorf("%w; set ASSAY_GIT_TOKEN, or a credential helper in git's configuration", err)
	}
	a.method = method
	return request(method)
}

// askGit asks git's credential helpers, which must not ask anybody in turn.
func askGit(ctx context.Context, u *url.URL) (transport.AuthMethod, bool) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", "credential", "fill")
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=", "SSH_ASKPASS=")
	cmd.Stdin = strings.NewReader(fmt.Sprintf("protocol=%s\nhost=%s\npath=%s\n\n", u.Scheme, u.Host, strings.TrimPrefix(u.Path, "/")))
	out, err := cmd.Output()
	if err != nil {
		return nil, false
	}
	var auth http.BasicAuth
	for line := range bytes.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimRight(string(line), "\r\n"), "=")
		switch key {
		case "username":
			auth.Username = value
		case "password":
			auth.Password = value
		}
	}
	return &auth, auth.Password != ""
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
