package catalog

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"
	"unicode"
	"unicode/utf8"
)

// load reads a hostile catalog, and sees that it ends soon, in little memory, with a diagnostic that says what is wrong.
func loadHostile(t *testing.T, fsys fs.FS, summary string) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	d, diags := LoadCommit(fsys, options)
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	for range 4 { // the machine may be busy with something else: the best time is the catalog's own
		if took < 3*slow*time.Second {
			break
		}
		start = time.Now()
		LoadCommit(fsys, options)
		took = min(took, time.Since(start))
	}
	found := false
	for _, g := range diags.Diagnostics {
		found = found || g.Summary == summary
	}
	if !found {
		t.Errorf("no diagnostic %q in: %v", summary, diags.Diagnostics)
	}
	if len(d.Broken) == 0 {
		t.Error("nothing is broken, so things would be removed")
	}
	if took > 3*slow*time.Second {
		t.Errorf("took %s", took)
	}
	if grew := after.TotalAlloc - before.TotalAlloc; grew > 400<<20 {
		t.Errorf("allocated %d MiB", grew>>20)
	}
	t.Logf("%s, %d MiB allocated", took, (after.TotalAlloc-before.TotalAlloc)>>20)
}

func sound(more map[string]string) fstest.MapFS {
	m := fstest.MapFS{"acme.hcl": {Data: []byte(exampleScope + exampleRegistry)}, "nginx.hcl": {Data: []byte(exampleImage)}}
	for name, text := range more {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

func TestNestingThatWouldExhaustTheParserIsADiagnostic(t *testing.T) {
	for name, text := range map[string]string{
		"brackets":    "a = " + strings.Repeat("[", 1<<17),
		"braces":      "a = " + strings.Repeat("{a=", 1<<16),
		"parentheses": "a = " + strings.Repeat("(", 1<<17),
		"blocks":      strings.Repeat("a {\n", 1<<17),
		"templates":   "a = " + strings.Repeat(`"${`, 1<<16),
		"calls":       "a = " + strings.Repeat("f(", 1<<17),
	} {
		t.Run(name, func(t *testing.T) { loadHostile(t, sound(map[string]string{"x.hcl": text}), "Nested too deep") })
	}
}

func TestOperatorsThatWouldExhaustTheParserAreADiagnostic(t *testing.T) {
	for name, text := range map[string]string{
		"unary":        "a = " + strings.Repeat("!", 1<<17),
		"minus":        "a = " + strings.Repeat("-", 1<<17),
		"conditionals": "a = " + strings.Repeat("x ? y : ", 1<<15),
		"binary":       "a = 1" + strings.Repeat("+1", 1<<17),
		"index":        "a = x" + strings.Repeat("[0]", 1<<16),
		"splat":        "a = x" + strings.Repeat("[*]", 1<<16),
		"attributes":   "a = x" + strings.Repeat(".a", 1<<17),
		"directives":   `a = "` + strings.Repeat("%{if x}", 1<<16),
	} {
		t.Run(name, func(t *testing.T) {
			_, diags := LoadCommit(sound(map[string]string{"x.hcl": text}), options)
			if s := diags.Diagnostics[len(diags.Diagnostics)-1].Summary; s != "Too many operators" && s != "Nested too deep" {
				t.Errorf("%v", diags.Diagnostics)
			}
		})
	}
	loadHostile(t, sound(map[string]string{"x.hcl": "a = " + strings.Repeat("!", 1<<17)}), "Too many operators")
}

func TestAFileOfTooManyTokensIsADiagnostic(t *testing.T) {
	for _, mark := range []string{"[", "-", "=.", "\"", "<<", "a "} {
		loadHostile(t, sound(map[string]string{"x.hcl": strings.Repeat(mark, (1<<20)/len(mark))}), "Too many words")
	}
}

func TestHugeNumbersAreADiagnostic(t *testing.T) {
	for _, n := range []string{"1e999999999", strings.Repeat("9", 1<<19)} {
		loadHostile(t, sound(map[string]string{"x.hcl": "prune {\n  limit = " + n + "\n}\n"}), "Number out of range")
	}
}

func TestAFileOfMistakesIsADiagnostic(t *testing.T) {
	loadHostile(t, sound(map[string]string{"x.hcl": strings.Repeat("x y z = = }\n", 1<<15)}), "Invalid block definition")
	var attrs strings.Builder
	for i := range 1 << 15 {
		fmt.Fprintf(&attrs, "  registry%d = 1\n", i)
	}
	loadHostile(t, sound(map[string]string{"x.hcl": "prune {\n" + attrs.String() + "}\n"}), "Unknown attribute")
	loadHostile(t, sound(map[string]string{"x.hcl": strings.Repeat("regitsry \"x\" {}\n", 1<<15)}), "Unknown block")
}

func TestManyBrokenFilesEndSoon(t *testing.T) {
	m := sound(nil)
	for i := range 1000 {
		m[fmt.Sprintf("f/%04d.hcl", i)] = &fstest.MapFile{Data: []byte("a = " + strings.Repeat("[", 100_000))}
	}
	loadHostile(t, m, "Too many broken files")
}

// huge is a file that says how long it is and must not be read.
type huge struct{ t *testing.T }

func (h huge) Open(name string) (fs.File, error) {
	f, err := sound(map[string]string{"huge.hcl": "x"}).Open(name)
	if name == "huge.hcl" {
		return hugeFile{f, h.t}, err
	}
	return f, err
}

type hugeFile struct {
	fs.File
	t *testing.T
}

func (hugeFile) Stat() (fs.FileInfo, error) { return hugeInfo{}, nil }
func (h hugeFile) Read([]byte) (int, error) { h.t.Error("the file was read"); return 0, io.EOF }

type hugeInfo struct{ fs.FileInfo }

func (hugeInfo) Size() int64       { return 1 << 30 }
func (hugeInfo) Mode() fs.FileMode { return 0o644 }

func TestAFileOfAGigabyteIsNotRead(t *testing.T) {
	loadHostile(t, huge{t}, "Unreadable file")
}

// endless is a file that lies about its length.
type endless struct{ read int64 }

func (e *endless) Open(name string) (fs.File, error) {
	f, err := sound(map[string]string{"x.hcl": "x"}).Open(name)
	if name == "x.hcl" {
		return endlessFile{f, e}, err
	}
	return f, err
}

type endlessFile struct {
	fs.File
	e *endless
}

func (f endlessFile) Read(p []byte) (int, error) { f.e.read += int64(len(p)); return len(p), nil }

func TestAFileThatLiesAboutItsLengthIsReadToTheLimit(t *testing.T) {
	e := &endless{}
	loadHostile(t, e, "Unreadable file")
	if e.read > 2<<20 {
		t.Errorf("%d bytes were read", e.read)
	}
}

func TestTooManyFilesAreNotOpened(t *testing.T) {
	m := fstest.MapFS{}
	for i := range 100_000 {
		m[fmt.Sprintf("f%06d.hcl", i)] = &fstest.MapFile{Data: []byte("x")}
	}
	loadHostile(t, closed{m, t}, "Too many files")
}

// closed lets nobody open a file.
type closed struct {
	fs.FS
	t *testing.T
}

func (c closed) Open(name string) (fs.File, error) {
	if strings.HasSuffix(name, ".hcl") {
		c.t.Fatal("a file was opened")
	}
	return c.FS.Open(name)
}

func TestFoldersMayNotBeNestedWithoutEnd(t *testing.T) {
	loadHostile(t, sound(map[string]string{strings.Repeat("d/", 40) + "x.hcl": exampleImage}), "Folders too deep")
}

func TestTheTotalIsBounded(t *testing.T) {
	o := options
	o.Limits.Total = 300
	_, diags := LoadCommit(sound(nil), o)
	if len(diags.Diagnostics) == 0 || diags.Diagnostics[0].Summary != "Catalog too large" {
		t.Errorf("%v", diags.Diagnostics)
	}
}

func TestSymbolicLinksAreNotFollowed(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	write := func(p, text string) {
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(outside, "secret.hcl"), "secret {")
	write(filepath.Join(dir, "acme.hcl"), exampleScope+exampleRegistry+exampleImage)
	for from, to := range map[string]string{"link.hcl": filepath.Join(outside, "secret.hcl"), "folder": outside, "loop": dir, "README.md": "acme.hcl"} {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	_, diags := LoadCommit(os.DirFS(dir), options)
	var text strings.Builder
	if err := diags.Print(&text, 0, false); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(text.String(), "Symbolic link"); n != 3 || strings.Contains(text.String(), "secret {") || strings.Contains(text.String(), "Unclosed") {
		t.Errorf("%d links:\n%s", n, &text)
	}
}

func TestAnUnreadableFolderIsADiagnostic(t *testing.T) {
	loadHostile(t, noFolder{sound(map[string]string{"a/x.hcl": exampleScope})}, "Unreadable folder")
}

type noFolder struct{ fstest.MapFS }

func (f noFolder) Open(name string) (fs.File, error) {
	if name == "a" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return f.MapFS.Open(name)
}

func TestWhatIsPrintedDoesNotSteerTheTerminal(t *testing.T) {
	fsys := fstest.MapFS{
		"organization.hcl":            {Data: []byte("scope \"acme\" {\r\n  level = \"organisation\" # \x1b[2J\xff\u202e\u0085\r\n}\r\n")},
		"a\x1b[31m\n::error::x\r.hcl": {Data: []byte("image \"x\" {\n  sauce = \"\x1b]0;title\x07\" \n")},
		"b\x1b[31m\u202e.hcl":         {Data: []byte("image \"y\" { sauce = 1 }\n")},
	}
	_, diags := LoadCommit(fsys, options)
	var b strings.Builder
	if err := diags.Print(&b, 0, false); err != nil {
		t.Fatal(err)
	}
	out := b.String()
	for _, r := range out {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) || r == utf8.RuneError {
			t.Errorf("%U is printed", r)
		}
	}
	for _, want := range []string{"a?[31m?::error::x?.hcl line 2", "b?[31m?.hcl line 1", "organization.hcl line 2", "sauce"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing", want)
		}
	}
	if t.Failed() {
		t.Logf("%q", out)
	}
}
