package catalog

import (
	"bytes"
	"io"
	"path/filepath"
	"reflect"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"
)

func typeOf(x any) reflect.Type { return reflect.TypeOf(x) }

func TestFormatAlignsAndKeepsComments(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"alignment", "image \"a\" {\nsource=\"x\"\n    repository   = \"y\" # why\n}\n", "image \"a\" {\n  source     = \"x\"\n  repository = \"y\" # why\n}\n"},
		{"empty lines", "\n\na {\n}\n\n\n\nb {\n\n\n  x = 1\n}\n\n\n", "a {\n}\n\nb {\n\n  x = 1\n}\n"},
		{"line ends", "a {\r\n  x = 1\r\n}", "a {\n  x = 1\n}\n"},
		{"here-documents", "a {\n  x = <<EOT\none\n\n\n\ntwo\nEOT\n}\n", "a {\n  x = <<EOT\none\n\n\n\ntwo\nEOT\n}\n"},
		{"nothing", "", ""},
		{"only comments", "# a\n", "# a\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, diags := Format([]byte(c.in), "x.hcl")
			if diags.HasErrors() || string(got) != c.want {
				t.Errorf("got %q, want %q (%v)", got, c.want, diags)
			}
		})
	}
}

func TestFormatRefusesASyntaxError(t *testing.T) {
	if got, diags := Format([]byte("a {"), "x.hcl"); !diags.HasErrors() || got != nil {
		t.Errorf("%q", got)
	}
}

// sameMeaning tells whether two files say the same.
func sameMeaning(t *testing.T, a, b []byte) bool {
	fa, da := parseFile(a, "a")
	fb, db := parseFile(b, "b")
	if da.HasErrors() || db.HasErrors() {
		t.Fatalf("%v %v", da, db)
	}
	return fingerprint(fa, fa.Body.MissingItemRange()) == fingerprint(fb, fb.Body.MissingItemRange())
}

func FuzzFormat(f *testing.F) {
	for _, b := range blockTypes {
		f.Add([]byte(b.example))
	}
	f.Add([]byte("a {\n  x = <<EOT\n\n\n${a}\nEOT\n}\n"))
	f.Add([]byte("a = [\n\n\n1,\n\n]\r\n\r\n\r\n"))
	f.Add([]byte("/* a\n\n\n*/ b {}"))
	f.Fuzz(func(t *testing.T, src []byte) {
		once, diags := Format(src, "x.hcl")
		if diags.HasErrors() {
			return
		}
		twice, diags := Format(once, "x.hcl")
		if diags.HasErrors() {
			t.Fatalf("%q became %q: %v", src, once, diags)
		}
		if !bytes.Equal(once, twice) {
			t.Fatalf("%q\n%q\n%q", src, once, twice)
		}
		if !sameMeaning(t, bytes.ReplaceAll(src, []byte("\r\n"), []byte("\n")), once) {
			t.Fatalf("%q\n%q", src, once)
		}
	})
}

func FuzzLoad(f *testing.F) {
	paths, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range paths {
		a, err := txtar.ParseFile(p)
		if err != nil {
			f.Fatal(err)
		}
		base, head := files(a)
		f.Add(all(base), all(head), len(base) > 0)
	}
	f.Fuzz(func(t *testing.T, before, after []byte, two bool) {
		head := fstest.MapFS{"a.hcl": {Data: []byte(exampleScope + exampleRegistry)}, "a/b.hcl": {Data: after}}
		d, diags := LoadCommit(head, options)
		if two {
			d, diags = Load(fstest.MapFS{"a.hcl": {Data: before}}, head, options)
		}
		if diags.HasErrors() != (len(d.Broken) > 0) {
			t.Fatalf("%d broken, %v", len(d.Broken), diags.Diagnostics)
		}
		for _, w := range d.Wants {
			if w.From.IsZero() || len(w.Tags) == 0 || w.Origin.Line == 0 {
				t.Fatalf("%+v", w)
			}
		}
		if err := diags.Print(io.Discard, 80, false); err != nil {
			t.Fatal(err)
		}
		Approvals(head, options)
	})
}

// all joins the files of a catalog.
func all(m fstest.MapFS) []byte {
	var out []byte
	for _, f := range m {
		out = append(append(out, f.Data...), '\n')
	}
	return out
}
