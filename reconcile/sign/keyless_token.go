package sign

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Variables that say where identity tokens come from. The first that is set is used: what somebody asked for goes before what happens to be there.
const (
	TokenFileVariable = "ASSAY_ID_TOKEN_FILE" // a file that holds a token, and is kept fresh by others
	TokenVariable     = "SIGSTORE_ID_TOKEN"   // a token; it can't be refreshed
	githubURLVariable = "ACTIONS_ID_TOKEN_REQUEST_URL"
	githubKeyVariable = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
)

const maxToken = 64 << 10 // bytes

// A TokenSource gives an OpenID Connect identity token for an audience. It is asked each time that one is needed, so that a run may outlast a token.
type TokenSource func(ctx context.Context, audience string) (string, error)

// AmbientToken is the TokenSource of the process's environment: a file, a variable, or GitHub Actions. No token is ever part of an error.
func AmbientToken(ctx context.Context, audience string) (string, error) {
	if path := os.Getenv(TokenFileVariable); path != "" {
		return tokenFromFile(path)
	}
	if token := os.Getenv(TokenVariable); token != "" {
		return checkToken(token, TokenVariable)
	}
	if at, key := os.Getenv(githubURLVariable), os.Getenv(githubKeyVariable); at != "" && key != "" {
		return tokenFromGitHub(ctx, at, key, audience)
	}
	return "", fmt.Errorf("there is no identity token: in GitHub Actions give the job the permission id-token: write; elsewhere set %s to a file that holds one, or %s", TokenFileVariable, TokenVariable)
}

func tokenFromFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read identity token: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	if err != nil {
		return "", fmt.Errorf("read identity token: %w", err)
	}
	return checkToken(string(b), path)
}

// checkToken sees that a token looks like a JWT in its compact form; whether it counts is for whoever it is shown to.
func checkToken(token, from string) (string, error) {
	token = strings.TrimSpace(token)
	if len(token) > maxToken || strings.Count(token, ".") != 2 || strings.ContainsAny(token, " \r\n\t") {
		return "", fmt.Errorf("%s holds no identity token (a JWT: three parts with a dot between)", from)
	}
	return token, nil
}

// tokenFromGitHub asks the runner's service (GitHub Docs, "OpenID Connect reference", methods for requesting the OIDC token). Its URL has a query already.
func tokenFromGitHub(ctx context.Context, at, key, audience string) (string, error) {
	u, err := url.Parse(at)
	if err != nil {
		return "", fmt.Errorf("%s is no URL", githubURLVariable)
	}
	if err := checkSecret(at); err != nil {
		return "", fmt.Errorf("%s: %w", githubURLVariable, err)
	}
	q := u.Query()
	q.Set("audience", audience)
	u.RawQuery = q.Encode()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", errors.New("ask GitHub for an identity token: its URL is not valid")
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := noRedirects.Do(req)
	if err != nil {
		return "", fmt.Errorf("ask GitHub for an identity token: %w", withoutURL(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("ask GitHub for an identity token: it answered %s; has the job the permission id-token: write?", resp.Status)
	}
	var answer struct {
		Value string `json:"value"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 2*maxToken)).Decode(&answer); err != nil {
		return "", errors.New("ask GitHub for an identity token: its answer can't be read")
	}
	return checkToken(answer.Value, "GitHub's answer")
}

// noRedirects keeps a credential with the host that it is for.
var noRedirects = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// withoutURL takes the URL out of a client's error: its query may be secret.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
