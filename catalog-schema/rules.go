package catalog

import (
	"io/fs"
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2"

	"github.com/assay-oci/assay/reconcile"
)

// decodeRules hands each rule's body to its decoder. A mistake in one leaves the images below its folder without a judge.
func (t *tree) decodeRules(decoders Rules) {
	if decoders == nil {
		return
	}
	known := slices.Sorted(maps.Keys(decoders))
	for _, p := range t.policies {
		for _, r := range p.Rules {
			if r.bad() {
				continue
			}
			decode, ok := decoders[r.label]
			if !ok {
				t.unsound(p.folder, mistake(r.labelRange(), "Unknown rule", "There is no rule %q.%s", clip(r.label), nearest(r.label, known)))
				continue
			}
			rule, diags := decode(r.block.Body)
			t.note(p.folder, diags)
			if !diags.HasErrors() {
				r.rule = rule
				t.checkInstances(p.folder, r)
			}
		}
	}
	for _, w := range t.waivers {
		if _, ok := decoders[w.Rule]; !ok && !w.bad() {
			t.unsound(w.folder, mistake(w.attr("rule"), "Unknown rule", "There is no rule %q.%s", clip(w.Rule), nearest(w.Rule, known)))
		}
	}
}

// checkInstances sees that the Sigstore instances which a rule names are there.
func (t *tree) checkInstances(folder string, r *ruleBlock) {
	var known []string
	for _, x := range t.sigstores {
		known = append(known, x.label)
	}
	for _, trust := range r.rule.Trusts {
		if trust.Instance != "" && !slices.Contains(known, trust.Instance) {
			t.unsound(folder, mistake(r.def(), "Unknown Sigstore instance", "The catalog has no block sigstore %q.%s", clip(trust.Instance), nearest(trust.Instance, known)))
		}
	}
}

// rulesOf returns the rules that bind a folder: base's, and head's where they differ. The result is shared; don't append to it.
func (l *loader) rulesOf(folder string) []reconcile.Bound {
	if out, ok := l.bound[folder]; ok {
		return out
	}
	seen := map[string]bool{}
	var out []reconcile.Bound
	for _, t := range l.trees() {
		for _, p := range t.policies {
			if !encloses(p.folder, folder) {
				continue
			}
			for _, r := range p.Rules {
				if r.rule.Rule == nil {
					continue
				}
				if l.base != l.head {
					key := p.folder + "\x00" + p.label + "\x00" + t.fingerprint(&r.node)
					if t == l.head && seen[key] {
						continue
					}
					seen[key] = true
				}
				bound := r.rule
				bound.Scope, bound.Policy, bound.Origin = l.scopeOfRule(t, p.folder), p.label, origin(r.def())
				out = append(out, bound)
			}
		}
	}
	l.bound[folder] = slices.Clip(out)
	return l.bound[folder]
}

func (l *loader) scopeOfRule(t *tree, folder string) string {
	if t == l.base {
		return t.scopeOf(folder)
	}
	return l.now.scopeOf(folder)
}

func (t *tree) fingerprint(n *node) string {
	f := t.files[n.def().Filename]
	return fingerprint(f, hcl.RangeBetween(n.block.TypeRange, n.block.CloseBraceRange))
}

// judges returns the rules for an image: those of its place, and those of the place that it comes from if the pull request moves it.
func (l *loader) judges(x *imageBlock) []reconcile.Bound {
	rules := l.rulesOf(x.folder)
	was := l.before[x.label]
	if was == nil || was.folder == x.folder {
		return rules
	}
	out := slices.Clone(rules)
	for _, r := range l.rulesOf(was.folder) {
		if !slices.ContainsFunc(out, func(o reconcile.Bound) bool { return o.Origin == r.Origin && o.Scope == r.Scope }) {
			out = append(out, r)
		}
	}
	return out
}

// LoadScope reads the catalog of one commit, and beside it the rules that bind the images of a folder, which needn't hold any. A folder that no scope block
// names belongs to the scope around it.
func LoadScope(fsys fs.FS, folder string, opts Options) (reconcile.Desired, []reconcile.Bound, *Diagnostics) {
	p, diags := LoadPolicies(fsys, opts)
	return p.desired, p.l.rulesOf(folder), diags
}
