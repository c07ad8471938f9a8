package builtin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/google/osv-scalibr/semantic"
	"github.com/ossf/osv-schema/bindings/go/osvconstants"
)

// A record is the part that we use of an advisory in OSV's format: https://ossf.github.io/osv-schema/, version 1.7.
type record struct {
	advisory
	Withdrawn *time.Time `json:"withdrawn,omitempty"`
	Details   string     `json:"details,omitempty"`
	Severity  []score    `json:"severity,omitempty"`
	Affected  []affected `json:"affected,omitempty"`
	Database  struct {
		Severity any `json:"severity,omitempty"` // GitHub's is a word; other databases put other things here
	} `json:"database_specific,omitzero"`
}

// An advisory is what a record says of the vulnerability itself. It is kept once.
type advisory struct {
	ID        string    `json:"id"`
	Modified  time.Time `json:"modified"`
	Published time.Time `json:"published,omitzero"`
	Aliases   []string  `json:"aliases,omitempty"`
	Upstream  []string  `json:"upstream,omitempty"` // what a distribution's advisory is about
	Summary   string    `json:"summary,omitempty"`
}

// An entry is what a record says about one package. It is kept where that package is looked up, so that an advisory is read only if it applies.
type entry struct {
	Modified int64      `json:"m"` // the record's, in nanoseconds; an entry of a record that was replaced by a newer one doesn't count
	Affected []versions `json:"a"`
}

type versions struct {
	Severity reconcile.Severity `json:"s,omitempty"`
	Ranges   []span             `json:"r,omitempty"`
	Versions []string           `json:"v,omitempty"`
}

type score struct {
	Type  string `json:"type"`
	Score string `json:"score"`
}

type affected struct {
	Package struct {
		Ecosystem string `json:"ecosystem"`
		Name      string `json:"name"`
	} `json:"package,omitzero"`
	Severity  []score  `json:"severity,omitempty"`
	Ranges    []span   `json:"ranges,omitempty"`
	Versions  []string `json:"versions,omitempty"`
	Ecosystem struct {
		Urgency  any `json:"urgency,omitempty"`  // Debian's
		Severity any `json:"severity,omitempty"` // other distributions'
	} `json:"ecosystem_specific,omitzero"`
	Database struct {
		Severity any `json:"severity,omitempty"`
	} `json:"database_specific,omitzero"`
}

// A span is what OSV calls a range.
type span struct {
	Type   string  `json:"type"`
	Events []event `json:"events"`
}

// An event sets exactly one of its fields.
type event struct {
	Introduced   string `json:"introduced,omitempty"`
	Fixed        string `json:"fixed,omitempty"`
	LastAffected string `json:"last_affected,omitempty"`
	Limit        string `json:"limit,omitempty"`
}

func (e event) version() string { return e.Introduced + e.Fixed + e.LastAffected + e.Limit }

const maxSummary = 400 // bytes

// parseRecord reads a record and leaves of it what can be compared. Anything that isn't understood is an error: a record that is
// dropped in silence is a vulnerability that nobody hears of.
func parseRecord(b []byte) (record, error) {
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("it is not an OSV record: %w", err)
	}
	switch {
	case r.ID == "" || len(r.ID) > 256 || strings.Contains(r.ID, "\x00"):
		return r, errors.New("it has no id")
	case r.Modified.IsZero():
		return r, errors.New("it does not say when it was modified")
	case r.Withdrawn == nil && r.Affected == nil && !bytes.Contains(b, []byte(`"affected"`)):
		return r, errors.New("it does not say what is affected")
	}
	var kept []affected
	for _, a := range r.Affected {
		if a.Package.Name == "" && a.Package.Ecosystem == "" {
			continue // a source repository, by commits
		}
		known, err := canCompare(a.Package.Ecosystem)
		if err != nil {
			return r, err
		}
		if !known {
			continue
		}
		if a.Package.Name == "" || len(a.Package.Name) > 4096 || strings.Contains(a.Package.Name+a.Package.Ecosystem, "\x00") {
			return r, errors.New("an affected package has no name that can be")
		}
		if a, err = a.usable(); err != nil {
			return r, err
		}
		a.Package.Ecosystem = ecosystemKey(a.Package.Ecosystem)
		kept = append(kept, a)
	}
	r.Affected = kept
	if r.Summary == "" {
		r.Summary, _, _ = strings.Cut(strings.TrimSpace(r.Details), "\n")
	}
	r.Summary, r.Details = strings.ToValidUTF8(r.Summary[:min(len(r.Summary), maxSummary)], ""), ""
	return r, nil
}

// uncompared are the ecosystems of OSV whose versions scalibr can't compare. No package that we find belongs to one.
var uncompared = map[osvconstants.Ecosystem]bool{
	osvconstants.EcosystemAndroid: true, osvconstants.EcosystemCleanStart: true, osvconstants.EcosystemEcho: true,
	osvconstants.EcosystemFreeBSD: true, osvconstants.EcosystemGitHubActions: true, osvconstants.EcosystemKubernetes: true,
	osvconstants.EcosystemLinux: true, osvconstants.EcosystemOpam: true, osvconstants.EcosystemOSSFuzz: true,
	osvconstants.EcosystemPhotonOS: true, osvconstants.EcosystemRoot: true, osvconstants.EcosystemTuxCare: true,
	osvconstants.EcosystemVSCode: true, "GIT": true,
}

// parseVersion is semantic.Parse, for one more ecosystem of rpm packages.
func parseVersion(version, ecosystem string) (semantic.Version, error) {
	if strings.HasPrefix(ecosystem, "Azure Linux:") {
		ecosystem = "Red Hat"
	}
	return semantic.Parse(version, ecosystem)
}

// canCompare tells whether versions of an ecosystem can be compared. One of which nobody has heard is an error.
func canCompare(ecosystem string) (bool, error) {
	if _, err := parseVersion("1", ecosystem); !errors.Is(err, semantic.ErrUnsupportedEcosystem) {
		return true, nil
	}
	base, _, _ := strings.Cut(ecosystem, ":")
	if uncompared[osvconstants.Ecosystem(base)] {
		return false, nil
	}
	return false, fmt.Errorf("its ecosystem %q is not known; a newer release of assay may know it", ecosystem)
}

// usable drops ranges of commits and checks the others.
func (a affected) usable() (affected, error) {
	var kept []span
	for _, r := range a.Ranges {
		switch r.Type {
		case "GIT":
			continue
		case "SEMVER", "ECOSYSTEM":
		default:
			return a, fmt.Errorf("it has a range of the unknown type %q", r.Type)
		}
		introduced := false
		for _, e := range r.Events {
			set := 0
			for _, v := range []string{e.Introduced, e.Fixed, e.LastAffected, e.Limit} {
				if v != "" {
					set++
				}
			}
			if set != 1 {
				return a, errors.New("it has an event that is not understood")
			}
			introduced = introduced || e.Introduced != ""
		}
		if !introduced {
			return a, errors.New("it has a range that begins nowhere")
		}
		kept = append(kept, r)
	}
	if len(kept) == 0 && len(a.Versions) == 0 && len(a.Ranges) == 0 {
		kept = []span{{Type: "ECOSYSTEM", Events: []event{{Introduced: "0"}}}} // it names no version: all of them
	}
	a.Ranges = kept
	return a, nil
}
