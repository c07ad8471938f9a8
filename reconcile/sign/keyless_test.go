package sign

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

func newKeyless(t *testing.T, s *service, o KeylessOptions) *KeylessSigner {
	t.Helper()
	return newKeylessAt(t, s.keyless(t), o)
}

func newKeylessAt(t *testing.T, at reconcile.Keyless, o KeylessOptions) *KeylessSigner {
	t.Helper()
	i, err := OpenInstance(t.Context(), at, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	o.Name, o.Instance = "ci", i
	if o.Trust == (reconcile.Trust{}) {
		o.Trust = acme
	}
	if o.Token == nil {
		o.Token = func(context.Context, string) (string, error) { return token(githubIssuer, workflow), nil }
	}
	k, err := NewKeyless(o)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSignsWithoutAKey(t *testing.T) {
	s := serve(t)
	k := newKeyless(t, s, KeylessOptions{})
	v := NewVerifier(nil, nil, k.Identity())
	for _, st := range []reconcile.Statement{statement(t, reconcile.Bundle), attestation(t)} {
		r, err := k.Sign(t.Context(), st)
		if err != nil {
			t.Fatal(err)
		}
		st.Signer = "ci"
		if got := verifyRecord(t.Context(), v.trusted, digestA, raw(r)); got.Problem != "" || !same(got.Statement, st) {
			t.Errorf("read back: %q, %+v", got.Problem, got.Statement)
		}
	}
	if s.issued.Load() != 1 || s.stamped.Load() != 2 {
		t.Errorf("two statements took %d certificates and %d timestamps", s.issued.Load(), s.stamped.Load())
	}
	if _, err := k.Sign(t.Context(), statement(t, reconcile.Legacy)); err == nil || !strings.Contains(err.Error(), "only bundles") {
		t.Error(err)
	}
}

// The protocol of Rekor v1; that of v2 is spoken with the real one, by make test-signing.
func TestSignaturesAreLogged(t *testing.T) {
	s := serve(t)
	s.full.Store(1)
	r, err := newKeylessAt(t, s.logged(t), KeylessOptions{}).Sign(t.Context(), attestation(t))
	if err != nil {
		t.Fatal(err)
	}
	if s.entered.Load() != 1 || s.stamped.Load() != 1 {
		t.Errorf("%d entries, %d timestamps", s.entered.Load(), s.stamped.Load())
	}
	if got, err := s.certificates(t, true).Verify(t.Context(), r.Payload, digestA, acme); err != nil || got.Signer != workflow {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestStatementsShareACertificateUntilShortlyBeforeItExpires(t *testing.T) {
	s := serve(t)
	s.life = 3 * time.Second
	var asked sync.Map
	k := newKeyless(t, s, KeylessOptions{Token: func(_ context.Context, audience string) (string, error) {
		n := len(s.tokens)
		asked.Store(n, audience)
		return token(githubIssuer, workflow), nil
	}})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := k.Sign(t.Context(), statement(t, reconcile.Bundle)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := s.issued.Load(); n != 1 {
		t.Errorf("eight statements at once took %d certificates", n)
	}
	if left := time.Until(k.leaf.until); left > 3*time.Second-400*time.Millisecond {
		t.Errorf("the certificate is used for %s of its 3 seconds", left)
	}
	k.leaf.until = time.Now() // as if it were late
	if _, err := k.Sign(t.Context(), statement(t, reconcile.Bundle)); err != nil {
		t.Fatal(err)
	}
	if n := s.issued.Load(); n != 2 {
		t.Errorf("%d certificates", n)
	}
	if _, ok := asked.Load(1); !ok {
		t.Error("the token was not asked for again")
	}
	if a, _ := asked.Load(0); a != "sigstore" {
		t.Errorf("the audience was %q", a)
	}
}

func TestARateLimitIsAWait(t *testing.T) {
	s := serve(t)
	s.refuse.Store(1)
	var waited []time.Duration
	k := newKeyless(t, s, KeylessOptions{Waiting: func(service string, d time.Duration) {
		if service != s.URL {
			t.Errorf("waits for %q", service)
		}
		waited = append(waited, d)
	}})
	if _, err := k.Sign(t.Context(), statement(t, reconcile.Bundle)); err != nil {
		t.Fatal(err)
	}
	if len(waited) != 1 || waited[0] != time.Second {
		t.Errorf("waited %v", waited)
	}

	s.refuse.Store(1000)
	k.leaf = leaf{}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := k.Sign(ctx, statement(t, reconcile.Bundle))
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "429") || strings.Contains(err.Error(), "\n") {
		t.Error(err)
	}
}

// However long a service asks for, and however often, what waits ends with the context.
func TestWaitingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var waited []time.Duration
		k := &KeylessSigner{options: KeylessOptions{Waiting: func(_ string, d time.Duration) { waited = append(waited, d) }}}
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Minute)
		defer cancel()
		err := k.patiently(ctx, func() error { return &busy{service: "s", status: "429", after: 100 * time.Hour} })
		if !errors.Is(err, context.DeadlineExceeded) || len(waited) != 3 || waited[0] != maxWait {
			t.Error(waited, err)
		}
	})
	now := time.Now()
	for header, want := range map[string]time.Duration{
		"": 0, "x": 0, "-1": 0, "7": 7 * time.Second, "99999999999": maxWait, now.Add(90 * time.Second).UTC().Format(http.TimeFormat): 90 * time.Second, now.Add(-time.Hour).UTC().Format(http.TimeFormat): 0,
	} {
		if got := retryAfter(header, now); (got - want).Abs() > time.Second {
			t.Errorf("%q: %s", header, got)
		}
	}
}

func TestSomebodyElsesTokenSignsNothing(t *testing.T) {
	s := serve(t)
	k := newKeyless(t, s, KeylessOptions{Token: func(context.Context, string) (string, error) { return token(githubIssuer, "somebody@example.com"), nil }})
	for range 2 {
		_, err := k.Sign(t.Context(), statement(t, reconcile.Bundle))
		if err == nil || !strings.Contains(err.Error(), `the identity token is of "somebody@example.com"`) {
			t.Error(err)
		}
	}
	if s.stamped.Load() != 0 || s.issued.Load() != 1 {
		t.Errorf("%d signatures were timestamped, and %d certificates asked for", s.stamped.Load(), s.issued.Load())
	}
}

func TestATokenIsNotPartOfAnError(t *testing.T) {
	s := serve(t)
	secret := token(githubIssuer, refused)
	k := newKeyless(t, s, KeylessOptions{Token: func(context.Context, string) (string, error) { return secret, nil }})
	_, err := k.Sign(t.Context(), statement(t, reconcile.Bundle)) // the service's answer repeats it
	if err == nil || !strings.Contains(err.Error(), "is not valid") || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "\n") {
		t.Error(err)
	}
}

func TestInstancesThatCannotWork(t *testing.T) {
	s := serve(t)
	good := s.keyless(t)
	for _, c := range []struct {
		name   string
		change func(*reconcile.Keyless)
		want   string
	}{
		{"no configuration", func(k *reconcile.Keyless) { k.SigningConfig = "" }, "needs both"},
		{"a broken root", func(k *reconcile.Keyless) { k.TrustedRoot = "{" }, "trusted root can't be read"},
		{"a broken configuration", func(k *reconcile.Keyless) { k.SigningConfig = "{" }, "signing configuration can't be read"},
		{"a large configuration", func(k *reconcile.Keyless) { k.SigningConfig = strings.Repeat(" ", maxTrust+1) }, "larger than"},
		{"http elsewhere", func(k *reconcile.Keyless) {
			k.SigningConfig = strings.ReplaceAll(k.SigningConfig, s.URL, "http://fulcio.example.com")
		}, "must be an https URL"},
		{"no log, where one is demanded", func(k *reconcile.Keyless) { k.TrustedRoot = string(s.trustedRoot(t, true)) }, "names no transparency log"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := good
			c.change(&k)
			if _, err := OpenInstance(t.Context(), k, t.TempDir()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Error(err)
			}
		})
	}
}

func TestIdentityTokens(t *testing.T) {
	const one, two = "a.b.c", "d.e.f"
	clear := func(t *testing.T) {
		for _, v := range []string{TokenFileVariable, TokenVariable, githubURLVariable, githubKeyVariable} {
			t.Setenv(v, "")
		}
	}
	ask := func(t *testing.T) string {
		t.Helper()
		got, err := AmbientToken(t.Context(), "acme")
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	t.Run("none", func(t *testing.T) {
		clear(t)
		if _, err := AmbientToken(t.Context(), "acme"); err == nil || !strings.Contains(err.Error(), "id-token: write") {
			t.Error(err)
		}
	})
	t.Run("a file, read again each time", func(t *testing.T) {
		clear(t)
		path := filepath.Join(t.TempDir(), "token")
		t.Setenv(TokenFileVariable, path)
		t.Setenv(TokenVariable, "x.y.z")
		for _, want := range []string{one, two} {
			if err := os.WriteFile(path, []byte(want+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := ask(t); got != want {
				t.Errorf("got %q", got)
			}
		}
		for _, bad := range []string{"", "no token", "a.b", strings.Repeat("a", maxToken) + ".b.c"} {
			if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := AmbientToken(t.Context(), "acme"); err == nil || bad != "" && strings.Contains(err.Error(), bad) {
				t.Errorf("%.10q: %v", bad, err)
			}
		}
	})
	t.Run("a variable", func(t *testing.T) {
		clear(t)
		t.Setenv(TokenVariable, one)
		if got := ask(t); got != one {
			t.Errorf("got %q", got)
		}
	})
	t.Run("GitHub Actions", func(t *testing.T) {
		clear(t)
		answer := func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(`{"value":"` + one + `"}`)) }
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer key" || r.URL.Query().Get("audience") != "acme" || r.URL.Query().Get("api-version") != "2.0" {
				t.Errorf("asked %s", r.URL)
			}
			answer(w, r)
		}))
		defer s.Close()
		t.Setenv(githubURLVariable, s.URL+"/token?api-version=2.0")
		t.Setenv(githubKeyVariable, "key")
		if got := ask(t); got != one {
			t.Errorf("got %q", got)
		}
		for _, bad := range []http.HandlerFunc{
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
			func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
			func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		} {
			answer = bad
			if _, err := AmbientToken(t.Context(), "acme"); err == nil || strings.Contains(err.Error(), "key") {
				t.Error(err)
			}
		}
		t.Setenv(githubURLVariable, "http://actions.example.com/token?secret=1")
		if _, err := AmbientToken(t.Context(), "acme"); err == nil || !strings.Contains(err.Error(), "https") {
			t.Error(err)
		}
	})
}
