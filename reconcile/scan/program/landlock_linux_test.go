package program

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Where there are no namespaces, as in many containers, Landlock still hides files.
func TestLandlockHidesFiles(t *testing.T) {
	dir, err := makeFolder()
	if err != nil {
		t.Fatal(err)
	}
	defer removeFolder(dir)
	shown := filepath.Join(t.TempDir(), "shown")
	secret := filepath.Join(t.TempDir(), "secret")
	for _, path := range []string{secret, shown} {
		if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	start := func(args ...string) (string, error) {
		s := settings{Program: os.Args[0], Args: append([]string{actAs}, args...), Dir: dir, Read: []string{shown}, Memory: defaultMemory}
		cmd, err := helper(t.Context(), s, level{landlock: true}, nil)
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := start("read", shown); err != nil {
		if strings.Contains(out, "ask for Landlock") {
			t.Skip("the kernel has no Landlock")
		}
		t.Fatalf("%s, %v", out, err)
	}
	if out, err := start("write", filepath.Join(dir, "own")); err != nil {
		t.Errorf("its own folder: %s, %v", out, err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if out, err := start("dial", "tcp", l.Addr().String()); err == nil {
		t.Log("the kernel's Landlock refuses no TCP")
	} else if !strings.Contains(out, "permission denied") {
		t.Errorf("%s, %v", out, err)
	}
	for _, args := range [][]string{{"read", secret}, {"write", shown}, {"write", filepath.Join(filepath.Dir(secret), "new")}} {
		if out, err := start(args...); err == nil || !strings.Contains(out, "permission denied") {
			t.Errorf("%v: %s, %v", args, out, err)
		}
	}
}
