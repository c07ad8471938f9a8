package openvex

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

// About is what a document says of itself.
type About struct {
	ID     string // an IRI
	Author string
	Time   time.Time
}

// Export writes what the catalog's waivers say about vulnerabilities as a document, for the images that they cover. A waiver with a
// justification becomes not_affected; one without accepts the risk, and becomes affected. Those that have expired at the document's time, and those of all
// vulnerabilities ("*"), are left out. The same catalog and About give the same bytes. If nothing is to be said, it is an error: the format
// has no empty document.
func Export(d reconcile.Desired, about About) ([]byte, error) {
	if about.ID == "" || about.Author == "" || about.Time.IsZero() {
		return nil, errors.New("write OpenVEX document: it needs an identifier, an author and a time")
	}
	doc := Document{Context: Context, ID: about.ID, Author: about.Author, Timestamp: about.Time.UTC().Truncate(time.Second), Version: 1, Tooling: "assay"}
	for _, w := range d.Waivers {
		if w.Rule != "vulnerabilities" || w.ID == "*" || !about.Time.Before(w.Expires) {
			continue
		}
		if s := statement(w, d.Wants); len(s.Products) > 0 {
			doc.Statements = append(doc.Statements, s)
		}
	}
	if len(doc.Statements) == 0 {
		return nil, errors.New("write OpenVEX document: no waiver in force speaks of a vulnerability in an approved image, and the format has no empty document")
	}
	slices.SortFunc(doc.Statements, func(a, b Statement) int {
		return cmp.Or(cmp.Compare(a.Vulnerability.Name, b.Vulnerability.Name), slices.CompareFunc(a.Products, b.Products, compareProducts),
			cmp.Compare(a.Justification, b.Justification), cmp.Compare(a.ImpactStatement+a.ActionStatement, b.ImpactStatement+b.ActionStatement))
	})
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(doc); err != nil {
		return nil, fmt.Errorf("write OpenVEX document: %w", err)
	}
	if _, err := Parse(out.Bytes()); err != nil { // nobody shall get what we wouldn't read ourselves
		return nil, fmt.Errorf("write OpenVEX document: %w", err)
	}
	return out.Bytes(), nil
}

func compareProducts(a, b Product) int {
	return cmp.Or(cmp.Compare(a.ID, b.ID), slices.CompareFunc(a.Subcomponents, b.Subcomponents, func(x, y Component) int { return cmp.Compare(x.ID, y.ID) }))
}

func statement(w reconcile.Waiver, wants []reconcile.Want) Statement {
	s := Statement{Vulnerability: Vulnerability{Name: w.ID}, Status: NotAffected, Justification: w.Justification, ImpactStatement: w.Reason}
	if w.Justification == "" {
		until := w.Expires.UTC().Add(-time.Second).Format(time.DateOnly)
		s.Status, s.ImpactStatement, s.ActionStatement = Affected, "", "The risk is accepted until "+until+": "+w.Reason
	}
	for _, x := range wants {
		if (w.Image == "" || w.Image == x.Name) && (w.Digest.IsZero() || w.Digest == x.From.Digest) && (w.Scope == "" || w.Scope == x.Scope || strings.HasPrefix(x.Scope, w.Scope+"/")) {
			s.Products = append(s.Products, products(x, w.Package)...)
		}
	}
	slices.SortFunc(s.Products, compareProducts)
	s.Products = slices.CompactFunc(s.Products, func(a, b Product) bool { return compareProducts(a, b) == 0 })
	return s
}

// products names a version by its digest and by each canonical name that it is published under.
func products(w reconcile.Want, pkg string) []Product {
	var parts []Component
	if pkg != "" {
		parts = []Component{{ID: pkg}}
	}
	var out []Product
	for _, t := range w.To {
		name := t.Identity.Path()
		name = name[strings.LastIndex(name, "/")+1:]
		id := "pkg:oci/" + url.PathEscape(name) + "@" + url.QueryEscape(w.From.Digest.String()) + "?repository_url=" + url.QueryEscape(t.Identity.String())
		out = append(out, Product{Component: Component{ID: id}, Subcomponents: parts})
	}
	return out
}
