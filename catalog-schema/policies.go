package catalog

import (
	"fmt"
	"io/fs"

	"github.com/assay-oci/assay/reconcile"
)

// Policies are the rules and exceptions of a catalog, by place, whatever images it has.
type Policies struct {
	l       *loader
	desired reconcile.Desired
}

// LoadPolicies reads the catalog of one commit, for its policies.
func LoadPolicies(fsys fs.FS, opts Options) (*Policies, *Diagnostics) {
	t := parse(fsys, "", opts.Limits)
	l := newLoader(t, t, opts)
	d, diags := l.load()
	return &Policies{l, d}, diags
}

// Rules returns the rules that bind the images of a folder, and the folder of the scope that it belongs to. It is an error if they can't be known.
func (p *Policies) Rules(folder string) (rules []reconcile.Bound, scope string, err error) {
	if d := p.l.broken(folder); d != nil {
		return nil, "", fmt.Errorf("the policies of the folder %q can't be judged by: %s (line %d of %s)", folder, d.Summary, d.Subject.Start.Line, d.Subject.Filename)
	}
	return p.l.rulesOf(folder), p.l.now.scopeOf(folder), nil
}

// Waivers returns the catalog's exceptions, those of its OpenVEX documents included.
func (p *Policies) Waivers() []reconcile.Waiver { return p.desired.Waivers }

// Scanners returns the scanners that the catalog declares.
func (p *Policies) Scanners() []reconcile.ScannerSpec { return p.desired.Scanners }
