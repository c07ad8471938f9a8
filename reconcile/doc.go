// Package reconcile is the core of Assay: it decides what has to be done so that registries hold what a Git
// catalog approves, and carries it out through interfaces.
//
// One way leads through it:
//
//	Desired ──┐
//	          ├─ Diff ─▶ Plan ─ Apply ─▶ Result
//	Observed ─┘
//	    ▲
//	    └─ answers of Sensors to the questions of Ask
//
// Ask and Diff are pure: no I/O, no clock, no dependence on the order of their input. Apply decides nothing: whatever it
// does stands in the Plan, with the preconditions that it checks right before it writes. The package depends on
// the standard library alone; adapters (registries, scanners, signers, Git) import it and are wired in cmd/assay.
package reconcile
