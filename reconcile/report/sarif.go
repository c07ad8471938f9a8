package report

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/assay-oci/assay/reconcile"
)

// SARIFOptions are those of SARIF.
type SARIFOptions struct {
	Folder  string // of the catalog within its repository; empty for the root
	Version string // of this program; empty if unknown
}

// maxResults is how many findings are written, those that block first: GitHub shows no more of one run.
const maxResults = 5000

// The parts of SARIF 2.1.0 (OASIS standard, 27 March 2020) that are written.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool       sarifTool      `json:"tool"`
		Category   *sarifCategory `json:"automationDetails,omitempty"`
		Results    []sarifResult  `json:"results"`
		Properties map[string]any `json:"properties,omitempty"`
	}
	sarifCategory struct {
		ID string `json:"id"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version,omitempty"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID    string    `json:"id"`
		Short sarifText `json:"shortDescription"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		Rule         string            `json:"ruleId"`
		Index        int               `json:"ruleIndex"`
		Level        string            `json:"level"`
		Message      sarifText         `json:"message"`
		Locations    []sarifLocation   `json:"locations"`
		Fingerprints map[string]string `json:"partialFingerprints"`
		Properties   map[string]string `json:"properties,omitempty"`
	}
	sarifLocation struct {
		Physical struct {
			Artifact struct {
				URI  string `json:"uri"`
				Base string `json:"uriBaseId"`
			} `json:"artifactLocation"`
			Region *sarifRegion `json:"region,omitempty"`
		} `json:"physicalLocation"`
	}
	sarifRegion struct {
		Line int `json:"startLine"`
	}
)

// SARIF writes what is refused, violated and noted as SARIF 2.1.0, on the catalog's lines: for code scanning and for editors. The same finding has the
// same fingerprint in every run.
func SARIF(w io.Writer, r reconcile.Report, o SARIFOptions) error {
	run := sarifRun{Tool: sarifTool{sarifDriver{Name: "Assay", Version: Plain(o.Version), Rules: []sarifRule{}}}, Results: []sarifResult{}}
	if folder := InFolder(o.Folder, ""); folder != "" { // code scanning keeps the newest report of a category
		run.Category = &sarifCategory{"assay/" + Plain(folder) + "/"}
	}
	index := map[string]int{}
	add := func(level string, fs []reconcile.Finding) {
		for _, f := range fs {
			if len(run.Results) == maxResults {
				run.Properties = map[string]any{"shortened": true}
				return
			}
			rule := Plain(f.Rule)
			i, ok := index[rule]
			if !ok {
				i = len(run.Tool.Driver.Rules)
				index[rule] = i
				run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{ID: rule, Short: sarifText{"Rule " + message(rule)}})
			}
			run.Results = append(run.Results, sarifResult{Rule: rule, Index: i, Level: level, Message: sarifText{messageOf(f)}, Locations: []sarifLocation{locate(f.Origin, o.Folder)},
				Fingerprints: map[string]string{"assay/v1": fingerprint(f)}, Properties: properties(f)})
		}
	}
	add("error", Blocked(r))
	add("error", told(r.Plan.Violations))
	notes := told(r.Plan.Notes)
	add("warning", slices.DeleteFunc(slices.Clone(notes), func(f reconcile.Finding) bool { return !f.Warning && !isPolicyChange(f) }))
	add("note", slices.DeleteFunc(notes, func(f reconcile.Finding) bool { return f.Warning || isPolicyChange(f) }))
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(sarifLog{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}})
}

func messageOf(f reconcile.Finding) string {
	text := sentence(f)
	if f.Image != "" {
		text = f.Image + ": " + text
	}
	if f.Detail != "" {
		text += ". " + f.Detail
	}
	return message(text)
}

// message escapes foreign text in a SARIF message, where brackets make links and braces are places to fill in (sections 3.11.5 and 3.11.6).
func message(s string) string {
	return strings.NewReplacer(`\`, `\\`, `[`, `\[`, `]`, `\]`, `{`, `{{`, `}`, `}}`).Replace(Plain(s))
}

func locate(at reconcile.Origin, folder string) sarifLocation {
	var l sarifLocation
	l.Physical.Artifact.Base = "%SRCROOT%"
	// as a rooted path, no foreign name leads out of the folder
	name := strings.TrimPrefix(path.Join("/", folder, path.Join("/", Plain(at.File))), "/")
	l.Physical.Artifact.URI = (&url.URL{Path: name}).String()
	if name == "" {
		l.Physical.Artifact.URI = "."
	}
	if at.File != "" {
		l.Physical.Region = &sarifRegion{max(at.Line, 1)}
	}
	return l
}

// fingerprint names a finding by what it says, not by its line.
func fingerprint(f reconcile.Finding) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %q %q", f.Rule, f.Image, f.ID, f.Package, f.Origin.File)
	if f.ID == "" {
		fmt.Fprintf(h, " %q", f.Summary)
	}
	return hex.EncodeToString(h.Sum(nil))[:32]
}

func properties(f reconcile.Finding) map[string]string {
	out := map[string]string{}
	for name, value := range map[string]string{"image": f.Image, "digest": f.Digest.String(), "id": f.ID, "package": f.Package, "purl": f.PURL, "severity": string(f.Severity), "scope": f.Scope} {
		if value != "" {
			out[name] = Plain(value)
		}
	}
	return out
}
