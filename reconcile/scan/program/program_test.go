package program

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

// The test's own binary is the program: with this first argument it behaves as the second one says.
const actAs = "act-as-a-program"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == actAs {
		if err := act(os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func act(as string, args []string) error {
	switch as {
	case "print":
		fmt.Print(args[0])
	case "fail":
		fmt.Fprintln(os.Stderr, "some words\nthe \x1b[31mlast\x00 line")
		os.Exit(3)
	case "sleep":
		time.Sleep(time.Minute)
	case "flood":
		for {
			if _, err := os.Stdout.Write(make([]byte, 1<<16)); err != nil {
				return err
			}
		}
	case "flood-file":
		return os.WriteFile("out", make([]byte, 2<<20), 0o600)
	case "eat":
		eat(1 << 30)
	case "eat-together": // each little, all together much
		for range 8 {
			if err := exec.Command(os.Args[0], actAs, "eat-and-stay").Start(); err != nil {
				return err
			}
		}
		time.Sleep(time.Minute)
	case "eat-and-stay":
		kept := eat(100 << 20)
		time.Sleep(time.Minute)
		runtime.KeepAlive(kept)
	case "many":
		for range 60 {
			if err := exec.Command(os.Args[0], actAs, "sleep").Start(); err != nil {
				return err
			}
		}
		time.Sleep(time.Minute)
	case "dial":
		c, err := net.DialTimeout(args[0], args[1], 2*time.Second)
		if err != nil {
			return fmt.Errorf("no connection: %w", err)
		}
		c.Close()
	case "environment":
		fmt.Print(strings.Join(os.Environ(), "\n"))
	case "read":
		b, err := os.ReadFile(args[0])
		if err != nil {
			return fmt.Errorf("can't read: %w", err)
		}
		fmt.Print(string(b))
	case "write":
		if err := os.WriteFile(args[0], []byte("x"), 0o600); err != nil {
			return fmt.Errorf("can't write: %w", err)
		}
	case "list":
		entries, err := os.ReadDir(args[0])
		for _, e := range entries {
			fmt.Println(e.Name())
		}
		return err
	case "link":
		return os.Symlink(args[0], "out")
	case "pipe":
		return exec.Command("mkfifo", "out").Run()
	case "leave": // a child behind that keeps the output open
		child := exec.Command(os.Args[0], actAs, "sleep")
		child.Stdout = os.Stdout
		return child.Start()
	case "leave-and-wait":
		child := exec.Command("setsid", os.Args[0], actAs, "sleep")
		if err := child.Start(); err != nil {
			return err
		}
		time.Sleep(time.Minute)
	}
	return nil
}

func eat(bytes int) [][]byte {
	var kept [][]byte
	for range bytes >> 20 {
		b := make([]byte, 1<<20)
		for i := range b {
			b[i] = byte(i)
		}
		kept = append(kept, b)
	}
	return kept
}

func run(t *testing.T, o Options, j Job, args ...string) (Result, error) {
	t.Helper()
	o.Name = "other"
	if o.Path == "" {
		o.Path = os.Args[0]
	}
	p, err := Find(o)
	if err != nil {
		t.Fatal(err)
	}
	j.Args = func(string) []string { return append([]string{actAs}, args...) }
	return p.Run(t.Context(), j)
}

func confined(t *testing.T) {
	t.Helper()
	if lack := Missing(); lack != "" {
		t.Skipf("the system doesn't give programs %s", lack)
	}
}

// refused checks that a run failed, and that the program is blamed.
func refused(t *testing.T, err error, want string) {
	t.Helper()
	var f Failure
	if !errors.As(err, &f) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want a failure with %q", err, want)
	}
}

func TestPrograms(t *testing.T) {
	tests := map[string]struct {
		o    Options
		args []string
		want string
	}{
		"that fail":           {Options{}, []string{"fail"}, "it failed (exit status 3): the [31mlast line"},
		"that take too long":  {Options{Timeout: 300 * time.Millisecond}, []string{"sleep"}, "it took longer than 300ms"},
		"that print too much": {Options{Output: 1 << 20}, []string{"flood"}, "it printed more than 1048576 bytes"},
		"that eat too much":   {Options{Memory: 256 << 20}, []string{"eat"}, "it "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := run(t, test.o, Job{}, test.args...)
			refused(t, err, test.want)
		})
	}
	got, err := run(t, Options{}, Job{}, "print", "words")
	if err != nil || string(got.Stdout) != "words" {
		t.Errorf("%q, %v", got.Stdout, err)
	}
	if _, err := run(t, Options{}, Job{Exits: []int{3}}, "fail"); err != nil {
		t.Errorf("an exit status that is no failure: %v", err)
	}
}

func TestMemoryOfAllChildrenTogetherIsLimited(t *testing.T) {
	confined(t)
	_, err := run(t, Options{Memory: 512 << 20, Timeout: 30 * time.Second}, Job{}, "eat-together")
	refused(t, err, "it and its children used more than")
}

func TestProcessesAreLimited(t *testing.T) {
	confined(t)
	_, err := run(t, Options{Processes: 20, Timeout: 30 * time.Second}, Job{}, "many")
	refused(t, err, "it started more than 20 processes")
}

func TestProgramHasNoNetwork(t *testing.T) {
	confined(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = run(t, Options{}, Job{}, "dial", "tcp", l.Addr().String())
	refused(t, err, "no connection")
}

// A network of its own does not keep a program from sockets that have a path, such as a container engine's.
func TestProgramReachesNoSocket(t *testing.T) {
	confined(t)
	path := filepath.Join(t.TempDir(), "engine.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = run(t, Options{}, Job{}, "dial", "unix", path)
	refused(t, err, "no connection")
}

func TestProgramSeesACleanEnvironment(t *testing.T) {
	t.Setenv("ASSAY_KEY_PASSWORD", "secret")
	got, err := run(t, Options{}, Job{Env: func(dir string) []string { return []string{"OWN=" + dir} }}, "environment")
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for s := bufio.NewScanner(strings.NewReader(string(got.Stdout))); s.Scan(); {
		name, value, _ := strings.Cut(s.Text(), "=")
		values[name] = value
	}
	var names []string
	for n := range values {
		names = append(names, n)
	}
	slices.Sort(names)
	if want := []string{"GOMAXPROCS", "GOMEMLIMIT", "HOME", "LANG", "OWN", "PATH", "TMPDIR"}; !slices.Equal(names, want) {
		t.Errorf("the environment has %v, want %v", names, want)
	}
	if values["HOME"] != values["OWN"] {
		t.Errorf("its home is %q, its folder %q", values["HOME"], values["OWN"])
	}
	if _, err := os.Stat(values["HOME"]); err == nil {
		t.Error("its folder was left behind")
	}
}

func TestProgramSeesNoFilesOfOthers(t *testing.T) {
	confined(t)
	dir := t.TempDir()
	secret, shown := filepath.Join(dir, "secret"), filepath.Join(dir, "shown")
	for _, path := range []string{secret, shown} {
		if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := run(t, Options{}, Job{}, "read", secret)
	refused(t, err, "can't read")
	got, err := run(t, Options{}, Job{Read: []string{shown}}, "read", shown)
	if err != nil || string(got.Stdout) != "content" {
		t.Errorf("what it may read: %q, %v", got.Stdout, err)
	}
	_, err = run(t, Options{}, Job{Read: []string{shown}}, "write", shown)
	refused(t, err, "can't write")
	home := t.TempDir()
	t.Setenv("HOME", home)
	credentials := filepath.Join(home, ".docker", "config.json")
	err = os.Mkdir(filepath.Dir(credentials), 0o700)
	if err == nil {
		err = os.WriteFile(credentials, []byte("secret"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = run(t, Options{}, Job{}, "read", credentials)
	refused(t, err, "can't read")
	_, err = run(t, Options{}, Job{}, "list", home)
	refused(t, err, "no such file")
	for _, path := range []string{"/etc/shadow", "/etc/passwd"} {
		_, err = run(t, Options{}, Job{}, "read", path)
		refused(t, err, "can't read")
	}
	for _, path := range []string{"/", "relative", ""} {
		if _, err := run(t, Options{}, Job{Read: []string{path}}, "print", "x"); err == nil {
			t.Errorf("%q was shown", path)
		}
	}
	for _, path := range []string{"/usr/x", "/x", "/tmp/x"} {
		_, err = run(t, Options{}, Job{}, "write", path)
		refused(t, err, "can't write")
	}
}

func TestProgramSeesNoProcessesOfOthers(t *testing.T) {
	confined(t)
	got, err := run(t, Options{}, Job{}, "list", "/proc")
	if err != nil {
		t.Fatal(err)
	}
	if s := string(got.Stdout); s != "" && (!strings.Contains(s, "1\n") || strings.Contains(s, fmt.Sprintf("\n%d\n", os.Getpid()))) {
		t.Errorf("it sees %s", s)
	}
}

func TestProgramHasNoCapabilities(t *testing.T) {
	confined(t)
	got, err := run(t, Options{}, Job{}, "read", "/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		if !strings.Contains(string(got.Stdout), name+":\t0000000000000000\n") {
			t.Errorf("%s is not empty:\n%s", name, got.Stdout)
		}
	}
	if !strings.Contains(string(got.Stdout), "NoNewPrivs:\t1\n") {
		t.Error("it may gain privileges")
	}
}

func TestWhatAProgramLeavesBehindIsEnded(t *testing.T) {
	confined(t)
	begin := time.Now()
	if _, err := run(t, Options{}, Job{}, "leave"); err != nil {
		t.Error(err)
	}
	_, err := run(t, Options{Timeout: 500 * time.Millisecond}, Job{}, "leave-and-wait")
	refused(t, err, "it took longer than")
	if d := time.Since(begin); d > 20*time.Second {
		t.Errorf("it took %s: children were waited for", d)
	}
	deadline := time.Now().Add(5 * time.Second)
	for sleeping() > 0 {
		if time.Now().After(deadline) {
			t.Fatal("a child is still running")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// sleeping counts the running programs that sleep for this test's binary.
func sleeping() int {
	n := 0
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		b, err := os.ReadFile(path)
		if err == nil && string(b) == strings.Join([]string{os.Args[0], actAs, "sleep"}, "\x00")+"\x00" {
			n++
		}
	}
	return n
}

func TestCancelledRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	p, err := Find(Options{Path: os.Args[0]})
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Run(ctx, Job{Args: func(string) []string { return []string{actAs, "sleep"} }})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestFilesThatAProgramLeaves(t *testing.T) {
	j := Job{Keep: []string{"out"}}
	got, err := run(t, Options{}, j, "write", "out")
	if err != nil || string(got.Files["out"]) != "x" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err = run(t, Options{}, j, "print", "x"); err != nil || len(got.Files) != 0 {
		t.Errorf("none: %v, %v", got, err)
	}
	_, err = run(t, Options{Output: 1 << 20}, j, "flood-file")
	refused(t, err, "more than 1048576 bytes to out")
	_, err = run(t, Options{}, j, "link", "/etc/passwd")
	refused(t, err, "no file in place of out")
	_, err = run(t, Options{}, j, "pipe")
	refused(t, err, "no file in place of out")
}

func TestChecksum(t *testing.T) {
	b, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "scanner")
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	right := reconcile.MustDigest("sha256:" + hex.EncodeToString(sum[:]))
	wrong := reconcile.MustDigest("sha256:" + strings.Repeat("0", 64))
	_, err = run(t, Options{Path: path, Checksum: wrong}, Job{}, "print", "words")
	refused(t, err, "it was not run")
	p, err := Find(Options{Path: path, Checksum: right})
	if err != nil {
		t.Fatal(err)
	}
	j := Job{Args: func(string) []string { return []string{actAs, "print", "words"} }}
	for range 2 {
		got, err := p.Run(t.Context(), j)
		if err != nil || string(got.Stdout) != "words" {
			t.Fatalf("%q, %v", got.Stdout, err)
		}
		// what lies at the path from now on is another program; what runs is still the one that was checked
		if err := os.Remove(path); err == nil {
			if err := os.WriteFile(path, []byte("#!/bin/sh\necho swapped\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestSealedScript(t *testing.T) {
	confined(t)
	script := []byte("#!/bin/sh\necho words\n")
	path := filepath.Join(t.TempDir(), "scanner")
	if err := os.WriteFile(path, script, 0o755); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(script)
	got, err := run(t, Options{Path: path, Checksum: reconcile.MustDigest("sha256:" + hex.EncodeToString(sum[:]))}, Job{})
	if err != nil || string(got.Stdout) != "words\n" {
		t.Errorf("%q, %v", got.Stdout, err)
	}
}

func TestRequiredConfinement(t *testing.T) {
	_, err := run(t, Options{Required: true}, Job{}, "print", "words")
	if lack := Missing(); lack != "" {
		refused(t, err, lack)
	} else if err != nil {
		t.Error(err)
	}
}

func TestUnknownProgram(t *testing.T) {
	if _, err := Find(Options{Name: "x", Path: "no-such-scanner-anywhere"}); err == nil || !strings.Contains(err.Error(), "is it installed?") {
		t.Errorf("%v", err)
	}
}
