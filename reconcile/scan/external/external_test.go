package external

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/scan/program"
	"github.com/assay-oci/assay/reconcile/scan/scantest"
)

func TestPackages(t *testing.T) {
	for purl, want := range map[string]reconcile.Package{
		"pkg:deb/debian/zlib1g@1.2.13.dfsg-1?arch=amd64&distro=debian-12.15&epoch=1": {Name: "zlib1g", Version: "1:1.2.13.dfsg-1", Ecosystem: "Debian:12", PURL: "pkg:deb/debian/zlib1g@1:1.2.13.dfsg-1?arch=amd64&distro=debian-12.15"},
		"pkg:deb/debian/libperl5.36@5.36.0-7%2Bdeb12u3":                              {Name: "libperl5.36", Version: "5.36.0-7+deb12u3", Ecosystem: "Debian:12", PURL: "pkg:deb/debian/libperl5.36@5.36.0-7%2Bdeb12u3"},
		"pkg:golang/golang.org/x/net@v0.7.0":                                         {Name: "golang.org/x/net", Version: "0.7.0", Ecosystem: "Go", PURL: "pkg:golang/golang.org/x/net@0.7.0"},
		"pkg:npm/%40scope/name@1.0.0":                                                {Name: "@scope/name", Version: "1.0.0", Ecosystem: "npm", PURL: "pkg:npm/%40scope/name@1.0.0"},
		"pkg:npm/@scope/name@1.0.0":                                                  {Name: "@scope/name", Version: "1.0.0", Ecosystem: "npm", PURL: "pkg:npm/%40scope/name@1.0.0"},
		"pkg:npm/@scope/name":                                                        {Name: "@scope/name", Version: "said", Ecosystem: "npm", PURL: "pkg:npm/%40scope/name@said"},
		"pkg:maven/org.example/lib@1":                                                {Name: "org.example:lib", Version: "1", Ecosystem: "Maven", PURL: "pkg:maven/org.example/lib@1"},
		"pkg:generic/thing@1":                                                        {Name: "thing", Version: "1", Ecosystem: "generic", PURL: "pkg:generic/thing@1"},
		"not a purl":                                                                 {Name: "name", Version: "said"},
		"pkg:npm/%zz@1":                                                              {Name: "name", Version: "said"},
		"":                                                                           {Name: "name", Version: "said"},
	} {
		if got := Package(purl, "name", "said", "debian:12"); got != want {
			t.Errorf("%s:\n got %+v\nwant %+v", purl, got, want)
		}
	}
}

func TestEcosystems(t *testing.T) {
	for want, d := range map[string][2]string{
		"Debian:12": {"debian", "12.15"}, "Ubuntu:22.04": {"ubuntu", "22.04"}, "Alpine:v3.18": {"alpine", "3.18.4"}, "Wolfi": {"wolfi", "20230201"},
		"Red Hat:enterprise_linux:9": {"redhat", "9.4"}, "Rocky Linux:9": {"rocky", "9.3"}, "AlmaLinux:8": {"alma", "8.9"}, "Amazon Linux:2023": {"amazon", "2023"}, "": {"unheard-of", "1"},
	} {
		if got := SystemEcosystem(d[0], d[1]); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	for want, d := range map[string][2]string{"debian:12": {"debian", "12.15"}, "alpine:3.18": {"Alpine", "3.18.4"}, "": {"none", ""}, "wolfi:20230201": {"wolfi", "20230201"}, "amazon:2023": {"amazon", "2023 (Amazon Linux)"}, "opensuse-leap:15.5": {"opensuse-leap", "15.5"}, "unheard-of:1.2.3": {"unheard-of", "1.2.3"}} {
		if got := Distribution(d[0], d[1]); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestIdentifiers(t *testing.T) {
	for _, c := range []struct {
		all     []string
		id      string
		aliases []string
	}{
		{[]string{"DEBIAN-CVE-2024-1234"}, "CVE-2024-1234", nil},
		{[]string{"GO-2024-1", "GHSA-AAAA-bbbb-cccc", "CVE-2024-12345"}, "CVE-2024-12345", []string{"GHSA-aaaa-bbbb-cccc", "GO-2024-1"}},
		{[]string{"GO-2024-1", "ghsa-aaaa-bbbb-cccc"}, "GHSA-aaaa-bbbb-cccc", []string{"GO-2024-1"}},
		{[]string{"CVE-2024-1234", "cve-2024-1234", " "}, "CVE-2024-1234", nil},
		{[]string{"two words", "new\nline", strings.Repeat("x", 300)}, "", nil},
	} {
		if id, aliases := Identifiers(c.all...); id != c.id || !slices.Equal(aliases, c.aliases) {
			t.Errorf("%q: %q %q", c.all, id, aliases)
		}
	}
}

func TestLicense(t *testing.T) {
	for want, names := range map[string][]string{
		"":                                 {"", " "},
		"MIT":                              {"MIT", "MIT"},
		"Apache-2.0 AND MIT":               {"MIT", "Apache-2.0"},
		"MIT OR Apache-2.0":                {"MIT OR Apache-2.0"},
		"(MIT OR Apache-2.0) AND ISC":      {"ISC", "MIT OR Apache-2.0"},
		"LicenseRef-public-domain":         {"public domain"},
		"GPL-2+ AND LicenseRef-a-script-b": {"GPL-2+", "a<script>b"},
	} {
		if got := License(names); got != want {
			t.Errorf("%q: %q, want %q", names, got, want)
		}
	}
}

func TestCovered(t *testing.T) {
	p := func(ecosystems ...string) (out []reconcile.Package) {
		for _, e := range ecosystems {
			out = append(out, reconcile.Package{Name: "x", Ecosystem: e})
		}
		return out
	}
	have := []string{"Debian:12", "npm", "Red Hat"}
	if err := Covered(have, p("Debian:12", "npm", "Red Hat:enterprise_linux:9")); err != nil {
		t.Error(err)
	}
	for want, packages := range map[string][]reconcile.Package{
		"it saw no packages":       nil,
		"Debian:13 (1 packages)":   p("Debian:13", "npm"),
		"Go (2 packages)":          p("Go", "Go"),
		"nothing about  (1 packag": p(""),
	} {
		var f program.Failure
		if err := Covered(have, packages); !errors.As(err, &f) || !strings.Contains(strings.ReplaceAll(err.Error(), "about (", "about  ("), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestFresh(t *testing.T) {
	at := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
	o := Options{MaxAge: 72 * time.Hour, Now: func() time.Time { return at }}
	for age, want := range map[time.Duration]string{71 * time.Hour: "", 73 * time.Hour: "at most 3 days is allowed", -25 * time.Hour: "still to come", -time.Hour: ""} {
		err := o.Fresh(at.Add(-age))
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", age, err, want)
		}
	}
	if err := o.Fresh(time.Time{}); err == nil {
		t.Error("a database of unknown age is fresh")
	}
}

func TestDockerArchive(t *testing.T) {
	l := scantest.Vulnerable(t)
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := DockerArchive(t.Context(), l, path, 1<<30); err != nil {
		t.Fatal(err)
	}
	if image, err := scantest.WhichArchive(path); err != nil || image != "vulnerable" {
		t.Errorf("%q, %v", image, err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	names := 0
	for r := tar.NewReader(f); ; names++ {
		if h, err := r.Next(); err == io.EOF {
			break
		} else if err != nil || strings.ContainsAny(h.Name, "/\\") {
			t.Fatalf("%+v, %v", h, err)
		}
	}
	if names != 4 {
		t.Errorf("%d entries, want a configuration, two layers and a list", names)
	}
	var failure program.Failure
	if err := DockerArchive(t.Context(), l, path+"2", 1<<10); !errors.As(err, &failure) || !strings.Contains(err.Error(), "too large") {
		t.Errorf("%v", err)
	}
	mixed := scantest.Layout(t, scantest.Tar(t, scantest.File{Name: "x", Content: "y"}))
	uncompress(t, mixed)
	if err := DockerArchive(t.Context(), mixed, path+"3", 1<<30); err != nil {
		t.Errorf("layers that are not compressed: %v", err)
	}
}

// uncompress replaces the only layer by one that isn't compressed. Its digest is false then, which is not looked at here.
func uncompress(t *testing.T, l reconcile.Layout) {
	t.Helper()
	blobs, err := filepath.Glob(filepath.Join(l.Dir, "blobs", "sha256", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blobs {
		content, err := os.ReadFile(b)
		if err == nil && strings.HasPrefix(string(content), "\x1f\x8b") {
			err = os.WriteFile(b, []byte("plain"), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// What a manifest names is its author's word: it never becomes a path.
func TestADigestThatIsAPath(t *testing.T) {
	l := scantest.Clean(t)
	path, _, err := blob(l, l.Manifest.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(`{"config":{"digest":"sha256:../../../../etc/passwd"},"layers":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := DockerArchive(t.Context(), l, filepath.Join(t.TempDir(), "image.tar"), 1<<30); err == nil {
		t.Error("it was followed")
	}
}

func FuzzPURL(f *testing.F) {
	for _, s := range []string{"pkg:deb/debian/zlib1g@1.2.13.dfsg-1?arch=amd64&epoch=1", "pkg:npm/%40scope/name@1.0.0", "pkg:golang/golang.org/x/net@v0.7.0#sub", "pkg:a/b@"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, ok := ParsePURL(s)
		if !ok {
			return
		}
		once := p.Folded()
		if len(once.String()) > maxPURL {
			return // it has grown by what had to be escaped
		}
		again, ok := ParsePURL(once.String())
		if !ok || again.Folded().String() != once.String() {
			t.Errorf("%q became %q and then %q", s, once, again.Folded())
		}
	})
}

func FuzzLicense(f *testing.F) {
	f.Add("MIT OR Apache-2.0", "x")
	f.Fuzz(func(t *testing.T, a, b string) {
		if got := License([]string{a, b}); strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%q", got)
		}
	})
}
