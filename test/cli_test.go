package test

import (
	"archive/zip"
	"bufio"
	"bytes"
	"errors"
	"flag"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/assay-oci/assay/reconcile/registry/registrytest"
)

var update = flag.Bool("update", false, "write the golden parts of the scripts anew")

// TestScripts runs testdata/script/*.txtar. Each script finds in its environment: REGISTRY, an address below which it owns everything;
// SOURCE, a host that holds app at DIGEST and OTHER; REFUSING, a host that lets nobody in; and a Git that knows who commits. Further commands are below.
func TestScripts(t *testing.T) {
	source, target := registrytest.New(t, registrytest.Distribution), registrytest.New(t, registrytest.Distribution)
	one := source.Push("app", registrytest.Image("amd64", registrytest.Layer(1, 1000)), "1.0")
	two := source.Push("app", registrytest.Image("amd64", registrytest.Layer(2, 1000)), "2.0")
	refusing := registrytest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("REGISTRY", target.Host+"/"+filepath.Base(env.WorkDir))
			env.Setenv("SOURCE", source.Host)
			env.Setenv("REFUSING", refusing.Host)
			env.Setenv("DIGEST", one.Digest.String())
			env.Setenv("OTHER", two.Digest.String())
			for _, name := range []string{"GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM"} {
				env.Setenv(name, os.Getenv(name))
			}
			for _, who := range []string{"AUTHOR", "COMMITTER"} {
				env.Setenv("GIT_"+who+"_NAME", "a")
				env.Setenv("GIT_"+who+"_EMAIL", "a@example.com")
			}
			return os.Mkdir(filepath.Join(env.WorkDir, "home"), 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "expand": expand, "zip": zipFiles, "grow": grow},
	})
}

// exits CODE PROGRAM ARGUMENT... is exec with an exact exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code program [argument...]")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := "0"
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		code = strings.TrimPrefix(exit.ProcessState.String(), "exit status ")
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if code != args[0] {
		ts.Fatalf("%s: exit code %s, want %s", strings.Join(args[1:], " "), code, args[0])
	}
}

// expand FILE... replaces ${VARIABLES} in files.
func expand(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		text := ts.ReadFile(name)
		for _, v := range []string{"REGISTRY", "SOURCE", "REFUSING", "DIGEST", "OTHER"} {
			text = strings.ReplaceAll(text, "${"+v+"}", ts.Getenv(v))
		}
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o644))
	}
}

// zip ARCHIVE FILE... packs files under their base names.
func zipFiles(ts *testscript.TestScript, neg bool, args []string) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range args[1:] {
		w, err := z.Create(filepath.Base(name))
		ts.Check(err)
		_, err = io.WriteString(w, ts.ReadFile(name))
		ts.Check(err)
	}
	ts.Check(z.Close())
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b.Bytes(), 0o644))
}

// grow FILE makes a file larger than the catalog's may be.
func grow(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(os.Truncate(ts.MkAbs(args[0]), 2<<20))
}

func TestServeAnswersAndEndsWithoutAnErrorOnSIGTERM(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(binary, "serve", "--address", "127.0.0.1:0", "--folder", filepath.Join(dir, "content"))
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(stderr).ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSpace(line), "serving a registry at ")
	if err != nil || !ok {
		t.Fatalf("it said %q, %v", line, err)
	}
	resp, err := http.Get("http://" + address + "/v2/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("/v2/ answers %s", resp.Status)
	}
	pushed := registrytest.Push(t, address, "app", registrytest.Image("amd64", registrytest.Layer(1, 10)), "1.0")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || stdout.Len() > 0 {
		t.Errorf("it ended with %v, having printed %q", err, &stdout)
	}
	again := registrytest.NewIn(t, filepath.Join(dir, "content"))
	if got := tags(t, again, "app"); got["1.0"] != pushed.Digest.String() {
		t.Errorf("the folder holds %v", got)
	}
}

func TestColourIsForTerminalsAlone(t *testing.T) {
	w := newWorld(t, registrytest.Distribution)
	one := w.push("web", "1.0", 10)
	w.signing = false
	w.commit(map[string]string{"web.hcl": w.image("web", "1.0 "+one)})
	const escape = "\x1b["
	run := func(env ...string) string {
		cmd := exec.Command(binary, "plan", "--catalog", w.catalog(), "--cache", w.cache())
		cmd.Env = append(append(os.Environ(), "HOME="+w.dir, "TERM=xterm"), env...)
		terminal, err := pty.Start(cmd)
		if err != nil {
			t.Skip("there are no pseudo-terminals here:", err)
		}
		defer terminal.Close()
		out, _ := io.ReadAll(terminal) // ends with EIO once the program has
		if err := cmd.Wait(); err != nil || !strings.Contains(string(out), "Plan: ") {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	if out := run(); !strings.Contains(out, escape) {
		t.Errorf("no colour at a terminal:\n%s", out)
	}
	for _, refusal := range []string{"NO_COLOR=1", "TERM=dumb"} {
		if out := run(refusal); strings.Contains(out, escape+"3") || strings.Contains(out, escape+"1m") {
			t.Errorf("colour with %s:\n%q", refusal, out)
		}
	}
	cmd := exec.Command(binary, "plan", "--catalog", w.catalog(), "--cache", w.cache())
	cmd.Env = append(os.Environ(), "HOME="+w.dir, "TERM=xterm")
	out, err := cmd.CombinedOutput()
	if err != nil || bytes.Contains(out, []byte(escape)) {
		t.Errorf("colour in a pipe: %v\n%q", err, out)
	}
}
