package test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
	"github.com/assay-oci/assay/reconcile/scan/scantest"
)

// newAging admits an image whose vulnerability is not known yet. Every scan is too old for the next run.
func newAging(t *testing.T, onViolation string) (w *world, digest string) {
	t.Helper()
	return newAgingOn(t, registrytest.Distribution, onViolation, "1000h")
}

// newAgingOn does so in registries of some kind, with evidence that expires.
func newAgingOn(t *testing.T, software registrytest.Software, onViolation, expires string) (w *world, digest string) {
	t.Helper()
	w = newWorld(t, software)
	w.extra = fmt.Sprintf(`scanner "builtin" {
  max_age = "36500d"
}
rescan {
  interval = "1ns"
  expires  = %q
}
policy "scans" {
  rule "vulnerabilities" {
    deny         = "high"
    on_violation = %q
  }
}
`, expires, onViolation)
	w.know("DEBIAN-CVE-2026-66032") // about another package
	system := append(scantest.Debian12(), scantest.Dpkg(scantest.Deb{Name: "libssl3", Version: "3.0.20-1~deb12u2", Source: "openssl"}, scantest.Deb{Name: "base-files", Version: "12.4+deb12u12"}))
	idx := registrytest.Index(true, []v1.Layer{layerOf(t, scantest.Tar(t, system...))}, registrytest.Layer(1, 100), registrytest.Layer(2, 100))
	digest = w.source.Push("app", idx, "1.0").Digest.String()
	w.commit(map[string]string{"app.hcl": w.image("app", "1.0 "+digest)})
	w.run(0, "reconcile")
	w.reset()
	return w, digest
}

// know replaces the advisories by those whose names begin so.
func (w *world) know(prefix string) {
	w.t.Helper()
	files, err := filepath.Glob("../reconcile/scan/scantest/testdata/osv/" + prefix + "*.json")
	if err != nil || len(files) == 0 {
		w.t.Fatalf("no advisories: %v", err)
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			w.t.Fatal(err)
		}
		f, err := z.Create(filepath.Base(name))
		if err == nil {
			_, err = f.Write(content)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.write("../advisories.zip", b.String())
	if o := w.assay("db", "update", "--cache", w.cache(), filepath.Join(w.dir, "advisories.zip")); o.code != 0 {
		w.t.Fatalf("db update: %s", o.stderr)
	}
}

func TestANewVulnerabilityOfAnApprovedImageIsFoundWithoutItsContent(t *testing.T) {
	for _, c := range []struct{ does, tags string }{{"report", "map[1.0:%s]"}, {"quarantine", "map[]"}} {
		t.Run(c.does, func(t *testing.T) {
			w, digest := newAging(t, c.does)
			w.know("DEBIAN-")
			o := w.run(3, "reconcile")
			if !strings.Contains(o.stdout, "Approved, and in violation of the policy") && c.does == "report" || !strings.Contains(o.stdout, "CVE-2026-63072") {
				t.Errorf("%s", o.stdout)
			}
			for name, s := range map[string]*registrytest.Server{"source": w.source, "eu": w.eu, "us": w.us} {
				blobs := s.Count("GET", "/blobs/")
				if name == "source" && (blobs > 0 || s.Count("GET", "/manifests/") > 0) {
					t.Errorf("the source was asked %d times", blobs)
				}
			}
			for _, s := range []*registrytest.Server{w.eu, w.us} {
				want := c.tags
				if strings.Contains(want, "%s") {
					want = fmt.Sprintf(want, digest)
				}
				if got := fmt.Sprint(tags(t, s, "approved/app")); got != want {
					t.Errorf("tags %s, want %s", got, want)
				}
				if !holds(t, s, "approved/app", digest) {
					t.Error("what runs by digest is gone")
				}
			}
			again := w.run(3, "reconcile", "-o", "json")
			var rep struct {
				Plan struct{ Actions []any }
			}
			if err := json.Unmarshal([]byte(again.stdout), &rep); err != nil || len(rep.Plan.Actions) > 0 {
				t.Errorf("the next run plans %v (%v)", rep.Plan.Actions, err)
			}
		})
	}
}

// Evidence that is about to expire is renewed, and what it replaces is deleted: however often that happens, as much lies beside an image as after the first run.
func TestRenewedEvidenceDoesNotPileUp(t *testing.T) {
	for _, software := range []registrytest.Software{registrytest.Distribution, registrytest.Google, registrytest.Referrers} {
		t.Run(string(software), func(t *testing.T) {
			t.Parallel()
			w, digest := newAgingOn(t, software, "report", "1s")
			digests := append(w.platforms("app", digest), digest)
			beside := func() (records, tagged int, ids map[string]bool) {
				ids = map[string]bool{}
				for _, s := range []*registrytest.Server{w.eu, w.us} {
					for _, d := range digests {
						found, err := reader().Attached(t.Context(), reconcile.Image{Repo: s.Repo("approved/app"), Digest: reconcile.MustDigest(d)})
						if err != nil {
							t.Fatal(err)
						}
						for _, r := range found {
							records, ids[r.ID()] = records+1, true
						}
					}
					tagged += len(recordTags(t, s, "approved/app"))
				}
				return records, tagged, ids
			}
			records, tagged, had := beside()
			for range 3 {
				time.Sleep(1100 * time.Millisecond) // a record's time has whole seconds
				w.run(0, "reconcile")
				n, m, ids := beside()
				renewed := 0
				for id := range ids {
					if !had[id] {
						renewed++
					}
				}
				if n != records || m != tagged || renewed != 3 { // the verdict, and the scan of each platform
					t.Errorf("%d records and %d tags, where %d and %d were; %d are new", n, m, records, tagged, renewed)
				}
				had = ids
			}
		})
	}
}

func TestExposureIsAnsweredFromRecords(t *testing.T) {
	w, digest := newAging(t, "report")
	w.know("DEBIAN-")
	w.run(3, "reconcile")
	w.dropCache()
	o := w.run(0, "exposure", "--cve", "CVE-2026-63072", "-o", "json")
	var got struct {
		Images  int
		Matches []struct {
			Image, Version, Digest, Package, ID string
			Platforms, Places                   []string
		}
	}
	if err := json.Unmarshal([]byte(o.stdout), &got); err != nil || got.Images != 1 || len(got.Matches) != 1 {
		t.Fatalf("%v\n%s", err, o.stdout)
	}
	m := got.Matches[0]
	if m.Image != "app" || m.Version != "1.0" || m.Digest != digest || m.Package != "libssl3" || len(m.Platforms) != 2 || len(m.Places) != 2 {
		t.Errorf("%+v", m)
	}
	w.reset()
	pods := fmt.Sprintf(`{"items": [
		{"metadata": {"namespace": "shop", "name": "a"}, "spec": {"containers": [{"name": "main", "image": "%[1]s/approved/app:1.0"}]},
		 "status": {"containerStatuses": [{"name": "main", "imageID": "%[1]s/approved/app@%[2]s"}]}},
		{"metadata": {"namespace": "shop", "name": "b"}, "spec": {"containers": [{"name": "main", "image": "docker.io/library/nginx"}]}}]}`, w.eu.Host, digest)
	w.write("../pods.json", pods)
	o = w.run(0, "exposure", "--package", "pkg:deb/debian/libssl3@<3.0.22-1~deb12u1", "--pods", filepath.Join(w.dir, "pods.json"), "-o", "csv")
	if !strings.Contains(o.stdout, "exposed,shop/a/main,") || !strings.Contains(o.stdout, "not approved,shop/b/main,docker.io/library/nginx") {
		t.Errorf("%s", o.stdout)
	}
	if n := w.eu.Count("", "") + w.us.Count("", ""); n > 0 {
		t.Errorf("a warm index asked the registries %d times", n)
	}
	if o := w.run(0, "exposure", "--package", "libssl3@>=4"); !strings.Contains(o.stdout, "0 of 1 approved images match") {
		t.Errorf("%s", o.stdout)
	}
	w.run(1, "exposure")
}

func TestAnImageIsScannedAsItsPolicyWould(t *testing.T) {
	w, digest := newAging(t, "report")
	w.know("DEBIAN-")
	image := w.source.Host + "/app@" + digest
	o := w.assay("scan", "--cache", w.cache(), "-o", "json", image)
	var got struct {
		Platforms []struct {
			Vulnerabilities []struct{ ID string }
		}
		Verdict *struct{ Refused []struct{ Rule, ID string } }
	}
	if err := json.Unmarshal([]byte(o.stdout), &got); err != nil || o.code != 0 || len(got.Platforms) != 2 || len(got.Platforms[0].Vulnerabilities) != 2 || got.Verdict != nil {
		t.Errorf("exit code %d, %v\n%s%s", o.code, err, o.stdout, o.stderr)
	}
	o = w.run(3, "scan", "--platform", "linux/amd64", "-o", "json", image)
	if err := json.Unmarshal([]byte(o.stdout), &got); err != nil || len(got.Platforms) != 1 || got.Verdict == nil || len(got.Verdict.Refused) != 1 || got.Verdict.Refused[0].ID != "CVE-2026-63072" {
		t.Errorf("%v\n%s", err, o.stdout)
	}
}
