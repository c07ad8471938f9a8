package scantest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assay-oci/assay/reconcile"
)

// Images are those that Run uses, by name. What real scanners print about them is recorded, and replayed by fake ones in the tests of every day.
func Images(t testing.TB) map[string]reconcile.Layout {
	t.Helper()
	out := map[string]reconcile.Layout{"vulnerable": Vulnerable(t), "clean": Clean(t), "empty": Empty(t), "liar": Liar(t)}
	for name, l := range Broken(t) {
		out[strings.ReplaceAll(name, " ", "-")] = l
	}
	return out
}

// marks are bytes that only one of the images has. The last one is of all that have a system.
var marks = []struct{ bytes, image string }{
	{"nothing to see", "liar"},
	{"3.0.20-1~deb12u2", "vulnerable"},
	{"3.0.22-1~deb12u2", "clean"},
	{"hello.txt", "empty"},
	{"no archive no archive", "layer-that-is-no-archive"},
	{" nonsense\n", "package-database-of-nonsense"},
	{"VERSION_ID", "system-without-its-database"},
}

// Which names the image that some bytes are of: the content of its layers, or a document about it.
func Which(b []byte) (string, error) {
	for _, m := range marks {
		if bytes.Contains(b, []byte(m.bytes)) {
			return m.image, nil
		}
	}
	return "", errors.New("there is no record of this image")
}

// WhichLayout names the image in a layout.
func WhichLayout(dir string) (string, error) {
	var all []byte
	err := filepath.WalkDir(filepath.Join(dir, "blobs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all = append(all, uncompressed(b)...)
		return err
	})
	if err != nil {
		return "", err
	}
	return Which(all)
}

// WhichArchive names the image in a docker archive, which must have what such an archive has.
func WhichArchive(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var all []byte
	entries := map[string]bool{}
	var manifest []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", err
		}
		b, err := io.ReadAll(r)
		if err != nil {
			return "", err
		}
		if h.Name == "manifest.json" {
			if err := json.Unmarshal(b, &manifest); err != nil {
				return "", err
			}
		}
		entries[h.Name] = true
		all = append(all, uncompressed(b)...)
	}
	if len(manifest) != 1 || len(manifest[0].RepoTags) != 1 || len(manifest[0].Layers) == 0 {
		return "", fmt.Errorf("manifest.json is %+v", manifest)
	}
	for _, name := range append(manifest[0].Layers, manifest[0].Config) {
		if !entries[name] {
			return "", fmt.Errorf("%s is not in the archive", name)
		}
	}
	return Which(all)
}

func uncompressed(b []byte) []byte {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return b
	}
	out, err := io.ReadAll(z)
	if err != nil {
		return b
	}
	return out
}

// A Record is what a real scanner printed about an image.
type Record struct {
	Exit   int    `json:"exit"`
	Errors string `json:"errors,omitempty"` // the end of what it wrote to standard error
	Output string `json:"-"`                // a file of its own
}

// ReadRecord reads the record of one command about one image: <image>.<command>.json for what it printed, and <image>.<command>.exit.json.
func ReadRecord(records fs.FS, image, command string) (Record, error) {
	var r Record
	b, err := fs.ReadFile(records, image+"."+command+".exit.json")
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, err
	}
	b, err = fs.ReadFile(records, image+"."+command+".json")
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	r.Output = string(b)
	return r, err
}

// Replay prints a record, and returns the exit status that it had.
func Replay(r Record, err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, "fake scanner:", err)
		return 99
	}
	fmt.Fprint(os.Stderr, r.Errors)
	fmt.Print(r.Output)
	return r.Exit
}

// Fake makes the test's own binary a program of this name: where its TestMain sees the name in its first argument, it behaves as the program.
func Fake(t testing.TB, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// Trimmed makes a small document of a large one: of each list the first element stays. Fuzzing starts from it, since of large inputs Go's fuzzer spends all
// its time on making them smaller.
func Trimmed(t testing.TB, records fs.FS, name string) []byte {
	t.Helper()
	b, err := fs.ReadFile(records, name)
	var v any
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err == nil {
		b, err = json.Marshal(firsts(v))
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func firsts(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = firsts(v[i])
		}
		return v[:min(1, len(v))]
	case map[string]any:
		for k := range v {
			v[k] = firsts(v[k])
		}
	}
	return v
}
