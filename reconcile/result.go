package reconcile

import (
	"slices"
	"time"
)

// Status is how an action ended.
type Status string

// The ways in which an action ends.
const (
	Done    Status = "done"
	Failed  Status = "failed"
	Stale   Status = "stale"   // a precondition no longer held; nothing was written
	Skipped Status = "skipped" // an action that it needs was not done, or the run was ended
)

// An Outcome is how one action ended, and why.
type Outcome struct {
	ID     string `json:"id"`
	Status Status `json:"status"`
	Reason string `json:"reason,omitempty"`
	Moved  Moved  `json:"moved,omitzero"` // copy
}

// A Result holds one outcome for each action of a plan, in the plan's order.
type Result struct {
	Outcomes []Outcome `json:"outcomes"`
	Blocked  []Finding `json:"blocked,omitempty"` // what a registry turned out to be unable to do
	Ended    time.Time `json:"ended,omitzero"`    // of the run; zero if nobody looked at a clock
}

// Unable tells whether the registry turned out to be unable to do an action.
func (r Result) Unable(a Action) bool {
	return slices.ContainsFunc(r.Blocked, func(f Finding) bool { return f.Digest == a.Digest && f.Image == a.Title })
}

// A Report is one run as a whole: what was planned and, if it was applied, what came of it.
type Report struct {
	Plan   Plan    `json:"plan"`
	Result *Result `json:"result,omitempty"` // nil for a preview
	Error  string  `json:"error,omitempty"`  // why the run ended before it had a plan, or could apply it; all else is empty then
}
