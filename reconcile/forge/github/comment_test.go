package github

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile/forge/forgetest"
)

// One comment is kept up to date, whoever the token is, and whatever others write.
func TestComment(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	may := forgetest.Permissions{"issues": "write", "metadata": "read"}
	for author, o := range map[string]Options{"github-actions[bot]": {Token: "workflow"}, "ann": {Token: "person-ann"}, "assay-app[bot]": {App: &App{ID: 7, Key: text}}} {
		s := forgetest.New(t, "acme/catalog")
		s.PageSize(2)
		s.Propose("dev", map[string]string{"a": "b"})
		s.Token("workflow", may)
		s.Token("person-ann", may)
		s.Install(7, &key.PublicKey, may)
		s.Say(1, "mallory", marker+"\nall is well")
		s.Say(1, author, "I quote: "+marker)
		s.Say(1, "bob", "hello")
		o.API, o.Repository, o.Clock = s.URL, "acme/catalog", &still{now: time.Now()}
		c, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		for _, body := range []string{"one", "one", "two", "two"} {
			if url, err := c.Comment(t.Context(), 1, func(string) (string, error) { return body, nil }); err != nil || !strings.Contains(url, "#issuecomment-") {
				t.Fatalf("%s: %q, %v", author, url, err)
			}
		}
		all := s.Comments(1)
		if len(all) != 4 || all[3].Author != author || all[3].Body != marker+"\ntwo" || all[3].Edits != 1 || all[0].Edits+all[1].Edits+all[2].Edits != 0 {
			t.Errorf("%s: %+v", author, all)
		}
	}
}

func TestAForkMayNotComment(t *testing.T) {
	s := forgetest.New(t, "acme/catalog")
	s.Propose("dev", map[string]string{"a": "b"})
	s.Token("fork", forgetest.Permissions{"issues": "read", "metadata": "read"})
	c, err := New(Options{API: s.URL, Repository: "acme/catalog", Token: "fork"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Comment(t.Context(), 1, func(string) (string, error) { return "x", nil }); !denied(err) || !strings.Contains(err.Error(), "issues=write") {
		t.Errorf("error %v", err)
	}
	if _, err := c.Comment(t.Context(), 1, func(string) (string, error) { return strings.Repeat("x", MaxComment+1), nil }); err == nil || !strings.Contains(err.Error(), "shorten") {
		t.Errorf("error %v", err)
	}
}
