package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"time"

	catalog "github.com/assay-oci/assay/catalog-schema"
	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/bom"
	"github.com/assay-oci/assay/reconcile/openvex"
	"github.com/assay-oci/assay/reconcile/policy"
	"github.com/assay-oci/assay/reconcile/registry"
	"github.com/assay-oci/assay/reconcile/scan/stage"
	"github.com/assay-oci/assay/reconcile/sign"
	"github.com/assay-oci/assay/reconcile/source"
)

// The wire files alone name the concrete adapters: this one the registry, the stage and the catalog's repository. A scanner, a forge or another adapter gets its line
// in one of them.

// ruleDecoders are the policy rules that a catalog may use.
func ruleDecoders() catalog.Rules { return policy.Rules() }

// readVEX reads the OpenVEX documents that a catalog names.
func readVEX(document []byte) (string, []reconcile.Waiver, error) {
	d, err := openvex.Parse(document)
	return d.Author, d.Waivers(), err
}

// openSource opens the catalog's repository. Clones of URLs are kept in the cache folder; without one they are made in memory.
func openSource(ctx context.Context, o catalogOptions, cache string) (*source.Source, error) {
	options := source.Options{Ref: o.ref, Commit: o.commit, Dirty: o.workingTree, Path: o.path}
	if cache != "" {
		options.CacheDir = filepath.Join(cache, "git")
	}
	return source.Open(ctx, o.location, options)
}

// assembly is one run's catalog and the adapters that it needs. Its sensors can't write; effects are made by reconcile alone.
type assembly struct {
	options  runOptions
	cache    string
	source   *source.Source
	base     string          // the ref or commit whose policy judges; empty where the catalog is judged by its own
	reviewed func() []string // the hosts that what is merged names; nil without a catalog
	desired  reconcile.Desired
	proposed []string          // the catalog's files that a pull request changes; nil if it changes more than images
	rules    []reconcile.Bound // that judge the image of a scan
	reader   *registry.Reader
	stage    *stage.Stage // nil if nothing is staged
	keys     map[string]sign.PublicKey
	sigstore map[string]*sign.Instance // of the keyless signers, by their names
	progress *progress
	io       stdio
}

// openRun reads the catalog. With a base, the policy is that of the base, as on a pull request.
func openRun(ctx context.Context, io stdio, o runOptions, base string) (*assembly, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	cache, err := o.folder()
	if err != nil {
		return nil, err
	}
	src, err := openSource(ctx, o.catalogOptions, cache)
	if err != nil {
		return nil, err
	}
	options := catalog.Options{Now: time.Now(), Commit: src.Commit(), Rules: ruleDecoders(), VEX: readVEX, Key: checkKey}
	load := func() (reconcile.Desired, *catalog.Diagnostics) { return catalog.LoadCommit(src.FS(), options) }
	merged, from := src.FS(), ""
	if base != "" {
		at, commit, err := src.At(ctx, base)
		if err != nil {
			return nil, err
		}
		load = func() (reconcile.Desired, *catalog.Diagnostics) { return catalog.Load(at, src.FS(), options) }
		merged, from = at, commit
	}
	desired, diags := load()
	if o.since != "" {
		at, commit, err := src.At(ctx, o.since)
		if err != nil {
			return nil, err
		}
		before, _ := catalog.LoadCommit(at, options)
		changes := desired.Changes
		if commit != from { // else it is compared with that already
			judged, _ := catalog.Load(at, src.FS(), options)
			changes = judged.Changes
		}
		desired = reconcile.Changed(before, desired, changes)
	}
	if err := diags.Print(io.err, 0, coloured(io.err)); err != nil {
		return nil, fmt.Errorf("print mistakes: %w", err)
	}
	desired.Catalog = catalogName(o.location)
	desired.Broken, desired.Warnings = mistakes(desired.Broken, diags.Findings())
	var proposed []string
	if base != "" && len(desired.Changes)+len(desired.Broken) == 0 {
		if proposed, err = changedFiles(merged, src.FS()); err != nil {
			return nil, fmt.Errorf("compare the catalog with %s: %w", base, err)
		}
	}
	return &assembly{options: o, cache: cache, source: src, base: base, reviewed: func() []string { return namedHosts(merged) }, desired: desired, proposed: proposed, progress: newProgress(io.err), io: io}, nil
}

// catalogName is how records name the catalog: its URL, without what may be secret in it. A folder on this machine has no name elsewhere.
func catalogName(location string) string {
	u, err := url.Parse(location)
	if err != nil || u.Host == "" {
		return ""
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// sensors builds what observes. Nothing of it can write to a registry.
func (a *assembly) sensors(ctx context.Context) (reconcile.Sensors, reconcile.Observed, error) {
	observed := reconcile.Observed{Unable: unable(a.cache, time.Now())}
	blobs := &blobSource{}
	o := a.registries()
	o.Blobs, o.Progress = blobs, func(e registry.Event) {
		a.progress.moved(reconcile.Image{Repo: e.To, Digest: e.Digest}, e.Done, e.Total)
	}
	a.reader = registry.NewReader(o)
	blobs.Blobs = a.reader
	s := reconcile.Sensors{Holdings: a.reader, Content: a.reader, History: a, Witness: sign.NewWitness(a.reader, a.roots()), Beside: a.reader, Asking: a.progress.asking}
	if len(a.desired.Scanners) > 0 || len(a.desired.Registries) > 1 {
		st, err := stage.New(stage.Options{Dir: filepath.Join(a.cache, "stage"), Budget: int64(a.options.stage)}, stageSource{a.reader})
		if err != nil {
			return s, observed, fmt.Errorf("%w (--cache names the folder)", err)
		}
		a.stage, blobs.Blobs, s.Stage = st, st, st
		observed.Budget = st.Budget()
	}
	var err error
	if s.Scanners, err = a.scanners(); err != nil {
		return s, observed, err
	}
	observed.Bill = func(in reconcile.Inventory, i reconcile.Image, made time.Time) (string, error) {
		b, err := bom.CycloneDX(in, bom.Subject{Name: i.Repo.String(), Digest: i.Digest, Created: made})
		return string(b), err
	}
	observed.Rescans = map[string]bool{}
	for name, sc := range s.Scanners {
		_, observed.Rescans[name] = sc.(reconcile.Rescanner)
	}
	if g := a.desired.Gate; g.Mode != "" && g.Mode != reconcile.GateOff {
		s.Reviews, observed.Forge = a.reviewer(ctx, g), true
	}
	s.Records, err = a.verifier(ctx)
	return s, observed, err
}

// effects builds what writes.
func (a *assembly) effects(ctx context.Context) (reconcile.Effects, error) {
	w := registry.NewWriter(a.reader)
	e := reconcile.Effects{Catalog: a.source, Copier: w, Tagger: w, Deleter: w, Placer: w, Carrier: w, Signers: map[string]reconcile.Signer{}, Done: a.progress.acted}
	for _, spec := range a.desired.Signers {
		if spec.Retired {
			continue
		}
		if i := a.sigstore[spec.Name]; i != nil {
			s, err := sign.NewKeyless(sign.KeylessOptions{Name: spec.Name, Trust: spec.Keyless.Trust(), Audience: spec.Keyless.Audience, Instance: i, Waiting: a.waiting})
			if err != nil {
				return e, err
			}
			e.Signers[spec.Name] = s
			continue
		}
		s, err := sign.New(ctx, sign.Options{Name: spec.Name, Key: spec.Key, Password: a.password})
		if err != nil {
			return e, err
		}
		if known, ok := a.keys[spec.Name]; ok && string(known.PEM()) != string(s.PublicKey().PEM()) {
			return e, fmt.Errorf("signer %q: the private key %s does not belong to its public key; nothing that it signs would count", spec.Name, spec.Key)
		}
		e.Signers[spec.Name] = s
	}
	return e, nil
}

// History implements reconcile.Historian on the catalog's repository.
func (a *assembly) History(ctx context.Context, since time.Time) (reconcile.History, error) {
	states := func(yield func(catalog.State, error) bool) {
		var until time.Time
		for r, err := range a.source.Log(ctx, since) {
			if !yield(catalog.State{Until: until, Files: r.FS}, err) {
				return
			}
			until = r.Time
		}
	}
	return catalog.History(states, since, catalog.Options{})
}

// remember keeps for the next run what this one found out about registries. It only makes that one's plan say it earlier.
func (a *assembly) remember(r reconcile.Report) {
	if err := rememberUnable(a.cache, r, time.Now()); err != nil {
		fmt.Fprintf(a.io.err, "assay: what was learnt about registries could not be kept: %v\n", err)
	}
}

func (a *assembly) close() {
	a.progress.end()
	if a.stage != nil {
		if err := a.stage.Close(); err != nil {
			fmt.Fprintf(a.io.err, "assay: the stage was not tidied: %v\n", err)
		}
	}
}

// blobSource lets the registry read blobs through the stage, which itself reads from the registry.
type blobSource struct{ registry.Blobs }

// stageSource gives the stage what it reads from registries.
type stageSource struct{ *registry.Reader }

func (s stageSource) Blob(ctx context.Context, from reconcile.Repo, b reconcile.Blob) (io.ReadCloser, error) {
	return s.Reader.Open(ctx, from, b)
}
