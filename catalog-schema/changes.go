package catalog

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/assay-oci/assay/reconcile"
)

// A part is something that judges images or says where they go: a pull request's change of it is a finding.
type part struct {
	title       string
	scope       string
	fingerprint string
	origin      reconcile.Origin
	block       *hclsyntax.Block
	file        *hcl.File
}

// changes compares base and head, but for images and revocations.
func (l *loader) changes() {
	was, is := l.parts(l.base), l.parts(l.head)
	for _, key := range slices.Sorted(maps.Keys(was)) {
		if now, ok := is[key]; !ok {
			l.change(was[key], "is removed", withoutIt[was[key].block.Type], "It binds until this is merged; the line is that of the commit before.")
		} else if now.fingerprint != was[key].fingerprint {
			said, e := alterations(was[key], now)
			how := ": " + strings.Join(said, "; ")
			if said == nil {
				how = " in what its files hold"
			}
			l.change(now, "is changed"+how, e, "Until this is merged, images are judged by both, and where they go is what was merged before.")
		}
	}
	for _, key := range slices.Sorted(maps.Keys(is)) {
		if _, ok := was[key]; !ok {
			l.change(is[key], "is added", withIt[is[key].block.Type], "It has no effect before it is merged, except that rules that are added judge the images of this pull request.")
		}
	}
	l.ownersChange()
	for _, x := range l.head.images {
		old := l.before[x.label]
		if old == nil || old.folder == x.folder {
			continue
		}
		from, to := l.base.scopeOf(old.folder), l.now.scopeOf(x.folder)
		if from != to {
			l.desired.Changes = append(l.desired.Changes, reconcile.Finding{Rule: "policy-change", Scope: to, Image: x.label, Origin: origin(x.def()),
				Summary: fmt.Sprintf("the image %q moves from %s to %s", x.label, l.scopeTitle(from), l.scopeTitle(to)),
				Detail:  "It is judged by the rules of both."})
		}
	}
}

// withIt is what a block that is added does to how images are judged, by its type; withoutIt what its removal does.
var (
	withIt    = map[string]effect{"rule": tightened, "gate": tightened, "waiver": loosened, "vex": loosened}
	withoutIt = map[string]effect{"rule": loosened, "gate": loosened, "waiver": tightened, "vex": tightened}
)

func (l *loader) change(p part, what string, e effect, detail string) {
	l.desired.Changes = append(l.desired.Changes, reconcile.Finding{Rule: "policy-change", ID: string(e), Scope: p.scope, Origin: p.origin,
		Summary: p.title + " " + what, Detail: detail})
}

func (l *loader) scopeTitle(folder string) string {
	if s := l.now.scopes[folder]; s != nil {
		return fmt.Sprintf("the scope %q", s.label)
	}
	return fmt.Sprintf("the folder %q", folder)
}

func (l *loader) parts(t *tree) map[string]part {
	out := map[string]part{}
	add := func(n *node, key, title string) {
		for i := 0; ; i++ { // a rule may stand twice in a policy
			k := fmt.Sprintf("%s\x00%s\x00%d", n.block.Type, key, i)
			if _, ok := out[k]; !ok {
				out[k] = part{title: title, scope: l.now.scopeOf(n.folder), fingerprint: t.fingerprint(n), origin: origin(n.def()), block: n.block, file: t.files[n.def().Filename]}
				return
			}
		}
	}
	says := func(kind, key, content string) { // what a file says counts, not only which it is
		key = kind + "\x00" + key + "\x000"
		if p, ok := out[key]; ok && content != "" {
			p.fingerprint += "\x00" + content
			out[key] = p
		}
	}
	for _, x := range t.scopes {
		add(&x.node, x.folder, fmt.Sprintf("the scope %q", x.label))
	}
	for _, x := range t.registries {
		add(&x.node, x.label, fmt.Sprintf("the registry %q", x.label))
	}
	for _, x := range t.scanners {
		add(&x.node, x.label, fmt.Sprintf("the scanner %q", x.label))
	}
	for _, x := range t.signers {
		add(&x.node, x.label, fmt.Sprintf("the signer %q", x.label))
		says("signer", x.label, x.trust())
	}
	for _, x := range t.sigstores {
		add(&x.node, x.label, fmt.Sprintf("the Sigstore instance %q", x.label))
		says("sigstore", x.label, x.trusted)
	}
	for _, x := range t.rescans {
		add(&x.node, "", "the rescan block")
	}
	for _, x := range t.gates {
		add(&x.node, "", "the gate block")
	}
	for _, x := range t.prunes {
		add(&x.node, "", "the prune block")
	}
	for _, p := range t.policies {
		for _, r := range p.Rules {
			add(&r.node, p.folder+"\x00"+p.label+"\x00"+r.label, fmt.Sprintf("the rule %q of the policy %q", r.label, p.label))
		}
	}
	for _, x := range t.waivers {
		key := fmt.Sprintf("%s\x00%s\x00%s\x00%s\x00%s\x00%s", x.folder, x.label, x.Rule, x.Image, x.Digest, x.Package)
		add(&x.node, key, fmt.Sprintf("the waiver %q from the rule %q", x.label, x.Rule))
	}
	for _, x := range t.vex {
		key := x.folder + "\x00" + x.label
		add(&x.node, key, fmt.Sprintf("the OpenVEX document %q", x.label))
		says("vex", key, x.content)
	}
	return out
}
