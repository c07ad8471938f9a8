package catalog

import (
	"strings"
	"testing"
	"testing/fstest"
)

// What a pull request brings in is told from what was there: a version that is new, or whose digest is.
func TestWhatIsProposed(t *testing.T) {
	digest := func(c string) string { return "sha256:" + strings.Repeat(c, 64) }
	catalog := func(versions string) fstest.MapFS {
		return fstest.MapFS{"catalog.hcl": {Data: []byte("scope \"acme\" {\n  level = \"organization\"\n}\nregistry \"eu\" {\n  address = \"eu.example.com/a\"\n}\nimage \"x\" {\n  source = \"docker.io/library/x\"\n" + versions + "}\n")}}
	}
	version := func(label, c string) string {
		return "version \"" + label + "\" {\n  digest = \"" + digest(c) + "\"\n}\n"
	}
	base, head := catalog(version("1", "1")+version("2", "2")), catalog(version("1", "1")+version("2", "a")+version("3", "3"))
	d, diags := Load(base, head, Options{})
	if diags.HasErrors() || len(d.Wants) != 3 {
		t.Fatalf("%v, %v", d, diags)
	}
	for _, w := range d.Wants {
		if w.Proposed == (w.Version == "1") {
			t.Errorf("%s: proposed %v", w.Title(), w.Proposed)
		}
	}
	merged, _ := LoadCommit(head, Options{})
	for _, w := range merged.Wants {
		if w.Proposed {
			t.Errorf("%s is merged", w.Title())
		}
	}
}

// What a pull request takes out is told from what was there: an image, one that moves to another scope, and where they went.
func TestWhatIsTakenOut(t *testing.T) {
	image := func(name string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte("image \"" + name + "\" {\n  source = \"docker.io/library/x\"\n  version \"1\" {\n    digest = \"sha256:" + strings.Repeat("1", 64) + "\"\n  }\n}\n")}
	}
	root := &fstest.MapFile{Data: []byte("scope \"acme\" {\n  level = \"organization\"\n}\nregistry \"eu\" {\n  address = \"eu.example.com/a\"\n}\n")}
	team := &fstest.MapFile{Data: []byte("scope \"team\" {\n  level = \"application\"\n  path  = \"team\"\n}\n")}
	base := fstest.MapFS{"catalog.hcl": root, "gone.hcl": image("gone"), "moved.hcl": image("moved"), "stays.hcl": image("stays"), "renamed.hcl": image("renamed")}
	head := fstest.MapFS{"catalog.hcl": root, "team/scope.hcl": team, "team/moved.hcl": image("moved"), "stays.hcl": image("stays"), "again.hcl": image("renamed")}
	d, diags := Load(base, head, Options{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	got := map[string]string{}
	for _, w := range d.Replaced {
		got[w.Title()] = w.To[0].Repo.String() + " " + w.Origin.File
	}
	if len(got) != 2 || got["gone:1"] != "eu.example.com/a/gone gone.hcl" || got["moved:1"] != "eu.example.com/a/moved moved.hcl" {
		t.Errorf("%v", got)
	}
}
