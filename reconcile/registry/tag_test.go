package registry_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
)

func TestTagsMove(t *testing.T) {
	everywhere(t, func(t *testing.T, s *registrytest.Server) {
		one := s.Push("app", registrytest.Image("amd64", registrytest.Layer(1, 10)), "1")
		two := s.Push("app", registrytest.Image("amd64", registrytest.Layer(2, 10)), "2")
		w := writer(registry.Options{})
		for _, image := range []reconcile.Image{one, two, one} {
			if err := w.Tag(t.Context(), image, tag(t, "latest")); err != nil {
				t.Fatal(err)
			}
			if d, err := w.Current(t.Context(), image.Repo, tag(t, "latest")); err != nil || d != image.Digest {
				t.Errorf("latest is %s (%v) instead of %s", d, err, image.Digest)
			}
		}
		if d, err := w.Current(t.Context(), one.Repo, tag(t, "none")); err != nil || !d.IsZero() {
			t.Errorf("a tag that doesn't exist is %s (%v)", d, err)
		}
	})
}

// Whatever a registry makes of the removal of a tag: the digest and its other tags stay.
func TestUntagTakesNothingElseAlong(t *testing.T) {
	can := map[registrytest.Software]bool{registrytest.Distribution: true, registrytest.Google: true, registrytest.Referrers: true, registrytest.Debian: false}
	for _, software := range registrytest.All {
		t.Run(string(software), func(t *testing.T) {
			t.Parallel()
			s := registrytest.New(t, software)
			image := s.Push("app", registrytest.Index(true, nil, registrytest.Layer(1, 10), registrytest.Layer(2, 10)), "1", "keep")
			s.Reset()
			w := writer(registry.Options{})
			err := w.Untag(t.Context(), image.Repo, tag(t, "1"))
			if can[software] && err != nil {
				t.Error(err)
			}
			if !can[software] && (!errors.Is(err, reconcile.ErrUnsupported) || !strings.Contains(err.Error(), s.Host)) {
				t.Errorf("the error is %v", err)
			}
			if n := s.Count("PUT", "") + s.Count("POST", "") + s.Count("PATCH", ""); n != 0 {
				t.Errorf("something was pushed: %v", s.Summary())
			}
			for _, r := range s.Requests() {
				if r.Method == http.MethodDelete && strings.Contains(r.Path, "sha256:") {
					t.Errorf("%s %s", r.Method, r.Path)
				}
			}
			tags, err := registry.NewReader(registry.Options{Keychain: anonymous{}}).Tags(t.Context(), image.Repo)
			if err != nil || tags[tag(t, "keep")] != image.Digest {
				t.Errorf("the tags are %v (%v)", tags, err)
			}
			if _, there := tags[tag(t, "1")]; there == can[software] {
				t.Errorf("the tags are %v", tags)
			}
			if can[software] {
				if err := w.Untag(t.Context(), image.Repo, tag(t, "1")); err != nil {
					t.Errorf("the second time: %v", err)
				}
			}
		})
	}
}

func TestUntagWithoutEffectIsUnsupported(t *testing.T) {
	s := registrytest.Start(t, answers{
		"DELETE /v2/app/manifests/1": says(202, jsonType, ""),
		"HEAD /v2/app/manifests/1":   says(200, ociManifestType, "", "Docker-Content-Digest", "sha256:"+strings.Repeat("a", 64)),
	})
	if err := writer(registry.Options{}).Untag(t.Context(), s.Repo("app"), tag(t, "1")); !errors.Is(err, reconcile.ErrUnsupported) {
		t.Error(err)
	}
}

func TestUntagThatIsForbiddenIsNotUnsupported(t *testing.T) {
	s := registrytest.Start(t, answers{"DELETE /v2/app/manifests/1": says(403, jsonType, `{"errors":[{"code":"DENIED"}]}`)})
	if err := writer(registry.Options{}).Untag(t.Context(), s.Repo("app"), tag(t, "1")); err == nil || errors.Is(err, reconcile.ErrUnsupported) {
		t.Error(err)
	}
}

func TestKnownHostsAreNotAskedToUntag(t *testing.T) {
	for _, host := range []string{"ghcr.io/acme/app", "docker.io/acme/app", "1234.dkr.ecr.eu-west-1.amazonaws.com/app"} {
		repo, err := reconcile.ParseRepo(host)
		if err != nil {
			t.Fatal(err)
		}
		if err := writer(registry.Options{}).Untag(t.Context(), repo, tag(t, "1")); !errors.Is(err, reconcile.ErrUnsupported) {
			t.Errorf("%s: %v", host, err)
		}
		if registry.CannotUntag(repo.Host()) == "" {
			t.Error(host)
		}
	}
	if registry.CannotUntag("registry.example.com") != "" {
		t.Error("registry.example.com is unknown")
	}
}

func TestDelete(t *testing.T) {
	everywhere(t, func(t *testing.T, s *registrytest.Server) {
		one := s.Push("app", registrytest.Image("amd64", registrytest.Layer(1, 10)), "1")
		two := s.Push("app", registrytest.Image("amd64", registrytest.Layer(2, 10)), "2")
		w := writer(registry.Options{})
		for range 2 { // what is gone can be deleted again
			if err := w.Delete(t.Context(), one, reconcile.Digest{}); err != nil {
				t.Fatal(err)
			}
			if has, err := w.Has(t.Context(), one); has || err != nil {
				t.Error(has, err)
			}
		}
		if has, err := w.Has(t.Context(), two); !has || err != nil {
			t.Error(has, err)
		}
	})
}

func TestDeletionThatIsDisabledSaysHowToEnableIt(t *testing.T) {
	d := reconcile.MustDigest("sha256:" + strings.Repeat("a", 64))
	s := registrytest.Start(t, answers{"DELETE /v2/app/manifests/" + d.String(): says(405, jsonType, `{"errors":[{"code":"UNSUPPORTED","message":"The operation is unsupported."}]}`)})
	err := writer(registry.Options{}).Delete(t.Context(), reconcile.Image{Repo: s.Repo("app"), Digest: d}, reconcile.Digest{})
	if !errors.Is(err, reconcile.ErrUnsupported) || !strings.Contains(err.Error(), "storage.delete.enabled") {
		t.Error(err)
	}
}
