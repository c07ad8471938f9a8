// Package command runs a scanner that is another program: any command that prints the JSON described in reconcile/scan/README.md. The
// program gets a clean environment, a directory of its own, no network where the system allows that, and limits.
package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/assay-oci/assay/reconcile"
)

// Placeholder in an argument stands for the layout's path. Where no argument has it, the path is the last argument.
const Placeholder = "{layout}"

// Options say what to run. Zero limits stand for their defaults.
type Options struct {
	Name    string        // the scanner's name in the catalog
	Command []string      // program and arguments; the program is looked up in PATH, or relative to the working directory
	Timeout time.Duration // of one scan; 10 minutes
	Output  int64         // bytes that it may print; 64 MiB
	Memory  uint64        // bytes of memory that each of its processes may have; 4 GiB; on Linux only
}

const (
	defaultTimeout = 10 * time.Minute
	defaultOutput  = 64 << 20
	defaultMemory  = 4 << 30
	maxErrors      = 4 << 10 // bytes of standard error that are kept
	maxReason      = 200     // bytes of it that are shown
)

// A Scanner implements reconcile.Scanner. It may be used concurrently; each scan is a process.
type Scanner struct {
	o       Options
	program string
}

var _ reconcile.Scanner = (*Scanner)(nil)

// New looks the program up.
func New(o Options) (*Scanner, error) {
	if len(o.Command) == 0 {
		return nil, fmt.Errorf("scanner %q has no command", o.Name)
	}
	path, err := exec.LookPath(o.Command[0])
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
	if o.Memory == 0 {
		o.Memory = defaultMemory
	}
	o.Command = slices.Clone(o.Command)
	return &Scanner{o: o, program: path}, nil
}

// Scan runs the program. Whatever it does wrong is no verdict; the error is the context's, or that it could not be started.
func (s *Scanner) Scan(ctx context.Context, l reconcile.Layout, _ reconcile.Image) (reconcile.Scan, error) {
	dir, err := os.MkdirTemp("", "assay-scan-")
	if err != nil {
		return reconcile.Scan{}, fmt.Errorf("scan with %q: %w", s.o.Name, err)
	}
	defer os.RemoveAll(dir)
	out, reason, err := s.run(ctx, l.Dir, dir)
	if err != nil {
		return reconcile.Scan{}, fmt.Errorf("scan with %q: %w", s.o.Name, err)
	}
	var scan reconcile.Scan
	if reason == "" {
		scan, err = Parse(out)
		if err != nil {
			scan, reason = reconcile.Scan{}, "its output is not what it should be: "+err.Error()
		}
	}
	if reason != "" {
		scan.NoVerdict = reason
	}
	scan.NoVerdict = printable(scan.NoVerdict)
	scan.Scanner, scan.Finished = s.o.Name, time.Now().UTC()
	return scan, nil
}

// run returns what the program printed, or why that can't be used.
func (s *Scanner) run(ctx context.Context, layout, dir string) (out []byte, reason string, err error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	limited, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	stdout := &limitedBuffer{max: s.o.Output, full: cancel}
	stderr := &tail{max: maxErrors}
	cmd := exec.CommandContext(limited, s.program, s.arguments(layout)...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "LANG=C.UTF-8"}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.WaitDelay = 2 * time.Second // for descendants that keep the output open
	confine(cmd)
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	if err := limitMemory(cmd.Process.Pid, s.o.Memory); err != nil {
		cancel()
		return nil, "", errors.Join(fmt.Errorf("limit its memory: %w", err), cmd.Wait())
	}
	err = cmd.Wait()
	killGroup(cmd.Process.Pid) // what it left running
	switch {
	case ctx.Err() != nil:
		return nil, "", ctx.Err()
	case stdout.over():
		return nil, fmt.Sprintf("it printed more than %d bytes", s.o.Output), nil
	case limited.Err() != nil:
		return nil, fmt.Sprintf("it took longer than %s", s.o.Timeout), nil
	case err != nil:
		return nil, strings.TrimSuffix(fmt.Sprintf("it failed (%s): %s", err, stderr.lastLine()), ": "), nil
	}
	return stdout.b.Bytes(), "", nil
}

func (s *Scanner) arguments(layout string) []string {
	args := slices.Clone(s.o.Command[1:])
	if !slices.ContainsFunc(args, func(a string) bool { return strings.Contains(a, Placeholder) }) {
		return append(args, layout)
	}
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], Placeholder, layout)
	}
	return args
}

// printable makes one short line of a program's words.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > 2*maxReason {
		s = strings.ToValidUTF8(s[:2*maxReason], "") + "…"
	}
	return strings.Join(strings.Fields(s), " ")
}

// A limitedBuffer keeps so much and no more.
type limitedBuffer struct {
	mu   sync.Mutex
	b    bytes.Buffer
	max  int64
	full func()
	more bool
}

func (l *limitedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if int64(l.b.Len())+int64(len(p)) > l.max {
		l.more = true
		l.full()
		return 0, io.ErrShortWrite
	}
	return l.b.Write(p)
}

func (l *limitedBuffer) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.more
}

// A tail keeps the end of what is written.
type tail struct {
	b   []byte
	max int
}

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p[max(0, len(p)-t.max):]...)
	t.b = t.b[max(0, len(t.b)-t.max):]
	return len(p), nil
}

func (t *tail) lastLine() string {
	lines := strings.Split(strings.TrimSpace(string(t.b)), "\n")
	last := lines[len(lines)-1]
	return last[max(0, len(last)-maxReason):]
}
