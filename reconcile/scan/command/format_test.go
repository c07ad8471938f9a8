package command

import (
	"strings"
	"testing"
)

const full = `{"schema":"assay.scan/v1","version":"1.2.3","database":"2026-11-20T06:00:00Z","distribution":"debian:12","ecosystems":["Debian:12","npm"],"packages":113,` +
	`"vulnerabilities":[{"id":"CVE-2026-63072","aliases":["DSA-1"],"package":{"name":"libssl3","version":"3.0.20-1~deb12u2","ecosystem":"Debian:12","purl":"pkg:deb/debian/libssl3@3.0.20-1~deb12u2"},` +
	`"severity":"high","fixed_in":["3.0.22-1~deb12u1"],"published":"2026-10-01T00:00:00Z","summary":"heap buffer overflow"}]}`

// whole is a document with everything that may be left out.
const whole = `{"schema":"assay.scan/v1","version":"1.2.3","database":"2026-11-20T06:00:00Z","distribution":"debian:10","ecosystems":["Debian:10"],"packages":1,"vulnerabilities":[],` +
	`"malware":[{"id":"Win.Test.EICAR","path":"tmp/x","summary":"test file"}],"malware_checked":true,"support":{"until":"2024-06-30T00:00:00Z","ended":true,"data":"2026-11-01T00:00:00Z"},` +
	`"inventory":{"packages":[{"name":"x","version":"1","ecosystem":"Debian:10","purl":"pkg:deb/debian/x@1","source":"y","license":"ISC","path":"var/lib/dpkg/status","layer":"sha256:0"}]}}`

func TestParse(t *testing.T) {
	got, err := Parse([]byte(full))
	if err != nil || got.NoVerdict != "" || len(got.Vulnerabilities) != 1 || got.Vulnerabilities[0].Package.Name != "libssl3" || got.Packages != 113 {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = Parse([]byte(whole))
	if err != nil || !got.MalwareChecked || len(got.Malware) != 1 || got.Support == nil || !got.Support.Ended || got.Inventory == nil || got.Inventory.Packages[0].License != "ISC" {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = Parse([]byte(`{"schema":"assay.scan/v1","version":"1","database":"2026-11-20T06:00:00Z","ecosystems":["npm"],"packages":0,"vulnerabilities":[]}`))
	if err != nil || got.NoVerdict != "it saw no packages" {
		t.Errorf("no packages: %+v, %v", got, err)
	}
}

func TestWhatIsNotTheFormat(t *testing.T) {
	change := map[string][3]string{ // what to replace, by what, and the error
		"another schema":           {`assay.scan/v1`, `assay.scan/v9`, "schema"},
		"unknown field":            {`"packages"`, `"packets":1,"packages"`, "unknown field"},
		"unknown field further in": {`"severity"`, `"score":9.8,"severity"`, "unknown field"},
		"no version":               {`"version":"1.2.3",`, ``, `"version" is missing`},
		"no database":              {`"database":"2026-11-20T06:00:00Z",`, ``, `"database" is missing`},
		"no ecosystems":            {`"ecosystems":["Debian:12","npm"],`, ``, `"ecosystems" is missing`},
		"no packages":              {`"packages":113,`, ``, `"packages" is missing`},
		"negative packages":        {`113`, `-1`, "negative"},
		"findings in nothing":      {`113`, `0`, "no packages"},
		"no id":                    {`"id":"CVE-2026-63072",`, ``, `vulnerability 1: "id" is missing`},
		"an id that is a text":     {`CVE-2026-63072`, `CVE 2026\n`, "no identifier"},
		"no package name":          {`"name":"libssl3",`, ``, `"package.name" is missing`},
		"no package version":       {`"version":"3.0.20-1~deb12u2",`, ``, `"package.version" is missing`},
		"no severity":              {`"severity":"high",`, ``, `"" is not a severity`},
		"a severity of its own":    {`"high"`, `"HIGH"`, `"HIGH" is not a severity`},
		"a number for a list":      {`["3.0.22-1~deb12u1"]`, `3`, "read it as"},
		"no list":                  {`"vulnerabilities":[`, `"vulnerabilities":null}[`, `"vulnerabilities" is missing`},
	}
	for name, c := range change {
		t.Run(name, func(t *testing.T) {
			s := strings.Replace(full, c[0], c[1], 1)
			if s == full {
				t.Fatal("nothing was changed")
			}
			if name == "no list" {
				s, _, _ = strings.Cut(s, "null}")
				s += "null}"
			}
			if got, err := Parse([]byte(s)); err == nil || !strings.Contains(err.Error(), c[2]) {
				t.Errorf("%+v, %v; want %q", got, err, c[2])
			}
		})
	}
}

func TestWhatDoesNotFitTogether(t *testing.T) {
	for name, c := range map[string][3]string{
		"malware without a look for it":   {`"malware_checked":true`, `"malware_checked":false`, "malware_checked is not true"},
		"malware without a name":          {`"id":"Win.Test.EICAR",`, ``, "malware 1"},
		"support that says nothing":       {`"until":"2024-06-30T00:00:00Z","ended":true,`, ``, "support says nothing"},
		"another number of packages":      {`"packages":1,`, `"packages":2,`, "its inventory has 1 packages"},
		"a package without a version":     {`"version":"1",`, ``, `"version" is missing`},
		"an inventory with unknown words": {`"inventory":{`, `"inventory":{"files":1,`, "unknown field"},
		"malware with unknown words":      {`"path":"tmp/x"`, `"paths":"tmp/x"`, "unknown field"},
	} {
		s := strings.Replace(whole, c[0], c[1], 1)
		if got, err := Parse([]byte(s)); s == whole || err == nil || !strings.Contains(err.Error(), c[2]) {
			t.Errorf("%s: %+v, %v; want %q", name, got, err, c[2])
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte(full))
	f.Add([]byte(empty))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Parse(b)
		if err == nil && got.NoVerdict == "" && (got.Packages <= 0 || got.Version == "" || got.Database.IsZero() || len(got.Ecosystems) == 0) {
			t.Errorf("a verdict that nothing supports: %+v", got)
		}
	})
}
