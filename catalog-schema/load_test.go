package catalog

import (
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/rogpeppe/go-internal/diff"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/assay-oci/assay/reconcile"
)

var update = flag.Bool("update", false, "write the golden files anew")

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// A declared rule finds nothing: Load only carries rules.
type declared struct {
	name  string
	reads reconcile.Reads
}

func (d declared) Name() string                                         { return d.name }
func (d declared) Reads() reconcile.Reads                               { return d.reads }
func (declared) Check(reconcile.Subject, time.Time) []reconcile.Finding { return nil }

func rule(name string, reads reconcile.Reads, attributes ...string) func(hcl.Body) (reconcile.Bound, hcl.Diagnostics) {
	return func(b hcl.Body) (reconcile.Bound, hcl.Diagnostics) {
		schema := &hcl.BodySchema{}
		for _, a := range attributes {
			schema.Attributes = append(schema.Attributes, hcl.AttributeSchema{Name: a})
		}
		_, diags := b.Content(schema)
		return reconcile.Bound{Rule: declared{name, reads}}, diags
	}
}

// believing is a decoder whose rule believes somebody in the Sigstore instance that it names.
func believing(b hcl.Body) (reconcile.Bound, hcl.Diagnostics) {
	attrs, diags := b.JustAttributes()
	out := reconcile.Bound{Rule: declared{"signature", reconcile.ReadsUpstream}}
	for _, a := range attrs {
		v, ds := a.Expr.Value(nil)
		if diags = append(diags, ds...); !ds.HasErrors() {
			out.Trusts = append(out.Trusts, reconcile.Trust{Issuer: "https://issuer.example.com", Subject: "a@example.com", Instance: v.AsString()})
		}
	}
	return out, diags
}

var options = Options{Now: now, Commit: "0123456789abcdef0123456789abcdef01234567", Rules: Rules{
	"sources":         rule("sources", reconcile.ReadsDeclaration, "allow", "deny"),
	"platforms":       rule("platforms", reconcile.ReadsContent, "require"),
	"vulnerabilities": rule("vulnerabilities", reconcile.ReadsScans, "deny"),
	"signature":       believing,
	"condition":       rule("condition", reconcile.ReadsContent, "assert"),
}, Key: func(ref string) error {
	if strings.HasPrefix(ref, "plugin://") {
		return fmt.Errorf("key %q names a program", ref)
	}
	return nil
}}

// files makes a file system of an archive's files, and another one of those below "base/".
func files(a *txtar.Archive) (base, head fstest.MapFS) {
	head = fstest.MapFS{}
	for _, f := range a.Files {
		if name, ok := strings.CutPrefix(f.Name, "base/"); ok {
			if base == nil {
				base = fstest.MapFS{}
			}
			base[name] = &fstest.MapFile{Data: f.Data}
		} else if !strings.HasPrefix(f.Name, "golden/") {
			head[f.Name] = &fstest.MapFile{Data: f.Data}
		}
	}
	return base, head
}

// Each archive in testdata is a catalog, its diagnostics, and what Load makes of it. A file "base/x" belongs to the base commit.
func TestCatalogsLoadAsTheirArchivesSay(t *testing.T) {
	for _, kind := range []string{"valid", "invalid", "change"} {
		paths, err := filepath.Glob("testdata/" + kind + "/*.txtar")
		if err != nil || len(paths) == 0 {
			t.Fatal("no archives", err)
		}
		for _, p := range paths {
			t.Run(kind+"/"+strings.TrimSuffix(filepath.Base(p), ".txtar"), func(t *testing.T) { checkArchive(t, kind, p) })
		}
	}
}

func checkArchive(t *testing.T, kind, p string) {
	a, err := txtar.ParseFile(p)
	if err != nil {
		t.Fatal(err)
	}
	base, head := files(a)
	var d reconcile.Desired
	var diags *Diagnostics
	if base == nil {
		d, diags = LoadCommit(head, options)
	} else {
		d, diags = Load(base, head, options)
	}
	var text strings.Builder
	if err := diags.Print(&text, 0, false); err != nil {
		t.Fatal(err)
	}
	if failed := len(diags.Diagnostics) > 0; failed != (kind == "invalid") {
		t.Errorf("diagnostics of a catalog in %q: %s", kind, &text)
	}
	want := &txtar.Archive{Comment: a.Comment}
	for _, f := range a.Files {
		if !strings.HasPrefix(f.Name, "golden/") {
			want.Files = append(want.Files, f)
		}
	}
	if text.Len() > 0 {
		want.Files = append(want.Files, txtar.File{Name: "golden/diagnostics", Data: []byte(text.String())})
	}
	want.Files = append(want.Files, txtar.File{Name: "golden/desired", Data: []byte(describe(d))})
	got, had := txtar.Format(want), txtar.Format(a)
	if string(got) == string(had) {
		return
	}
	if *update {
		if err := os.WriteFile(p, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s", diff.Diff("archive", had, "loaded", got))
}

// describe writes a Desired for people, one line a thing.
func describe(d reconcile.Desired) string {
	var b strings.Builder
	for _, r := range d.Registries {
		fmt.Fprintf(&b, "registry %s %s identity %s", r.Name, r.Prefix, r.Identity)
		if r.After.Registry != "" {
			fmt.Fprintf(&b, " after %s for %s", r.After.Registry, r.After.Soak)
		}
		b.WriteByte('\n')
	}
	for _, s := range d.Scanners {
		fmt.Fprintf(&b, "scanner %s %q %s", s.Name, s.Command, s.Timeout)
		if s.Program != "" || s.Confined {
			fmt.Fprintf(&b, ", program %s version %q %s, database %s of at most %s, memory %d, confined %v", s.Program, s.Version, s.Checksum.Short(), s.Database, s.MaxAge, s.Memory, s.Confined)
		}
		b.WriteString("\n")
	}
	for _, s := range d.Signers {
		fmt.Fprintf(&b, "signer %s %s %s\n", s.Name, s.Key, s.Formats)
		if k := s.Keyless; k != (reconcile.Keyless{}) {
			fmt.Fprintf(&b, "  keyless %q of %q for %q, trusts %q, signs at %q\n", k.Subject, k.Issuer, k.Audience, k.TrustedRoot, k.SigningConfig)
		}
	}
	if d.Rescan != (reconcile.Rescan{}) {
		fmt.Fprintf(&b, "rescan after %s, expires after %s\n", d.Rescan.Interval, d.Rescan.Expires)
	}
	if d.Gate != (reconcile.Gate{}) {
		fmt.Fprintf(&b, "gate %s at %s since %s\n", d.Gate.Mode, d.Gate.Repository, d.Gate.Baseline)
	}
	for _, name := range slices.Sorted(maps.Keys(d.Instances)) {
		fmt.Fprintf(&b, "sigstore %s trusts %q\n", name, d.Instances[name])
	}
	fmt.Fprintf(&b, "prune absent %t, limit %d, grace %s\n", d.Prune.Absent, d.Prune.Limit, d.Prune.Grace)
	for _, w := range d.Wants {
		fmt.Fprintf(&b, "want %s from %s@%s mutable %t scope %q tags %s owner %q purpose %q (%s:%d)\n", w.Title(), w.From.Repo, w.From.Digest.Short(), w.Mutable, w.Scope, w.Tags, w.Owner, w.Purpose, w.Origin.File, w.Origin.Line)
		if !w.Review.IsZero() {
			fmt.Fprintf(&b, "  review %s\n", w.Review.Format(time.DateOnly))
		}
		if w.UpstreamRecords {
			fmt.Fprintf(&b, "  with the records of others\n")
		}
		for _, to := range w.To {
			fmt.Fprintf(&b, "  to %s %s identity %s\n", to.Registry, to.Repo, to.Identity)
		}
		for _, r := range w.Rules {
			fmt.Fprintf(&b, "  rule %s of %s, scope %q (%s:%d)\n", r.Name(), r.Policy, r.Scope, r.Origin.File, r.Origin.Line)
		}
	}
	for _, r := range d.Revoked {
		fmt.Fprintf(&b, "revoke %s %s from %s: %s, replacement %q (%s:%d)\n", r.Name, r.Digest.Short(), r.Repos, r.Reason, r.Replacement, r.Origin.File, r.Origin.Line)
	}
	for _, w := range d.Waivers {
		fmt.Fprintf(&b, "waiver %s rule %s image %q digest %q package %q scope %q until %s (%s)\n", w.ID, w.Rule, w.Image, w.Digest.Short(), w.Package, w.Scope, w.Expires.Format(time.DateTime), w.Justification)
	}
	for _, f := range d.Changes {
		fmt.Fprintf(&b, "change %s%s (%s:%d) %s %q\n", effectPrefix(f.ID), f.Summary, f.Origin.File, f.Origin.Line, f.Image, f.Scope)
	}
	for _, f := range d.Broken {
		fmt.Fprintf(&b, "broken %s %s (%s:%d)\n", f.Image, f.Summary, f.Origin.File, f.Origin.Line)
	}
	return b.String()
}

func TestLoadKeepsTheCommit(t *testing.T) {
	d, _ := LoadCommit(fstest.MapFS{}, options)
	if d.Commit != options.Commit {
		t.Errorf("commit %q", d.Commit)
	}
}

func TestANilBaseMeansAMergedCommit(t *testing.T) {
	head := fstest.MapFS{"a.hcl": {Data: []byte(exampleScope + exampleRegistry + exampleImage)}}
	d, diags := Load(nil, head, options)
	if diags.HasErrors() || len(d.Wants) != 1 || len(d.Changes) != 0 {
		t.Errorf("%v %v", diags.Diagnostics, d)
	}
}

var _ fs.FS = fstest.MapFS{}

func effectPrefix(id string) string {
	if id == "" {
		return ""
	}
	return id + ": "
}
