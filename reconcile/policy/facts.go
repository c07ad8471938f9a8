package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/assay-oci/assay/reconcile"
)

// The object that conditions speak about: its types, its documentation, and how it is made of the evidence.

var (
	stringList = cty.List(cty.String)
	stringMap  = cty.Map(cty.String)

	configType = cty.Object(map[string]cty.Type{
		"user": cty.String, "created": cty.String, "labels": stringMap, "entrypoint": stringList, "command": stringList, "env": stringList,
		"ports": stringList, "volumes": stringList, "working_dir": cty.String,
	})
	vulnerabilityType = cty.Object(map[string]cty.Type{
		"id": cty.String, "aliases": stringList, "package": cty.String, "version": cty.String, "purl": cty.String, "severity": cty.String, "fixed_in": stringList,
		"published": cty.String, "first_seen": cty.String, "epss": cty.Number, "exploited": cty.Bool, "scanners": stringList, "silent": stringList,
	})
	packageType = cty.Object(map[string]cty.Type{
		"name": cty.String, "version": cty.String, "ecosystem": cty.String, "purl": cty.String, "source": cty.String, "license": cty.String, "path": cty.String, "layer": cty.String,
	})
	supportType = cty.Object(map[string]cty.Type{"known": cty.Bool, "ended": cty.Bool, "until": cty.String})
	scannerType = cty.Object(map[string]cty.Type{
		"name": cty.String, "version": cty.String, "database": cty.String, "packages": cty.Number, "verdict": cty.Bool, "reason": cty.String,
	})
)

// An imageAttribute is one attribute of image.
type imageAttribute struct {
	name  string
	typ   cty.Type
	reads reconcile.Reads
	value func(facts) cty.Value
}

// imageAttributes are all of them. conditionDoc documents them, and those of their parts.
var imageAttributes = []imageAttribute{
	{"name", cty.String, reconcile.ReadsDeclaration, func(f facts) cty.Value { return cty.StringVal(f.want.Name) }},
	{"version", cty.String, reconcile.ReadsDeclaration, func(f facts) cty.Value { return cty.StringVal(f.want.Version) }},
	{"source", cty.String, reconcile.ReadsDeclaration, func(f facts) cty.Value { return cty.StringVal(f.want.From.Repo.String()) }},
	{"digest", cty.String, reconcile.ReadsDeclaration, func(f facts) cty.Value { return cty.StringVal(f.want.From.Digest.String()) }},
	{"tags", stringList, reconcile.ReadsDeclaration, facts.tags},
	{"mutable", cty.Bool, reconcile.ReadsDeclaration, func(f facts) cty.Value { return cty.BoolVal(f.want.Mutable) }},
	{"owner", cty.String, reconcile.ReadsDeclaration, func(f facts) cty.Value { return cty.StringVal(f.want.Owner) }},
	{"purpose", cty.String, reconcile.ReadsDeclaration, func(f facts) cty.Value { return cty.StringVal(f.want.Purpose) }},
	{"review_by", cty.String, reconcile.ReadsDeclaration, func(f facts) cty.Value { return timeString(f.want.Review, time.DateOnly) }},
	{"scope", cty.String, reconcile.ReadsDeclaration, func(f facts) cty.Value { return cty.StringVal(f.want.Scope) }},
	{"platforms", stringList, reconcile.ReadsContent, facts.platforms},
	{"platform", cty.String, reconcile.ReadsContent, func(f facts) cty.Value { return cty.StringVal(platformOrNothing(f.manifest.Platform)) }},
	{"size", cty.Number, reconcile.ReadsContent, func(f facts) cty.Value { return cty.NumberIntVal(f.tree.Bytes()) }},
	{"config", configType, reconcile.ReadsContent, facts.config},
	{"annotations", stringMap, reconcile.ReadsContent, func(f facts) cty.Value { return texts(notes(f.tree, f.manifest)) }},
	{"vulnerabilities", cty.List(vulnerabilityType), reconcile.ReadsScans, facts.vulnerabilities},
	{"packages", cty.List(packageType), reconcile.ReadsInventory, facts.packageList},
	{"licenses", stringList, reconcile.ReadsInventory, facts.licenses},
	{"distribution", cty.String, reconcile.ReadsScans, func(f facts) cty.Value { return cty.StringVal(f.distribution) }},
	{"support", supportType, reconcile.ReadsScans, facts.supportObject},
	{"scanners", cty.List(scannerType), reconcile.ReadsScans, facts.scannerList},
}

// imageType is the type of image.
var imageType = func() cty.Type {
	types := map[string]cty.Type{}
	for _, a := range imageAttributes {
		types[a.name] = a.typ
	}
	return cty.Object(types)
}()

func conditionDoc() string {
	return "Anything else: an HCL expression over what is known of an image. It is checked when the catalog is loaded.\n\n" +
		"| value | type | meaning |\n|---|---|---|\n" +
		"| `image.name`, `image.version` | string | the labels in the catalog |\n" +
		"| `image.source`, `image.digest` | string | where it comes from, and what it is |\n" +
		"| `image.tags` | list of strings | all tags that it shall have |\n" +
		"| `image.mutable` | bool | whether its version may move |\n" +
		"| `image.owner`, `image.purpose` | string | as in the catalog; empty if left out |\n" +
		"| `image.review_by` | string | as \"2027-05-01\"; empty if left out |\n" +
		"| `image.scope` | string | folder of its scope; empty for the organization's |\n" +
		"| `image.platforms` | list of strings | those that it can run on, as \"linux/amd64\" |\n" +
		"| `image.platform` | string | the one that is judged now |\n" +
		"| `image.size` | number | bytes of all its blobs, compressed |\n" +
		"| `image.config.user` | string | who it runs as, on this platform; empty means root |\n" +
		"| `image.config.created` | string | as \"2026-05-01T12:00:00Z\"; empty if unknown |\n" +
		"| `image.config.labels` | map of strings | its own labels: its author's words |\n" +
		"| `image.config.entrypoint`, `image.config.command` | list of strings | what it starts |\n" +
		"| `image.config.env` | list of strings | names of its environment variables, without their values |\n" +
		"| `image.config.ports`, `image.config.volumes` | list of strings | what it exposes, as \"80/tcp\", and mounts |\n" +
		"| `image.config.working_dir` | string | the folder that it starts in |\n" +
		"| `image.annotations` | map of strings | those of the manifest, and of the index around it |\n" +
		"| `image.vulnerabilities` | list | merged over the scanners; each has `id`, `aliases`, `package`, `version`, `purl`, `severity`, `fixed_in`, `published`, `first_seen`, `epss`, `exploited`, `scanners` (who reported it), `silent` (who could have) |\n" +
		"| `image.packages` | list | each has `name`, `version`, `ecosystem`, `purl`, `source`, `license`, `path`, `layer` |\n" +
		"| `image.licenses` | list of strings | the packages' licences, each once |\n" +
		"| `image.distribution` | string | as \"debian:12\"; empty if unknown |\n" +
		"| `image.support` | object | `known`, `ended`, and `until` as \"2028-06-30\", of the distribution's release |\n" +
		"| `image.scanners` | list | each has `name`, `version`, `database` (time), `packages`, `verdict` (bool), and `reason` where it gave none |\n\n" +
		"An expression that speaks of `vulnerabilities`, `distribution` or `support` finds `no-verdict` or `no-packages` where no scanner can tell, and one that speaks of `packages` or `licenses` finds `no-inventory`: " +
		"nobody takes an empty list for a clean image.\n\n" +
		"Functions, as in Terraform: " + functionNames() + ". " +
		"`matches(pattern, text)` searches for an RE2 regular expression. `lookup(map, key, otherwise)` reads a label that may be missing. There is no clock: a condition gives the same answer whenever it is asked.\n\n" +
		fmt.Sprintf("An expression has at most %d parts, and inside a `for` or `[*]` neither another one nor a list, map or object of the image as a whole. What its functions do is counted: one that takes too much work counts as false.", maxParts)
}

// facts are what is known of one platform of an image.
type facts struct {
	want         reconcile.Want
	tree         reconcile.Tree
	manifest     reconcile.Manifest
	now          time.Time
	verdicts     []verdict
	merged       []reconcile.Merged
	packages     []listed
	distribution string
	support      *reconcile.Support
}

// gather reads what scanners said as far as it is needed. What is missing is returned as findings: an empty list is never taken for a clean image.
func (f *facts) gather(vs []verdict, n needs) []reconcile.Finding {
	f.verdicts = vs
	platform := platformName(f.manifest)
	if n["vulnerabilities"] {
		if missing := unscanned(vs, platform); missing != nil {
			return []reconcile.Finding{*missing}
		}
		f.merged = reconcile.Merge(scansOf(vs))
	}
	if n["distribution"] || n["support"] {
		if len(scansOf(vs)) == 0 {
			return []reconcile.Finding{*unscanned(vs, platform)}
		}
		f.distribution, f.support = support(vs)
	}
	if n["packages"] || n["licenses"] {
		var ok bool
		if f.packages, ok = inventory(vs); !ok {
			return noInventory(vs, "them", platform)
		}
	}
	if len(f.packages) > maxElements || len(f.merged) > maxElements {
		return tooMany("packages or vulnerabilities", platform)
	}
	return nil
}

func tooMany(what, platform string) []reconcile.Finding {
	return []reconcile.Finding{{ID: "condition", Summary: fmt.Sprintf("there are more than %d %s on %s, too many for a condition", maxElements, what, platform),
		Detail: "ask for a waiver, or use the rules made for them"}}
}

// image makes the object that a condition sees. What the condition doesn't speak of is left unknown.
func (f facts) image(n needs) cty.Value {
	out := map[string]cty.Value{}
	for _, a := range imageAttributes {
		if n[a.name] {
			out[a.name] = a.value(f)
		} else {
			out[a.name] = cty.UnknownVal(a.typ)
		}
	}
	return cty.ObjectVal(out)
}

func (f facts) tags() cty.Value {
	var out []string
	for _, x := range f.want.Tags {
		out = append(out, x.String())
	}
	return list(out)
}

func (f facts) platforms() cty.Value {
	var out []string
	for _, x := range f.tree.Runnable() {
		if s := platformOrNothing(x.Platform); s != "" {
			out = append(out, s)
		}
	}
	return list(out)
}

func platformOrNothing(p reconcile.Platform) string {
	if !p.Runnable() {
		return ""
	}
	return p.String()
}

func (f facts) config() cty.Value {
	c := f.manifest.Config
	var env []string
	for _, e := range c.Env {
		name, _, _ := strings.Cut(e, "=")
		env = append(env, name)
	}
	return cty.ObjectVal(map[string]cty.Value{
		"user": cty.StringVal(c.User), "created": timeString(c.Created, time.RFC3339), "labels": texts(c.Labels), "entrypoint": list(c.Entrypoint), "command": list(c.Command),
		"env": list(env), "ports": list(c.Ports), "volumes": list(c.Volumes), "working_dir": cty.StringVal(c.WorkingDir),
	})
}

func (f facts) vulnerabilities() cty.Value {
	return objects(f.merged, vulnerabilityType, func(m reconcile.Merged) map[string]cty.Value {
		return map[string]cty.Value{
			"id": cty.StringVal(m.ID), "aliases": list(m.Aliases), "package": cty.StringVal(m.Package.Name), "version": cty.StringVal(m.Package.Version), "purl": cty.StringVal(m.Package.PURL),
			"severity": cty.StringVal(string(m.Severity)), "fixed_in": list(m.FixedIn), "published": timeString(m.Published, time.RFC3339), "first_seen": timeString(m.FirstSeen, time.RFC3339),
			"epss": number(m.EPSS), "exploited": cty.BoolVal(m.Exploited), "scanners": list(m.Scanners()), "silent": list(m.Silent),
		}
	})
}

func (f facts) packageList() cty.Value {
	return objects(f.packages, packageType, func(l listed) map[string]cty.Value {
		return map[string]cty.Value{
			"name": cty.StringVal(l.Name), "version": cty.StringVal(l.Version), "ecosystem": cty.StringVal(l.EcosystemName()), "purl": cty.StringVal(l.PURL), "source": cty.StringVal(l.Source),
			"license": cty.StringVal(l.license()), "path": cty.StringVal(l.Path), "layer": cty.StringVal(l.Layer),
		}
	})
}

// license is what scanners state as one expression: where they differ, all of it.
func (l listed) license() string {
	if len(l.licenses) == 1 {
		return l.licenses[0]
	}
	var out []string
	for _, s := range l.licenses {
		out = append(out, "("+s+")")
	}
	return strings.Join(out, " AND ")
}

func (f facts) licenses() cty.Value {
	all := map[string]bool{}
	for _, l := range f.packages {
		if s := l.license(); s != "" {
			all[s] = true
		}
	}
	return list(slices.Sorted(maps.Keys(all)))
}

func (f facts) supportObject() cty.Value {
	s := f.support
	if s == nil {
		return cty.ObjectVal(map[string]cty.Value{"known": cty.False, "ended": cty.False, "until": cty.StringVal("")})
	}
	ended := s.Ended
	if !s.Until.IsZero() {
		ended = !f.now.Before(s.Until.UTC().Truncate(24*time.Hour).AddDate(0, 0, 1))
	}
	return cty.ObjectVal(map[string]cty.Value{"known": cty.True, "ended": cty.BoolVal(ended), "until": timeString(s.Until, time.DateOnly)})
}

func (f facts) scannerList() cty.Value {
	return objects(f.verdicts, scannerType, func(v verdict) map[string]cty.Value {
		return map[string]cty.Value{
			"name": cty.StringVal(v.scanner), "version": cty.StringVal(v.scan.Version), "database": timeString(v.scan.Database, time.RFC3339),
			"packages": cty.NumberIntVal(int64(v.scan.Packages)), "verdict": cty.BoolVal(v.without == ""), "reason": cty.StringVal(v.without),
		}
	})
}

func objects[T any](from []T, typ cty.Type, make func(T) map[string]cty.Value) cty.Value {
	if len(from) == 0 {
		return cty.ListValEmpty(typ)
	}
	var out []cty.Value
	for _, x := range from {
		out = append(out, cty.ObjectVal(make(x)))
	}
	return cty.ListVal(out)
}

func list(ss []string) cty.Value {
	if len(ss) == 0 {
		return cty.ListValEmpty(cty.String)
	}
	out := make([]cty.Value, len(ss))
	for i, s := range ss {
		out[i] = cty.StringVal(s)
	}
	return cty.ListVal(out)
}

func texts(m map[string]string) cty.Value {
	if len(m) == 0 {
		return cty.MapValEmpty(cty.String)
	}
	out := map[string]cty.Value{}
	for k, v := range m {
		out[k] = cty.StringVal(v)
	}
	return cty.MapVal(out)
}

// number makes a number of a scanner's: one that is none, such as infinity, becomes zero.
func number(f float64) cty.Value {
	if f != f || f > 1 || f < 0 {
		return cty.Zero
	}
	return cty.NumberFloatVal(f)
}

func timeString(t time.Time, layout string) cty.Value {
	if t.IsZero() {
		return cty.StringVal("")
	}
	return cty.StringVal(t.UTC().Format(layout))
}
