// Package openvex reads and writes OpenVEX documents (OpenVEX specification v0.2.0). It alone knows the format.
//
// A document excuses vulnerabilities, so it is read strictly: an unknown or repeated field, a wrong case, a missing justification or one
// statement that isn't sound, and the whole document excuses nothing.
package openvex

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"time"
)

// MaxSize bounds a document, in bytes.
const MaxSize = 1 << 20

// Bounds of what a document says.
const (
	maxStatements = 5000
	maxPairs      = 10_000 // of a product, or of a part of one, and a vulnerability
	maxText       = 4096   // bytes of one string
)

// Context is the only version of the format that is read.
const Context = "https://openvex.dev/ns/v0.2.0"

// Status is what a statement says about a vulnerability in a product.
type Status string

// The statuses of OpenVEX.
const (
	NotAffected        Status = "not_affected"
	Affected           Status = "affected"
	Fixed              Status = "fixed"
	UnderInvestigation Status = "under_investigation"
)

// excuses tells whether the status says that the product isn't vulnerable.
func (s Status) excuses() bool { return s == NotAffected || s == Fixed }

// justifications are those of the specification, "Status Justifications".
var justifications = []string{
	"component_not_present", "inline_mitigations_already_exist", "vulnerable_code_cannot_be_controlled_by_adversary", "vulnerable_code_not_in_execute_path",
	"vulnerable_code_not_present",
}

// A Document is one OpenVEX document.
type Document struct {
	Context     string      `json:"@context"`
	ID          string      `json:"@id"`
	Author      string      `json:"author"`
	Role        string      `json:"role,omitempty"`
	Timestamp   time.Time   `json:"timestamp"`
	LastUpdated *time.Time  `json:"last_updated,omitempty"`
	Version     int         `json:"version"`
	Tooling     string      `json:"tooling,omitempty"`
	Statements  []Statement `json:"statements"`
}

// A Statement says what becomes of one vulnerability in some products.
type Statement struct {
	ID              string        `json:"@id,omitempty"`
	Version         int           `json:"version,omitempty"`
	Vulnerability   Vulnerability `json:"vulnerability"`
	Timestamp       *time.Time    `json:"timestamp,omitempty"` // the document's if nil
	LastUpdated     *time.Time    `json:"last_updated,omitempty"`
	Products        []Product     `json:"products"`
	Status          Status        `json:"status"`
	Supplier        string        `json:"supplier,omitempty"`
	StatusNotes     string        `json:"status_notes,omitempty"`
	Justification   string        `json:"justification,omitempty"`
	ImpactStatement string        `json:"impact_statement,omitempty"`
	ActionStatement string        `json:"action_statement,omitempty"`
	ActionTimestamp *time.Time    `json:"action_statement_timestamp,omitempty"`
}

// A Vulnerability is named by an advisory's identifier.
type Vulnerability struct {
	ID          string   `json:"@id,omitempty"`
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Aliases     []string `json:"aliases,omitempty"`
}

// A Component names a piece of software: its ID is a package URL or another identifier.
type Component struct {
	ID          string            `json:"@id,omitempty"`
	Identifiers map[string]string `json:"identifiers,omitempty"` // by kind: "purl", "cpe22", "cpe23"
	Hashes      map[string]string `json:"hashes,omitempty"`      // by algorithm: "sha-256"
}

// A Product is a component, or some components within it.
type Product struct {
	Component
	Subcomponents []Component `json:"subcomponents,omitempty"`
}

// Parse reads a document of at most MaxSize bytes.
func Parse(b []byte) (Document, error) {
	var d Document
	if len(b) > MaxSize {
		return d, fmt.Errorf("read OpenVEX document: it is longer than %d bytes", MaxSize)
	}
	if err := strict(b); err != nil {
		return d, fmt.Errorf("read OpenVEX document: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return Document{}, fmt.Errorf("read OpenVEX document: %w", err)
	}
	if err := d.check(); err != nil {
		return Document{}, fmt.Errorf("read OpenVEX document: %w", err)
	}
	return d, nil
}

// maxDepth is deeper than any document.
const maxDepth = 10

// strict refuses what encoding/json would let pass in silence: a field that stands twice, of which the last would count; one in another case;
// nulls; long texts; anything after the document.
func strict(b []byte) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	if err := strictValue(dec, 0); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more than one document")
	}
	return nil
}

func strictValue(dec *json.Decoder, depth int) error {
	t, err := dec.Token()
	if err != nil {
		return err
	}
	switch t := t.(type) {
	case nil:
		return errors.New("null stands for nothing; leave the field out")
	case string:
		if len(t) > maxText {
			return fmt.Errorf("a text is longer than %d bytes", maxText)
		}
	case json.Delim:
		if depth >= maxDepth {
			return fmt.Errorf("it is nested more than %d deep", maxDepth)
		}
		seen := map[string]bool{}
		for dec.More() {
			if t == '{' {
				name, err := dec.Token()
				if err != nil {
					return err
				}
				s, _ := name.(string)
				if seen[s] {
					return fmt.Errorf("the field %q stands twice in one object", clip(s))
				}
				if !slices.Contains(fields, s) {
					return fmt.Errorf("there is no field %q", clip(s))
				}
				seen[s] = true
			}
			if err := strictValue(dec, depth+1); err != nil {
				return err
			}
		}
		if _, err := dec.Token(); err != nil {
			return err
		}
	}
	return nil
}

// fields are all names that stand anywhere in a document, in their case.
var fields = []string{
	"@context", "@id", "author", "role", "timestamp", "last_updated", "version", "tooling", "statements", "vulnerability", "products", "status", "supplier",
	"status_notes", "justification", "impact_statement", "action_statement", "action_statement_timestamp", "name", "description", "aliases", "identifiers", "hashes",
	"subcomponents", "purl", "cpe22", "cpe23", "md5", "sha1", "sha-256", "sha-384", "sha-512", "sha3-224", "sha3-256", "sha3-384", "sha3-512", "blake2s-256", "blake2b-256",
	"blake2b-512",
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

func (d Document) check() error {
	switch {
	case d.Context != Context:
		return fmt.Errorf("its @context is %q; only %q is read", clip(d.Context), Context)
	case d.ID == "" || d.Author == "":
		return errors.New("it needs an @id and an author")
	case d.Timestamp.IsZero():
		return errors.New("it needs a timestamp")
	case d.Version < 1:
		return errors.New("it needs a version of at least 1")
	case len(d.Statements) == 0 || len(d.Statements) > maxStatements:
		return fmt.Errorf("it has %d statements; 1 to %d are read", len(d.Statements), maxStatements)
	}
	pairs := 0
	for i, s := range d.Statements {
		if err := s.check(); err != nil {
			return fmt.Errorf("statement %d: %w", i+1, err)
		}
		for _, p := range s.Products {
			pairs += max(1, len(p.Subcomponents)) * (1 + len(s.Vulnerability.Aliases))
		}
	}
	if pairs > maxPairs {
		return fmt.Errorf("it speaks of more than %d products and vulnerabilities", maxPairs)
	}
	return nil
}

// advisory matches identifiers such as CVE-2026-1 and RHSA-2026:1.
var advisory = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._:-]{2,100}$`)

func (s Statement) check() error {
	switch {
	case s.Vulnerability.Name == "":
		return errors.New("its vulnerability has no name")
	case slices.ContainsFunc(append([]string{s.Vulnerability.Name}, s.Vulnerability.Aliases...), func(id string) bool { return !advisory.MatchString(id) }):
		return fmt.Errorf("%q, or one of its aliases, is no identifier of an advisory", clip(s.Vulnerability.Name))
	case len(s.Products) == 0:
		return errors.New("it names no product, and would be about all of them")
	case s.Justification != "" && !slices.Contains(justifications, s.Justification):
		return fmt.Errorf("%q is no justification", clip(s.Justification))
	case s.Justification != "" && s.Status != NotAffected:
		return fmt.Errorf("only %s has a justification", NotAffected)
	}
	switch s.Status {
	case NotAffected:
		if s.Justification == "" && s.ImpactStatement == "" {
			return fmt.Errorf("%s needs a justification or an impact_statement", NotAffected)
		}
	case Affected:
		if s.ActionStatement == "" {
			return fmt.Errorf("%s needs an action_statement", Affected)
		}
	case Fixed, UnderInvestigation:
	default:
		return fmt.Errorf("%q is no status", clip(string(s.Status)))
	}
	for _, p := range s.Products {
		for _, c := range append([]Component{p.Component}, p.Subcomponents...) {
			if c.ID == "" && len(c.Identifiers) == 0 && len(c.Hashes) == 0 {
				return errors.New("a product or a part of it has no identifier")
			}
		}
	}
	return nil
}
