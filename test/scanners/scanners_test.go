//go:build scanners

// Package scanners tests the adapters with the real scanners, built from their modules: make test-scanners. The tests of every day replay what they
// printed; with -record, it is recorded anew.
package scanners

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/scan/external"
	"github.com/assay-oci/assay/reconcile/scan/grype"
	"github.com/assay-oci/assay/reconcile/scan/osvscanner"
	"github.com/assay-oci/assay/reconcile/scan/program"
	"github.com/assay-oci/assay/reconcile/scan/scantest"
	"github.com/assay-oci/assay/reconcile/scan/trivy"
)

var recording = flag.Bool("record", false, "record what the real scanners print, for the tests of every day")

// tool is the path of a program that make test-scanners built.
func tool(t testing.TB, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", ".cache", "tools", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v; run make test-scanners", err)
	}
	return path
}

const years = 50 * 365 * 24 * time.Hour // the advisories are as old as they are

func TestTrivy(t *testing.T) {
	o := external.Options{Name: "trivy", Program: tool(t, "trivy"), Version: "0.70.0", Database: trivyDatabase(t), Required: program.Missing() == ""}
	scantest.Run(t, func(t *testing.T) reconcile.Scanner { return scanner(t)(trivy.New(o)) })
}

func TestGrype(t *testing.T) {
	o := external.Options{Name: "grype", Program: tool(t, "grype"), Version: "0.110.0", Database: grypeDatabase(t), Required: program.Missing() == ""}
	scantest.Run(t, func(t *testing.T) reconcile.Scanner { return scanner(t)(grype.New(o)) })
}

func TestOSVScanner(t *testing.T) {
	o := external.Options{Name: "osv-scanner", Program: tool(t, "osv-scanner"), Version: "2.5.1", Database: osvDatabase(t), MaxAge: years, Required: program.Missing() == ""}
	scantest.Run(t, func(t *testing.T) reconcile.Scanner { return scanner(t)(osvscanner.New(o)) })
}

func scanner(t *testing.T) func(reconcile.Scanner, error) reconcile.Scanner {
	return func(s reconcile.Scanner, err error) reconcile.Scanner {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

// An aged scan is made anew from the inventory, without content. Each scanner that can do that proves it for each image; this is that they do.
func TestRescans(t *testing.T) {
	l := scantest.Vulnerable(t)
	for name, s := range map[string]reconcile.Scanner{
		"trivy": scanner(t)(trivy.New(external.Options{Name: "trivy", Program: tool(t, "trivy"), Database: trivyDatabase(t)})),
		"grype": scanner(t)(grype.New(external.Options{Name: "grype", Program: tool(t, "grype"), Database: grypeDatabase(t)})),
	} {
		got, err := s.Scan(t.Context(), l, reconcile.Image{Digest: l.Manifest})
		if err != nil || got.Inventory == nil || got.Inventory.Native == "" {
			t.Fatalf("%s gives no SBOM that it can judge again: %+v, %v", name, got, err)
		}
		begin := time.Now()
		again, err := s.(reconcile.Rescanner).Rescan(t.Context(), *got.Inventory, reconcile.Image{})
		if err != nil || !external.SameFindings(got, again) {
			t.Errorf("%s: %+v, %v", name, again, err)
		}
		t.Logf("%s: %d packages, an SBOM of %d bytes, %d findings; judged again in %s", name, got.Packages, len(got.Inventory.Native), len(again.Vulnerabilities), time.Since(begin).Round(time.Millisecond))
	}
}

func TestRecord(t *testing.T) {
	if !*recording {
		t.Skip("without -record")
	}
	images := scantest.Images(t)
	each := func(adapter string, record func(recorder, reconcile.Layout)) {
		t.Run(adapter, func(t *testing.T) {
			for name, l := range images {
				record(recorder{t: t, image: name, layout: l.Dir, dir: t.TempDir()}, l)
			}
		})
	}
	each("trivy", func(r recorder, l reconcile.Layout) { r.trivy(l, trivyDatabase(r.t)) })
	each("osv-scanner", func(r recorder, l reconcile.Layout) { r.osvScanner(l, osvDatabase(r.t)) })
	each("grype", func(r recorder, l reconcile.Layout) { r.grype(l, grypeDatabase(r.t)) })
}

var temporary = regexp.MustCompile(regexp.QuoteMeta(os.TempDir()) + `/[^ /"]+/[0-9]+`)

// A recorder runs the real scanners as the adapters do, and keeps what they print.
type recorder struct {
	t                  *testing.T
	image, layout, dir string
}

func (r recorder) trivy(l reconcile.Layout, db string) {
	flags := []string{"--cache-dir", db, "--skip-db-update", "--skip-java-db-update", "--offline-scan", "--skip-version-check", "--disable-telemetry", "--skip-vex-repo-update", "--quiet",
		"--list-all-pkgs", "--format", "json"}
	out := r.run("trivy", "image", nil, append([]string{"image", "--scanners", "vuln,license", "--parallel", "1", "--input", l.Dir + "@" + l.Manifest.String()}, flags...)...)
	if !bytes.Contains(out, []byte(`"Results"`)) {
		return
	}
	os.Remove(filepath.Join(db, "fanal", "fanal.db")) // see the adapter
	write(r.t, filepath.Join(r.dir, "report.json"), out)
	sbom := r.run("trivy", "convert", nil, "convert", "--quiet", "--format", "cyclonedx", "report.json")
	write(r.t, filepath.Join(r.dir, "sbom.cdx.json"), sbom)
	r.run("trivy", "sbom", nil, append([]string{"sbom", "--scanners", "vuln", "sbom.cdx.json"}, flags...)...)
}

func (r recorder) grype(l reconcile.Layout, db string) {
	env := []string{"GRYPE_DB_CACHE_DIR=" + db, "GRYPE_DB_AUTO_UPDATE=false", "GRYPE_DB_VALIDATE_AGE=false", "GRYPE_CHECK_FOR_APP_UPDATE=false"}
	r.run("grype", "image", env, "--quiet", "--output", "json", "--output", "cyclonedx-json=image.cdx.json", "oci-dir:"+l.Dir)
	sbom, err := os.ReadFile(filepath.Join(r.dir, "image.cdx.json"))
	if err != nil {
		return
	}
	r.keep("grype", "image-sbom", sbom, nil, nil)
	r.run("grype", "sbom", env, "--quiet", "--output", "json", "--output", "cyclonedx-json=again.cdx.json", "sbom:image.cdx.json")
	if sbom, err = os.ReadFile(filepath.Join(r.dir, "again.cdx.json")); err != nil {
		r.t.Fatal(err)
	}
	r.keep("grype", "sbom-sbom", sbom, nil, nil)
}

func (r recorder) osvScanner(l reconcile.Layout, db string) {
	if err := external.DockerArchive(r.t.Context(), l, filepath.Join(r.dir, "image.tar"), 1<<30); err != nil {
		r.t.Fatal(err)
	}
	r.run("osvscanner", "image", []string{"OSV_SCANNER_LOCAL_DB_CACHE_DIRECTORY=" + db}, "scan", "image", "--offline", "--archive", "--format", "json", "--all-packages", "--all-vulns",
		"--experimental-plugins", "artifact", "--experimental-plugins", "javascript/packagejson", "image.tar")
}

func (r recorder) run(adapter, command string, env []string, args ...string) []byte {
	r.t.Helper()
	name := map[string]string{"osvscanner": "osv-scanner"}[adapter]
	if name == "" {
		name = adapter
	}
	cmd := exec.CommandContext(r.t.Context(), tool(r.t, name), args...)
	cmd.Dir, cmd.Env = r.dir, append(env, "HOME="+r.dir, "PATH=/usr/bin:/bin")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
	r.keep(adapter, command, stdout.Bytes(), stderr.Bytes(), cmd.ProcessState)
	return stdout.Bytes()
}

// keep writes a record, without the names of this machine's folders.
func (r recorder) keep(adapter, command string, stdout, stderr []byte, state *os.ProcessState) {
	r.t.Helper()
	clean := func(b []byte) []byte {
		return temporary.ReplaceAll(bytes.ReplaceAll(b, []byte(r.layout), []byte("/layout")), []byte("/folder"))
	}
	folder := filepath.Join("..", "..", "reconcile", "scan", adapter, "testdata", "recorded")
	name := filepath.Join(folder, r.image+"."+command)
	if len(stdout) > 0 {
		write(r.t, name+".json", append(bytes.TrimSpace(clean(stdout)), '\n'))
	}
	lines := strings.Split(strings.TrimSpace(string(clean(stderr))), "\n")
	rec := scantest.Record{Errors: lines[len(lines)-1]}
	if state != nil {
		rec.Exit = state.ExitCode()
	}
	write(r.t, name+".exit.json", append(document(r.t, rec), '\n'))
}
