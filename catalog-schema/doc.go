// Package catalog reads the catalog: the HCL files that say which images are approved, where they go and which rules bind them.
//
// Load turns the files of a commit into reconcile.Desired. Mistakes are diagnostics with the file and line, all reported at once; a mistake
// in one image leaves the others alone (they stand in Desired.Broken). Nothing in the language is computed: what a reviewer
// reads is what happens. REFERENCE.md, generated from the types in blocks.go, documents each block.
package catalog

//go:generate go run ./internal/reference
