package reconcile

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// The types of the predicates that records have.
const (
	// VulnerabilityPredicate is that of scan results, as cosign specifies it (COSIGN_VULN_ATTESTATION_SPEC).
	VulnerabilityPredicate = "https://cosign.sigstore.dev/attestation/vuln/v1"
	// InventoryPredicate is that of an Inventory. It is Assay's own: the predicate is the JSON form of Inventory.
	InventoryPredicate = "https://github.com/assay-oci/assay/inventory/v1"
	// BillPredicate is that of an inventory as a CycloneDX document (https://cyclonedx.org/specification/overview), for the tools of others.
	BillPredicate = "https://cyclonedx.org/bom"
	// VerdictPredicate is that of a verdict, a SLSA verification summary (https://slsa.dev/spec/v1.1/verification_summary).
	VerdictPredicate = "https://slsa.dev/verification_summary/v1"
	// ApprovalPredicate is that of an approval: which entry of the catalog admitted the image, and who approved it. It is Assay's own.
	ApprovalPredicate = "https://github.com/assay-oci/assay/approval/v1"
	// UpstreamPredicate is that of what others were found to have signed about the image where it came from. It is Assay's own: the predicate is the
	// JSON form of Upstream.
	UpstreamPredicate = "https://github.com/assay-oci/assay/upstream/v1"
)

// self names Assay where a predicate asks who made it.
const self = "https://github.com/assay-oci/assay"

// marshal writes a predicate. All of them are plain data.
func marshal(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("a predicate is plain data: %v", err))
	}
	return string(b)
}

// vulnPredicate is the predicate of VulnerabilityPredicate. Its result is free in form; ours is the whole Scan but its inventory, which has a
// record of its own.
type vulnPredicate struct {
	Invocation struct {
		URI       string `json:"uri"`
		EventID   string `json:"event_id"`
		BuilderID string `json:"builder.id"`
	} `json:"invocation"`
	Scanner struct {
		URI     string `json:"uri"`
		Version string `json:"version"`
		DB      struct {
			URI        string     `json:"uri"`
			Version    string     `json:"version"`
			LastUpdate *time.Time `json:"lastUpdate,omitempty"`
		} `json:"db"`
		Result Scan `json:"result"`
	} `json:"scanner"`
	Metadata struct {
		Started  time.Time `json:"scanStartedOn"`
		Finished time.Time `json:"scanFinishedOn"`
	} `json:"metadata"`
}

func scanPredicate(scan Scan) string {
	var p vulnPredicate
	p.Invocation.BuilderID = self
	p.Scanner.URI, p.Scanner.Version = scan.Scanner, scan.Version
	if !scan.Database.IsZero() {
		p.Scanner.DB.LastUpdate = &scan.Database
	}
	p.Scanner.Result = scan
	p.Scanner.Result.Inventory = nil
	p.Metadata.Started, p.Metadata.Finished = scan.Finished, scan.Finished
	return marshal(p)
}

func readScan(predicate string) (Scan, error) {
	var p vulnPredicate
	if err := json.Unmarshal([]byte(predicate), &p); err != nil {
		return Scan{}, fmt.Errorf("read scan result: %w", err)
	}
	return p.Scanner.Result, nil
}

// ReadInventory reads the predicate of an inventory's record.
func ReadInventory(predicate string) (Inventory, error) {
	var i Inventory
	if err := json.Unmarshal([]byte(predicate), &i); err != nil {
		return i, fmt.Errorf("read inventory: %w", err)
	}
	return i, nil
}

// The results of a verification summary.
const (
	passed = "PASSED"
	failed = "FAILED"
)

// noCatalog stands where a verdict must name the catalog, and the catalog has no name.
const noCatalog = self + "#catalog"

// admitted is the level that an admitted image has. Levels that aren't SLSA's must not begin with "SLSA_".
const admitted = "ASSAY_ADMITTED"

// verdictPredicate is the predicate of VerdictPredicate. What the specification has no field for stands below "assay", and is ignored by others.
type verdictPredicate struct {
	Verifier struct {
		ID string `json:"id"`
	} `json:"verifier"`
	Time     time.Time `json:"timeVerified"`
	Resource string    `json:"resourceUri"`
	Policy   struct {
		URI    string            `json:"uri"`
		Digest map[string]string `json:"digest,omitempty"`
	} `json:"policy"`
	Result string       `json:"verificationResult"`
	Levels []string     `json:"verifiedLevels"`
	Slsa   string       `json:"slsaVersion"`
	Assay  verdictFacts `json:"assay"`
}

// verdictFacts say why the verdict is what it is.
type verdictFacts struct {
	Image   string           `json:"image"` // label and version in the catalog
	Scope   string           `json:"scope,omitempty"`
	Commit  string           `json:"commit,omitempty"`
	Origin  Origin           `json:"origin,omitzero"`
	Rules   []verdictRule    `json:"rules"`
	Waivers []verdictWaiver  `json:"waivers,omitempty"`
	Scans   []verdictScanner `json:"scans,omitempty"`
}

type verdictRule struct {
	Rule     string   `json:"rule"`
	Policy   string   `json:"policy,omitempty"`
	Scope    string   `json:"scope,omitempty"`
	Result   string   `json:"result"` // passed, warned, waived or failed
	Findings []string `json:"findings,omitempty"`
}

type verdictWaiver struct {
	ID            string    `json:"id"`
	Rule          string    `json:"rule"`
	Justification string    `json:"justification,omitempty"`
	Reason        string    `json:"reason"`
	Expires       time.Time `json:"expires"`
	Origin        Origin    `json:"origin,omitzero"`
}

type verdictScanner struct {
	Scanner  string    `json:"scanner"`
	Version  string    `json:"version,omitempty"`
	Platform Platform  `json:"platform,omitzero"`
	Database time.Time `json:"database,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
}

// maxVerdictFindings bounds what a verdict repeats of each rule's findings; the scans' own records have all of them.
const maxVerdictFindings = 20

// verdictOf writes the verdict about an image under one name.
func (s *state) verdictOf(w *Want, e Evidence, j judgement, identity Repo) string {
	var p verdictPredicate
	p.Verifier.ID, p.Slsa, p.Time = self, "1.1", s.now.UTC().Truncate(time.Second)
	p.Resource = "pkg:oci/" + lastOf(identity.Path()) + "@" + w.From.Digest.String() + "?repository_url=" + identity.String()
	p.Policy.URI = s.d.Catalog
	if p.Policy.URI == "" {
		p.Policy.URI = noCatalog
	}
	if s.d.Commit != "" {
		p.Policy.Digest = map[string]string{"gitCommit": s.d.Commit}
	}
	p.Result, p.Levels = passed, []string{admitted}
	if j.result() != passed {
		p.Result, p.Levels = failed, []string{failed}
	}
	p.Assay = verdictFacts{Image: w.Title(), Scope: w.Scope, Commit: s.d.Commit, Origin: w.Origin, Rules: []verdictRule{}}
	for _, r := range j.rules {
		p.Assay.Rules = append(p.Assay.Rules, r.verdict())
	}
	sortBy(p.Assay.Rules, func(r verdictRule) string {
		return r.Scope + "\x00" + r.Policy + "\x00" + r.Rule + "\x00" + marshal(r.Findings)
	})
	for _, i := range j.waivers {
		v := s.d.Waivers[i]
		p.Assay.Waivers = append(p.Assay.Waivers, verdictWaiver{v.ID, v.Rule, v.Justification, v.Reason, v.Expires, v.Origin})
	}
	sortBy(p.Assay.Waivers, func(v verdictWaiver) string {
		return fmt.Sprintf("%s\x00%s\x00%s\x00%06d", v.ID, v.Rule, v.Origin.File, v.Origin.Line)
	})
	for _, ps := range e.Scans {
		if ps.Scan.NoVerdict == "" {
			p.Assay.Scans = append(p.Assay.Scans, verdictScanner{ps.Scan.Scanner, ps.Scan.Version, ps.Platform, ps.Scan.Database, ps.Scan.Finished})
		}
	}
	sortBy(p.Assay.Scans, func(x verdictScanner) string { return x.Scanner + "\x00" + x.Platform.String() })
	return marshal(p)
}

func (r ruled) verdict() verdictRule {
	out := verdictRule{Rule: r.Name(), Policy: r.Policy, Scope: r.Scope, Result: "passed"}
	switch {
	case len(r.refused) > 0:
		out.Result = "failed"
	case len(r.warned) > 0:
		out.Result = "warned"
	case len(r.waived) > 0:
		out.Result = "waived"
	}
	found := slices.Concat(r.refused, r.warned)
	sortFindings(found)
	for _, f := range found {
		if len(out.Findings) == maxVerdictFindings {
			out.Findings = append(out.Findings, fmt.Sprintf("and %d more", len(r.refused)+len(r.warned)-maxVerdictFindings))
			break
		}
		out.Findings = append(out.Findings, f.Summary)
	}
	return out
}

// readVerdict returns the result of a verdict; empty for what is none.
func readVerdict(predicate string) string {
	var p struct {
		Result string `json:"verificationResult"`
	}
	if json.Unmarshal([]byte(predicate), &p) != nil {
		return ""
	}
	return p.Result
}

func lastOf(path string) string {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '/' {
			return path[i+1:]
		}
	}
	return path
}

// An ApprovalRecord is the predicate of ApprovalPredicate.
type ApprovalRecord struct {
	Catalog string  `json:"catalog,omitempty"` // the repository
	Commit  string  `json:"commit,omitempty"`  // at which the image was admitted
	Image   string  `json:"image"`
	Version string  `json:"version"`
	Origin  Origin  `json:"origin,omitzero"` // file and line in the catalog
	Source  string  `json:"source"`          // where it came from, by digest
	Owner   string  `json:"owner,omitempty"`
	Purpose string  `json:"purpose,omitempty"`
	Scope   string  `json:"scope,omitempty"`
	Review  *Review `json:"review,omitempty"` // what the forge told; nil if no forge was asked
}

func (s *state) approvalOf(w *Want, e Evidence) string {
	return marshal(ApprovalRecord{Catalog: s.d.Catalog, Commit: s.d.Commit, Image: w.Name, Version: w.Version, Origin: w.Origin,
		Source: w.From.String(), Owner: w.Owner, Purpose: w.Purpose, Scope: w.Scope, Review: e.Review})
}
