package reconcile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A Profile is what a reviewer decides by: what a version that is to be admitted contains, what its rules say, and how it differs from the version
// that is approved now. Its text comes from images, registries and scanners, and is to be shown escaped.
type Profile struct {
	Image      string         `json:"image"` // label and version
	Digest     Digest         `json:"digest"`
	Source     Repo           `json:"source"`
	Owner      string         `json:"owner,omitempty"`
	Purpose    string         `json:"purpose,omitempty"`
	Origin     Origin         `json:"origin,omitzero"`
	Blocked    bool           `json:"blocked"`
	Platforms  []string       `json:"platforms"`
	Bytes      int64          `json:"bytes"` // of all blobs, each once
	Users      []string       `json:"users"` // whom it runs as; "" is root
	System     string         `json:"system,omitempty"`
	Support    *Support       `json:"support,omitempty"`
	Licenses   []string       `json:"licenses,omitempty"` // expressions, each once; empty if none is known
	Scanners   []ProfileScan  `json:"scanners,omitempty"`
	Severities map[string]int `json:"severities"` // merged vulnerabilities by severity, those of several platforms once
	Fixable    int            `json:"fixable"`
	Disputed   []Dispute      `json:"disputed,omitempty"` // vulnerabilities that a scanner could have reported and didn't; sorted
	// Vulnerabilities are the merged ones, the worst first.
	Vulnerabilities []ProfileVulnerability `json:"vulnerabilities,omitempty"`
	Rules           []ProfileRule          `json:"rules"`
	Upstream        []ProfileSigner        `json:"upstream,omitempty"`
	Review          *Review                `json:"review,omitempty"`
	Since           *Comparison            `json:"since,omitempty"` // nil for the first version
}

// ProfileVulnerability is a merged vulnerability in the few words that a reviewer decides by.
type ProfileVulnerability struct {
	ID       string   `json:"id"`
	Severity Severity `json:"severity"`
	Package  string   `json:"package"` // name and version
	FixedIn  []string `json:"fixed_in,omitempty"`
}

// A Dispute is a vulnerability about which scanners disagree.
type Dispute struct {
	ID      string   `json:"id"`
	Package string   `json:"package"` // name and version
	Reports []string `json:"reports"` // who reported it, and how bad: "trivy high"
	Silent  []string `json:"silent"`  // who could have and didn't
}

// ProfileScan is what one scanner said, over all platforms.
type ProfileScan struct {
	Scanner    string         `json:"scanner"`
	Version    string         `json:"version,omitempty"`
	Database   time.Time      `json:"database,omitzero"` // the oldest that was used
	Finished   time.Time      `json:"finished,omitzero"` // of the scan that was made first
	Packages   int            `json:"packages"`
	Severities map[string]int `json:"severities"`
	NoVerdict  string         `json:"no_verdict,omitempty"` // why it said nothing about a platform
}

// ProfileRule is how one rule ended.
type ProfileRule struct {
	Rule   string   `json:"rule"`
	Policy string   `json:"policy,omitempty"`
	Scope  string   `json:"scope,omitempty"`
	Result string   `json:"result"` // passed, warned, waived or failed
	Found  int      `json:"found"`
	Waived []string `json:"waived,omitempty"` // the waivers that were needed: "CVE-2026-1 until 2027-01-31: reason"
}

// ProfileSigner is somebody whose signature was found where the image comes from.
type ProfileSigner struct {
	Signer string    `json:"signer"`        // the identity, or "a key"
	Signed string    `json:"signed"`        // "image", or the predicate type of an attestation
	Time   time.Time `json:"time,omitzero"` // the latest
}

// Signers lists who signed what, each once.
func (u Upstream) Signers() []ProfileSigner {
	var out []ProfileSigner
	for _, x := range u.Proofs {
		out = append(out, ProfileSigner{Signer: cmp.Or(x.Signer, "a key"), Signed: cmp.Or(x.PredicateType, "image"), Time: x.Time.UTC()})
	}
	slices.SortFunc(out, func(a, b ProfileSigner) int {
		return cmp.Or(strings.Compare(a.Signed, b.Signed), strings.Compare(a.Signer, b.Signer), b.Time.Compare(a.Time))
	})
	return slices.CompactFunc(out, func(a, b ProfileSigner) bool { return a.Signed == b.Signed && a.Signer == b.Signer })
}

// A Comparison is how a version differs from another one. Lists are sorted and hold each thing once.
type Comparison struct {
	Version    string                 `json:"version"`
	Digest     Digest                 `json:"digest"`
	Approved   time.Time              `json:"approved,omitzero"` // since when it is signed, where that is known
	Bytes      int64                  `json:"bytes"`             // how many more
	Added      []string               `json:"added,omitempty"`
	Removed    []string               `json:"removed,omitempty"`
	Updated    []string               `json:"updated,omitempty"`    // "openssl 3.0.1 → 3.0.2"
	Introduced []ProfileVulnerability `json:"introduced,omitempty"` // each identifier once
	Fixed      []ProfileVulnerability `json:"fixed,omitempty"`
	Config     []string               `json:"config,omitempty"`   // "user root → nginx"
	Unlisted   bool                   `json:"unlisted,omitempty"` // what is installed in one of them is not known
}

// profile describes a version that is to be admitted.
func (s *state) profile(a admission, j judgement) Profile {
	w := a.want
	e := s.inventoried(w, a.tree, a.places)
	p := Profile{Image: w.Title(), Digest: w.From.Digest, Source: w.From.Repo, Owner: w.Owner, Purpose: w.Purpose, Origin: w.Origin, Blocked: len(j.refused) > 0,
		Bytes: a.tree.Bytes(), Platforms: []string{}, Users: []string{}, Severities: map[string]int{}, Rules: []ProfileRule{}, Review: e.Review}
	for _, m := range a.tree.Runnable() {
		p.Platforms, p.Users = append(p.Platforms, m.Platform.String()), append(p.Users, m.Config.User)
	}
	p.Platforms, p.Users = distinct(p.Platforms), distinct(p.Users)
	p.scans(e)
	for _, r := range j.rules {
		v := r.verdict()
		p.Rules = append(p.Rules, ProfileRule{v.Rule, v.Policy, v.Scope, v.Result, len(r.refused) + len(r.warned), s.waivedBy(r)})
	}
	sortBy(p.Rules, func(r ProfileRule) string { return fmt.Sprint(r) })
	p.Upstream = e.Upstream.Signers()
	p.Since = s.since(a, e)
	return p
}

// waivedBy tells which waivers a rule needed, each once.
func (s *state) waivedBy(r ruled) []string {
	var out []string
	for _, i := range r.waived {
		v := s.d.Waivers[i]
		out = append(out, fmt.Sprintf("%s until %s: %s", v.ID, v.Expires.Add(-time.Nanosecond).UTC().Format(time.DateOnly), v.Reason))
	}
	return distinct(out)
}

// inventoried is the evidence with inventories, whether or not a rule reads them.
func (s *state) inventoried(w *Want, tree Tree, places []place) Evidence {
	e := s.known(w, tree, places)
	for i, ps := range e.Scans {
		if scan, ok := s.scanNow(w, ps.Manifest, ps.Scan.Scanner, places, true); ok {
			e.Scans[i].Scan = scan
		}
	}
	return e
}

func (p *Profile) scans(e Evidence) {
	by := map[string]*ProfileScan{}
	found := map[string]map[string]bool{}
	for _, ps := range e.Scans {
		x := by[ps.Scan.Scanner]
		if x == nil {
			x = &ProfileScan{Scanner: ps.Scan.Scanner, Severities: map[string]int{}}
			by[x.Scanner], found[x.Scanner] = x, map[string]bool{}
		}
		x.Version, x.Packages = cmp.Or(ps.Scan.Version, x.Version), max(x.Packages, ps.Scan.Packages)
		if ps.Scan.NoVerdict != "" {
			x.NoVerdict = ps.Scan.NoVerdict
			continue
		}
		x.Database, x.Finished = earliest(x.Database, ps.Scan.Database), earliest(x.Finished, ps.Scan.Finished)
		p.System, p.Support = cmp.Or(ps.Scan.Distribution, p.System), cmp.Or(ps.Scan.Support, p.Support)
		if i := ps.Scan.Inventory; i != nil {
			for _, k := range i.Packages {
				if k.License != "" {
					p.Licenses = append(p.Licenses, k.License)
				}
			}
		}
		for _, v := range ps.Scan.Vulnerabilities {
			if k := v.key(); !found[x.Scanner][k] {
				found[x.Scanner][k] = true
				x.Severities[string(known(v.Severity))]++
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(by)) {
		p.Scanners = append(p.Scanners, *by[name])
	}
	for _, v := range e.merged() {
		p.Vulnerabilities = append(p.Vulnerabilities, v.brief())
		p.Severities[string(known(v.Severity))]++
		if len(v.FixedIn) > 0 {
			p.Fixable++
		}
		if len(v.Silent) > 0 {
			p.Disputed = append(p.Disputed, v.dispute())
		}
	}
	sortBy(p.Disputed, func(d Dispute) string { return d.ID + "\x00" + d.Package })
	p.Licenses = distinct(p.Licenses)
}

// merged are the vulnerabilities of all platforms, each of a package once, the worst first.
func (e Evidence) merged() []Merged {
	by := map[string]Merged{}
	for _, m := range e.Tree.Runnable() {
		for _, v := range Merge(e.of(m.Digest)) {
			if had, ok := by[v.Key+"\x00"+v.ID]; !ok || v.Severity.Rank() > had.Severity.Rank() {
				by[v.Key+"\x00"+v.ID] = v
			}
		}
	}
	return slices.SortedFunc(maps.Values(by), func(a, b Merged) int {
		return cmp.Or(b.Severity.Rank()-a.Severity.Rank(), strings.Compare(a.ID, b.ID), strings.Compare(a.Key, b.Key))
	})
}

func (m Merged) brief() ProfileVulnerability {
	return ProfileVulnerability{ID: m.ID, Severity: known(m.Severity), Package: m.Package.title(), FixedIn: m.FixedIn}
}

func (m Merged) dispute() Dispute {
	d := Dispute{ID: m.ID, Package: m.Package.title(), Silent: m.Silent}
	for name, severity := range m.Severities() {
		d.Reports = append(d.Reports, name+" "+string(severity))
	}
	slices.Sort(d.Reports)
	return d
}

func (p Package) title() string { return strings.TrimSpace(p.Name + " " + p.Version) }

// of returns the scans of one manifest.
func (e Evidence) of(manifest Digest) []Scan {
	var out []Scan
	for _, ps := range e.Scans {
		if ps.Manifest == manifest {
			out = append(out, ps.Scan)
		}
	}
	return out
}

// since compares a version with the one of its image that is approved now; nil if there is none.
func (s *state) since(a admission, e Evidence) *Comparison {
	f, ok := s.former(a.want)
	if !ok || !f.compared() {
		return nil
	}
	tree, ok := s.tree(f.want, f.places)
	if !ok {
		return nil
	}
	old := s.inventoried(f.want, tree, f.places)
	c := &Comparison{Version: f.want.Version, Digest: f.want.From.Digest, Approved: f.when.UTC(), Bytes: a.tree.Bytes() - tree.Bytes()}
	c.packages(old, e)
	was, is := old.merged(), e.merged()
	c.Introduced, c.Fixed = lacking(is, was), lacking(was, is)
	c.configs(tree, a.tree)
	return c
}

// installed lists the versions of each package, by name; it isn't ok if a platform has no inventory.
func (e Evidence) installed() (map[string][]string, bool) {
	out := map[string][]string{}
	for _, m := range e.Tree.Runnable() {
		listed := false
		for _, s := range e.of(m.Digest) {
			if s.Inventory == nil {
				continue
			}
			listed = true
			for _, p := range s.Inventory.Packages {
				out[p.Name] = append(out[p.Name], p.Version)
			}
			break // of several inventories the first: scanners name packages differently
		}
		if !listed {
			return nil, false
		}
	}
	for name := range out {
		out[name] = distinct(out[name])
	}
	return out, true
}

func (c *Comparison) packages(old, now Evidence) {
	was, ok := old.installed()
	is, ok2 := now.installed()
	if c.Unlisted = !ok || !ok2; c.Unlisted {
		return
	}
	for name, versions := range is {
		switch before, had := was[name]; {
		case !had:
			c.Added = append(c.Added, name+" "+strings.Join(versions, ", "))
		case !slices.Equal(before, versions):
			c.Updated = append(c.Updated, name+" "+strings.Join(before, ", ")+" → "+strings.Join(versions, ", "))
		}
	}
	for name, versions := range was {
		if _, has := is[name]; !has {
			c.Removed = append(c.Removed, name+" "+strings.Join(versions, ", "))
		}
	}
	slices.Sort(c.Added)
	slices.Sort(c.Updated)
	slices.Sort(c.Removed)
}

// lacking returns the vulnerabilities whose identifiers are in a and not in b, each identifier once, as it is worst.
func lacking(a, b []Merged) []ProfileVulnerability {
	seen := map[string]bool{}
	for _, v := range b {
		seen[v.ID] = true
	}
	var out []ProfileVulnerability
	for _, v := range a {
		if !seen[v.ID] {
			seen[v.ID] = true
			out = append(out, v.brief())
		}
	}
	return out
}

// configs tells what differs in how the image runs, on the first platform that both have.
func (c *Comparison) configs(old, now Tree) {
	for _, a := range old.Runnable() {
		for _, b := range now.Runnable() {
			if a.Platform != b.Platform {
				continue
			}
			for _, x := range []struct{ what, was, is string }{
				{"user", cmp.Or(a.Config.User, "root"), cmp.Or(b.Config.User, "root")},
				{"entrypoint", strings.Join(a.Config.Entrypoint, " "), strings.Join(b.Config.Entrypoint, " ")},
				{"command", strings.Join(a.Config.Command, " "), strings.Join(b.Config.Command, " ")},
				{"ports", strings.Join(a.Config.Ports, " "), strings.Join(b.Config.Ports, " ")},
				{"volumes", strings.Join(a.Config.Volumes, " "), strings.Join(b.Config.Volumes, " ")},
				{"folder", a.Config.WorkingDir, b.Config.WorkingDir},
				{"variables", strings.Join(names(a.Config.Env), " "), strings.Join(names(b.Config.Env), " ")},
			} {
				if x.was != x.is {
					c.Config = append(c.Config, fmt.Sprintf("%s %s → %s", x.what, cmp.Or(x.was, "none"), cmp.Or(x.is, "none")))
				}
			}
			return
		}
	}
}

// names are those of variables: their values may be secrets.
func names(env []string) []string {
	var out []string
	for _, v := range env {
		name, _, _ := strings.Cut(v, "=")
		out = append(out, name)
	}
	return distinct(out)
}

func distinct(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}
