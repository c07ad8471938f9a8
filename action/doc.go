// Package action holds the GitHub Action's tests; the Action is action.yml and the scripts beside it.
package action

//go:generate go test -run TestTheReadmeTellsTheInterface -update .
