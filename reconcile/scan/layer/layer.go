// Package layer reads the layers of images as they lie in a registry: compressed or not, and possibly hostile.
package layer

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Limits bound what a layer may expand to.
type Limits struct {
	Bytes int64 // the most bytes after decompression
	Ratio int64 // the most bytes for each compressed byte, once a layer has expanded to more than 64 MiB; zero for no such limit
}

// DefaultLimits let every layer pass that is known to exist, and no bomb. Deflate can't do more than 1032:1.
var DefaultLimits = Limits{Bytes: 32 << 30, Ratio: 1100}

const (
	freeBytes  = 64 << 20  // expanded bytes below which the ratio isn't looked at
	zstdWindow = 128 << 20 // bytes; `zstd --ultra` needs that much
)

// ErrBomb says that a layer expands to more than the limits allow.
var ErrBomb = errors.New("layer expands to more than is allowed")

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// Decompress returns the uncompressed content of a layer. As container runtimes do, it looks at the content, not at the media type.
// The reader ends with EOF only after r has; it doesn't close r. Close frees memory.
func Decompress(r io.Reader, limits Limits) (io.ReadCloser, error) {
	in := &counter{r: r}
	buffered := bufio.NewReaderSize(in, 64<<10)
	head, err := buffered.Peek(len(zstdMagic))
	if err != nil && err != io.EOF {
		return nil, err
	}
	out := &expanded{in: in, rest: buffered, limits: limits, close: func() {}}
	switch {
	case bytes.HasPrefix(head, gzipMagic):
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, fmt.Errorf("decompress gzip: %w", err)
		}
		out.r = z
	case bytes.HasPrefix(head, zstdMagic):
		z, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			return nil, fmt.Errorf("decompress zstd: %w", err)
		}
		out.r, out.close = z, z.Close
	default:
		out.r = buffered
	}
	return out, nil
}

// counter counts compressed bytes.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

type expanded struct {
	r      io.Reader
	in     *counter
	rest   *bufio.Reader
	limits Limits
	n      int64
	close  func()
}

func (e *expanded) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	e.n += int64(n)
	if e.n > e.limits.Bytes {
		return 0, fmt.Errorf("%w: over %d bytes", ErrBomb, e.limits.Bytes)
	}
	if r := e.limits.Ratio; r > 0 && e.n > freeBytes && e.n/r > e.in.n {
		return 0, fmt.Errorf("%w: over %d times its size", ErrBomb, e.limits.Ratio)
	}
	if err == io.EOF {
		// whoever serves the compressed bytes verifies them at their end
		if _, err := e.rest.Peek(1); !errors.Is(err, io.EOF) {
			if err == nil {
				err = errors.New("layer goes on after its compressed content")
			}
			return n, err
		}
	}
	return n, err
}

func (e *expanded) Close() error {
	e.close()
	return nil
}
