package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
	"github.com/assay-oci/assay/reconcile/registry/serve"
)

func TestInvariant1NothingIsVisibleBeforeItIsSigned(t *testing.T) {
	w := newWorld(t, registrytest.Distribution)
	one := w.push("web", "1.0", 10)
	w.commit(map[string]string{"web.hcl": w.image("web", "1.0 "+one+" stable")})
	w.reset()
	w.run(0, "reconcile")
	for _, s := range []*registrytest.Server{w.eu, w.us} {
		lastRecord, firstTag := -1, -1
		for i, r := range s.Requests() {
			if r.Method != http.MethodPut || r.Kind != "manifest" {
				continue
			}
			_, reference, _ := strings.Cut(r.Path, "/manifests/")
			switch {
			case reference == "1.0" || reference == "stable":
				if firstTag < 0 {
					firstTag = i
				}
			default: // content, records and their lists
				lastRecord = i
			}
		}
		if firstTag < lastRecord || firstTag < 0 {
			t.Errorf("the first tag was written as request %d, the last manifest or record as %d", firstTag, lastRecord)
		}
	}
}

func TestInvariant2DigestsNeverChange(t *testing.T) {
	w := newWorld(t, registrytest.Distribution)
	one := w.push("web", "1.0", 10)
	w.commit(map[string]string{"web.hcl": w.image("web", "1.0 "+one)})
	w.run(0, "reconcile")
	from := reconcile.Image{Repo: w.source.Repo("web"), Digest: reconcile.MustDigest(one)}
	tree, err := reader().Tree(context.Background(), from)
	if err != nil {
		t.Fatal(err)
	}
	attestations := 0
	for _, m := range tree.Manifests {
		there, _, err := reader().Manifest(context.Background(), reconcile.Image{Repo: from.Repo, Digest: m.Digest})
		if err != nil {
			t.Fatal(err)
		}
		here, _, err := reader().Manifest(context.Background(), reconcile.Image{Repo: w.us.Repo("approved/web"), Digest: m.Digest})
		if err != nil || !bytes.Equal(here, there) {
			t.Errorf("%s differs: %v", m.Digest, err)
		}
		if !m.Index() && !m.Platform.Runnable() {
			attestations++
		}
	}
	if attestations != 2 || len(tree.Manifests) != 5 {
		t.Errorf("%d manifests, %d of them attestations", len(tree.Manifests), attestations)
	}
}

func TestInvariant3EveryBlobIsReadOnce(t *testing.T) {
	w := newWorld(t, registrytest.Distribution)
	files := map[string]string{}
	for i := range 4 { // they share a base layer
		name := fmt.Sprintf("app%d", i)
		files[name+".hcl"] = w.image(name, "1.0 "+w.push(name, "1.0", uint64(10*i+10)))
	}
	w.commit(files)
	w.reset()
	w.run(0, "reconcile")
	seen := map[string]int{}
	for _, r := range w.source.Requests() {
		if r.Kind == "blob" || r.Kind == "manifest" {
			_, digest, _ := strings.Cut(r.Path, "sha256:")
			seen[digest]++
		}
	}
	for digest, n := range seen {
		if n != 1 {
			t.Errorf("%s was read %d times for two registries", digest, n)
		}
	}
	uploaded := map[string]int{}
	for _, r := range w.eu.Requests() {
		if r.Method == http.MethodPut && r.Kind == "upload" {
			_, digest, _ := strings.Cut(r.Query, "sha256%3A")
			uploaded[digest]++
		}
	}
	for digest, n := range uploaded {
		if n != 1 && !strings.HasPrefix(digest, "44136fa355b3678a") { // the empty configuration of records, {}
			t.Errorf("%s was uploaded %d times to one registry", digest, n)
		}
	}
}

func TestInvariant4AHeldImageCostsItsSourceNothing(t *testing.T) {
	w := newWorld(t, registrytest.Distribution)
	one, two := w.push("web", "1.0", 10), w.push("web", "1.1", 20)
	w.commit(map[string]string{"web.hcl": w.image("web", "1.0 "+one, "1.1 "+two)})
	w.run(0, "reconcile")
	// lost in one registry: it comes from the other one. A new tag: it is there already.
	for _, m := range []string{"1.0"} {
		registrytest.Push(t, w.us.Host, "approved/web", registrytest.Image("amd64", registrytest.Layer(7, 10)), m)
	}
	w.commit(map[string]string{"web.hcl": w.image("web", "1.0 "+one+" lts", "1.1 "+two)})
	w.source.Stop()
	w.dropCache()
	w.run(0, "reconcile")
	if got := tags(t, w.us, "approved/web"); got["1.0"] != one || got["lts"] != one {
		t.Errorf("tags: %v", got)
	}
}

func TestInvariant5DeletionNeedsPositiveProof(t *testing.T) {
	build := func(t *testing.T) (w *world, one string) {
		w = newWorld(t, registrytest.Distribution)
		w.extra = "prune {\n  limit = 2\n  grace = \"1h\"\n}\n"
		one = w.push("web", "1.0", 10)
		w.commit(map[string]string{"web.hcl": w.image("web", "1.0 "+one)})
		w.run(0, "reconcile")
		return w, one
	}
	foreign := func(w *world, n int) {
		for i := range n {
			img := registrytest.Image("amd64", registrytest.Layer(uint64(50+i), 100))
			registrytest.Push(w.t, w.eu.Host, "approved/web", img, fmt.Sprintf("hack%d", i))
		}
	}
	t.Run("a list that can't be read", func(t *testing.T) {
		w, _ := build(t)
		foreign(w, 1)
		w.eu.Disturb(registrytest.Faults{Rate: 1, Kinds: []string{registrytest.Error500}})
		o := w.run(4, "reconcile")
		w.eu.Disturb(registrytest.Faults{})
		if got := tags(t, w.eu, "approved/web"); len(got) != 2 {
			t.Errorf("tags: %v", got)
		}
		if !strings.Contains(o.stdout, "Could not be read") {
			t.Errorf("the gap is not reported:\n%s", o.stdout)
		}
	})
	t.Run("an empty catalog", func(t *testing.T) {
		w, one := build(t)
		w.commit(map[string]string{})
		o := w.run(3, "reconcile")
		if got := tags(t, w.eu, "approved/web"); got["1.0"] != one || !strings.Contains(o.stdout, "approves no image at all") {
			t.Errorf("tags: %v\n%s", got, o.stdout)
		}
	})
	t.Run("more than the limit", func(t *testing.T) {
		w, _ := build(t)
		foreign(w, 3)
		o := w.run(3, "reconcile")
		if got := tags(t, w.eu, "approved/web"); len(got) != 4 || !strings.Contains(o.stdout, "more than the limit of 2") {
			t.Errorf("tags: %v\n%s", got, o.stdout)
		}
	})
	t.Run("absence takes the tags first", func(t *testing.T) {
		w, one := build(t)
		two := w.push("web", "2.0", 30)
		w.commit(map[string]string{"web.hcl": w.image("web", "2.0 "+two)})
		w.run(0, "reconcile")
		if got := fmt.Sprint(tags(t, w.eu, "approved/web")); got != "map[2.0:"+two+"]" || !holds(t, w.eu, "approved/web", one) {
			t.Errorf("tags: %v, content held: %v", got, holds(t, w.eu, "approved/web", one))
		}
		w.run(0, "reconcile")
		if !holds(t, w.eu, "approved/web", one) {
			t.Error("deleted within the grace period")
		}
	})
}

func TestInvariant6OneBadEntryStopsItselfAlone(t *testing.T) {
	w := newWorld(t, registrytest.Distribution)
	w.extra = ""
	good := w.push("web", "1.0", 10)
	w.commit(map[string]string{
		"web.hcl":     w.image("web", "1.0 "+good),
		"broken.hcl":  w.image("broken", "1.0 sha256:nonsense"),
		"missing.hcl": w.image("missing", "1.0 sha256:"+strings.Repeat("ab", 32)),
		"evil.hcl":    strings.ReplaceAll(w.image("evil", "1.0 "+good), w.source.Host, "quay.io/evil"),
	})
	o := w.run(3, "reconcile")
	for _, s := range []*registrytest.Server{w.eu, w.us} {
		if got := fmt.Sprint(tags(t, s, "approved/web")); got != "map[1.0:"+good+"]" {
			t.Errorf("the sound entry: %v", got)
		}
	}
	for _, name := range []string{"broken.hcl:", "missing.hcl:", "evil.hcl:"} {
		if !strings.Contains(o.stdout, name) {
			t.Errorf("%s is not named:\n%s", name, o.stdout)
		}
	}
}

// killer is a registry that kills the process that writes to it, at a chosen write.
type killer struct {
	next   http.Handler
	mu     sync.Mutex
	writes int
	at     int // -1: never
	kill   func()
	before func() // called before each write
	active sync.WaitGroup
}

func (k *killer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.active.Add(1)
	defer k.active.Done()
	write := (r.Method == http.MethodPut || r.Method == http.MethodDelete) && strings.Contains(r.URL.Path, "/manifests/")
	if write {
		k.mu.Lock()
		n := k.writes
		k.writes++
		if k.at >= 0 && n >= k.at {
			k.kill()
			k.mu.Unlock()
			panic(http.ErrAbortHandler)
		}
		if k.before != nil {
			k.before()
		}
		k.mu.Unlock()
	}
	k.next.ServeHTTP(w, r)
}

func (k *killer) arm(at int, kill func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.writes, k.at, k.kill = 0, at, kill
}

// newKiller is a registry as both targets of a world, so that one counter sees all writes.
func newKiller(t *testing.T) (*killer, *world) {
	t.Helper()
	h, stop, err := serve.Handler("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	k := &killer{next: h, at: -1}
	s := registrytest.Start(t, k)
	w := newWorldOn(t, s, registrytest.New(t, registrytest.Distribution))
	return k, w
}

func TestInvariant7KilledAtAnyWriteAndRunAgain(t *testing.T) {
	k, w := newKiller(t)
	one, two, three := w.push("web", "1.0", 10), w.push("web", "1.1", 20), w.push("web", "1.2", 30)
	story := func() {
		w.commit(map[string]string{"web.hcl": w.image("web", "1.0 "+one+" stable", "1.2 "+three)})
		w.run(0, "reconcile")
		w.commit(map[string]string{"web.hcl": w.image("web", "1.1 "+two+" stable", "1.2 "+three) + fmt.Sprintf("revoke \"web\" {\n  digest = %q\n  reason = \"CVE-2026-1234\"\n}\n", one)})
	}
	visible := func() string {
		return fmt.Sprint(tags(t, w.eu, "approved/web"), holds(t, w.eu, "approved/web", one), len(recordTags(t, w.eu, "approved/web")))
	}
	story()
	k.arm(-1, nil)
	w.run(0, "reconcile")
	writes, want := k.writes, visible()
	if writes < 15 {
		t.Fatalf("only %d writes", writes)
	}
	for n := range writes {
		w.clear("eu", one, two, three)
		story()
		cmd := w.command("reconcile", "--catalog", w.catalog(), "--cache", w.cache())
		k.arm(n, func() { _ = cmd.Process.Kill() })
		if err := cmd.Run(); err == nil {
			t.Fatalf("write %d: the process was not killed", n)
		}
		k.active.Wait() // what was on its way when the process died
		k.arm(-1, nil)
		for tag, digest := range tags(t, w.eu, "approved/web") {
			if bad := w.unsigned(w.eu, "approved/web", digest); bad != nil {
				t.Errorf("killed at write %d: %s is visible, and %v", n, tag, bad)
			}
		}
		w.run(0, "reconcile")
		if got := visible(); got != want {
			t.Errorf("killed at write %d, run again:\n%s\nwant\n%s", n, got, want)
		}
	}
	t.Logf("killed at each of %d writes", writes)
}

// clear takes everything that earlier rounds left from a registry.
func (w *world) clear(_ string, digests ...string) {
	w.t.Helper()
	for _, tag := range append(recordTags(w.t, w.eu, "approved/web"), keys(tags(w.t, w.eu, "approved/web"))...) {
		w.delete("/v2/approved/web/manifests/" + tag)
	}
	for _, d := range digests {
		w.delete("/v2/approved/web/manifests/" + d)
	}
}

func (w *world) delete(path string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodDelete, "http://"+w.eu.Host+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	resp.Body.Close()
}

func keys(m map[string]string) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func TestInvariant7AnOldCommitRacingANewerOne(t *testing.T) {
	k, w := newKiller(t)
	one, two := w.push("web", "1.0", 10), w.push("web", "1.1", 20)
	w.commit(map[string]string{"web.hcl": w.image("web", "1.0 "+one+" stable")})
	reached, release := make(chan struct{}), make(chan struct{})
	first := true
	k.mu.Lock()
	k.before = func() { // with the lock held
		if first {
			first = false
			k.mu.Unlock()
			close(reached)
			<-release
			k.mu.Lock()
		}
	}
	k.mu.Unlock()
	type ended struct {
		out []byte
		err error
	}
	old := make(chan ended, 1)
	go func() {
		out, err := w.command("reconcile", "--catalog", w.catalog(), "--cache", w.cache()).CombinedOutput()
		old <- ended{out, err}
	}()
	<-reached // the old run is in the middle of its first write
	w.commit(map[string]string{"web.hcl": w.image("web", "1.1 "+two+" stable")})
	w.run(0, "reconcile")
	close(release)
	e := <-old
	var exit *exec.ExitError
	if !errors.As(e.err, &exit) || exit.ExitCode() != 4 || !strings.Contains(string(e.out), "the catalog has moved on") {
		t.Errorf("the old run: %v\n%s", e.err, e.out)
	}
	if got := fmt.Sprint(tags(t, w.eu, "approved/web")); got != fmt.Sprintf("map[1.1:%s stable:%s]", two, two) {
		t.Errorf("tags: %s", got)
	}
	w.run(0, "reconcile")
	if got := fmt.Sprint(tags(t, w.eu, "approved/web")); got != fmt.Sprintf("map[1.1:%s stable:%s]", two, two) {
		t.Errorf("tags at the end: %s", got)
	}
}

func TestInvariant8APullRequestCannotLoosenWhatJudgesIt(t *testing.T) {
	w := newWorld(t, registrytest.Distribution)
	one := w.push("web", "1.0", 10)
	w.commit(map[string]string{"web.hcl": w.image("web", "1.0 "+one)})
	w.run(0, "reconcile")
	w.git("-C", w.catalog(), "checkout", "-q", "-b", "request")
	evil := registrytest.New(t, registrytest.Distribution)
	img := evil.Push("evil", registrytest.Image("amd64", registrytest.Layer(3, 10)), "1.0")
	request := fmt.Sprintf("image \"evil\" {\n  source = \"%s/evil\"\n  version \"1.0\" {\n    digest = %q\n  }\n}\n", evil.Host, img.Digest)
	loosened := strings.ReplaceAll(w.organization(), w.source.Host+"/**", evil.Host+"/**")
	w.commit(map[string]string{"web.hcl": w.image("web", "1.0 "+one), "evil.hcl": request})
	w.write("catalog.hcl", loosened)
	w.git("-C", w.catalog(), "commit", "-q", "-am", "loosen")
	evil.Reset()
	o := w.assay("plan", "--catalog", w.catalog(), "--cache", w.cache(), "--ref", "request", "--base", "main")
	if o.code != 3 || !strings.Contains(o.stdout, "evil:1.0") || !strings.Contains(o.stdout, "sources") {
		t.Errorf("exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	if !strings.Contains(o.stdout, "policy-change") {
		t.Errorf("the change of policy is not called out:\n%s", o.stdout)
	}
	if n := len(evil.Requests()); n != 0 {
		t.Errorf("a source that only the pull request allows was asked %d times", n)
	}
}
