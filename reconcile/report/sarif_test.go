package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/assay-oci/assay/reconcile"
)

func TestSARIF(t *testing.T) {
	r := sample(t, false)
	r.Plan.Notes[0].Warning = true
	r.Plan.Notes = append(r.Plan.Notes, reconcile.Finding{Rule: "approval", ID: "pending", Pending: true, Image: "nginx:1.27.3", Summary: "its pull request is still open"})
	var b bytes.Buffer
	if err := SARIF(&b, r, SARIFOptions{Folder: "deploy/catalog", Version: "1.2.3"}); err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if err := sarifSchema(t).Validate(doc); err != nil {
		t.Error(err)
	}
	compareGolden(t, filepath.Join("testdata", "plan.golden.sarif"), b.Bytes())
	var log sarifLog
	if err := json.Unmarshal(b.Bytes(), &log); err != nil {
		t.Fatal(err)
	}
	var got []string
	prints := map[string]bool{}
	for _, x := range log.Runs[0].Results {
		at := x.Locations[0].Physical
		line := 0
		if at.Region != nil {
			line = at.Region.Line
		}
		got = append(got, fmt.Sprintf("%s %s %s:%d", x.Level, x.Rule, at.Artifact.URI, line))
		prints[x.Fingerprints["assay/v1"]] = true
	}
	want := []string{"error sources deploy/catalog/images/tool.hcl:5", "error vulnerabilities deploy/catalog/images/tool.hcl:5", "error vulnerabilities deploy/catalog/redis.hcl:4",
		"warning tag-move deploy/catalog/images/nginx.hcl:9", "note approval deploy/catalog:0"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") || len(prints) != len(want) {
		t.Errorf("%s\n%v", strings.Join(got, "\n"), prints)
	}
}

func TestTheSameFindingHasTheSameFingerprint(t *testing.T) {
	f := reconcile.Finding{Rule: "vulnerabilities", ID: "CVE-2026-1", Image: "nginx:1.27.3", Package: "zlib", Summary: "high CVE-2026-1 in zlib", Origin: reconcile.Origin{File: "a.hcl", Line: 3}}
	moved := f
	moved.Origin.Line, moved.Summary = 9, "high CVE-2026-1 in zlib (trivy, grype)"
	other := f
	other.ID = "CVE-2026-2"
	if fingerprint(f) != fingerprint(moved) || fingerprint(f) == fingerprint(other) {
		t.Error("a finding isn't known by what it says")
	}
}

func TestSARIFIsBounded(t *testing.T) {
	var r reconcile.Report
	for i := range maxResults + 10 {
		r.Plan.Blocked = append(r.Plan.Blocked, reconcile.Finding{Rule: "sources", Summary: fmt.Sprint(i)})
	}
	var b bytes.Buffer
	if err := SARIF(&b, r, SARIFOptions{}); err != nil {
		t.Fatal(err)
	}
	var log sarifLog
	if err := json.Unmarshal(b.Bytes(), &log); err != nil || len(log.Runs[0].Results) != maxResults || log.Runs[0].Properties["shortened"] != true {
		t.Errorf("%d results, %v, %v", len(log.Runs[0].Results), log.Runs[0].Properties, err)
	}
}
