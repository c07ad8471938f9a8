// Command reference writes REFERENCE.md of the catalog's language. It is run by go generate.
package main

import (
	"fmt"
	"os"

	catalog "github.com/assay-oci/assay/catalog-schema"
)

func main() {
	if err := os.WriteFile("REFERENCE.md", catalog.Reference(), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
