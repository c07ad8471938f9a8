package reconcile

import (
	"context"
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

func TestApplyFinishesWhatItBeganBeforeItBeginsMore(t *testing.T) {
	w, d := large(3 * parallel)
	p := preview(t, w, d)
	var all, first int
	ended := map[string]int{}
	e := w.effects()
	e.Done = func(a Action, _ Outcome) {
		all++
		ended[a.Title]++
		if first == 0 && ended[a.Title] == 28 { // 2 copies, 6 signatures, 2 attestations, 16 records placed, 2 tags
			first = all
		}
		if g := runtime.NumGoroutine(); g > 2*parallel {
			t.Fatalf("%d goroutines", g)
		}
	}
	Apply(context.Background(), p, e)
	if all != len(d.Wants)*28 {
		t.Fatalf("%d actions were done", all)
	}
	if first > all/2 {
		t.Errorf("no image was ready before %d of %d actions were done", first, all)
	}
}
