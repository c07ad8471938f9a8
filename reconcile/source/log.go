package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/assay-oci/assay/reconcile"
)

// A Revision is the catalog at one commit of its history.
type Revision struct {
	Commit string
	Time   time.Time // when it was committed
	FS     fs.FS
}

// lookAhead is how many commits older than the time asked for are looked at before the history counts as read: whoever commits chooses
// the date, and one that is wrong shall not hide what lies behind it.
const lookAhead = 20

// depths are how far a shallow clone is deepened, step by step; 0 is everything.
var depths = []int{64, 1024, 0}

// Log gives the commits on the first-parent line from Commit back, newest first: those since a time, and the one before them, which says what
// the catalog was at that time. History that can't be had is an error that wraps reconcile.ErrUnavailable, as the last element.
func (s *Source) Log(ctx context.Context, since time.Time) iter.Seq2[Revision, error] {
	return func(yield func(Revision, error) bool) {
		if s.dirty != nil {
			yield(Revision{}, fmt.Errorf("read the catalog's history: a working tree read as it is has none: %w", reconcile.ErrUnavailable))
			return
		}
		var older []*object.Commit // seen beyond since, not given out yet
		give := func(c *object.Commit) bool {
			f, err := s.files(c.Hash)
			if err == nil && ctx.Err() != nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(Revision{}, fmt.Errorf("read the catalog's history at commit %s: %w", c.Hash, err))
				return false
			}
			return yield(Revision{Commit: c.Hash.String(), Time: c.Committer.When, FS: f}, nil)
		}
		for h := s.commit; ; {
			c, err := s.ancestor(ctx, h)
			if err != nil {
				yield(Revision{}, fmt.Errorf("read the catalog's history: %w", err))
				return
			}
			older = append(older, c)
			if !c.Committer.When.Before(since) {
				for _, x := range older {
					if !give(x) {
						return
					}
				}
				older = nil
			}
			if len(older) > lookAhead || len(c.ParentHashes) == 0 {
				break
			}
			h = c.ParentHashes[0]
		}
		if len(older) > 0 {
			give(older[0])
		}
	}
}

// ancestor returns a commit of the history, and deepens the clone if it isn't here.
func (s *Source) ancestor(ctx context.Context, h plumbing.Hash) (*object.Commit, error) {
	_, c, err := s.lookup(h)
	if err == nil {
		return c, nil
	}
	s.fetching.Lock()
	defer s.fetching.Unlock()
	_, c, err = s.lookup(h)
	for err != nil && errors.Is(err, reconcile.ErrUnavailable) && s.deepened < len(depths) {
		if e := s.fetchCommit(ctx, s.commit, depths[s.deepened]); e != nil {
			return nil, e
		}
		s.deepened++
		_, c, err = s.lookup(h)
	}
	return c, err
}
