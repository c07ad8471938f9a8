package github

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
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
		s.Say(1, "mallory", marker("")+"\nall is well")
		s.Say(1, author, "I quote: "+marker(""))
		s.Say(1, "bob", "hello")
		o.API, o.Repository, o.Clock = s.URL, "acme/catalog", &still{now: time.Now()}
		c, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		for _, body := range []string{"one", "one", "two", "two"} {
			if url, err := c.Comment(t.Context(), 1, "", func(string) (string, error) { return body, nil }); err != nil || !strings.Contains(url, "#issuecomment-") {
				t.Fatalf("%s: %q, %v", author, url, err)
			}
		}
		all := s.Comments(1)
		if len(all) != 4 || all[3].Author != author || all[3].Body != marker("")+"\ntwo" || all[3].Edits != 1 || all[0].Edits+all[1].Edits+all[2].Edits != 0 {
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
	if _, err := c.Comment(t.Context(), 1, "", func(string) (string, error) { return "x", nil }); !denied(err) || !strings.Contains(err.Error(), "issues=write") {
		t.Errorf("error %v", err)
	}
	if _, err := c.Comment(t.Context(), 1, "", func(string) (string, error) { return strings.Repeat("x", MaxComment+1), nil }); err == nil || !strings.Contains(err.Error(), "shorten") {
		t.Errorf("error %v", err)
	}
}

// Two catalogs in one repository have a comment each, and an issue each.
func TestCatalogsOfOneRepository(t *testing.T) {
	s, c := publisher(t)
	s.Propose("dev", map[string]string{"a": "b"})
	for range 2 {
		for _, folder := range []string{"", "deploy", "deploy/eu", "a --> b"} {
			if _, err := c.Comment(t.Context(), 1, folder, func(before string) (string, error) {
				if before != "" && before != "of/"+folder {
					t.Errorf("the comment on %q said %q", folder, before)
				}
				return "of/" + folder, nil
			}); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Issue(t.Context(), folder, "Drift", "of/"+folder, true); err != nil {
				t.Fatal(err)
			}
		}
	}
	if all, issues := s.Comments(1), s.Issues(); len(all) != 4 || len(issues) != 4 || !strings.HasPrefix(all[3].Body, "<!-- assay:report a%20--%3E%20b -->\n") {
		t.Errorf("%+v\n%+v", all, issues)
	}
}

// A comment that somebody deletes between our reading and our writing is made anew.
func TestACommentThatIsDeleted(t *testing.T) {
	s, c := publisher(t)
	s.Propose("dev", map[string]string{"a": "b"})
	write := func(body string) {
		t.Helper()
		if _, err := c.Comment(t.Context(), 1, "", func(string) (string, error) { return body, nil }); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	s.After("GET /repos/acme/catalog/issues/1/comments", func() { s.Unsay(s.Comments(1)[0].ID) })
	write("two")
	if all := s.Comments(1); len(all) != 1 || !strings.HasSuffix(all[0].Body, "two") {
		t.Errorf("%+v", all)
	}
}

// Where nobody may write, that is told, and not that a permission is missing.
func TestWhereNobodyMayWrite(t *testing.T) {
	s, c := publisher(t)
	s.Propose("dev", map[string]string{"a": "b"})
	for _, l := range []forgetest.Limit{{Status: 403, Body: `{"message": "Unable to create comment because issue is locked."}`}, {Status: 403, Body: `{"message": "Repository was archived so is read-only."}`}, {Status: 410, Body: `{"message": "This issue was deleted"}`}} {
		s.After("GET /repos/acme/catalog/issues/1/comments", func() { s.Next(l) })
		_, err := c.Comment(t.Context(), 1, "", func(string) (string, error) { return "x", nil })
		var closed *ClosedError
		if !errors.As(err, &closed) || denied(err) {
			t.Errorf("%s: %v", l.Body, err)
		}
	}
}
