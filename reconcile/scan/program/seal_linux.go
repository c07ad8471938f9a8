package program

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/assay-oci/assay/reconcile"
)

const maxProgram = 1 << 30 // bytes; trivy has 200 MB

// binary returns the sealed copy of a program that must have a checksum, or nil for one that needn't. The copy lives in memory, was
// checked while it was made, and can't be changed by anyone: between the check and the run there is nothing to swap.
func (p *Program) binary() (*os.File, error) {
	if p.o.Checksum == (reconcile.Digest{}) {
		return nil, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sealed != nil {
		return p.sealed, nil
	}
	f, err := seal(p.path)
	if err != nil {
		return nil, fmt.Errorf("copy %s: %w", p.path, err)
	}
	if f.sum != p.o.Checksum.String() {
		f.file.Close()
		return nil, Failf("the checksum of %s is %s, not %s as the catalog says; it was not run", p.path, f.sum, p.o.Checksum)
	}
	p.sealed = f.file
	return p.sealed, nil
}

type sealedCopy struct {
	file *os.File
	sum  string
}

func seal(path string) (sealedCopy, error) {
	in, err := os.Open(path)
	if err != nil {
		return sealedCopy{}, err
	}
	defer in.Close()
	fd, err := memfd()
	if err != nil {
		return sealedCopy{}, fmt.Errorf("make a file in memory: %w", err)
	}
	out := os.NewFile(uintptr(fd), "sealed copy")
	hash := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, hash), io.LimitReader(in, maxProgram+1))
	if err == nil && n > maxProgram {
		err = fmt.Errorf("it has more than %d bytes", maxProgram)
	}
	if err == nil {
		_, err = unix.FcntlInt(out.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	if err != nil {
		out.Close()
		return sealedCopy{}, err
	}
	return sealedCopy{out, "sha256:" + hex.EncodeToString(hash.Sum(nil))}, nil
}

// memfd asks for a file that may be executed; kernels before 6.3 don't know that it must be asked for.
func memfd() (int, error) {
	fd, err := unix.MemfdCreate("assay-scanner", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if err == unix.EINVAL {
		return unix.MemfdCreate("assay-scanner", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	return fd, err
}
