package test

import (
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "github.com/assay-oci/assay"
	core   = module + "/reconcile"
)

// The adapters: what speaks with the world outside. Each is a folder with all below it. None knows another one.
var adapters = []string{"registry", "scan/builtin", "scan/command", "scan/trivy", "scan/grype", "scan/osvscanner", "scan/feeds", "scan/stage", "sign", "source", "forge"}

// What several adapters may use.
var shared = []string{core, core + "/scan/layer", core + "/scan/program", core + "/scan/external"}

// adapterOf returns the adapter that a package belongs to; empty if to none.
func adapterOf(pkg string) string {
	for _, a := range adapters {
		if within(pkg, core+"/"+a) {
			return a
		}
	}
	return ""
}

func within(pkg, tree string) bool { return pkg == tree || strings.HasPrefix(pkg, tree+"/") }

type listed struct {
	ImportPath, Dir string
	Standard        bool
	Imports, Deps   []string
	GoFiles         []string
}

// packages lists what the patterns match.
func packages(t *testing.T, args ...string) map[string]listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json=ImportPath,Dir,Standard,Imports,Deps,GoFiles"}, args...)...)
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	all := map[string]listed{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
}

func TestTheCoreNeedsTheStandardLibraryAlone(t *testing.T) {
	for name, p := range packages(t, "-deps", "./reconcile") {
		if !p.Standard && name != core {
			t.Errorf("the core depends on %s", name)
		}
	}
}

// layers are the rules about what a package's import may be.
var layers = []struct {
	why   string
	wrong func(pkg, imported string) bool
}{
	{"an adapter knows the core and no other adapter", func(pkg, imported string) bool {
		own := adapterOf(pkg)
		return own != "" && within(imported, module) && adapterOf(imported) != own && !slices.Contains(shared, imported)
	}},
	{"only the program knows adapters", func(pkg, imported string) bool {
		return adapterOf(imported) != "" && adapterOf(pkg) == "" && !within(pkg, module+"/cmd") && !within(pkg, module+"/test")
	}},
	{"nobody knows the program", func(_, imported string) bool { return within(imported, module+"/cmd") }},
	{"nobody needs what is for tests", func(pkg, imported string) bool {
		return within(imported, module) && strings.HasSuffix(imported, "test") && !within(pkg, module+"/test")
	}},
	{"reconcile/forge/github is the only importer of go-github", func(pkg, imported string) bool {
		return (within(imported, "github.com/google/go-github") || within(imported, "github.com/bradleyfalzon")) && !within(pkg, core+"/forge/github")
	}},
	{"reconcile/sign is the only importer of cosign", func(pkg, imported string) bool {
		return within(imported, "github.com/sigstore/cosign/v2") && !within(pkg, core+"/sign")
	}},
}

func TestLayers(t *testing.T) {
	all := packages(t, "./...")
	seen := map[string]bool{}
	for name, p := range all {
		seen[adapterOf(name)] = true
		for _, imported := range p.Imports {
			for _, l := range layers {
				if l.wrong(name, imported) {
					t.Errorf("%s imports %s: %s", name, imported, l.why)
				}
			}
		}
	}
	for _, a := range adapters {
		if !seen[a] {
			t.Errorf("there is no package of the adapter %s; is it called something else?", a)
		}
	}
	for _, name := range []string{core + "/policy", core + "/report", module + "/catalog-schema"} {
		p, ok := all[name]
		if !ok {
			t.Errorf("there is no %s", name)
		}
		for _, d := range p.Deps {
			if adapterOf(d) != "" {
				t.Errorf("%s depends on the adapter %s", name, d)
			}
		}
	}
}

// Most commands are told what to use; these name it, each for itself.
func TestAdaptersAreNamedInFewFiles(t *testing.T) {
	may := []string{"wire.go", "wire_forge.go", "wire_local.go", "wire_publish.go", "wire_scan.go", "wire_sign.go", "serve.go", "verify.go", "verify_chain.go", "db.go"}
	p := packages(t, "./cmd/assay")[module+"/cmd/assay"]
	wired := map[string]bool{}
	for _, file := range p.GoFiles {
		tree, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, file), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range tree.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(file, "wire") {
				wired[path] = true
			}
			if adapterOf(path) != "" && !slices.Contains(may, file) && !strings.HasPrefix(file, "demo") {
				t.Errorf("cmd/assay/%s imports %s: adapters are named in the wire files", file, path)
			}
		}
	}
	if len(wired) < 8 {
		t.Errorf("the wire files import only %v", wired)
	}
}
