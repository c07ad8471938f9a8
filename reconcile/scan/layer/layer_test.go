package layer

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func gz(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zst(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

func expand(b []byte, l Limits) ([]byte, error) {
	r, err := Decompress(bytes.NewReader(b), l)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestDecompress(t *testing.T) {
	want := []byte(strings.Repeat("assay ", 1000))
	for name, in := range map[string][]byte{
		"nothing":          {},
		"plain":            want,
		"plain, one byte":  {'x'},
		"gzip":             gz(t, want),
		"gzip of nothing":  gz(t, nil),
		"two gzip members": append(gz(t, want[:600]), gz(t, want[600:])...),
		"zstd":             zst(t, want),
		"two zstd frames":  append(zst(t, want[:600]), zst(t, want[600:])...),
	} {
		expected := want
		switch name {
		case "nothing", "gzip of nothing":
			expected = []byte{}
		case "plain, one byte":
			expected = in
		}
		got, err := expand(in, DefaultLimits)
		if err != nil || !bytes.Equal(got, expected) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

func TestBombs(t *testing.T) {
	zeros := make([]byte, freeBytes+1<<20)
	if _, err := expand(zst(t, zeros), DefaultLimits); !errors.Is(err, ErrBomb) {
		t.Errorf("over the ratio: %v", err)
	}
	if _, err := expand(zst(t, zeros), Limits{Bytes: 1 << 30}); err != nil {
		t.Errorf("without a limit on the ratio: %v", err)
	}
	if _, err := expand(gz(t, zeros[:2000]), Limits{Bytes: 1999}); !errors.Is(err, ErrBomb) {
		t.Errorf("over the absolute limit: %v", err)
	}
	if _, err := expand(zeros[:2000], Limits{Bytes: 1999}); !errors.Is(err, ErrBomb) {
		t.Errorf("uncompressed, over the absolute limit: %v", err)
	}
	if _, err := expand(gz(t, zeros[:2000]), Limits{Bytes: 2000}); err != nil {
		t.Errorf("exactly the limit: %v", err)
	}
}

// failing returns an error where its content ends, as a reader does that has verified a digest.
type failing struct{ r io.Reader }

var errEnd = errors.New("wrong digest")

func (f failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err == io.EOF {
		err = errEnd
	}
	return n, err
}

func TestErrorAtTheEndOfTheCompressedContentIsNotLost(t *testing.T) {
	for name, in := range map[string][]byte{"gzip": gz(t, []byte("x")), "zstd": zst(t, []byte("x")), "plain": []byte("xxxxx"), "nothing": nil} {
		r, err := Decompress(failing{bytes.NewReader(in)}, DefaultLimits)
		if err == nil {
			_, err = io.ReadAll(r)
		}
		if !errors.Is(err, errEnd) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func FuzzDecompress(f *testing.F) {
	f.Add(gz(f, []byte("content")))
	f.Add(zst(f, []byte("content")))
	f.Add([]byte("content"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := expand(b, Limits{Bytes: 1 << 20, Ratio: 1100}); err == nil && len(got) > 1<<20 {
			t.Errorf("%d bytes", len(got))
		}
	})
}
