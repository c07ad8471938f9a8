package builtin

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/assay-oci/assay/reconcile"
	"go.etcd.io/bbolt"
)

// match looks packages up. The result is sorted, each vulnerability once for each package.
func (d *database) match(ctx context.Context, packages []installed) (out []reconcile.Vulnerability, err error) {
	defer func() {
		if v := recover(); v != nil {
			out, err = nil, fmt.Errorf("read the advisory database: it is damaged; import it again")
		}
	}()
	type key struct {
		pkg reconcile.Package
		id  string
	}
	all := map[key]reconcile.Vulnerability{}
	err = d.db.View(func(tx *bbolt.Tx) error {
		for _, p := range packages {
			if err := ctx.Err(); err != nil {
				return err
			}
			found, err := matchOne(tx, p)
			if err != nil {
				return err
			}
			for _, v := range found {
				k := key{p.Package, v.ID}
				all[k] = unite(all[k], v)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, v := range all {
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b reconcile.Vulnerability) int {
		return cmp.Or(cmp.Compare(a.Package.PURL, b.Package.PURL), cmp.Compare(a.Package.Name, b.Package.Name),
			cmp.Compare(a.Package.Version, b.Package.Version), cmp.Compare(a.ID, b.ID))
	})
	return out, nil
}

func matchOne(tx *bbolt.Tx, p installed) ([]reconcile.Vulnerability, error) {
	var out []reconcile.Vulnerability
	records, packages := tx.Bucket(recordBucket), tx.Bucket(packageBucket)
	for _, name := range p.names {
		prefix := []byte(packageKey(p.Ecosystem, name))
		for c, k, v := packages.Cursor(), []byte(nil), []byte(nil); ; {
			if k == nil {
				k, v = c.Seek(prefix)
			} else {
				k, v = c.Next()
			}
			id, ok := bytes.CutPrefix(k, prefix)
			if !ok {
				break
			}
			found, err := applies(id, v, records, p)
			if err != nil {
				return nil, err
			}
			out = append(out, found...)
		}
	}
	return out, nil
}

// applies returns what a record says about a package: one vulnerability for each CVE that the record is about, or one with its own name.
func applies(id, value []byte, records *bbolt.Bucket, p installed) ([]reconcile.Vulnerability, error) {
	var e entry
	if err := json.Unmarshal(value, &e); err != nil {
		return nil, fmt.Errorf("read advisory %s: %w", id, err)
	}
	hit, fixed, severity := e.affects(p)
	if !hit {
		return nil, nil
	}
	var a advisory
	switch b := records.Get(id); {
	case b == nil: // withdrawn
		return nil, nil
	case json.Unmarshal(b, &a) != nil:
		return nil, fmt.Errorf("read advisory %s: it is damaged", id)
	case a.Modified.UnixNano() != e.Modified:
		return nil, nil
	}
	return a.about(p, fixed, severity), nil
}

// affects tells whether a package is affected, where that is fixed, and how bad it is.
func (e entry) affects(p installed) (hit bool, fixed []string, severity reconcile.Severity) {
	severity = reconcile.Unknown
	for _, v := range e.Affected {
		if yes, fixes := v.affects(p.version, p.Ecosystem); yes {
			hit, fixed, severity = true, append(fixed, fixes...), worse(severity, v.Severity)
		}
	}
	return hit, fixed, severity
}

func (a advisory) about(p installed, fixed []string, severity reconcile.Severity) []reconcile.Vulnerability {
	var out []reconcile.Vulnerability
	ids, aliases := a.names()
	for _, id := range ids {
		out = append(out, reconcile.Vulnerability{ID: id, Aliases: aliases, Package: p.Package, Severity: severity,
			FixedIn: sortedSet(fixed), Published: a.Published.UTC(), Summary: a.Summary})
	}
	return out
}

// names returns the canonical names of what a record is about and its other names. A record about several CVEs, as distributions
// write them, is several vulnerabilities.
func (r advisory) names() (ids, aliases []string) {
	for _, id := range append(append([]string{r.ID}, r.Aliases...), r.Upstream...) {
		if strings.HasPrefix(id, "CVE-") {
			ids = append(ids, id)
		} else {
			aliases = append(aliases, id)
		}
	}
	ids, aliases = sortedSet(ids), sortedSet(aliases)
	if len(ids) > 0 {
		return ids, aliases
	}
	own := r.ID
	if i := slices.IndexFunc(aliases, func(s string) bool { return strings.HasPrefix(s, "GHSA-") }); i >= 0 {
		own = aliases[i]
	}
	return []string{own}, slices.DeleteFunc(aliases, func(s string) bool { return s == own })
}

// unite merges what two records say about one vulnerability in one package.
func unite(a, b reconcile.Vulnerability) reconcile.Vulnerability {
	if a.ID == "" {
		return b
	}
	a.Aliases = sortedSet(append(slices.Clone(a.Aliases), b.Aliases...))
	a.FixedIn = sortedSet(append(slices.Clone(a.FixedIn), b.FixedIn...))
	a.Severity = worse(a.Severity, b.Severity)
	if a.Published.IsZero() || !b.Published.IsZero() && b.Published.Before(a.Published) {
		a.Published = b.Published
	}
	if a.Summary == "" {
		a.Summary = b.Summary
	}
	return a
}

func sortedSet(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return slices.Compact(s)
}

// affects tells whether a version is affected, and where it is fixed. What can't be compared counts as affected.
func (a versions) affects(version, ecosystem string) (bool, []string) {
	hit := slices.ContainsFunc(a.Versions, func(v string) bool {
		return strings.TrimPrefix(v, "v") == strings.TrimPrefix(version, "v")
	})
	var fixes []string
	for _, r := range a.Ranges {
		yes, fix := r.contains(version, ecosystem)
		hit = hit || yes
		if fix != "" {
			fixes = append(fixes, fix)
		}
	}
	return hit, fixes
}

// contains walks through the events of a range in the order of their versions: OSV schema, "Evaluation".
func (r span) contains(version, ecosystem string) (hit bool, fix string) {
	at, err := parseVersion(version, ecosystem)
	if err != nil || version == "" {
		return true, lastFix(r.Events)
	}
	events, ok := sorted(r.Events, ecosystem)
	if !ok {
		return true, lastFix(r.Events)
	}
	for _, e := range events {
		if e.Introduced == "0" {
			hit = true
			continue
		}
		order, err := at.CompareStr(e.version())
		if err != nil {
			return true, lastFix(r.Events)
		}
		switch {
		case e.Introduced != "" && order >= 0:
			hit = true
		case (e.Fixed != "" || e.Limit != "" && e.Limit != "*") && order >= 0, e.LastAffected != "" && order > 0:
			hit = false
		case e.Fixed != "" && hit && fix == "":
			fix = e.Fixed
		}
	}
	if !hit {
		fix = ""
	}
	return hit, fix
}

// sorted puts events into the order of their versions, the beginning of a range before its end.
func sorted(events []event, ecosystem string) ([]event, bool) {
	ok := true
	out := slices.Clone(events)
	slices.SortStableFunc(out, func(a, b event) int {
		if (a.Introduced == "0") != (b.Introduced == "0") {
			if a.Introduced == "0" {
				return -1
			}
			return 1
		}
		v, err := parseVersion(a.version(), ecosystem)
		if err != nil {
			ok = false
			return 0
		}
		order, err := v.CompareStr(b.version())
		if err != nil {
			ok = false
		}
		return order
	})
	return out, ok
}

func lastFix(events []event) (fix string) {
	for _, e := range events {
		if e.Fixed != "" {
			fix = e.Fixed
		}
	}
	return fix
}
