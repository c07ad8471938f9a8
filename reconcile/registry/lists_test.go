package registry_test

import (
	"fmt"
	"io"
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

func reader() *registry.Reader { return registry.NewReader(registry.Options{Keychain: anonymous{}}) }

func TestInventory(t *testing.T) {
	everywhere(t, func(t *testing.T, s *registrytest.Server) {
		image := registrytest.Image("amd64", registrytest.Layer(1, 100))
		a := s.Push("team/a", image, "1", "2")
		s.Push("team/b/c", image, "1")
		s.Push("teams/d", image, "1")
		s.Push("team/a", registrytest.Image("arm64", registrytest.Layer(2, 100)), "sha256-"+a.Digest.Hex()+".sig", "3")
		s.Reset()

		repos, err := reader().Repos(t.Context(), s.Prefix("team"))
		if want := fmt.Sprint([]reconcile.Repo{s.Repo("team/a"), s.Repo("team/b/c")}); err != nil || fmt.Sprint(repos) != want {
			t.Errorf("repositories %v (%v) instead of %s", repos, err, want)
		}
		s.Reset()
		tags, err := reader().Tags(t.Context(), s.Repo("team/a"))
		if err != nil {
			t.Fatal(err)
		}
		if len(tags) != 4 || tags[tag(t, "1")] != a.Digest || tags[tag(t, "2")] != a.Digest || tags[tag(t, "3")].IsZero() ||
			!tags[tag(t, "sha256-"+a.Digest.Hex()+".sig")].IsZero() {
			t.Errorf("tags %v", tags)
		}
		if got := fmt.Sprint(s.Summary()); got != "map[GET tags:1 HEAD manifest:3]" {
			t.Errorf("requests %s instead of one list and a HEAD for each image's tag", got)
		}
		if tags, err := reader().Tags(t.Context(), s.Repo("team/none")); err != nil || len(tags) != 0 {
			t.Errorf("a repository that doesn't exist has tags %v, error %v", tags, err)
		}
	})
}

func TestListsAreReadToTheirEnd(t *testing.T) {
	s := registrytest.New(t, registrytest.Distribution)
	image := registrytest.Image("amd64", registrytest.Layer(1, 100))
	var names []string
	for i := range 1003 {
		names = append(names, fmt.Sprintf("v%d", i))
	}
	s.Push("app", image, names...)
	s.Reset()
	tags, err := reader().Tags(t.Context(), s.Repo("app"))
	if err != nil || len(tags) != len(names) {
		t.Errorf("%d tags, error %v", len(tags), err)
	}
	if got := fmt.Sprint(s.Summary()); got != "map[GET tags:2 HEAD manifest:1003]" {
		t.Errorf("requests %s", got)
	}
	if s.Connections() > 70 { // 64 at a time; one that broke is replaced
		t.Errorf("%d connections", s.Connections())
	}
}

// answers serves fixed answers by path.
type answers map[string]http.HandlerFunc

func (a answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h, ok := a[r.Method+" "+r.URL.Path]; ok {
		h(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusNotFound)
	_, _ = io.WriteString(w, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`)
}

func says(status int, kind, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

const jsonType = "application/json"

func TestAListThatCannotBeReadWholeIsAnError(t *testing.T) {
	for name, list := range map[string]http.HandlerFunc{
		"a web page":                 says(200, "text/html", "<html>welcome</html>"),
		"a web page, not found":      says(404, "text/html; charset=utf-8", "<html>not found</html>"),
		"not found, but no registry": says(404, "text/plain", "404 page not found"),
		"no JSON":                    says(200, jsonType, "{"),
		"another JSON":               says(200, jsonType, `{"message":"hello"}`),
		"forbidden":                  says(403, jsonType, `{"errors":[{"code":"DENIED"}]}`),
		"unauthorized":               says(401, jsonType, `{"errors":[{"code":"UNAUTHORIZED"}]}`),
		"a bad tag":                  says(200, jsonType, `{"name":"app","tags":["../../etc"]}`),
		"another host":               says(200, jsonType, `{"name":"app","tags":["1"]}`, "Link", `<http://127.0.0.1:1/v2/app/tags/list?last=1>; rel="next"`),
		"the same page":              says(200, jsonType, `{"name":"app","tags":["1"]}`, "Link", `</v2/app/tags/list?n=1000>; rel="next"`),
		"a circle":                   says(200, jsonType, `{"name":"app","tags":["1"]}`, "Link", `</v2/app/tags/list?last=1>; rel="next"`),
		"a tag's HEAD without a digest and without a manifest": says(200, jsonType, `{"name":"app","tags":["page"]}`),
		"a tag's HEAD that is a web page":                      says(200, jsonType, `{"name":"app","tags":["html"]}`),
		"a tag's HEAD with a strange digest":                   says(200, jsonType, `{"name":"app","tags":["strange"]}`),
		"a tag's HEAD that is forbidden":                       says(200, jsonType, `{"name":"app","tags":["denied"]}`),
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, answers{
				"GET /v2/app/tags/list":          list,
				"HEAD /v2/app/manifests/1":       says(200, "application/vnd.oci.image.index.v1+json", "", "Docker-Content-Digest", "sha256:"+strings.Repeat("a", 64)),
				"HEAD /v2/app/manifests/page":    says(200, jsonType, ""),
				"GET /v2/app/manifests/page":     says(200, "text/html", "<html>"),
				"HEAD /v2/app/manifests/html":    says(200, "text/html", "", "Docker-Content-Digest", "sha256:"+strings.Repeat("a", 64)),
				"HEAD /v2/app/manifests/strange": says(200, jsonType, "", "Docker-Content-Digest", "md5:1"),
				"HEAD /v2/app/manifests/denied":  says(403, jsonType, ""),
			})
			tags, err := reader().Tags(t.Context(), s.Repo("app"))
			if err == nil {
				t.Fatalf("no error, tags %v", tags)
			}
			if strings.ContainsAny(err.Error(), "\n\r") || !strings.Contains(err.Error(), "app") {
				t.Errorf("the error is %q", err)
			}
		})
	}
}

func TestACatalogThatCannotBeReadWholeIsAnError(t *testing.T) {
	for name, list := range map[string]http.HandlerFunc{
		"a web page":  says(200, "text/html", "<html>welcome</html>"),
		"null":        says(200, jsonType, "null"),
		"not offered": says(404, jsonType, `{"errors":[{"code":"NAME_UNKNOWN"}]}`),
		"bad name":    says(200, jsonType, `{"repositories":["team/../../x"]}`),
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, answers{"GET /v2/_catalog": list})
			if repos, err := reader().Repos(t.Context(), s.Prefix("team")); err == nil {
				t.Errorf("no error, repositories %v", repos)
			}
		})
	}
}

// While nothing is known of a host, requests wait for the first one's answer. "Not found" is an answer.
func TestMissingRepositoriesAreAskedForAtTheSameTime(t *testing.T) {
	s := registrytest.New(t, registrytest.Distribution)
	var running, most atomic.Int64
	slow := registrytest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer running.Add(-1)
		if n := running.Add(1); n > most.Load() {
			most.Store(n)
		}
		time.Sleep(5 * time.Millisecond) // an answer takes its time
		s.Traffic.ServeHTTP(w, r)
	}))
	r := reader()
	var group errgroup.Group
	for i := range 30 {
		group.Go(func() error {
			_, err := r.Tags(t.Context(), slow.Repo(fmt.Sprint("none", i)))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if most.Load() < 8 {
		t.Errorf("at most %d requests were under way", most.Load())
	}
}

func TestATagThatVanishesIsLeftOut(t *testing.T) {
	s := registrytest.Start(t, answers{"GET /v2/app/tags/list": says(200, jsonType, `{"name":"app","tags":["gone"]}`)})
	if tags, err := reader().Tags(t.Context(), s.Repo("app")); err != nil || len(tags) != 0 {
		t.Errorf("tags %v, error %v", tags, err)
	}
}

func TestARepositoryWhoseTagsWereRemovedHasNone(t *testing.T) {
	s := registrytest.Start(t, answers{"GET /v2/app/tags/list": says(200, jsonType, `{"name":"app","tags":null}`)})
	if tags, err := reader().Tags(t.Context(), s.Repo("app")); err != nil || len(tags) != 0 {
		t.Errorf("tags %v, error %v", tags, err)
	}
}

func TestAHeadWithoutDigestIsReadInstead(t *testing.T) {
	s := registrytest.New(t, registrytest.Google)
	image := s.Push("app", registrytest.Image("amd64", registrytest.Layer(1, 10)), "1")
	bare := registrytest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.Traffic.ServeHTTP(&headerless{w}, r)
	}))
	tags, err := reader().Tags(t.Context(), bare.Repo("app"))
	if err != nil || tags[tag(t, "1")] != image.Digest {
		t.Errorf("tags %v, error %v", tags, err)
	}
	if bare.Count("GET", "manifest") != 1 {
		t.Error(bare.Summary())
	}
}

type headerless struct{ http.ResponseWriter }

func (h *headerless) WriteHeader(s int) {
	h.Header().Del("Docker-Content-Digest")
	h.ResponseWriter.WriteHeader(s)
}

func TestAttestationsAreNoImages(t *testing.T) {
	s := registrytest.New(t, registrytest.Distribution)
	image := s.Push("app", registrytest.Index(true, nil, registrytest.Layer(3, 50), registrytest.Layer(4, 50)), "1")
	tree, err := reader().Tree(t.Context(), image)
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Manifests) != 5 || len(tree.Runnable()) != 2 || tree.Manifests[4].Digest != image.Digest {
		t.Errorf("the tree is %+v", tree)
	}
	for _, m := range tree.Runnable() {
		if m.Config.User != "1000" || m.Config.Labels["org.opencontainers.image.title"] != "test" || m.Config.Created.IsZero() ||
			m.Platform.OS != "linux" || len(m.Blobs) != 2 {
			t.Errorf("%+v", m)
		}
	}
}

func TestASingleManifestHasThePlatformOfItsConfiguration(t *testing.T) {
	s := registrytest.New(t, registrytest.Distribution)
	image := s.Push("app", registrytest.Image("arm64", []v1.Layer{registrytest.Layer(3, 50)}...), "1")
	tree, err := reader().Tree(t.Context(), image)
	if err != nil || tree.Manifests[0].Platform.String() != "linux/arm64" {
		t.Errorf("%+v, %v", tree, err)
	}
}

var epoch = time.Time{}

// breaking closes the connection after so many bytes of a body.
type breaking struct {
	http.ResponseWriter
	left int
}

func (b *breaking) Write(p []byte) (int, error) {
	if len(p) <= b.left {
		b.left -= len(p)
		return b.ResponseWriter.Write(p)
	}
	_, _ = b.ResponseWriter.Write(p[:b.left])
	_ = http.NewResponseController(b.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}
