package builtin

import (
	"archive/zip"
	"bufio"
	"encoding/json"
	"encoding/xml"
	"io"
	"path"
	"regexp"
	"strings"
)

// Bounds on what is read for the sake of licences. Beyond them a licence is unknown, which is for the policy to judge.
const (
	maxLicenseFile = 4 << 20 // bytes of a file that may tell of one
	maxPOMs        = 1000    // of one Java archive
	maxPOM         = 1 << 20 // bytes of one
)

// licensesIn returns what tells the licence of each package that a file speaks of.
func licensesIn(p string, content io.ReadSeeker, size int64) func(found) string {
	unknown := func(found) string { return "" }
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return unknown
	}
	base := path.Base(p)
	switch path.Ext(p) {
	case ".jar", ".war", ".ear", ".jmod", ".par", ".sar", ".jpi", ".hpi", ".lpkg", ".nar":
		return licensesOfJava(content, size)
	}
	var of func([]byte) string
	switch {
	case base == "package.json":
		of = licenseOfNode
	case base == "METADATA" || base == "PKG-INFO" || strings.HasSuffix(p, ".egg-info"):
		of = licenseOfPython
	case strings.HasSuffix(p, ".gemspec"):
		of = licenseOfGem
	default:
		return unknown
	}
	b, err := io.ReadAll(io.LimitReader(content, maxLicenseFile))
	if err != nil {
		return unknown
	}
	license := of(b)
	return func(found) string { return license }
}

// licenseOfNode: package.json's "license", and the two older forms of it. https://docs.npmjs.com/cli/configuring-npm/package-json
func licenseOfNode(b []byte) string {
	var p struct{ License, Licenses json.RawMessage }
	if json.Unmarshal(b, &p) != nil {
		return ""
	}
	if names := nodeLicenses(p.License); len(names) > 0 {
		return spdxAny(names)
	}
	return spdxAny(nodeLicenses(p.Licenses))
}

func nodeLicenses(b json.RawMessage) []string {
	var name string
	var one struct{ Type string }
	var several []json.RawMessage
	switch {
	case len(b) == 0:
	case json.Unmarshal(b, &name) == nil:
		return []string{name}
	case json.Unmarshal(b, &one) == nil:
		return []string{one.Type}
	case json.Unmarshal(b, &several) == nil && len(several) <= maxTerms:
		var out []string
		for _, x := range several {
			if json.Unmarshal(x, &name) == nil {
				out = append(out, name)
			} else if json.Unmarshal(x, &one) == nil {
				out = append(out, one.Type)
			}
		}
		return out
	}
	return nil
}

// licenseOfPython: core metadata specifications, "License-Expression", "Classifier" and "License", which is often the whole text.
func licenseOfPython(b []byte) string {
	var license string
	var classifiers []string
	lines := bufio.NewScanner(strings.NewReader(string(b)))
	lines.Buffer(nil, maxLicenseFile)
	for lines.Scan() && lines.Text() != "" {
		key, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(key) {
		case "license-expression":
			return spdx(value)
		case "license":
			license = value
		case "classifier":
			if rest, ok := strings.CutPrefix(value, "License ::"); ok {
				classifiers = append(classifiers, strings.TrimSpace(rest[strings.LastIndex(rest, "::")+1:]))
			}
		}
	}
	if len(license) <= 100 && !strings.HasPrefix(spdx(license), "LicenseRef-") && spdx(license) != "" {
		return spdx(license)
	}
	var said []string
	for _, c := range classifiers {
		if c = strings.TrimSpace(strings.TrimPrefix(c, ":")); c != "OSI Approved" {
			said = append(said, c)
		}
	}
	if len(said) > 0 {
		return spdxAll(said)
	}
	if len(license) <= 100 {
		return spdx(license)
	}
	return ""
}

var (
	gemLicense = regexp.MustCompile(`(?m)^\s*\w+\.licenses?\s*=\s*(.*)$`)
	quoted     = regexp.MustCompile(`"([^"]{1,200})"|'([^']{1,200})'`)
)

// licenseOfGem: https://guides.rubygems.org/specification-reference/#license
func licenseOfGem(b []byte) string {
	m := gemLicense.FindSubmatch(b)
	if m == nil {
		return ""
	}
	var names []string
	for _, q := range quoted.FindAllSubmatch(m[1], maxTerms) {
		names = append(names, string(q[1])+string(q[2]))
	}
	return spdxAny(names)
}

// licensesOfJava reads the pom.xml files that Maven puts into an archive. Archives within it are not opened again.
func licensesOfJava(content io.ReadSeeker, size int64) func(found) string {
	byName := map[string]string{}
	of := func(f found) string { return byName[f.Name] }
	at, ok := content.(io.ReaderAt)
	if !ok {
		return of
	}
	z, err := zip.NewReader(at, size)
	if err != nil {
		return of
	}
	left := maxPOMs
	for _, f := range z.File {
		parts := strings.Split(f.Name, "/")
		if len(parts) != 5 || parts[0] != "META-INF" || parts[1] != "maven" || parts[4] != "pom.xml" || left == 0 {
			continue
		}
		left--
		byName[parts[2]+":"+parts[3]] = licenseOfPOM(f)
	}
	return of
}

// licenseOfPOM: https://maven.apache.org/pom.html#Licenses. Of several one may be chosen.
func licenseOfPOM(f *zip.File) string {
	r, err := f.Open()
	if err != nil {
		return ""
	}
	defer r.Close()
	var pom struct {
		Licenses []struct {
			Name string `xml:"name"`
			URL  string `xml:"url"`
		} `xml:"licenses>license"`
	}
	if xml.NewDecoder(io.LimitReader(r, maxPOM)).Decode(&pom) != nil || len(pom.Licenses) > maxTerms {
		return ""
	}
	var names []string
	for _, l := range pom.Licenses {
		if licenseID(l.Name) == "" && licenseID(l.URL) != "" {
			l.Name = l.URL
		}
		names = append(names, l.Name)
	}
	return spdxAny(names)
}

// licenseOfDebian reads a machine-readable copyright file: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/.
// What applies to any file of the package applies to the package. Any other copyright file says nothing that can be relied on.
func licenseOfDebian(b []byte) string {
	s := strings.ReplaceAll(string(b), "\r\n", "\n")
	first, _, _ := strings.Cut(strings.TrimLeft(s, "\n"), "\n")
	if key, value, _ := strings.Cut(first, ":"); !strings.EqualFold(key, "Format") && !strings.EqualFold(key, "Format-Specification") ||
		!strings.Contains(value, "copyright-format") && !strings.Contains(value, "dep5") {
		return ""
	}
	seen := map[string]bool{}
	var names []string
	for paragraph := range strings.SplitSeq(s, "\n\n") {
		license, files := "", false
		for line := range strings.Lines(paragraph) {
			key, value, _ := strings.Cut(line, ":")
			switch strings.ToLower(strings.TrimSpace(key)) {
			case "files":
				files = true
			case "license":
				license = strings.TrimSpace(value)
			}
		}
		if files && license != "" && !seen[license] {
			seen[license] = true
			names = append(names, license)
		}
	}
	return spdxAll(names)
}
