package sign

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/tuf"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/assay-oci/assay/reconcile"
)

// tufRepository is the first version of a TUF repository (specification 1.0, with consistent snapshots), by path, and its root of trust.
func tufRepository(t *testing.T, targets map[string][]byte) (files map[string][]byte, trusted []byte) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	public, private, err := ed25519.GenerateKey(nil)
	must(err)
	key, err := metadata.KeyFromPublicKey(public)
	must(err)
	signer, err := signature.LoadSigner(private, crypto.Hash(0))
	must(err)
	tomorrow := time.Now().AddDate(0, 0, 1).UTC()
	files = map[string][]byte{}

	ts := metadata.Targets(tomorrow)
	for name, content := range targets {
		path := filepath.Join(t.TempDir(), name)
		must(os.WriteFile(path, content, 0o600))
		f, err := metadata.TargetFile().FromFile(path, "sha256")
		must(err)
		ts.Signed.Targets[name] = f
		files["/targets/"+hex.EncodeToString(f.Hashes["sha256"])+"."+name] = content
	}
	_, err = ts.Sign(signer)
	must(err)
	files["/1.targets.json"], err = ts.ToBytes(false)
	must(err)

	snapshot := metadata.Snapshot(tomorrow)
	_, err = snapshot.Sign(signer)
	must(err)
	files["/1.snapshot.json"], err = snapshot.ToBytes(false)
	must(err)

	stamp := metadata.Timestamp(tomorrow)
	_, err = stamp.Sign(signer)
	must(err)
	files["/timestamp.json"], err = stamp.ToBytes(false)
	must(err)

	r := metadata.Root(tomorrow)
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		must(r.Signed.AddKey(key, role))
	}
	_, err = r.Sign(signer)
	must(err)
	trusted, err = r.ToBytes(false)
	must(err)
	return files, trusted
}

// The way that the public instance's files come, from a repository of our own.
func TestAnInstanceComesByTUFAndIsKept(t *testing.T) {
	s := serve(t)
	want := s.keyless(t)
	files, trusted := tufRepository(t, map[string][]byte{"trusted_root.json": []byte(want.TrustedRoot), "signing_config.v0.2.json": []byte(want.SigningConfig)})
	var asked int
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		content, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(content)
	}))
	defer mirror.Close()
	options := func(folder string) *tuf.Options {
		return tuf.DefaultOptions().WithRoot(trusted).WithRepositoryBaseURL(mirror.URL).WithCachePath(folder).WithCacheValidity(1)
	}
	folder := t.TempDir()
	for range 2 {
		i, err := fetchInstance(t.Context(), options(folder))
		if err != nil {
			t.Fatal(err)
		}
		k, err := NewKeyless(KeylessOptions{Name: "ci", Trust: acme, Instance: i, Token: func(context.Context, string) (string, error) { return token(githubIssuer, workflow), nil }})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Sign(t.Context(), statement(t, reconcile.Bundle)); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 6 { // the next root, which isn't there, timestamp, snapshot, targets, and two files; the second time nothing
		t.Errorf("the mirror was asked %d times", asked)
	}
	for path := range files {
		if strings.HasPrefix(path, "/targets/") {
			files[path] = []byte("{}")
		}
	}
	if _, err := fetchInstance(t.Context(), options(t.TempDir())); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("a file that was exchanged: %v", err)
	}
}

func TestAMirrorThatDoesNotAnswerIsNotWaitedForWithoutEnd(t *testing.T) {
	release := make(chan struct{})
	mirror := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer mirror.Close()
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := fetchInstance(ctx, tuf.DefaultOptions().WithRepositoryBaseURL(mirror.URL).WithCachePath(t.TempDir()))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
