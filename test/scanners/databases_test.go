//go:build scanners

package scanners

import (
	"archive/zip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/assay-oci/assay/reconcile/scan/scantest"
)

// The databases of all scanners are made of the same few advisories, those of scantest, as each scanner's makers would write them.

// A record is an advisory, as https://ossf.github.io/osv-schema has it.
type record struct {
	ID, Summary, Details string
	Published, Modified  time.Time
	Aliases, Upstream    []string
	Severity             []struct{ Type, Score string }
	Affected             []struct {
		Package struct{ Ecosystem, Name string }
		Ranges  []struct {
			Events []struct{ Introduced, Fixed string }
		}
		Specific struct{ Urgency string } `json:"ecosystem_specific"`
	}
	Specific struct{ Severity string } `json:"database_specific"`
}

func (r record) cve() string { return append(slices.Clone(r.Upstream), r.Aliases...)[0] }

func (r record) title() string {
	if r.Summary != "" {
		return r.Summary
	}
	return r.Details
}

// word is the severity as all of them write it: UNKNOWN, LOW, MEDIUM, HIGH, CRITICAL.
func (r record) word() string {
	switch w := strings.ToUpper(r.Specific.Severity + r.Affected[0].Specific.Urgency); w {
	case "MODERATE":
		return "MEDIUM"
	default:
		return w
	}
}

func (r record) debian() bool { return r.Affected[0].Package.Ecosystem == "Debian:12" }

// limits are the versions from and before which a package is affected; to is empty if nothing fixes it.
func (r record) limits() (out [][2]string) {
	for _, a := range r.Affected {
		var from, to string
		for _, e := range a.Ranges[0].Events {
			from, to = from+e.Introduced, to+e.Fixed
		}
		out = append(out, [2]string{from, to})
	}
	return out
}

func records(t testing.TB) (out []record) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(scantest.OSV(t), "*", "all.zip"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, path := range files {
		z, err := zip.OpenReader(path)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		for _, f := range z.File {
			in, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(in)
			in.Close()
			var r record
			if err == nil {
				err = json.Unmarshal(b, &r)
			}
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b record) int { return strings.Compare(a.ID, b.ID) })
	return out
}

type object = map[string]any

func document(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// trivyDatabase is after trivy-db's schema 2.
func trivyDatabase(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "db", "trivy.db")
	write(t, filepath.Join(dir, "db", "metadata.json"), document(t, object{"Version": 2, "UpdatedAt": time.Now().UTC(), "NextUpdate": time.Now().UTC().AddDate(1, 0, 0), "DownloadedAt": time.Now().UTC()}))
	db, err := bbolt.Open(path, 0o644, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *bbolt.Tx) error {
		put := func(v any, keys ...string) {
			b, err := tx.CreateBucketIfNotExists([]byte(keys[0]))
			for _, k := range keys[1 : len(keys)-1] {
				if err == nil {
					b, err = b.CreateBucketIfNotExists([]byte(k))
				}
			}
			if err == nil {
				err = b.Put([]byte(keys[len(keys)-1]), document(t, v))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		const debian = "debian 12"
		github := map[string]string{"npm": "npm::GitHub Security Advisory Npm", "Go": "go::GitHub Security Advisory Go"}
		put(object{"ID": "debian", "Name": "Debian Security Tracker"}, "data-source", debian)
		put(object{"ID": "ghsa", "Name": "GitHub Security Advisory Npm"}, "data-source", github["npm"])
		put(object{"ID": "ghsa", "Name": "GitHub Security Advisory Go"}, "data-source", github["Go"])
		severities := map[string]int{"LOW": 1, "MEDIUM": 2, "HIGH": 3, "CRITICAL": 4}
		for _, r := range records(t) {
			source, of := "nvd", r.Affected[0].Package
			if r.debian() {
				advisory := object{"FixedVersion": r.limits()[0][1]}
				if r.limits()[0][1] == "" {
					advisory = object{"Status": 2} // affected
				}
				put(advisory, debian, of.Name, r.cve())
			} else {
				source = "ghsa"
				var vulnerable, patched []string
				for _, l := range r.limits() {
					vulnerable, patched = append(vulnerable, fmt.Sprintf(">= %s, < %s", l[0], l[1])), append(patched, l[1])
				}
				put(object{"VendorIDs": []string{r.ID}, "PatchedVersions": patched, "VulnerableVersions": vulnerable}, github[of.Ecosystem], of.Name, r.cve())
			}
			details := object{"Title": r.title(), "Severity": r.word(), "VendorSeverity": object{source: severities[r.word()]}}
			if !r.Published.IsZero() {
				details["PublishedDate"] = r.Published
			}
			put(details, "vulnerability", r.cve())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// osvDatabase is what osv-scanner downloads.
func osvDatabase(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Rename(scantest.OSV(t), filepath.Join(dir, "osv-scalibr")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// grypeDatabase is made by grype's own code, of what vunnel's providers "debian" and "github" write.
func grypeDatabase(t testing.TB) string {
	t.Helper()
	in, out := t.TempDir(), t.TempDir()
	items := map[string]object{"debian": {}, "github": {}}
	for _, r := range records(t) {
		of := r.Affected[0].Package
		word := strings.ToUpper(r.word()[:1]) + strings.ToLower(r.word()[1:])
		if r.debian() {
			fixed := r.limits()[0][1]
			if fixed == "" {
				fixed = "None"
			}
			if word == "Low" {
				word = "Negligible" // as vunnel writes what Debian calls unimportant
			}
			items["debian"]["debian:12/"+r.cve()] = object{"Vulnerability": object{"Name": r.cve(), "NamespaceName": "debian:12", "Severity": word, "Description": r.title(),
				"FixedIn": []object{{"Name": of.Name, "NamespaceName": "debian:12", "Version": fixed, "VersionFormat": "dpkg", "VendorAdvisory": object{"NoAdvisory": false}}}}}
			continue
		}
		ecosystem := strings.ToLower(of.Ecosystem)
		var fixes []object
		for _, l := range r.limits() {
			fixes = append(fixes, object{"name": of.Name, "identifier": l[1], "ecosystem": ecosystem, "namespace": "github:" + ecosystem, "range": fmt.Sprintf(">= %s, < %s", l[0], l[1])})
		}
		items["github"]["github:"+ecosystem+"/"+r.ID] = object{"Vulnerability": object{}, "Advisory": object{"Classification": "GENERAL", "Severity": word, "ghsaId": r.ID,
			"CVE": []string{r.cve()}, "Metadata": object{"CVE": []string{r.cve()}}, "FixedIn": fixes, "Summary": r.title(), "namespace": "github:" + ecosystem,
			"url": "https://github.com/advisories/" + r.ID, "published": r.Published, "updated": r.Modified}}
	}
	const schemas = "https://raw.githubusercontent.com/anchore/vunnel/main/schema/vulnerability/"
	for provider, schema := range map[string]string{"debian": schemas + "os/schema-1.0.3.json", "github": schemas + "github-security-advisory/schema-1.0.2.json"} {
		var listing strings.Builder
		for id, item := range items[provider] {
			name := "results/" + strings.ReplaceAll(id, "/", "_") + ".json"
			write(t, filepath.Join(in, provider, name), document(t, object{"schema": schema, "identifier": id, "item": item}))
			fmt.Fprintf(&listing, "0000000000000000  %s\n", name)
		}
		write(t, filepath.Join(in, provider, "listing.xxh64"), []byte(listing.String()))
		write(t, filepath.Join(in, provider, "metadata.json"), document(t, object{"provider": provider, "version": 1, "distribution_version": 1, "timestamp": time.Now().UTC(),
			"schema": object{"version": "1.0.3", "url": schema}, "listing": object{"path": "listing.xxh64", "digest": "0", "algorithm": "xxh64"}, "store": "flat-file"}))
	}
	if b, err := exec.CommandContext(t.Context(), tool(t, "mkgrypedb"), in, out).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	return out
}
