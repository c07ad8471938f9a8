package catalog

import (
	"fmt"
	"io/fs"
	"iter"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

// A State is what the catalog was until a moment.
type State struct {
	Until time.Time // when the next commit replaced it; zero for the newest
	Files fs.FS
}

// History joins what the catalog approved in a row of states, which comes newest first and reaches back to since. An error in the row is
// returned: a history with a hole says nothing about how long something has been absent.
func History(states iter.Seq2[State, error], since time.Time, opts Options) (reconcile.History, error) {
	h := reconcile.History{Since: since}
	seen := map[string]bool{}
	for s, err := range states {
		if err != nil {
			return reconcile.History{}, fmt.Errorf("read the catalog's history: %w", err)
		}
		for _, a := range Approvals(s.Files, opts) {
			key := fmt.Sprint(a.Image, "\x00", a.Version, "\x00", a.Digest, a.Repos)
			if !seen[key] { // the newest state that has it says until when
				seen[key] = true
				a.Last = s.Until
				h.Approvals = append(h.Approvals, a)
			}
		}
	}
	return h, nil
}
