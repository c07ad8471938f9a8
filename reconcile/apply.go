package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// parallel bounds the actions that run, and the questions that are asked, at once. What bounds the load on a registry is its adapter's
// limiter; this only keeps the number of open resources small.
const parallel = 64

// Apply carries out a plan and decides nothing. Actions run concurrently, each after those that it needs and else in the plan's order;
// preconditions are checked right before the write. One action's failure skips only those that need it. When ctx ends, what has not begun
// is skipped.
func Apply(ctx context.Context, p Plan, e Effects) Result {
	r := &run{ctx: ctx, e: e, steps: make(map[string]*step, len(p.Actions))}
	all := r.link(p.Actions)
	waiting := newSchedule(all)
	var workers sync.WaitGroup
	for range min(parallel, len(all)) {
		workers.Go(func() {
			for s := waiting.next(); s != nil; s = waiting.next() {
				r.step(s)
				waiting.ended(s)
			}
		})
	}
	workers.Wait()
	res := Result{Outcomes: make([]Outcome, 0, len(all))}
	for _, s := range all {
		if s.outcome.ID == "" {
			s.outcome = Outcome{ID: s.action.ID, Status: Skipped, Reason: "it waits for an action that waits for it"}
		}
		res.Outcomes = append(res.Outcomes, s.outcome)
		if s.unable != nil {
			res.Blocked = append(res.Blocked, *s.unable)
		}
	}
	return res
}

// run is one Apply.
type run struct {
	ctx   context.Context
	e     Effects
	steps map[string]*step
	told  sync.Mutex
}

// step is an action on its way. Its outcome, record and unable are written before it ends, and read by others only after that.
type step struct {
	action  Action
	at      int     // its place in the plan
	waits   int     // how many that it comes after have not ended; kept by the schedule, like then
	then    []*step // those that come after it
	outcome Outcome
	record  Record   // of sign and attest
	unable  *Finding // what the registry can't do
}

// link makes the steps of a plan, each knowing those that come after it.
func (r *run) link(actions []Action) []*step {
	all := make([]*step, len(actions))
	for i, a := range actions {
		all[i] = &step{action: a, at: i}
		r.steps[a.ID] = all[i]
	}
	for _, s := range all {
		for _, id := range slices.Concat(s.action.After, s.action.Needs) {
			if before, ok := r.steps[id]; ok {
				before.then = append(before.then, s)
				s.waits++
			}
		}
	}
	return all
}

func (r *run) step(s *step) {
	s.outcome = Outcome{ID: s.action.ID}
	if why := r.unmet(s.action); why != "" {
		s.outcome.Status, s.outcome.Reason = Skipped, why
	} else {
		r.perform(s)
	}
	if r.e.Done != nil {
		r.told.Lock()
		defer r.told.Unlock()
		r.e.Done(s.action, s.outcome)
	}
}

// unmet says why an action can't run: something that it needs was not done, or the run was ended.
func (r *run) unmet(a Action) string {
	for _, id := range a.Needs {
		need, ok := r.steps[id]
		if !ok {
			return fmt.Sprintf("it needs %s, which the plan doesn't have", id)
		}
		if need.outcome.Status != Done {
			return fmt.Sprintf("%s %s was not done", need.action.Kind, Image{need.action.To, need.action.Digest}.short())
		}
	}
	if r.ctx.Err() != nil {
		return "the run was ended"
	}
	return ""
}

func (i Image) short() string {
	if i.Repo.IsZero() {
		return i.Digest.Short()
	}
	return i.Repo.String() + "@" + i.Digest.Short()
}

func (r *run) perform(s *step) {
	defer func() {
		if p := recover(); p != nil {
			s.outcome.Status, s.outcome.Reason = Failed, fmt.Sprintf("internal error: %v", p)
		}
	}()
	if why, err := r.stale(s.action); err != nil {
		s.outcome.Status, s.outcome.Reason = Failed, err.Error()
		return
	} else if why != "" {
		s.outcome.Status, s.outcome.Reason = Stale, why
		return
	}
	err := r.write(s)
	switch {
	case err == nil:
		s.outcome.Status = Done
	case errors.Is(err, ErrUnsupported) && s.action.Kind == Untag:
		f := CannotUntag(s.action.Title, s.action.To, s.action.Tag, s.action.Digest, err.Error())
		s.unable = &f
		s.outcome.Status, s.outcome.Reason = Skipped, err.Error()
	case errors.Is(err, ErrUnsupported) && s.action.Kind == Retire: // it does no harm where it is
		s.outcome.Status, s.outcome.Reason = Skipped, err.Error()
	case r.ctx.Err() != nil:
		s.outcome.Status, s.outcome.Reason = Failed, "the run was ended"
	default:
		s.outcome.Status, s.outcome.Reason = Failed, err.Error()
	}
}

// stale checks the preconditions of an action.
func (r *run) stale(a Action) (string, error) {
	if a.If.Commit != "" && r.e.Catalog != nil {
		tip, err := r.e.Catalog.Tip(r.ctx)
		if err != nil {
			return "", fmt.Errorf("ask for the catalog's newest commit: %w", err)
		}
		if tip != a.If.Commit {
			return fmt.Sprintf("the catalog has moved on to %.12s", tip), nil
		}
	}
	if a.If.Was != nil {
		is, err := r.e.Tagger.Current(r.ctx, a.To, a.Tag)
		if err != nil {
			return "", fmt.Errorf("read tag %s of %s: %w", a.Tag, a.To, err)
		}
		if is != *a.If.Was {
			return fmt.Sprintf("tag %s of %s has changed since it was planned", a.Tag, a.To), nil
		}
	}
	return "", nil
}

func (r *run) write(s *step) (err error) {
	a := s.action
	switch a.Kind {
	case Copy:
		s.outcome.Moved, err = r.e.Copier.Copy(r.ctx, Image{a.From, a.Digest}, a.To)
	case Sign, Attest:
		signer, ok := r.e.Signers[a.Statement.Signer]
		if !ok {
			return fmt.Errorf("there is no signer %q", a.Statement.Signer)
		}
		s.record, err = signer.Sign(r.ctx, *a.Statement)
	case Place:
		if len(a.Beside) > 0 {
			return r.e.Carrier.Carry(r.ctx, Image{a.From, a.Digest}, a.To, a.Beside)
		}
		var record Record
		if record, err = r.record(a); err == nil {
			err = r.e.Placer.Place(r.ctx, record, a.To)
		}
	case TagIt:
		err = r.e.Tagger.Tag(r.ctx, Image{a.To, a.Digest}, a.Tag)
	case Untag:
		err = r.e.Tagger.Untag(r.ctx, a.To, a.Tag)
	case Delete, Retire:
		err = r.remove(a)
	default:
		err = fmt.Errorf("the plan asks for %q, which this version does not know", a.Kind)
	}
	return err
}

// remove deletes what the plan lists, in its order. The tags that disappear with a digest are looked at after it: some registries let them
// survive.
func (r *run) remove(a Action) error {
	for _, m := range a.Remove {
		if m.Record != "" {
			if err := r.e.Placer.Withdraw(r.ctx, Image{a.To, m.Subject}, m.Record); err != nil {
				return err
			}
			continue
		}
		if err := r.e.Deleter.Delete(r.ctx, Image{a.To, m.Digest}, m.Subject); err != nil {
			return err
		}
		if m.Digest != a.Digest {
			continue
		}
		for _, t := range a.Drops {
			is, err := r.e.Tagger.Current(r.ctx, a.To, t)
			if err == nil && is == a.Digest {
				err = r.e.Tagger.Untag(r.ctx, a.To, t)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// record returns the record to place: the one that an action of this plan made, or the one that another registry holds.
func (r *run) record(a Action) (Record, error) {
	if made, ok := r.steps[a.Record]; ok {
		return made.record, nil
	}
	all, err := r.e.Placer.Attached(r.ctx, Image{a.From, a.Digest})
	if err != nil {
		return Record{}, fmt.Errorf("read record from %s: %w", a.From, err)
	}
	for _, rec := range all {
		if rec.ID() == a.Record {
			return rec, nil
		}
	}
	return Record{}, fmt.Errorf("%s no longer has the record %.12s", Image{a.From, a.Digest}.short(), a.Record)
}
