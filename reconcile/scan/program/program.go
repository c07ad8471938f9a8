// Package program runs scanners that are other programs. They are attack surface themselves, and read hostile images: so each run gets a
// clean environment, a folder of its own that is removed afterwards, no network, and as little of the machine as the system can hide from
// it, within limits of time, memory, output and processes. What was checked is what runs: a program with a checksum is run from a sealed
// copy. The adapters trivy, grype, osvscanner and command share it.
package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

// Options say what to run. Zero limits stand for their defaults.
type Options struct {
	Name      string           // the scanner's name in the catalog, for messages
	Path      string           // the program: a name to be looked up in PATH, or a path
	Checksum  reconcile.Digest // that the program's file must have; zero for any
	Timeout   time.Duration    // of one run; 10 minutes
	Output    int64            // bytes that it may print, and bytes of each file of its that is read; 64 MiB
	Memory    int64            // bytes of memory that it and its children may have together; 4 GiB; on Linux only
	Processes int              // how many it may have at once; 256; on Linux only
	Required  bool             // refuse to run where the system can't confine it entirely
}

const (
	defaultTimeout   = 10 * time.Minute
	defaultOutput    = 64 << 20
	defaultMemory    = 4 << 30
	defaultProcesses = 256
)

// A Failure is why a program said nothing that can be used, in one printable line. It is a reason for no verdict, not for trying again.
type Failure string

func (f Failure) Error() string { return string(f) }

// Failf makes a Failure. What it is made of may be hostile: it is shortened and made printable.
func Failf(format string, args ...any) error { return Failure(Printable(fmt.Sprintf(format, args...))) }

// A Program can be run. It may be used concurrently; each run is a process with a folder of its own.
type Program struct {
	o    Options
	path string

	mu     sync.Mutex
	sealed *os.File // the copy whose checksum was right; nil until the first run, and without a checksum
}

// Find looks the program up. Its checksum is looked at when it is run.
func Find(o Options) (*Program, error) {
	path, err := exec.LookPath(o.Path)
	if err == nil || errors.Is(err, exec.ErrDot) {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return nil, fmt.Errorf("scanner %q: %w; is it installed?", o.Name, err)
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Output <= 0 {
		o.Output = defaultOutput
	}
	if o.Memory <= 0 {
		o.Memory = defaultMemory
	}
	if o.Processes <= 0 {
		o.Processes = defaultProcesses
	}
	return &Program{o: o, path: path}, nil
}

// Path returns where the program was found.
func (p *Program) Path() string { return p.path }

// A Job is one run. Args, Env and Prepare may name the run's own folder, which doesn't exist before: it is handed to them.
type Job struct {
	Prepare func(dir string) error    // fills the folder; may be nil
	Args    func(dir string) []string // without the program's name
	Env     func(dir string) []string // besides PATH, HOME, TMPDIR, LANG, GOMAXPROCS and GOMEMLIMIT; may be nil
	Read    []string                  // absolute paths of files and folders, outside of its own, that it may read
	Keep    []string                  // names of files in its folder that are returned, each within the limit of output
	Exits   []int                     // exit statuses that are no failure, besides 0
}

// A Result is what a program left.
type Result struct {
	Stdout []byte
	Files  map[string][]byte // those of Keep that it wrote
}

// Run runs the program and returns what it left. The error is a Failure if the program is to blame, else the context's, or that it could
// not be started. Whatever it started has ended when Run returns (on Linux), and its folder is gone.
func (p *Program) Run(ctx context.Context, j Job) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	for _, path := range j.Read {
		if !filepath.IsAbs(path) || filepath.Clean(path) == "/" {
			return Result{}, fmt.Errorf("a program can't be given %q to read: it needs an absolute path below the root", path)
		}
	}
	if lack := Missing(); lack != "" && p.o.Required {
		return Result{}, Failf("it may only run confined, and this system doesn't give it %s", lack)
	}
	binary, err := p.binary()
	if err != nil {
		return Result{}, err
	}
	dir, err := makeFolder()
	if err != nil {
		return Result{}, err
	}
	defer removeFolder(dir)
	if j.Prepare != nil {
		if err := j.Prepare(dir); err != nil {
			return Result{}, err
		}
	}
	stdout, err := p.run(ctx, dir, binary, j)
	if err != nil {
		return Result{}, err
	}
	files, err := p.keep(dir, j.Keep)
	return Result{Stdout: stdout, Files: files}, err
}

func (p *Program) run(ctx context.Context, dir string, binary *os.File, j Job) ([]byte, error) {
	limited, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	stdout := &limitedBuffer{max: p.o.Output, full: cancel}
	stderr := &tail{max: maxErrors}
	s := settings{Program: p.path, Args: j.Args(dir), Env: p.environment(dir, j), Dir: dir, Read: j.Read, Memory: p.o.Memory, Processes: p.o.Processes}
	cmd, err := command(limited, s, binary)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.WaitDelay = 2 * time.Second // for descendants that keep the output open
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.path, err)
	}
	watched := watch(cmd.Process.Pid, p.o, cancel)
	err = cmd.Wait()
	end(cmd.Process.Pid)
	excess := watched()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case excess != "":
		return nil, Failf("%s", excess)
	case stdout.over():
		return nil, Failf("it printed more than %d bytes", p.o.Output)
	case limited.Err() != nil:
		return nil, Failf("it took longer than %s", p.o.Timeout)
	case errors.As(err, &exit) && allowed(exit.ExitCode(), j.Exits):
	case err != nil:
		return nil, Failf("%s", strings.TrimSuffix(fmt.Sprintf("it failed (%s): %s", err, stderr.lastLine()), ": "))
	}
	return stdout.b.Bytes(), nil
}

func allowed(code int, codes []int) bool {
	for _, c := range codes {
		if c == code && code > 0 {
			return true
		}
	}
	return false
}

// environment is all that the program knows of its surroundings. The core gives each scan one of the machine's cores, so a program made
// with Go is told to use one, and to stay below its limit of memory.
func (p *Program) environment(dir string, j Job) []string {
	env := []string{"PATH=" + systemPath, "HOME=" + dir, "TMPDIR=" + filepath.Join(dir, "tmp"), "LANG=C.UTF-8", "GOMAXPROCS=1",
		fmt.Sprintf("GOMEMLIMIT=%d", p.o.Memory/10*8)}
	if j.Env != nil {
		env = append(env, j.Env(dir)...)
	}
	return env
}

// systemPath has none of the caller's folders: those are hidden from the program.
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// keep reads files that the program wrote. It may have put links there to lead us elsewhere: none is followed out of its folder.
func (p *Program) keep(dir string, names []string) (map[string][]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	out := map[string][]byte{}
	for _, name := range names {
		b, err := p.read(root, name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out[name] = b
	}
	return out, nil
}

func (p *Program) read(root *os.Root, name string) ([]byte, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // a pipe would never end
		return nil, Failf("it left something that is no file in place of %s", name)
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, p.o.Output+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > p.o.Output {
		return nil, Failf("it wrote more than %d bytes to %s", p.o.Output, name)
	}
	return b, nil
}

// makeFolder makes a run's own folder, with the one for temporary files in it. Its path has no links in it.
func makeFolder() (string, error) {
	dir, err := os.MkdirTemp("", "assay-scan-")
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(dir)
	if err == nil {
		err = os.Mkdir(filepath.Join(real, "tmp"), 0o700)
	}
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return real, nil
}

// removeFolder also removes what a program made unwritable, as caches of modules are. What still can't be removed lies in the system's folder for
// temporary files, and harms nothing.
func removeFolder(dir string) {
	if os.RemoveAll(dir) == nil {
		return
	}
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	_ = os.RemoveAll(dir)
}
