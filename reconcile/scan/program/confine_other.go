//go:build !linux

package program

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/assay-oci/assay/reconcile"
)

// settings are one run as the system is asked for it.
type settings struct {
	Program   string
	Args      []string
	Env       []string
	Dir       string
	Read      []string
	Memory    int64
	Processes int
}

// Missing says what the system doesn't give to a program that is to be confined.
func Missing() string {
	return "a network, a memory limit and a view of the files of its own (they need Linux)"
}

func command(ctx context.Context, s settings, _ *os.File) (*exec.Cmd, error) {
	cmd := exec.CommandContext(ctx, s.Program, s.Args...)
	cmd.Dir, cmd.Env = s.Dir, s.Env
	return cmd, nil
}

// binary checks the file where it lies: this system has no sealed copies.
func (p *Program) binary() (*os.File, error) {
	if p.o.Checksum == (reconcile.Digest{}) {
		return nil, nil
	}
	f, err := os.Open(p.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return nil, fmt.Errorf("read %s: %w", p.path, err)
	}
	if sum := "sha256:" + hex.EncodeToString(hash.Sum(nil)); sum != p.o.Checksum.String() {
		return nil, Failf("the checksum of %s is %s, not %s as the catalog says; it was not run", p.path, sum, p.o.Checksum)
	}
	return nil, nil
}

func watch(int, Options, func()) func() string { return func() string { return "" } }
func end(int)                                  {}
