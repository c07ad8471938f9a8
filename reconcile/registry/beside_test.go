package registry_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/assay-oci/assay/reconcile/registry"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
)

// What others attach is read in all places in which cosign keeps it, and what no verifier could want is not read at all.
func TestWhatOthersAttachedIsRead(t *testing.T) {
	everywhere(t, func(t *testing.T, s *registrytest.Server) {
		image := s.Push("app", registrytest.Image("amd64", registrytest.Layer(1, 10)), "1")
		w := writer(registry.Options{})
		if none, err := w.Beside(t.Context(), image); err != nil || len(none) != 0 {
			t.Fatalf("%v, %v", none, err)
		}
		const envelope = types.MediaType("application/vnd.dsse.envelope.v1+json")
		attestations, err := mutate.Append(empty.Image,
			mutate.Addendum{Layer: static.NewLayer([]byte(`{"payload":"e30="}`), envelope), Annotations: map[string]string{"predicateType": "https://example.com/x"}},
			mutate.Addendum{Layer: static.NewLayer([]byte(strings.Repeat("x", 8<<20+1)), envelope)})
		if err != nil {
			t.Fatal(err)
		}
		s.Push("app", attestations, strings.Replace(image.Digest.String(), ":", "-", 1)+".att")
		if err := w.Place(t.Context(), signature(image.Digest, 1), image.Repo); err != nil {
			t.Fatal(err)
		}
		if err := w.Place(t.Context(), bundle(image.Digest, 2), image.Repo); err != nil {
			t.Fatal(err)
		}
		found, err := w.Beside(t.Context(), image)
		if err != nil {
			t.Fatal(err)
		}
		var kinds []string
		for _, r := range found {
			kinds = append(kinds, r.MediaType)
			if r.MediaType == string(envelope) && (string(r.Payload) != `{"payload":"e30="}` || r.Annotations["predicateType"] != "https://example.com/x" || r.Statement.Subject != image.Digest || r.At.IsZero()) {
				t.Errorf("%+v", r)
			}
		}
		slices.Sort(kinds)
		if want := []string{"application/vnd.dev.cosign.simplesigning.v1+json", bundleType, string(envelope)}; !slices.Equal(kinds, want) {
			t.Errorf("%v, want %v", kinds, want)
		}
	})
}
