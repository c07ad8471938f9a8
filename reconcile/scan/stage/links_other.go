//go:build !unix

package stage

import "io/fs"

// links can't tell here whether a blob belongs to a layout. Evicting one that does frees no room, and harms nothing.
func links(fs.FileInfo) uint64 { return 1 }
