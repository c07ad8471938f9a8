package main

import (
	"errors"
	"iter"
	"testing"
	"testing/fstest"

	"github.com/assay-oci/assay/reconcile"
)

const nginx = "image \"nginx\" {\n  source = \"docker.io/library/nginx\"\n  version \"1.0.0\" {\n    digest = \"sha256:6d9908724b4c7b03e4f86da9d0e7233423b466ec94dbf6e936a66731e9133535\"\n  }\n}\n"

// branch is a row of commits, the newest commit first; each commit has its name and the content of nginx.hcl.
func branch(commits ...[2]string) iter.Seq2[revision, error] {
	return func(yield func(revision, error) bool) {
		for _, c := range commits {
			files := fstest.MapFS{"other.hcl": {Data: []byte(nginx)}}
			if c[1] != "" {
				files["nginx.hcl"] = &fstest.MapFile{Data: []byte(c[1])}
			}
			var err error
			if c[0] == "lost" {
				err = reconcile.ErrUnavailable
			}
			if !yield(revision{commit: c[0], files: files}, err) {
				return
			}
		}
	}
}

func TestIntroduced(t *testing.T) {
	e := entriesIn("nginx.hcl", []byte(nginx))[0]
	more := nginx + "\nimage \"x\" {\n  source = \"docker.io/x\"\n}\n"
	for name, c := range map[string]struct {
		history iter.Seq2[revision, error]
		commit  string
		old     bool
		err     error
	}{
		"by the newest":              {branch([2]string{"c", nginx}, [2]string{"b", ""}), "c", false, nil},
		"long ago":                   {branch([2]string{"d", more}, [2]string{"c", nginx}, [2]string{"b", nginx}, [2]string{"a", "# none"}), "b", false, nil},
		"by the first":               {branch([2]string{"b", nginx}, [2]string{"a", nginx}), "a", false, nil},
		"before the baseline":        {branch([2]string{"c", nginx}, [2]string{"base", nginx}, [2]string{"a", ""}), "base", true, nil},
		"after the baseline":         {branch([2]string{"c", nginx}, [2]string{"base", ""}, [2]string{"a", nginx}), "c", false, nil},
		"not there":                  {branch([2]string{"c", ""}, [2]string{"b", nginx}), "", false, reconcile.ErrNotFound},
		"nothing is there":           {branch(), "", false, reconcile.ErrNotFound},
		"history that can't be had":  {branch([2]string{"c", nginx}, [2]string{"lost", nginx}), "", false, reconcile.ErrUnavailable},
		"the newest has another one": {branch([2]string{"c", "image \"nginx\" {\n  version \"1.0.0\" {}\n}"}, [2]string{"b", nginx}), "", false, reconcile.ErrNotFound},
	} {
		in, old, err := introduced(c.history, e, "base")
		if in.commit != c.commit || old != c.old || !errors.Is(err, c.err) {
			t.Errorf("%s: %q %t %v", name, in.commit, old, err)
		}
	}
}

func TestForgeRepository(t *testing.T) {
	t.Setenv("GITHUB_SERVER_URL", "https://github.example.com")
	t.Setenv("GITHUB_REPOSITORY", "acme/workflow")
	for location, want := range map[string]string{
		"https://github.example.com/acme/catalog.git": "acme/catalog",
		"git@github.example.com:acme/catalog.git":     "acme/catalog",
		"ssh://git@github.example.com/acme/catalog":   "acme/catalog",
		"https://elsewhere.example.com/evil/catalog":  "acme/workflow",
		".": "acme/workflow",
	} {
		if got := forgeRepository(reconcile.Gate{}, location); got != want {
			t.Errorf("%s: %q, want %q", location, got, want)
		}
	}
	if got := forgeRepository(reconcile.Gate{Repository: "acme/other"}, "."); got != "acme/other" {
		t.Errorf("%q", got)
	}
	for ref, want := range map[string]string{"": "", "HEAD": "", "main": "main", "refs/heads/a/b": "a/b", "origin/main": "main", "0123456789012345678901234567890123456789": "", "0123456789012345678901234567890123456789^": ""} {
		if got := branchName(ref); got != want {
			t.Errorf("branch of %q: %q", ref, got)
		}
	}
}
