package source

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/http"
)

// tokenUser is the name that goes with a token. GitHub and most others take any.
const tokenUser = "x-access-token"

// environmentAuth returns the credential that the environment holds for a URL, or nil. ASSAY_GIT_TOKEN is meant for the catalog's host;
// GITHUB_TOKEN only for the host of GITHUB_SERVER_URL (GitHub Actions documentation, "Variables reference"). (ssh takes its keys from the agent, and
// known hosts from the usual files.)
func environmentAuth(u *url.URL) transport.AuthMethod {
	if u.Scheme != "https" && u.Scheme != "http" {
		return nil
	}
	if t := os.Getenv("ASSAY_GIT_TOKEN"); t != "" {
		user := os.Getenv("ASSAY_GIT_USERNAME")
		if user == "" {
			user = tokenUser
		}
		return &http.BasicAuth{Username: user, Password: t}
	}
	if t := os.Getenv("GITHUB_TOKEN"); t != "" && sameOrigin(u, githubServer()) {
		return &http.BasicAuth{Username: tokenUser, Password: t}
	}
	return nil
}

func githubServer() string {
	if s := os.Getenv("GITHUB_SERVER_URL"); s != "" {
		return s
	}
	return "https://github.com"
}

func sameOrigin(u *url.URL, server string) bool {
	s, err := url.Parse(server)
	return err == nil && s.Host != "" && s.Scheme == u.Scheme && strings.EqualFold(strings.TrimSuffix(s.Host, ":443"), strings.TrimSuffix(u.Host, ":443"))
}

// helperTimeout bounds git's credential helpers.
const helperTimeout = 20 * time.Second

// helperAuth asks git's credential helpers for a URL's credential, never a person. It returns nil where there is none.
func helperAuth(ctx context.Context, u *url.URL) transport.AuthMethod {
	program, err := exec.LookPath("git")
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "credential", "fill")
	cmd.Stdin = strings.NewReader(fmt.Sprintf("protocol=%s\nhost=%s\npath=%s\n\n", u.Scheme, u.Host, strings.TrimPrefix(u.Path, "/")))
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=", "SSH_ASKPASS=", "GCM_INTERACTIVE=never")
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout = &out
	if cmd.Run() != nil {
		return nil
	}
	answer := map[string]string{}
	for lines := bufio.NewScanner(&out); lines.Scan(); {
		if k, v, ok := strings.Cut(lines.Text(), "="); ok {
			answer[k] = v
		}
	}
	if answer["password"] == "" || answer["protocol"] != u.Scheme || answer["host"] != u.Host {
		return nil
	}
	return &http.BasicAuth{Username: answer["username"], Password: answer["password"]}
}
