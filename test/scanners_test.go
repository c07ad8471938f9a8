package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/assay-oci/assay/reconcile/registry/registrytest"
	"github.com/assay-oci/assay/reconcile/scan/scantest"
)

// scanned is a world with two scanners: the built-in one, with advisories, and another program, whose answer is a file.
type scanned struct {
	*world
	digests []string // of the image app: the index, then each platform's manifest
}

const (
	clean = `{"schema": "assay.scan/v1", "version": "1.2.3", "database": "2026-11-20T06:00:00Z", "ecosystems": ["Debian:12"], "packages": 3, "vulnerabilities": []}`
	found = `{"schema": "assay.scan/v1", "version": "1.2.3", "database": "2026-11-20T06:00:00Z", "ecosystems": ["Debian:12"], "packages": 3, "vulnerabilities": [
	{"id": "CVE-2026-99999", "package": {"name": "base-files", "version": "12.4+deb12u12", "ecosystem": "Debian:12"}, "severity": "critical", "fixed_in": ["13"], "summary": "known to this one alone"}]}`
)

func newScanned(t *testing.T, openssl string) scanned {
	t.Helper()
	w := newWorld(t, registrytest.Distribution)
	program := filepath.Join(w.dir, "scanner")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./testdata/scanner").CombinedOutput(); err != nil {
		t.Fatalf("build the scanner: %v\n%s", err, out)
	}
	w.extra = fmt.Sprintf(`scanner "builtin" {
  max_age = "36500d"
}
scanner "other" {
  command = [%q, %q, "{layout}"]
}
policy "scans" {
  rule "scanners" {
    minimum = 2
  }
  rule "vulnerabilities" {
    deny = "high"
  }
}
`, program, filepath.Join(w.dir, "answer"))
	if o := w.assay("db", "update", "--cache", w.cache(), scantest.OSV(t)); o.code != 0 {
		t.Fatalf("db update: %s", o.stderr)
	}
	system := append(scantest.Debian12(), scantest.Dpkg(scantest.Deb{Name: "libssl3", Version: openssl, Source: "openssl"}, scantest.Deb{Name: "base-files", Version: "12.4+deb12u12"}))
	idx := registrytest.Index(true, []v1.Layer{layerOf(t, scantest.Tar(t, system...))}, registrytest.Layer(1, 100), registrytest.Layer(2, 100))
	one := w.source.Push("app", idx, "1.0").Digest.String()
	w.commit(map[string]string{"app.hcl": w.image("app", "1.0 "+one)})
	return scanned{w, append([]string{one}, w.platforms("app", one)...)}
}

func layerOf(t *testing.T, tar []byte) v1.Layer {
	t.Helper()
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(tar)), nil }, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (s scanned) answer(content string) { s.write("../answer", content) }

// nothing expects that the image is in no registry, under a tag or without one.
func (s scanned) nothing() {
	s.t.Helper()
	for _, r := range []*registrytest.Server{s.eu, s.us} {
		if got := tags(s.t, r, "approved/app"); len(got) > 0 || holds(s.t, r, "approved/app", s.digests[0]) {
			s.t.Errorf("something was admitted: %v", got)
		}
	}
}

func TestTwoScannersAdmitAndAttestTogether(t *testing.T) {
	s := newScanned(t, "3.0.22-1~deb12u2")
	s.answer(clean)
	s.run(0, "reconcile")
	for _, r := range []*registrytest.Server{s.eu, s.us} {
		if got := tags(t, r, "approved/app"); got["1.0"] != s.digests[0] {
			t.Errorf("tags: %v", got)
		}
		o := s.assay("verify", "--key", "cosign.pub", "-o", "json", r.Host+"/approved/app:1.0")
		var chain struct {
			Manifests []struct {
				Digest  string
				Signed  bool
				Records []struct {
					Format, About, Problem string
					Predicate              string `json:"predicate_type"`
				}
			}
		}
		if err := json.Unmarshal([]byte(o.stdout), &chain); err != nil || o.code != 0 || len(chain.Manifests) != 3 {
			t.Fatalf("verify: %v, exit code %d\n%s%s", err, o.code, o.stdout, o.stderr)
		}
		for _, m := range chain.Manifests {
			by := map[string]int{}
			for _, rec := range m.Records {
				if rec.Problem != "" {
					t.Errorf("%s: %s", m.Digest, rec.Problem)
				}
				if rec.Predicate != "" {
					by[rec.About+" "+rec.Predicate]++
				}
			}
			const vuln = " https://cosign.sigstore.dev/attestation/vuln/v1"
			want := fmt.Sprint(map[string]int{"builtin" + vuln: 1, "other" + vuln: 1, "builtin https://github.com/assay-oci/assay/inventory/v1": 1, " https://cyclonedx.org/bom": 1})
			if m.Digest == s.digests[0] { // an index is not scanned, and bears the verdict
				want = "map[app:1.0 https://github.com/assay-oci/assay/approval/v1:1 app:1.0 https://slsa.dev/verification_summary/v1:1]"
			}
			if !m.Signed || fmt.Sprint(by) != want {
				t.Errorf("%s: signed %v, attestations %v", m.Digest, m.Signed, by)
			}
		}
	}
	s.answer("fail it must not be asked again")
	if o := s.run(0, "reconcile"); !strings.Contains(o.stdout, "Nothing to do") {
		t.Errorf("%s", o.stdout)
	}
}

func TestAScannerThatFailsBlocksAndSaysWhy(t *testing.T) {
	s := newScanned(t, "3.0.22-1~deb12u2")
	for _, c := range []struct{ answer, reason string }{
		{"fail its database is gone", "its database is gone"},
		{strings.Replace(clean, `"version"`, `"verzion"`, 1), `unknown field`},
		{strings.Replace(clean, `"packages": 3`, `"packages": 0`, 1), "it saw no packages"},
		{`{"schema": "assay.scan/v1", "version": "1", "no_verdict": "this is no Debian"}`, "this is no Debian"},
		{"clean", "its output is not what it should be"},
	} {
		s.answer(c.answer)
		o := s.run(3, "reconcile")
		if !strings.Contains(o.stdout, "1 of the 2 required scanners") || !strings.Contains(o.stdout, "other: ") || !strings.Contains(o.stdout, c.reason) ||
			!strings.Contains(o.stdout, "app.hcl:3") {
			t.Errorf("the reason %q is not shown:\n%s", c.reason, o.stdout)
		}
		s.nothing()
	}
	s.answer(clean) // and when it is back, so is the image
	s.run(0, "reconcile")
	if got := tags(t, s.us, "approved/app"); got["1.0"] != s.digests[0] {
		t.Errorf("tags: %v", got)
	}
}

func TestWhatEitherScannerFindsBlocks(t *testing.T) {
	t.Run("builtin", func(t *testing.T) {
		t.Parallel()
		s := newScanned(t, "3.0.20-1~deb12u2")
		s.answer(clean)
		if o := s.run(3, "reconcile"); !strings.Contains(o.stdout, "high CVE-2026-63072 in libssl3 3.0.20-1~deb12u2") || !strings.Contains(o.stdout, "(builtin)") {
			t.Errorf("%s", o.stdout)
		}
		s.nothing()
	})
	t.Run("other", func(t *testing.T) {
		t.Parallel()
		s := newScanned(t, "3.0.22-1~deb12u2")
		s.answer(found)
		if o := s.run(3, "reconcile"); !strings.Contains(o.stdout, "critical CVE-2026-99999 in base-files") || !strings.Contains(o.stdout, "(other)") {
			t.Errorf("%s", o.stdout)
		}
		s.nothing()
	})
}

func TestAScannerThatIsNotInstalledIsAnError(t *testing.T) {
	w := newWorld(t, registrytest.Distribution)
	w.extra = "scanner \"other\" {\n  command = [\"no-such-scanner\"]\n}\n"
	w.commit(map[string]string{})
	if o := w.run(1, "plan"); !strings.Contains(o.stderr, `scanner "other"`) || !strings.Contains(o.stderr, "is it installed?") || o.stdout != "" {
		t.Errorf("%s%s", o.stdout, o.stderr)
	}
}

func TestACacheFolderMayBeNamedFromWhereOneIs(t *testing.T) {
	s := newScanned(t, "3.0.22-1~deb12u2")
	s.answer(clean)
	if o := s.assay("db", "update", "--cache", "relative", scantest.OSV(t)); o.code != 0 {
		t.Fatalf("db update: %s", o.stderr)
	}
	if o := s.assay("plan", "--catalog", s.catalog(), "--cache", "relative"); o.code != 0 || !strings.Contains(o.stdout, "scan by other") {
		t.Errorf("exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
}
