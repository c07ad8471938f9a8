package reconcile

import (
	"encoding/json"
	"fmt"
	"time"
)

// VulnerabilityPredicate is the predicate type of scan results, as cosign specifies it (COSIGN_VULN_ATTESTATION_SPEC).
const VulnerabilityPredicate = "https://cosign.sigstore.dev/attestation/vuln/v1"

// check asks the rules that pick selects, and completes what they found with where the rule and the image stand.
func (s *state) check(w *Want, e Evidence, pick func(Bound) bool) []Finding {
	subject := Subject{Want: *w, Siblings: s.versions(w), Evidence: e, Expected: s.d.Scanners}
	var out []Finding
	for _, r := range w.Rules {
		if !pick(r) {
			continue
		}
		for _, f := range r.Check(subject, s.now) {
			f.Rule, f.Scope, f.Image, f.Digest = r.Name(), r.Scope, w.Title(), w.From.Digest
			if f.Origin == (Origin{}) {
				f.Origin = w.Origin
			}
			if !s.waived(f, w) {
				out = append(out, f)
			}
		}
	}
	return out
}

// waived tells whether a waiver in force covers a finding: one of the same scope as the rule or of a scope around it.
func (s *state) waived(f Finding, w *Want) bool {
	for _, v := range s.d.Waivers {
		if v.Rule == f.Rule && encloses(v.Scope, f.Scope) &&
			(v.ID == "*" || v.ID == f.ID) &&
			(v.Image == "" || v.Image == w.Name) &&
			(v.Digest.IsZero() || v.Digest == w.From.Digest) &&
			(v.Package == "" || v.Package == f.Package) &&
			s.now.Before(v.Expires) {
			return true
		}
	}
	return false
}

// evidence gathers what is known of an image. complete is false while a scan that could still be had was not asked for.
func (s *state) evidence(w *Want, tree Tree, places []place) (e Evidence, complete bool) {
	if len(s.open(s.scansOf(w))) > 0 {
		return e, false
	}
	return s.known(w, tree, places), true
}

// known is the evidence so far. What was scanned in this run counts before what was attested earlier.
func (s *state) known(w *Want, tree Tree, places []place) Evidence {
	e := Evidence{Tree: &tree}
	for _, m := range tree.Runnable() {
		for _, sc := range s.d.Scanners {
			scan, ok := s.freshScan(w, m.Digest, sc.Name, places)
			if !ok {
				scan, ok = s.attestedScan(m.Digest, sc.Name, places)
			}
			if !ok {
				scan = Scan{Scanner: sc.Name, NoVerdict: "it was not scanned"}
			}
			e.Scans = append(e.Scans, PlatformScan{Manifest: m.Digest, Platform: m.Platform, Scan: scan})
		}
	}
	return e
}

// freshScan returns what a scanner answered in this run. One that could not be run gives no verdict, with the reason.
func (s *state) freshScan(w *Want, manifest Digest, scanner string, places []place) (Scan, bool) {
	for _, from := range append([]Repo{w.From.Repo}, repos(places)...) {
		a, ok := s.o.answer(Question{Kind: AskScan, Repo: from, Digest: manifest, Root: w.From.Digest, Scanner: scanner})
		switch {
		case ok && a.Gap != nil:
			return Scan{Scanner: scanner, NoVerdict: a.Gap.Reason}, true
		case ok:
			a.Scan.Scanner = scanner
			return a.Scan, true
		}
	}
	return Scan{}, false
}

// attestedScan reads a scan's result back from a verified attestation of ours beside the image.
func (s *state) attestedScan(manifest Digest, scanner string, places []place) (Scan, bool) {
	var newest Scan
	var when time.Time
	found := false
	for _, p := range places {
		valid, _ := s.records(Image{p.Repo, manifest})
		for _, r := range valid {
			st := r.Statement
			if st.PredicateType != VulnerabilityPredicate || st.Identity != p.Identity || aboutOf(st) != scanner || found && !st.Time.After(when) {
				continue
			}
			scan, err := readScan(st.Predicate)
			if err != nil || scan.Scanner != scanner {
				continue
			}
			newest, when, found = scan, st.Time, true
		}
	}
	return newest, found
}

// vulnPredicate is the predicate of VulnerabilityPredicate. Its result is free in form; ours is the whole Scan.
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
	p.Invocation.BuilderID = "https://github.com/assay-oci/assay"
	p.Scanner.URI, p.Scanner.Version = scan.Scanner, scan.Version
	if !scan.Database.IsZero() {
		p.Scanner.DB.LastUpdate = &scan.Database
	}
	p.Scanner.Result = scan
	p.Metadata.Started, p.Metadata.Finished = scan.Finished, scan.Finished
	b, err := json.Marshal(p)
	if err != nil {
		panic(fmt.Sprintf("a scan is plain data: %v", err))
	}
	return string(b)
}

func readScan(predicate string) (Scan, error) {
	var p vulnPredicate
	if err := json.Unmarshal([]byte(predicate), &p); err != nil {
		return Scan{}, fmt.Errorf("read scan result: %w", err)
	}
	return p.Scanner.Result, nil
}
