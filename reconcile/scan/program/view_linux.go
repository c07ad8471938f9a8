package program

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// system is what programs need of the machine besides their own files: interpreters, libraries, and how to find them. Nothing of it is
// secret. A home, /run with its sockets, /var and /tmp are not among it.
var system = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/nix/store", "/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf",
	"/etc/ld.so.conf.d", "/etc/localtime"}

var devices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}

// hide gives this process a file system in which there is only what a program needs: the system, read-only; what the job lets it read;
// its own folder, the only one that it can write to. It needs a mount namespace of its own.
func hide(s settings) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to itself: %w", err)
	}
	root := filepath.Join(s.Dir, "tmp") // an empty folder, which is covered here and seen again within
	if err := unix.Mount("tmpfs", root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=1m,nr_inodes=10k,mode=755"); err != nil {
		return fmt.Errorf("make an empty file system: %w", err)
	}
	v := view(root)
	for _, path := range system {
		if err := v.show(path, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV); err != nil {
			return err
		}
	}
	for _, path := range devices {
		if err := v.show(path, unix.MOUNT_ATTR_NOSUID); err != nil {
			return err
		}
	}
	for _, path := range s.readable() {
		if err := v.show(filepath.Clean(path), unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV); err != nil {
			return err
		}
	}
	if err := v.processes(); err != nil {
		return err
	}
	if err := v.showOwn(s.Dir); err != nil {
		return err
	}
	return v.enter(s.Dir)
}

// readable lists the files and folders that are the job's, not the system's.
func (s settings) readable() []string {
	var out []string
	if s.Program != "" {
		out = append(out, s.Program)
	}
	for _, path := range s.Read {
		out = append(out, filepath.Clean(path))
	}
	return out
}

// A view is the root of a file system that is being made.
type view string

// show makes a path visible, with all that is mounted below it. One that doesn't exist stays absent; a link stays a link.
func (v view) show(path string, attributes uint64) error {
	target := filepath.Join(string(v), path)
	if path == "/" || string(v) == path {
		return fmt.Errorf("all of %s can't be shown", path)
	}
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&os.ModeSymlink != 0 && strings.Count(path, "/") == 1 { // /lib is one to usr/lib
		to, err := os.Readlink(path)
		if err != nil {
			return err
		}
		return os.Symlink(to, target)
	}
	if err := v.place(path, target); err != nil {
		return err
	}
	if err := unix.Mount(path, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("show %s: %w", path, err)
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, target, unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: attributes}); err != nil {
		return fmt.Errorf("protect %s: %w", path, err)
	}
	return nil
}

// showOwn shows the program's own folder, without what covers the folder for temporary files in it: this view.
func (v view) showOwn(dir string) error {
	target := filepath.Join(string(v), dir)
	if err := v.place(dir, target); err != nil {
		return err
	}
	if err := unix.Mount(dir, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("show %s: %w", dir, err)
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, target, 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}); err != nil {
		return fmt.Errorf("protect %s: %w", dir, err)
	}
	return nil
}

// place makes what a path is mounted on.
func (v view) place(path, target string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(target); err == nil {
		return nil // it is below something that is shown already
	}
	if info.IsDir() {
		return os.MkdirAll(target, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// processes shows the namespace's own processes. Where the system refuses it there are none to be seen, which most programs don't mind.
func (v view) processes() error {
	target := filepath.Join(string(v), "proc")
	if err := os.Mkdir(target, 0o755); err != nil {
		return err
	}
	_ = unix.Mount("proc", target, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	return os.Symlink("/proc/self/fd", filepath.Join(string(v), "dev", "fd")) // by which interpreters read a sealed script
}

// enter makes the view the root, lets go of all else, and takes away the right to write outside of the program's folder.
func (v view) enter(dir string) error {
	if err := os.Chdir(string(v)); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("leave the file system: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("let go of the file system: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
		return fmt.Errorf("protect the root: %w", err)
	}
	return os.Chdir(dir)
}
