package command

import (
	"strings"
	"testing"
)

const full = `{"schema":"assay.scan/v1","version":"1.2.3","database":"2026-11-20T06:00:00Z","distribution":"debian:12","ecosystems":["Debian:12","npm"],"packages":113,` +
	`"vulnerabilities":[{"id":"CVE-2026-63072","aliases":["DSA-1"],"package":{"name":"libssl3","version":"3.0.20-1~deb12u2","ecosystem":"Debian:12","purl":"pkg:deb/debian/libssl3@3.0.20-1~deb12u2"},` +
	`"severity":"high","fixed_in":["3.0.22-1~deb12u1"],"published":"2026-10-01T00:00:00Z","summary":"heap buffer overflow"}]}`

func TestParse(t *testing.T) {
	got, err := Parse([]byte(full))
	if err != nil || got.NoVerdict != "" || len(got.Vulnerabilities) != 1 || got.Vulnerabilities[0].Package.Name != "libssl3" || got.Packages != 113 {
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

func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte(empty))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Parse(b)
		if err == nil && got.NoVerdict == "" && (got.Packages <= 0 || got.Version == "" || got.Database.IsZero() || len(got.Ecosystems) == 0) {
			t.Errorf("a verdict that nothing supports: %+v", got)
		}
	})
}
