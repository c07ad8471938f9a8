package reconcile

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"
)

// evidence gathers what is known of an image. complete is false while a scan that could still be had was not asked for.
func (s *state) evidence(w *Want, tree Tree, places []place) (e Evidence, complete bool) {
	if len(s.open(s.scansOf(w))) > 0 {
		return e, false
	}
	return s.known(w, tree, places), true
}

// known is the evidence so far. What was scanned in this run counts before what was attested earlier.
func (s *state) known(w *Want, tree Tree, places []place) Evidence {
	e := Evidence{Tree: &tree, Upstream: s.upstream(w, places), Review: s.review(w, places)}
	lists := slices.ContainsFunc(w.Rules, func(r Bound) bool { return r.Reads() >= ReadsInventory })
	for _, m := range tree.Runnable() {
		for _, sc := range s.d.Scanners {
			scan, ok := s.scanNow(w, m.Digest, sc.Name, places, lists)
			if !ok {
				scan = Scan{Scanner: sc.Name, NoVerdict: "it was not scanned"}
			}
			e.Scans = append(e.Scans, PlatformScan{Manifest: m.Digest, Platform: m.Platform, Scan: scan})
		}
	}
	return e
}

// scanNow is what counts now of what one scanner said about one manifest, with its inventory only if that is asked for: most of the bytes beside an
// image are inventories.
func (s *state) scanNow(w *Want, manifest Digest, scanner string, places []place, lists bool) (Scan, bool) {
	attested, have := s.attestedScan(manifest, scanner, places)
	scan, fresh := s.freshScan(w, manifest, scanner, places)
	switch {
	case !fresh && !have:
		return Scan{}, false
	case !fresh:
		scan = attested
	case have && scan.NoVerdict == "":
		scan.Vulnerabilities = seenSince(scan.Vulnerabilities, attested.Vulnerabilities, s.now)
	}
	if lists && scan.Inventory == nil {
		if i, listed := s.attestedInventory(manifest, scanner, places); listed {
			scan.Inventory = &i
		}
	}
	return scan, true
}

// seenSince dates what was found: as before where it was found before, else now. What is not yet admitted was never seen in what we hold.
func seenSince(found, before []Vulnerability, now time.Time) []Vulnerability {
	known := map[string]time.Time{}
	for _, v := range before {
		known[v.key()] = v.FirstSeen
	}
	out := slices.Clone(found)
	for i := range out {
		if t := known[out[i].key()]; !t.IsZero() {
			out[i].FirstSeen = t
		} else {
			out[i].FirstSeen = now.UTC().Truncate(time.Second)
		}
	}
	return out
}

// key names a vulnerability of a package within one scan.
func (v Vulnerability) key() string {
	return v.ID + "\x00" + v.Package.Name + "\x00" + v.Package.Version + "\x00" + v.Package.PURL
}

// freshScan returns what a scanner answered in this run. One that could not be run gives no verdict, with the reason.
func (s *state) freshScan(w *Want, manifest Digest, scanner string, places []place) (Scan, bool) {
	for _, from := range append([]Repo{w.From.Repo}, repos(places)...) {
		q := Question{Kind: AskScan, Repo: from, Digest: manifest, Root: w.From.Digest, Scanner: scanner}
		again := q
		again.Kind = AskRescan
		for _, q := range []Question{q, again} {
			a, ok := s.o.answer(q)
			switch {
			case ok && a.Gap != nil:
				return Scan{Scanner: scanner, NoVerdict: a.Gap.Reason}, true
			case ok:
				a.Scan.Scanner = scanner
				return a.Scan, true
			}
		}
	}
	return Scan{}, false
}

// attestedScan reads a scan's result back from a verified attestation of ours beside the image.
func (s *state) attestedScan(manifest Digest, scanner string, places []place) (Scan, bool) {
	r, ok := s.newest(recordKey{subject: manifest, predicateType: VulnerabilityPredicate, about: scanner}, places)
	if !ok {
		return Scan{}, false
	}
	scan, err := s.o.read.scan(r)
	return scan, err == nil && scan.Scanner == scanner
}

// attestedInventory reads an inventory back from a verified record of ours beside the image.
func (s *state) attestedInventory(manifest Digest, lister string, places []place) (Inventory, bool) {
	r, ok := s.newest(recordKey{subject: manifest, predicateType: InventoryPredicate, about: lister}, places)
	if !ok {
		return Inventory{}, false
	}
	i, err := s.o.read.inventory(r)
	return i, err == nil && i.Lister == lister
}

// newest returns the newest valid record for a key in any of the places, whoever signed it, under the name that each place has.
func (s *state) newest(k recordKey, places []place) (*Record, bool) {
	var out *Record
	for _, p := range places {
		a, ok := s.o.ok(Question{Kind: AskRecords, Repo: p.Repo, Digest: k.subject})
		if !ok {
			continue
		}
		for i := range a.Records {
			r := &a.Records[i]
			st := r.Statement
			if r.Problem != "" || st.Subject != k.subject || st.Identity != p.Identity || st.PredicateType != k.predicateType || aboutOf(st) != k.about {
				continue
			}
			if out == nil || newer(r, out) {
				out = r
			}
		}
	}
	return out, out != nil
}

// newer orders records of one key: of two that were made in the same second, the one whose bytes are smaller counts as the newer one, so that
// everybody keeps the same.
func newer(a, b *Record) bool {
	return cmp.Or(b.Statement.Time.Compare(a.Statement.Time), bytes.Compare(a.Payload, b.Payload)) < 0
}

// aged tells whether a scan that was attested is older than the catalog allows before it is made anew.
func (s *state) aged(scan Scan) bool {
	return s.d.Rescan.Interval > 0 && s.now.Sub(scan.Finished) > s.d.Rescan.Interval
}

// refresh says why the record for a key is made anew although a valid one is there; empty if it isn't. Nothing is written while a refreshed scan
// found the same and the record is not about to expire.
func (s *state) refresh(w *Want, k recordKey, places []place) string {
	old, ok := s.newest(k, places)
	if !ok || k.predicateType == "" {
		return ""
	}
	switch k.predicateType {
	case VerdictPredicate:
		j, ok := s.full(w)
		switch {
		case !ok || j.result() == "":
		case j.result() != readVerdict(old.Statement.Predicate):
			return "the verdict has changed"
		case j.result() == passed && s.expires(old.Statement.Time):
			return "the verdict is about to expire"
		}
	case VulnerabilityPredicate:
		fresh, ok := s.freshScan(w, k.subject, k.about, places)
		if !ok || fresh.NoVerdict != "" {
			return ""
		}
		before, err := s.o.read.scan(old)
		if err != nil || !before.finds(fresh) {
			return fmt.Sprintf("%s found something else than before", k.about)
		} else if s.expires(old.Statement.Time) {
			return "what was attested is about to expire"
		}
	case BillPredicate:
		lister, _, ok := s.lister(w, k.subject, places)
		inventory := recordKey{subject: k.subject, identity: k.identity, predicateType: InventoryPredicate, about: lister}
		if ok && s.refresh(w, inventory, places) != "" {
			return "the inventory was read anew"
		}
	case InventoryPredicate:
		fresh, ok := s.freshScan(w, k.subject, k.about, places)
		if !ok || fresh.Inventory == nil {
			return ""
		}
		if before, err := s.o.read.inventory(old); err != nil || marshal(before) != marshal(*fresh.Inventory) {
			return "the inventory was read anew"
		}
	}
	return ""
}

// lister returns the first scanner, by name, that listed what is installed in a manifest, and its scan.
func (s *state) lister(w *Want, manifest Digest, places []place) (string, Scan, bool) {
	var names []string
	for _, sc := range s.d.Scanners {
		names = append(names, sc.Name)
	}
	slices.Sort(names)
	for _, name := range names {
		if scan, ok := s.scanNow(w, manifest, name, places, true); ok && scan.Inventory != nil {
			return name, scan, true
		}
	}
	return "", Scan{}, false
}

// expires tells whether a record of this time has come to the end of its life. It is renewed when nine tenths of it are over, so that no run finds
// it expired.
func (s *state) expires(t time.Time) bool {
	return s.d.Rescan.Expires > 0 && s.now.Sub(t) > s.d.Rescan.Expires*9/10
}

// finds tells whether two scans say the same about an image. What changes from day to day without a change of the findings doesn't count:
// dates, probabilities, summaries.
func (a Scan) finds(b Scan) bool {
	return slices.Equal(a.essence(), b.essence())
}

func (a Scan) essence() []string {
	out := []string{fmt.Sprintf("%d packages, %q, %v", a.Packages, a.NoVerdict, a.MalwareChecked)}
	if a.Support != nil {
		out = append(out, fmt.Sprintf("support %v %s", a.Support.Ended, a.Support.Until.UTC().Format(time.DateOnly)))
	}
	for _, v := range a.Vulnerabilities {
		fixed := slices.Sorted(slices.Values(v.FixedIn))
		out = append(out, fmt.Sprintf("%s %s %q %v", v.key(), v.Severity, fixed, v.Exploited))
	}
	for _, m := range a.Malware {
		out = append(out, fmt.Sprintf("malware %q %q", m.ID, m.Path))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// inventory returns the newest attested inventory that a question to scan again is about.
func (o Observed) inventory(q Question) (Inventory, bool) {
	a, _ := o.ok(Question{Kind: AskRecords, Repo: q.Repo, Digest: q.Digest})
	var newest *Record
	for i := range a.Records {
		r := &a.Records[i]
		if r.Problem == "" && r.Statement.Subject == q.Digest && r.Statement.PredicateType == InventoryPredicate && aboutOf(r.Statement) == q.Scanner &&
			(newest == nil || newer(r, newest)) {
			newest = r
		}
	}
	if newest == nil {
		return Inventory{}, false
	}
	i, err := ReadInventory(newest.Statement.Predicate)
	return i, err == nil
}

// reading remembers what was parsed out of records, which is most of the work on a catalog where nothing has changed. It is a cache alone:
// the same record gives the same. Ask and Diff use it one after the other.
type reading struct {
	scans       map[*Record]Scan
	inventories map[*Record]Inventory
}

func (c *reading) scan(r *Record) (Scan, error) {
	if c != nil {
		if scan, ok := c.scans[r]; ok {
			return scan, nil
		}
	}
	scan, err := readScan(r.Statement.Predicate)
	if err == nil && c != nil {
		c.scans[r] = scan
	}
	return scan, err
}

func (c *reading) inventory(r *Record) (Inventory, error) {
	if c != nil {
		if i, ok := c.inventories[r]; ok {
			return i, nil
		}
	}
	i, err := ReadInventory(r.Statement.Predicate)
	if err == nil && c != nil {
		c.inventories[r] = i
	}
	return i, err
}
