package bom

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

var update = flag.Bool("update", false, "write the golden files")

func schema(t testing.TB, root string, others ...string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	var id string
	for _, name := range append(others, root) {
		f, err := os.Open("testdata/" + name + ".schema.json")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		doc, err := jsonschema.UnmarshalJSON(f)
		if err != nil {
			t.Fatal(err)
		}
		id = doc.(map[string]any)["$id"].(string)
		if err := c.AddResource(id, doc); err != nil {
			t.Fatal(err)
		}
	}
	s, err := c.Compile(id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func cyclonedxSchema(t testing.TB) *jsonschema.Schema {
	return schema(t, "bom-1.6", "spdx", "jsf-0.82")
}

func spdxSchema(t testing.TB) *jsonschema.Schema { return schema(t, "spdx-2.3") }

func validate(t testing.TB, s *jsonschema.Schema, b []byte) {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(doc); err != nil {
		t.Errorf("%v\n%.2000s", err, b)
	}
}

var subject = Subject{Name: "images.example.com/approved/nginx", Digest: reconcile.MustDigest("sha256:" + strings.Repeat("ab", 32)),
	Platform: reconcile.Platform{OS: "linux", Architecture: "amd64"}, Created: time.Date(2026, 11, 21, 10, 30, 0, 0, time.UTC)}

var inventory = reconcile.Inventory{Lister: "builtin", Version: "2", Distribution: "debian:12", Packages: []reconcile.Package{
	{Name: "libssh2-1", Version: "1.10.0-3+b1", Ecosystem: "Debian:12", PURL: "pkg:deb/debian/libssh2-1@1.10.0-3%2Bb1?arch=amd64&distro=debian-12&upstream=libssh2%401.10.0-3",
		Source: "libssh2", License: "BSD-3-Clause AND LicenseRef-public-domain", Path: "var/lib/dpkg/status", Layer: "sha256:" + strings.Repeat("cd", 32)},
	{Name: "lodash", Version: "4.17.4", Ecosystem: "npm", PURL: "pkg:npm/lodash@4.17.4", License: "MIT"},
	{Name: "lodash", Version: "4.17.4", Ecosystem: "npm", PURL: "pkg:npm/lodash@4.17.4", License: "MIT"},
	{Name: "odd", License: "as <b>you</b> like it"},
}}

func TestDocumentsPassTheirSchemas(t *testing.T) {
	cdx, spdx := cyclonedxSchema(t), spdxSchema(t)
	for name, in := range map[string]reconcile.Inventory{"full": inventory, "empty": {}, "hostile": {Distribution: "\x00:\xff\n", Packages: []reconcile.Package{
		{Name: "\x00<script>", Version: "\u2028", PURL: "nonsense", License: "(((", Path: "../../etc"}, {}}}} {
		for _, s := range []Subject{subject, {Digest: subject.Digest}} {
			b, err := CycloneDX(in, s)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			validate(t, cdx, b)
			if b, err = SPDX(in, s); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			validate(t, spdx, b)
		}
	}
}

// A schema that accepts anything would show nothing.
func TestSchemasRefuse(t *testing.T) {
	for name, test := range map[string]struct {
		schema *jsonschema.Schema
		doc    string
	}{
		"CycloneDX 1.6, a component without a name": {cyclonedxSchema(t), `{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"type":"library"}]}`},
		"SPDX 2.3, no namespace":                    {spdxSchema(t), `{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","name":"x","dataLicense":"CC0-1.0","creationInfo":{"created":"x","creators":["x"]}}`},
	} {
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(test.doc))
		if err != nil {
			t.Fatal(err)
		}
		if test.schema.Validate(doc) == nil {
			t.Errorf("%s: it passed", name)
		}
	}
}

func TestDocumentsAreTheSameBytes(t *testing.T) {
	for name, write := range map[string]func(reconcile.Inventory, Subject) ([]byte, error){"cyclonedx": CycloneDX, "spdx": SPDX} {
		first, err := write(inventory, subject)
		if err != nil {
			t.Fatal(err)
		}
		later := subject
		later.Created = later.Created.In(time.FixedZone("elsewhere", 3600))
		second, err := write(inventory, later)
		if err != nil || !bytes.Equal(first, second) {
			t.Errorf("%s: other bytes: %v\n%s\n%s", name, err, first, second)
		}
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, first, "", "  "); err != nil {
			t.Fatal(err)
		}
		golden := "testdata/" + name + ".golden.json"
		if *update {
			if err := os.WriteFile(golden, pretty.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if d := cmp.Diff(string(want), pretty.String()); err != nil || d != "" {
			t.Errorf("%s: %v; -want +got (-update writes it):\n%s", name, err, d)
		}
	}
}

func TestASubjectNeedsADigest(t *testing.T) {
	for _, write := range []func(reconcile.Inventory, Subject) ([]byte, error){CycloneDX, SPDX} {
		if _, err := write(inventory, Subject{Name: "x"}); err == nil {
			t.Error("a document about nothing")
		}
	}
}

func FuzzDocuments(f *testing.F) {
	b, err := json.Marshal(inventory)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"distribution":":","packages":[{"license":"MIT AND (","purl":"x"},{}]}`))
	cdx, spdx := cyclonedxSchema(f), spdxSchema(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		var in reconcile.Inventory
		if json.Unmarshal(b, &in) != nil {
			return
		}
		one, err := CycloneDX(in, subject)
		if err != nil {
			t.Fatal(err)
		}
		validate(t, cdx, one)
		if one, err = SPDX(in, subject); err != nil {
			t.Fatal(err)
		}
		validate(t, spdx, one)
	})
}
