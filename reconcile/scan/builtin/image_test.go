package builtin

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/scan/layer"
	"github.com/assay-oci/assay/reconcile/scan/scantest"
)

// list returns what is installed, as "ecosystem match version", or why it can't be known.
func list(t *testing.T, layers ...[]byte) ([]string, string) {
	t.Helper()
	return listWith(t, DefaultLimits, layers...)
}

func listWith(t *testing.T, limits Limits, layers ...[]byte) ([]string, string) {
	t.Helper()
	s := New(Options{Dir: t.TempDir(), Limits: limits})
	l := scantest.Layout(t, layers...)
	var out []string
	for range 2 { // the second time from memory
		inv, err := s.inventory(t.Context(), l)
		var unknown noVerdict
		if errors.As(err, &unknown) {
			return nil, string(unknown)
		}
		if err != nil {
			t.Fatal(err)
		}
		before := out
		out = nil
		if len(inv.Packages) == 0 {
			continue
		}
		packages, err := known(inv)
		if errors.As(err, &unknown) {
			return nil, string(unknown)
		}
		for _, p := range packages {
			out = append(out, p.Ecosystem+" "+strings.Join(p.names, ",")+" "+p.version)
		}
		if before != nil && fmt.Sprint(before) != fmt.Sprint(out) {
			t.Errorf("first %v, from memory %v", before, out)
		}
	}
	return out, ""
}

func module(name, version string) scantest.File { return scantest.NodeModule("app", name, version) }

func TestLayersLieOnTopOfEachOther(t *testing.T) {
	lodash, minimist := module("lodash", "4.17.4"), module("minimist", "0.0.8")
	file := func(name string) scantest.File { return scantest.File{Name: name} }
	tests := map[string]struct {
		upper []scantest.File
		want  []string
	}{
		"nothing":                                {nil, []string{"npm lodash 4.17.4", "npm minimist 0.0.8"}},
		"another version replaces the file":      {[]scantest.File{module("lodash", "4.17.21")}, []string{"npm lodash 4.17.21", "npm minimist 0.0.8"}},
		"whiteout of the file":                   {[]scantest.File{file("app/node_modules/lodash/.wh.package.json")}, []string{"npm minimist 0.0.8"}},
		"whiteout of a directory above":          {[]scantest.File{file("app/node_modules/.wh.lodash")}, []string{"npm minimist 0.0.8"}},
		"whiteout of everything":                 {[]scantest.File{file(".wh.app")}, nil},
		"opaque directory":                       {[]scantest.File{file("app/node_modules/.wh..wh..opq"), module("left-pad", "1.0.0")}, []string{"npm left-pad 1.0.0"}},
		"opaque root":                            {[]scantest.File{file(".wh..wh..opq")}, nil},
		"a file where a directory was":           {[]scantest.File{file("app/node_modules")}, nil},
		"a link where a directory was":           {[]scantest.File{{Name: "app/node_modules", Type: tar.TypeSymlink, Link: "/x"}}, nil},
		"a directory where the file was":         {[]scantest.File{file("app/node_modules/lodash/package.json/")}, []string{"npm minimist 0.0.8"}},
		"a directory that was there":             {[]scantest.File{file("app/node_modules/lodash/")}, []string{"npm lodash 4.17.4", "npm minimist 0.0.8"}},
		"whiteout of a name that only begins so": {[]scantest.File{file("app/node_modules/.wh.lod")}, []string{"npm lodash 4.17.4", "npm minimist 0.0.8"}},
		"whiteout and a new file in one layer":   {[]scantest.File{module("lodash", "4.17.21"), file("app/.wh.node_modules")}, []string{"npm lodash 4.17.21"}},
		"storage driver's bookkeeping":           {[]scantest.File{file("app/.wh..wh.plnk"), file(".wh..wh.aufs")}, []string{"npm lodash 4.17.4", "npm minimist 0.0.8"}},
		"absolute and winding names": {[]scantest.File{{Name: "/../app/./x/../node_modules/lodash/package.json", Content: module("lodash", "4.17.21").Content}},
			[]string{"npm lodash 4.17.21", "npm minimist 0.0.8"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, reason := list(t, scantest.Tar(t, lodash, minimist), scantest.Tar(t, test.upper...))
			if reason != "" || fmt.Sprint(got) != fmt.Sprint(test.want) {
				t.Errorf("got %v %s, want %v", got, reason, test.want)
			}
		})
	}
}

func alpine(version string) scantest.File {
	return scantest.File{Name: "etc/os-release", Content: "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=" + version + "\n"}
}

func apkDB(name, version, origin string) scantest.File {
	return scantest.File{Name: "lib/apk/db/installed", Content: fmt.Sprintf("C:Q1xxxx\nP:%s\nV:%s\nA:x86_64\nL:MIT\no:%s\n\n", name, version, origin)}
}

func jar(t *testing.T, path string) scantest.File {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create("META-INF/maven/org.apache.commons/commons-text/pom.properties")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("groupId=org.apache.commons\nartifactId=commons-text\nversion=1.9\n")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return scantest.File{Name: path, Content: b.String()}
}

func TestPackagesAreKnownByTheNamesThatAdvisoriesUse(t *testing.T) {
	debian := scantest.Debian12()
	tests := map[string]struct {
		files []scantest.File
		want  []string
	}{
		"Debian, by source package and source version": {append(debian, scantest.Dpkg(scantest.Deb{Name: "libssh2-1", Version: "1.10.0-3+b1", Source: "libssh2 (1.10.0-3)"},
			scantest.Deb{Name: "tar", Version: "1.34+dfsg-1.2"})), []string{"Debian:12 libssh2 1.10.0-3", "Debian:12 tar 1.34+dfsg-1.2"}},
		"Debian without a package manager": {append(debian, scantest.File{Name: "var/lib/dpkg/status.d/libssl3", Content: "Package: libssl3\nSource: openssl\nVersion: 3.0.15\nArchitecture: amd64\n"},
			scantest.File{Name: "var/lib/dpkg/status.d/libssl3.md5sums", Content: "x"}), []string{"Debian:12 openssl 3.0.15"}},
		"Debian, removed packages don't count": {append(debian, scantest.File{Name: "var/lib/dpkg/status", Content: "Package: a\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: b\nStatus: install ok installed\nVersion: 2\n\n"}),
			[]string{"Debian:12 b 2"}},
		"Ubuntu":            {[]scantest.File{{Name: "etc/os-release", Content: "ID=ubuntu\nVERSION_ID=\"24.04\"\n"}, scantest.Dpkg(scantest.Deb{Name: "bash", Version: "5.2"})}, []string{"Ubuntu:24.04 bash 5.2"}},
		"Alpine, by origin": {[]scantest.File{alpine("3.20.3"), apkDB("libcrypto3", "3.3.2-r0", "openssl")}, []string{"Alpine:v3.20 openssl 3.3.2-r0"}},
		"Wolfi":             {[]scantest.File{{Name: "etc/os-release", Content: "ID=wolfi\nVERSION_ID=20230201\n"}, apkDB("curl", "8.1-r0", "curl")}, []string{"Wolfi curl 8.1-r0"}},
		"Python, by normal name": {[]scantest.File{{Name: "usr/lib/python3/dist-packages/Flask_Cors-3.0.dist-info/METADATA", Content: "Metadata-Version: 2.1\nName: Flask_Cors\nVersion: 3.0\n\n"}},
			[]string{"PyPI flask-cors 3.0"}},
		"Java, by group and artifact":                    {[]scantest.File{jar(t, "opt/app.jar")}, []string{"Maven org.apache.commons:commons-text 1.9"}},
		"npm lock file, without what is for development": {[]scantest.File{scantest.PackageLock("app", "lodash", "4.17.4", "jest", "1.0.0")}, []string{"npm lodash 4.17.4"}},
		"a project's own package.json is not installed":  {[]scantest.File{{Name: "app/package.json", Content: `{"name":"lodash","version":"4.17.4"}`}}, nil},
		"a damaged archive is no package":                {[]scantest.File{{Name: "opt/broken.jar", Content: "PK nonsense"}, module("lodash", "4.17.4")}, []string{"npm lodash 4.17.4"}},
		"Go, the module and the standard library":        {[]scantest.File{scantest.GoBinary(t, "usr/bin/app", "golang.org/x/net", "v0.7.0")}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, reason := list(t, scantest.Tar(t, test.files...))
			if strings.HasPrefix(name, "Go") {
				s := strings.Join(got, "\n")
				if !strings.Contains(s, "Go golang.org/x/net 0.7.0") || !strings.Contains(s, "Go stdlib 1.") {
					t.Errorf("got %v %s", got, reason)
				}
				return
			}
			if reason != "" || fmt.Sprint(got) != fmt.Sprint(test.want) {
				t.Errorf("got %v %s, want %v", got, reason, test.want)
			}
		})
	}
}

func TestWhatCannotBeKnownSaysSo(t *testing.T) {
	debian := scantest.Debian12()
	dpkg := scantest.Dpkg(scantest.Deb{Name: "bash", Version: "5.2"})
	small := func(change func(*Limits)) Limits { l := DefaultLimits; change(&l); return l }
	many := make([]scantest.File, 101)
	for i := range many {
		many[i] = module(fmt.Sprintf("m%d", i), "1.0.0")
	}
	tests := map[string]struct {
		limits Limits
		files  []scantest.File
		want   string
	}{
		"package database that is a link":   {DefaultLimits, append(debian, scantest.File{Name: "var/lib/dpkg/status", Type: tar.TypeSymlink, Link: "/opt/x"}), "is a link"},
		"package database that is a device": {DefaultLimits, append(debian, scantest.File{Name: "lib/apk/db/installed", Type: tar.TypeChar}), "is a link"},
		"damaged status.d file":             {DefaultLimits, append(debian, scantest.File{Name: "var/lib/dpkg/status.d/x", Content: "nonsense"}), "can't be read"},
		"damaged rpm database":              {DefaultLimits, []scantest.File{{Name: "var/lib/rpm/rpmdb.sqlite", Content: strings.Repeat("x", 5000)}}, "can't be read"},
		"system that is not known":          {DefaultLimits, []scantest.File{{Name: "etc/os-release", Content: "ID=plan9\nVERSION_ID=4\n"}, dpkg}, `deb packages of a system that is not known ("plan9:4")`},
		"no os-release":                     {DefaultLimits, []scantest.File{dpkg}, "it has no os-release"},
		"packages of another kind":          {DefaultLimits, []scantest.File{alpine("3.20.0"), dpkg}, "deb packages of a system"},
		"system without its database":       {DefaultLimits, append(debian, module("lodash", "1.0.0")), "package database was not found"},
		"too many files":                    {small(func(l *Limits) { l.Entries = 100 }), many, "more than 100 files"},
		"too long names":                    {small(func(l *Limits) { l.Paths = 100 }), many, "names of more than 100 bytes"},
		"too many packages":                 {small(func(l *Limits) { l.Found = 100 }), many, "more than 100 packages"},
		"a file that is too large":          {small(func(l *Limits) { l.File = 10 }), many, "larger than 10 bytes"},
		"a layer that expands too far":      {small(func(l *Limits) { l.Layer = layer.Limits{Bytes: 1000} }), many, "expands"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, reason := listWith(t, test.limits, scantest.Tar(t, test.files...))
			if !strings.Contains(reason, test.want) {
				t.Errorf("got %v, %q; want %q", got, reason, test.want)
			}
		})
	}
}

// What an upper layer removed doesn't matter, even if it could not be read.
func TestRemovedFilesNeedNotBeReadable(t *testing.T) {
	got, reason := list(t, scantest.Tar(t, scantest.File{Name: "var/lib/rpm/rpmdb.sqlite", Content: "x"}, module("lodash", "4.17.4")), scantest.Tar(t, scantest.File{Name: "var/lib/.wh.rpm"}))
	if reason != "" || len(got) != 1 {
		t.Errorf("got %v %s", got, reason)
	}
}

func TestFalseDiffIDIsNoticed(t *testing.T) {
	honest := scantest.Tar(t, module("lodash", "4.17.4"))
	s := New(Options{Dir: t.TempDir()})
	if _, err := s.inventory(t.Context(), scantest.Layout(t, honest)); err != nil {
		t.Fatal(err)
	}
	liar := scantest.Tar(t, module("lodash", "4.17.21"))
	other := scantest.Tar(t, module("minimist", "0.0.8"))
	_, err := s.inventory(t.Context(), scantest.LayoutClaiming(t, []string{digestOf(t, other)}, liar))
	var unknown noVerdict
	if !errors.As(err, &unknown) {
		t.Fatalf("got %v, want no verdict", err)
	}
	// the lie is not remembered
	inv, err := s.inventory(t.Context(), scantest.Layout(t, other))
	if err != nil || len(inv.Packages) != 1 || inv.Packages[0].Name != "minimist" {
		t.Errorf("%+v, %v", inv, err)
	}
}

func digestOf(t *testing.T, content []byte) string {
	t.Helper()
	l := scantest.Layout(t, content)
	_, diffIDs, err := readLayout(l)
	if err != nil {
		t.Fatal(err)
	}
	return diffIDs[0].String()
}

func TestMemoryThatIsDamagedIsForgotten(t *testing.T) {
	dir := t.TempDir()
	s := New(Options{Dir: dir})
	l := scantest.Layout(t, scantest.Tar(t, module("lodash", "4.17.4")))
	if _, err := s.inventory(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "layers", "*", "sha256-*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v; want one remembered layer", files, err)
	}
	for _, damage := range []string{"", "nonsense"} {
		if err := os.WriteFile(files[0], []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		if inv, err := s.inventory(t.Context(), l); err != nil || len(inv.Packages) != 1 {
			t.Errorf("%+v, %v", inv, err)
		}
	}
	// what belongs to another layer isn't taken for this one
	other := scantest.Layout(t, scantest.Tar(t, module("minimist", "0.0.8")))
	if _, err := s.inventory(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	_, diffIDs, _ := readLayout(other)
	if err := os.Rename(s.cache.path(diffIDs[0]), files[0]); err != nil {
		t.Fatal(err)
	}
	if inv, err := s.inventory(t.Context(), l); err != nil || inv.Packages[0].Name != "lodash" {
		t.Errorf("%+v, %v", inv, err)
	}
}

func TestScanStopsInTheMiddleOfALayer(t *testing.T) {
	s := New(Options{Dir: imported(t)})
	l := scantest.Layout(t, scantest.Tar(t, scantest.File{Name: "big", Content: strings.Repeat("x", 50<<20)}))
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if got, err := s.Scan(ctx, l, reconcile.Image{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestLayoutThatIsNotOne(t *testing.T) {
	s := New(Options{Dir: imported(t)})
	l := scantest.Empty(t)
	l.Dir = t.TempDir()
	if _, err := s.Scan(t.Context(), l, reconcile.Image{}); err == nil {
		t.Error("a layout without content was scanned")
	}
}

func FuzzLayer(f *testing.F) {
	f.Add(scantest.Tar(f, scantest.Dpkg(scantest.Deb{Name: "bash", Version: "5.2"}), scantest.Debian12()[0]))
	f.Add(scantest.Tar(f, scantest.File{Name: "lib/apk/db/installed", Content: "P:x\nV:1\n\n"}, scantest.File{Name: "a/.wh..wh..opq"}))
	f.Add(scantest.Tar(f, scantest.File{Name: "x.dist-info/METADATA", Content: "Name: x\nVersion: 1\n"}, scantest.File{Name: "a.jar", Content: "PK\x03\x04"}))
	f.Add(scantest.Tar(f, scantest.File{Name: "usr/bin/x", Content: "\x7fELF", Mode: 0o755}))
	limits := DefaultLimits
	limits.File, limits.Layer = 1<<20, layer.Limits{Bytes: 4 << 20}
	s := New(Options{Dir: f.TempDir(), Limits: limits})
	f.Fuzz(func(t *testing.T, b []byte) {
		plain, err := layer.Decompress(bytes.NewReader(b), limits.Layer)
		if err != nil {
			return
		}
		defer plain.Close()
		w := newWalk(s)
		if s.entries(t.Context(), tar.NewReader(plain), w.entry) != nil {
			return
		}
		again, err := layer.Decompress(bytes.NewReader(b), limits.Layer)
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		if s.entries(t.Context(), tar.NewReader(again), w.linked) != nil {
			return
		}
		var m merged
		m.add(w.c, reconcile.MustDigest("sha256:"+strings.Repeat("0", 64)))
		inv, err := m.inventory()
		if err != nil {
			return
		}
		for _, p := range inv.Packages {
			if p.Path != clean(p.Path) || strings.HasPrefix(p.Path, "/") {
				t.Errorf("the path %q leaves the image", p.Path)
			}
		}
		_, _ = known(inv)
	})
}
