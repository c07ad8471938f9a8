// Command reference writes REFERENCE.md of the rules. It is run by go generate.
package main

import (
	"fmt"
	"os"

	"github.com/assay-oci/assay/reconcile/policy"
)

func main() {
	if err := os.WriteFile("REFERENCE.md", policy.Reference(), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
