package reconcile

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// lister is a scanner that lists what is installed and can judge it again.
type lister struct {
	*world
	again int // how often it judged an inventory
}

func (l *lister) Scan(ctx context.Context, layout Layout, i Image) (Scan, error) {
	out, err := l.world.Scan(ctx, layout, i)
	out.Inventory = &Inventory{Lister: "builtin", Packages: []Package{{Name: "lodash", Version: "4.17.4", Ecosystem: "npm"}}}
	return out, err
}

func (l *lister) Rescan(_ context.Context, in Inventory, i Image) (Scan, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(in.Packages) != 1 {
		return Scan{}, fmt.Errorf("the inventory has %d packages", len(in.Packages))
	}
	l.again++
	return l.scans[i.Digest], nil
}

// aging is a world in which one image was admitted, with a scanner that can rescan.
type aging struct {
	*world
	d Desired
	l *lister
}

func newAging(t *testing.T, change func(*Desired)) *aging {
	t.Helper()
	w := newWorld()
	a := &aging{world: w, d: scene(w), l: &lister{world: w}}
	a.d.Rescan = Rescan{Interval: 24 * time.Hour, Expires: 30 * 24 * time.Hour}
	a.d.Wants = []Want{want(a.d, w.index("docker.io/library/nginx", "nginx-1"), "nginx", "1.0", "stable")}
	if change != nil {
		change(&a.d)
	}
	a.finish(now)
	for _, o := range a.run(now).Result.Outcomes {
		if o.Status != Done {
			t.Fatalf("%s: %s %s", o.ID, o.Status, o.Reason)
		}
	}
	return a
}

// finish dates all scans from now on.
func (a *aging) finish(at time.Time) {
	for m, s := range a.scans {
		s.Finished = at
		a.scans[m] = s
	}
}

// hit makes a critical vulnerability known.
func (a *aging) hit() {
	s := a.scans[sum("nginx-1amd64")]
	s.Vulnerabilities = []Vulnerability{{ID: "CVE-1", Severity: Critical, Summary: "remote code"}}
	a.scans[sum("nginx-1amd64")] = s
}

func (a *aging) observed() Observed { return Observed{Rescans: map[string]bool{"builtin": true}} }

func (a *aging) senses() Sensors {
	s := a.sensors()
	s.Scanners["builtin"] = a.l
	return s
}

func (a *aging) run(at time.Time) Report {
	a.finish(at)
	a.asked, a.writes = nil, nil
	return Reconcile(context.Background(), a.d, a.observed(), a.senses(), a.effects(), at)
}

func (a *aging) plan(at time.Time) Plan {
	a.finish(at)
	return Preview(context.Background(), a.d, a.observed(), a.senses(), at).Plan
}

// count counts the valid records of a predicate type beside the image in all registries.
func (a *aging) count(predicate string) int {
	n := 0
	for i, rs := range a.records {
		for _, r := range rs {
			if i.Digest == r.Statement.Subject && r.Statement.PredicateType == predicate && r.Statement.Format == Bundle {
				n++
			}
		}
	}
	return n
}

var eu, us = repo("eu.example.com/approved/nginx"), repo("us.example.com/approved/nginx")

func TestARescanReadsNoContentAndWritesNothingIfItFindsTheSame(t *testing.T) {
	a := newAging(t, nil)
	rep := a.run(now.Add(25 * time.Hour))
	if a.l.again != 2 || len(rep.Plan.Actions) != 0 {
		t.Errorf("%d inventories were judged again, planned %q", a.l.again, kinds(rep.Plan))
	}
	for _, q := range a.asked {
		if q.Kind == AskScan || q.Repo.Host() == "docker.io" {
			t.Errorf("asked for %s", q)
		}
	}
}

func TestYoungEvidenceIsNotAskedFor(t *testing.T) {
	a := newAging(t, nil)
	if a.run(now.Add(23 * time.Hour)); a.l.again != 0 {
		t.Errorf("%d inventories were judged again", a.l.again)
	}
}

func TestAFindingThatIsNewIsPutOnRecordOnceAndTheOldRecordGoes(t *testing.T) {
	a := newAging(t, nil)
	later := now.Add(25 * time.Hour)
	a.hit()
	rep := a.run(later)
	if got := kinds(rep.Plan); got != "attest 2, place 4, retire 4" { // a scan and a verdict, in two registries
		t.Errorf("planned %q", got)
	}
	if !strings.Contains(summaries(rep.Plan.Violations), "remote code") || len(rep.Plan.Blocked) > 0 {
		t.Errorf("violations %q, blocked %q", summaries(rep.Plan.Violations), summaries(rep.Plan.Blocked))
	}
	if a.count(VulnerabilityPredicate) != 4 || a.count(VerdictPredicate) != 2 {
		t.Errorf("%d scans and %d verdicts lie there", a.count(VulnerabilityPredicate), a.count(VerdictPredicate))
	}
	if again := a.run(later.Add(25 * time.Hour)); len(again.Plan.Actions) != 0 || len(again.Plan.Violations) == 0 {
		t.Errorf("the next run plans %q, violations %q", kinds(again.Plan), summaries(again.Plan.Violations))
	}
}

func TestEvidenceIsRenewedBeforeItExpires(t *testing.T) {
	a := newAging(t, nil)
	if got := kinds(a.run(now.Add(26 * 24 * time.Hour)).Plan); got != "" {
		t.Errorf("long before its end: %q", got)
	}
	if got := kinds(a.run(now.Add(28 * 24 * time.Hour)).Plan); got != "attest 3, place 6, retire 6" {
		t.Errorf("shortly before its end: %q", got)
	}
}

func TestWhatBecomesOfAViolation(t *testing.T) {
	for _, c := range []struct {
		name  string
		bound Bound
		first string // what the first run after the finding does to tags and content
		later string // and one after ten days
	}{
		{"reported", Bound{Rule: critical{}}, "", ""},
		{"quarantined", Bound{Rule: critical{}, OnViolation: Quarantine}, "untag 4", ""},
		{"removed at once", Bound{Rule: critical{}, OnViolation: Remove}, "delete 2", ""},
		{"removed after the grace period", Bound{Rule: critical{}, OnViolation: Remove, Grace: 168 * time.Hour}, "untag 4", "delete 2"},
		{"warned", Bound{Rule: critical{}, Warn: true, OnViolation: Remove}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAging(t, func(d *Desired) { d.Wants[0].Rules = []Bound{c.bound} })
			gone := func(rep Report) string {
				p := rep.Plan
				p.Actions = slices.DeleteFunc(slices.Clone(p.Actions), func(x Action) bool { return x.Kind != Untag && x.Kind != Delete })
				return kinds(p)
			}
			a.hit()
			if got := gone(a.run(now.Add(25 * time.Hour))); got != c.first {
				t.Errorf("first %q, want %q", got, c.first)
			}
			if got := gone(a.run(now.Add(240 * time.Hour))); got != c.later {
				t.Errorf("later %q, want %q", got, c.later)
			}
			// the world that was reached is stable: nothing comes back, and nothing is asked for twice
			if p := a.plan(now.Add(241 * time.Hour)); len(p.Actions) != 0 {
				t.Errorf("still to do: %s", kinds(p))
			}
		})
	}
}

func TestMissingEvidenceTakesNothingAway(t *testing.T) {
	a := newAging(t, func(d *Desired) { d.Wants[0].Rules = []Bound{{Rule: critical{}, OnViolation: Remove}} })
	s := a.scans[sum("nginx-1amd64")]
	s.NoVerdict = "the database is too old"
	a.scans[sum("nginx-1amd64")] = s
	rep := a.run(now.Add(25 * time.Hour))
	if len(rep.Plan.Actions) > 0 || !strings.Contains(summaries(rep.Plan.Violations), "too old") {
		t.Errorf("planned %q, violations %q", kinds(rep.Plan), summaries(rep.Plan.Violations))
	}
}

func TestAQuarantinedImageComesBackWhenItIsWaived(t *testing.T) {
	a := newAging(t, func(d *Desired) { d.Wants[0].Rules = []Bound{{Rule: critical{}, OnViolation: Quarantine}} })
	a.hit()
	a.run(now.Add(25 * time.Hour))
	if len(a.tags[eu])+len(a.tags[us]) != 0 {
		t.Fatalf("tags %v, %v", a.tags[eu], a.tags[us])
	}
	a.d.Waivers = []Waiver{{ID: "CVE-1", Rule: "vulnerabilities", Expires: now.Add(1000 * time.Hour)}}
	a.run(now.Add(26 * time.Hour))
	if len(a.tags[eu]) != 2 || len(a.tags[us]) != 2 {
		t.Errorf("tags %v, %v", a.tags[eu], a.tags[us])
	}
}

func TestViolationsCountAgainstTheLimitOfRemovals(t *testing.T) {
	a := newAging(t, func(d *Desired) {
		d.Wants[0].Rules = []Bound{{Rule: critical{}, OnViolation: Remove}}
		d.Prune.Limit = 0
	})
	a.hit()
	p := a.run(now.Add(25 * time.Hour)).Plan
	if strings.Contains(kinds(p), "delete") || !strings.Contains(summaries(p.Blocked), "more than the limit") {
		t.Errorf("planned %q, blocked %q", kinds(p), summaries(p.Blocked))
	}
}

func TestTwoRecordsOfOneKindBecomeOne(t *testing.T) {
	a := newAging(t, nil)
	i := Image{eu, sum("nginx-1amd64")}
	for _, r := range slices.Clone(a.records[i]) {
		if r.Statement.PredicateType == "" || r.Statement.Format == Bundle { // as another run that didn't see ours would have written them
			r.Payload, r.Annotations = []byte("another "+r.Statement.PredicateType), nil
			r.At = sum(r.ID())
			a.records[i] = append(a.records[i], r)
		}
	}
	if got := kinds(a.run(now.Add(time.Hour)).Plan); got != "retire 4" { // two signatures, scan, inventory
		t.Errorf("planned %q", got)
	}
	if p := a.plan(now.Add(time.Hour)); !p.Empty() || a.count("") != 6 {
		t.Errorf("left to do: %s; %d signatures", kinds(p), a.count(""))
	}
}

func TestWhatIsRefusedGetsNoRecordWhereItWasNeverAdmitted(t *testing.T) {
	w := newWorld()
	d := scene(w)
	from := w.index("docker.io/library/nginx", "nginx-1")
	s := w.scans[sum("nginx-1amd64")]
	s.Vulnerabilities = []Vulnerability{{ID: "CVE-1", Severity: Critical}}
	w.scans[sum("nginx-1amd64")] = s
	d.Wants = []Want{want(d, from, "nginx", "1.0")}
	if _, err := w.Copy(context.Background(), from, eu); err != nil { // by hand
		t.Fatal(err)
	}
	w.tags[eu][tag("1.0")] = from.Digest
	if p := run1(t, w, d).Plan; len(p.Actions) > 0 || len(p.Blocked) == 0 {
		t.Errorf("planned %q", kinds(p))
	}
}

func TestTheFirstSightOfAVulnerabilityIsKept(t *testing.T) {
	a := newAging(t, nil)
	a.hit()
	a.run(now.Add(25 * time.Hour))
	s := a.scans[sum("nginx-1amd64")]
	s.Vulnerabilities = append(s.Vulnerabilities, Vulnerability{ID: "CVE-2", Severity: Low})
	a.scans[sum("nginx-1amd64")] = s
	a.run(now.Add(60 * time.Hour))
	for _, r := range a.records[Image{eu, sum("nginx-1amd64")}] {
		if r.Statement.PredicateType != VulnerabilityPredicate {
			continue
		}
		got, err := readScan(r.Statement.Predicate)
		if err != nil || len(got.Vulnerabilities) != 2 {
			t.Fatal(got, err)
		}
		if !got.Vulnerabilities[0].FirstSeen.Equal(now.Add(25*time.Hour)) || !got.Vulnerabilities[1].FirstSeen.Equal(now.Add(60*time.Hour)) {
			t.Errorf("first seen %s and %s", got.Vulnerabilities[0].FirstSeen, got.Vulnerabilities[1].FirstSeen)
		}
	}
}

func TestWaiversWithoutEffectAreTold(t *testing.T) {
	a := newAging(t, func(d *Desired) {
		d.Waivers = []Waiver{
			{ID: "CVE-1", Rule: "vulnerabilities", Expires: now.Add(1000 * time.Hour), Origin: Origin{File: "used.hcl"}},
			{ID: "CVE-2", Rule: "vulnerabilities", Expires: now.Add(1000 * time.Hour), Origin: Origin{File: "unused.hcl"}},
			{ID: "CVE-3", Rule: "vulnerabilities", Expires: now, Origin: Origin{File: "expired.hcl"}},
		}
	})
	a.hit()
	p := a.plan(now.Add(25 * time.Hour))
	var files []string
	for _, f := range p.Notes {
		files = append(files, f.Origin.File+" "+f.Summary)
	}
	got := strings.Join(files, "\n")
	if !strings.Contains(got, "unused.hcl the waiver of CVE-2 from rule \"vulnerabilities\" covers nothing") || !strings.Contains(got, "expired on 2026-11-21") || strings.Contains(got, "\nused.hcl") {
		t.Errorf("notes:\n%s", got)
	}
	if len(p.Violations) > 0 {
		t.Errorf("violations: %s", summaries(p.Violations))
	}
}

func TestARetiredSignersRecordsGoOnceAnotherOneHasSigned(t *testing.T) {
	for _, c := range []struct {
		formats []Format // of the new signer; one without a key has bundles alone
		signs   string
	}{{[]Format{Legacy, Bundle}, "sign 6, attest 6, place 24"}, {[]Format{Bundle}, "sign 3, attest 6, place 18"}} {
		a := newAging(t, nil)
		d := a.d
		d.Signers = []SignerSpec{{Name: "main", Formats: []Format{Legacy, Bundle}}, {Name: "next", Formats: c.formats}}
		e := a.effects()
		e.Signers["next"] = signerNamed{a.world, "next"}
		run := func(d Desired) Report {
			t.Helper()
			r := Reconcile(context.Background(), d, a.observed(), a.senses(), e, now.Add(time.Hour))
			for _, o := range r.Result.Outcomes {
				if o.Status != Done {
					t.Errorf("%s: %s", o.Status, o.Reason)
				}
			}
			return r
		}
		if got := kinds(run(d).Plan); got != c.signs {
			t.Errorf("a second signer: %q", got)
		}
		d.Signers[0].Retired = true
		a.onWrite = func(int) error { // at each moment, each digest has a valid signature by one of them
			for _, r := range []Repo{eu, us} {
				for _, dg := range a.trees[sum("nginx-1")].Signed() {
					for _, f := range c.formats {
						if !slices.ContainsFunc(a.records[Image{r, dg}], func(r Record) bool { return r.Statement.PredicateType == "" && r.Statement.Format == f }) {
							t.Errorf("%s in %s bears no signature", dg, r)
						}
					}
				}
			}
			return nil
		}
		if got := kinds(run(d).Plan); got != "retire 6" {
			t.Errorf("the first one retired: %q", got)
		}
		d.Signers = d.Signers[1:]
		if got := kinds(run(d).Plan); got != "" {
			t.Errorf("the first one gone: %q", got)
		}
		for _, r := range a.records[Image{eu, sum("nginx-1")}] {
			if r.Statement.Signer != "next" {
				t.Errorf("there is a record by %q left", r.Statement.Signer)
			}
		}
	}
}

// An entry that got another name is judged and approved under that one, and what was said of the old one goes: nobody would renew it.
func TestRecordsOfAnEntryThatIsGoneGo(t *testing.T) {
	a := newAging(t, nil)
	d := a.d
	about := func(repo Repo) string {
		var out []string
		for _, r := range a.records[Image{repo, sum("nginx-1")}] {
			if p := r.Statement.PredicateType; p == VerdictPredicate || p == ApprovalPredicate {
				out = append(out, r.Statement.About)
			}
		}
		slices.Sort(out)
		return strings.Join(out, " ")
	}
	run := func() string {
		return kinds(Reconcile(context.Background(), d, a.observed(), a.senses(), a.effects(), now.Add(time.Hour)).Plan)
	}
	was := d.Wants[0]
	if got := about(eu); got != was.Title()+" "+was.Title() {
		t.Fatalf("at first: %q", got)
	}
	renamed := was
	renamed.Version = "1.0.0"
	d.Wants = []Want{was, renamed}
	run()
	if got := about(eu); got != "nginx:1.0 nginx:1.0 nginx:1.0.0 nginx:1.0.0" {
		t.Errorf("with two entries: %q", got)
	}
	d.Wants, d.Broken = []Want{renamed}, []Finding{{Summary: "unread"}}
	run()
	if got := about(us); got != "nginx:1.0 nginx:1.0 nginx:1.0.0 nginx:1.0.0" {
		t.Errorf("while a part of the catalog is unread: %q", got)
	}
	d.Broken = nil
	run()
	for _, r := range []Repo{eu, us} {
		if got := about(r); got != "nginx:1.0.0 nginx:1.0.0" {
			t.Errorf("in %s, with one of them gone: %q", r, got)
		}
	}
	if got := run(); got != "" {
		t.Errorf("afterwards: %q", got)
	}
}

// signerNamed signs as another one.
type signerNamed struct {
	*world
	name string
}

func (s signerNamed) Sign(ctx context.Context, st Statement) (Record, error) {
	st.Signer = s.name
	return s.world.Sign(ctx, st)
}

func TestARetiredSignersSignatureStaysWhereNobodyElseSigns(t *testing.T) {
	a := newAging(t, nil)
	a.hit() // the image is refused now, so nothing signs it anew; what was found is attested all the same
	d := a.d
	d.Signers = []SignerSpec{{Name: "main", Formats: []Format{Legacy, Bundle}, Retired: true}, {Name: "next", Formats: []Format{Legacy, Bundle}}}
	e := a.effects()
	e.Signers["next"] = signerNamed{a.world, "next"}
	later := now.Add(25 * time.Hour)
	a.finish(later)
	Reconcile(context.Background(), d, a.observed(), a.senses(), e, later)
	for _, r := range []Repo{eu, us} {
		for _, dg := range a.trees[sum("nginx-1")].Signed() {
			if !slices.ContainsFunc(a.records[Image{r, dg}], func(r Record) bool { return r.Statement.PredicateType == "" }) {
				t.Errorf("%s in %s bears no signature", dg.Short(), r)
			}
		}
	}
}
