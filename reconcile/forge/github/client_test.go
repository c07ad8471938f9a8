package github

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/forge/forgetest"
)

// told is a merged and approved request, and its entry's history.
func told(s *forgetest.Server) forgetest.Setup {
	s.Role("ann", "write")
	p := s.Propose("dev", map[string]string{"a.hcl": "x"})
	s.Review(p, "ann", "APPROVED")
	merge := s.Merge(p, "merge")
	return forgetest.Setup{Mode: reconcile.GateReviews, Token: "token",
		Introduced: func(context.Context, reconcile.Entry) (string, bool, bool, error) { return merge, false, false, nil },
		Declares:   func(string, []byte) []reconcile.Entry { return []reconcile.Entry{entry} }}
}

var entry = reconcile.Entry{Image: "nginx", Version: "1", Origin: reconcile.Origin{File: "a.hcl", Line: 1}}

func gate(t *testing.T, o Options, setup forgetest.Setup) *Gate {
	t.Helper()
	o.Repository = "acme/catalog"
	if o.Clock == nil {
		o.Clock = &still{now: time.Now()}
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return NewGate(c, GateOptions{Mode: setup.Mode, History: history(setup.Introduced), Declares: setup.Declares})
}

func TestAnAppReadsTeams(t *testing.T) {
	s := forgetest.New(t, "acme/catalog")
	s.Push("main", map[string]string{"CODEOWNERS": "* @acme/edge\n"})
	s.Team("edge", "ann")
	setup := told(s)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p := forgetest.Reader()
	p["members"] = "read"
	s.Install(77, &key.PublicKey, p)
	s.Next(forgetest.Limit{Status: 503}) // of the app's own requests too
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	for name, installation := range map[string]int64{"looked up": 0, "given": 77} {
		got, err := gate(t, Options{API: s.URL, App: &App{ID: 77, Installation: installation, Key: text}}, setup).Review(t.Context(), entry)
		if err != nil || got.State != reconcile.Approved || len(got.Approvers) != 1 || got.Approvers[0].Owner != "@acme/edge" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	_, err = New(Options{Repository: "acme/catalog", App: &App{ID: 77, Key: []byte("-----BEGIN secret")}})
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a broken key: %v", err)
	}
}

// A token is for the API alone: a redirect away from it is not followed.
func TestNoTokenGoesToAnotherHost(t *testing.T) {
	asked := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer other.Close()
	s := forgetest.New(t, "acme/catalog")
	setup := told(s)
	s.Token("token", forgetest.Reader())
	s.Move(other.URL)
	if _, err := gate(t, Options{API: s.URL, Token: "token"}, setup).Review(t.Context(), entry); err == nil || !strings.Contains(err.Error(), "another host") {
		t.Errorf("error %v", err)
	}
	if asked > 0 {
		t.Errorf("the other host got %d requests", asked)
	}
}

func TestAMissingPermissionIsNotTriedAgain(t *testing.T) {
	s := forgetest.New(t, "acme/catalog")
	setup := told(s)
	for token, want := range map[string]string{"weak": "pull_requests=read", "unheard-of": "valid token", "": "metadata=read"} {
		s.Token("weak", forgetest.Permissions{"metadata": "read"})
		before := len(s.Requests())
		got, err := gate(t, Options{API: s.URL, Token: token}, setup).Review(t.Context(), entry)
		if err != nil || got.State != reconcile.UnknownReview || !strings.Contains(got.Reason, want) {
			t.Errorf("token %q: %+v, %v", token, got, err)
		}
		if n := len(s.Requests()) - before; n > 2 {
			t.Errorf("token %q: %d requests", token, n)
		}
	}
}

func TestALimitIsWaitedOutWithinTheContext(t *testing.T) {
	s := forgetest.New(t, "acme/catalog")
	setup := told(s)
	s.Token("token", forgetest.Reader())
	limit := forgetest.Limit{Status: 429, Header: map[string]string{"Retry-After": "600"}, Body: "{}"}

	clock := &still{now: time.Now()}
	s.Next(limit)
	got, err := gate(t, Options{API: s.URL, Token: "token", Clock: clock}, setup).Review(t.Context(), entry)
	if err != nil || got.State != reconcile.Approved || clock.slept < 10*time.Minute {
		t.Errorf("%+v, %v, after %s", got, err, clock.slept)
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	clock = &still{now: time.Now()}
	s.Next(limit)
	if _, err := gate(t, Options{API: s.URL, Token: "token", Clock: clock}, setup).Review(ctx, entry); !errors.Is(err, context.DeadlineExceeded) || clock.slept > 0 {
		t.Errorf("error %v, after %s", err, clock.slept)
	}

	s.Next(forgetest.Limit{Status: 429, Header: map[string]string{"Retry-After": "100000"}, Body: "{}"})
	if _, err := gate(t, Options{API: s.URL, Token: "token"}, setup).Review(t.Context(), entry); err == nil || !strings.Contains(err.Error(), "too long to wait") {
		t.Errorf("error %v", err)
	}
}

// What is read for one entry serves the others of its pull request.
func TestEntriesOfOneRequestShareItsReading(t *testing.T) {
	s := forgetest.New(t, "acme/catalog")
	setup := told(s)
	s.Token("token", forgetest.Reader())
	g := gate(t, Options{API: s.URL, Token: "token"}, setup)
	for range 20 {
		if got, err := g.Review(t.Context(), entry); err != nil || got.State != reconcile.Approved {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	all := s.Requests()
	if len(all) > 13 {
		t.Errorf("%d requests: %q", len(all), all)
	}
	t.Logf("%d requests for 20 entries", len(all))
}

func TestEnvironment(t *testing.T) {
	for _, name := range []string{"GITHUB_API_URL", "GITHUB_SERVER_URL", "ASSAY_GITHUB_TOKEN", "GITHUB_TOKEN", "ASSAY_GITHUB_APP_ID", "ASSAY_GITHUB_APP_KEY", "ASSAY_GITHUB_APP_INSTALLATION"} {
		t.Setenv(name, "")
	}
	t.Setenv("GITHUB_SERVER_URL", "https://github.example.com")
	t.Setenv("GITHUB_TOKEN", "a")
	if o, err := Environment(); err != nil || o.API != "https://github.example.com/api/v3" || o.Token != "a" || o.App != nil {
		t.Errorf("%+v, %v", o, err)
	}
	t.Setenv("ASSAY_GITHUB_TOKEN", "b")
	t.Setenv("GITHUB_API_URL", "https://api.example.com")
	if o, err := Environment(); err != nil || o.API != "https://api.example.com" || o.Token != "b" {
		t.Errorf("%+v, %v", o, err)
	}
	t.Setenv("ASSAY_GITHUB_APP_ID", "7")
	t.Setenv("ASSAY_GITHUB_APP_KEY", "/does/not/exist")
	if _, err := Environment(); err == nil || !strings.Contains(err.Error(), "ASSAY_GITHUB_APP_KEY") {
		t.Errorf("error %v", err)
	}
	t.Setenv("ASSAY_GITHUB_APP_ID", "seven")
	if _, err := Environment(); err == nil {
		t.Error("no number is taken")
	}
}

func TestWhatIsNoAPI(t *testing.T) {
	for _, api := range []string{"http://github.example.com", "https://token@github.example.com", "github.example.com", "file:///x", "https://github.example.com/?x=1"} {
		if _, err := New(Options{API: api, Repository: "acme/catalog"}); err == nil {
			t.Errorf("%q is taken", api)
		}
	}
	for _, name := range []string{"", "acme", "acme/..", "acme/a/b", "acme/a?b", "../x"} {
		if _, err := New(Options{Repository: name}); err == nil {
			t.Errorf("%q is taken", name)
		}
	}
}

func TestMessagesAreOneLine(t *testing.T) {
	s := forgetest.New(t, "acme/catalog")
	setup := told(s)
	s.Next(slices.Repeat([]forgetest.Limit{{Status: 418, Body: `{"message": "short\n::error::and \u202e stout"}`}}, 3)...)
	_, err := gate(t, Options{API: s.URL}, setup).Review(t.Context(), entry)
	if err == nil || strings.ContainsAny(err.Error(), "\n\u202e") {
		t.Errorf("error %q", err)
	}
}

// A key that isn't PEM is taken for a file's name; it may be the key all the same, and isn't shown.
func TestAnAppsKeyIsNotShown(t *testing.T) {
	t.Setenv("ASSAY_GITHUB_APP_ID", "7")
	t.Setenv("ASSAY_GITHUB_APP_KEY", "c2VjcmV0")
	if _, err := Environment(); err == nil || strings.Contains(err.Error(), "c2VjcmV0") || !strings.Contains(err.Error(), "neither PEM nor") {
		t.Errorf("error %v", err)
	}
}
