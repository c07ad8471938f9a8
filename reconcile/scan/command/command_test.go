package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/scan/builtin"
	"github.com/assay-oci/assay/reconcile/scan/scantest"
)

// The test's own binary is the other program: with this first argument it behaves as the second one says.
const actAs = "act-as-a-scanner"

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

const empty = `{"schema":"assay.scan/v1","version":"1","database":"2026-11-01T00:00:00Z","ecosystems":["npm"],"packages":1,"vulnerabilities":[]}`

func act(as string, args []string) error {
	switch as {
	case "scan": // a database's directory and a layout
		return scanAndPrint(args[0], args[1])
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
	case "eat":
		var kept [][]byte
		for range 1 << 14 {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = byte(i)
			}
			kept = append(kept, b)
		}
		fmt.Print(empty, len(kept))
	case "dial":
		c, err := net.DialTimeout("tcp", args[0], 5*time.Second)
		if err != nil {
			return fmt.Errorf("no network: %w", err)
		}
		c.Close()
		fmt.Print(empty)
	case "look": // tells what it sees as the names of vulnerabilities
		d := document{Schema: Schema, Version: "1", Database: time.Now(), Ecosystems: os.Environ(), Packages: new(int)}
		*d.Packages = 1
		dir, err := os.Getwd()
		if err != nil {
			return err
		}
		d.Distribution = dir
		d.Vulnerabilities = []reconcile.Vulnerability{}
		return json.NewEncoder(os.Stdout).Encode(d)
	case "leave": // a child behind that keeps the output open
		child := exec.Command(os.Args[0], actAs, "sleep")
		child.Stdout = os.Stdout
		if err := child.Start(); err != nil {
			return err
		}
		fmt.Print(empty)
		return os.WriteFile(args[0], fmt.Append(nil, child.Process.Pid), 0o600)
	}
	return nil
}

func scanAndPrint(db, layout string) error {
	b, err := os.ReadFile(filepath.Join(layout, "index.json"))
	if err != nil {
		return err
	}
	var index struct {
		Manifests []struct{ Digest reconcile.Digest }
	}
	if err := json.Unmarshal(b, &index); err != nil {
		return err
	}
	s, err := builtin.New(builtin.Options{Dir: db}).Scan(context.Background(), reconcile.Layout{Dir: layout, Manifest: index.Manifests[0].Digest}, reconcile.Image{})
	if err != nil {
		return err
	}
	if s.Vulnerabilities == nil {
		s.Vulnerabilities = []reconcile.Vulnerability{}
	}
	return json.NewEncoder(os.Stdout).Encode(document{Schema: Schema, Version: s.Version, Database: s.Database, Distribution: s.Distribution,
		Ecosystems: s.Ecosystems, Packages: &s.Packages, Vulnerabilities: s.Vulnerabilities, NoVerdict: s.NoVerdict})
}

func program(t testing.TB, o Options, args ...string) *Scanner {
	t.Helper()
	o.Name = "other"
	o.Command = append([]string{os.Args[0], actAs}, args...)
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func run(t testing.TB, o Options, args ...string) reconcile.Scan {
	t.Helper()
	got, err := program(t, o, args...).Scan(t.Context(), reconcile.Layout{Dir: "/nowhere"}, reconcile.Image{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Scanner != "other" || got.Finished.IsZero() {
		t.Errorf("scanner %q, finished %v", got.Scanner, got.Finished)
	}
	return got
}

func TestConformance(t *testing.T) {
	scantest.Run(t, func(t *testing.T) reconcile.Scanner {
		db := t.TempDir()
		if _, err := builtin.Import(t.Context(), db, scantest.OSV(t)); err != nil {
			t.Fatal(err)
		}
		return program(t, Options{}, "scan", db, Placeholder)
	})
}

func TestPrograms(t *testing.T) {
	tests := map[string]struct {
		o    Options
		args []string
		want string
	}{
		"that fail":                     {Options{}, []string{"fail"}, "it failed (exit status 3): the [31mlast line"},
		"that take too long":            {Options{Timeout: 50 * time.Millisecond}, []string{"sleep"}, "it took longer than 50ms"},
		"that print too much":           {Options{Output: 1 << 20}, []string{"flood"}, "it printed more than 1048576 bytes"},
		"that print nothing":            {Options{}, []string{"print", ""}, "its output is not what it should be: read it as assay.scan/v1: EOF"},
		"that print something else":     {Options{}, []string{"print", "0 vulnerabilities"}, "its output is not what it should be"},
		"that say something afterwards": {Options{}, []string{"print", empty + "{}"}, "something follows"},
		"that have no verdict":          {Options{}, []string{"print", `{"schema":"assay.scan/v1","version":"1","no_verdict":"no\ndatabase"}`}, "no database"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := run(t, test.o, test.args...)
			if !strings.Contains(got.NoVerdict, test.want) || len(got.Vulnerabilities) > 0 {
				t.Errorf("%+v, want %q", got, test.want)
			}
		})
	}
	if got := run(t, Options{}, "print", empty); got.NoVerdict != "" || got.Packages != 1 || got.Version != "1" {
		t.Errorf("%+v, want a verdict", got)
	}
}

func TestMemoryIsLimited(t *testing.T) {
	if limitMemory(os.Getpid(), 1<<62) != nil || !onLinux() {
		t.Skip("memory can't be limited here")
	}
	if got := run(t, Options{Memory: 512 << 20}, "eat"); !strings.Contains(got.NoVerdict, "it failed") {
		t.Errorf("%+v", got)
	}
}

func onLinux() bool { _, err := os.Stat("/proc/self/exe"); return err == nil }

func TestProgramHasNoNetwork(t *testing.T) {
	if !Isolated() {
		t.Skip("the system doesn't allow to take the network away")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	if got := run(t, Options{}, "dial", l.Addr().String()); !strings.Contains(got.NoVerdict, "no network") {
		t.Errorf("%+v", got)
	}
}

func TestProgramSeesACleanEnvironment(t *testing.T) {
	t.Setenv("ASSAY_KEY_PASSWORD", "secret")
	got := run(t, Options{}, "look")
	var names []string
	for _, e := range got.Ecosystems {
		name, _, _ := strings.Cut(e, "=")
		names = append(names, name)
	}
	slices.Sort(names)
	if want := []string{"HOME", "LANG", "PATH", "TMPDIR"}; !slices.Equal(names, want) {
		t.Errorf("the environment has %v, want %v", names, want)
	}
	if !slices.Contains(got.Ecosystems, "HOME="+got.Distribution) {
		t.Errorf("it runs in %q, want its own home", got.Distribution)
	}
	if _, err := os.Stat(got.Distribution); err == nil {
		t.Error("its directory was left behind")
	}
}

func TestWhatAProgramLeavesBehindIsEnded(t *testing.T) {
	if !onLinux() {
		t.Skip("Linux only")
	}
	note := filepath.Join(t.TempDir(), "pid")
	got := run(t, Options{}, "leave", note)
	if got.NoVerdict == "" {
		t.Error("a verdict, though a child could still have printed something")
	}
	pid, err := os.ReadFile(note)
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for alive(string(pid)) {
		if time.Now().After(deadline) {
			t.Fatal("the child is still running")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// alive tells a running process from a dead one, collected or not.
func alive(pid string) bool {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && !strings.Contains(string(b), ") Z ")
}

func TestCancelledScan(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got, err := program(t, Options{}, "sleep").Scan(ctx, reconcile.Layout{}, reconcile.Image{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestArguments(t *testing.T) {
	for want, args := range map[string][]string{
		"scan /l":        {"scan"},
		"oci:/l -o json": {"oci:{layout}", "-o", "json"},
		"--input=/l x/l": {"--input={layout}", "x{layout}"},
		"/l":             nil,
	} {
		s := &Scanner{o: Options{Command: append([]string{"x"}, args...)}}
		if got := strings.Join(s.arguments("/l"), " "); got != want {
			t.Errorf("%v: %q, want %q", args, got, want)
		}
	}
}

func TestUnusableCommands(t *testing.T) {
	for want, c := range map[string][]string{"has no command": nil, "is it installed?": {"no-such-scanner-anywhere"}} {
		if _, err := New(Options{Name: "x", Command: c}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
