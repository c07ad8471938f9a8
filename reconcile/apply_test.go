package reconcile

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// applied tells how the actions of a plan ended.
func applied(t *testing.T, w *world, actions ...Action) string {
	t.Helper()
	var out []string
	for _, o := range Apply(context.Background(), Plan{Actions: actions}, w.effects()).Outcomes {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s", o.ID, o.Status, o.Reason)))
	}
	return strings.Join(out, "; ")
}

func TestApplyEndsWhateverPlanItIsGiven(t *testing.T) {
	w := newWorld()
	eu := repo("eu.example.com/approved/nginx")
	w.tags[eu] = map[Tag]Digest{}
	d := w.hold(eu.String(), "nginx")
	act := func(id string, needs, after []string) Action {
		return Action{ID: id, Kind: TagIt, Digest: d, To: eu, Tag: tag(id), Needs: needs, After: after}
	}
	cases := []struct {
		name    string
		actions []Action
		want    string
	}{
		{"nothing", nil, ""},
		{"two of one name", []Action{act("a", nil, nil), act("a", nil, nil)}, "a done; a done"},
		{"one that needs what comes later", []Action{act("a", []string{"b"}, nil), act("b", nil, nil)}, "a done; b done"},
		{"one that needs what isn't there", []Action{act("a", []string{"x"}, nil)}, "a skipped it needs x, which the plan doesn't have"},
		{"one that comes after what isn't there", []Action{act("a", nil, []string{"x"})}, "a done"},
		{"two that need each other", []Action{act("a", []string{"b"}, nil), act("b", []string{"a"}, nil), act("c", nil, nil)},
			"a skipped it waits for an action that waits for it; b skipped it waits for an action that waits for it; c done"},
		{"one of no known kind", []Action{{ID: "a", Kind: "paint", Digest: d, To: eu}, act("b", []string{"a"}, nil), act("c", nil, []string{"a"})},
			`a failed the plan asks for "paint", which this version does not know; b skipped paint eu.example.com/approved/nginx@` + d.Short() + ` was not done; c done`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := applied(t, w, c.actions...); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// broken are effects that fail in one way.
type broken struct {
	*world
	tip, current, attached error
}

func (b broken) Tip(ctx context.Context) (string, error) { return "c1", b.tip }

func (b broken) Current(ctx context.Context, r Repo, t Tag) (Digest, error) {
	d, err := b.world.Current(ctx, r, t)
	return d, errors.Join(err, b.current)
}

func (b broken) Attached(ctx context.Context, i Image) ([]Record, error) {
	records, err := b.world.Attached(ctx, i)
	return records, errors.Join(err, b.attached)
}

func TestApplyChecksBeforeItWrites(t *testing.T) {
	eu := repo("eu.example.com/approved/nginx")
	w := newWorld()
	w.tags[eu] = map[Tag]Digest{tag("taken"): sum("other")}
	d := w.hold(eu.String(), "nginx")
	none := Digest{}
	move := Action{ID: "a", Kind: TagIt, Digest: d, To: eu, Tag: tag("new"), If: If{Commit: "c1", Was: &none}}
	taken := move
	taken.Tag = tag("taken")
	old := move
	old.If.Commit = "c0"
	place := Action{ID: "a", Kind: Place, Digest: d, From: eu, To: eu, Record: "gone"}
	sign := Action{ID: "a", Kind: Sign, Digest: d, Statement: &Statement{Signer: "nobody"}}
	trouble := errors.New("500")
	cases := []struct {
		name   string
		action Action
		world  broken
		status Status
		reason string
	}{
		{"the tag was taken meanwhile", taken, broken{}, Stale, "tag taken of eu.example.com/approved/nginx has changed since it was planned"},
		{"the catalog has moved on", old, broken{}, Stale, "the catalog has moved on to c1"},
		{"the catalog can't be asked", move, broken{tip: trouble}, Failed, "ask for the catalog's newest commit: 500"},
		{"the tag can't be read", move, broken{current: trouble}, Failed, "read tag new of eu.example.com/approved/nginx: 500"},
		{"the record is gone", place, broken{}, Failed, "no longer has the record gone"},
		{"the record can't be read", place, broken{attached: trouble}, Failed, "read record from eu.example.com/approved/nginx: 500"},
		{"the signer is not there", sign, broken{}, Failed, `there is no signer "nobody"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.world.world = w
			e := w.effects()
			e.Catalog, e.Tagger, e.Placer = c.world, c.world, c.world
			got := Apply(context.Background(), Plan{Actions: []Action{c.action}}, e).Outcomes[0]
			if got.Status != c.status || !strings.Contains(got.Reason, c.reason) {
				t.Errorf("%s: %q, want %s: %q", got.Status, got.Reason, c.status, c.reason)
			}
			if len(w.writes) > 0 {
				t.Errorf("it wrote %v", w.writes)
			}
		})
	}
}

func TestApplyBeginsNothingOnceTheRunHasEnded(t *testing.T) {
	w, d := large(3)
	ctx, cancel := context.WithCancel(context.Background())
	w.onWrite = func(n int) error {
		if n == 20 {
			cancel()
		}
		return nil
	}
	p := preview(t, w, d)
	for _, o := range Apply(ctx, p, w.effects()).Outcomes {
		if o.Status == Failed || o.Status == Skipped && o.Reason == "" {
			t.Errorf("%s: %s %s", o.ID, o.Status, o.Reason)
		}
	}
	if n := len(w.writes); n < 20 || n > 20+parallel*3 {
		t.Errorf("%d writes", n)
	}
}

func TestApplyFinishesWhatItBeganBeforeItBeginsMore(t *testing.T) {
	w, d := large(3 * parallel)
	p := preview(t, w, d)
	var all, first int
	ended := map[string]int{}
	e := w.effects()
	e.Done = func(a Action, _ Outcome) {
		all++
		ended[a.Title]++
		if first == 0 && ended[a.Title] == 34 { // 2 copies, 6 signatures, 4 attestations, 20 records placed, 2 tags
			first = all
		}
		if g := runtime.NumGoroutine(); g > 2*parallel {
			t.Fatalf("%d goroutines", g)
		}
	}
	Apply(context.Background(), p, e)
	if all != len(d.Wants)*34 {
		t.Fatalf("%d actions were done", all)
	}
	if first > all/2 {
		t.Errorf("no image was ready before %d of %d actions were done", first, all)
	}
}
