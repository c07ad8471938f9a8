package scantest

import (
	"archive/zip"
	"embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The advisories are about real versions of real packages. Debian's are after its changelogs and its security tracker, the others after
// the GitHub Advisory Database.
//
//go:embed testdata/osv/*.json
var records embed.FS

// OSV returns the advisories as OSV publishes them: a folder with an all.zip for each ecosystem.
func OSV(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	entries, err := records.ReadDir("testdata/osv")
	if err != nil {
		t.Fatal(err)
	}
	byEcosystem := map[string]map[string]string{}
	for _, e := range entries {
		b, err := records.ReadFile("testdata/osv/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		var r struct {
			Affected []struct{ Package struct{ Ecosystem string } }
		}
		if err := json.Unmarshal(b, &r); err != nil {
			t.Fatal(err)
		}
		eco, _, _ := strings.Cut(r.Affected[0].Package.Ecosystem, ":")
		if byEcosystem[eco] == nil {
			byEcosystem[eco] = map[string]string{}
		}
		byEcosystem[eco][e.Name()] = string(b)
	}
	for eco, files := range byEcosystem {
		Zip(t, filepath.Join(dir, eco, "all.zip"), files)
	}
	return dir
}

// Zip writes a zip file of given files, by their names.
func Zip(t testing.TB, path string, files map[string]string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := zip.NewWriter(f)
	for name, content := range files {
		e, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// Debian12 is the os-release of Debian 12, in its own place and with the usual link to it.
func Debian12() []File {
	return []File{
		{Name: "usr/lib/os-release", Content: "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\n" +
			"VERSION=\"12 (bookworm)\"\nVERSION_CODENAME=bookworm\nID=debian\n"},
		{Name: "etc/os-release", Type: '2', Link: "../usr/lib/os-release"},
		{Name: "etc/debian_version", Content: "12.12\n"},
	}
}

// A Deb is a package of Debian.
type Deb struct{ Name, Version, Source string }

// Dpkg is the package database of Debian.
func Dpkg(packages ...Deb) File {
	var b strings.Builder
	for _, p := range packages {
		fmt.Fprintf(&b, "Package: %s\nStatus: install ok installed\nPriority: optional\nSection: libs\nMaintainer: Example <packages@example.com>\n"+
			"Architecture: amd64\n", p.Name)
		if p.Source != "" {
			fmt.Fprintf(&b, "Source: %s\n", p.Source)
		}
		fmt.Fprintf(&b, "Version: %s\nDescription: one line\n and a longer text\n\n", p.Version)
	}
	return File{Name: "var/lib/dpkg/status", Content: b.String()}
}

// NodeModule is an installed npm package, below dir.
func NodeModule(dir, name, version string) File {
	return File{Name: dir + "/node_modules/" + name + "/package.json", Content: fmt.Sprintf(`{"name":%q,"version":%q,"license":"MIT"}`, name, version)}
}

// PackageLock is an npm lock file that names one package for production and one for development.
func PackageLock(dir, name, version, devName, devVersion string) File {
	return File{Name: dir + "/package-lock.json", Content: fmt.Sprintf(`{"name":"app","version":"1.0.0","lockfileVersion":3,"packages":{"":{"name":"app"},`+
		`"node_modules/%s":{"version":%q,"resolved":"https://packages.example.com/x.tgz"},`+
		`"node_modules/%s":{"version":%q,"dev":true,"resolved":"https://packages.example.com/y.tgz"}}}`, name, version, devName, devVersion)}
}

// GoBinary builds a program that contains a module, and returns it as a file. The module's own code doesn't matter: scanners read
// what the compiler wrote about it.
func GoBinary(t testing.TB, path, module, version string) File {
	t.Helper()
	dir := t.TempDir()
	goVersion := "1.24"
	for name, content := range map[string]string{
		"go.mod":                             fmt.Sprintf("module example.com/app\n\ngo %s\n\nrequire %s %s\n", goVersion, module, version),
		"main.go":                            fmt.Sprintf("package main\n\nimport _ %q\n\nfunc main() {}\n", module),
		"vendor/modules.txt":                 fmt.Sprintf("# %s %s\n## explicit; go %s\n%s\n", module, version, goVersion, module),
		"vendor/" + module + "/something.go": "package something\n",
	} {
		write(t, filepath.Join(dir, name), []byte(content))
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-mod=vendor", "-trimpath", "-buildvcs=false", "-o", "app", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=", "GOTOOLCHAIN=local", "GOPROXY=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build a program: %v\n%s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, "app"))
	if err != nil {
		t.Fatal(err)
	}
	return File{Name: path, Content: string(b), Mode: 0o755}
}
