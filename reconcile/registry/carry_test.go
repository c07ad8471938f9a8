package registry_test

import (
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
)

const envelopeType = types.MediaType("application/vnd.dsse.envelope.v1+json")

// layered is an image as cosign makes it, with one layer.
func layered(t *testing.T, content string, kind types.MediaType) v1.Image {
	t.Helper()
	i, err := mutate.Append(empty.Image, mutate.Addendum{Layer: static.NewLayer([]byte(content), kind), Annotations: map[string]string{"a": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func beside(image reconcile.Image, suffix string) string {
	return strings.Replace(image.Digest.String(), ":", "-", 1) + suffix
}

// attached is an image beside which somebody laid one of everything: a signature in each format, an attestation in each, a bill of materials in
// cosign's tag, and a document of another kind that refers to it.
func attached(t *testing.T, s *registrytest.Server) reconcile.Image {
	t.Helper()
	image := s.Push("web", registrytest.Image("amd64", registrytest.Layer(1, 10)), "1")
	w := writer(registry.Options{})
	for _, r := range []reconcile.Record{signature(image.Digest, 1), bundle(image.Digest, 1), bundle(image.Digest, 2)} {
		if err := w.Place(t.Context(), r, image.Repo); err != nil {
			t.Fatal(err)
		}
	}
	s.Push("web", layered(t, `{"payload":"e30="}`, envelopeType), beside(image, ".att"))
	s.Push("web", layered(t, "SPDX", "text/spdx"), beside(image, ".sbom"))
	raw, kind, err := w.Manifest(t.Context(), image)
	if err != nil {
		t.Fatal(err)
	}
	about := v1.Descriptor{MediaType: types.MediaType(kind), Size: int64(len(raw)), Digest: v1.Hash{Algorithm: "sha256", Hex: image.Digest.Hex()}}
	document := mutate.Subject(mutate.ConfigMediaType(layered(t, `{"bomFormat":"CycloneDX"}`, "application/vnd.cyclonedx+json"), "application/vnd.cyclonedx+json"), about)
	ref, err := name.ParseReference(image.Repo.String()+":document", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, document.(v1.Image)); err != nil {
		t.Fatal(err)
	}
	return image
}

// What others laid beside an image lies next to ours afterwards, the same bytes; and once, however often it is carried.
func TestWhatOthersAttachedIsCarried(t *testing.T) {
	everywhere(t, func(t *testing.T, target *registrytest.Server) {
		source := registrytest.New(t, registrytest.Distribution)
		from := attached(t, source)
		w := writer(registry.Options{})
		what, err := w.Attachments(t.Context(), from)
		if err != nil || len(what) != 6 {
			t.Fatalf("%v, %v", what, err)
		}
		to := target.Repo("approved/web")
		if _, err := w.Copy(t.Context(), from, to); err != nil {
			t.Fatal(err)
		}
		image := reconcile.Image{Repo: to, Digest: from.Digest}
		ours := []reconcile.Record{signature(image.Digest, 7), bundle(image.Digest, 7)}
		for _, r := range ours {
			if err := w.Place(t.Context(), r, to); err != nil {
				t.Fatal(err)
			}
		}
		source.Reset()
		for range 2 {
			if err := w.Carry(t.Context(), from, to, what); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := source.Summary(), map[string]int{"GET manifest": 3, "GET blob": 7}; !maps.Equal(got, want) { // those that refer to it; all but ours of the contents
			t.Errorf("asked of the source: %v, want %v", got, want)
		}
		there, err := writer(registry.Options{}).Attachments(t.Context(), image)
		if err != nil || len(there) != 8 {
			t.Errorf("%v, %v", there, err)
		}
		for _, x := range what {
			if !slices.ContainsFunc(there, func(y reconcile.Attachment) bool {
				return x.Layer == y.Layer && x.Tag == y.Tag && (x.At == y.At || x.Tag != reconcile.Tag{})
			}) {
				t.Errorf("%v is missing", x)
			}
		}
		got, err := reader().Attached(t.Context(), image)
		want := append(ours, signature(image.Digest, 1), bundle(image.Digest, 1), bundle(image.Digest, 2))
		if err != nil || !reflect.DeepEqual(strip(got), strip(want)) {
			t.Errorf("the records are %v (%v) instead of %v", strip(got), err, strip(want))
		}
		if found, err := reader().Beside(t.Context(), image); err != nil || len(found) != 6 || found[5].Annotations["a"] != "b" {
			t.Errorf("%+v, %v", found, err)
		}

		if registry.CannotDelete(to.Host()) != "" {
			return
		}
		for _, x := range there { // and all of it goes with the image
			if err := w.Delete(t.Context(), reconcile.Image{Repo: to, Digest: x.At}, image.Digest); err != nil {
				t.Fatal(err)
			}
		}
		if left, err := reader().Attachments(t.Context(), image); err != nil || len(left) != 0 {
			t.Errorf("%v, %v", left, err)
		}
		if tags, err := reader().Tags(t.Context(), to); err != nil || len(tags) != 0 {
			t.Errorf("%v, %v", tags, err)
		}
	})
}

func TestWhatCannotTravel(t *testing.T) {
	source, target := registrytest.New(t, registrytest.Distribution), registrytest.New(t, registrytest.Distribution)
	from := attached(t, source)
	other := source.Push("web", registrytest.Image("amd64", registrytest.Layer(2, 10)), "2")
	w := writer(registry.Options{})
	to := target.Repo("web")
	all, err := w.Attachments(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []reconcile.Image{from, other} {
		if _, err := w.Copy(t.Context(), i, to); err != nil {
			t.Fatal(err)
		}
	}
	h := newHolding()
	claims := registrytest.Start(t, h)
	large := h.put(fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"x","digest":%q,"size":2},"layers":[{"mediaType":"x","digest":%q,"size":67108863}],"subject":{"mediaType":%q,"digest":%q,"size":2}}`,
		ociManifestType, sha([]byte("{}")), sha([]byte("x")), ociManifestType, other.Digest))
	for _, c := range []struct {
		name string
		from reconcile.Image
		what reconcile.Attachment
		want string // of the error; empty: it is left out
	}{
		{"what refers to another image", other, reconcile.Attachment{At: all[0].At}, ""},
		{"what is gone", from, reconcile.Attachment{At: reconcile.MustDigest("sha256:" + strings.Repeat("a", 64))}, ""},
		{"a tag of another image", other, all[len(all)-1], "is no tag of records about"},
		{"an image's own tag", from, reconcile.Attachment{At: all[0].At, Tag: tag(t, "1"), Layer: all[0].At}, "is no tag of records about"},
		{"what is too large", reconcile.Image{Repo: claims.Repo("web"), Digest: other.Digest}, reconcile.Attachment{At: large}, "has more than 67108864 bytes"},
	} {
		target.Reset()
		err := w.Carry(t.Context(), c.from, to, []reconcile.Attachment{c.what})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if n := target.Count(http.MethodPut, ""); n > 0 {
			t.Errorf("%s: %d writes", c.name, n)
		}
	}

	var many []mutate.Addendum
	for n := range 257 {
		many = append(many, mutate.Addendum{Layer: static.NewLayer(fmt.Append(nil, n), envelopeType)})
	}
	crowd, err := mutate.Append(empty.Image, many...)
	if err != nil {
		t.Fatal(err)
	}
	source.Push("web", crowd, beside(other, ".att"))
	if got, err := w.Attachments(t.Context(), other); err == nil || !strings.Contains(err.Error(), "there are 257, more than 256") {
		t.Errorf("%d, %v", len(got), err)
	}
	source.Disturb(registrytest.Faults{Rate: 1, Seed: 1, Kinds: []string{registrytest.Error500}})
	if got, err := writer(registry.Options{Patience: 1}).Attachments(t.Context(), from); err == nil {
		t.Errorf("unreadable, and yet %v", got)
	}
}
