package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/spdx"
)

type licenses struct {
	Deny    []string `hcl:"deny,optional" default:"[]" doc:"Licences that no package may need, as SPDX writes them: \"AGPL-3.0-only\", \"GPL-2.0-only WITH Classpath-exception-2.0\", \"LicenseRef-acme\", or \"AGPL-*\" for all that begin so."`
	Allow   []string `hcl:"allow,optional" default:"everything" doc:"The only licences that packages may have."`
	Unknown string   `hcl:"unknown,optional" default:"\"deny\"" doc:"What becomes of a package whose licence isn't known, or is none that SPDX or the lists name: \"deny\" or \"allow\"."`
}

func init() {
	register("licenses", "Licences of the packages in an image, as SPDX expressions: of `MIT OR GPL-3.0-only` one must be acceptable, of `MIT AND GPL-3.0-only` both. "+
		"A name without an exception stands for the licence with any exception too. The identifier of a finding is the licence, or `unknown-license`; "+
		"a platform on which no scanner lists the packages is `no-inventory`.",
		`rule "licenses" {
  deny    = ["AGPL-*", "SSPL-1.0"]
  unknown = "deny"
}
`, buildLicenses)
}

// licenseLists are the parsed lists of a rule.
type licenseLists struct {
	deny, allow  []spdx.Pattern
	restricted   bool // there is a list of those allowed
	allowUnknown bool
}

func buildLicenses(p licenses, body hcl.Body) (reconcile.Reads, check, hcl.Diagnostics) {
	var diags hcl.Diagnostics
	if p.Allow == nil && len(p.Deny) == 0 {
		diags = append(diags, mistake(body.MissingItemRange(), "Rule without effect", "The rule needs allow or deny."))
	}
	diags = append(diags, oneOf(body, "unknown", p.Unknown, "deny", "allow")...)
	parse := func(name string, list []string) []spdx.Pattern {
		var out []spdx.Pattern
		for _, s := range list {
			x, err := spdx.ParsePattern(s)
			if err != nil {
				diags = append(diags, mistake(at(body, name), "Invalid licence", "%s.", clean(err.Error(), 300)))
				continue
			}
			out = append(out, x)
		}
		return out
	}
	l := licenseLists{parse("deny", p.Deny), parse("allow", p.Allow), p.Allow != nil, p.Unknown == "allow"}
	return reconcile.ReadsInventory, l.check, diags
}

func (l licenseLists) check(s reconcile.Subject, now time.Time) []reconcile.Finding {
	return once(onEach(s, func(m reconcile.Manifest, _ string) []reconcile.Finding {
		vs := verdicts(s, m.Digest, 0, now)
		packages, ok := inventory(vs)
		if !ok {
			return noInventory(vs, "their licences", platformName(m))
		}
		var out []reconcile.Finding
		for _, p := range packages {
			if f := l.judge(p); f != nil {
				f.Package, f.PURL = p.Name, p.PURL
				out = append(out, *f)
			}
		}
		return out
	}))
}

// judge finds what is wrong with a package's licences. Where scanners state different ones, each must pass.
func (l licenseLists) judge(p listed) *reconcile.Finding {
	stated := p.licenses
	if len(stated) == 0 {
		stated = []string{""}
	}
	for _, text := range stated {
		e, err := spdx.Parse(text)
		switch {
		case err != nil && l.allowUnknown:
		case err != nil:
			return &reconcile.Finding{ID: "unknown-license", Unknown: text == "", Summary: "the licence of " + p.title() + " is not known" + quoted(text),
				Detail: "its licence must be found out and stated, or ask for a waiver"}
		case e.Satisfies(l.passes):
		case !e.Satisfies(func(x spdx.License) bool { return l.passes(x) || l.isUnknown(x) }):
			return &reconcile.Finding{ID: e.String(), Summary: fmt.Sprintf("the licence of %s, %s, is not acceptable", p.title(), clean(e.String(), 200)),
				Detail: "use an image without it, or ask for a waiver; " + l.acceptable()}
		default:
			return &reconcile.Finding{ID: "unknown-license", Summary: fmt.Sprintf("the licence of %s, %s, is not on SPDX's list", p.title(), clean(e.String(), 200)),
				Detail: "name it in allow or deny as a LicenseRef, or ask for a waiver"}
		}
	}
	return nil
}

func quoted(s string) string {
	if s == "" {
		return ""
	}
	return fmt.Sprintf(" (it is stated as %q)", clean(s, 100))
}

// passes tells whether a single licence is acceptable.
func (l licenseLists) passes(x spdx.License) bool {
	switch {
	case named(l.deny, x):
		return false
	case named(l.allow, x):
		return true
	case l.isUnknown(x):
		return l.allowUnknown
	}
	return !l.restricted
}

// isUnknown tells whether a licence is one that neither SPDX nor the rule knows.
func (l licenseLists) isUnknown(x spdx.License) bool {
	return !x.Known && !named(l.deny, x) && !named(l.allow, x)
}

func named(list []spdx.Pattern, x spdx.License) bool {
	return slices.ContainsFunc(list, func(p spdx.Pattern) bool { return p.Matches(x) })
}

func (l licenseLists) acceptable() string {
	list, how := l.deny, "denied are "
	if l.restricted {
		list, how = l.allow, "allowed are "
	}
	var out []string
	for _, p := range list {
		out = append(out, p.String())
	}
	if len(out) == 0 {
		return "none is allowed"
	}
	return how + clean(strings.Join(out, ", "), 300)
}
