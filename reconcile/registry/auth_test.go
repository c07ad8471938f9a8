package registry_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
)

// keys is a keychain with one credential for one host.
type keys struct {
	host string
	mu   sync.Mutex
	n    int
}

const secret = "s3cret-passw0rd"

func (k *keys) Resolve(r authn.Resource) (authn.Authenticator, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.n++
	if r.RegistryStr() != k.host {
		return authn.Anonymous, nil
	}
	return authn.FromConfig(authn.AuthConfig{Username: "robot", Password: secret}), nil
}

func guarded(g *registrytest.Guard) *registrytest.Guard {
	g.User, g.Password = "robot", secret
	return g
}

func TestTokensAreAskedForOncePerScope(t *testing.T) {
	source, target := registrytest.New(t, registrytest.Distribution), registrytest.New(t, registrytest.Distribution)
	base := []v1.Layer{registrytest.Layer(1, 4000)}
	var images []reconcile.Image
	for i := range 6 {
		images = append(images, source.Push(fmt.Sprintf("app%d", i),
			registrytest.Index(true, base, registrytest.Layer(uint64(10+2*i), 1000), registrytest.Layer(uint64(11+2*i), 1000)), "1"))
	}
	from, into := guarded(&registrytest.Guard{Anonymous: true}), guarded(&registrytest.Guard{})
	source.Protect(from)
	target.Protect(into)
	source.Reset()
	target.Reset()
	chain := &keys{host: target.Host}
	w := writer(registry.Options{Keychain: chain})
	var group errgroup.Group
	for i, image := range images {
		group.Go(func() error {
			to := target.Repo(fmt.Sprintf("app%d", i))
			if _, err := w.Copy(t.Context(), image, to); err != nil {
				return err
			}
			return w.Tag(t.Context(), reconcile.Image{Repo: to, Digest: image.Digest}, tag(t, "1"))
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for name, g := range map[string]*registrytest.Guard{"source": from, "target": into} {
		times := map[string]int{}
		for _, scopes := range g.Issued() {
			if times[scopes]++; times[scopes] > 1 {
				t.Errorf("%s: %q was asked for %d times", name, scopes, times[scopes])
			}
		}
	}
	// one refusal a host, from which the client learned
	for _, s := range []*registrytest.Server{source, target} {
		refused := 0
		for _, r := range s.Requests() {
			if r.Status == http.StatusUnauthorized {
				refused++
			}
		}
		if refused != 1 || s.Count("", "ping") != 0 {
			t.Errorf("%d refusals, %d pings", refused, s.Count("", "ping"))
		}
	}
	if chain.n > 2+len(images) {
		t.Errorf("the keychain was asked %d times", chain.n)
	}
}

func TestExpiredTokensAreRenewed(t *testing.T) {
	source, target := registrytest.New(t, registrytest.Distribution), registrytest.New(t, registrytest.Distribution)
	guard := guarded(&registrytest.Guard{})
	target.Protect(guard)
	w := writer(registry.Options{Keychain: &keys{host: target.Host}})
	for i := range 3 {
		image := source.Push("app", registrytest.Image("amd64", registrytest.Layer(uint64(i), 1000)), "1")
		if _, err := w.Copy(t.Context(), image, target.Repo("app")); err != nil {
			t.Fatal(err)
		}
		guard.Expire()
	}
}

func TestBasicAuthentication(t *testing.T) {
	s := registrytest.New(t, registrytest.Distribution)
	image := s.Push("app", registrytest.Image("amd64", registrytest.Layer(1, 10)), "1")
	s.Protect(guarded(&registrytest.Guard{Basic: true}))
	w := writer(registry.Options{Keychain: &keys{host: s.Host}})
	if _, err := w.Copy(t.Context(), image, s.Repo("other")); err != nil {
		t.Fatal(err)
	}
	if err := w.Delete(t.Context(), image, reconcile.Digest{}); err != nil {
		t.Fatal(err)
	}
}

func TestMissingCredentialsSayWhatToDo(t *testing.T) {
	for name, g := range map[string]*registrytest.Guard{"basic": {Basic: true}, "tokens": {}} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.New(t, registrytest.Distribution)
			s.Protect(guarded(g))
			_, err := reader().Tags(t.Context(), s.Repo("app"))
			if err == nil || !strings.Contains(err.Error(), "docker login "+s.Host) {
				t.Error(err)
			}
			if n := s.Count("", "tags"); n > 3 {
				t.Errorf("%d attempts", n)
			}
		})
	}
}

func TestAWrongPasswordIsNotRepeatedAndNotShown(t *testing.T) {
	for name, g := range map[string]*registrytest.Guard{"basic": {Basic: true}, "tokens": {}} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.New(t, registrytest.Distribution)
			g.User, g.Password = "robot", "another"
			s.Protect(g)
			_, err := registry.NewReader(registry.Options{Keychain: &keys{host: s.Host}}).Tags(t.Context(), s.Repo("app"))
			if err == nil || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "401") {
				t.Error(err)
			}
			if !strings.Contains(err.Error(), "does not accept the user and password that were sent") {
				t.Errorf("%v does not tell a wrong password from none", err)
			}
			if n := s.Count("", "token"); n > 1 {
				t.Errorf("the token server was asked %d times", n)
			}
		})
	}
}

func TestCredentialsGoToTheirHostAlone(t *testing.T) {
	var mu sync.Mutex
	var leaked []string
	thief := registrytest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if a := r.Header.Get("Authorization"); a != "" {
			leaked = append(leaked, a)
		}
		says(200, jsonType, `{"name":"app","tags":[]}`)(w, r)
	}))
	s := registrytest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			says(401, jsonType, "", "WWW-Authenticate", `Basic realm="x"`)(w, r)
			return
		}
		http.Redirect(w, r, "http://"+thief.Host+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	w := writer(registry.Options{Keychain: &keys{host: s.Host}})
	if _, err := w.Tags(t.Context(), s.Repo("app")); err != nil {
		t.Fatal(err)
	}
	if thief.Count("", "") != 1 {
		t.Error("the redirect was not followed")
	}
	if err := w.Untag(t.Context(), s.Repo("app"), tag(t, "1")); err == nil || !strings.Contains(err.Error(), "redirects a write") {
		t.Error(err)
	}
	if len(leaked) > 0 {
		t.Errorf("credentials went to another host: %v", leaked)
	}
}

func TestATokenServerThatIsNotHTTPSGetsNothing(t *testing.T) {
	for _, realm := range []string{"http://tokens.example.com/token", "ftp://tokens.example.com/", "", "//tokens.example.com", "http://user@127.0.0.1/token", "://"} {
		s := registrytest.New(t, registrytest.Distribution)
		s.Protect(guarded(&registrytest.Guard{Realm: realm + " "}))
		_, err := registry.NewReader(registry.Options{Keychain: &keys{host: s.Host}, Patience: 1}).Tags(t.Context(), s.Repo("app"))
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("realm %q: %v", realm, err)
		}
	}
}

func TestRedirectsToPlainHTTPAreRefused(t *testing.T) {
	s := registrytest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://blobs.example.com/x?signature=abc", http.StatusFound)
	}))
	_, err := reader().Tags(t.Context(), s.Repo("app"))
	if err == nil || !strings.Contains(err.Error(), "not https") || strings.Contains(err.Error(), "abc") {
		t.Error(err)
	}
}

// A host that a registry redirects to may ask for its own token. It gets none of the registry's credentials, and can't send us anywhere
// with them.
func TestARedirectedReadIsAuthenticatedWhereItGoes(t *testing.T) {
	behind := registrytest.New(t, registrytest.Distribution)
	image := behind.Push("app", registrytest.Image("amd64", registrytest.Layer(1, 10)), "1")
	guard := guarded(&registrytest.Guard{Anonymous: true})
	behind.Protect(guard)
	front := registrytest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, _, ok := r.BasicAuth(); !ok || user != "robot" {
			says(401, jsonType, "", "WWW-Authenticate", `Basic realm="x"`)(w, r)
			return
		}
		http.Redirect(w, r, "http://"+behind.Host+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	r := registry.NewReader(registry.Options{Keychain: &keys{host: front.Host}})
	if _, err := r.Tree(t.Context(), reconcile.Image{Repo: front.Repo("app"), Digest: image.Digest}); err != nil {
		t.Fatal(err)
	}
	for _, q := range behind.Requests() {
		if q.Kind == "token" && q.Authorized {
			t.Error("the other host's token server got credentials")
		}
	}
	if front.Count("", "token") != 0 || len(guard.Issued()) == 0 {
		t.Errorf("tokens %v", guard.Issued())
	}
}

func TestARedirectCannotNameATokenServerForTheRegistry(t *testing.T) {
	var mu sync.Mutex
	var leaked []string
	var thief *registrytest.Server
	thief = registrytest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if a := r.Header.Get("Authorization"); strings.HasPrefix(a, "Basic") {
			leaked = append(leaked, a)
		}
		says(401, jsonType, "{}", "WWW-Authenticate", `Bearer realm="http://`+thief.Host+`/token",service="x",scope="repository:app:pull"`)(w, r)
	}))
	s := registrytest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+thief.Host+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	r := registry.NewReader(registry.Options{Keychain: &keys{host: s.Host}, Patience: 2})
	for range 2 {
		if _, err := r.Tags(t.Context(), s.Repo("app")); err == nil {
			t.Error("no error")
		}
	}
	if len(leaked) > 0 {
		t.Errorf("the other host got %v", leaked)
	}
}
