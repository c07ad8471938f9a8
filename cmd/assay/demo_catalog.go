package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// demoCatalog is a catalog's repository, with the few git commands that the story needs.
type demoCatalog struct {
	dir  string
	repo *git.Repository
}

func newDemoCatalog(dir string) (*demoCatalog, error) {
	repo, err := git.PlainInitWithOptions(dir, &git.PlainInitOptions{InitOptions: git.InitOptions{DefaultBranch: plumbing.NewBranchReferenceName("main")}})
	if err != nil {
		return nil, fmt.Errorf("make the catalog's repository: %w", err)
	}
	return &demoCatalog{dir, repo}, nil
}

// write makes or replaces a file.
func (c *demoCatalog) write(name, content string) error {
	p := filepath.Join(c.dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		return err
	}
	return os.WriteFile(p, []byte(content), 0o644)
}

func (c *demoCatalog) commit(message string) error {
	w, err := c.repo.Worktree()
	if err != nil {
		return err
	}
	if err := w.AddWithOptions(&git.AddOptions{All: true}); err != nil {
		return err
	}
	_, err = w.Commit(message, &git.CommitOptions{Author: &object.Signature{Name: "Demo", Email: "demo@example.com", When: time.Now()}})
	return err
}

// branch makes a branch at the current commit and switches to it; an existing one is only switched to.
func (c *demoCatalog) branch(name string) error {
	w, err := c.repo.Worktree()
	if err != nil {
		return err
	}
	ref := plumbing.NewBranchReferenceName(name)
	_, err = c.repo.Reference(ref, false)
	return w.Checkout(&git.CheckoutOptions{Branch: ref, Create: err != nil})
}

// policy is the organization's file.
func demoPolicy(source, eu, us, key string) string {
	return fmt.Sprintf(`scope "acme" {
  level = "organization"
}

registry "eu" {
  address  = "%[2]s/approved"
  identity = "images.example.com/approved"
}

registry "us" {
  address  = "%[3]s/approved"
  identity = "images.example.com/approved"
}

scanner "builtin" {
  max_age = "36500d" # the demo's advisories are old ones; leave this out
}

signer "main" {
  key = %[4]q
}

policy "baseline" {
  rule "sources" {
    allow = ["%[1]s/*"]
  }

  rule "scanners" {
    minimum = 1
  }

  rule "vulnerabilities" {
    deny    = "high"
    fixable = true
  }
}
`, source, eu, us, key)
}

func demoImageFile(name, source string, versions ...string) string {
	s := fmt.Sprintf("image %q {\n  source = \"%s/%s\"\n", name, source, name)
	for _, v := range versions {
		s += "\n" + v
	}
	return s + "}\n"
}

func demoVersion(label, digest string, tags string) string {
	return fmt.Sprintf("  version %q {\n    digest = %q\n    tags   = [%s]\n  }\n", label, digest, tags)
}
