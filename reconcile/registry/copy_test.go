package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
)

// anonymous keeps the machine's own credentials out of tests.
type anonymous struct{}

func (anonymous) Resolve(authn.Resource) (authn.Authenticator, error) { return authn.Anonymous, nil }

func writer(o registry.Options) *registry.Writer {
	if o.Keychain == nil {
		o.Keychain = anonymous{}
	}
	return registry.NewWriter(registry.NewReader(o))
}

func tag(t *testing.T, s string) reconcile.Tag {
	t.Helper()
	out, err := reconcile.ParseTag(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// everywhere runs a test against each kind of registry.
func everywhere(t *testing.T, run func(t *testing.T, s *registrytest.Server)) {
	for _, software := range registrytest.All {
		t.Run(string(software), func(t *testing.T) {
			t.Parallel()
			run(t, registrytest.New(t, software))
		})
	}
}

func TestCopyKeepsEveryByte(t *testing.T) {
	source := registrytest.New(t, registrytest.Distribution)
	base := []v1.Layer{registrytest.Layer(1, 40_000), registrytest.Layer(2, 10)}
	image := source.Push("app", registrytest.Index(true, base, registrytest.Layer(3, 5000), registrytest.Layer(4, 5000)), "1")
	everywhere(t, func(t *testing.T, target *registrytest.Server) {
		ctx := t.Context()
		w := writer(registry.Options{})
		to := target.Repo("approved/app")
		moved, err := w.Copy(ctx, image, to)
		if err != nil {
			t.Fatal(err)
		}
		if moved.Blobs != 10 || moved.Mounted != 0 {
			t.Errorf("moved %+v; 4 layers, 4 configurations and 2 statements were to move", moved)
		}
		fresh := registry.NewReader(registry.Options{Keychain: anonymous{}})
		want, err := fresh.Tree(ctx, image)
		if err != nil {
			t.Fatal(err)
		}
		there := registry.NewReader(registry.Options{Keychain: anonymous{}})
		got, err := there.Tree(ctx, reconcile.Image{Repo: to, Digest: image.Digest})
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the copy is\n%v\ninstead of\n%v", got, want)
		}
		for _, m := range want.Manifests {
			a, _, err := fresh.Manifest(ctx, reconcile.Image{Repo: image.Repo, Digest: m.Digest})
			if err != nil {
				t.Fatal(err)
			}
			b, _, err := there.Manifest(ctx, reconcile.Image{Repo: to, Digest: m.Digest})
			if err != nil || !bytes.Equal(a, b) {
				t.Errorf("%s differs (%v)", m.Digest, err)
			}
		}
		tags, err := there.Tags(ctx, to)
		if err != nil || len(tags) != 0 {
			t.Errorf("the copy has tags %v (%v)", tags, err)
		}
		if err := w.Tag(ctx, reconcile.Image{Repo: to, Digest: image.Digest}, tag(t, "1.0")); err != nil {
			t.Fatal(err)
		}
		tags, err = there.Tags(ctx, to)
		if err != nil || len(tags) != 1 || tags[tag(t, "1.0")] != image.Digest {
			t.Errorf("the tags are %v (%v)", tags, err)
		}
	})
}

func TestCopyMovesSharedBlobsOnce(t *testing.T) {
	source, target := registrytest.New(t, registrytest.Distribution), registrytest.New(t, registrytest.Distribution)
	base := []v1.Layer{registrytest.Layer(1, 40_000), registrytest.Layer(2, 20_000)}
	var images []reconcile.Image
	for i := range 10 {
		own := uint64(10 + 2*i)
		images = append(images, source.Push(fmt.Sprintf("app%d", i),
			registrytest.Index(false, base, registrytest.Layer(own, 1000), registrytest.Layer(own+1, 1000)), "1"))
	}
	source.Reset()
	target.Reset()
	w := writer(registry.Options{})
	var group errgroup.Group
	for i, image := range images {
		group.Go(func() error {
			to := target.Repo(fmt.Sprintf("approved/app%d", i))
			if _, err := w.Copy(t.Context(), image, to); err != nil {
				return err
			}
			return w.Tag(t.Context(), reconcile.Image{Repo: to, Digest: image.Digest}, tag(t, "1"))
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	// 10 images × (3 manifests) + 42 different blobs; 40 configurations and own layers and 2 shared ones
	if got := source.Count("", ""); got != 30+42 {
		t.Errorf("the source had %d requests instead of 72: %v", got, source.Summary())
	}
	// 42 blobs × (POST, PUT), 18 mounts, 30 manifests, 10 tags
	if got, least := target.Count("", ""), 2*42+18+30+10; got > least+least/10 {
		t.Errorf("the target had %d requests, more than %d and a tenth: %v", got, least, target.Summary())
	}
	if got := target.Count("PUT", "upload"); got != 42 {
		t.Errorf("%d blobs were uploaded instead of 42", got)
	}
	if got := target.Count("POST", "mount"); got != 18 {
		t.Errorf("%d blobs were mounted instead of 18", got)
	}
}

func TestCopyToSeveralRegistriesReadsTheSourceOnce(t *testing.T) {
	source := registrytest.New(t, registrytest.Distribution)
	image := source.Push("app", registrytest.Index(true, []v1.Layer{registrytest.Layer(1, 400_000)}, registrytest.Layer(3, 5000), registrytest.Layer(4, 5000)), "1")
	source.Reset()
	w := writer(registry.Options{})
	var group errgroup.Group
	for range 3 {
		target := registrytest.New(t, registrytest.Distribution)
		group.Go(func() error {
			_, err := w.Copy(t.Context(), image, target.Repo("app"))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if m, b := source.Count("GET", "manifest"), source.Count("GET", "blob"); m != 5 || b != 9 {
		t.Errorf("%d manifests and %d blobs were read instead of 5 and 9: %v", m, b, source.Summary())
	}
}

// The next registry may ask where to read a blob at the very moment at which the first has it.
func TestEachOfManyBlobsIsReadFromTheSourceOnceForSeveralRegistries(t *testing.T) {
	source := registrytest.New(t, registrytest.Distribution)
	var layers []v1.Layer
	for i := range 100 {
		layers = append(layers, registrytest.Layer(uint64(100+i), 200))
	}
	image := source.Push("app", registrytest.Image("amd64", layers...), "1")
	source.Reset()
	w := writer(registry.Options{})
	var group errgroup.Group
	for range 4 {
		target := registrytest.New(t, registrytest.Distribution)
		group.Go(func() error {
			_, err := w.Copy(t.Context(), image, target.Repo("app"))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := source.Count("GET", "blob"); n != 101 {
		t.Errorf("%d blobs were read instead of 101", n)
	}
}

func TestWhatTheTargetHoldsCostsNothing(t *testing.T) {
	source, target := registrytest.New(t, registrytest.Distribution), registrytest.New(t, registrytest.Distribution)
	index := registrytest.Index(true, nil, registrytest.Layer(3, 5000), registrytest.Layer(4, 5000))
	image := source.Push("app", index, "1")
	target.Push("app", index, "1")
	source.Reset()
	w := writer(registry.Options{})
	if ok, err := w.Has(t.Context(), reconcile.Image{Repo: target.Repo("app"), Digest: image.Digest}); err != nil || !ok {
		t.Fatal(ok, err)
	}
	target.Reset()
	if _, err := w.Copy(t.Context(), image, target.Repo("app")); err != nil {
		t.Fatal(err)
	}
	if source.Count("", "")+target.Count("", "") != 0 {
		t.Errorf("source %v, target %v", source.Summary(), target.Summary())
	}
}

func TestCopyOfWhatIsMissingIsNotFound(t *testing.T) {
	everywhere(t, func(t *testing.T, s *registrytest.Server) {
		s.Push("app", registrytest.Image("amd64", registrytest.Layer(1, 10)), "1")
		missing := reconcile.Image{Repo: s.Repo("app"), Digest: reconcile.MustDigest("sha256:" + fmt.Sprintf("%064d", 7))}
		w := writer(registry.Options{})
		if _, err := w.Copy(t.Context(), missing, s.Repo("other")); !errors.Is(err, reconcile.ErrNotFound) {
			t.Error(err)
		}
		if _, err := w.Tree(context.Background(), missing); !errors.Is(err, reconcile.ErrNotFound) {
			t.Error(err)
		}
		if has, err := w.Has(t.Context(), missing); has || err != nil {
			t.Error(has, err)
		}
	})
}

// A run that finds its predecessor's cache mounts what the target's other repositories hold, and sends only what is new.
func TestALaterRunMountsWhatEarlierOnesHaveSent(t *testing.T) {
	source, target := registrytest.New(t, registrytest.Distribution), registrytest.New(t, registrytest.Distribution)
	base := []v1.Layer{registrytest.Layer(1, 4000), registrytest.Layer(2, 4000)}
	o := registry.Options{CacheDir: t.TempDir()}
	for i, path := range []string{"one", "two", "one"} {
		image := source.Push(path, registrytest.Index(false, base, registrytest.Layer(uint64(10+2*i), 1000), registrytest.Layer(uint64(11+2*i), 1000)), "1")
		w := writer(o) // a new run
		to := target.Repo(path)
		for _, known := range []string{"one", "two"} {
			if _, err := w.Tags(t.Context(), target.Repo(known)); err != nil {
				t.Fatal(err)
			}
		}
		moved, err := w.Copy(t.Context(), image, to)
		if err != nil {
			t.Fatal(err)
		}
		if want := []reconcile.Moved{{Blobs: 6}, {Blobs: 4, Mounted: 2}, {Blobs: 4}}[i]; moved.Blobs != want.Blobs || moved.Mounted != want.Mounted {
			t.Errorf("run %d: moved %+v instead of %+v", i, moved, want)
		}
		if err := w.Tag(t.Context(), reconcile.Image{Repo: to, Digest: image.Digest}, tag(t, fmt.Sprint("v", i))); err != nil {
			t.Fatal(err)
		}
	}
}

// What is remembered of a registry may have been deleted there since. Then it is sent again.
func TestWhatWasBelievedWronglyIsSentAgain(t *testing.T) {
	source, target := registrytest.New(t, registrytest.Distribution), registrytest.New(t, registrytest.Distribution)
	image := source.Push("app", registrytest.Index(true, nil, registrytest.Layer(1, 4000), registrytest.Layer(2, 4000)), "1")
	w := writer(registry.Options{})
	tree, err := w.Tree(t.Context(), image)
	if err != nil {
		t.Fatal(err)
	}
	var blobsOnly reconcile.Tree
	for _, m := range tree.Manifests {
		m.Digest = reconcile.MustDigest("sha256:" + fmt.Sprintf("%064d", len(blobsOnly.Manifests)))
		blobsOnly.Manifests = append(blobsOnly.Manifests, m)
	}
	for _, path := range []string{"app", "other"} { // "app" believes that it has them, and "third" would mount them
		w.Knows(target.Repo(path), blobsOnly)
	}
	for _, path := range []string{"app", "third"} {
		if _, err := w.Copy(t.Context(), image, target.Repo(path)); err != nil {
			t.Fatal(err)
		}
		fresh := reader()
		for _, m := range tree.Manifests {
			for _, b := range m.Blobs {
				rc, err := fresh.Open(t.Context(), target.Repo(path), b)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, rc); err != nil {
					t.Error(err)
				}
				_ = rc.Close()
			}
		}
	}
}
