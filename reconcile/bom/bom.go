// Package bom writes inventories as software bills of materials: CycloneDX 1.6 and SPDX 2.3. Its functions are pure: the same inventory and
// subject give the same bytes, whatever the machine and the day. (CycloneDX 1.7 is refused by scanners that are in wide use.)
package bom

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/spdx"
)

// A Subject is what a bill of materials is about.
type Subject struct {
	Name     string             // the image's name without tag, such as "images.example.com/approved/nginx"; empty if it has none
	Digest   reconcile.Digest   // of the image's manifest
	Platform reconcile.Platform // may be zero
	Created  time.Time          // when the inventory was made; to the second
}

func (s Subject) check() error {
	if s.Digest.IsZero() {
		return errors.New("write a bill of materials: the digest of its subject is not known")
	}
	return nil
}

// name is for people, and never empty.
func (s Subject) name() string {
	if s.Name == "" {
		return s.Digest.String()
	}
	return s.Name
}

func (s Subject) created() string { return s.Created.UTC().Format("2006-01-02T15:04:05Z") }

// purl: package-url specification, type oci.
func (s Subject) purl() string {
	if s.Name == "" {
		return ""
	}
	q := url.Values{}
	if s.Platform.Architecture != "" {
		q.Set("arch", s.Platform.Architecture)
	}
	q.Set("repository_url", strings.ToLower(s.Name))
	return "pkg:oci/" + url.PathEscape(strings.ToLower(path.Base(s.Name))) + "@" + url.QueryEscape(s.Digest.String()) + "?" + q.Encode()
}

// uuid names a document by its content: RFC 9562, version 8.
func uuid(format string, s Subject, in reconcile.Inventory) (string, error) {
	b, err := json.Marshal([]any{format, s.Name, s.Digest, s.Platform, s.created(), in})
	if err != nil {
		return "", fmt.Errorf("write a bill of materials: %w", err)
	}
	sum := sha256.Sum256(b)
	u := sum[:16]
	u[6], u[8] = u[6]&0x0f|0x80, u[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:]), nil
}

// reference names a package within a document. Equal packages have equal references in every document.
func reference(p reconcile.Package) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{p.Ecosystem, p.Name, p.Version, p.PURL, p.Path}, "\x00")))
	return "Package-" + hex.EncodeToString(sum[:12])
}

// unique returns the packages of an inventory, each once: documents may name nothing twice.
func unique(in reconcile.Inventory) []reconcile.Package {
	seen := map[string]bool{}
	var out []reconcile.Package
	for _, p := range in.Packages {
		if r := reference(p); !seen[r] {
			seen[r] = true
			out = append(out, p)
		}
	}
	return out
}

// expression returns a licence as an SPDX expression, if it is one. Inventories come from several scanners.
func expression(license string) (string, bool) {
	e, err := spdx.Parse(license)
	if err != nil {
		return "", false
	}
	for _, l := range e.Licenses() {
		if !l.Known && (l.Exception != "" || licenseRef.FindString(l.ID) != l.ID) {
			return "", false
		}
	}
	return e.String(), true
}

func encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("write a bill of materials: %w", err)
	}
	return append(b, '\n'), nil
}
