package program

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Between the fork and the program something must take away what is left: mounts, capabilities, limits. Go can't run code there, so our
// own binary is started first, in the new namespaces and under a name that nobody else uses; it confines itself and then becomes the program.
const helperName = "assay-confined-scanner"

// settings are one run as the helper is told about it.
type settings struct {
	Program   string
	Args      []string
	Env       []string
	Dir       string
	Read      []string
	Memory    int64
	Processes int
	Sealed    bool // the program is file descriptor 3
	View      bool // whether to hide the file system
	Landlock  bool // whether to ask Landlock to, where it can't be hidden
	Probe     bool // only see whether all this is allowed
}

func init() {
	if len(os.Args) == 2 && os.Args[0] == helperName {
		err := help([]byte(os.Args[1]))
		if err != nil {
			fmt.Fprintln(os.Stderr, "assay could not confine it:", err)
			os.Exit(125)
		}
		os.Exit(0) // it was a probe
	}
}

// A level is how far the system lets us confine a program.
type level struct {
	flags    uintptr // of clone(2)
	view     bool
	landlock bool
	missing  string
}

const namespaces = syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS | syscall.CLONE_NEWNS

// levels, the best first. The last one always works.
var levels = []level{
	{flags: namespaces | syscall.CLONE_NEWUSER, view: true},
	{flags: namespaces, view: true}, // root, where user namespaces are off
	{flags: namespaces | syscall.CLONE_NEWUSER, landlock: true},
	{flags: namespaces | syscall.CLONE_NEWUSER, missing: "a view of the files of its own"},
	{landlock: true, missing: "a network and processes of its own (user namespaces are not allowed)"},
	{missing: "a network, processes and a view of the files of its own (neither user namespaces nor Landlock are allowed)"},
}

// allowedLevel asks the system once.
var allowedLevel = sync.OnceValue(func() level {
	for _, l := range levels[:len(levels)-1] {
		dir, err := makeFolder()
		if err != nil {
			continue
		}
		cmd, err := helper(context.Background(), settings{Dir: dir, Probe: true, Memory: 1 << 30, Processes: defaultProcesses}, l, nil)
		if err == nil {
			err = cmd.Run()
		}
		removeFolder(dir)
		if err == nil {
			return l
		}
	}
	return levels[len(levels)-1]
})

// Missing says in one line what the system doesn't give to a program that is to be confined; empty if nothing.
func Missing() string { return allowedLevel().missing }

func command(ctx context.Context, s settings, binary *os.File) (*exec.Cmd, error) {
	return helper(ctx, s, allowedLevel(), binary)
}

func helper(ctx context.Context, s settings, l level, binary *os.File) (*exec.Cmd, error) {
	s.View, s.Landlock, s.Sealed = l.view, l.landlock, binary != nil
	b, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{helperName, string(b)}
	cmd.Dir, cmd.Env = s.Dir, []string{"GOMAXPROCS=1"}
	if binary != nil {
		cmd.ExtraFiles = []*os.File{binary}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: l.flags}
	if l.flags&syscall.CLONE_NEWUSER != 0 {
		// root within, so that it may mount; without, still only the caller
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	return cmd, nil
}

// end ends what a program left running. In a process namespace of its own nothing can be left; elsewhere its group may.
func end(pid int) { _ = unix.Kill(-pid, unix.SIGKILL) }

// help is the helper: it confines the process that it runs in, and becomes the program.
func help(b []byte) error {
	runtime.LockOSThread() // what follows is taken from a thread, and it is this one that becomes the program
	var s settings
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	if s.View {
		if err := hide(s); err != nil {
			return err
		}
	}
	if err := limit(s); err != nil {
		return err
	}
	if err := dropCapabilities(); err != nil {
		return err
	}
	if s.Landlock {
		if err := landlock(s); err != nil {
			return err
		}
	}
	if s.Probe {
		return nil
	}
	return become(s)
}

// limit sets what the kernel watches for each process. The sum over all of them is watched from outside; see watch.
func limit(s settings) error {
	for resource, n := range map[int]uint64{
		unix.RLIMIT_DATA:   uint64(s.Memory), // what it may write to; address space that is only reserved doesn't count
		unix.RLIMIT_CORE:   0,
		unix.RLIMIT_FSIZE:  maxFile,
		unix.RLIMIT_NOFILE: maxOpen,
	} {
		var now unix.Rlimit
		if err := unix.Getrlimit(resource, &now); err != nil {
			return fmt.Errorf("read limit %d: %w", resource, err)
		}
		n = min(n, now.Max)
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: n, Max: n}); err != nil {
			return fmt.Errorf("set limit %d: %w", resource, err)
		}
	}
	return nil
}

const (
	maxFile = 32 << 30 // bytes of one file: as much as a layer may expand to
	maxOpen = 4096     // open files
)

// dropCapabilities takes all of them away, for good: a set-user-ID program gives none back.
func dropCapabilities() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("forbid new privileges: %w", err)
	}
	for c := uintptr(0); c <= 63; c++ {
		// EINVAL: there is no such capability. EPERM: we have none that could take it away, and so none that could be kept.
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && err != unix.EINVAL && err != unix.EPERM {
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	return nil
}

// become replaces this process with the program.
func become(s settings) error {
	if err := os.Chdir(s.Dir); err != nil {
		return err
	}
	argv := append([]string{s.Program}, s.Args...)
	if !s.Sealed {
		return fmt.Errorf("run %s: %w", s.Program, unix.Exec(s.Program, argv, s.Env))
	}
	args, err := syscall.SlicePtrFromStrings(argv)
	if err != nil {
		return err
	}
	env, err := syscall.SlicePtrFromStrings(s.Env)
	if err != nil {
		return err
	}
	const sealed = 3
	empty := []byte{0}
	_, _, errno := unix.Syscall6(unix.SYS_EXECVEAT, sealed, uintptr(unsafe.Pointer(&empty[0])), uintptr(unsafe.Pointer(&args[0])), uintptr(unsafe.Pointer(&env[0])), unix.AT_EMPTY_PATH, 0)
	return fmt.Errorf("run the sealed copy of %s: %w", s.Program, errno)
}
