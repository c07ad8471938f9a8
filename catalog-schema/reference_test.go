package catalog

import (
	"bytes"
	"os"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/diff"
)

func TestTheReferenceIsCurrent(t *testing.T) {
	had, err := os.ReadFile("REFERENCE.md")
	if err != nil {
		t.Fatal(err)
	}
	if got := Reference(); !bytes.Equal(got, had) {
		t.Errorf("run go generate ./catalog-schema\n%s", diff.Diff("REFERENCE.md", had, "generated", got))
	}
}

func TestTheExamplesOfTheReferenceLoadTogether(t *testing.T) {
	fsys := fstest.MapFS{"sigstore/trusted_root.json": &fstest.MapFile{Data: []byte("{}")}}
	for _, b := range blockTypes {
		fsys[b.name+".hcl"] = &fstest.MapFile{Data: []byte(b.example)}
		formatted, diags := Format([]byte(b.example), b.name)
		if diags.HasErrors() || string(formatted) != b.example {
			t.Errorf("the example of %s isn't formatted", b.name)
		}
	}
	d, diags := LoadCommit(fsys, options)
	if len(diags.Diagnostics) > 0 || len(d.Wants) != 1 {
		t.Errorf("%v", diags.Diagnostics)
	}
}

func TestEveryFieldIsDocumented(t *testing.T) {
	for _, b := range blockTypes {
		for _, f := range fieldsOf(typeOf(b.body)) {
			if f.doc == "" {
				t.Errorf("%s.%s has no documentation", b.name, f.name)
			}
		}
	}
}
