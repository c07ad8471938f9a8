package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/scan/external"
)

// Schema is the version of the format that a program prints. Its description is in reconcile/scan/README.md.
const Schema = "assay.scan/v1"

const maxVulnerabilities = 200_000

// A document is the format. Pointers tell what is missing from what is empty.
type document struct {
	Schema          string                    `json:"schema"`
	Version         string                    `json:"version"`
	Database        time.Time                 `json:"database"`
	Distribution    string                    `json:"distribution"`
	Ecosystems      []string                  `json:"ecosystems"`
	Packages        *int                      `json:"packages"`
	Vulnerabilities []reconcile.Vulnerability `json:"vulnerabilities"`
	Malware         []reconcile.Malware       `json:"malware"`
	MalwareChecked  bool                      `json:"malware_checked"`
	Support         *reconcile.Support        `json:"support"`
	Inventory       *inventory                `json:"inventory"`
	NoVerdict       string                    `json:"no_verdict"`
}

// An inventory lists what is installed.
type inventory struct {
	Packages []reconcile.Package `json:"packages"`
}

// Parse reads what a program printed. A field that isn't known is an error, as is one that is missing: either may mean that something was
// found which we don't see. Scanner and Finished are left to the caller.
func Parse(b []byte) (reconcile.Scan, error) {
	var d document
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return reconcile.Scan{}, fmt.Errorf("read it as %s: %w", Schema, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return reconcile.Scan{}, errors.New("something follows the JSON document")
	}
	if err := d.check(); err != nil {
		return reconcile.Scan{}, err
	}
	out := reconcile.Scan{Version: d.Version, Database: d.Database, Distribution: d.Distribution, Ecosystems: d.Ecosystems, NoVerdict: d.NoVerdict}
	if d.Packages != nil {
		out.Packages = *d.Packages
	}
	switch {
	case d.NoVerdict != "":
	case out.Packages == 0:
		out.NoVerdict = "it saw no packages"
	default:
		out.Vulnerabilities, out.Malware, out.MalwareChecked, out.Support = d.Vulnerabilities, d.Malware, d.MalwareChecked, d.Support
		if d.Inventory != nil {
			out.Inventory = &reconcile.Inventory{Version: d.Version, Distribution: d.Distribution, Packages: external.Sorted(d.Inventory.Packages)}
		}
	}
	return out, nil
}

func (d document) check() error {
	if d.Schema != Schema {
		return fmt.Errorf("its schema is %q, not %q", d.Schema, Schema)
	}
	if d.Version == "" {
		return missing("version")
	}
	if d.NoVerdict != "" {
		return nil
	}
	switch {
	case d.Database.IsZero():
		return missing("database")
	case len(d.Ecosystems) == 0:
		return missing("ecosystems")
	case d.Packages == nil:
		return missing("packages")
	case d.Vulnerabilities == nil:
		return missing("vulnerabilities")
	case *d.Packages < 0:
		return errors.New("packages is negative")
	case *d.Packages == 0 && len(d.Vulnerabilities) > 0:
		return errors.New("it found vulnerabilities but no packages")
	case len(d.Vulnerabilities) > maxVulnerabilities:
		return fmt.Errorf("it names more than %d vulnerabilities", maxVulnerabilities)
	}
	for i, v := range d.Vulnerabilities {
		if err := checkVulnerability(v); err != nil {
			return fmt.Errorf("vulnerability %d: %w", i+1, err)
		}
	}
	if err := d.checkMalware(); err != nil {
		return err
	}
	if d.Support != nil && d.Support.Until.IsZero() && !d.Support.Ended {
		return errors.New("support says nothing: give until, or ended")
	}
	return d.checkInventory()
}

// checkMalware: what was found without looking was not found by this program.
func (d document) checkMalware() error {
	if len(d.Malware) > 0 && !d.MalwareChecked {
		return errors.New("it found malware, but malware_checked is not true")
	}
	if len(d.Malware) > maxVulnerabilities {
		return fmt.Errorf("it names more than %d pieces of malware", maxVulnerabilities)
	}
	for i, m := range d.Malware {
		if !identifier(m.ID) {
			return fmt.Errorf("malware %d: %w", i+1, errNoID)
		}
	}
	return nil
}

func (d document) checkInventory() error {
	if d.Inventory == nil {
		return nil
	}
	if n := len(d.Inventory.Packages); n != *d.Packages {
		return fmt.Errorf("its inventory has %d packages, but packages says %d", n, *d.Packages)
	}
	if len(d.Inventory.Packages) > external.MaxItems {
		return fmt.Errorf("its inventory has more than %d packages", external.MaxItems)
	}
	for i, p := range d.Inventory.Packages {
		if err := checkPackage(p, ""); err != nil {
			return fmt.Errorf("inventory: package %d: %w", i+1, err)
		}
	}
	return nil
}

func missing(field string) error { return fmt.Errorf("%q is missing", field) }

var errNoID = errors.New(`"id" is missing, or no identifier`)

func identifier(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

func checkPackage(p reconcile.Package, prefix string) error {
	switch {
	case p.Name == "":
		return missing(prefix + "name")
	case p.Version == "":
		return missing(prefix + "version")
	}
	return nil
}

func checkVulnerability(v reconcile.Vulnerability) error {
	if !identifier(v.ID) {
		return errNoID
	}
	if err := checkPackage(v.Package, "package."); err != nil {
		return err
	}
	switch v.Severity {
	case reconcile.Unknown, reconcile.Negligible, reconcile.Low, reconcile.Medium, reconcile.High, reconcile.Critical:
		return nil
	}
	return fmt.Errorf("%q is not a severity", v.Severity)
}
