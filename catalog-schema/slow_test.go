//go:build !race

package catalog

// slow is how many seconds a hostile catalog may take.
const slow = 1
