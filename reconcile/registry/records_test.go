package registry_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
)

const bundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"

func bundle(subject reconcile.Digest, n int) reconcile.Record {
	return reconcile.Record{
		Statement: reconcile.Statement{Format: reconcile.Bundle, Subject: subject},
		MediaType: bundleType, Payload: []byte(fmt.Sprintf(`{"mediaType":%q,"n":%d}`, bundleType, n)),
		Annotations: map[string]string{"dev.sigstore.bundle.content": "dsse-envelope", "dev.sigstore.bundle.predicateType": fmt.Sprint("https://example.com/", n)},
	}
}

func signature(subject reconcile.Digest, n int) reconcile.Record {
	return reconcile.Record{
		Statement: reconcile.Statement{Format: reconcile.Legacy, Subject: subject},
		MediaType: "application/vnd.dev.cosign.simplesigning.v1+json", Payload: []byte(fmt.Sprintf(`{"critical":{},"optional":{"n":%d}}`, n)),
		Annotations: map[string]string{"dev.cosignproject.cosign/signature": fmt.Sprint("signature", n)},
	}
}

// strip removes what only the place adds, and sorts.
func strip(records []reconcile.Record) []string {
	var out []string
	for _, r := range records {
		out = append(out, fmt.Sprintf("%s %s %s %v", r.Statement.Format, r.MediaType, r.Payload, r.Annotations))
	}
	slices.Sort(out)
	return out
}

func TestRecordsAreFoundWhereTheyWerePlaced(t *testing.T) {
	at := make(chan string, 20)
	everywhere(t, func(t *testing.T, s *registrytest.Server) {
		image := s.Push("app", registrytest.Image("amd64", registrytest.Layer(1, 10)), "1")
		w := writer(registry.Options{})
		if none, err := w.Attached(t.Context(), image); err != nil || len(none) != 0 {
			t.Fatalf("%v, %v", none, err)
		}
		want := []reconcile.Record{bundle(image.Digest, 1), signature(image.Digest, 1), bundle(image.Digest, 2), signature(image.Digest, 2)}
		for range 2 { // the second time changes nothing
			for _, r := range want {
				if err := w.Place(t.Context(), r, image.Repo); err != nil {
					t.Fatal(err)
				}
			}
		}
		got, err := registry.NewReader(registry.Options{Keychain: anonymous{}}).Attached(t.Context(), image)
		if err != nil || !reflect.DeepEqual(strip(got), strip(want)) {
			t.Errorf("the records are %v (%v) instead of %v", strip(got), err, strip(want))
		}
		for _, r := range got {
			if r.At.IsZero() || r.Statement.Subject != image.Digest {
				t.Errorf("%+v", r)
			}
			at <- r.At.String()
		}
		// the image's own tags are as they were, and the record's tag is no image's
		tags, err := w.Tags(t.Context(), image.Repo)
		if err != nil || tags[tag(t, "1")] != image.Digest {
			t.Errorf("%v, %v", tags, err)
		}
		for name, d := range tags {
			if name != tag(t, "1") && !d.IsZero() {
				t.Errorf("%s is taken for an image", name)
			}
		}
	})
	t.Cleanup(func() {
		close(at)
		different := map[string]bool{}
		for d := range at {
			different[d] = true
		}
		if len(different) > 3 {
			t.Errorf("two bundles and one tag have %d digests: they differ between registries", len(different))
		}
	})
}

func TestRecordsOfOthersAreKept(t *testing.T) {
	s := registrytest.New(t, registrytest.Distribution)
	image := s.Push("app", registrytest.Image("amd64", registrytest.Layer(1, 10)), "1")
	if err := writer(registry.Options{}).Place(t.Context(), signature(image.Digest, 1), image.Repo); err != nil {
		t.Fatal(err)
	}
	if err := writer(registry.Options{}).Place(t.Context(), signature(image.Digest, 2), image.Repo); err != nil {
		t.Fatal(err)
	}
	got, err := reader().Attached(t.Context(), image)
	if err != nil || len(got) != 2 {
		t.Errorf("%v, %v", strip(got), err)
	}
}

func TestOneSignatureIsTakenOffAndTheOthersStay(t *testing.T) {
	for _, software := range registrytest.All {
		t.Run(string(software), func(t *testing.T) {
			s := registrytest.New(t, software)
			image := s.Push("app", registrytest.Image("amd64", registrytest.Layer(1, 10)), "1")
			w := writer(registry.Options{})
			for n := range 3 {
				if err := w.Place(t.Context(), signature(image.Digest, n), image.Repo); err != nil {
					t.Fatal(err)
				}
			}
			found, err := reader().Attached(t.Context(), image)
			if err != nil || len(found) != 3 {
				t.Fatal(strip(found), err)
			}
			for range 2 { // once it is gone, taking it off is no error
				if err := w.Withdraw(t.Context(), image, found[1].ID()); err != nil {
					t.Fatal(err)
				}
			}
			left, err := reader().Attached(t.Context(), image)
			if err != nil || fmt.Sprint(strip(left)) != fmt.Sprint(strip([]reconcile.Record{found[0], found[2]})) {
				t.Errorf("%v, %v", strip(left), err)
			}
			if err := w.Withdraw(t.Context(), image, left[0].ID()); err != nil {
				t.Fatal(err)
			}
			if err := w.Withdraw(t.Context(), image, left[1].ID()); err == nil {
				t.Error("the last signature was taken off")
			}
		})
	}
}

// Several records about one image at the same time: none is lost, and the list of records is written less often than that.
func TestConcurrentRecordsAreAllListed(t *testing.T) {
	s := registrytest.New(t, registrytest.Distribution)
	image := s.Push("app", registrytest.Image("amd64", registrytest.Layer(1, 10)), "1")
	w := writer(registry.Options{})
	s.Reset()
	var group errgroup.Group
	for i := range 12 {
		group.Go(func() error { return w.Place(t.Context(), bundle(image.Digest, i), image.Repo) })
		group.Go(func() error { return w.Place(t.Context(), signature(image.Digest, i), image.Repo) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	got, err := reader().Attached(t.Context(), image)
	if err != nil || len(got) != 24 {
		t.Errorf("%d records, %v", len(got), err)
	}
}

// Two processes know nothing of each other's locks.
func TestAnUpdateThatAnotherProcessOverwroteIsMadeAgain(t *testing.T) {
	s := registrytest.New(t, registrytest.Distribution)
	image := s.Push("app", registrytest.Image("amd64", registrytest.Layer(1, 10)), "1")
	if err := writer(registry.Options{}).Place(t.Context(), bundle(image.Digest, 1), image.Repo); err != nil {
		t.Fatal(err)
	}
	list := "/v2/app/manifests/sha256-" + image.Digest.Hex()
	before := get(t, s, list)
	var writes atomic.Int64
	rude := registrytest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.Traffic.ServeHTTP(w, r)
		if r.Method == http.MethodPut && r.URL.Path == list && writes.Add(1) == 1 { // somebody puts the old list back
			req, _ := http.NewRequest(http.MethodPut, "http://"+s.Host+list, strings.NewReader(before))
			req.Header.Set("Content-Type", "application/vnd.oci.image.index.v1+json")
			if resp, err := http.DefaultClient.Do(req); err == nil {
				_ = resp.Body.Close()
			}
		}
	}))
	if err := writer(registry.Options{}).Place(t.Context(), bundle(image.Digest, 2), rude.Repo("app")); err != nil {
		t.Fatal(err)
	}
	got, err := reader().Attached(t.Context(), image)
	if err != nil || len(got) != 2 || writes.Load() != 2 {
		t.Errorf("%d records after %d writes, %v", len(got), writes.Load(), err)
	}
}

func get(t *testing.T, s *registrytest.Server, path string) string {
	t.Helper()
	req, _ := http.NewRequest(http.MethodGet, "http://"+s.Host+path, nil)
	req.Header.Set("Accept", "application/vnd.oci.image.index.v1+json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return string(body)
}

func TestDeletedRecordsAreNoLongerListed(t *testing.T) {
	everywhere(t, func(t *testing.T, s *registrytest.Server) {
		image := s.Push("app", registrytest.Image("amd64", registrytest.Layer(1, 10)), "1")
		w := writer(registry.Options{})
		for i := range 2 {
			if err := w.Place(t.Context(), bundle(image.Digest, i), image.Repo); err != nil {
				t.Fatal(err)
			}
		}
		for left := 1; left >= 0; left-- {
			records, err := reader().Attached(t.Context(), image)
			if err != nil || len(records) != left+1 {
				t.Fatalf("%d records, %v", len(records), err)
			}
			// a process that knows nothing of the registry yet
			if err := writer(registry.Options{}).Delete(t.Context(), reconcile.Image{Repo: image.Repo, Digest: records[0].At}, image.Digest); err != nil {
				t.Fatal(err)
			}
		}
		fresh := reader()
		records, err := fresh.Attached(t.Context(), image)
		if err != nil || len(records) != 0 {
			t.Errorf("%v, %v", strip(records), err)
		}
		tags, err := fresh.Tags(t.Context(), image.Repo)
		if _, list := tags[tag(t, "sha256-"+image.Digest.Hex())]; err != nil || list {
			t.Errorf("the empty list is still there: %v, %v", tags, err)
		}
	})
}

func TestPlacingIsLean(t *testing.T) {
	without := registrytest.New(t, registrytest.Distribution)
	image := without.Push("app", registrytest.Image("amd64", registrytest.Layer(1, 10)), "1")
	// a registry with the referrers API says so in its answer
	with := registrytest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") {
			w.Header().Set("OCI-Subject", image.Digest.String())
		}
		without.Traffic.ServeHTTP(w, r)
	}))
	for name, c := range map[string]struct {
		server *registrytest.Server
		most   int
	}{"with the API": {with, 3}, "without the API": {without, 6}} {
		t.Run(name, func(t *testing.T) {
			w := writer(registry.Options{})
			if err := w.Place(t.Context(), bundle(image.Digest, 1), c.server.Repo("app")); err != nil { // reads the subject, writes {}
				t.Fatal(err)
			}
			c.server.Reset()
			if err := w.Place(t.Context(), bundle(image.Digest, 2), c.server.Repo("app")); err != nil {
				t.Fatal(err)
			}
			if n := c.server.Count("", ""); n > c.most {
				t.Errorf("%d requests, more than %d: %v", n, c.most, c.server.Summary())
			}
		})
	}
}

func TestRecordsThatCannotBeReadAreAnErrorAndNeverNone(t *testing.T) {
	d := "sha256:" + strings.Repeat("a", 64)
	tagged := "GET /v2/app/manifests/sha256-" + strings.Repeat("a", 64)
	api := "GET /v2/app/referrers/" + d
	index := "application/vnd.oci.image.index.v1+json"
	listing := `{"schemaVersion":2,"mediaType":"` + index + `","manifests":[{"mediaType":"` + ociManifestType + `","artifactType":"` + bundleType + `","digest":"sha256:` + strings.Repeat("b", 64) + `","size":10}]}`
	big, _ := json.Marshal(map[string]any{"schemaVersion": 2, "config": map[string]any{"mediaType": "x/y", "digest": d, "size": 2},
		"layers": []any{map[string]any{"mediaType": "x/y", "digest": d, "size": 2 << 20}}})
	for name, a := range map[string]answers{
		"forbidden signatures":   {tagged + ".sig": says(403, jsonType, `{}`)},
		"a web page":             {tagged + ".sig": says(200, "text/html", `<html>`)},
		"forbidden referrers":    {api: says(403, jsonType, `{}`)},
		"a strange list":         {api: says(200, jsonType, `{"hello":1}`)},
		"a forbidden list":       {tagged: says(403, jsonType, `{}`)},
		"a forbidden record":     {api: says(200, index, listing), "GET /v2/app/manifests/sha256:" + strings.Repeat("b", 64): says(403, jsonType, "{}")},
		"a list that is none":    {tagged: says(200, ociManifestType, string(big))},
		"an index of signatures": {tagged + ".sig": says(200, index, listing)},
		"an oversize signature":  {tagged + ".sig": says(200, ociManifestType, string(big))},
		"a page that is missing": {api: says(200, index, listing, "Link", `</v2/app/other?page=2>; rel="next"`)},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, a)
			records, err := reader().Attached(t.Context(), reconcile.Image{Repo: s.Repo("app"), Digest: reconcile.MustDigest(d)})
			if err == nil {
				t.Errorf("no error, records %v", records)
			}
		})
	}
}

func TestOddWaysOfHavingNoRecords(t *testing.T) {
	manifest := `{"schemaVersion":2,"config":{"mediaType":"x/y","digest":"sha256:` + strings.Repeat("a", 64) + `","size":2}}`
	d := sha([]byte(manifest))
	api, tagged := "GET /v2/app/referrers/"+d.String(), "GET /v2/app/manifests/sha256-"+d.Hex()
	for name, a := range map[string]answers{
		"a web page that isn't found": {api: says(404, "text/html", "<html>")},
		"a web page":                  {api: says(200, "text/html", "<html>")},
		"a method that isn't allowed": {api: says(405, jsonType, `{"errors":[{"code":"UNSUPPORTED"}]}`)},
		"a tag that is the image":     {tagged: says(200, ociManifestType, manifest)},
		"no repository":               {api: says(404, jsonType, `{"errors":[{"code":"NAME_UNKNOWN"}]}`)},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, a)
			records, err := reader().Attached(t.Context(), reconcile.Image{Repo: s.Repo("app"), Digest: d})
			if err != nil || len(records) != 0 {
				t.Errorf("%v, %v", records, err)
			}
		})
	}
}

func TestReferrersAreReadPageByPage(t *testing.T) {
	s := registrytest.New(t, registrytest.Distribution)
	image := s.Push("app", registrytest.Image("amd64", registrytest.Layer(1, 10)), "1")
	w := writer(registry.Options{})
	for i := range 5 {
		if err := w.Place(t.Context(), bundle(image.Digest, i), image.Repo); err != nil {
			t.Fatal(err)
		}
	}
	var list struct{ Manifests []json.RawMessage }
	if err := json.Unmarshal([]byte(get(t, s, "/v2/app/manifests/sha256-"+image.Digest.Hex())), &list); err != nil || len(list.Manifests) != 5 {
		t.Fatal(err, list)
	}
	paged := registrytest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, "/referrers/") {
			s.Traffic.ServeHTTP(w, r)
			return
		}
		page := len(r.URL.Query().Get("page"))
		if page < 4 {
			w.Header().Set("Link", fmt.Sprintf(`<%s?page=%s>; rel="next"`, r.URL.Path, strings.Repeat("x", page+1)))
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		_, _ = fmt.Fprintf(w, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[%s]}`, list.Manifests[page])
	}))
	records, err := reader().Attached(t.Context(), reconcile.Image{Repo: paged.Repo("app"), Digest: image.Digest})
	if err != nil || len(records) != 5 {
		t.Errorf("%d records, %v", len(records), err)
	}
}

func TestAListThatNamesWhatIsGoneHeals(t *testing.T) {
	everywhere(t, func(t *testing.T, s *registrytest.Server) {
		image := s.Push("app", registrytest.Image("amd64", registrytest.Layer(1, 10)), "1")
		w := writer(registry.Options{})
		if err := w.Place(t.Context(), bundle(image.Digest, 1), image.Repo); err != nil {
			t.Fatal(err)
		}
		found, err := w.Attached(t.Context(), image)
		if err != nil || len(found) != 1 {
			t.Fatalf("%v, %v", found, err)
		}
		// as another tool deletes it: the list still names it
		if err := w.Delete(t.Context(), reconcile.Image{Repo: image.Repo, Digest: found[0].At}, reconcile.Digest{}); err != nil {
			t.Fatal(err)
		}
		fresh := writer(registry.Options{})
		if left, err := fresh.Attached(t.Context(), image); err != nil || len(left) != 0 {
			t.Fatalf("a record that is gone: %v, %v", left, err)
		}
		if err := fresh.Place(t.Context(), bundle(image.Digest, 2), image.Repo); err != nil {
			t.Fatal(err)
		}
		if now, err := writer(registry.Options{}).Attached(t.Context(), image); err != nil || len(now) != 1 {
			t.Errorf("%v, %v", now, err)
		}
	})
}
