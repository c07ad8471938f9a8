package registry_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
)

func sha(content []byte) reconcile.Digest {
	return reconcile.MustDigest(fmt.Sprintf("sha256:%x", sha256.Sum256(content)))
}

// holding is a registry that holds these manifests and blobs under their digests, and may lie about them.
type holding struct {
	manifests map[reconcile.Digest][]byte
	blobs     map[reconcile.Digest][]byte
}

func (h holding) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, reference, _ := strings.Cut(r.URL.Path, "/manifests/")
	from := h.manifests
	if strings.Contains(r.URL.Path, "/blobs/") {
		_, reference, _ = strings.Cut(r.URL.Path, "/blobs/")
		from = h.blobs
	}
	d, err := reconcile.ParseDigest(reference)
	content, ok := from[d]
	if err != nil || !ok {
		says(404, jsonType, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`)(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	_, _ = w.Write(content)
}

// put adds a manifest and returns its digest.
func (h holding) put(manifest string) reconcile.Digest {
	d := sha([]byte(manifest))
	h.manifests[d] = []byte(manifest)
	return d
}

func newHolding() holding {
	return holding{map[reconcile.Digest][]byte{}, map[reconcile.Digest][]byte{}}
}

const ociManifestType = "application/vnd.oci.image.manifest.v1+json"

func TestHostileManifestsAreRefused(t *testing.T) {
	h := newHolding()
	some := "sha256:" + strings.Repeat("a", 64)
	image := `"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` + some + `","size":2}`
	var many strings.Builder
	for i := range 1001 {
		fmt.Fprintf(&many, `{"mediaType":%q,"digest":"sha256:%064x","size":3},`, ociManifestType, i)
	}
	child := h.put(`{"schemaVersion":2,"mediaType":"` + ociManifestType + `","config":{"mediaType":"x/y","digest":"` + some + `","size":2},"layers":[]}`)
	nested := child
	size := len(h.manifests[child])
	for range 6 {
		nested = h.put(fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":%q,"size":%d}]}`, nested, size))
		size = len(h.manifests[nested])
	}
	for name, manifest := range map[string]string{
		"no JSON":                    `{`,
		"a list of its own":          `[]`,
		"schema 1":                   `{"schemaVersion":1,"name":"app","tag":"1","fsLayers":[]}`,
		"nothing":                    `{"schemaVersion":2}`,
		"both an index and an image": `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],` + image + `}`,
		"an image that is an index":  `{"schemaVersion":2,"mediaType":"` + ociManifestType + `","manifests":[]}`,
		"an unknown type":            `{"schemaVersion":2,"mediaType":"text/html",` + image + `}`,
		"a bad digest":               `{"schemaVersion":2,"config":{"mediaType":"x","digest":"sha256:../../x","size":1}}`,
		"no digest":                  `{"schemaVersion":2,"config":{"mediaType":"x","size":1}}`,
		"a negative size":            `{"schemaVersion":2,"config":{"mediaType":"x","digest":"` + some + `","size":-1}}`,
		"a huge size":                `{"schemaVersion":2,"config":{"mediaType":"x","digest":"` + some + `","size":9000000000000000}}`,
		"a huge configuration":       `{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` + some + `","size":10737418240}}`,
		"too many children":          `{"schemaVersion":2,"manifests":[` + strings.TrimSuffix(many.String(), ",") + `]}`,
		"too deep":                   string(h.manifests[nested]),
		"a child of another size":    fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":%q,"size":1}]}`, child),
		"a platform that is markup":  fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":%q,"size":%d,"platform":{"os":"<b>","architecture":"x"}}]}`, child, len(h.manifests[child])),
		"a missing child":            fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":%q,"size":1}]}`, some),
	} {
		t.Run(name, func(t *testing.T) {
			d := h.put(manifest)
			s := registrytest.Start(t, h)
			tree, err := reader().Tree(t.Context(), reconcile.Image{Repo: s.Repo("app"), Digest: d})
			if err == nil {
				t.Fatalf("no error, but %+v", tree)
			}
			if strings.Contains(err.Error(), "\n") || len(err.Error()) > 700 {
				t.Errorf("the error is %q", err)
			}
			if name == "schema 1" && !strings.Contains(err.Error(), "schema 1") {
				t.Error(err)
			}
		})
	}
}

func TestContentThatIsNotWhatItsDigestSaysIsRefused(t *testing.T) {
	good := registrytest.Image("amd64", registrytest.Layer(1, 5000))
	raw, _ := good.RawManifest()
	layer, _ := good.Layers()
	reader1, _ := layer[0].Compressed()
	content, _ := io.ReadAll(reader1)
	config, _ := good.RawConfigFile()
	other := bytes.Clone(content)
	other[len(other)-1] ^= 1
	for name, change := range map[string]func(holding){
		"manifest":      func(h holding) { h.manifests[sha(raw)] = append(bytes.Clone(raw), ' ') },
		"configuration": func(h holding) { h.blobs[sha(config)] = bytes.ToUpper(config) },
		"layer":         func(h holding) { h.blobs[sha(content)] = other },
		"longer layer":  func(h holding) { h.blobs[sha(content)] = append(bytes.Clone(content), 1) },
		"shorter layer": func(h holding) { h.blobs[sha(content)] = content[:len(content)-1] },
		"missing layer": func(h holding) { delete(h.blobs, sha(content)) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHolding()
			h.manifests[sha(raw)], h.blobs[sha(config)], h.blobs[sha(content)] = raw, config, content
			change(h)
			s, target := registrytest.Start(t, h), registrytest.New(t, registrytest.Google)
			w := writer(registry.Options{Patience: 2})
			_, err := w.Copy(t.Context(), reconcile.Image{Repo: s.Repo("app"), Digest: sha(raw)}, target.Repo("app"))
			if err == nil {
				t.Fatal("it was copied")
			}
			if target.Count("PUT", "manifest") != 0 {
				t.Error("a manifest was pushed")
			}
			for _, r := range target.Requests() {
				if r.Method == "PUT" && r.Status == http.StatusCreated && strings.Contains(r.Query, sha(content).Hex()) && strings.Contains(name, "layer") {
					t.Error("the layer was stored")
				}
			}
		})
	}
}

func TestAManifestThatClaimsToBeHugeIsNotRead(t *testing.T) {
	for name, size := range map[string]string{"announced": "10737418240", "unannounced": ""} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if size != "" {
					w.Header().Set("Content-Length", size)
				}
				chunk := make([]byte, 1<<20)
				for range 10_000 {
					if _, err := w.Write(chunk); err != nil {
						return
					}
				}
			}))
			_, err := reader().Tree(t.Context(), reconcile.Image{Repo: s.Repo("app"), Digest: sha(nil)})
			if err == nil {
				t.Fatal("no error")
			}
			if s.Sent() > 64<<20 {
				t.Errorf("%d bytes were sent", s.Sent())
			}
		})
	}
}

func TestABlobOfAnotherSizeIsRefusedBeforeItIsRead(t *testing.T) {
	h := newHolding()
	h.blobs[sha(make([]byte, 1000))] = make([]byte, 1000)
	s := registrytest.Start(t, h)
	_, err := reader().Open(t.Context(), s.Repo("app"), reconcile.Blob{Digest: sha(make([]byte, 1000)), Size: 10})
	if err == nil || !strings.Contains(err.Error(), "1000") {
		t.Error(err)
	}
}

// Foreign layers are copied where their registry has them, and otherwise left as they are: their addresses are never visited.
func TestForeignLayersAreNeverFetchedFromTheirAddresses(t *testing.T) {
	elsewhere := registrytest.Start(t, http.NotFoundHandler())
	for _, present := range []bool{true, false} {
		t.Run(fmt.Sprintf("present=%v", present), func(t *testing.T) {
			config, layer := []byte(`{"os":"windows","architecture":"amd64"}`), []byte("a layer of Windows")
			raw, err := json.Marshal(map[string]any{
				"schemaVersion": 2, "mediaType": string(types.DockerManifestSchema2),
				"config": map[string]any{"mediaType": string(types.DockerConfigJSON), "digest": sha(config), "size": len(config)},
				"layers": []any{map[string]any{"mediaType": string(types.DockerForeignLayer), "digest": sha(layer), "size": len(layer),
					"urls": []string{"http://" + elsewhere.Host + "/layer"}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			h := newHolding()
			h.manifests[sha(raw)], h.blobs[sha(config)] = raw, config
			if present {
				h.blobs[sha(layer)] = layer
			}
			s, target := registrytest.Start(t, h), registrytest.New(t, registrytest.Google)
			w := writer(registry.Options{})
			moved, err := w.Copy(t.Context(), reconcile.Image{Repo: s.Repo("app"), Digest: sha(raw)}, target.Repo("app"))
			if err != nil {
				t.Fatal(err)
			}
			if want := map[bool]int{true: 2, false: 1}[present]; moved.Blobs != want {
				t.Errorf("moved %+v", moved)
			}
			if got, _, err := reader().Manifest(t.Context(), reconcile.Image{Repo: target.Repo("app"), Digest: sha(raw)}); err != nil || !bytes.Equal(got, raw) {
				t.Errorf("the manifest is %s (%v)", got, err)
			}
			if elsewhere.Count("", "") != 0 {
				t.Error("the layer's address was visited")
			}
		})
	}
}

func TestArtifactsAreCopiedAsTheyAre(t *testing.T) {
	source, target := registrytest.New(t, registrytest.Distribution), registrytest.New(t, registrytest.Distribution)
	chart := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), "application/vnd.cncf.helm.config.v1+json")
	chart, err := mutate.AppendLayers(chart, static.NewLayer([]byte("a chart"), "application/vnd.cncf.helm.chart.content.v1.tar+gzip"))
	if err != nil {
		t.Fatal(err)
	}
	image := source.Push("chart", chart, "1")
	w := writer(registry.Options{})
	tree, err := w.Tree(t.Context(), image)
	if err != nil || tree.Manifests[0].Artifact != "application/vnd.cncf.helm.config.v1+json" || len(tree.Runnable()) != 0 {
		t.Errorf("%+v, %v", tree, err)
	}
	if _, err := w.Copy(t.Context(), image, target.Repo("chart")); err != nil {
		t.Error(err)
	}
}

func TestALaterRunReadsNoManifestAgain(t *testing.T) {
	s := registrytest.New(t, registrytest.Distribution)
	image := s.Push("app", registrytest.Index(true, nil, registrytest.Layer(3, 500), registrytest.Layer(4, 500)), "1")
	dir := t.TempDir()
	for run := range 2 {
		s.Reset()
		r := registry.NewReader(registry.Options{Keychain: anonymous{}, CacheDir: dir})
		if _, err := r.Tree(t.Context(), image); err != nil {
			t.Fatal(err)
		}
		if want := []string{"map[GET blob:2 GET manifest:5]", "map[HEAD manifest:1]"}[run]; fmt.Sprint(s.Summary()) != want {
			t.Errorf("run %d: %v instead of %s", run, s.Summary(), want)
		}
	}
	// what is cached says nothing about another repository
	other := reconcile.Image{Repo: s.Repo("other"), Digest: image.Digest}
	if _, err := registry.NewReader(registry.Options{Keychain: anonymous{}, CacheDir: dir}).Tree(t.Context(), other); !errors.Is(err, reconcile.ErrNotFound) {
		t.Error(err)
	}
}

func TestABrokenDownloadGoesOnWhereItBroke(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 10_000)
	for name, ranges := range map[string]bool{"with ranges": true, "without ranges": false} {
		t.Run(name, func(t *testing.T) {
			requests := 0
			s := registrytest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests++
				if !ranges {
					r.Header.Del("Range")
				}
				if requests < 3 {
					w = &breaking{w, 30_000}
				}
				http.ServeContent(w, r, "", epoch, bytes.NewReader(content))
			}))
			rc, err := reader().Open(t.Context(), s.Repo("app"), reconcile.Blob{Digest: sha(content), Size: int64(len(content))})
			if err != nil {
				t.Fatal(err)
			}
			defer rc.Close()
			got, err := io.ReadAll(rc)
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if requests != 3 {
				t.Errorf("%d requests", requests)
			}
		})
	}
}
