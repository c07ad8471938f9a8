package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/sign"
)

// A chain is what the records beside an image prove, in the order in which a person asks.
type chain struct {
	Image     string                     `json:"image"`
	Identity  reconcile.Repo             `json:"identity,omitzero"` // the canonical name that the records bear
	Approval  *reconcile.ApprovalRecord  `json:"approval,omitempty"`
	Approved  time.Time                  `json:"approved,omitzero"`  // when that was recorded
	Upstream  []reconcile.ProfileSigner  `json:"upstream,omitempty"` // who had signed it where it comes from, as was verified when it was admitted
	Verdict   *reconcile.AttestedVerdict `json:"verdict,omitempty"`
	Otherwise []string                   `json:"otherwise,omitempty"` // what newer verdicts about it as other entries of the catalog say against it
	Manifests []manifestLink             `json:"manifests"`           // the index and each platform; the index, or the only manifest, last
	Problems  []string                   `json:"problems,omitempty"`  // why the image isn't proven; none if it is

	repo    reconcile.Repo // where it lies
	root    reconcile.Digest
	records map[reconcile.Digest][]reconcile.Record
}

// A manifestLink is what stands beside one manifest of an image.
type manifestLink struct {
	Digest    reconcile.Digest   `json:"digest"`
	Platform  reconcile.Platform `json:"platform,omitzero"`
	Signed    bool               `json:"signed"`
	Scans     []string           `json:"scans,omitempty"`     // the scanners whose findings are attested
	Inventory []string           `json:"inventory,omitempty"` // who listed what is installed
	Bill      bool               `json:"bill,omitempty"`      // whether there is a bill of materials
	Records   []recordLink       `json:"records"`

	runs bool // whether it is a platform's image
}

type recordLink struct {
	Format    reconcile.Format `json:"format"`
	Signer    string           `json:"signer,omitempty"`
	Identity  reconcile.Repo   `json:"identity,omitzero"`
	Predicate string           `json:"predicate_type,omitempty"`
	About     string           `json:"about,omitempty"`
	Time      time.Time        `json:"time,omitzero"`
	Problem   string           `json:"problem,omitempty"`
	Refused   bool             `json:"refused,omitempty"` // whether it speaks falsely in the signer's name
}

// readChain reads what lies beside each manifest of an image. Whatever could not be read is an error: unknown is not absent.
func readChain(ctx context.Context, v verifying, image reconcile.Image) (*chain, error) {
	tree, err := v.reader.Tree(ctx, image)
	if err != nil {
		return nil, err
	}
	runs := map[reconcile.Digest]reconcile.Manifest{}
	for _, m := range tree.Runnable() {
		runs[m.Digest] = m
	}
	c := &chain{Image: image.String(), repo: image.Repo, root: image.Digest, records: map[reconcile.Digest][]reconcile.Record{}}
	for _, d := range tree.Signed() {
		records, err := v.records.Records(ctx, reconcile.Image{Repo: image.Repo, Digest: d})
		if err != nil {
			return nil, err
		}
		c.records[d] = records
		m, isImage := runs[d]
		c.Manifests = append(c.Manifests, manifestLink{Digest: d, Platform: m.Platform, runs: isImage, Records: []recordLink{}})
	}
	return c, nil
}

// judge fills the chain from the records that count, and says what is missing or false. Where no name is demanded, it is judged by those of each name that
// valid records bear, each alone: the first that proves it counts, or else the first.
func (c *chain) judge(e expected, now time.Time) {
	names := []reconcile.Repo{e.identity}
	if borne := c.names(); e.identity.IsZero() && len(borne) > 0 {
		names = borne
	}
	var first *chain
	for _, name := range names {
		judged := *c
		judged.Manifests = slices.Clone(c.Manifests)
		judged.judgeAs(name, e, now)
		if first == nil || len(judged.Problems) == 0 {
			first = &judged
		}
		if len(judged.Problems) == 0 {
			break
		}
	}
	*c = *first
}

// names lists the names that valid records bear, those first whose paths end as the repository's does for longest, and then by the alphabet.
func (c *chain) names() []reconcile.Repo {
	var out []reconcile.Repo
	for _, m := range c.Manifests {
		for _, r := range c.records[m.Digest] {
			if r.Problem == "" && !slices.Contains(out, r.Statement.Identity) {
				out = append(out, r.Statement.Identity)
			}
		}
	}
	slices.SortFunc(out, func(a, b reconcile.Repo) int {
		return cmp.Or(cmp.Compare(alike(b, c.repo), alike(a, c.repo)), strings.Compare(a.String(), b.String()))
	})
	return out
}

// alike counts the last elements of two paths that are the same.
func alike(a, b reconcile.Repo) (n int) {
	x, y := strings.Split(a.Path(), "/"), strings.Split(b.Path(), "/")
	for n < min(len(x), len(y)) && x[len(x)-1-n] == y[len(y)-1-n] {
		n++
	}
	return n
}

// judgeAs judges by the records that bear one name.
func (c *chain) judgeAs(name reconcile.Repo, e expected, now time.Time) {
	c.Identity = name
	for i := range c.Manifests {
		c.link(&c.Manifests[i], e)
	}
	c.judgeVerdict(e, now)
	c.judgeApproval(e)
	c.readUpstream()
}

func (c *chain) fault(format string, args ...any) {
	c.Problems = append(c.Problems, fmt.Sprintf(format, args...))
}

// link tells of one manifest's records.
func (c *chain) link(m *manifestLink, e expected) {
	attested, foreign := 0, []string{}
	for _, r := range c.records[m.Digest] {
		st := r.Statement
		problem := c.problem(r)
		if problem != "" {
			m.Records = append(m.Records, recordLink{Format: st.Format, Problem: problem, Refused: sign.Falsified(problem)})
			foreign = append(foreign, problem)
			continue
		}
		m.Records = append(m.Records, recordLink{Format: st.Format, Signer: st.Signer, Identity: st.Identity, Predicate: st.PredicateType, About: st.About, Time: st.Time})
		switch st.PredicateType {
		case "":
			m.Signed = true
			continue
		case reconcile.VulnerabilityPredicate:
			m.Scans = append(m.Scans, st.About)
		case reconcile.InventoryPredicate:
			m.Inventory = append(m.Inventory, st.About)
		case reconcile.BillPredicate:
			m.Bill = true
		}
		attested++
	}
	what := m.what(c.root)
	switch {
	case !m.Signed && attested > 0:
		c.fault("%s bears no signature by %s: of the records there that are valid, each is an attestation, and an attestation is no signature", what, e.by)
	case !m.Signed && len(foreign) > 0:
		c.fault("%s bears no valid signature by %s; what lies there: %s", what, e.by, strings.Join(once(foreign), ", "))
	case !m.Signed:
		c.fault("%s bears no signature", what)
	}
	if m.runs && len(m.Scans) == 0 && slices.Contains(e.require, requireScans) {
		c.fault("no scan of %s is attested%s", what, c.refused(m.Digest))
	}
	if m.runs && len(m.Inventory) == 0 && !m.Bill && slices.Contains(e.require, requireInventory) {
		c.fault("no inventory of %s is attested%s", what, c.refused(m.Digest))
	}
}

// refused tells, for a message about a link that is missing, of records there that speak falsely in the signer's name. By themselves they prove nothing
// and disprove nothing: whoever may push can lay them there, and must not be able to spoil what is proven without them.
func (c *chain) refused(d reconcile.Digest) string {
	var why []string
	for _, r := range c.records[d] {
		if sign.Falsified(r.Problem) {
			why = append(why, r.Problem)
		}
	}
	if len(why) == 0 {
		return ""
	}
	return "; refused beside it: " + strings.Join(once(why), ", ")
}

// problem is why a record doesn't count: it isn't valid, or it is about the image under another name.
func (c *chain) problem(r reconcile.Record) string {
	if r.Problem != "" {
		return r.Problem
	}
	if r.Statement.Identity != c.Identity {
		return fmt.Sprintf("it speaks of the image as %s, not as %s", r.Statement.Identity, c.Identity)
	}
	return ""
}

func (m manifestLink) what(root reconcile.Digest) string {
	switch {
	case m.Platform.Runnable():
		return m.Digest.Short() + " (" + shown(m.Platform.String()) + ")"
	case m.Digest == root && !m.runs:
		return m.Digest.Short() + " (index)"
	}
	return m.Digest.Short()
}

// newest lists the valid records of one predicate type about the root, the newest of each name that the catalog gave the image, in the order of their
// times; and those that a newer one replaces.
func (c *chain) newest(predicateType string) (latest, replaced []reconcile.Record) {
	by := map[string]reconcile.Record{}
	for _, r := range c.records[c.root] {
		if c.problem(r) != "" || r.Statement.PredicateType != predicateType {
			continue
		}
		had, ok := by[r.Statement.About]
		if ok && !r.Statement.Time.After(had.Statement.Time) {
			had, r = r, had
		}
		if by[r.Statement.About] = r; ok {
			replaced = append(replaced, had)
		}
	}
	for _, r := range by {
		latest = append(latest, r)
	}
	slices.SortFunc(latest, func(a, b reconcile.Record) int {
		if n := b.Statement.Time.Compare(a.Statement.Time); n != 0 {
			return n
		}
		return strings.Compare(a.Statement.About, b.Statement.About)
	})
	return latest, replaced
}

// clockSkew is how far clocks may differ before a time counts as one to come.
const clockSkew = time.Hour

// judgeVerdict takes the first verdict that holds, of the newest of each name; or else tells why the newest doesn't.
func (c *chain) judgeVerdict(e expected, now time.Time) {
	latest, replaced := c.newest(reconcile.VerdictPredicate)
	if len(latest) == 0 {
		c.fault("there is no verdict by %s%s", e.by, c.refused(c.root))
		return
	}
	why := ""
	for _, r := range latest {
		v, fault := readVerdict(r, e.maxAge, now)
		if fault == "" {
			c.Verdict = &v
			return
		}
		c.Otherwise = append(c.Otherwise, fmt.Sprintf("as %s: %s", r.Statement.About, fault))
		if slices.ContainsFunc(replaced, func(o reconcile.Record) bool { return o.Statement.About == r.Statement.About }) {
			fault += "; an older one that lies beside it does not count"
		}
		if c.Verdict == nil {
			c.Verdict, why = &v, fault
		}
	}
	c.Otherwise = nil // it is a problem
	c.fault("%s", why)
}

// readVerdict reads a verdict and says why it doesn't hold.
func readVerdict(r reconcile.Record, maxAge time.Duration, now time.Time) (v reconcile.AttestedVerdict, fault string) {
	v, err := reconcile.ReadVerdict(r.Statement.Predicate)
	v.Verified = r.Statement.Time // the time that was signed beside the predicate is the one that the newest was found by
	switch {
	case err != nil:
		return v, "the newest verdict can't be read"
	case v.Result != reconcile.Passed:
		return v, fmt.Sprintf("the newest verdict, of %s, is %s", when(v.Verified), shown(v.Result))
	case v.Verified.After(now.Add(clockSkew)):
		return v, fmt.Sprintf("the newest verdict is of %s, a time to come", when(v.Verified))
	case maxAge > 0 && now.Sub(v.Verified) > maxAge:
		return v, fmt.Sprintf("the newest verdict, of %s, has expired: it may be %s old", when(v.Verified), maxAge)
	}
	return v, ""
}

// judgeApproval takes the approval under the verdict's name.
func (c *chain) judgeApproval(e expected) {
	latest, _ := c.newest(reconcile.ApprovalPredicate)
	for _, r := range latest {
		a, err := reconcile.ReadApproval(r.Statement.Predicate)
		if err == nil && (c.Verdict == nil || c.Verdict.Image == r.Statement.About) {
			c.Approval, c.Approved = &a, r.Statement.Time
			break
		}
	}
	if !slices.Contains(e.require, requireApproval) {
		return
	}
	switch {
	case c.Approval == nil:
		c.fault("there is no approval by %s on record%s", e.by, c.refused(c.root))
	case c.Approval.Review == nil:
		c.fault("its approval records no review: no forge was asked")
	case c.Approval.Review.State != reconcile.Approved:
		c.fault("its review is recorded as %s", shown(string(c.Approval.Review.State)))
	case len(c.Approval.Review.Approvers) == 0 && !c.Approval.Review.Baseline:
		c.fault("its approval names nobody who approved it")
	}
}

// readUpstream takes what others were found to have signed, under the verdict's name.
func (c *chain) readUpstream() {
	latest, _ := c.newest(reconcile.UpstreamPredicate)
	for _, r := range latest {
		up, err := reconcile.ReadUpstream(r.Statement.Predicate)
		if err == nil && (c.Verdict == nil || c.Verdict.Image == r.Statement.About) {
			c.Upstream = up.Signers()
			return
		}
	}
}

// once drops what was there before.
func once(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}
