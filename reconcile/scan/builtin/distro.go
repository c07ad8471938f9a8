package builtin

import (
	"bufio"
	"strings"
	"unicode"
)

// An osRelease is what os-release(5) says of a system. It is the image author's text.
type osRelease struct {
	id, version string
}

func parseOSRelease(s string) osRelease {
	var o osRelease
	lines := bufio.NewScanner(strings.NewReader(s))
	for lines.Scan() {
		k, v, _ := strings.Cut(strings.TrimSpace(lines.Text()), "=")
		v = strings.Trim(v, `"'`)
		switch k {
		case "ID":
			o.id = strings.ToLower(clip(v))
		case "VERSION_ID":
			o.version = clip(v)
		}
	}
	return o
}

// clip bounds a word of an image's author, and keeps it to what can stand in one line.
func clip(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s[:min(len(s), 64)], ""))
}

// systemNamed is the inverse of name.
func systemNamed(name string) osRelease {
	id, version, _ := strings.Cut(name, ":")
	return osRelease{id, version}
}

// name is for people: "debian:12".
func (o osRelease) name() string {
	if o.id == "" || o.version == "" {
		return o.id
	}
	return o.id + ":" + o.version
}

// kind is the package manager's kind of package.
func (o osRelease) kind() string {
	switch o.id {
	case "debian", "ubuntu":
		return "deb"
	case "alpine", "wolfi", "chainguard", "minimos", "alpaquita":
		return "apk"
	}
	return "rpm"
}

// ecosystem returns the name that OSV has for a distribution's release, as ecosystemKey spells it; empty if advisories for it can't be
// told apart. Sources: https://ossf.github.io/osv-schema/#defined-ecosystems and the records themselves.
func (o osRelease) ecosystem() string {
	major, rest, _ := strings.Cut(o.version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	switch o.id {
	case "wolfi":
		return "Wolfi"
	case "chainguard":
		return "Chainguard"
	case "minimos":
		return "MinimOS"
	}
	if o.version == "" {
		return ""
	}
	switch o.id {
	case "debian":
		return "Debian:" + o.version
	case "ubuntu":
		return "Ubuntu:" + o.version
	case "alpine":
		return "Alpine:v" + major + "." + minor
	case "alpaquita":
		return "Alpaquita:" + o.version
	case "rhel":
		return "Red Hat:enterprise_linux:" + major
	case "rocky":
		return "Rocky Linux:" + major
	case "almalinux":
		return "AlmaLinux:" + major
	case "mageia":
		return "Mageia:" + o.version
	case "opensuse-leap":
		return "openSUSE:Leap " + o.version
	case "azurelinux", "mariner":
		return "Azure Linux:" + major
	}
	return ""
}

// epochs are the ecosystems whose advisories write the epoch into the version.
var epochs = map[string]bool{"Red Hat": true, "AlmaLinux": true, "Rocky Linux": true}

// byBinary are the systems of rpm packages whose advisories name every binary package. Those of the others name the source package, or
// either of them: what is built from a source package is looked up under both names.
var byBinary = map[string]bool{"Red Hat": true, "AlmaLinux": true}

// ecosystemKey spells an ecosystem of a record as osRelease.ecosystem does.
func ecosystemKey(s string) string {
	if rest, ok := strings.CutPrefix(s, "Red Hat:enterprise_linux:"); ok {
		major, _, _ := strings.Cut(rest, ":")
		major, _, _ = strings.Cut(major, ".")
		return "Red Hat:enterprise_linux:" + major
	}
	if rest, ok := strings.CutPrefix(s, "Ubuntu:"); ok && !strings.HasPrefix(rest, "Pro:") {
		return "Ubuntu:" + strings.TrimSuffix(rest, ":LTS")
	}
	return s
}
