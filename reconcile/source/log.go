package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/assay-oci/assay/reconcile"
)

// A Commit is one state of the catalog.
type Commit struct {
	Hash  string
	Until time.Time // when the next commit replaced it; zero for the newest
	Files fs.FS
}

// Log walks the history of the branch from the source's commit back, newest first, along first parents (what was merged, when it was merged),
// up to the state that held at the time since. An error ends it; history that can't be had is reconcile.ErrUnavailable.
func (s *Source) Log(ctx context.Context, since time.Time) iter.Seq2[Commit, error] {
	return func(yield func(Commit, error) bool) {
		if s.repo == nil {
			yield(Commit{}, fmt.Errorf("a working tree has no history: %w", reconcile.ErrUnavailable))
			return
		}
		hash := s.commit
		var until time.Time
		for {
			c, next, at, err := s.step(ctx, hash, until)
			if errors.Is(err, errNoFolder) {
				return // the catalog begins here
			}
			if !yield(c, err) || err != nil || at.Before(since) || next.IsZero() {
				return
			}
			hash, until = next, at
		}
	}
}

// step reads one commit, and says which comes before it and when this one was made.
func (s *Source) step(ctx context.Context, hash plumbing.Hash, until time.Time) (c Commit, parent plumbing.Hash, at time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.repo.commit(ctx, hash)
	if err != nil {
		return c, parent, at, err
	}
	files, err := s.filesOf(o)
	if err != nil {
		return c, parent, at, err
	}
	if len(o.ParentHashes) > 0 {
		parent = o.ParentHashes[0]
	}
	return Commit{Hash: hash.String(), Until: until, Files: files}, parent, o.Committer.When, nil
}
