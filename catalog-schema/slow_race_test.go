//go:build race

package catalog

// slow is how many seconds a hostile catalog may take; the race detector slows the parser tenfold.
const slow = 10
