package expect

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"

	"github.com/assay-oci/assay/reconcile"
)

// The types below are what a file of expectations says.

type fileBody struct {
	Tests []testBlock `hcl:"test,block"`
}

type testBlock struct {
	Name   string      `hcl:"name,label"`
	Folder *string     `hcl:"folder,optional"`
	Now    string      `hcl:"now"`
	Image  imageBlock  `hcl:"image,block"`
	Expect expectBlock `hcl:"expect,block"`
	At     hcl.Range   `hcl:",def_range"`
}

type expectBlock struct {
	Verdict  string     `hcl:"verdict"`
	Findings []Expected `hcl:"finding,block"`
	Only     bool       `hcl:"only,optional"`
}

type imageBlock struct {
	Name        string            `hcl:"name,label"`
	Version     string            `hcl:"version,optional"`
	Source      string            `hcl:"source,optional"`
	Digest      string            `hcl:"digest,optional"`
	Tags        []string          `hcl:"tags,optional"`
	Mutable     bool              `hcl:"mutable,optional"`
	Owner       string            `hcl:"owner,optional"`
	Purpose     string            `hcl:"purpose,optional"`
	ReviewBy    string            `hcl:"review_by,optional"`
	Versions    []string          `hcl:"other_versions,optional"`
	Annotations map[string]string `hcl:"annotations,optional"`
	Unread      bool              `hcl:"unread,optional"`
	Platforms   []platformBlock   `hcl:"platform,block"`
}

type platformBlock struct {
	Platform    string            `hcl:"platform,label"`
	Size        int64             `hcl:"size,optional"`
	Layers      int               `hcl:"layers,optional"`
	Annotations map[string]string `hcl:"annotations,optional"`
	Config      *configBlock      `hcl:"config,block"`
	Scans       []scanBlock       `hcl:"scan,block"`
}

type configBlock struct {
	User       string            `hcl:"user,optional"`
	Created    string            `hcl:"created,optional"`
	Labels     map[string]string `hcl:"labels,optional"`
	Entrypoint []string          `hcl:"entrypoint,optional"`
	Command    []string          `hcl:"command,optional"`
	Env        []string          `hcl:"env,optional"`
	Ports      []string          `hcl:"ports,optional"`
	Volumes    []string          `hcl:"volumes,optional"`
	WorkingDir string            `hcl:"working_dir,optional"`
}

type scanBlock struct {
	Scanner         string               `hcl:"scanner,label"`
	NoVerdict       string               `hcl:"no_verdict,optional"`
	Version         string               `hcl:"version,optional"`
	Database        string               `hcl:"database,optional"`
	Distribution    string               `hcl:"distribution,optional"`
	Ecosystems      []string             `hcl:"ecosystems,optional"`
	Seen            int                  `hcl:"packages_seen,optional"`
	SupportUntil    string               `hcl:"support_until,optional"`
	SupportEnded    bool                 `hcl:"support_ended,optional"`
	MalwareChecked  bool                 `hcl:"malware_checked,optional"`
	Malware         []string             `hcl:"malware,optional"`
	Packages        []packageBlock       `hcl:"package,block"`
	Vulnerabilities []vulnerabilityBlock `hcl:"vulnerability,block"`
}

type packageBlock struct {
	Name      string `hcl:"name,label"`
	Version   string `hcl:"version,optional"`
	Ecosystem string `hcl:"ecosystem,optional"`
	PURL      string `hcl:"purl,optional"`
	Source    string `hcl:"source,optional"`
	License   string `hcl:"license,optional"`
}

type vulnerabilityBlock struct {
	ID        string   `hcl:"id,label"`
	Aliases   []string `hcl:"aliases,optional"`
	Package   string   `hcl:"package"`
	Version   string   `hcl:"version,optional"`
	Ecosystem string   `hcl:"ecosystem,optional"`
	PURL      string   `hcl:"purl,optional"`
	Severity  string   `hcl:"severity"`
	FixedIn   []string `hcl:"fixed_in,optional"`
	Published string   `hcl:"published,optional"`
	FirstSeen string   `hcl:"first_seen,optional"`
	EPSS      float64  `hcl:"epss,optional"`
	Exploited bool     `hcl:"exploited,optional"`
}

// Decode reads the tests of one file's body. folder is where the file stands. The body must come from a parser that bounds what a hostile file
// can cost.
func Decode(body hcl.Body, folder string) ([]Test, hcl.Diagnostics) {
	var f fileBody
	diags := gohcl.DecodeBody(body, nil, &f)
	if diags.HasErrors() {
		return nil, diags
	}
	var out []Test
	for _, b := range f.Tests {
		d := decoder{at: b.At}
		t := d.test(b, folder)
		diags = append(diags, d.diags...)
		out = append(out, t)
	}
	return out, diags
}

// A decoder gathers the mistakes in one test.
type decoder struct {
	at    hcl.Range
	diags hcl.Diagnostics
}

func (d *decoder) mistake(format string, args ...any) {
	d.diags = append(d.diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: "Invalid test", Detail: fmt.Sprintf(format, args...), Subject: &d.at})
}

// time reads a day or a time; the empty text is no time.
func (d *decoder) time(name, s string) time.Time {
	if s == "" {
		return time.Time{}
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t
		}
	}
	d.mistake("%s: %q is no day such as \"2026-05-01\", and no time such as \"2026-05-01T12:00:00Z\".", name, s)
	return time.Time{}
}

func (d *decoder) test(b testBlock, folder string) Test {
	t := Test{Name: b.Name, Folder: folder, Now: d.time("now", b.Now), Findings: b.Expect.Findings, Only: b.Expect.Only, At: b.At}
	if b.Folder != nil {
		t.Folder = *b.Folder
	}
	switch b.Expect.Verdict {
	case "admitted":
	case "blocked":
		t.Blocked = true
	default:
		d.mistake("verdict: %q is none of \"admitted\" and \"blocked\".", b.Expect.Verdict)
	}
	if t.Now.IsZero() {
		d.mistake("now: the day of the judgement is needed, so that the test gives the same tomorrow.")
	}
	t.Subject = d.subject(b.Image)
	t.Subject.Want.Origin = reconcile.Origin{File: b.At.Filename, Line: b.At.Start.Line}
	return t
}

func (d *decoder) subject(b imageBlock) reconcile.Subject {
	w := reconcile.Want{Name: b.Name, Version: b.Version, Mutable: b.Mutable, Owner: b.Owner, Purpose: b.Purpose, Review: d.time("review_by", b.ReviewBy)}
	if w.Version == "" {
		w.Version = "1"
	}
	source, digest := b.Source, b.Digest
	if source == "" {
		source = "docker.io/library/" + b.Name
	}
	if digest == "" {
		digest = digestOf(b.Name + ":" + w.Version).String()
	}
	var err error
	if w.From.Repo, err = reconcile.ParseRepo(source); err != nil {
		d.mistake("source: %v.", err)
	}
	if w.From.Digest, err = reconcile.ParseDigest(digest); err != nil {
		d.mistake("digest: %v.", err)
	}
	for _, s := range append([]string{w.Version}, b.Tags...) {
		tag, err := reconcile.ParseTag(s)
		if err != nil {
			d.mistake("tags: %v.", err)
		}
		w.Tags = append(w.Tags, tag)
	}
	s := reconcile.Subject{Want: w}
	for _, v := range b.Versions {
		s.Siblings = append(s.Siblings, reconcile.Want{Name: b.Name, Version: v})
	}
	if b.Unread {
		return s
	}
	s.Evidence.Tree = &reconcile.Tree{Root: w.From.Digest}
	for _, p := range b.Platforms {
		d.platform(p, &s)
	}
	index := reconcile.Manifest{Digest: w.From.Digest, MediaType: "application/vnd.oci.image.index.v1+json", Notes: b.Annotations}
	s.Evidence.Tree.Manifests = append(s.Evidence.Tree.Manifests, index)
	return s
}

func digestOf(s string) reconcile.Digest {
	sum := sha256.Sum256([]byte(s))
	return reconcile.MustDigest("sha256:" + hex.EncodeToString(sum[:]))
}

// maxLayers bounds what a test makes of a number.
const maxLayers = 1000

func (d *decoder) platform(b platformBlock, s *reconcile.Subject) {
	platform, err := reconcile.ParsePlatform(b.Platform)
	if err != nil {
		d.mistake("platform: %v.", err)
	}
	if b.Layers < 0 || b.Layers > maxLayers || b.Size < 0 {
		d.mistake("layers: a number from 0 to %d is needed here, and a size that is not negative.", maxLayers)
		return
	}
	m := reconcile.Manifest{Digest: digestOf(s.Want.Title() + " " + b.Platform), Platform: platform, Notes: b.Annotations}
	for i := range max(1, b.Layers) + 1 { // the first blob is the configuration
		blob := reconcile.Blob{Digest: digestOf(fmt.Sprint(b.Platform, i))}
		if i == 1 {
			blob.Size = b.Size
		}
		m.Blobs = append(m.Blobs, blob)
	}
	if c := b.Config; c != nil {
		m.Config = reconcile.ConfigInfo{User: c.User, Created: d.time("created", c.Created), Labels: c.Labels, Entrypoint: c.Entrypoint, Command: c.Command, Env: c.Env,
			Ports: c.Ports, Volumes: c.Volumes, WorkingDir: c.WorkingDir}
	}
	s.Evidence.Tree.Manifests = append(s.Evidence.Tree.Manifests, m)
	for _, x := range b.Scans {
		s.Evidence.Scans = append(s.Evidence.Scans, reconcile.PlatformScan{Manifest: m.Digest, Platform: platform, Scan: d.scan(x)})
	}
}

func (d *decoder) scan(b scanBlock) reconcile.Scan {
	s := reconcile.Scan{Scanner: b.Scanner, NoVerdict: b.NoVerdict, Version: b.Version, Database: d.time("database", b.Database), Distribution: b.Distribution,
		Ecosystems: b.Ecosystems, Packages: b.Seen, MalwareChecked: b.MalwareChecked || len(b.Malware) > 0}
	if b.SupportUntil != "" || b.SupportEnded {
		s.Support = &reconcile.Support{Until: d.time("support_until", b.SupportUntil), Ended: b.SupportEnded}
	}
	for _, name := range b.Malware {
		s.Malware = append(s.Malware, reconcile.Malware{ID: name})
	}
	if len(b.Packages) > 0 {
		s.Inventory = &reconcile.Inventory{Lister: b.Scanner, Distribution: b.Distribution}
	}
	for _, p := range b.Packages {
		s.Inventory.Packages = append(s.Inventory.Packages, reconcile.Package{Name: p.Name, Version: p.Version, Ecosystem: p.Ecosystem, PURL: p.PURL, Source: p.Source, License: p.License})
	}
	for _, v := range b.Vulnerabilities {
		severity := reconcile.Severity(v.Severity)
		if severity.Rank() == 0 && severity != reconcile.Unknown {
			d.mistake("severity: %q is none.", v.Severity)
		}
		s.Vulnerabilities = append(s.Vulnerabilities, reconcile.Vulnerability{ID: v.ID, Aliases: v.Aliases, Severity: severity, FixedIn: v.FixedIn, EPSS: v.EPSS, Exploited: v.Exploited,
			Published: d.time("published", v.Published), FirstSeen: d.time("first_seen", v.FirstSeen),
			Package: reconcile.Package{Name: v.Package, Version: v.Version, Ecosystem: v.Ecosystem, PURL: v.PURL}})
	}
	if s.Packages == 0 {
		s.Packages = max(len(b.Packages), len(b.Vulnerabilities))
	}
	if s.Ecosystems == nil {
		s.Ecosystems = ecosystemsOf(s)
	}
	return s
}

// ecosystemsOf are those of what the scan found: a test that says nothing else means that the scanner covers them.
func ecosystemsOf(s reconcile.Scan) []string {
	seen := map[string]bool{}
	var out []string
	add := func(p reconcile.Package) {
		if e := p.EcosystemName(); e != "" && !seen[e] {
			seen[e] = true
			out = append(out, e)
		}
	}
	for _, v := range s.Vulnerabilities {
		add(v.Package)
	}
	if s.Inventory != nil {
		for _, p := range s.Inventory.Packages {
			add(p)
		}
	}
	return out
}
