package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/forge/github"
	"github.com/assay-oci/assay/reconcile/source"
)

// The forge: who approved, and where people read what came of it.

// reviewer asks the forge. Where it can't be asked, nothing is approved, and all else goes on.
func (a *assembly) reviewer(ctx context.Context, g reconcile.Gate) reconcile.Reviewer {
	o, err := github.Environment()
	if err != nil {
		return noReviewer{err}
	}
	o.Repository = forgeRepository(g, a.options.location)
	client, err := github.New(o)
	if err != nil {
		return noReviewer{err}
	}
	h := catalogHistory{source: a.source, baseline: g.Baseline}
	branch := a.options.ref
	if a.base != "" {
		_, commit, err := a.source.At(ctx, a.base)
		if err != nil {
			return noReviewer{err}
		}
		merged := a.options.catalogOptions
		merged.commit, merged.workingTree = commit, false
		if h.source, err = openSource(ctx, merged, a.cache); err != nil {
			return noReviewer{err}
		}
		h.head, branch = a.requested(ctx, commit), a.base
	}
	return github.NewGate(client, github.GateOptions{Mode: g.Mode, Branch: branchName(branch), Path: h.source.Path(), History: h, Declares: entriesIn})
}

// requested is the head of the pull request that is planned: the commit itself or, where that is the merge which the forge tries out, what it merges into the base.
func (a *assembly) requested(ctx context.Context, base string) string {
	commit := a.source.Commit()
	if _, first, err := a.source.At(ctx, commit+"^1"); err != nil || first != base {
		return commit
	}
	if _, second, err := a.source.At(ctx, commit+"^2"); err == nil {
		return second
	}
	return commit
}

// noReviewer can't ask.
type noReviewer struct{ err error }

func (r noReviewer) Review(context.Context, reconcile.Entry) (reconcile.Review, error) {
	return reconcile.Review{}, fmt.Errorf("ask who approved it: %w", r.err)
}

// catalogHistory finds in Git how entries came in.
type catalogHistory struct {
	source   *source.Source // at the branch's commit
	head     string         // of a pull request that is planned; empty where the branch itself is
	baseline string
}

// Introduced implements github.History.
func (h catalogHistory) Introduced(ctx context.Context, e reconcile.Entry) (github.Introduction, error) {
	in, old, err := introduced(func(yield func(revision, error) bool) {
		for r, err := range h.source.Log(ctx, time.Time{}) {
			if !yield(revision{r.Commit, r.Time, r.FS}, err) {
				return
			}
		}
	}, e, h.baseline)
	if h.head != "" && errors.Is(err, reconcile.ErrNotFound) {
		return github.Introduction{Commit: h.head, Open: true}, nil
	}
	return github.Introduction{Commit: in.commit, When: in.when, Baseline: old}, err
}
