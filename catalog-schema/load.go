package catalog

import (
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/assay-oci/assay/reconcile"
)

// Options are what Load needs beyond the files.
type Options struct {
	Now    time.Time // expired waivers and reviews that are due are warned of; zero warns of none
	Commit string    // of head; it becomes Desired.Commit
	Rules  Rules     // nil: rules are neither decoded nor checked
	VEX    ReadVEX   // nil: OpenVEX documents are not read, and excuse nothing
	Key    CheckKey  // nil: references to keys are not checked
	Limits Limits
}

// Rules decode the bodies of rule blocks, by the rules' names. Where a rule stands in the catalog is filled in for them.
type Rules map[string]func(hcl.Body) (reconcile.Bound, hcl.Diagnostics)

// ReadVEX reads an OpenVEX document, which is hostile, and gives its author and what it excuses. The waivers' rule, scope, origin and expiry are
// filled in for it.
type ReadVEX func(document []byte) (author string, waivers []reconcile.Waiver, err error)

// CheckKey tells what is wrong with a reference to a private key, without reading it.
type CheckKey func(ref string) error

// LoadCommit reads the catalog of one commit.
func LoadCommit(fsys fs.FS, opts Options) (reconcile.Desired, *Diagnostics) {
	t := parse(fsys, "", opts.Limits)
	return resolve(t, t, opts)
}

// Load reads what a pull request asks for: image, version and revoke blocks of head, judged by everything else of base. What head
// changes of the rest is in Desired.Changes, and the images are judged by both. A nil base means that head is merged: LoadCommit.
//
// It always returns a Desired with what is sound. The rest is in Desired.Broken, and in the diagnostics.
func Load(base, head fs.FS, opts Options) (reconcile.Desired, *Diagnostics) {
	if base == nil {
		return LoadCommit(head, opts)
	}
	return resolve(parse(base, basePrefix, opts.Limits), parse(head, "", opts.Limits), opts)
}

// A loader builds a Desired from the parsed catalogs of base and head, which are one where a merged commit is loaded.
type loader struct {
	opts       Options
	base, head *tree
	now        *tree // base's scopes and those that head adds, with head's images: where images are and where they go
	registries map[string]reconcile.Registry
	bound      map[string][]reconcile.Bound // the rules that bind a folder
	before     map[string]*imageBlock       // base's images, by label; empty where base is head
	labels     map[string]*imageBlock       // head's
	desired    reconcile.Desired
	diags      hcl.Diagnostics
}

func resolve(base, head *tree, opts Options) (reconcile.Desired, *Diagnostics) {
	return newLoader(base, head, opts).load()
}

func newLoader(base, head *tree, opts Options) *loader {
	l := &loader{opts: opts, base: base, head: head, bound: map[string][]reconcile.Bound{}, before: map[string]*imageBlock{}, labels: map[string]*imageBlock{}}
	l.desired.Commit = opts.Commit
	return l
}

func (l *loader) load() (reconcile.Desired, *Diagnostics) {
	base, head, opts := l.base, l.head, l.opts
	for _, t := range l.trees() {
		t.check()
		t.checkKeys(opts.Key)
		t.decodeRules(opts.Rules)
		t.readVEX(opts.VEX)
		t.readTrust()
	}
	l.now = merged(base, head)
	for _, x := range head.images {
		l.labels[x.label] = x
	}
	l.organization()
	l.waivers()
	l.vexWaivers()
	if base != head {
		for _, x := range base.images {
			l.before[x.label] = x
		}
		l.changes()
	}
	l.images()
	l.revocations()
	l.impliedScanner()
	return l.finish()
}

func (l *loader) trees() []*tree {
	if l.base == l.head {
		return []*tree{l.base}
	}
	return []*tree{l.base, l.head}
}

// merged is base with the images and revocations of head, and with the scopes that head alone has.
func merged(base, head *tree) *tree {
	if base == head {
		return base
	}
	t := *base
	t.scopes = maps.Clone(head.scopes)
	maps.Copy(t.scopes, base.scopes)
	t.images, t.revokes, t.prefix, t.own = head.images, head.revokes, head.prefix, nil
	return &t
}

// finish reports what is broken, and collects the diagnostics.
func (l *loader) finish() (reconcile.Desired, *Diagnostics) {
	files := map[string]*hcl.File{}
	for _, t := range l.trees() {
		maps.Copy(files, t.files)
		for _, d := range t.diags {
			// what base was warned of was reported when it was merged
			if t == l.head || d.Severity == hcl.DiagError {
				l.diags = append(l.diags, d)
			}
		}
		for _, folder := range slices.Sorted(maps.Keys(t.causes)) {
			l.desired.Broken = append(l.desired.Broken, brokenBecause(t.causes[folder]))
		}
	}
	l.diags = append(l.diags, l.head.own...)
	if l.now != l.head {
		l.diags = append(l.diags, l.now.own...)
	}
	l.desired.Broken = unique(l.desired.Broken)
	return l.desired, &Diagnostics{Diagnostics: tidy(l.diags), Files: files}
}

func unique(fs []reconcile.Finding) []reconcile.Finding {
	seen := map[reconcile.Finding]bool{}
	return slices.DeleteFunc(fs, func(f reconcile.Finding) bool {
		had := seen[f]
		seen[f] = true
		return had
	})
}

// broken returns why nothing can be said about the images of a folder, or nil.
func (l *loader) broken(folder string) *hcl.Diagnostic {
	if d := l.head.broken(folder); d != nil {
		return d
	}
	return l.base.broken(folder)
}

// organization takes over what stands in the organization's scope: all of it from base.
func (l *loader) organization() {
	l.registries = map[string]reconcile.Registry{}
	d := &l.desired
	for _, x := range l.base.registries {
		if x.bad() || l.registries[x.label].Name != "" {
			continue
		}
		r := reconcile.Registry{Name: x.label, Prefix: x.Address, Identity: x.Identity,
			After: reconcile.After{Registry: x.After.Registry, Soak: x.After.Soak}}
		if r.Identity == (reconcile.Prefix{}) {
			r.Identity = r.Prefix
		}
		l.registries[x.label] = r
		d.Registries = append(d.Registries, r)
	}
	for _, x := range l.base.scanners {
		if !x.bad() {
			d.Scanners = append(d.Scanners, reconcile.ScannerSpec{Name: x.label, Command: x.Command, Program: x.Program, Version: x.Version, Checksum: x.Checksum,
				Database: x.Database, MaxAge: x.MaxAge, Timeout: x.Timeout, Memory: int64(x.Memory), Confined: x.Confined, Origin: origin(x.def())})
		}
	}
	for _, x := range l.base.signers {
		if !x.bad() {
			d.Signers = append(d.Signers, x.spec())
		}
	}
	for _, x := range l.base.sigstores {
		if !x.bad() {
			if d.Instances == nil {
				d.Instances = map[string]string{}
			}
			d.Instances[x.label] = x.trusted
		}
	}
	for _, x := range l.base.rescans {
		if !x.bad() {
			d.Rescan = reconcile.Rescan{Interval: x.Interval, Expires: x.Expires}
		}
	}
	for _, x := range l.base.gates {
		if !x.bad() {
			d.Gate = reconcile.Gate{Mode: reconcile.GateMode(x.Mode), Baseline: string(x.Baseline), Repository: string(x.Repository)}
		}
	}
	for _, s := range l.now.scopes {
		d.UpstreamRecords = d.UpstreamRecords || s.Upstream
	}
	d.Prune = reconcile.Prune{Limit: defaultLimit, Grace: defaultGrace}
	for _, x := range l.base.prunes {
		if !x.bad() {
			d.Prune = reconcile.Prune{Absent: true, Limit: x.Limit, Grace: x.Grace}
		}
	}
}

// builtin is the scanner that needs no declaration.
const builtin = "builtin"

// impliedScanner adds the built-in scanner where a rule needs scans and the catalog declares no scanner.
func (l *loader) impliedScanner() {
	if len(l.desired.Scanners) > 0 {
		return
	}
	for _, w := range l.desired.Wants {
		for _, r := range w.Rules {
			if r.Reads() >= reconcile.ReadsScans {
				l.desired.Scanners = []reconcile.ScannerSpec{{Name: builtin, Origin: r.Origin}}
				return
			}
		}
	}
}
