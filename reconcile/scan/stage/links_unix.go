//go:build unix

package stage

import (
	"io/fs"
	"syscall"
)

// links counts the names of a file; a blob with a second one belongs to a layout of some run.
func links(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Nlink) //nolint:unconvert // it is narrower on other systems
	}
	return 1
}
