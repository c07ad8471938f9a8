package registry

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/assay-oci/assay/reconcile"
)

// auth convinces one host. It learns how from the host's first refusal: no request is spent on asking beforehand. Tokens are kept by
// the set of scopes that they are for.
type auth struct {
	host      name.Registry
	plain     bool // plain http
	keychain  authn.Keychain
	transport http.RoundTripper
	mayPlain  func(host string) bool

	first keyed[struct{}] // while nothing is known of the host, requests go one by one

	mu     sync.Mutex
	known  bool
	how    challenge // empty scheme: nothing is asked for
	tokens map[string]*token
	creds  map[string]authn.Authenticator // by repository; "" is the host's own

	getting  keyed[string] // a token for one set of scopes at a time
	resolves keyed[string]
}

type token struct {
	value   string
	expires time.Time
	extra   []string // scopes that the host asked for beyond ours
}

// A scope is what a token must allow (distribution, "Token Scope Documentation").
func scope(repo reconcile.Repo, actions string) string {
	return "repository:" + repo.Path() + ":" + actions
}

const (
	pull     = "pull"
	push     = "pull,push"
	remove   = "delete"
	catalogs = "registry:catalog:*"
)

// enter returns at once if it is known what the host asks for; else only one caller at a time gets in, and the others wait until it
// has learned. The returned function is to be called after the answer's header.
func (a *auth) enter(ctx context.Context) (func(), error) {
	if a.isKnown() {
		return func() {}, nil
	}
	leave, err := a.first.lock(ctx, struct{}{})
	if err != nil {
		return nil, err
	}
	if a.isKnown() {
		leave()
		return func() {}, nil
	}
	return leave, nil
}

func (a *auth) isKnown() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.known
}

// welcomed notes that the host answered without asking for credentials.
func (a *auth) welcomed() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known = true
}

// header returns the Authorization header for a request that needs the scopes; empty if none is needed.
func (a *auth) header(ctx context.Context, repo string, scopes []string) (string, error) {
	a.mu.Lock()
	how := a.how
	a.mu.Unlock()
	switch how.scheme {
	case "basic":
		cred, err := a.credentials(ctx, repo)
		if err != nil || cred.Username == "" && cred.Password == "" {
			return "", err
		}
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(cred.Username+":"+cred.Password)), nil
	case "bearer":
		t, err := a.token(ctx, repo, how, scopes)
		if err != nil {
			return "", err
		}
		return "Bearer " + t, nil
	}
	return "", nil
}

// refused learns from a 401 to a request that carried the given header. It tells whether another attempt makes sense.
func (a *auth) refused(resp *http.Response, sent string, scopes []string) bool {
	c, ok := pickChallenge(resp.Header)
	if !ok {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.how
	a.known, a.how = true, c
	if sent == "" {
		return true
	}
	key := scopeKey(scopes)
	old := a.tokens[key]
	if old == nil || sent != "Bearer "+old.value {
		return before.scheme == c.scheme && c.scheme == "bearer" // another request has thrown the token away
	}
	next := &token{extra: old.extra}
	for _, s := range strings.Fields(c.params["scope"]) {
		if len(next.extra) < 4 && len(s) < 512 && !slices.Contains(scopes, s) && !slices.Contains(next.extra, s) {
			next.extra = append(slices.Clone(next.extra), s)
		}
	}
	a.tokens[key] = next
	return true
}

func scopeKey(scopes []string) string {
	sorted := slices.Clone(scopes)
	slices.Sort(sorted)
	return strings.Join(sorted, " ")
}

// token returns one that is still good for a while.
func (a *auth) token(ctx context.Context, repo string, how challenge, scopes []string) (string, error) {
	key := scopeKey(scopes)
	unlock, err := a.getting.lock(ctx, key)
	if err != nil {
		return "", err
	}
	defer unlock()
	a.mu.Lock()
	t := a.tokens[key]
	a.mu.Unlock()
	if t == nil {
		t = &token{}
	}
	if t.value != "" && time.Now().Before(t.expires) {
		return t.value, nil
	}
	asked := time.Now()
	value, lifetime, err := a.exchange(ctx, repo, how, append(slices.Clone(scopes), t.extra...))
	if err != nil {
		return "", err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.tokens == nil {
		a.tokens = map[string]*token{}
	}
	a.tokens[key] = &token{value, asked.Add(lifetime - min(10*time.Second, lifetime/5)), t.extra}
	return value, nil
}

// exchange gets a token from the server that the challenge names.
func (a *auth) exchange(ctx context.Context, repo string, how challenge, scopes []string) (string, time.Duration, error) {
	fail := func(err error) error { return fmt.Errorf("get a token for %s: %w", a.host.RegistryStr(), err) }
	realm, err := url.Parse(how.params["realm"])
	if err != nil || realm.Host == "" || realm.User != nil {
		return "", 0, fail(refuse("it names no usable token server"))
	}
	if realm.Scheme != "https" && !(realm.Scheme == "http" && a.plain && a.mayPlain(realm.Host)) {
		return "", 0, fail(refuse("its token server %q is not reached by https, and credentials are not sent in the clear", printable(realm.Host, 80)))
	}
	cred, err := a.credentials(ctx, repo)
	if err != nil {
		return "", 0, fail(err)
	}
	if cred.RegistryToken != "" {
		return cred.RegistryToken, time.Hour, nil
	}
	ping := &transport.Challenge{Scheme: how.scheme, Parameters: how.params, Insecure: a.plain}
	authenticator := authn.Anonymous
	if *cred != (authn.AuthConfig{}) {
		authenticator = authn.FromConfig(*cred)
	}
	for failed := 1; ; failed++ {
		t, err := transport.Exchange(ctx, a.host, authenticator, a.transport, scopes, ping)
		if err == nil {
			value, lifetime := t.Token, time.Duration(t.ExpiresIn)*time.Second
			if value == "" {
				value = t.AccessToken
			}
			if lifetime <= 0 {
				lifetime = time.Minute // the specification's default
			}
			return value, lifetime, nil
		}
		err = tokenError(realm.Host, err)
		status, ok := statusOf(err)
		if ok {
			status.login, status.at = authenticator != authn.Anonymous, a.host.RegistryStr()
		}
		if failed >= 6 || ctx.Err() != nil || ok && !passing(status.status) || !ok && !mayPass(ctx, err) {
			return "", 0, fail(err)
		}
		if sleep(ctx, backoff(failed)) != nil {
			return "", 0, fail(err)
		}
	}
}

// tokenError keeps what the token server said, without addresses and without what may hold a credential.
func tokenError(host string, err error) error {
	var status *transport.Error
	if errors.As(err, &status) {
		e := &statusError{host: host, status: status.StatusCode}
		for _, d := range status.Errors {
			e.codes = append(e.codes, printable(string(d.Code), 40))
			e.message = printable(d.Message, 160)
		}
		return e
	}
	var address *url.Error
	if errors.As(err, &address) {
		return fmt.Errorf("ask %s: %w", host, address.Err)
	}
	if strings.HasPrefix(err.Error(), "no token in bearer response") {
		return refuse("%s sent no token", host)
	}
	if strings.Contains(err.Error(), "realm") { // go-containerregistry's rules for token servers
		return refuse("%v", err)
	}
	return refuse("the answer of %s can't be read", host)
}

// credentials returns what the keychain knows for the host or, where it knows nothing, for the repository. Each is looked up once
// a run: behind a keychain may be a program.
func (a *auth) credentials(ctx context.Context, repo string) (*authn.AuthConfig, error) {
	cred, err := a.lookUp(ctx, "", a.host)
	if err == nil && cred == authn.Anonymous && repo != "" {
		cred, err = a.lookUp(ctx, repo, a.host.Repo(repo))
	}
	if err != nil {
		return nil, fmt.Errorf("look up the credentials for %s: %w", a.host.RegistryStr(), err)
	}
	return authn.Authorization(ctx, cred)
}

func (a *auth) lookUp(ctx context.Context, repo string, what authn.Resource) (authn.Authenticator, error) {
	unlock, err := a.resolves.lock(ctx, repo)
	if err != nil {
		return nil, err
	}
	defer unlock()
	a.mu.Lock()
	cred := a.creds[repo]
	a.mu.Unlock()
	if cred != nil {
		return cred, nil
	}
	cred, err = authn.Resolve(ctx, a.keychain, what)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.creds == nil {
		a.creds = map[string]authn.Authenticator{}
	}
	a.creds[repo] = cred
	return cred, nil
}
