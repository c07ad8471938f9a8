package reconcile

import (
	"encoding/json"
	"fmt"
	"time"
)

// An AttestedVerdict is what the record of a verdict says, as it is read back. Its texts come from the catalog and from scanners, to be shown escaped.
type AttestedVerdict struct {
	Result   string           `json:"result"` // Passed, or anything else
	Image    string           `json:"image,omitempty"`
	Scope    string           `json:"scope,omitempty"`
	Policy   string           `json:"policy,omitempty"` // the catalog's repository; empty for one without a name
	Commit   string           `json:"commit,omitempty"` // of the catalog
	Origin   Origin           `json:"origin,omitzero"`
	Verified time.Time        `json:"verified,omitzero"`
	Rules    []VerdictRule    `json:"rules,omitempty"`
	Waivers  []VerdictWaiver  `json:"waivers,omitempty"`
	Scans    []VerdictScanner `json:"scans,omitempty"`
}

// Passed is the result of a verdict that admits.
const Passed = passed

// VerdictRule is how a rule ended.
type VerdictRule = verdictRule

// VerdictWaiver is a waiver that was needed.
type VerdictWaiver = verdictWaiver

// VerdictScanner is a scan that the verdict rests on.
type VerdictScanner = verdictScanner

// ReadVerdict reads the predicate of a verdict's record.
func ReadVerdict(predicate string) (AttestedVerdict, error) {
	var p verdictPredicate
	if err := json.Unmarshal([]byte(predicate), &p); err != nil {
		return AttestedVerdict{}, fmt.Errorf("read verdict: %w", err)
	}
	if p.Policy.URI == noCatalog {
		p.Policy.URI = ""
	}
	return AttestedVerdict{Result: p.Result, Image: p.Assay.Image, Scope: p.Assay.Scope, Policy: p.Policy.URI, Commit: p.Assay.Commit, Origin: p.Assay.Origin, Verified: p.Time,
		Rules: p.Assay.Rules, Waivers: p.Assay.Waivers, Scans: p.Assay.Scans}, nil
}

// ReadUpstream reads the predicate of a record of what others signed.
func ReadUpstream(predicate string) (Upstream, error) {
	var u Upstream
	if err := json.Unmarshal([]byte(predicate), &u); err != nil {
		return u, fmt.Errorf("read what others signed: %w", err)
	}
	return u, nil
}

// ReadApproval reads the predicate of an approval's record.
func ReadApproval(predicate string) (ApprovalRecord, error) {
	var a ApprovalRecord
	if err := json.Unmarshal([]byte(predicate), &a); err != nil {
		return a, fmt.Errorf("read approval: %w", err)
	}
	return a, nil
}
