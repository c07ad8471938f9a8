package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
)

func TestProgressTellsHowFarEachBlobHasCome(t *testing.T) {
	source, target := registrytest.New(t, registrytest.Distribution), registrytest.New(t, registrytest.Distribution)
	image := source.Push("app", registrytest.Image("amd64", registrytest.Layer(1, 500_000), registrytest.Layer(2, 10)), "1")
	var mu sync.Mutex
	last := map[reconcile.Digest]registry.Event{}
	w := writer(registry.Options{Progress: func(e registry.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Done <= last[e.Digest].Done || e.Done > e.Total {
			t.Errorf("%+v after %+v", e, last[e.Digest])
		}
		last[e.Digest] = e
	}})
	moved, err := w.Copy(t.Context(), image, target.Repo("app"))
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for _, e := range last {
		if e.Done != e.Total || e.To != target.Repo("app") {
			t.Errorf("the last event is %+v", e)
		}
		sum += e.Done
	}
	if len(last) != 3 || sum != moved.Bytes {
		t.Errorf("%d blobs and %d bytes instead of 3 and %d", len(last), sum, moved.Bytes)
	}
}

// staged serves blobs from memory, as a stage does from disk.
type staged struct {
	mu     sync.Mutex
	blobs  map[reconcile.Digest][]byte
	opened int
}

func (s *staged) Open(_ context.Context, _ reconcile.Repo, b reconcile.Blob) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened++
	content, ok := s.blobs[b.Digest]
	if !ok {
		return nil, errors.New("it isn't staged")
	}
	return io.NopCloser(bytes.NewReader(content)), nil
}

func TestBlobsComeFromTheStageIfThereIsOne(t *testing.T) {
	source := registrytest.New(t, registrytest.Distribution)
	image := source.Push("app", registrytest.Index(true, nil, registrytest.Layer(1, 5000), registrytest.Layer(2, 5000)), "1")
	r := reader()
	tree, err := r.Tree(t.Context(), image)
	if err != nil {
		t.Fatal(err)
	}
	stage := &staged{blobs: map[reconcile.Digest][]byte{}}
	for _, m := range tree.Manifests {
		for _, b := range m.Blobs {
			rc, err := r.Open(t.Context(), image.Repo, b)
			if err != nil {
				t.Fatal(err)
			}
			if stage.blobs[b.Digest], err = io.ReadAll(rc); err != nil {
				t.Fatal(err)
			}
			_ = rc.Close()
		}
	}
	source.Reset()
	w := writer(registry.Options{Blobs: stage})
	for range 2 {
		target := registrytest.New(t, registrytest.Distribution)
		if _, err := w.Copy(t.Context(), image, target.Repo("app")); err != nil {
			t.Fatal(err)
		}
	}
	if source.Count("", "blob") != 0 || stage.opened != 2*len(stage.blobs) {
		t.Errorf("%d blobs from the stage, source %v", stage.opened, source.Summary())
	}
	for d := range stage.blobs {
		delete(stage.blobs, d)
	}
	if _, err := w.Copy(t.Context(), image, registrytest.New(t, registrytest.Distribution).Repo("app")); err == nil || !strings.Contains(err.Error(), "isn't staged") {
		t.Error(err)
	}
}

// Some registries take the bytes on another host. That host gets them without the registry's credentials.
func TestUploadsToAnotherHostCarryNoCredentials(t *testing.T) {
	source, behind := registrytest.New(t, registrytest.Distribution), registrytest.New(t, registrytest.Distribution)
	image := source.Push("app", registrytest.Image("amd64", registrytest.Layer(1, 5000)), "1")
	front := registrytest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); !ok {
			says(401, jsonType, "", "WWW-Authenticate", `Basic realm="x"`)(w, r)
			return
		}
		behind.Traffic.ServeHTTP(&relocating{w, behind.Host}, r)
	}))
	behind.Reset()
	w := writer(registry.Options{Keychain: &keys{host: front.Host}})
	if _, err := w.Copy(t.Context(), image, front.Repo("app")); err != nil {
		t.Fatal(err)
	}
	direct := 0
	for _, r := range behind.Requests() {
		if r.Method == http.MethodPut && r.Kind == "upload" {
			direct++
			if r.Authorized {
				t.Errorf("%s carried credentials", r.Path)
			}
		}
	}
	if direct != 2 {
		t.Errorf("%d uploads", direct)
	}
}

// relocating names another host in upload locations.
type relocating struct {
	http.ResponseWriter
	host string
}

func (r *relocating) WriteHeader(status int) {
	if u, err := url.Parse(r.Header().Get("Location")); err == nil && status == http.StatusAccepted {
		u.Scheme, u.Host = "http", r.host
		r.Header().Set("Location", u.String())
	}
	r.ResponseWriter.WriteHeader(status)
}

func TestAnUploadLocationThatIsNotHTTPSIsRefused(t *testing.T) {
	source := registrytest.New(t, registrytest.Distribution)
	image := source.Push("app", registrytest.Image("amd64", registrytest.Layer(1, 50)), "1")
	for _, location := range []string{"http://blobs.example.com/x?token=hidden", "", "://", "https://user:hidden@blobs.example.com/"} {
		s := registrytest.Start(t, answers{"POST /v2/app/blobs/uploads/": says(202, jsonType, "", "Location", location)})
		_, err := writer(registry.Options{}).Copy(t.Context(), image, s.Repo("app"))
		if err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q: %v", location, err)
		}
	}
}

func TestACopyEndsWithItsContext(t *testing.T) {
	source := registrytest.New(t, registrytest.Distribution)
	image := source.Push("app", registrytest.Index(false, nil, registrytest.Layer(1, 200_000), registrytest.Layer(2, 200_000)), "1")
	hang := make(chan struct{})
	target := registrytest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			says(202, jsonType, "", "Location", "/v2/app/blobs/uploads/1")(w, r)
			return
		}
		<-hang
	}))
	defer close(hang)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	started := time.Now()
	if _, err := writer(registry.Options{}).Copy(ctx, image, target.Repo("app")); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

// A registry that says yes to every mount is found out where the mount rests on belief alone.
func TestAMountThatWasALieIsFoundOut(t *testing.T) {
	source, honest := registrytest.New(t, registrytest.Distribution), registrytest.New(t, registrytest.Distribution)
	image := source.Push("app", registrytest.Image("amd64", registrytest.Layer(1, 5000)), "1")
	liar := registrytest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Query().Has("mount") {
			w.WriteHeader(http.StatusCreated)
			return
		}
		honest.Traffic.ServeHTTP(w, r)
	}))
	w := writer(registry.Options{})
	tree, err := w.Tree(t.Context(), image)
	if err != nil {
		t.Fatal(err)
	}
	w.Knows(liar.Repo("other"), tree)
	moved, err := w.Copy(t.Context(), image, liar.Repo("app"))
	if err != nil || moved.Blobs != 2 || moved.Mounted != 0 {
		t.Errorf("%+v, %v", moved, err)
	}
	if has, err := reader().Has(t.Context(), reconcile.Image{Repo: honest.Repo("app"), Digest: image.Digest}); !has || err != nil {
		t.Error(has, err)
	}
}

func TestAnEmptyBlobIsCopied(t *testing.T) {
	h := newHolding()
	config := []byte(`{"os":"linux","architecture":"amd64"}`)
	raw := fmt.Sprintf(`{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":0}]}`,
		sha(config), len(config), sha(nil))
	h.blobs[sha(config)], h.blobs[sha(nil)] = config, []byte{}
	s := registrytest.Start(t, h)
	target := registrytest.New(t, registrytest.Distribution)
	moved, err := writer(registry.Options{}).Copy(t.Context(), reconcile.Image{Repo: s.Repo("app"), Digest: h.put(raw)}, target.Repo("app"))
	if err != nil || moved.Blobs != 2 {
		t.Errorf("%+v, %v", moved, err)
	}
}
