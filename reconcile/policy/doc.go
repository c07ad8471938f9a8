// Package policy holds the rules that a catalog's policies may name, one file each: its parameters, its check, its documentation.
//
// A check is pure. Evidence that is missing is a finding, never a pass. To add a rule, add a file that registers it, its test, and run
// go generate; nothing else changes.
package policy

//go:generate go run ./internal/reference
