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
	"io/fs"
	"os"
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
	Copyright map[string]string  `json:"copyright,omitempty"` // Debian's copyright files: the licence that they tell, or nothing
	Links     map[string]string  `json:"links,omitempty"`     // of Debian's copyright files or their folders, and what they name
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

// readLayer goes through a compressed layer, and once more if it has hard links whose names say more than those of what they name. Its
// uncompressed content is verified against the diffID.
func (s *Scanner) readLayer(ctx context.Context, file string, diffID reconcile.Digest) (*contents, error) {
	w := newWalk(s)
	if err := s.passThrough(ctx, file, diffID, w.entry); err != nil {
		return nil, err
	}
	if len(w.pending) == 0 {
		return w.c, nil
	}
	if err := s.passThrough(ctx, file, diffID, w.linked); err != nil {
		return nil, err
	}
	for _, links := range w.pending {
		for _, l := range links {
			if !l.read {
				w.c.Broken[l.path] = fmt.Sprintf("%q is a hard link to a file that its layer doesn't hold", l.path)
			}
		}
	}
	return w.c, nil
}

// passThrough calls do for each entry of a layer.
func (s *Scanner) passThrough(ctx context.Context, file string, diffID reconcile.Digest, do func(context.Context, string, *tar.Header, io.Reader) error) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	plain, err := layer.Decompress(f, s.o.Limits.Layer)
	if err != nil {
		return unsure("a layer can't be decompressed")
	}
	defer plain.Close()
	h := newHash(diffID)
	all := io.TeeReader(contextReader{ctx, plain}, h)
	err = s.entries(ctx, tar.NewReader(all), do)
	if err == nil {
		_, err = io.Copy(io.Discard, all)
	}
	var unknown noVerdict
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &unknown):
		return err
	case errors.Is(err, layer.ErrBomb):
		return unsure("a layer expands to more than is allowed")
	case err != nil:
		return unsure("a layer is no readable archive")
	case hex.EncodeToString(h.Sum(nil)) != diffID.Hex():
		return unsure("a layer is not the one that the configuration claims")
	}
	return nil
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

// entries goes through an archive within the limits. Names become clean paths below the root.
func (s *Scanner) entries(ctx context.Context, tr *tar.Reader, do func(context.Context, string, *tar.Header, io.Reader) error) error {
	var entries int
	var names int64
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		entries++
		names += int64(len(h.Name) + len(h.Linkname))
		if entries > s.o.Limits.Entries || names > s.o.Limits.Paths {
			return unsure("a layer has more than %d files, or names of more than %d bytes", s.o.Limits.Entries, s.o.Limits.Paths)
		}
		if p := clean(h.Name); p != "" {
			if err := do(ctx, p, h, tr); err != nil {
				return err
			}
		}
	}
}

func clean(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

// A walk gathers the contents of one layer.
type walk struct {
	s        *Scanner
	c        *contents
	packages int                // found so far
	licenses int                // bytes of their texts
	hard     map[string]string  // hard links, and the file that they name in the end
	pending  map[string][]*link // by the file that they name
}

// A link is a hard link whose name says that it holds packages.
type link struct {
	path string
	info fs.FileInfo
	read bool
}

func newWalk(s *Scanner) *walk {
	return &walk{s: s, hard: map[string]string{}, pending: map[string][]*link{}, c: &contents{
		Found: map[string][]found{}, Broken: map[string]string{}, OSRelease: map[string]string{}, Copyright: map[string]string{}, Links: map[string]string{},
		Files: map[string]bool{}, Dirs: map[string]bool{}, Whiteouts: map[string]bool{}, Opaque: map[string]bool{}}}
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
	delete(c.Copyright, p)
	delete(c.Links, p)
	c.Files[p] = true
	return false
}

// entry reads one entry.
func (w *walk) entry(ctx context.Context, p string, h *tar.Header, content io.Reader) error {
	if w.c.mark(p, h) {
		return nil
	}
	if h.Typeflag == tar.TypeLink {
		w.hardLink(p, h)
		return nil
	}
	switch {
	case p == "etc/os-release" || p == "usr/lib/os-release":
		if h.Typeflag != tar.TypeReg {
			return nil // a link to the other one
		}
		b, err := io.ReadAll(io.LimitReader(content, maxOSRelease))
		w.c.OSRelease[p] = string(b)
		return err
	case strings.HasPrefix(p, documentation):
		return w.copyright(p, h, content)
	case strings.HasSuffix(p, "/rpmdb.sqlite-wal") && h.Size > 0:
		w.c.Broken[p] = fmt.Sprintf("the package database has changes that are not written to it yet (%q)", p)
		return nil
	}
	return w.file(ctx, p, h.FileInfo(), h, content)
}

// hardLink notes a link, to be read with the content of what it names.
func (w *walk) hardLink(p string, h *tar.Header) {
	to := clean(h.Linkname)
	if end, ok := w.hard[to]; ok {
		to = end
	}
	w.hard[p] = to
	if strings.HasPrefix(p, documentation) {
		w.c.Links[p] = to
		return
	}
	if info := h.FileInfo(); p == "etc/os-release" || p == "usr/lib/os-release" || len(readersOf(p, info)) > 0 {
		if to != p {
			w.pending[to] = append(w.pending[to], &link{path: p, info: info})
		}
	}
}

// linked reads, on the second pass, what hard links name.
func (w *walk) linked(ctx context.Context, p string, h *tar.Header, content io.Reader) error {
	links := w.pending[p]
	if len(links) == 0 || h.Typeflag != tar.TypeReg {
		return nil
	}
	if h.Size > w.s.o.Limits.File {
		for _, l := range links {
			l.read = true
			w.c.Broken[l.path] = fmt.Sprintf("%q is larger than %d bytes", l.path, w.s.o.Limits.File)
		}
		return nil
	}
	kept, free, err := spool(content, h.Size)
	if err != nil {
		return err
	}
	defer free()
	for _, l := range links {
		l.read = true
		if _, err := kept.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if strings.HasSuffix(l.path, "/os-release") {
			b, err := io.ReadAll(io.LimitReader(kept, maxOSRelease))
			if err != nil {
				return err
			}
			w.c.OSRelease[l.path] = string(b)
			continue
		}
		if err := w.read(ctx, l.path, h.FileInfo(), readersOf(l.path, l.info), kept); err != nil {
			return err
		}
	}
	return nil
}

const (
	documentation = "usr/share/doc/"
	maxCopyright  = 1 << 20  // bytes of a copyright file
	maxLicenses   = 64 << 20 // bytes of the licences of a layer; what goes beyond is unknown
)

// copyright reads a Debian package's copyright file, or notes where it lies.
func (w *walk) copyright(p string, h *tar.Header, content io.Reader) error {
	inside := strings.Count(p, "/") - strings.Count(documentation, "/")
	if w.licenses > maxLicenses || inside > 1 || inside == 1 && path.Base(p) != "copyright" {
		return nil
	}
	switch h.Typeflag {
	case tar.TypeSymlink:
		to := h.Linkname
		if !path.IsAbs(to) {
			to = path.Join("/", path.Dir(p), to)
		}
		w.c.Links[p] = clean(to)
		w.licenses += len(p) + len(to)
	case tar.TypeReg:
		if inside == 0 {
			return nil
		}
		b, err := io.ReadAll(io.LimitReader(content, maxCopyright))
		if err != nil {
			return err
		}
		license := licenseOfDebian(b)
		w.c.Copyright[p] = license
		w.licenses += len(p) + len(license)
	}
	return nil
}

// file reads what packages a file tells of.
func (w *walk) file(ctx context.Context, p string, info fs.FileInfo, h *tar.Header, content io.Reader) error {
	wanted := readersOf(p, info)
	if len(wanted) == 0 {
		return nil
	}
	if h.Typeflag != tar.TypeReg {
		if wanted[0].system {
			w.c.Broken[p] = fmt.Sprintf("the package database %q is a link", p)
		}
		return nil // what a symbolic link names is read where it lies
	}
	if h.Size > w.s.o.Limits.File {
		w.c.Broken[p] = fmt.Sprintf("%q is larger than %d bytes", p, w.s.o.Limits.File)
		return nil
	}
	kept, free, err := spool(content, h.Size)
	if err != nil {
		return err
	}
	defer free()
	return w.read(ctx, p, info, wanted, kept)
}

// read lets each reader read a file.
func (w *walk) read(ctx context.Context, p string, info fs.FileInfo, readers []reader, content io.ReadSeeker) error {
	for _, r := range readers {
		if _, err := content.Seek(0, io.SeekStart); err != nil {
			return err
		}
		got, err := r.read(ctx, p, info, content)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			w.c.Broken[p] = fmt.Sprintf("%q holds packages but can't be read", p)
			continue
		}
		w.c.Found[p] = append(w.c.Found[p], got...)
		if w.packages += len(got); w.packages > w.s.o.Limits.Found {
			return unsure("a layer holds more than %d packages", w.s.o.Limits.Found)
		}
	}
	return nil
}
