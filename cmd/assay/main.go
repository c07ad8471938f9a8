// Command assay makes registries hold what a Git catalog approves.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes. They are part of the interface: scripts and workflows depend on them.
const (
	exitOK      = 0 // done, or nothing to do
	exitError   = 1 // nothing could be done
	exitChanges = 2 // plan --detailed-exitcode: changes are pending
	exitBlocked = 3 // policy, or a registry's inability, blocks something, or an approved image violates its policy
	exitFailed  = 4 // some actions failed, or something could not be read: run again
)

// exit ends the program with a code. Its message, if any, was printed.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr}))
}

func run(ctx context.Context, args []string, io stdio) int {
	root := newRoot(io)
	root.SetArgs(longFlags(args))
	err := root.ExecuteContext(ctx)
	var code exit
	switch {
	case err == nil:
		return exitOK
	case ctx.Err() != nil:
		fmt.Fprintln(io.err, "assay: interrupted; run it again to go on")
		return exitFailed
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintln(io.err, "assay: "+err.Error())
	return exitError
}

func newRoot(io stdio) *cobra.Command {
	root := &cobra.Command{
		Use:   "assay",
		Short: "Make registries hold what a Git catalog approves",
		Long: `Assay copies, scans, signs and tags the container images that a Git catalog approves, deletes what it revokes,
and corrects what was changed by hand.

Exit codes: 0 done or nothing to do, 1 error, 2 changes are pending (plan --detailed-exitcode),
3 blocked by policy, 4 some actions failed or something could not be read (run again).`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(io.in)
	root.SetOut(io.out)
	root.SetErr(io.err)
	root.AddCommand(newInit(io), newPlan(io), newReconcile(io), newComment(io), newDrift(io), newValidate(io), newFmt(io), newDB(io), newPolicy(io), newVerify(io), newScan(io), newExposure(io), newExport(io),
		newServe(io), newDemo(io), newVersion(io))
	return root
}
