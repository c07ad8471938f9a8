package policy

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/assay-oci/assay/reconcile"
)

type scanners struct {
	Minimum int      `hcl:"minimum,optional" default:"1" doc:"How many scanners must have given a verdict on each platform. \"builtin\" and \"osv-scanner\" read the same data and count as one."`
	Require []string `hcl:"require,optional" default:"[]" doc:"Scanners that must be among them."`
	MaxAge  string   `hcl:"max_age,optional" default:"any age" doc:"How old a scanner's database may be at most, as \"72h\" or \"7d\". One of unknown age is too old."`
}

func init() {
	register("scanners", "Scanners that must have given a verdict on every platform of an image. A scan that could not say anything never counts.",
		`rule "scanners" {
  minimum = 2
  require = ["trivy"]
  max_age = "7d"
}
`, buildScanners)
}

func buildScanners(p scanners, body hcl.Body) (reconcile.Reads, check, hcl.Diagnostics) {
	maxAge, diags := duration(body, "max_age", p.MaxAge)
	if p.Minimum == 0 {
		p.Minimum = 1
	}
	if p.Minimum < 0 || p.Minimum > 100 {
		diags = append(diags, mistake(at(body, "minimum"), "Invalid minimum", "A number from 1 to 100 is needed here."))
	}
	return reconcile.ReadsScans, func(s reconcile.Subject, now time.Time) []reconcile.Finding {
		return onEach(s, func(m reconcile.Manifest, _ string) []reconcile.Finding {
			return p.judge(verdicts(s, m.Digest, maxAge, now), platformName(m))
		})
	}, diags
}

// A verdict is whether a scanner said something about a manifest, or why it doesn't count.
type verdict struct {
	scanner string
	without string // empty for a verdict
	scan    reconcile.Scan
}

// clockSkew is how far clocks may differ before a date counts as one to come.
const clockSkew = 24 * time.Hour

// verdicts lists the scanners that were to scan a manifest, or did, in the order of their names.
func verdicts(s reconcile.Subject, manifest reconcile.Digest, maxAge time.Duration, now time.Time) []verdict {
	by := map[string]verdict{}
	for _, p := range s.Evidence.Scans {
		if p.Manifest != manifest {
			continue
		}
		v := verdict{scanner: p.Scan.Scanner, without: p.Scan.NoVerdict, scan: p.Scan}
		switch {
		case v.without != "" || maxAge == 0:
		case p.Scan.Database.IsZero():
			v.without = "the age of its database is unknown"
		case p.Scan.Database.Sub(now) > clockSkew:
			v.without = "its database is of " + p.Scan.Database.UTC().Format(time.DateOnly) + ", a date to come"
		case now.Sub(p.Scan.Database) > maxAge:
			v.without = "its database is of " + p.Scan.Database.UTC().Format(time.DateOnly) + ", older than allowed"
		}
		if had, ok := by[v.scanner]; !ok || had.worse(v) {
			by[v.scanner] = v
		}
	}
	for _, e := range s.Expected {
		if _, ok := by[e.Name]; !ok {
			by[e.Name] = verdict{scanner: e.Name, without: "it has not scanned this platform"}
		}
	}
	out := make([]verdict, 0, len(by))
	for _, v := range by {
		out = append(out, v)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].scanner < out[j].scanner })
	return out
}

// worse tells which of two scans by one scanner counts: the one with a verdict, or else the later one.
func (v verdict) worse(than verdict) bool {
	if (v.without == "") != (than.without == "") {
		return v.without != ""
	}
	return v.scan.Finished.Before(than.scan.Finished)
}

func (p scanners) judge(vs []verdict, platform string) []reconcile.Finding {
	voices := map[string]bool{}
	var gave, silent []string
	for _, v := range vs {
		if v.without != "" {
			silent = append(silent, v.scanner+": "+clean(v.without, 200))
			continue
		}
		voices[reconcile.Voice(v.scanner)] = true
		gave = append(gave, v.scanner)
	}
	var out []reconcile.Finding
	if len(voices) < p.Minimum {
		out = append(out, reconcile.Finding{ID: "too-few-scanners", Summary: fmt.Sprintf("%d of the %d required scanners gave a verdict on %s", len(voices), p.Minimum, platform),
			Detail: whatSilentScannersNeed(silent, len(vs) < p.Minimum), Unknown: true})
	}
	for _, name := range p.Require {
		if !slices.Contains(gave, name) {
			out = append(out, reconcile.Finding{ID: "scanner-missing", Summary: fmt.Sprintf("the scanner %s gave no verdict on %s", name, platform),
				Detail: whySilent(vs, name), Unknown: true})
		}
	}
	return out
}

func whatSilentScannersNeed(silent []string, declareMore bool) string {
	var parts []string
	if len(silent) > 0 {
		parts = append(parts, "no verdict of "+strings.Join(silent, "; "))
	}
	if declareMore {
		parts = append(parts, "the catalog must declare more scanners")
	}
	if len(parts) == 0 {
		return "scanners that read the same data count as one"
	}
	return strings.Join(parts, "; ")
}

func whySilent(vs []verdict, name string) string {
	for _, v := range vs {
		if v.scanner == name {
			return clean(v.without, 500)
		}
	}
	return "the catalog doesn't declare it"
}

// platformName names a manifest's platform for people.
func platformName(m reconcile.Manifest) string {
	if m.Platform == (reconcile.Platform{}) {
		return "its only platform"
	}
	return m.Platform.String()
}
