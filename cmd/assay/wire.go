package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	catalog "github.com/assay-oci/assay/catalog-schema"
	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/bom"
	"github.com/assay-oci/assay/reconcile/forge/github"
	"github.com/assay-oci/assay/reconcile/openvex"
	"github.com/assay-oci/assay/reconcile/policy"
	"github.com/assay-oci/assay/reconcile/registry"
	"github.com/assay-oci/assay/reconcile/scan/builtin"
	"github.com/assay-oci/assay/reconcile/scan/command"
	"github.com/assay-oci/assay/reconcile/scan/external"
	"github.com/assay-oci/assay/reconcile/scan/feeds"
	"github.com/assay-oci/assay/reconcile/scan/grype"
	"github.com/assay-oci/assay/reconcile/scan/osvscanner"
	"github.com/assay-oci/assay/reconcile/scan/program"
	"github.com/assay-oci/assay/reconcile/scan/stage"
	"github.com/assay-oci/assay/reconcile/scan/trivy"
	"github.com/assay-oci/assay/reconcile/sign"
	"github.com/assay-oci/assay/reconcile/source"
)

// This file alone names the concrete adapters. A scanner, a forge or another adapter gets its line here.

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
	base     string // the ref or commit whose policy judges; empty where the catalog is judged by its own
	desired  reconcile.Desired
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
	options := catalog.Options{Now: time.Now(), Commit: src.Commit(), Rules: ruleDecoders(), VEX: readVEX}
	load := func() (reconcile.Desired, *catalog.Diagnostics) { return catalog.LoadCommit(src.FS(), options) }
	if base != "" {
		at, _, err := src.At(ctx, base)
		if err != nil {
			return nil, err
		}
		load = func() (reconcile.Desired, *catalog.Diagnostics) { return catalog.Load(at, src.FS(), options) }
	}
	desired, diags := load()
	if o.since != "" {
		at, _, err := src.At(ctx, o.since)
		if err != nil {
			return nil, err
		}
		before, _ := catalog.LoadCommit(at, options)
		judged, _ := catalog.Load(at, src.FS(), options)
		desired = reconcile.Changed(before, desired, judged.Changes)
	}
	if err := diags.Print(io.err, 0, coloured(io.err)); err != nil {
		return nil, fmt.Errorf("print mistakes: %w", err)
	}
	desired.Catalog = catalogName(o.location)
	return &assembly{options: o, cache: cache, source: src, base: base, desired: desired, progress: newProgress(io.err), io: io}, nil
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
	a.reader = registry.NewReader(registry.Options{
		CacheDir: filepath.Join(a.cache, "content"), Insecure: a.options.insecure, Blobs: blobs, Progress: func(e registry.Event) {
			a.progress.moved(reconcile.Image{Repo: e.To, Digest: e.Digest}, e.Done, e.Total)
		},
	})
	blobs.Blobs = a.reader
	s := reconcile.Sensors{Holdings: a.reader, Content: a.reader, History: a, Witness: sign.NewWitness(a.reader, a.publicRoots()), Asking: a.progress.asking}
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

// anyAge is more than any database has.
const anyAge = 100 * 365 * 24 * time.Hour

// openScan reads the catalog that an image is to be judged by; without one, there is the built-in scanner and no policy.
func openScan(ctx context.Context, io stdio, o scanOptions) (*assembly, error) {
	cache, err := o.folder()
	if err != nil {
		return nil, err
	}
	a := &assembly{options: o.runOptions, cache: cache, progress: newProgress(io.err), io: io}
	a.desired.Scanners = []reconcile.ScannerSpec{{Name: "builtin", MaxAge: anyAge}} // the answer says how old it is
	if !o.policy {
		return a, nil
	}
	if a.source, err = openSource(ctx, o.catalogOptions, cache); err != nil {
		return nil, err
	}
	desired, rules, diags := catalog.LoadScope(a.source.FS(), o.scope, catalog.Options{Now: time.Now(), Commit: a.source.Commit(), Rules: ruleDecoders(), VEX: readVEX})
	if err := diags.Print(io.err, 0, coloured(io.err)); err != nil {
		return nil, fmt.Errorf("print mistakes: %w", err)
	}
	if diags.HasErrors() {
		return nil, errors.New("the catalog has mistakes, so its policy can't judge")
	}
	if len(desired.Scanners) == 0 {
		desired.Scanners = a.desired.Scanners
	}
	a.desired, a.rules = desired, rules
	return a, nil
}

// examiner builds what stages and scans one image, which lies in a registry or in a layout.
func (a *assembly) examiner(ctx context.Context, name string) (reconcile.Image, reconcile.Sensors, error) {
	var s reconcile.Sensors
	image, err := a.locate(ctx, name)
	if err != nil {
		return image, s, err
	}
	if a.stage, err = stage.New(stage.Options{Dir: filepath.Join(a.cache, "stage"), Budget: int64(a.options.stage)}, stageSource{a.reader}); err != nil {
		return image, s, fmt.Errorf("%w (--cache names the folder)", err)
	}
	s = reconcile.Sensors{Content: a.reader, Stage: a.stage, Asking: a.progress.asking}
	s.Scanners, err = a.scanners()
	return image, s, err
}

// locate opens what holds an image: a layout's folder, with "@" and a digest where it holds several, or a registry.
func (a *assembly) locate(ctx context.Context, name string) (image reconcile.Image, err error) {
	o := registry.Options{CacheDir: filepath.Join(a.cache, "content"), Insecure: a.options.insecure}
	dir, digest, _ := strings.Cut(name, "@")
	if !isLayout(dir) {
		a.reader = registry.NewReader(o)
		return resolve(ctx, a.reader, name)
	}
	var d reconcile.Digest
	if digest != "" {
		if d, err = reconcile.ParseDigest(digest); err != nil {
			return image, err
		}
	}
	a.reader, image, err = registry.OpenLayout(dir, d, o)
	return image, err
}

// readers builds what reads registries and verifies records, and neither stages nor scans.
func (a *assembly) readers(ctx context.Context) (reconcile.Sensors, error) {
	a.reader = registry.NewReader(registry.Options{CacheDir: filepath.Join(a.cache, "content"), Insecure: a.options.insecure})
	v, err := a.verifier(ctx)
	return reconcile.Sensors{Holdings: a.reader, Content: a.reader, Records: v, Asking: a.progress.asking}, err
}

// verifying is what reads and verifies the chain of an image.
type verifying struct {
	reader  *registry.Reader
	records reconcile.Verifier
	desired reconcile.Desired // of the catalog, if that was given
	by      string            // whose records count, for people
}

// openVerify takes whose records count from a key, an identity or a catalog.
func openVerify(ctx context.Context, io stdio, o verifyOptions) (verifying, error) {
	reader := registry.NewReader(registry.Options{Insecure: o.insecure})
	switch {
	case o.key != "":
		key, err := sign.ReadPublicKey(o.key)
		return verifying{reader: reader, records: sign.NewVerifier(map[string]sign.PublicKey{"key": key}, reader), by: "the holder of " + o.key}, err
	case o.trust != (reconcile.Trust{}):
		certificates, err := openCertificates(ctx, o)
		who := sign.Identity{Name: "identity", Trust: o.trust, Certificates: certificates}
		return verifying{reader: reader, records: sign.NewVerifier(nil, reader, who), by: o.trust.Subject}, err
	}
	a, err := openRun(ctx, io, runOptions{catalogOptions: o.catalogOptions, output: o.output, cache: o.cache, insecure: o.insecure}, "")
	if err != nil {
		return verifying{}, err
	}
	defer a.close()
	if len(a.desired.Signers) == 0 {
		return verifying{}, errors.New("the catalog declares no signer, so nothing that lies beside its images can be verified")
	}
	s, err := a.readers(ctx)
	return verifying{reader: a.reader, records: s.Records, desired: a.desired, by: "the catalog's signers"}, err
}

// openCertificates trusts the Sigstore instance whose trusted root is given, or the public one.
func openCertificates(ctx context.Context, o verifyOptions) (*sign.Certificates, error) {
	if o.trustedRoot == "" {
		cache, err := (&runOptions{cache: o.cache}).folder()
		if err != nil {
			return nil, err
		}
		return sign.PublicCertificates(ctx, filepath.Join(cache, "sigstore"))
	}
	b, err := readTrustedRoot(o.trustedRoot)
	if err != nil {
		return nil, fmt.Errorf("read trusted root: %w", err)
	}
	c, err := sign.ParseTrustedRoot(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.trustedRoot, err)
	}
	return c, nil
}

// publicRoots trusts the public Sigstore instance for what identities signed upstream. Its files are read when somebody is first asked for.
func (a *assembly) publicRoots() sign.Roots {
	var mu sync.Mutex
	var had *sign.Certificates
	return func(ctx context.Context) (*sign.Certificates, error) {
		mu.Lock()
		defer mu.Unlock()
		if had != nil {
			return had, nil
		}
		c, err := sign.PublicCertificates(ctx, filepath.Join(a.cache, "sigstore"))
		if err == nil {
			had = c
		}
		return c, err
	}
}

// effects builds what writes.
func (a *assembly) effects(ctx context.Context) (reconcile.Effects, error) {
	w := registry.NewWriter(a.reader)
	e := reconcile.Effects{Catalog: a.source, Copier: w, Tagger: w, Deleter: w, Placer: w, Signers: map[string]reconcile.Signer{}, Done: a.progress.acted}
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

// scanners builds those of the catalog, and says what the system can't take away from other people's programs.
func (a *assembly) scanners() (map[string]reconcile.Scanner, error) {
	out := map[string]reconcile.Scanner{}
	programs := false
	for _, spec := range a.desired.Scanners {
		s, err := a.scanner(spec)
		if err != nil {
			return nil, err
		}
		out[spec.Name], programs = feeds.Annotate(s, advisoryFolder(a.cache)), programs || spec.Name != "builtin"
	}
	if lack := program.Missing(); programs && lack != "" {
		fmt.Fprintf(a.io.err, "assay: this system doesn't give scanners %s; confined = true in the catalog makes that no verdict\n", lack)
	}
	return out, nil
}

func (a *assembly) scanner(spec reconcile.ScannerSpec) (reconcile.Scanner, error) {
	if len(spec.Command) > 0 {
		return command.New(command.Options{Name: spec.Name, Command: spec.Command, Version: spec.Version, Checksum: spec.Checksum, Database: spec.Database, MaxAge: spec.MaxAge,
			Timeout: spec.Timeout, Memory: spec.Memory, Required: spec.Confined})
	}
	o := external.Options{Name: spec.Name, Program: spec.Program, Version: spec.Version, Checksum: spec.Checksum, Database: spec.Database, MaxAge: spec.MaxAge,
		Timeout: spec.Timeout, Memory: spec.Memory, Required: spec.Confined}
	switch spec.Name {
	case "builtin":
		return builtin.New(builtin.Options{Dir: advisoryFolder(a.cache), MaxAge: cmp.Or(spec.MaxAge, builtin.DefaultMaxAge), Hint: "run `assay db update`"}), nil
	case "trivy":
		return trivy.New(o)
	case "grype":
		return grype.New(o)
	case "osv-scanner":
		return osvscanner.New(o)
	}
	return nil, fmt.Errorf("scanner %q has no command, and is not one that this version knows; write command = [\"program\", \"{layout}\"]", spec.Name)
}

func advisoryFolder(cache string) string { return filepath.Join(cache, "advisories") }

// verifier builds what reads the records of the catalog's signers: by their keys, or by their identities.
func (a *assembly) verifier(ctx context.Context) (*sign.Verifier, error) {
	var identities []sign.Identity
	a.sigstore = map[string]*sign.Instance{}
	for _, spec := range a.desired.Signers {
		if spec.Keyless == (reconcile.Keyless{}) {
			continue
		}
		i, err := sign.OpenInstance(ctx, spec.Keyless, filepath.Join(a.cache, "sigstore"))
		if err != nil {
			return nil, fmt.Errorf("signer %q: %w", spec.Name, err)
		}
		a.sigstore[spec.Name] = i
		identities = append(identities, sign.Identity{Name: spec.Name, Trust: spec.Keyless.Trust(), Certificates: i.Certificates})
	}
	var err error
	if a.keys, err = a.publicKeys(ctx); err != nil {
		return nil, err
	}
	return sign.NewVerifier(a.keys, a.reader, identities...), nil
}

// waiting tells that a signing service is asked too much.
func (a *assembly) waiting(service string, d time.Duration) {
	fmt.Fprintf(a.io.err, "assay: %s is busy; waiting %s to sign\n", service, d.Round(time.Second))
}

// publicKeys finds the keys that signatures are verified with: in the catalog, or beside the private key as cosign writes it
// (cosign.key and cosign.pub), or in the private key itself.
func (a *assembly) publicKeys(ctx context.Context) (map[string]sign.PublicKey, error) {
	out := map[string]sign.PublicKey{}
	for _, spec := range a.desired.Signers {
		if spec.Keyless != (reconcile.Keyless{}) {
			continue
		}
		k, err := a.publicKey(ctx, spec)
		if err != nil {
			return nil, err
		}
		out[spec.Name] = k
	}
	return out, nil
}

func (a *assembly) publicKey(ctx context.Context, spec reconcile.SignerSpec) (sign.PublicKey, error) {
	if spec.PublicKey != "" {
		k, err := sign.ParsePublicKey([]byte(spec.PublicKey))
		if err != nil {
			return k, fmt.Errorf("signer %q: public_key: %w", spec.Name, err)
		}
		return k, nil
	}
	if !sign.Remote(spec.Key) {
		if k, err := sign.ReadPublicKey(strings.TrimSuffix(spec.Key, ".key") + ".pub"); err == nil {
			return k, nil
		}
	}
	s, err := sign.New(ctx, sign.Options{Name: spec.Name, Key: spec.Key, Password: a.password})
	if err != nil {
		return sign.PublicKey{}, fmt.Errorf("%w; to plan without the private key, write its public half into the catalog as public_key", err)
	}
	return s.PublicKey(), nil
}

// password asks at the terminal, without echo.
func (a *assembly) password(context.Context) ([]byte, error) {
	f, ok := a.io.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, fmt.Errorf("the key is encrypted: set ASSAY_KEY_PASSWORD")
	}
	fmt.Fprint(a.io.err, "password of the signing key: ")
	defer fmt.Fprintln(a.io.err)
	return term.ReadPassword(int(f.Fd()))
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

// reviewer asks the forge. Where it can't be asked, nothing is approved, and all else goes on.
func (a *assembly) reviewer(ctx context.Context, g reconcile.Gate) reconcile.Reviewer {
	o, err := github.Environment()
	if err != nil {
		return noReviewer{err}
	}
	o.Repository = forgeRepository(g, a.options.location)
	client, err := github.New(o)
	if err != nil {
		return noReviewer{err}
	}
	h := catalogHistory{source: a.source, baseline: g.Baseline}
	branch := a.options.ref
	if a.base != "" {
		_, commit, err := a.source.At(ctx, a.base)
		if err != nil {
			return noReviewer{err}
		}
		merged := a.options.catalogOptions
		merged.commit, merged.workingTree = commit, false
		if h.source, err = openSource(ctx, merged, a.cache); err != nil {
			return noReviewer{err}
		}
		h.head, branch = a.source.Commit(), a.base
	}
	return github.NewGate(client, github.GateOptions{Mode: g.Mode, Branch: branchName(branch), Path: h.source.Path(), History: h, Declares: entriesIn})
}

// commenter writes comments of so many characters at most; refused tells that the token may not.
func commenter(repository string) (most int, refused func(error) bool, comment func(context.Context, int, string) (string, error)) {
	refused = func(err error) bool {
		var p *github.PermissionError
		return errors.As(err, &p)
	}
	return github.MaxComment, refused, func(ctx context.Context, number int, body string) (string, error) {
		o, err := github.Environment()
		if err != nil {
			return "", err
		}
		o.Repository = repository
		c, err := github.New(o)
		if err != nil {
			return "", err
		}
		return c.Comment(ctx, number, body)
	}
}

// noReviewer can't ask.
type noReviewer struct{ err error }

func (r noReviewer) Review(context.Context, reconcile.Entry) (reconcile.Review, error) {
	return reconcile.Review{}, fmt.Errorf("ask who approved it: %w", r.err)
}

// catalogHistory finds in Git how entries came in.
type catalogHistory struct {
	source   *source.Source // at the branch's commit
	head     string         // of a pull request that is planned; empty where the branch itself is
	baseline string
}

// Introduced implements github.History.
func (h catalogHistory) Introduced(ctx context.Context, e reconcile.Entry) (github.Introduction, error) {
	in, old, err := introduced(func(yield func(revision, error) bool) {
		for r, err := range h.source.Log(ctx, time.Time{}) {
			if !yield(revision{r.Commit, r.Time, r.FS}, err) {
				return
			}
		}
	}, e, h.baseline)
	if h.head != "" && errors.Is(err, reconcile.ErrNotFound) {
		return github.Introduction{Commit: h.head, Open: true}, nil
	}
	return github.Introduction{Commit: in.commit, When: in.when, Baseline: old}, err
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
