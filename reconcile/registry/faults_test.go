package registry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
)

func TestFaultsAreOvercome(t *testing.T) {
	for _, kind := range []string{registrytest.Error500, registrytest.Error503, registrytest.Error429, registrytest.Drop, registrytest.Cut} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			source, target := registrytest.New(t, registrytest.Distribution), registrytest.New(t, registrytest.Distribution)
			base := []v1.Layer{registrytest.Layer(1, 300_000)}
			var images []reconcile.Image
			for i := range 8 {
				images = append(images, source.Push(fmt.Sprintf("app%d", i),
					registrytest.Index(true, base, registrytest.Layer(uint64(10+2*i), 90_000), registrytest.Layer(uint64(11+2*i), 90_000)), "1"))
			}
			for i, s := range []*registrytest.Server{source, target} {
				s.Disturb(registrytest.Faults{Rate: 0.05, Kinds: []string{kind}, Seed: uint64(i + 1)})
				s.Reset()
			}
			w := writer(registry.Options{})
			var group errgroup.Group
			for i, image := range images {
				group.Go(func() error {
					to := target.Repo(fmt.Sprintf("app%d", i))
					if _, err := w.Copy(t.Context(), image, to); err != nil {
						return err
					}
					if err := w.Tag(t.Context(), reconcile.Image{Repo: to, Digest: image.Digest}, tag(t, "1")); err != nil {
						return err
					}
					tags, err := registry.NewReader(registry.Options{Keychain: anonymous{}}).Tags(t.Context(), to)
					if err == nil && tags[tag(t, "1")] != image.Digest {
						err = fmt.Errorf("%s has the tags %v", to, tags)
					}
					return err
				})
			}
			if err := group.Wait(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	for name, value := range map[string]func() string{
		"seconds": func() string { return "1" },
		"date":    func() string { return time.Now().Add(2 * time.Second).UTC().Format(http.TimeFormat) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			s := registrytest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if asked.Add(1) == 1 {
					w.Header().Set("Retry-After", value())
					w.WriteHeader(http.StatusTooManyRequests)
					return
				}
				says(200, jsonType, `{"name":"app","tags":[]}`)(w, nil)
			}))
			started := time.Now()
			if _, err := reader().Tags(t.Context(), s.Repo("app")); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(started); took < 900*time.Millisecond {
				t.Errorf("it came back after %s", took)
			}
		})
	}
}

func TestAVeryLongRetryAfterIsAnErrorAtOnce(t *testing.T) {
	s := registrytest.Start(t, answers{"GET /v2/app/tags/list": says(429, jsonType, "", "Retry-After", "21600")})
	started := time.Now()
	_, err := reader().Tags(t.Context(), s.Repo("app"))
	if err == nil || !strings.Contains(err.Error(), "6h0m0s") || time.Since(started) > 5*time.Second {
		t.Errorf("%v after %s", err, time.Since(started))
	}
}

func TestLastingTroubleIsAnErrorThatNamesIt(t *testing.T) {
	s := registrytest.New(t, registrytest.Distribution)
	s.Disturb(registrytest.Faults{Rate: 1, Kinds: []string{registrytest.Error500}})
	r := registry.NewReader(registry.Options{Keychain: anonymous{}, Patience: 3})
	_, err := r.Tags(t.Context(), s.Repo("app"))
	if err == nil || !strings.Contains(err.Error(), "500") || !strings.Contains(err.Error(), "injected fault") || !strings.Contains(err.Error(), s.Host+"/app") {
		t.Error(err)
	}
	if n := s.Count("", ""); n != 3 {
		t.Errorf("%d attempts instead of 3", n)
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	s := registrytest.Start(t, answers{"GET /v2/app/tags/list": says(503, jsonType, "", "Retry-After", "60")})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := reader().Tags(ctx, s.Repo("app")); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestAHostThatDoesNotAnswerIsNamed(t *testing.T) {
	s := registrytest.Start(t, http.NotFoundHandler())
	repo := s.Repo("app")
	s.Stop()
	_, err := registry.NewReader(registry.Options{Keychain: anonymous{}, Patience: 2}).Tags(t.Context(), repo)
	if err == nil || !strings.Contains(err.Error(), "connection refused") || !strings.Contains(err.Error(), s.Host) || strings.Contains(err.Error(), "http://") {
		t.Error(err)
	}
}

// A registry that lets only a few requests in at a time is not asked for more again and again.
func TestConcurrencyAdaptsToTheRegistry(t *testing.T) {
	s := registrytest.New(t, registrytest.Distribution)
	var names []string
	for i := range 300 {
		names = append(names, fmt.Sprint("v", i))
	}
	s.Push("app", registrytest.Image("amd64", registrytest.Layer(1, 10)), names...)
	var running, refused atomic.Int64
	narrow := registrytest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer running.Add(-1)
		if running.Add(1) > 4 {
			refused.Add(1)
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		time.Sleep(2 * time.Millisecond) // an answer takes its time
		s.Traffic.ServeHTTP(w, r)
	}))
	tags, err := reader().Tags(t.Context(), narrow.Repo("app"))
	if err != nil || len(tags) != 300 {
		t.Fatalf("%d tags, %v", len(tags), err)
	}
	if n := refused.Load(); n > 100 {
		t.Errorf("%d of 300 requests were refused", n)
	}
}
