package program

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	landlockRead  = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	landlockFile  = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE
	landlockWrite = landlockRead | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK | unix.LANDLOCK_ACCESS_FS_MAKE_SYM // all of its first version, Linux 5.13
)

// landlock lets this process, and what it becomes, open what a view would show and nothing else. It is for systems that don't let it have a
// mount namespace; it needs no right at all.
func landlock(s settings) error {
	fd, err := ruleset()
	if err != nil {
		return fmt.Errorf("ask for Landlock: %w", err)
	}
	defer unix.Close(fd)
	for _, path := range append(append([]string{}, system...), s.readable()...) {
		if err := allow(fd, path, landlockRead); err != nil {
			return err
		}
	}
	for _, path := range devices {
		if err := allow(fd, path, landlockFile); err != nil {
			return err
		}
	}
	if err := allow(fd, s.Dir, landlockWrite); err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(fd), 0, 0); errno != 0 {
		return fmt.Errorf("enforce Landlock: %w", errno)
	}
	return nil
}

// ruleset asks for all that the kernel can refuse: TCP since Linux 6.7, other processes' abstract sockets and signals since 6.12. Older kernels
// know fewer fields.
func ruleset() (int, error) {
	a := unix.LandlockRulesetAttr{Access_fs: landlockWrite, Access_net: unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP,
		Scoped: unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL}
	var errno syscall.Errno
	for _, size := range []uintptr{unsafe.Sizeof(a), unsafe.Offsetof(a.Scoped), unsafe.Offsetof(a.Access_net)} {
		var fd uintptr
		fd, _, errno = unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&a)), size, 0)
		if errno == 0 {
			return int(fd), nil
		}
		if errno != unix.E2BIG && errno != unix.EINVAL {
			break
		}
	}
	return 0, errno
}

// allow adds a rule for a path and all below it. One that doesn't exist needs none.
func allow(ruleset int, path string, access uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("allow %s: %w", path, err)
	}
	defer unix.Close(fd)
	var info unix.Stat_t
	if err := unix.Fstat(fd, &info); err != nil {
		return err
	}
	if info.Mode&unix.S_IFMT != unix.S_IFDIR {
		access &= landlockFile
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	if _, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0); errno != 0 {
		return fmt.Errorf("allow %s: %w", path, errno)
	}
	return nil
}
