package stage

import (
	"errors"
	"os"
	"syscall"
)

// allocate takes a file's room on the disk at once, so that a full disk is known before a download and not in its middle.
func allocate(f *os.File, size int64) error {
	if size == 0 {
		return nil
	}
	err := syscall.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return f.Truncate(size)
	}
	return err
}
