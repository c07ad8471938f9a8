package reconcile

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"
)

// The size that the core is made for: a large organisation's whole catalog in one run.
const (
	largeVersions = 20_000
	largeRepos    = 1_000
)

// large is a catalog of many versions, of two platforms each, on two registries, which hold nothing yet.
func large(versions int) (*world, Desired) {
	w := newWorld()
	d := scene(w)
	for i := range versions {
		name := fmt.Sprintf("image-%03d", i%largeRepos)
		from := w.index("docker.io/library/"+name, fmt.Sprintf("content-%d", i))
		d.Wants = append(d.Wants, want(d, from, name, fmt.Sprintf("1.%d", i/largeRepos)))
	}
	return w, d
}

// frozen is a world that no longer changes: it knows the tags of records by repository.
type frozen struct {
	*world
	tags map[Repo]map[Tag]Digest
}

func freeze(w *world) frozen {
	f := frozen{w, map[Repo]map[Tag]Digest{}}
	for r, tags := range w.tags {
		f.tags[r] = map[Tag]Digest{}
		for t, d := range tags {
			f.tags[r][t] = d
		}
	}
	for i := range w.records {
		f.tags[i.Repo][Tag{"sha256-" + i.Digest.Hex() + ".sig"}] = Digest{}
	}
	return f
}

func (f frozen) Tags(_ context.Context, r Repo) (map[Tag]Digest, error) { return f.tags[r], nil }

func (f frozen) sensors() Sensors {
	s := f.world.sensors()
	s.Holdings = f
	return s
}

// decide asks and answers until nothing is left to ask, and gives the time that the core itself took for it and for the plan.
func decide(d Desired, s Sensors) (p Plan, o Observed, took time.Duration) {
	for {
		start := time.Now()
		qs := Ask(d, o, now)
		took += time.Since(start)
		if len(qs) == 0 {
			break
		}
		answers := answerAll(context.Background(), s, o, qs)
		start = time.Now()
		o = o.With(answers)
		took += time.Since(start)
	}
	start := time.Now()
	p = Diff(d, o, now)
	return p, o, took + time.Since(start)
}

// TestLargeCatalogIsDecidedInTime would take minutes if anything were searched for in the whole plan or catalog for each version.
func TestLargeCatalogIsDecidedInTime(t *testing.T) {
	const versions = 1_000
	w, d := large(versions)
	cold, _, took := decide(d, freeze(w).sensors())
	if len(cold.Actions) != versions*34 || took > 15*time.Second {
		t.Errorf("the plan of an empty registry took %s: %s", took, kinds(cold))
	}
	Apply(context.Background(), cold, w.effects())
	settled, _, took := decide(d, freeze(w).sensors())
	if !settled.Empty() || took > 15*time.Second {
		t.Errorf("the plan with nothing to do took %s: %s", took, kinds(settled))
	}
}

func BenchmarkLarge(b *testing.B) {
	w, d := large(largeVersions)
	unsigned := d
	unsigned.Signers = nil
	bench := func(name string, d Desired, s Sensors, actions int) {
		b.Run(name, func(b *testing.B) {
			var total time.Duration
			for range b.N {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				p, _, took := decide(d, s)
				runtime.ReadMemStats(&after)
				total += took
				if len(p.Actions) != actions || len(p.Blocked)+len(p.Gaps) > 0 {
					b.Fatalf("%s; %d blocked, %d gaps", kinds(p), len(p.Blocked), len(p.Gaps))
				}
				b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/(1<<20), "MB-allocated")
			}
			b.ReportMetric(total.Seconds()/float64(b.N), "s-in-core")
		})
	}
	empty := freeze(w)
	bench("cold", d, empty.sensors(), largeVersions*34) // 2 copies, 6 signatures, 4 attestations, 20 records placed, 2 tags
	p, _, _ := decide(d, empty.sensors())
	start := time.Now()
	for _, out := range Apply(context.Background(), p, w.effects()).Outcomes {
		if out.Status != Done {
			b.Fatal(out)
		}
	}
	b.Logf("apply: %s", time.Since(start))
	full := freeze(w)
	bench("settled/unsigned", unsigned, full.sensors(), 0)
	bench("settled/signed", d, full.sensors(), 0)

	// five versions were removed long ago and have lost their tags: their absence is told by the history of the whole catalog
	const gone = 5
	smaller := d
	smaller.Prune.Absent = true
	smaller.Wants = d.Wants[gone:]
	for i, v := range d.Wants {
		approval := Approval{Image: v.Name, Version: v.Version, Digest: v.From.Digest, Repos: []Repo{v.To[0].Repo, v.To[1].Repo}}
		if i < gone {
			approval.Last = now.Add(-1000 * time.Hour)
			for _, to := range v.To {
				delete(full.tags[to.Repo], v.Tags[0])
			}
		}
		w.history.Approvals = append(w.history.Approvals, approval)
	}
	w.history.Since = now.Add(-10_000 * time.Hour)
	bench("settled/absent", smaller, full.sensors(), 2*gone)
}
