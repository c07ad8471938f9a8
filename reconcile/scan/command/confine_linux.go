package command

import (
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Isolated tells whether programs run without a network here.
func Isolated() bool { return isolation() != 0 }

// isolation returns the flags of clone(2) that give a program a network of its own, in which there is nothing; 0 if the system refuses
// all of them, as many containers do.
var isolation = sync.OnceValue(func() uintptr {
	for _, flags := range []uintptr{syscall.CLONE_NEWNET, syscall.CLONE_NEWNET | syscall.CLONE_NEWUSER} {
		cmd := exec.Command("true")
		cmd.SysProcAttr = attributes(flags)
		if cmd.Run() == nil {
			return flags
		}
	}
	return 0
})

func attributes(flags uintptr) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true, Cloneflags: flags}
	if flags&syscall.CLONE_NEWUSER != 0 {
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}}
	}
	return a
}

// confine puts a program into a group of its own, so that it can be ended with all its children, and takes its network away.
func confine(cmd *exec.Cmd) {
	cmd.SysProcAttr = attributes(isolation())
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
}

func killGroup(pid int) { _ = unix.Kill(-pid, unix.SIGKILL) }

// limitMemory bounds the memory that a process may write to; address space that it only reserves doesn't count. Children inherit it.
func limitMemory(pid int, bytes uint64) error {
	for resource, n := range map[int]uint64{unix.RLIMIT_DATA: bytes, unix.RLIMIT_CORE: 0} {
		limit := unix.Rlimit{Cur: n, Max: n}
		if err := unix.Prlimit(pid, resource, &limit, nil); err != nil && err != unix.ESRCH {
			return err
		}
	}
	return nil
}
