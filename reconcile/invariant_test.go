package reconcile

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// state of a world as far as its users can see it.
func (w *world) visible() string {
	var out []string
	for r, tags := range w.tags {
		for t, d := range tags {
			out = append(out, fmt.Sprintf("%s:%s %s", r, t, d))
		}
	}
	for i := range w.held {
		out = append(out, fmt.Sprintf("%s records %d", i, len(w.records[i])))
	}
	for i, others := range w.beside {
		out = append(out, fmt.Sprintf("%s others %d", i, len(others)))
	}
	sortBy(out, func(s string) string { return s })
	return strings.Join(out, "\n")
}

// unsigned lists the tags of the targets that name something that isn't scanned, signed and attested in every format and platform, or lacks what
// travels with it.
func (w *world) unsigned(d Desired) []string {
	var out []string
	for _, wa := range d.Wants {
		tree := w.trees[wa.From.Digest]
		for _, to := range wa.To {
			for t, at := range w.tags[to.Repo] {
				if at != wa.From.Digest {
					continue
				}
				for _, m := range tree.Signed() {
					need := 2
					if m != tree.Root {
						need = 3
					}
					if got := len(w.records[Image{to.Repo, m}]); got < need {
						out = append(out, fmt.Sprintf("%s:%s has %d of %d records on %s", to.Repo, t, got, need, m.Short()))
					}
					if was := w.beside[Image{wa.From.Repo, m}]; wa.UpstreamRecords && len(w.beside[Image{to.Repo, m}]) < len(was) {
						out = append(out, fmt.Sprintf("%s:%s lacks what others signed of %s", to.Repo, t, m.Short()))
					}
				}
			}
		}
	}
	return out
}

func TestInvariant1And7DyingAtAnyWriteLeavesADifferenceForTheNextRun(t *testing.T) {
	died := errors.New("killed")
	build := func() (*world, Desired) {
		w := newWorld()
		d := scene(w)
		d.Wants = []Want{want(d, w.index("docker.io/library/nginx", "nginx-1"), "nginx", "1.0", "stable")}
		Reconcile(context.Background(), d, Observed{}, w.sensors(), w.effects(), now)
		next := want(d, w.index("docker.io/library/nginx", "nginx-2"), "nginx", "2.0", "stable")
		next.UpstreamRecords, d.UpstreamRecords = true, true
		w.attach(next.From)
		w.beside[Image{next.To[0].Repo, d.Wants[0].From.Digest}] = []Attachment{{At: sum("of the old one")}}
		d.Revoked = []Revocation{{Name: "nginx", Digest: d.Wants[0].From.Digest, Reason: "CVE-1", From: d.Wants[0].From.Repo, Repos: []Repo{next.To[0].Repo, next.To[1].Repo}}}
		d.Wants = []Want{next, want(d, w.index("docker.io/library/redis", "redis"), "redis", "7")}
		w.tags[next.To[0].Repo][tag("hack")] = w.hold(next.To[0].Repo.String(), "foreign")
		w.writes = nil
		return w, d
	}
	w, d := build()
	run1(t, w, d)
	wanted, writes := w.visible(), len(w.writes)
	if writes < 40 {
		t.Fatalf("only %d writes", writes)
	}
	for n := range writes {
		w, d := build()
		w.onWrite = func(i int) error {
			if bad := w.unsigned(d); len(bad) > 0 {
				t.Errorf("before write %d: %v", i, bad)
			}
			if i >= n {
				return died
			}
			return nil
		}
		run1(t, w, d)
		if bad := w.unsigned(d); len(bad) > 0 {
			t.Fatalf("killed at write %d: %v", n, bad)
		}
		w.onWrite = nil
		run1(t, w, d)
		if got := w.visible(); got != wanted {
			t.Fatalf("killed at write %d, run again:\n%s\nwant\n%s", n, got, wanted)
		}
	}
}

func TestInvariant7AnOldRunDoesNotUndoANewerOne(t *testing.T) {
	for range 20 {
		w := newWorld()
		d := scene(w)
		old := d
		old.Commit = "old"
		old.Wants = []Want{want(d, w.index("docker.io/library/nginx", "nginx-1"), "nginx", "1.0", "stable")}
		newer := d
		newer.Commit = "new"
		newer.Wants = []Want{want(d, w.index("docker.io/library/nginx", "nginx-2"), "nginx", "2.0", "stable")}
		w.tip = "old"
		moved := rand.IntN(30)
		w.onWrite = func(i int) error {
			if i >= moved {
				w.tip = "new"
			}
			return nil
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			Reconcile(context.Background(), old, Observed{}, w.sensors(), w.effects(), now)
		}()
		<-done
		w.mu.Lock()
		w.tip = "new"
		w.mu.Unlock()
		Reconcile(context.Background(), newer, Observed{}, w.sensors(), w.effects(), now)
		Reconcile(context.Background(), old, Observed{}, w.sensors(), w.effects(), now) // late
		for _, to := range newer.Wants[0].To {
			if got := w.tags[to.Repo][tag("stable")]; got != sum("nginx-2") {
				t.Fatalf("stable names %s in %s", got, to.Repo)
			}
			if _, ok := w.tags[to.Repo][tag("1.0")]; ok {
				t.Fatalf("the old version is tagged in %s", to.Repo)
			}
		}
	}
}

func TestInvariant5AnythingUnreadNothingDeleted(t *testing.T) {
	build := func() (*world, Desired) {
		w, d := settledWorld(t)
		d.Prune.Absent = true
		d.Prune.Grace = time.Hour
		gone := want(d, w.index("docker.io/library/old", "old"), "old", "1")
		keep := d.Wants[0]
		d.Wants = append(d.Wants, gone)
		run1(t, w, d)
		d.Wants = []Want{keep}
		d.Revoked = []Revocation{{Name: "nginx", Digest: w.hold("eu.example.com/approved/nginx", "bad"), Reason: "x", Repos: []Repo{repo("eu.example.com/approved/nginx")}}}
		w.tags[repo("eu.example.com/approved/nginx")][tag("bad")] = sum("bad")
		w.asked = nil
		return w, d
	}
	w, d := build()
	p := preview(t, w, d)
	if got := kinds(p); got != "untag 2, delete 1" {
		t.Fatalf("without trouble: %s", got)
	}
	for _, q := range w.asked {
		w2, d2 := build()
		w2.broken[q] = errors.New("connection reset")
		before := preview(t, w2, d2)
		for _, a := range before.Actions {
			if a.Kind != Delete && a.Kind != Untag {
				continue
			}
			if q.Kind == AskTags && q.Repo == a.To {
				t.Errorf("%s could not be read, and yet: %s %s %s", q, a.Kind, a.To, a.Tag)
			}
			if a.Kind == Delete && q.Repo == a.To && (q.Kind != AskRecords || q.Digest == a.Digest) {
				t.Errorf("%s could not be read, and yet %s is deleted", q, a.Digest.Short())
			}
		}
	}
}

func TestTheCoreDependsOnTheStandardLibraryAlone(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(out)); got != "github.com/assay-oci/assay/reconcile" {
		t.Errorf("dependencies outside the standard library:\n%s", got)
	}
}

// FuzzDiff builds a catalog and a world from bytes, breaks questions at random, and checks what must hold of every plan.
func FuzzDiff(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Add(uint64(42), uint64(7))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		rnd := rand.New(rand.NewPCG(a, b))
		w, d := randomWorld(rnd)
		p := Preview(context.Background(), d, Observed{Budget: int64(rnd.IntN(5000))}, w.sensors(), now).Plan
		seen := map[string]bool{}
		for _, a := range p.Actions {
			if seen[a.ID] {
				t.Fatalf("two actions are called %s", a.ID)
			}
			seen[a.ID] = true
		}
		checkShuffled(t, w, d, p)
		e := w.effects()
		w.onWrite = func(int) error {
			if bad := w.unsigned(d); len(bad) > 0 && len(d.Signers) > 0 {
				t.Error(bad)
			}
			if rnd.IntN(20) == 0 {
				return errors.New("500")
			}
			return nil
		}
		Reconcile(context.Background(), d, Observed{}, w.sensors(), e, now)
		w.onWrite, w.broken = nil, map[Question]error{}
		for range 3 {
			Reconcile(context.Background(), d, Observed{}, w.sensors(), e, now)
		}
		if rest := preview(t, w, d); !rest.Empty() {
			b, _ := rest.MarshalIndent()
			t.Fatalf("does not settle: %s\n%s", kinds(rest), b)
		}
	})
}

func randomWorld(rnd *rand.Rand) (*world, Desired) {
	w := newWorld()
	d := scene(w)
	if rnd.IntN(4) == 0 {
		d.Signers = nil
	}
	d.Prune.Absent = rnd.IntN(2) == 0
	for i := range 1 + rnd.IntN(5) {
		name := fmt.Sprintf("app%d", i)
		from := w.index("docker.io/library/"+name, name)
		if rnd.IntN(2) == 0 {
			w.attach(from)
		}
		if rnd.IntN(5) == 0 {
			s := w.scans[sum(name+"amd64")]
			s.Vulnerabilities = []Vulnerability{{ID: "CVE-1", Severity: Critical}}
			w.scans[sum(name+"amd64")] = s
		}
		wa := want(d, from, name, "1", "stable")
		wa.UpstreamRecords = rnd.IntN(2) == 0
		d.UpstreamRecords = d.UpstreamRecords || wa.UpstreamRecords
		d.Wants = append(d.Wants, wa)
		for _, to := range wa.To {
			if rnd.IntN(3) == 0 {
				w.tags[to.Repo] = map[Tag]Digest{tag("hack"): w.hold(to.Repo.String(), "foreign"+name)}
			}
			if rnd.IntN(3) == 0 && len(d.Signers) == 0 {
				w.Copy(context.Background(), from, to.Repo)
			}
			if rnd.IntN(8) == 0 {
				w.broken[Question{Kind: AskTags, Repo: to.Repo}] = errors.New("500")
			}
		}
		if rnd.IntN(5) == 0 {
			bad := w.hold(wa.To[0].Repo.String(), "bad"+name)
			d.Revoked = append(d.Revoked, Revocation{Name: name, Digest: bad, Reason: "CVE-2", Repos: []Repo{wa.To[0].Repo}})
			if w.tags[wa.To[0].Repo] == nil {
				w.tags[wa.To[0].Repo] = map[Tag]Digest{}
			}
			w.tags[wa.To[0].Repo][tag("bad")] = bad
		}
	}
	w.writes = nil
	return w, d
}
