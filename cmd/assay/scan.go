package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/report"
)

type scanOptions struct {
	runOptions
	scope    string
	platform string
	policy   bool // whether a catalog was named
}

func newScan(io stdio) *cobra.Command {
	var o scanOptions
	c := &cobra.Command{
		Use:   "scan IMAGE|LAYOUT",
		Short: "Scan an image, and say what a policy would make of it",
		Long: `Scan stages an image from a registry, or from a folder that is an OCI image layout, has the scanners scan it and shows what they found together.
With --catalog it uses that catalog's scanners, and gives the verdict that the policy of a scope would give. Nothing is written anywhere.`,
		Example: `  assay scan docker.io/library/nginx:1.27.3
  assay scan ./layout --catalog . --scope payments -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.policy = c.Flags().Changed("catalog") || c.Flags().Changed("scope")
			return runScan(c.Context(), io, o, args[0])
		},
	}
	o.catalogOptions.flags(c)
	o.stage = 20 << 30
	f := c.Flags()
	f.StringVar(&o.scope, "scope", "", "the `folder` of the scope whose policy judges; default: the organization's")
	f.StringVar(&o.platform, "platform", "", "one `platform` alone, such as linux/amd64")
	f.StringVarP(&o.output, "output", "o", "text", "text or json")
	f.StringVar(&o.cache, "cache", "", "the `folder` for what may vanish: staged content, the advisory database; default: assay in the user's cache folder")
	f.Var(&o.stage, "stage", "how much `content` may be staged at a time, such as 20GiB")
	f.StringSliceVar(&o.insecure, "insecure-registry", nil, "a `host` to speak plain http with; loopback addresses need no mention")
	return c
}

// scanned is the answer.
type scanned struct {
	Image     string             `json:"image"`
	Platforms []scannedPlatform  `json:"platforms"`
	Verdict   *reconcile.Verdict `json:"verdict,omitempty"` // with a catalog
}

type scannedPlatform struct {
	Digest          reconcile.Digest   `json:"digest"`
	Platform        reconcile.Platform `json:"platform,omitzero"`
	Scans           []reconcile.Scan   `json:"scans"`
	Vulnerabilities []reconcile.Merged `json:"vulnerabilities"`
}

func runScan(ctx context.Context, io stdio, o scanOptions, name string) error {
	if o.output != "text" && o.output != "json" {
		return fmt.Errorf("output %q is none of text, json", o.output)
	}
	run, image, evidence, err := o.examine(ctx, io, name)
	if err != nil {
		return err
	}
	out := scanned{Image: name, Platforms: perPlatform(evidence)}
	if o.policy {
		v := reconcile.Judge(run.desired, scannedWant(name, image, o.scope, run.rules), evidence, time.Now())
		out.Verdict = &v
	}
	if o.output == "json" {
		e := json.NewEncoder(io.out)
		e.SetIndent("", "  ")
		err = e.Encode(out)
	} else {
		err = out.text(io.out, time.Now())
	}
	switch {
	case err != nil:
		return err
	case out.Verdict != nil && len(out.Verdict.Refused) > 0:
		return exit(exitBlocked)
	case out.Verdict == nil && !out.judged():
		return exit(exitFailed)
	}
	return nil
}

// examine stages and scans an image. What it used is closed again.
func (o scanOptions) examine(ctx context.Context, io stdio, name string) (run *assembly, image reconcile.Image, e reconcile.Evidence, err error) {
	var only reconcile.Platform
	if o.platform != "" {
		if only, err = reconcile.ParsePlatform(o.platform); err != nil {
			return nil, image, e, err
		}
	}
	if run, err = openScan(ctx, io, o); err != nil {
		return nil, image, e, err
	}
	defer run.close()
	image, sensors, err := run.examiner(ctx, name)
	if err == nil {
		e, err = reconcile.Examine(ctx, run.desired.Scanners, sensors, image, only)
	}
	return run, image, e, err
}

// scannedWant is the version that the image would be if the catalog had it.
func scannedWant(name string, image reconcile.Image, scope string, rules []reconcile.Bound) reconcile.Want {
	label := strings.TrimSuffix(filepath.Base(strings.Split(name, "@")[0]), string(filepath.Separator))
	label, version, ok := strings.Cut(label, ":")
	if !ok {
		version = "scanned"
	}
	w := reconcile.Want{Name: label, Version: version, From: image, Scope: scope, Rules: rules}
	if t, err := reconcile.ParseTag(version); err == nil {
		w.Tags = []reconcile.Tag{t}
	}
	return w
}

func perPlatform(e reconcile.Evidence) []scannedPlatform {
	out := []scannedPlatform{}
	for _, m := range e.Tree.Runnable() {
		p := scannedPlatform{Digest: m.Digest, Platform: m.Platform, Scans: []reconcile.Scan{}}
		for _, s := range e.Scans {
			if s.Manifest == m.Digest {
				p.Scans = append(p.Scans, s.Scan)
			}
		}
		p.Vulnerabilities = orNone(reconcile.Merge(p.Scans))
		slices.SortStableFunc(p.Vulnerabilities, func(a, b reconcile.Merged) int { return b.Severity.Rank() - a.Severity.Rank() })
		out = append(out, p)
	}
	return out
}

func (s scanned) text(w io.Writer, now time.Time) error {
	var b strings.Builder
	for _, p := range s.Platforms {
		platform := p.Platform.String()
		if p.Platform == (reconcile.Platform{}) {
			platform = "its only platform"
		}
		fmt.Fprintf(&b, "%s  %s  %s\n", report.Plain(s.Image), platform, p.Digest.Short())
		for _, x := range p.Scans {
			fmt.Fprintf(&b, "  %s\n", report.Plain(scanLine(x, now)))
		}
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		if len(p.Vulnerabilities) > 0 {
			fmt.Fprintln(t, "  SEVERITY\tID\tPACKAGE\tINSTALLED\tFIXED IN\tREPORTED BY\tNOT BY")
		}
		for _, v := range p.Vulnerabilities {
			row(t, []string{"  " + string(v.Severity), v.ID, v.Package.Name, v.Package.Version, strings.Join(v.FixedIn, " "), strings.Join(v.Scanners(), " "), strings.Join(v.Silent, " ")})
		}
		t.Flush()
		fmt.Fprintln(&b)
	}
	if s.Verdict == nil {
		fmt.Fprintf(&b, "%s\n", s.counts())
	} else {
		s.verdict(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s scanned) verdict(b *strings.Builder) {
	for _, x := range []struct {
		mark string
		fs   []reconcile.Finding
	}{{"✗", s.Verdict.Refused}, {"!", s.Verdict.Warned}} {
		for _, f := range x.fs {
			fmt.Fprintf(b, "%s %s: %s\n", x.mark, report.Plain(f.Rule), report.Plain(f.Summary))
			if f.Detail != "" {
				fmt.Fprintf(b, "    %s\n", report.Plain(f.Detail))
			}
		}
	}
	for _, v := range s.Verdict.Waived {
		fmt.Fprintf(b, "i waived: %s of rule %s, until %s: %s\n", report.Plain(v.ID), report.Plain(v.Rule), v.Expires.Format(time.DateOnly), report.Plain(v.Reason))
	}
	word := "The policy would admit it"
	if len(s.Verdict.Refused) > 0 {
		word = fmt.Sprintf("The policy refuses it: %d findings", len(s.Verdict.Refused))
	}
	fmt.Fprintf(b, "%s. %s\n", word, s.counts())
}

func scanLine(s reconcile.Scan, now time.Time) string {
	if s.NoVerdict != "" {
		return s.Scanner + ": no verdict: " + s.NoVerdict
	}
	line := fmt.Sprintf("%s %s: %d packages", s.Scanner, s.Version, s.Packages)
	if s.Distribution != "" {
		line += " on " + s.Distribution
	}
	switch u := s.Support; {
	case u == nil:
	case !u.Until.IsZero():
		line += ", maintained until " + u.Until.Format(time.DateOnly)
	case u.Ended:
		line += ", no longer maintained"
	}
	if !s.Database.IsZero() {
		line += fmt.Sprintf(", database %s old", now.Sub(s.Database).Round(time.Hour))
	}
	return line
}

// judged tells whether any scanner said anything.
func (s scanned) judged() bool {
	return slices.ContainsFunc(s.Platforms, func(p scannedPlatform) bool {
		return slices.ContainsFunc(p.Scans, func(x reconcile.Scan) bool { return x.NoVerdict == "" })
	})
}

func (s scanned) counts() string {
	if !s.judged() {
		return "No scanner gave a verdict."
	}
	return counts(s.Platforms)
}

// counts says how many vulnerabilities there are by severity, those of several platforms once.
func counts(ps []scannedPlatform) string {
	seen := map[string]bool{}
	by := map[reconcile.Severity]int{}
	for _, p := range ps {
		for _, v := range p.Vulnerabilities {
			if k := v.Key + v.ID; !seen[k] {
				seen[k] = true
				by[v.Severity]++
			}
		}
	}
	var parts []string
	for _, s := range []reconcile.Severity{reconcile.Critical, reconcile.High, reconcile.Medium, reconcile.Low, reconcile.Negligible, reconcile.Unknown} {
		if by[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", by[s], s))
		}
	}
	if len(parts) == 0 {
		return "No vulnerability is known."
	}
	return "Vulnerabilities: " + strings.Join(parts, ", ") + "."
}

// isLayout tells a folder that is an OCI image layout from an image's name.
func isLayout(name string) bool {
	info, err := os.Stat(filepath.Join(name, "oci-layout"))
	return err == nil && info.Mode().IsRegular()
}
