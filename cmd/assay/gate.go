package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	catalog "github.com/assay-oci/assay/catalog-schema"
	"github.com/assay-oci/assay/reconcile"
)

// A revision is the catalog at one commit of its branch.
type revision struct {
	commit string
	when   time.Time
	files  fs.FS
}

// introduced walks a branch back, newest first, to the commit that brought an entry into its file: the oldest of those that have it without a gap. An entry
// that moves to another file, or that was taken out and comes back, is brought in anew. The walk ends at the baseline if the entry stands there. An entry that
// the newest commit doesn't have is reconcile.ErrNotFound.
func introduced(history iter.Seq2[revision, error], e reconcile.Entry, baseline string) (in revision, old bool, err error) {
	var before []byte
	for r, err := range history {
		if err != nil {
			return revision{}, false, err
		}
		content, err := fs.ReadFile(r.files, e.Origin.File)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return revision{}, false, fmt.Errorf("read %s at commit %s: %w", e.Origin.File, r.commit, err)
		}
		if err != nil || in.commit == "" || !bytes.Equal(content, before) { // most commits leave the file as it is
			if err != nil || !declares(e, content) {
				break
			}
		}
		in, before = r, content
		if r.commit == baseline {
			return in, true, nil
		}
	}
	if in.commit == "" {
		return revision{}, false, fmt.Errorf("the entry doesn't stand in the branch: %w", reconcile.ErrNotFound)
	}
	return in, false, nil
}

func declares(e reconcile.Entry, content []byte) bool {
	return slices.ContainsFunc(entriesIn(e.Origin.File, content), func(x reconcile.Entry) bool {
		return x.Image == e.Image && x.Version == e.Version && x.Digest == e.Digest
	})
}

func entriesIn(file string, content []byte) []reconcile.Entry {
	return catalog.EntriesIn(file, content, catalog.Limits{})
}

// forgeRepository is the catalog's repository at the forge: what the catalog says, else what its URL says, else that of the workflow.
func forgeRepository(g reconcile.Gate, location string) string {
	if g.Repository != "" {
		return g.Repository
	}
	host, path := "", ""
	if u, err := url.Parse(location); err == nil && u.Host != "" {
		host, path = u.Hostname(), u.Path
	} else if _, rest, ok := strings.Cut(location, "@"); ok { // git's short form of ssh URLs
		host, path, _ = strings.Cut(rest, ":")
	}
	server := os.Getenv("GITHUB_SERVER_URL")
	if server == "" {
		server = "https://github.com"
	}
	if u, err := url.Parse(server); err == nil && host != "" && strings.EqualFold(u.Hostname(), host) {
		return strings.TrimSuffix(strings.Trim(path, "/"), ".git")
	}
	return os.Getenv("GITHUB_REPOSITORY")
}

// branchName is the branch that a ref names; empty for a commit and for what is current, where the forge's default branch is meant.
func branchName(ref string) string {
	for _, prefix := range []string{"refs/heads/", "refs/remotes/origin/", "origin/"} {
		if name, ok := strings.CutPrefix(ref, prefix); ok {
			return name
		}
	}
	if name, _, _ := strings.Cut(ref, "^"); name == "HEAD" || hexadecimal(name) {
		return ""
	}
	return ref
}

func hexadecimal(s string) bool {
	return len(s) >= 40 && strings.Trim(s, "0123456789abcdef") == ""
}
