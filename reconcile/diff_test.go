package reconcile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// critical is a rule that refuses what a scan calls critical, and what no scan speaks about.
type critical struct{}

func (critical) Name() string { return "vulnerabilities" }
func (critical) Reads() Reads { return ReadsScans }
func (critical) Check(s Subject, _ time.Time) []Finding {
	var out []Finding
	for _, ps := range s.Evidence.Scans {
		if ps.Scan.NoVerdict != "" {
			out = append(out, Finding{ID: "no-verdict", Summary: ps.Scan.NoVerdict, Unknown: true})
		}
		for _, v := range ps.Scan.Vulnerabilities {
			if v.Severity == Critical {
				out = append(out, Finding{ID: v.ID, Package: v.Package.Name, Severity: v.Severity, Summary: v.Summary})
			}
		}
	}
	if len(s.Evidence.Scans) == 0 {
		out = append(out, Finding{ID: "no-scan", Summary: "nothing was scanned"})
	}
	return out
}

// allowed is a rule on the source.
type allowed string

func (allowed) Name() string { return "sources" }
func (allowed) Reads() Reads { return ReadsDeclaration }
func (a allowed) Check(s Subject, _ time.Time) []Finding {
	if strings.HasPrefix(s.Want.From.Repo.String(), string(a)) {
		return nil
	}
	return []Finding{{Summary: s.Want.From.Repo.String() + " is not allowed"}}
}

// scene is a small catalog in front of a world: two registries, a scanner, a signer.
func scene(w *world) Desired {
	return Desired{
		Commit: "c1",
		Registries: []Registry{
			{Name: "eu", Prefix: prefix("eu.example.com/approved"), Identity: prefix("images.example.com/approved")},
			{Name: "us", Prefix: prefix("us.example.com/approved"), Identity: prefix("images.example.com/approved")},
		},
		Scanners: []ScannerSpec{{Name: "builtin"}},
		Signers:  []SignerSpec{{Name: "main", Formats: []Format{Legacy, Bundle}}},
		Prune:    Prune{Limit: 10, Grace: 168 * time.Hour},
	}
}

func want(d Desired, from Image, name, version string, tags ...string) Want {
	w := Want{Name: name, Version: version, From: from, Rules: []Bound{{Rule: allowed("docker.io/")}, {Rule: critical{}}}, Origin: Origin{name + ".hcl", 7}}
	for _, t := range append([]string{version}, tags...) {
		w.Tags = append(w.Tags, tag(t))
	}
	for _, r := range d.Registries {
		to, _ := r.Prefix.Repo(name)
		id, _ := r.Identity.Repo(name)
		w.To = append(w.To, Target{Registry: r.Name, Repo: to, Identity: id})
	}
	return w
}

func preview(t *testing.T, w *world, d Desired) Plan {
	t.Helper()
	return Preview(context.Background(), d, Observed{}, w.sensors(), now).Plan
}

func run1(t *testing.T, w *world, d Desired) Report {
	t.Helper()
	return Reconcile(context.Background(), d, Observed{}, w.sensors(), w.effects(), now)
}

func kinds(p Plan) string {
	count := map[Kind]int{}
	for _, a := range p.Actions {
		count[a.Kind]++
	}
	var out []string
	for _, k := range []Kind{Copy, Sign, Attest, Place, TagIt, Untag, Delete, Retire} {
		if count[k] > 0 {
			out = append(out, fmt.Sprintf("%s %d", k, count[k]))
		}
	}
	return strings.Join(out, ", ")
}

func summaries(fs []Finding) string {
	var out []string
	for _, f := range fs {
		out = append(out, f.Rule+": "+f.Summary)
	}
	return strings.Join(out, "\n")
}

func settledWorld(t *testing.T) (*world, Desired) {
	t.Helper()
	w := newWorld()
	d := scene(w)
	d.Wants = append(d.Wants, want(d, w.index("docker.io/library/nginx", "nginx-1"), "nginx", "1.0", "stable"))
	rep := run1(t, w, d)
	for _, o := range rep.Result.Outcomes {
		if o.Status != Done {
			t.Fatalf("%s: %s %s", o.ID, o.Status, o.Reason)
		}
	}
	w.asked, w.writes = nil, nil
	return w, d
}

func TestCases(t *testing.T) {
	const empty = ""
	cases := []struct {
		name    string
		change  func(*world, *Desired)
		kinds   string // of the plan's actions
		blocked string // a part of the blocked findings
		notes   string // a part of the notes
		gaps    int
	}{
		{name: "nothing to do", change: func(*world, *Desired) {}, kinds: empty},
		{name: "a new version is copied, signed, attested, placed and tagged", change: func(w *world, d *Desired) {
			d.Wants = append(d.Wants, want(*d, w.index("docker.io/library/redis", "redis"), "redis", "7"))
		}, kinds: "copy 2, sign 6, attest 4, place 20, tag 2"},
		{name: "two versions of one digest are brought in once", change: func(w *world, d *Desired) {
			from := w.index("docker.io/library/redis", "redis")
			d.Wants = append(d.Wants, want(*d, from, "redis", "7"), want(*d, from, "redis", "7.1"))
		}, kinds: "copy 2, sign 6, attest 6, place 24, tag 4"},
		{name: "what two indexes share is signed, attested and placed once", change: func(w *world, d *Desired) {
			first := w.index("docker.io/library/redis", "redis")
			d.Wants = append(d.Wants, want(*d, first, "redis", "7"), want(*d, w.sharing(first, "redis-2"), "redis", "8"))
		}, kinds: "copy 4, sign 8, attest 6, place 28, tag 4"},
		{name: "a source that isn't allowed is blocked and never asked", change: func(w *world, d *Desired) {
			d.Wants = append(d.Wants, want(*d, w.index("quay.io/evil/redis", "redis"), "redis", "7"))
		}, blocked: "sources: quay.io/evil/redis is not allowed"},
		{name: "a digest that its source doesn't have is blocked", change: func(w *world, d *Desired) {
			d.Wants = append(d.Wants, want(*d, Image{repo("docker.io/library/redis"), sum("nothing")}, "redis", "7"))
		}, blocked: "source: docker.io/library/redis does not hold sha256:"},
		{name: "a critical vulnerability blocks this image alone", change: func(w *world, d *Desired) {
			bad := w.index("docker.io/library/bad", "bad")
			s := w.scans[sum("badamd64")]
			s.Vulnerabilities = []Vulnerability{{ID: "CVE-1", Severity: Critical, Summary: "remote code"}}
			w.scans[sum("badamd64")] = s
			d.Wants = append(d.Wants, want(*d, bad, "bad", "1"), want(*d, w.index("docker.io/library/redis", "redis"), "redis", "7"))
		}, kinds: "copy 2, sign 6, attest 4, place 20, tag 2", blocked: "vulnerabilities: remote code"},
		{name: "a tag that was moved by hand is set back", change: func(w *world, d *Desired) {
			w.tags[repo("eu.example.com/approved/nginx")][tag("1.0")] = w.hold("eu.example.com/approved/nginx", "foreign")
		}, kinds: "tag 1"},
		{name: "without history a version's own tag stays where it was moved to", change: func(w *world, d *Desired) {
			w.tags[repo("eu.example.com/approved/nginx")][tag("1.0")] = w.hold("eu.example.com/approved/nginx", "foreign")
			w.broken[Question{Kind: AskHistory}] = ErrUnavailable
		}, gaps: 1},
		{name: "a revoked digest that is part of an image that stays is kept, and that is said", change: func(w *world, d *Desired) {
			d.Revoked = []Revocation{{Name: "nginx", Digest: sum("nginx-1amd64"), Reason: "CVE-1", Repos: []Repo{d.Wants[0].To[0].Repo}}}
		}, blocked: "is part of an image that stays in eu.example.com/approved/nginx"},
		{name: "what is revoked beside something that could not be read loses its tags only", change: func(w *world, d *Desired) {
			revoke(w, d)
			w.broken[Question{Kind: AskTree, Repo: repo("eu.example.com/approved/nginx"), Digest: sum("nginx-2")}] = errors.New("500")
		}, kinds: "untag 2, delete 1", gaps: 1},
		{name: "what is revoked and has records that could not be read loses its tags only", change: func(w *world, d *Desired) {
			revoke(w, d)
			w.broken[Question{Kind: AskRecords, Repo: repo("eu.example.com/approved/nginx"), Digest: sum("nginx-1arm64")}] = errors.New("500")
		}, kinds: "untag 2, delete 1", gaps: 1},
		{name: "an attestation that can't be read counts as no scan", change: func(w *world, d *Desired) {
			for i, rs := range w.records {
				for j := range rs {
					if i.Repo.Host() == "eu.example.com" && rs[j].Statement.PredicateType != "" {
						rs[j].Statement.Predicate, rs[j].At = "{", sum(fmt.Sprint(i, j))
					}
				}
			}
			w.wipe(repo("us.example.com/approved/nginx"))
		}, kinds: "copy 1, attest 3, place 13, tag 2, retire 3"},
		{name: "a scan that could not be made is no verdict", change: func(w *world, d *Desired) {
			d.Scanners = append(d.Scanners, ScannerSpec{Name: "lost"})
			d.Wants = append(d.Wants, want(*d, w.index("docker.io/library/redis", "redis"), "redis", "7"))
		}, blocked: "there is no scanner \"lost\""},
		{name: "a sensor that panics leaves a gap", change: func(w *world, d *Desired) {
			w.broken[Question{Kind: AskTags, Repo: repo("eu.example.com/approved/nginx")}] = panics{}
		}, gaps: 1},
		{name: "a version's own tag does not follow a changed digest", change: func(w *world, d *Desired) {
			next := want(*d, w.index("docker.io/library/nginx", "nginx-2"), "nginx", "1.0", "stable")
			w.history.Approvals = []Approval{{Image: "nginx", Version: "1.0", Digest: sum("nginx-1"), Repos: []Repo{repo("eu.example.com/approved/nginx"), repo("us.example.com/approved/nginx")}}}
			d.Wants = []Want{next}
		}, kinds: "copy 2, sign 6, attest 4, place 20, tag 2", blocked: "own tag does not move", notes: "tag stable of eu.example.com/approved/nginx moves from"},
		{name: "a mutable version's own tag moves, and the plan says so", change: func(w *world, d *Desired) {
			next := want(*d, w.index("docker.io/library/nginx", "nginx-2"), "nginx", "1.0", "stable")
			next.Mutable = true
			d.Wants = []Want{next}
		}, kinds: "copy 2, sign 6, attest 4, place 20, tag 4", notes: "tag 1.0 of us.example.com/approved/nginx moves from"},
		{name: "a tag that nobody approved goes", change: func(w *world, d *Desired) {
			w.tags[repo("eu.example.com/approved/nginx")][tag("hack")] = w.hold("eu.example.com/approved/nginx", "foreign")
		}, kinds: "untag 1"},
		{name: "a registry known to be unable to untag blocks that", change: func(w *world, d *Desired) {
			w.tags[repo("eu.example.com/approved/nginx")][tag("hack")] = w.hold("eu.example.com/approved/nginx", "foreign")
			w.untag = ErrUnsupported
		}, kinds: "untag 1"},
		{name: "a lost image comes from the other registry, not from its source", change: func(w *world, d *Desired) {
			eu := repo("eu.example.com/approved/nginx")
			w.wipe(eu)
		}, kinds: "copy 1, place 10, tag 2"},
		{name: "a lost signature is placed from the other registry, and nothing is signed", change: func(w *world, d *Desired) {
			w.records[Image{repo("eu.example.com/approved/nginx"), sum("nginx-1")}] = nil
		}, kinds: "place 4"},
		{name: "a signature that is lost everywhere is made once", change: func(w *world, d *Desired) {
			for i := range w.records {
				if i.Digest == sum("nginx-1") {
					w.records[i] = nil
				}
			}
		}, kinds: "sign 2, attest 2, place 8"},
		{name: "an invalid signature counts as none", change: func(w *world, d *Desired) {
			for i, rs := range w.records {
				for j := range rs {
					if i.Digest == sum("nginx-1") && rs[j].Statement.Format == Legacy {
						rs[j].Problem = "signed by another key"
					}
				}
			}
		}, kinds: "sign 1, place 2"},
		{name: "records that can't be read are not absent", change: func(w *world, d *Desired) {
			w.broken[Question{Kind: AskRecords, Repo: repo("eu.example.com/approved/nginx"), Digest: sum("nginx-1")}] = errors.New("429")
		}, gaps: 1},
		{name: "a tag list that can't be read is not empty", change: func(w *world, d *Desired) {
			w.broken[Question{Kind: AskTags, Repo: repo("eu.example.com/approved/nginx")}] = errors.New("500")
			w.tags[repo("eu.example.com/approved/nginx")][tag("hack")] = sum("x")
			d.Wants[0].Tags = d.Wants[0].Tags[:1]
		}, kinds: "untag 1", gaps: 1},
		{name: "a revoked digest is deleted at once with its records", change: func(w *world, d *Desired) {
			revoke(w, d)
		}, kinds: "delete 2"},
		{name: "records of others about a digest that is gone are no reason to delete it again", change: func(w *world, d *Desired) {
			revoke(w, d)
			run := *d
			Reconcile(context.Background(), run, Observed{}, w.sensors(), w.effects(), now)
			gone := Image{repo("eu.example.com/approved/nginx"), d.Revoked[0].Digest}
			w.records[gone] = []Record{{Statement: Statement{Subject: gone.Digest}, Problem: "signed by another key"}}
		}, kinds: empty},
		{name: "what is absent loses its tags first", change: func(w *world, d *Desired) {
			d.Prune.Absent = true
			old := d.Wants[0]
			w.history.Approvals = []Approval{{Image: "nginx", Version: "1.0", Digest: old.From.Digest, Last: now.Add(-time.Hour), Repos: []Repo{old.To[0].Repo, old.To[1].Repo}}}
			d.Wants = []Want{want(*d, w.index("docker.io/library/nginx", "nginx-2"), "nginx", "2.0")}
		}, kinds: "copy 2, sign 6, attest 4, place 20, tag 2, untag 4"},
		{name: "an empty catalog removes nothing", change: func(w *world, d *Desired) {
			d.Prune.Absent = true
			d.Wants = nil
		}, blocked: "the catalog approves no image at all"},
		{name: "more than the limit removes nothing", change: func(w *world, d *Desired) {
			d.Prune.Limit = 1
			w.tags[repo("eu.example.com/approved/nginx")][tag("hack1")] = w.hold("eu.example.com/approved/nginx", "f1")
			w.tags[repo("eu.example.com/approved/nginx")][tag("hack2")] = w.hold("eu.example.com/approved/nginx", "f2")
		}, blocked: "2 images would lose tags or content, more than the limit of 1"},
		{name: "a broken entry stops removal, not additions", change: func(w *world, d *Desired) {
			d.Broken = []Finding{{Rule: "catalog", Summary: "digest is wrong"}}
			w.tags[repo("eu.example.com/approved/nginx")][tag("hack")] = w.hold("eu.example.com/approved/nginx", "f1")
			d.Wants = append(d.Wants, want(*d, w.index("docker.io/library/redis", "redis"), "redis", "7"))
		}, kinds: "copy 2, sign 6, attest 4, place 20, tag 2", blocked: "prune: nothing is removed while a part of the catalog could not be read"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w, d := settledWorld(t)
			c.change(w, &d)
			w.writes = nil
			p := preview(t, w, d)
			if len(w.writes) > 0 {
				t.Errorf("a preview wrote: %v", w.writes)
			}
			if got := kinds(p); got != c.kinds {
				b, _ := p.MarshalIndent()
				t.Errorf("actions: %q, want %q\n%s", got, c.kinds, b)
			}
			if got := summaries(p.Blocked); !strings.Contains(got, c.blocked) || c.blocked == "" && got != "" {
				t.Errorf("blocked: %q, want %q", got, c.blocked)
			}
			if got := summaries(p.Notes); !strings.Contains(got, c.notes) {
				t.Errorf("notes: %q, want %q", got, c.notes)
			}
			if len(p.Gaps) != c.gaps {
				t.Errorf("gaps: %v, want %d", p.Gaps, c.gaps)
			}
			checkShuffled(t, w, d, p)
			run1(t, w, d)
			if rest := preview(t, w, d); !rest.Empty() && w.untag == nil {
				b, _ := rest.MarshalIndent()
				t.Errorf("after reconcile there is still something to do: %s\n%s", kinds(rest), b)
			}
		})
	}
}

func (w *world) hold(in, name string) Digest {
	i := Image{repo(in), sum(name)}
	w.trees[i.Digest] = Tree{Root: i.Digest, Manifests: []Manifest{{Digest: i.Digest, Platform: Platform{OS: "linux", Architecture: "amd64"}}}}
	w.held[i] = true
	return i.Digest
}

// sharing puts another index of the same platforms' images beside an image.
func (w *world) sharing(i Image, name string) Image {
	t := w.trees[i.Digest]
	t.Root, t.Manifests = sum(name), slices.Clone(t.Manifests)
	t.Manifests[len(t.Manifests)-1].Digest = t.Root
	w.trees[t.Root] = t
	w.held[Image{i.Repo, t.Root}] = true
	return Image{i.Repo, t.Root}
}

func (w *world) wipe(r Repo) {
	delete(w.tags, r)
	for i := range w.held {
		if i.Repo == r {
			delete(w.held, i)
			delete(w.records, i)
		}
	}
}

func revoke(w *world, d *Desired) {
	next := want(*d, w.index("docker.io/library/nginx", "nginx-2"), "nginx", "2.0")
	d.Revoked = []Revocation{{Name: "nginx", Digest: d.Wants[0].From.Digest, Reason: "CVE-1", Repos: []Repo{next.To[0].Repo, next.To[1].Repo}}}
	d.Wants = []Want{next}
	run := *d
	run.Revoked = nil
	run.Prune.Limit = 0
	Reconcile(context.Background(), run, Observed{}, w.sensors(), w.effects(), now)
}

// panics is an error that can't be told.
type panics struct{}

func (panics) Error() string { panic("no words") }

func checkShuffled(t *testing.T, w *world, d Desired, p Plan) {
	t.Helper()
	first, _ := p.MarshalIndent()
	for range 5 {
		shuffle(d.Wants)
		shuffle(d.Registries)
		shuffle(d.Revoked)
		for i := range d.Wants {
			shuffle(d.Wants[i].To)
			shuffle(d.Wants[i].Rules)
		}
		again, _ := preview(t, w, d).MarshalIndent()
		if !bytes.Equal(first, again) {
			t.Fatalf("another order of the same input gives another plan:\n%s\n%s", first, again)
		}
	}
}

func shuffle[T any](s []T) {
	rand.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
}

func TestInvariant4HeldImageCostsItsSourceNothing(t *testing.T) {
	w, d := settledWorld(t)
	w.wipe(repo("eu.example.com/approved/nginx"))
	delete(w.tags[repo("us.example.com/approved/nginx")], tag("stable"))
	run1(t, w, d)
	for _, q := range w.asked {
		if q.Repo.Host() == "docker.io" {
			t.Errorf("the source was asked for %s", q)
		}
	}
	if i := slices.IndexFunc(w.writes, func(s string) bool { return strings.HasPrefix(s, "copy eu.example.com") }); i < 0 {
		t.Errorf("nothing was copied: %v", w.writes)
	}
}

func TestInvariant6OneFailedActionSkipsOnlyWhatNeedsIt(t *testing.T) {
	w, d := settledWorld(t)
	d.Wants = append(d.Wants, want(d, w.index("docker.io/library/redis", "redis"), "redis", "7"))
	w.onWrite = func(int) error { return nil }
	bad := "copy us.example.com/approved/redis"
	e := w.effects()
	e.Copier = failing{w, bad}
	rep := Reconcile(context.Background(), d, Observed{}, w.sensors(), e, now)
	status := map[Status]int{}
	for i, o := range rep.Result.Outcomes {
		status[o.Status]++
		if rep.Plan.Actions[i].To.Host() == "eu.example.com" && o.Status != Done {
			t.Errorf("%s in the sound registry: %s %s", rep.Plan.Actions[i].Kind, o.Status, o.Reason)
		}
	}
	if status[Failed] != 1 || status[Skipped] != 11 {
		t.Errorf("outcomes: %v, want 1 failed and 11 skipped", status)
	}
}

type failing struct {
	*world
	host string
}

func (f failing) Copy(ctx context.Context, from Image, to Repo) (Moved, error) {
	if strings.HasSuffix(f.host, to.String()) {
		return Moved{}, errors.New("disk full")
	}
	return f.world.Copy(ctx, from, to)
}

func TestStaleCommitWritesNothing(t *testing.T) {
	w, d := settledWorld(t)
	d.Wants = append(d.Wants, want(d, w.index("docker.io/library/redis", "redis"), "redis", "7"))
	w.tip = "c2"
	rep := run1(t, w, d)
	if len(w.writes) > 0 {
		t.Errorf("an old commit wrote %v", w.writes)
	}
	if len(rep.Result.Outcomes) == 0 || rep.Result.Outcomes[0].Status != Stale {
		t.Errorf("outcomes: %+v", rep.Result.Outcomes)
	}
}

func TestBatchesFitTheStageAndEachIsAdmittedBeforeTheNext(t *testing.T) {
	w := newWorld()
	d := scene(w)
	for i := range 6 {
		name := fmt.Sprintf("app%d", i)
		d.Wants = append(d.Wants, want(d, w.index("docker.io/library/"+name, name), name, "1"))
	}
	size := w.trees[d.Wants[0].From.Digest].Bytes()
	rep := Reconcile(context.Background(), d, Observed{Budget: 2 * size}, w.sensors(), w.effects(), now)
	for _, o := range rep.Result.Outcomes {
		if o.Status != Done {
			t.Errorf("%s: %s %s", o.ID, o.Status, o.Reason)
		}
	}
	if rest := preview(t, w, d); !rest.Empty() {
		t.Errorf("left to do: %s", kinds(rest))
	}
	if got := kinds(rep.Plan); got != "copy 12, sign 36, attest 24, place 120, tag 12" {
		t.Errorf("the report holds %s", got)
	}
	if w.layouts != 0 {
		t.Errorf("%d layouts were not released; they take the room of the next batch", w.layouts)
	}
}

func TestPruneDeletesAfterTheGracePeriodOnly(t *testing.T) {
	for _, c := range []struct {
		name  string
		last  time.Time
		since time.Time
		kinds string
	}{
		{"within the grace period", now.Add(-24 * time.Hour), time.Time{}, ""},
		{"after it", now.Add(-300 * time.Hour), time.Time{}, "delete 2"},
		{"where history doesn't reach back far enough", now.Add(-300 * time.Hour), now.Add(-24 * time.Hour), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, d := settledWorld(t)
			old := d.Wants[0]
			d.Prune.Absent = true
			d.Wants = []Want{want(d, w.index("docker.io/library/nginx", "nginx-2"), "nginx", "2.0")}
			w.history = History{Since: c.since, Approvals: []Approval{{Image: "nginx", Version: "1.0", Digest: old.From.Digest, Last: c.last,
				Repos: []Repo{old.To[0].Repo, old.To[1].Repo}}}}
			run1(t, w, d) // takes the tags
			if got := kinds(preview(t, w, d)); got != c.kinds {
				t.Errorf("planned %q, want %q", got, c.kinds)
			}
			run1(t, w, d)
			_, held := w.held[Image{old.To[0].Repo, old.From.Digest}]
			if want := c.kinds == ""; held != want {
				t.Errorf("held after reconcile: %v, want %v", held, want)
			}
		})
	}
}

func TestDeletingKeepsWhatIsShared(t *testing.T) {
	w, d := settledWorld(t)
	// another index of the same repository shares a child with the one that is revoked
	shared := w.trees[sum("nginx-1amd64")].Manifests[0]
	other := Tree{Root: sum("other"), Manifests: []Manifest{shared, {Digest: sum("other"), MediaType: ociIndex, Children: []Digest{shared.Digest}}}}
	w.trees[other.Root] = other
	from := Image{repo("docker.io/library/nginx"), other.Root}
	w.held[from] = true
	keep := want(d, from, "nginx", "other")
	d.Wants = append(d.Wants, keep)
	run1(t, w, d)
	d.Revoked = []Revocation{{Name: "nginx", Digest: sum("nginx-1"), Reason: "CVE", Repos: []Repo{keep.To[0].Repo, keep.To[1].Repo}}}
	d.Wants = []Want{keep}
	run1(t, w, d)
	for _, r := range []Repo{keep.To[0].Repo, keep.To[1].Repo} {
		if !w.held[Image{r, shared.Digest}] || len(w.records[Image{r, shared.Digest}]) == 0 {
			t.Errorf("%s lost the shared child or its records", r)
		}
		for _, gone := range []string{"nginx-1", "nginx-1arm64"} {
			if w.held[Image{r, sum(gone)}] || len(w.records[Image{r, sum(gone)}]) > 0 {
				t.Errorf("%s still has %s", r, gone)
			}
		}
	}
	if rest := preview(t, w, d); !rest.Empty() {
		t.Errorf("left to do: %s", kinds(rest))
	}
}

func TestStagedPromotionWaitsForTheSoak(t *testing.T) {
	w := newWorld()
	d := scene(w)
	d.Registries[1].After = After{Registry: "eu", Soak: 72 * time.Hour}
	d.Wants = []Want{want(d, w.index("docker.io/library/nginx", "nginx-1"), "nginx", "1.0")}
	rep := run1(t, w, d)
	if us := repo("us.example.com/approved/nginx"); len(w.tags[us]) > 0 || !strings.Contains(summaries(rep.Plan.Notes), "us waits") {
		t.Fatalf("us got %v, notes %s", w.tags[us], summaries(rep.Plan.Notes))
	}
	w.asked = nil
	early := Preview(context.Background(), d, Observed{}, w.sensors(), now.Add(71*time.Hour)).Plan
	late := Preview(context.Background(), d, Observed{}, w.sensors(), now.Add(73*time.Hour)).Plan
	if kinds(early) != "" || kinds(late) != "copy 1, place 10, tag 1" {
		t.Errorf("after 71 h %q, after 73 h %q", kinds(early), kinds(late))
	}
	for _, q := range w.asked {
		if q.Kind == AskScan {
			t.Errorf("%s was asked though it is attested", q)
		}
	}
}

func TestWhatPromotionWaitsFor(t *testing.T) {
	eu, us := repo("eu.example.com/approved/nginx"), repo("us.example.com/approved/nginx")
	cases := []struct {
		name   string
		change func(*world, *Desired)
		kinds  string // of what is planned
		notes  string
	}{
		{"nothing, where it has arrived already", func(*world, *Desired) {}, "", ""},
		{"the tags before it", func(w *world, d *Desired) { w.wipe(us); delete(w.tags[eu], tag("stable")) }, "tag 1", "us waits: the image is not in eu yet"},
		{"a signature that says since when", func(w *world, d *Desired) {
			w.wipe(us)
			for i, records := range w.records {
				for j := range records {
					if records[j].Statement.PredicateType == "" && i.Digest == sum("nginx-1") {
						records[j].Problem = "signed by another key"
					}
				}
			}
		}, "sign 2, place 2", "us waits: there is no valid signature in eu"},
		{"a registry that could be read", func(w *world, d *Desired) {
			w.wipe(us)
			w.broken[Question{Kind: AskTags, Repo: eu}] = errors.New("500")
		}, "", "us waits: the image does not go to eu, or what that registry holds could not be read"},
		{"the soak", func(w *world, d *Desired) { w.wipe(us) }, "", "us waits: eu must hold it until 2026-11-24 12:00 UTC"},
		{"no time, where there is no soak", func(w *world, d *Desired) { w.wipe(us); d.Registries[1].After.Soak = 0 }, "copy 1, place 10, tag 2", ""},
		{"the soak, for a tag that was lost too", func(w *world, d *Desired) { delete(w.tags[us], tag("stable")) }, "", "us waits: eu must hold it until"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w, d := settledWorld(t)
			d.Registries[1].After = After{Registry: "eu", Soak: 72 * time.Hour}
			c.change(w, &d)
			p := preview(t, w, d)
			if got := kinds(p); got != c.kinds {
				t.Errorf("planned %q, want %q", got, c.kinds)
			}
			if got := summaries(p.Notes); !strings.Contains(got, c.notes) || c.notes == "" && got != "" {
				t.Errorf("notes %q, want %q", got, c.notes)
			}
		})
	}
}

func TestARegistryThatIsKnownToBeUnableToUntagIsNotAsked(t *testing.T) {
	w, d := settledWorld(t)
	eu := repo("eu.example.com/approved/nginx")
	w.tags[eu][tag("hack")] = w.hold(eu.String(), "foreign")
	p := Preview(context.Background(), d, Observed{Unable: map[string]string{"eu.example.com": "it has no such request"}}, w.sensors(), now).Plan
	if !p.Empty() || !strings.Contains(summaries(p.Blocked), "tag hack of eu.example.com/approved/nginx can't be removed: it has no such request") {
		t.Errorf("planned %q, blocked %q", kinds(p), summaries(p.Blocked))
	}
}

// fresh is a rule that refuses scans that are older than a day.
type fresh struct{ critical }

func (fresh) Check(s Subject, now time.Time) []Finding {
	for _, ps := range s.Evidence.Scans {
		if now.Sub(ps.Scan.Finished) > 24*time.Hour {
			return []Finding{{ID: "old", Summary: "the scan is old"}}
		}
	}
	return nil
}

func TestAttestedScansThatNoLongerSatisfyTheRulesAreMadeAnew(t *testing.T) {
	w := newWorld()
	d := scene(w)
	d.Registries[1].After = After{Registry: "eu", Soak: 72 * time.Hour}
	wa := want(d, w.index("docker.io/library/nginx", "nginx-1"), "nginx", "1.0")
	wa.Rules = []Bound{{Rule: fresh{}}}
	d.Wants = []Want{wa}
	finish := func(at time.Time) {
		for m, s := range w.scans {
			s.Finished = at
			w.scans[m] = s
		}
	}
	finish(now)
	run1(t, w, d)
	later := now.Add(73 * time.Hour)
	finish(later)
	w.asked = nil
	p := Preview(context.Background(), d, Observed{}, w.sensors(), later).Plan
	if kinds(p) != "copy 1, place 10, tag 1" || len(p.Blocked) > 0 {
		t.Errorf("planned %q, blocked %s", kinds(p), summaries(p.Blocked))
	}
	for _, q := range w.asked {
		if q.Repo.Host() == "docker.io" {
			t.Errorf("the source was asked: %s", q)
		}
	}
}

func TestWaivers(t *testing.T) {
	base := Waiver{ID: "CVE-1", Rule: "vulnerabilities", Expires: now.Add(time.Hour)}
	cases := []struct {
		name   string
		change func(*Waiver)
		scope  string // of the rule
		waived bool
	}{
		{"covers", func(*Waiver) {}, "", true},
		{"is expired", func(v *Waiver) { v.Expires = now }, "", false},
		{"names another finding", func(v *Waiver) { v.ID = "CVE-2" }, "", false},
		{"covers all findings", func(v *Waiver) { v.ID = "*" }, "", true},
		{"names another rule", func(v *Waiver) { v.Rule = "sources" }, "", false},
		{"names another image", func(v *Waiver) { v.Image = "redis" }, "", false},
		{"names another digest", func(v *Waiver) { v.Digest = sum("x") }, "", false},
		{"names another package", func(v *Waiver) { v.Package = "zlib" }, "", false},
		{"of a narrower scope does not bind a wider rule", func(v *Waiver) { v.Scope = "team" }, "", false},
		{"of a wider scope binds a narrower rule", func(*Waiver) {}, "team", true},
		{"of a sibling does not bind", func(v *Waiver) { v.Scope = "team" }, "teams", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld()
			d := scene(w)
			from := w.index("docker.io/library/nginx", "n")
			scan := w.scans[sum("namd64")]
			scan.Vulnerabilities = []Vulnerability{{ID: "CVE-1", Severity: Critical, Package: Package{Name: "openssl"}}}
			w.scans[sum("namd64")] = scan
			wa := want(d, from, "nginx", "1")
			wa.Scope = "team"
			for i := range wa.Rules {
				wa.Rules[i].Scope = c.scope
			}
			v := base
			c.change(&v)
			d.Wants, d.Waivers = []Want{wa}, []Waiver{v}
			if waived := len(preview(t, w, d).Blocked) == 0; waived != c.waived {
				t.Errorf("waived: %v, want %v", waived, c.waived)
			}
		})
	}
}

func TestAProfileTellsWhatAReviewerDecidesBy(t *testing.T) {
	a := newAging(t, nil)
	a.hit()
	next := want(a.d, a.index("docker.io/library/nginx", "nginx-2"), "nginx", "1.1", "stable")
	tree := a.trees[sum("nginx-2")]
	for i := range tree.Manifests {
		tree.Manifests[i].Config = ConfigInfo{User: "nginx", Env: []string{"SECRET=hunter2"}}
	}
	for _, name := range []string{"nginx-2amd64", "nginx-2arm64"} {
		s := a.scans[sum(name)]
		s.Distribution = "debian:12"
		s.Vulnerabilities = []Vulnerability{{ID: "CVE-9", Severity: High, FixedIn: []string{"2"}, Package: Package{Name: "zlib", Version: "1", Ecosystem: "npm"}}}
		a.scans[sum(name)] = s
	}
	a.d.Wants[0].Tags = a.d.Wants[0].Tags[:1]
	a.d.Wants = append(a.d.Wants, next)
	p := a.plan(now.Add(25 * time.Hour))
	if len(p.Profiles) != 1 {
		t.Fatalf("%+v", p.Profiles)
	}
	got := p.Profiles[0]
	if got.Image != "nginx:1.1" || got.System != "debian:12" || fmt.Sprint(got.Platforms) != "[linux/amd64 linux/arm64]" || fmt.Sprint(got.Users) != "[nginx]" ||
		fmt.Sprint(got.Severities) != "map[high:1]" || got.Fixable != 1 || len(got.Scanners) != 1 || got.Scanners[0].Severities["high"] != 1 || len(got.Rules) != 2 || got.Blocked {
		t.Errorf("%+v", got)
	}
	c := got.Since
	if c == nil || c.Version != "1.0" || fmt.Sprint(c.Introduced, c.Fixed) != "[{CVE-9 high zlib 1 [2]}] [{CVE-1 critical  []}]" ||
		!c.Approved.Equal(now) || fmt.Sprint(c.Config) != "[user root → nginx variables none → SECRET]" || c.Unlisted || !p.Made.Equal(now.Add(25*time.Hour)) || fmt.Sprint(got.Vulnerabilities) != fmt.Sprint(c.Introduced) {
		t.Errorf("%+v", c)
	}
	if strings.Contains(fmt.Sprint(c), "hunter2") {
		t.Error("the value of a variable is told")
	}
}
