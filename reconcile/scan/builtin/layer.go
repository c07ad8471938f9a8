package builtin

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"strings"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/scan/layer"
)

// A contents is what matters of one layer. Paths are relative, clean, and mean nothing outside an image.
type contents struct {
	Found     map[string][]found `json:"found,omitempty"`     // by the path of the file that tells of them
	Broken    map[string]string  `json:"broken,omitempty"`    // files that can't be read but have to be, and why
	OSRelease map[string]string  `json:"osrelease,omitempty"` // what these files hold
	Files     map[string]bool    `json:"files,omitempty"`     // everything that is no directory; it hides what was there and below
	Dirs      map[string]bool    `json:"dirs,omitempty"`      // a directory hides a file that was there
	Whiteouts map[string]bool    `json:"whiteouts,omitempty"` // removed from the layers below
	Opaque    map[string]bool    `json:"opaque,omitempty"`    // directories that hide all that the layers below hold in them
}

const (
	maxOSRelease = 64 << 10 // bytes
	whiteout     = ".wh."   // OCI image specification v1.1, "Whiteouts"
	opaque       = ".wh..wh..opq"
)

// read goes through a layer once. The reader must be the uncompressed content; it is verified against the diffID.
func (s *Scanner) readLayer(ctx context.Context, compressed io.Reader, diffID reconcile.Digest) (*contents, error) {
	plain, err := layer.Decompress(compressed, s.o.Limits.Layer)
	if err != nil {
		return nil, unsure("a layer can't be decompressed")
	}
	defer plain.Close()
	h := newHash(diffID)
	all := io.TeeReader(contextReader{ctx, plain}, h)
	c, err := s.walk(ctx, tar.NewReader(all))
	if err == nil {
		_, err = io.Copy(io.Discard, all)
	}
	var unknown noVerdict
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.As(err, &unknown):
		return nil, err
	case errors.Is(err, layer.ErrBomb):
		return nil, unsure("a layer expands to more than is allowed")
	case err != nil:
		return nil, unsure("a layer is no readable archive")
	case hex.EncodeToString(h.Sum(nil)) != diffID.Hex():
		return nil, unsure("a layer is not the one that the configuration claims")
	}
	return c, nil
}

func newHash(d reconcile.Digest) hash.Hash {
	if d.Algorithm() == "sha512" {
		return sha512.New()
	}
	return sha256.New()
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

func (s *Scanner) walk(ctx context.Context, tr *tar.Reader) (*contents, error) {
	c := &contents{Found: map[string][]found{}, Broken: map[string]string{}, OSRelease: map[string]string{}, Files: map[string]bool{},
		Dirs: map[string]bool{}, Whiteouts: map[string]bool{}, Opaque: map[string]bool{}}
	var entries, packages int
	var names int64
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return c, nil
		}
		if err != nil {
			return nil, err
		}
		entries++
		names += int64(len(h.Name))
		if entries > s.o.Limits.Entries || names > s.o.Limits.Paths {
			return nil, unsure("a layer has more than %d files, or names of more than %d bytes", s.o.Limits.Entries, s.o.Limits.Paths)
		}
		p := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		if p == "" || c.mark(p, h) {
			continue
		}
		n, err := s.file(ctx, c, p, h, tr)
		if err != nil {
			return nil, err
		}
		if packages += n; packages > s.o.Limits.Found {
			return nil, unsure("a layer holds more than %d packages", s.o.Limits.Found)
		}
	}
}

// mark notes what an entry does to the layers below, and tells whether that is all.
func (c *contents) mark(p string, h *tar.Header) bool {
	dir, base := path.Split(p)
	dir = strings.TrimSuffix(dir, "/")
	switch {
	case base == opaque:
		c.Opaque[dir] = true
		return true
	case strings.HasPrefix(base, whiteout+whiteout): // bookkeeping of a storage driver
		return true
	case strings.HasPrefix(base, whiteout):
		c.Whiteouts[path.Join(dir, strings.TrimPrefix(base, whiteout))] = true
		return true
	case h.Typeflag == tar.TypeDir:
		c.Dirs[p] = true
		return true
	}
	// of two entries for one path the last one counts
	delete(c.Found, p)
	delete(c.Broken, p)
	delete(c.OSRelease, p)
	c.Files[p] = true
	return false
}

// file reads what packages a file tells of, and returns their number.
func (s *Scanner) file(ctx context.Context, c *contents, p string, h *tar.Header, tr io.Reader) (int, error) {
	info := h.FileInfo()
	if p == "etc/os-release" || p == "usr/lib/os-release" {
		if h.Typeflag != tar.TypeReg {
			return 0, nil // a link to the other one
		}
		b, err := io.ReadAll(io.LimitReader(tr, maxOSRelease))
		c.OSRelease[p] = string(b)
		return 0, err
	}
	wanted := readersOf(p, info)
	if len(wanted) == 0 {
		return 0, nil
	}
	if h.Typeflag != tar.TypeReg {
		if wanted[0].system {
			c.Broken[p] = fmt.Sprintf("the package database %q is a link", p)
		}
		return 0, nil // what a link names is read where it lies
	}
	if h.Size > s.o.Limits.File {
		c.Broken[p] = fmt.Sprintf("%q is larger than %d bytes", p, s.o.Limits.File)
		return 0, nil
	}
	content, free, err := spool(tr, h.Size)
	if err != nil {
		return 0, err
	}
	defer free()
	for _, r := range wanted {
		if _, err := content.Seek(0, io.SeekStart); err != nil {
			return 0, err
		}
		got, err := r.read(ctx, p, info, content)
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if err != nil {
			c.Broken[p] = fmt.Sprintf("%q holds packages but can't be read", p)
			continue
		}
		c.Found[p] = append(c.Found[p], got...)
	}
	return len(c.Found[p]), nil
}
