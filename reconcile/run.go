package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Preview observes and plans. It is given nothing that can write.
func Preview(ctx context.Context, d Desired, o Observed, s Sensors, now time.Time) Report {
	o = observe(ctx, d, o, s, now, func(o Observed) Observed { return o })
	return Report{Plan: Diff(d, o, now)}
}

// Reconcile observes, plans and applies. Content that must be staged passes in batches that fit the stage: each is admitted
// before the next is fetched. Tags that move and everything that is removed are planned once, at the end, over everything.
func Reconcile(ctx context.Context, d Desired, o Observed, s Sensors, e Effects, now time.Time) Report {
	total := &ledger{actions: map[string]Action{}, outcomes: map[string]Outcome{}, profiles: map[string]Profile{}}
	o = observe(ctx, d, o, s, now, func(o Observed) Observed {
		batch := Diff(d, o, now).admissions()
		result := Apply(ctx, batch, e)
		total.enter(batch, result)
		return o.after(batch, result)
	})
	p := Diff(d, o, now)
	result := Apply(ctx, p, e)
	total.enter(p, result)
	return total.report(p, result)
}

// observe asks until Ask has no question left. Before content is staged a second time, settle may use what was staged first.
func observe(ctx context.Context, d Desired, o Observed, s Sensors, now time.Time, settle func(Observed) Observed) Observed {
	staged := false
	for {
		qs := Ask(d, o, now)
		if len(qs) == 0 {
			return o
		}
		scans := slices.ContainsFunc(qs, func(q Question) bool { return q.Kind == AskScan })
		if scans && staged {
			o = settle(o)
			staged = false
			continue
		}
		if s.Asking != nil {
			s.Asking(qs)
		}
		o = o.With(answerAll(ctx, s, o, qs))
		staged = staged || scans
	}
}

func answerAll(ctx context.Context, s Sensors, o Observed, qs []Question) map[Question]Answer {
	given := make([]Answer, len(qs))
	cores := make(chan struct{}, runtime.GOMAXPROCS(0))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(parallel, len(qs)) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(qs)); i = next.Add(1) - 1 {
				given[i] = answer(ctx, s, o, qs[i], cores)
			}
		})
	}
	workers.Wait()
	answers := make(map[Question]Answer, len(qs))
	for i, q := range qs {
		answers[q] = given[i]
	}
	return answers
}

// answer asks the sensor that a question belongs to. Whatever goes wrong is a gap.
func answer(ctx context.Context, s Sensors, o Observed, q Question, cores chan struct{}) (a Answer) {
	defer func() {
		if p := recover(); p != nil {
			a = Answer{Gap: &Gap{Question: q, Reason: fmt.Sprintf("internal error: %v", p)}}
		}
	}()
	err := ctx.Err()
	if err == nil {
		a, err = sense(ctx, s, o, q, cores)
	}
	if err != nil {
		return Answer{Gap: &Gap{Question: q, Reason: err.Error(), Missing: errors.Is(err, ErrNotFound)}}
	}
	return a
}

func sense(ctx context.Context, s Sensors, o Observed, q Question, cores chan struct{}) (a Answer, err error) {
	image := Image{q.Repo, q.Digest}
	switch q.Kind {
	case AskRepos:
		a.Repos, err = s.Holdings.Repos(ctx, q.Prefix)
	case AskTags:
		a.Tags, err = s.Holdings.Tags(ctx, q.Repo)
	case AskHas:
		a.Has, err = s.Holdings.Has(ctx, image)
	case AskTree:
		a.Tree, err = s.Content.Tree(ctx, image)
	case AskRecords:
		a.Records, err = s.Records.Records(ctx, image)
	case AskProofs:
		if s.Witness == nil {
			return a, errors.New("nobody verifies what others signed")
		}
		a.Proofs, err = s.Witness.Proofs(ctx, image, q.Trust)
	case AskBeside:
		if s.Beside == nil {
			return a, errors.New("nobody lists what lies beside images")
		}
		a.Beside, err = s.Beside.Attachments(ctx, image)
	case AskReview:
		if s.Reviews == nil {
			return a, errors.New("there is no forge to ask")
		}
		a.Review, err = s.Reviews.Review(ctx, q.Entry)
	case AskHistory:
		a.History, err = s.History.History(ctx, q.Since)
	case AskScan:
		a.Scan, err = scan(ctx, s, q, cores)
	case AskRescan:
		a.Scan, err = rescan(ctx, s, o, q, cores)
	default:
		err = fmt.Errorf("no sensor answers %q", q.Kind)
	}
	return a, err
}

// scan stages content like other reading, and then waits for one of the machine's cores: scanners are bound by them, and by memory.
func scan(ctx context.Context, s Sensors, q Question, cores chan struct{}) (Scan, error) {
	scanner, ok := s.Scanners[q.Scanner]
	if !ok {
		return Scan{}, fmt.Errorf("there is no scanner %q", q.Scanner)
	}
	layout, err := s.Stage.Stage(ctx, Image{q.Repo, q.Root}, q.Digest)
	if err != nil {
		return Scan{}, fmt.Errorf("stage %s: %w", Image{q.Repo, q.Digest}, err)
	}
	cores <- struct{}{}
	defer func() { <-cores }()
	found, err := scanner.Scan(ctx, layout, Image{q.Repo, q.Digest})
	return found, errors.Join(err, s.Stage.Release(layout))
}

// rescan judges an inventory that was attested earlier.
func rescan(ctx context.Context, s Sensors, o Observed, q Question, cores chan struct{}) (Scan, error) {
	scanner, ok := s.Scanners[q.Scanner].(Rescanner)
	if !ok {
		return Scan{}, fmt.Errorf("the scanner %q can't judge an inventory", q.Scanner)
	}
	inventory, ok := o.inventory(q)
	if !ok {
		return Scan{}, fmt.Errorf("there is no inventory of %s by %s", Image{q.Repo, q.Digest}, q.Scanner)
	}
	cores <- struct{}{}
	defer func() { <-cores }()
	return scanner.Rescan(ctx, inventory, Image{q.Repo, q.Digest})
}

// admissions keeps the actions that bring content in, but for tags.
func (p Plan) admissions() Plan {
	p.Actions = slices.Clone(p.Actions)
	p.Actions = slices.DeleteFunc(p.Actions, func(a Action) bool { return phase[a.Kind] > phase[Place] })
	return p
}

// after returns what is known once a batch was applied: copies are there, and records about what was touched have to be read again.
func (o Observed) after(p Plan, r Result) Observed {
	held := map[Question]Answer{}
	var touched []Question
	for i, a := range p.Actions {
		if a.Kind == Copy && r.Outcomes[i].Status == Done {
			held[Question{Kind: AskHas, Repo: a.To, Digest: a.Digest}] = Answer{Has: true}
		}
		if a.Kind == Place {
			touched = append(touched, Question{Kind: AskRecords, Repo: a.To, Digest: a.Digest})
		}
	}
	return o.With(held).without(AskRecords, touched)
}

// ledger joins the plans and results of the batches with the last ones.
type ledger struct {
	actions  map[string]Action
	outcomes map[string]Outcome
	profiles map[string]Profile // by image and digest: what a batch has admitted is settled in the plans after it
}

func (l *ledger) enter(p Plan, r Result) {
	for i, a := range p.Actions {
		l.actions[a.ID] = a
		l.outcomes[a.ID] = r.Outcomes[i]
	}
	for _, x := range p.Profiles {
		l.profiles[x.Image+"@"+x.Digest.s] = x
	}
}

func (l *ledger) report(p Plan, last Result) Report {
	p.Actions = slices.AppendSeq([]Action{}, maps.Values(l.actions))
	sortActions(p.Actions)
	p.Profiles = slices.AppendSeq([]Profile(nil), maps.Values(l.profiles))
	sortBy(p.Profiles, func(x Profile) string { return x.Image + "@" + x.Digest.s })
	result := Result{Outcomes: make([]Outcome, 0, len(p.Actions)), Blocked: last.Blocked}
	for _, a := range p.Actions {
		result.Outcomes = append(result.Outcomes, l.outcomes[a.ID])
	}
	sortFindings(result.Blocked)
	return Report{Plan: p, Result: &result}
}
