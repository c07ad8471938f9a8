package registrytest

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"
)

const tokenPath = "/token"

// A Guard asks for passwords, as registries do: with bearer tokens from a token server (RFC 6750 and the distribution project's
// "Token Authentication Specification") or with basic authentication.
type Guard struct {
	User, Password string        // who may do everything
	Basic          bool          // basic authentication; else tokens
	Anonymous      bool          // tokens for pulling are given to anyone
	Realm          string        // of the challenge; empty is this registry's own token server
	Lifetime       time.Duration // of tokens; zero means an hour

	mu     sync.Mutex
	tokens map[string]grant
	issued []string
}

type grant struct {
	scopes  []string
	expires time.Time
}

// Protect makes the registry ask for passwords from now on; nil makes it stop.
func (t *Traffic) Protect(g *Guard) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.guard = g
}

// Issued returns the scope sets of the tokens that were given out, in order, each sorted and joined by spaces.
func (g *Guard) Issued() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.issued)
}

// Expire makes every token that was given out invalid.
func (g *Guard) Expire() {
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.tokens)
}

// admit lets the request through, or answers it.
func (g *Guard) admit(w http.ResponseWriter, r *http.Request) bool {
	if strings.HasPrefix(r.URL.Path, tokenPath) {
		g.issue(w, r)
		return false
	}
	if g.Basic {
		if g.known(r) {
			return true
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		refuse(w)
		return false
	}
	need := needed(r)
	g.mu.Lock()
	grant, ok := g.tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	g.mu.Unlock()
	if ok && time.Now().Before(grant.expires) && covers(grant.scopes, need) {
		return true
	}
	realm := g.Realm
	if realm == "" {
		realm = "http://" + r.Host + tokenPath
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`",service="registrytest",scope="`+strings.Join(need, " ")+`"`)
	refuse(w)
	return false
}

func refuse(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = w.Write([]byte(`{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`))
}

func (g *Guard) known(r *http.Request) bool {
	user, password, ok := r.BasicAuth()
	return ok && user == g.User && password == g.Password
}

func (g *Guard) issue(w http.ResponseWriter, r *http.Request) {
	known := g.known(r)
	if _, _, tried := r.BasicAuth(); tried && !known {
		refuse(w)
		return
	}
	var scopes []string
	for _, s := range r.URL.Query()["scope"] {
		scopes = append(scopes, strings.Fields(s)...)
	}
	sort.Strings(scopes)
	granted := scopes
	if !known {
		granted = nil
		for _, s := range scopes {
			if g.Anonymous && strings.HasPrefix(s, "repository:") {
				granted = append(granted, s[:strings.LastIndex(s, ":")]+":pull")
			}
		}
	}
	lifetime := g.Lifetime
	if lifetime == 0 {
		lifetime = time.Hour
	}
	token := rand.Text()
	g.mu.Lock()
	if g.tokens == nil {
		g.tokens = map[string]grant{}
	}
	g.tokens[token] = grant{granted, time.Now().Add(lifetime)}
	g.issued = append(g.issued, strings.Join(scopes, " "))
	g.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "expires_in": int(lifetime.Seconds())})
}

// needed says what a request needs, as distribution decides it.
func needed(r *http.Request) []string {
	path := strings.TrimPrefix(r.URL.Path, "/v2/")
	if path == "_catalog" {
		return []string{"registry:catalog:*"}
	}
	repo := path
	for _, sep := range []string{"/manifests/", "/blobs/", "/tags/", "/referrers/"} {
		if i := strings.Index(path, sep); i >= 0 {
			repo = path[:i]
			break
		}
	}
	action := "pull"
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		action = "pull,push"
	case http.MethodDelete:
		action = "delete"
	}
	out := []string{"repository:" + repo + ":" + action}
	if from := r.URL.Query().Get("from"); from != "" {
		out = append(out, "repository:"+from+":pull")
	}
	return out
}

// covers tells whether each needed action is among the granted ones.
func covers(granted, needed []string) bool {
	for _, n := range needed {
		i := strings.LastIndex(n, ":")
		for _, action := range strings.Split(n[i+1:], ",") {
			if !slices.ContainsFunc(granted, func(g string) bool {
				j := strings.LastIndex(g, ":")
				return g[:j] == n[:i] && slices.Contains(strings.Split(g[j+1:], ","), action)
			}) {
				return false
			}
		}
	}
	return true
}
