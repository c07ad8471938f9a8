package test

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
	"github.com/assay-oci/assay/reconcile/sign"
)

// fill commits some images of two platforms, which share base layers, each with two tags. It returns their digests by name.
func (w *world) fill(images int) map[string]string {
	w.t.Helper()
	files, digests := map[string]string{}, map[string]string{}
	var base []v1.Layer
	for i := range uint64(4) {
		base = append(base, registrytest.Layer(i+1, 5_000))
	}
	for i := range images {
		name, seed := fmt.Sprintf("app%d", i), uint64(10*i+10)
		idx := registrytest.Index(false, base, registrytest.Layer(seed, 3_000), registrytest.Layer(seed+1, 3_000))
		digests[name] = w.source.Push(name, idx, "1.0").Digest.String()
		files[name+".hcl"] = w.image(name, "1.0 "+digests[name]+" stable")
	}
	w.commit(files)
	w.reset()
	return digests
}

func (w *world) expectRequests(s *registrytest.Server, want map[string]int) {
	w.t.Helper()
	if got := s.Summary(); !maps.Equal(got, want) {
		w.t.Errorf("requests: %v, want %v", got, want)
	}
}

func TestARunWithNothingToDoListsTagsAndAsksForEach(t *testing.T) {
	w := newWorld(t, registrytest.Distribution)
	w.signing = false
	w.fill(3)
	w.run(0, "reconcile")
	for _, command := range []string{"reconcile", "plan"} {
		for _, cold := range []bool{false, true} {
			if cold {
				w.dropCache()
			}
			w.reset()
			w.run(0, command)
			for _, s := range []*registrytest.Server{w.eu, w.us} {
				w.expectRequests(s, map[string]int{"GET tags": 3, "HEAD manifest": 6})
			}
			w.expectRequests(w.source, map[string]int{})
		}
	}
}

// With signatures a run looks for the records of each signed manifest too (decision record 0005): one request for the tag of cosign's
// first format, a GET, since only a 404 that says why is proof that there is no signature; and one for the referrers, which are a tag
// where the registry has no API for them. Whether it has one is asked anew in each run, by as many as ask at the same time.
func TestARunWithNothingToDoAsksForRecordsOnce(t *testing.T) {
	const repos, tags, signed = 3, 6, 9 // an index and two platforms each
	for _, software := range []registrytest.Software{registrytest.Distribution, registrytest.Referrers} {
		for _, formats := range []string{`["legacy"]`, `["bundle"]`, `["legacy", "bundle"]`} {
			t.Run(string(software)+formats, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, software)
				w.signing = false
				w.extra = fmt.Sprintf("signer \"main\" {\n  key = %q\n  formats = %s\n}\n", filepath.Join(w.dir, "cosign.key"), formats)
				w.fill(repos)
				w.run(0, "reconcile")
				w.run(0, "plan") // reads the records that the first run wrote, and keeps them
				w.reset()
				if o := w.run(0, "reconcile"); !strings.Contains(o.stdout, "Nothing to do") {
					t.Errorf("%s", o.stdout)
				}
				want := map[string]int{"GET tags": repos, "HEAD manifest": tags, "GET manifest": signed, "GET referrers": signed}
				for _, s := range []*registrytest.Server{w.eu, w.us} {
					if software == registrytest.Distribution {
						want["GET manifest"] = 2 * signed
						asked := s.Count("GET", "referrers")
						if asked < 1 || asked > signed {
							t.Errorf("%d requests for referrers", asked)
						}
						want["GET referrers"] = asked
					}
					w.expectRequests(s, want)
				}
				w.expectRequests(w.source, map[string]int{})
			})
		}
	}
}

// minimum is the fewest requests that a first copy of images without signatures can be done with: at the source and at a target.
func (w *world) minimum(digests map[string]string, tagsEach int) (source, target int) {
	w.t.Helper()
	read := map[reconcile.Digest]bool{}   // from the source
	stored := map[reconcile.Digest]bool{} // by the target, in any repository
	for name, digest := range digests {
		tree, err := reader().Tree(context.Background(), reconcile.Image{Repo: w.source.Repo(name), Digest: reconcile.MustDigest(digest)})
		if err != nil {
			w.t.Fatal(err)
		}
		target += 1 + tagsEach // the tag list, and a PUT for each tag
		here := map[reconcile.Digest]bool{}
		for _, m := range tree.Manifests {
			read[m.Digest] = true
			target++ // PUT
			for _, b := range m.Blobs {
				read[b.Digest] = true
				switch {
				case here[b.Digest]:
				case stored[b.Digest]:
					target++ // POST, a mount
				default:
					target += 2 // POST and PUT
				}
				here[b.Digest], stored[b.Digest] = true, true
			}
		}
	}
	return len(read), target
}

func TestAFirstCopyCostsHardlyMoreThanItMust(t *testing.T) {
	for _, software := range []registrytest.Software{registrytest.Distribution, registrytest.Debian} {
		t.Run(string(software), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, software)
			w.signing = false
			digests := w.fill(12)
			atSource, atTarget := w.minimum(digests, 2)
			w.reset()
			w.run(0, "reconcile")
			if got := len(w.source.Requests()); got != atSource {
				t.Errorf("%d requests to the source, want %d: %v", got, atSource, w.source.Summary())
			}
			moved := map[string]int{}
			for _, r := range w.source.Requests() {
				moved[r.Path[strings.LastIndexByte(r.Path, '/'):]]++
			}
			for what, n := range moved {
				if n > 1 {
					t.Errorf("%s was read %d times", what, n)
				}
			}
			total := len(w.source.Requests()) + len(w.eu.Requests()) + len(w.us.Requests())
			limit := 1.10 * float64(atSource+2*atTarget)
			t.Logf("%d requests; the minimum is %d", total, atSource+2*atTarget)
			for _, s := range []*registrytest.Server{w.eu, w.us} { // what a tag names is looked at right before it is written
				if n := s.Count("HEAD", ""); n != 2*len(digests) {
					t.Errorf("%d HEADs for %d tags", n, 2*len(digests))
				}
			}
			if float64(total) > limit {
				t.Errorf("%d requests, more than %.0f; source %v, eu %v (minimum %d), us %v", total, limit, w.source.Summary(), w.eu.Summary(), atTarget, w.us.Summary())
			}
			for name, s := range map[string]*registrytest.Server{"source": w.source, "eu": w.eu, "us": w.us} {
				if n := s.Connections(); n > 64 {
					t.Errorf("%d connections to %s", n, name)
				}
			}
		})
	}
}

// go-containerregistry's registry mounts nothing, so every repository gets its own copy of a shared layer; still from one reading.
func TestBlobsAreReadOnceWhereNothingCanBeMounted(t *testing.T) {
	w := newWorld(t, registrytest.Google)
	w.signing = false
	atSource, _ := w.minimum(w.fill(12), 2)
	w.reset()
	w.run(0, "reconcile")
	if got := len(w.source.Requests()); got != atSource {
		t.Errorf("%d requests to the source, want %d: %v", got, atSource, w.source.Summary())
	}
}

func TestATokenIsAskedForOncePerScope(t *testing.T) {
	w := newWorld(t, registrytest.Distribution)
	w.fill(4)
	guards := map[*registrytest.Server]*registrytest.Guard{}
	var auths []string
	for _, s := range []*registrytest.Server{w.source, w.eu, w.us} {
		guards[s] = &registrytest.Guard{User: "user", Password: "word"}
		s.Protect(guards[s])
		auths = append(auths, fmt.Sprintf(`%q: {"auth": %q}`, s.Host, base64.StdEncoding.EncodeToString([]byte("user:word"))))
	}
	if err := os.MkdirAll(filepath.Join(w.dir, ".docker"), 0o700); err != nil {
		t.Fatal(err)
	}
	w.write("../.docker/config.json", `{"auths": {`+strings.Join(auths, ", ")+`}}`)
	o := w.run(0, "reconcile")
	if strings.Contains(o.stdout+o.stderr, "word") {
		t.Errorf("the password is shown:\n%s%s", o.stdout, o.stderr)
	}
	for s, g := range guards {
		seen := map[string]int{}
		for _, scopes := range g.Issued() {
			seen[scopes]++
			if seen[scopes] == 2 {
				t.Errorf("a token for %q was asked for again: %v", scopes, g.Issued())
			}
		}
		refused := 0
		for _, r := range s.Requests() {
			if r.Status == 401 {
				refused++
			}
		}
		t.Logf("%d tokens, %d requests refused of %d", len(g.Issued()), refused, len(s.Requests()))
		if len(seen) == 0 || refused > len(seen) {
			t.Errorf("%d tokens, but %d requests went without", len(seen), refused)
		}
	}
}

func TestAFewFaultsAreOvercome(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, registrytest.Distribution)
			digests := w.fill(10)
			servers := []*registrytest.Server{w.source, w.eu, w.us}
			for i, s := range servers {
				s.Disturb(registrytest.Faults{Rate: 0.02, Seed: 10*seed + uint64(i) + 1, RetryAfter: "0",
					Kinds: []string{registrytest.Error500, registrytest.Error429, registrytest.Drop}})
			}
			w.run(0, "reconcile")
			struck, all := 0, 0
			for _, s := range servers {
				for _, r := range s.Requests() {
					all++
					if r.Status == 0 || r.Status == 429 || r.Status == 500 {
						struck++
					}
				}
				s.Disturb(registrytest.Faults{})
			}
			if struck < 5 {
				t.Errorf("only %d of %d requests failed: nothing is shown", struck, all)
			}
			t.Logf("%d of %d requests failed", struck, all)
			for name, digest := range digests {
				for _, s := range servers[1:] {
					if got := tags(t, s, "approved/"+name); got["1.0"] != digest || got["stable"] != digest {
						t.Errorf("tags of %s: %v", name, got)
					}
					if bad := w.unsigned(s, "approved/"+name, digest); bad != nil {
						t.Errorf("not signed: %v", bad)
					}
				}
			}
			if o := w.run(0, "plan"); !strings.Contains(o.stdout, "Nothing to do") {
				t.Errorf("something is left:\n%s", o.stdout)
			}
		})
	}
}

// signable is an image of one platform, and a signature in each format and an attestation about it, not placed yet.
func (w *world) signable(s *registrytest.Server, path string, seed uint64) (reconcile.Image, map[string]reconcile.Record) {
	w.t.Helper()
	image := registrytest.Push(w.t, s.Host, path, registrytest.Image("amd64", registrytest.Layer(seed, 100)), fmt.Sprint("v", seed))
	signer, err := sign.New(w.t.Context(), sign.Options{Name: "main", Key: filepath.Join(w.dir, "cosign.key")})
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]reconcile.Record{}
	for name, st := range map[string]reconcile.Statement{
		"legacy signature": {Format: reconcile.Legacy},
		"bundle signature": {Format: reconcile.Bundle},
		"attestation":      {Format: reconcile.Bundle, PredicateType: reconcile.VerdictPredicate, Predicate: `{"verificationResult":"PASSED"}`, About: "app:1"},
	} {
		st.Subject, st.Identity, st.Time = image.Digest, image.Repo, time.Now()
		if out[name], err = signer.Sign(w.t.Context(), st); err != nil {
			w.t.Fatal(err)
		}
	}
	return image, out
}

// What one record costs where others were written to the repository before, and what it costs to read and verify them. These are the numbers in the README
// of the sign package.
func TestWhatASignatureCosts(t *testing.T) {
	dir := t.TempDir()
	writeKey(t, dir)
	placed := []string{"legacy signature", "bundle signature", "attestation"}
	for _, c := range []struct {
		software            registrytest.Software
		place               map[string]map[string]int
		first, again, known map[string]int // to verify all three: as anybody, with their content kept, and by a process that has just written them
	}{
		{registrytest.Referrers, map[string]map[string]int{
			"legacy signature": {"GET manifest": 1, "POST upload": 2, "PUT upload": 2, "PUT manifest": 1, "HEAD manifest": 1},
			"bundle signature": {"POST upload": 1, "PUT upload": 1, "PUT manifest": 1},
			"attestation":      {"POST upload": 1, "PUT upload": 1, "PUT manifest": 1},
		}, map[string]int{"GET manifest": 3, "GET referrers": 1, "GET blob": 3}, map[string]int{"GET manifest": 1, "GET referrers": 1}, map[string]int{"GET manifest": 1, "GET referrers": 1}},
		{registrytest.Distribution, map[string]map[string]int{
			"legacy signature": {"GET manifest": 1, "POST upload": 2, "PUT upload": 2, "PUT manifest": 1, "HEAD manifest": 1},
			"bundle signature": {"POST upload": 1, "PUT upload": 1, "GET manifest": 1, "PUT manifest": 2, "HEAD manifest": 1},
			"attestation":      {"POST upload": 1, "PUT upload": 1, "GET manifest": 1, "PUT manifest": 2, "HEAD manifest": 1},
		}, map[string]int{"GET manifest": 4, "GET referrers": 1, "GET blob": 3}, map[string]int{"GET manifest": 2, "GET referrers": 1}, map[string]int{"GET manifest": 2}},
	} {
		t.Run(string(c.software), func(t *testing.T) {
			s := registrytest.New(t, c.software)
			r := registry.NewReader(registry.Options{CacheDir: t.TempDir()})
			to := registry.NewWriter(r)
			w := &world{t: t, dir: dir}
			place := func(i reconcile.Image, record reconcile.Record) {
				t.Helper()
				if err := to.Place(t.Context(), record, i.Repo); err != nil {
					t.Fatal(err)
				}
			}
			before, records := w.signable(s, "app", 1)
			for _, name := range placed {
				place(before, records[name])
			}
			image, records := w.signable(s, "app", 2)
			if _, err := r.Tree(t.Context(), image); err != nil {
				t.Fatal(err)
			}
			for _, name := range placed {
				s.Reset()
				place(image, records[name])
				t.Logf("place %s: %v", name, s.Summary())
				w.expectRequests(s, c.place[name])
			}

			key, err := sign.ReadPublicKey(filepath.Join(w.dir, "cosign.pub"))
			if err != nil {
				t.Fatal(err)
			}
			cache := t.TempDir()
			for _, v := range []struct {
				who  string
				by   *registry.Reader
				want map[string]int
			}{
				{"first", registry.NewReader(registry.Options{CacheDir: cache}), c.first},
				{"again", registry.NewReader(registry.Options{CacheDir: cache}), c.again},
				{"by who wrote them", r, c.known},
			} {
				s.Reset()
				found, err := sign.NewVerifier(map[string]sign.PublicKey{"main": key}, v.by).Records(t.Context(), image)
				if err != nil || len(found) != 3 || slices.ContainsFunc(found, func(r reconcile.Record) bool { return r.Problem != "" }) {
					t.Fatalf("%v: %+v", err, found)
				}
				t.Logf("verify, %s: %v", v.who, s.Summary())
				w.expectRequests(s, v.want)
			}
		})
	}
}

// What the schedule asks when there is nothing to do: four requests for an image of one platform with one tag.
func TestARunWithNothingToDoOverManySignedImages(t *testing.T) {
	const images = 200
	w := newWorld(t, registrytest.Referrers)
	files := map[string]string{}
	for i := range images {
		name := fmt.Sprintf("app%d", i)
		files[name+".hcl"] = w.image(name, "1.0 "+w.source.Push(name, registrytest.Image("amd64", registrytest.Layer(uint64(i)+1, 100)), "1.0").Digest.String())
	}
	w.commit(files)
	w.run(0, "reconcile")
	w.run(0, "plan") // reads the records that the first run wrote, and keeps them
	w.reset()
	if o := w.run(0, "reconcile"); !strings.Contains(o.stdout, "Nothing to do") {
		t.Errorf("%s", o.stdout)
	}
	for _, s := range []*registrytest.Server{w.eu, w.us} {
		w.expectRequests(s, map[string]int{"GET tags": images, "HEAD manifest": images, "GET manifest": images, "GET referrers": images})
	}
	w.expectRequests(w.source, map[string]int{})
}
