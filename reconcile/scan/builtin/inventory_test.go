package builtin

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/scan/scantest"
	"github.com/google/go-cmp/cmp"
)

func inventoryOf(t testing.TB, layers ...[]byte) reconcile.Inventory {
	t.Helper()
	inv, err := New(Options{Dir: t.TempDir()}).inventory(t.Context(), scantest.Layout(t, layers...))
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

// rpmDatabase is a real one: see testdata/README.md.
func rpmDatabase(t testing.TB) scantest.File {
	t.Helper()
	f, err := os.Open("testdata/rpmdb.sqlite.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return scantest.File{Name: "var/lib/rpm/rpmdb.sqlite", Content: string(b)}
}

// auditable is a program with the list of its dependencies that cargo-auditable puts into a section of its own.
func auditable(t testing.TB, path string) scantest.File {
	t.Helper()
	var list bytes.Buffer
	z := zlib.NewWriter(&list)
	fmt.Fprint(z, `{"packages":[{"name":"app","version":"0.1.0","source":"local","dependencies":[1],"root":true},{"name":"smallvec","version":"0.6.13","source":"crates.io"},`+
		`{"name":"cc","version":"1.0.0","source":"crates.io","kind":"build"}]}`)
	z.Close()
	names := "\x00.shstrtab\x00.dep-v0\x00"
	const header, section = 64, 64
	at := uint64(header + len(names) + list.Len())
	var b bytes.Buffer
	h := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1, Shoff: at, Ehsize: header, Shentsize: section, Shnum: 3, Shstrndx: 1}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	for _, part := range []any{h, []byte(names), list.Bytes(), elf.Section64{},
		elf.Section64{Name: 1, Type: uint32(elf.SHT_STRTAB), Off: header, Size: uint64(len(names))},
		elf.Section64{Name: 11, Type: uint32(elf.SHT_PROGBITS), Flags: uint64(elf.SHF_ALLOC), Off: uint64(header + len(names)), Size: uint64(list.Len())}} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return scantest.File{Name: path, Content: b.String(), Mode: 0o755}
}

func pomJar(t testing.TB, path string) scantest.File {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, content := range map[string]string{
		"META-INF/maven/org.example/lib/pom.properties": "groupId=org.example\nartifactId=lib\nversion=1.9\n",
		"META-INF/maven/org.example/lib/pom.xml": `<project><groupId>org.example</groupId><artifactId>lib</artifactId><version>1.9</version><licenses><license><name>The Apache Software License, Version 2.0</name></license>` +
			`<license><name>Free for all</name><url>https://www.apache.org/licenses/LICENSE-2.0.txt</url></license></licenses></project>`,
	} {
		f, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return scantest.File{Name: path, Content: b.String()}
}

func TestPackagesOfEachKindAreListed(t *testing.T) {
	file := func(name, content string) scantest.File { return scantest.File{Name: name, Content: content} }
	rhel := file("etc/os-release", "ID=\"rhel\"\nVERSION_ID=\"9.4\"\n")
	copyright := "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nCopyright: someone\nLicense: GPL-2+\n\nFiles: lib/*\nCopyright: someone\nLicense: Expat or Artistic-2\n text\n\nLicense: GPL-2+\n text\n"
	debian := append(scantest.Debian12(), scantest.Dpkg(scantest.Deb{Name: "libssh2-1", Version: "1.10.0-3+b1", Source: "libssh2 (1.10.0-3)"}, scantest.Deb{Name: "tar", Version: "1.34"}))
	tests := map[string]struct {
		files []scantest.File
		want  []string
	}{
		"Debian": {append(debian, file("usr/share/doc/libssh2/copyright", copyright), file("usr/share/doc/tar/copyright", "This is free software; look around.\n"),
			scantest.File{Name: "usr/share/doc/libssh2-1", Type: tar.TypeSymlink, Link: "libssh2"}),
			[]string{"Debian:12|libssh2|GPL-2.0-or-later AND (MIT OR Artistic-2.0)|pkg:deb/debian/libssh2-1@1.10.0-3%2Bb1?arch=amd64&distro=debian-12&upstream=libssh2%401.10.0-3",
				"Debian:12|||pkg:deb/debian/tar@1.34?arch=amd64&distro=debian-12"}},
		"Alpine": {[]scantest.File{alpine("3.20.3"), apkDB("libcrypto3", "3.3.2-r0", "openssl")},
			[]string{"Alpine:v3.20|openssl|MIT|pkg:apk/alpine/libcrypto3@3.3.2-r0?arch=x86_64&distro=alpine-3.20.3&upstream=openssl"}},
		"Red Hat, from a database that rpm wrote": {[]scantest.File{rhel, rpmDatabase(t)}, []string{
			"Red Hat:enterprise_linux:9||GPL-3.0-or-later|pkg:rpm/rhel/bash@5.1.8-6.el9?arch=noarch&distro=rhel-9.4",
			"Red Hat:enterprise_linux:9|openssl|Apache-2.0|pkg:rpm/rhel/openssl-libs@3.0.7-24.el9?arch=noarch&distro=rhel-9.4&epoch=1&upstream=openssl",
			"Red Hat:enterprise_linux:9||Apache-2.0|pkg:rpm/rhel/openssl@3.0.7-24.el9?arch=noarch&distro=rhel-9.4&epoch=1"}},
		"Node.js": {[]scantest.File{file("app/node_modules/a/package.json", `{"name":"a","version":"1.0.0","license":{"type":"BSD-2-Clause"}}`),
			file("app/node_modules/@x/b/package.json", `{"name":"@x/b","version":"2.0.0","licenses":[{"type":"MIT"},"ISC"]}`)},
			[]string{"npm||MIT OR ISC|pkg:npm/%40x/b@2.0.0", "npm||BSD-2-Clause|pkg:npm/a@1.0.0"}},
		"Python": {[]scantest.File{file("usr/lib/python3/dist-packages/Flask_Cors-3.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: Flask_Cors\nVersion: 3.0\nLicense: see file\nClassifier: License :: OSI Approved :: MIT License\n\nLicense: GPL\n"),
			file("usr/lib/python3/dist-packages/b-1.dist-info/METADATA", "Metadata-Version: 2.4\nName: b\nVersion: 1\nLicense-Expression: Apache-2.0 OR BSD-3-Clause\n\n")},
			[]string{"PyPI||Apache-2.0 OR BSD-3-Clause|pkg:pypi/b@1", "PyPI||MIT|pkg:pypi/flask-cors@3.0"}},
		"Java": {[]scantest.File{pomJar(t, "opt/app.jar")}, []string{"Maven||Apache-2.0|pkg:maven/org.example/lib@1.9"}},
		"Ruby": {[]scantest.File{file("usr/lib/ruby/gems/3.1.0/specifications/rack-2.2.4.gemspec",
			"# -*- encoding: utf-8 -*-\nGem::Specification.new do |s|\n  s.name = \"rack\".freeze\n  s.version = \"2.2.4\"\n  s.licenses = [\"MIT\".freeze, \"Ruby\".freeze]\nend\n")},
			[]string{"RubyGems||MIT OR Ruby|pkg:gem/rack@2.2.4"}},
		".NET": {[]scantest.File{file("app/app.deps.json", `{"libraries":{"app/1.0.0":{"type":"project"},"Newtonsoft.Json/12.0.1":{"type":"package"}}}`),
			file("old/packages.config", `<?xml version="1.0"?><packages><package id="log4net" version="2.0.5" targetFramework="net45"/></packages>`),
			file("src/packages.lock.json", `{"version":1,"dependencies":{"net6.0":{"Serilog":{"type":"Direct","resolved":"2.10.0"}}}}`)},
			[]string{"NuGet|||pkg:nuget/Newtonsoft.Json@12.0.1", "NuGet|||pkg:nuget/Serilog@2.10.0", "NuGet|||pkg:nuget/log4net@2.0.5"}},
		"PHP": {[]scantest.File{file("app/vendor/composer/installed.json", `{"packages":[{"name":"symfony/http-foundation","version":"v5.4.0","license":["MIT"]}],"dev":false}`),
			file("old/vendor/composer/installed.json", `[{"name":"monolog/monolog","version":"1.0.0","license":["MIT","GPL-2.0+"]}]`),
			file("app/composer.lock", `{"packages":[{"name":"symfony/http-foundation","version":"v5.4.0"}],"packages-dev":[{"name":"phpunit/phpunit","version":"9.0.0"}]}`)},
			[]string{"Packagist||MIT OR GPL-2.0-or-later|pkg:composer/monolog/monolog@1.0.0", "Packagist||MIT|pkg:composer/symfony/http-foundation@v5.4.0"}},
		"Rust": {[]scantest.File{auditable(t, "usr/bin/app"), file("src/Cargo.lock", "version = 3\n\n[[package]]\nname = \"serde\"\nversion = \"1.0.0\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n")},
			[]string{"crates.io|||pkg:cargo/app@0.1.0", "crates.io|||pkg:cargo/serde@1.0.0", "crates.io|||pkg:cargo/smallvec@0.6.13"}},
		"a system that is not known": {[]scantest.File{file("etc/os-release", "ID=plan9\nVERSION_ID=4\n"), scantest.Dpkg(scantest.Deb{Name: "bash", Version: "5.2"})},
			[]string{"|||pkg:deb/plan9/bash@5.2?arch=amd64&distro=plan9-4"}},
		"nothing": {nil, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inv := inventoryOf(t, scantest.Tar(t, test.files...))
			var got []string
			for _, p := range inv.Packages {
				got = append(got, strings.Join([]string{p.Ecosystem, p.Source, p.License, p.PURL}, "|"))
				if p.Path == "" || !strings.HasPrefix(p.Layer, "sha256:") {
					t.Errorf("%s: path %q, layer %q", p.PURL, p.Path, p.Layer)
				}
			}
			if d := cmp.Diff(test.want, got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func TestEachPackageNamesTheLayerThatBroughtIt(t *testing.T) {
	bash, curl := scantest.Deb{Name: "bash", Version: "5.2"}, scantest.Deb{Name: "curl", Version: "8"}
	base := scantest.Tar(t, append(scantest.Debian12(), scantest.Dpkg(bash), module("lodash", "4.17.4"))...)
	middle := scantest.Tar(t, scantest.Dpkg(bash, curl))
	top := scantest.Tar(t, scantest.Dpkg(scantest.Deb{Name: "bash", Version: "5.3"}, curl))
	inv := inventoryOf(t, base, middle, top)
	got := map[string]string{}
	for _, p := range inv.Packages {
		got[p.Name+" "+p.Version] = p.Layer
	}
	want := map[string]string{"bash 5.3": digestOf(t, top), "curl 8": digestOf(t, middle), "lodash 4.17.4": digestOf(t, base)}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestInventoriesAreTheSameBytes(t *testing.T) {
	files := append(scantest.Debian12(), rpmlessSystem()...)
	a, _ := json.Marshal(inventoryOf(t, scantest.Tar(t, files...)))
	for i := range files {
		files[i], files[len(files)-1-i] = files[len(files)-1-i], files[i]
		if i >= len(files)/2-1 {
			break
		}
	}
	b, _ := json.Marshal(inventoryOf(t, scantest.Tar(t, files...)))
	strip := func(b []byte) string { // the order of files makes another layer
		var inv reconcile.Inventory
		if err := json.Unmarshal(b, &inv); err != nil {
			t.Fatal(err)
		}
		for i := range inv.Packages {
			inv.Packages[i].Layer = ""
		}
		out, _ := json.Marshal(inv)
		return string(out)
	}
	if strip(a) != strip(b) {
		t.Errorf("%s\n%s", a, b)
	}
}

func rpmlessSystem() []scantest.File {
	return []scantest.File{scantest.Dpkg(scantest.Deb{Name: "b", Version: "1"}, scantest.Deb{Name: "a", Version: "2", Source: "s"}), module("x", "1.0.0"),
		scantest.NodeModule("other", "x", "1.0.0"), module("a", "1.0.0")}
}

// Whatever was found from the content is found from the inventory alone.
func TestRescanSaysWhatTheScanSaid(t *testing.T) {
	s := New(Options{Dir: imported(t)})
	for _, l := range []reconcile.Layout{scantest.Vulnerable(t), scantest.Clean(t)} {
		first, err := s.Scan(t.Context(), l, reconcile.Image{})
		if err != nil || first.NoVerdict != "" || first.Inventory == nil {
			t.Fatalf("%+v, %v", first, err)
		}
		stored, err := json.Marshal(first.Inventory)
		if err != nil {
			t.Fatal(err)
		}
		var inv reconcile.Inventory
		if err := json.Unmarshal(stored, &inv); err != nil {
			t.Fatal(err)
		}
		again, err := s.Rescan(t.Context(), inv, reconcile.Image{})
		if err != nil {
			t.Fatal(err)
		}
		if again.Inventory != nil {
			t.Error("a rescan has an inventory of its own")
		}
		first.Inventory, first.Finished, again.Finished = nil, time.Time{}, time.Time{}
		if d := cmp.Diff(first, again); d != "" {
			t.Errorf("-scan +rescan:\n%s", d)
		}
	}
}

func TestInventoryIsThereWithoutAVerdict(t *testing.T) {
	got, err := New(Options{Dir: t.TempDir()}).Scan(t.Context(), scantest.Clean(t), reconcile.Image{})
	if err != nil || got.NoVerdict == "" || got.Inventory == nil || len(got.Inventory.Packages) != got.Packages || got.Packages < 5 {
		t.Errorf("%+v, %v", got, err)
	}
}

// An inventory that lacks packages would be judged clean for ever.
func TestNoInventoryWhereSomethingCannotBeRead(t *testing.T) {
	l := scantest.Layout(t, scantest.Tar(t, append(scantest.Debian12(), scantest.File{Name: "var/lib/dpkg/status", Type: tar.TypeSymlink, Link: "/opt/x"}, module("x", "1.0.0"))...))
	got, err := New(Options{Dir: imported(t)}).Scan(t.Context(), l, reconcile.Image{})
	if err != nil || got.NoVerdict == "" || got.Inventory != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestInventoriesThatCannotBeJudged(t *testing.T) {
	good := reconcile.Package{Name: "lodash", Version: "1.0.0", Ecosystem: "npm", PURL: "pkg:npm/lodash@1.0.0"}
	limits := DefaultLimits
	limits.Found = 2
	for want, inv := range map[string]reconcile.Inventory{
		"made by another scanner":   {Lister: "trivy", Packages: []reconcile.Package{good}},
		"no packages were found":    {Lister: Name},
		"more than 2 packages":      {Lister: Name, Packages: []reconcile.Package{good, good, good}},
		"database was not found":    {Lister: Name, Distribution: "debian:12", Packages: []reconcile.Package{good}},
		"is not known":              {Lister: Name, Distribution: "plan9:4", Packages: []reconcile.Package{{Name: "bash", PURL: "pkg:deb/plan9/bash@5"}}},
		"no readable package URL":   {Lister: Name, Distribution: "debian:12", Packages: []reconcile.Package{{Name: "bash", Ecosystem: "Debian:12", PURL: "pkg:deb/%zz"}}},
		"has nothing about Fortran": {Lister: Name, Packages: []reconcile.Package{{Name: "x", Version: "1", Ecosystem: "Fortran"}}},
	} {
		got, err := New(Options{Dir: imported(t), Limits: limits}).Rescan(t.Context(), inv, reconcile.Image{})
		if err != nil || !strings.Contains(got.NoVerdict, want) || len(got.Vulnerabilities) > 0 {
			t.Errorf("%+v, %v; want %q", got, err, want)
		}
	}
}

func TestHardLinksAreReadUnderTheNameThatTheyBear(t *testing.T) {
	lodash := module("lodash", "4.17.4")
	dpkg := scantest.Dpkg(scantest.Deb{Name: "bash", Version: "5.2"})
	hard := func(name, to string) scantest.File { return scantest.File{Name: name, Type: tar.TypeLink, Link: to} }
	tests := map[string]struct {
		files []scantest.File
		want  string
	}{
		"npm package from a store":        {[]scantest.File{{Name: "store/ab/cd", Content: lodash.Content}, hard(lodash.Name, "store/ab/cd")}, "[npm lodash 4.17.4]"},
		"a link to a link":                {[]scantest.File{{Name: "store/x", Content: lodash.Content}, hard("store/y", "store/x"), hard(lodash.Name, "/store/y")}, "[npm lodash 4.17.4]"},
		"package database and os-release": {append([]scantest.File{{Name: "opt/o", Content: scantest.Debian12()[0].Content}, {Name: "opt/s", Content: dpkg.Content}}, hard("etc/os-release", "opt/o"), hard(dpkg.Name, "opt/s")), "[Debian:12 bash 5.2]"},
		"to nothing":                      {[]scantest.File{hard(lodash.Name, "absent")}, "doesn't hold"},
		"to itself":                       {[]scantest.File{hard(lodash.Name, lodash.Name), module("x", "1.0.0")}, "[npm x 1.0.0]"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, reason := list(t, scantest.Tar(t, test.files...))
			if reason != "" && !strings.Contains(reason, test.want) || reason == "" && fmt.Sprint(got) != test.want {
				t.Errorf("got %v %s, want %s", got, reason, test.want)
			}
		})
	}
}

func TestAnRpmDatabaseThatIsNotWrittenToItsEndIsNotRead(t *testing.T) {
	_, reason := list(t, scantest.Tar(t, scantest.File{Name: "etc/os-release", Content: "ID=\"rhel\"\nVERSION_ID=\"9.4\"\n"}, rpmDatabase(t),
		scantest.File{Name: "var/lib/rpm/rpmdb.sqlite-wal", Content: "frames"}))
	if !strings.Contains(reason, "not written to it yet") {
		t.Errorf("got %q", reason)
	}
}

// What another version remembered may lack what this one reads.
func TestWhatAnOlderVersionRememberedIsNotRead(t *testing.T) {
	dir := t.TempDir()
	s := New(Options{Dir: dir})
	l := scantest.Layout(t, scantest.Tar(t, module("lodash", "4.17.4")))
	_, diffIDs, err := readLayout(l)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cache.put(diffIDs[0], &contents{}); err != nil {
		t.Fatal(err)
	}
	now := s.cache.path(diffIDs[0])
	old := strings.Replace(now, strings.ReplaceAll(Version, "+", "-"), "1-scalibr.0.5.3", 1)
	if err := os.MkdirAll(old[:strings.LastIndex(old, "/")], 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(now, old); err != nil || old == now {
		t.Fatal(err)
	}
	if inv, err := s.inventory(t.Context(), l); err != nil || len(inv.Packages) != 1 {
		t.Errorf("%+v, %v", inv, err)
	}
}

func FuzzInventory(f *testing.F) {
	s := New(Options{Dir: imported(f)})
	good, err := json.Marshal(inventoryOf(f, scantest.Tar(f, append(scantest.Debian12(), rpmlessSystem()...)...)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"lister":"builtin","distribution":"debian:12","packages":[{"name":"x","version":"1","ecosystem":"Debian:12","purl":"pkg:deb/debian/x@1?upstream=openssl@2&epoch=x"}]}`))
	f.Add([]byte(`{"lister":"builtin","packages":[{"ecosystem":"PyPI","name":"..","version":""},{"purl":"pkg:rpm/"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var inv reconcile.Inventory
		if json.Unmarshal(b, &inv) != nil {
			return
		}
		got, err := s.Rescan(t.Context(), inv, reconcile.Image{})
		if err != nil {
			t.Fatal(err)
		}
		if got.NoVerdict == "" && len(inv.Packages) == 0 {
			t.Error("nothing was judged clean")
		}
		if strings.ContainsAny(got.NoVerdict, "\n\x00\x1b") {
			t.Errorf("the reason is not one line: %q", got.NoVerdict)
		}
	})
}

func BenchmarkRescan(b *testing.B) {
	dir, err := os.MkdirTemp("", "assay-bench-")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	mustImport(b, dir, generated(b, 50_000))
	s := New(Options{Dir: dir})
	inv := reconcile.Inventory{Lister: Name, Distribution: "debian:12"}
	for i := range 400 {
		name := fmt.Sprintf("package-%d", i*7)
		inv.Packages = append(inv.Packages, reconcile.Package{Name: name, Version: "2.0-1", Ecosystem: "Debian:12", PURL: "pkg:deb/debian/" + name + "@2.0-1"})
	}
	for b.Loop() {
		got, err := s.Rescan(b.Context(), inv, reconcile.Image{})
		if err != nil || got.NoVerdict != "" || len(got.Vulnerabilities) == 0 {
			b.Fatalf("%v, %q, %d", err, got.NoVerdict, len(got.Vulnerabilities))
		}
	}
}

// generated writes advisories about Debian packages, each with five releases, as OSV's records have them.
func generated(t testing.TB, n int) string {
	t.Helper()
	path := t.TempDir() + "/all.zip"
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := zip.NewWriter(f)
	for i := range n {
		e, err := w.Create(fmt.Sprintf("DEBIAN-CVE-2026-%d.json", i))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(e, `{"id":"DEBIAN-CVE-2026-%d","modified":"2026-01-01T00:00:00Z","published":"2026-01-01T00:00:00Z","upstream":["CVE-2026-%d"],"details":%q,"affected":[`, i, i, strings.Repeat("a weakness that somebody found. ", 12))
		for r := 10; r < 15; r++ {
			if r > 10 {
				io.WriteString(e, ",")
			}
			fmt.Fprintf(e, `{"package":{"ecosystem":"Debian:%d","name":"package-%d"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"%d.%d-1"}]}],"ecosystem_specific":{"urgency":"low"}}`, r, i%5000, i%5, i%7)
		}
		io.WriteString(e, "]}")
	}
	if err := errors.Join(w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}
