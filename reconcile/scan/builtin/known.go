package builtin

import (
	"strings"

	"github.com/assay-oci/assay/reconcile"
	"github.com/google/osv-scalibr/purl"
)

// installed is a package, and how advisories speak of it.
type installed struct {
	reconcile.Package
	names   []string
	version string
}

// known says how advisories speak of the packages of an inventory, or why nothing can be said about them.
func known(inv reconcile.Inventory) ([]installed, error) {
	if len(inv.Packages) == 0 {
		return nil, unsure("no packages were found, and the system is unknown: nothing can be said about this image")
	}
	out := make([]installed, 0, len(inv.Packages))
	system := false
	for _, p := range inv.Packages {
		i, kind, err := knownAs(p)
		if err != nil {
			return nil, err
		}
		if p.Ecosystem == "" {
			return nil, unsure("it holds %s packages of a system that is not known (%s)", kind, printable(inv.Distribution))
		}
		system = system || kind != ""
		out = append(out, i)
	}
	if !system && systemNamed(inv.Distribution).ecosystem() != "" {
		return nil, unsure("the system is %s, but its package database was not found", clip(inv.Distribution))
	}
	return out, nil
}

// knownAs returns the names and the version under which advisories speak of a package, and the kind of a system's package: deb, apk or rpm.
func knownAs(p reconcile.Package) (installed, string, error) {
	i := installed{Package: p, names: []string{p.Name}, version: p.Version}
	base, _, _ := strings.Cut(p.Ecosystem, ":")
	kind, _, _ := strings.Cut(strings.TrimPrefix(p.PURL, "pkg:"), "/")
	if kind != purl.TypeDebian && kind != purl.TypeApk && kind != purl.TypeRPM {
		if p.Ecosystem == "PyPI" {
			i.names = []string{normalPython(p.Name)}
		}
		return i, "", nil
	}
	u, err := purl.FromString(p.PURL)
	if err != nil {
		return i, "", unsure("the package %q has no readable package URL", clip(p.Name))
	}
	q := map[string]string{}
	for _, x := range u.Qualifiers {
		q[x.Key] = x.Value
	}
	source, sourceVersion, _ := strings.Cut(q["upstream"], "@")
	switch {
	case kind == purl.TypeRPM:
		if source != "" && !byBinary[base] {
			i.names = append(i.names, source)
		}
		if q["epoch"] != "" && epochs[base] {
			i.version = q["epoch"] + ":" + i.version
		}
	case source != "":
		i.names = []string{source}
		if sourceVersion != "" {
			i.version = sourceVersion
		}
	}
	return i, kind, nil
}

// normalPython spells a name as PyPI does: PEP 503.
func normalPython(name string) string {
	parts := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == '-' || r == '_' || r == '.' })
	return strings.Join(parts, "-")
}

func printable(distribution string) string {
	if distribution == "" {
		return "it has no os-release"
	}
	return `"` + clip(distribution) + `"`
}
