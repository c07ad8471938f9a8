package main

import (
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/exposure"
	"github.com/assay-oci/assay/reconcile/policy"
	"github.com/assay-oci/assay/reconcile/report"
)

type exposureOptions struct {
	runOptions
	cve, pkg, license string
	pods, images      string
	refresh           bool
}

func newExposure(io stdio) *cobra.Command {
	var o exposureOptions
	c := &cobra.Command{
		Use:   "exposure",
		Short: "Tell which approved images, and which running workloads, contain a vulnerability, package or licence",
		Long: `Exposure answers from the signed inventories and scans beside the approved images. They are kept in an index on this machine, which is
built from the registries when it is missing, and anew with --refresh.

With --pods or --images it also tells which workloads run something that is exposed, revoked, or was never approved.`,
		Example: `  assay exposure --catalog . --cve CVE-2021-44228
  assay exposure --catalog . --package 'pkg:npm/lodash@<4.17.21' -o csv
  kubectl get pods -A -o json | assay exposure --catalog . --cve CVE-2021-44228 --pods -`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runExposure(c.Context(), io, o) },
	}
	o.catalogOptions.flags(c)
	f := c.Flags()
	f.StringVar(&o.cve, "cve", "", "a vulnerability's `identifier` or one of its aliases")
	f.StringVar(&o.pkg, "package", "", "a package's name or `purl`, with a range of versions, such as pkg:npm/lodash@<4.17.21")
	f.StringVar(&o.license, "license", "", "an SPDX `identifier`, such as AGPL-3.0-only; * stands for anything")
	f.StringVar(&o.pods, "pods", "", "a `file` with what kubectl get pods -A -o json prints; - is standard input")
	f.StringVar(&o.images, "images", "", "a `file` with image references, one a line; - is standard input")
	f.BoolVar(&o.refresh, "refresh", false, "read the registries again")
	f.StringVarP(&o.output, "output", "o", "text", "text, json or csv")
	f.StringVar(&o.cache, "cache", "", "the `folder` of the index; default: assay in the user's cache folder")
	f.StringSliceVar(&o.insecure, "insecure-registry", nil, "a `host` to speak plain http with; loopback addresses need no mention")
	return c
}

// exposed is the answer.
type exposed struct {
	Built     time.Time           `json:"built"` // when the registries were read
	Commit    string              `json:"commit,omitempty"`
	Images    int                 `json:"images"` // how many the index knows
	Matches   []exposure.Match    `json:"matches"`
	Workloads []exposure.Workload `json:"workloads,omitempty"`
	Unlisted  []string            `json:"unlisted,omitempty"` // images about which nothing can be said
	Unread    []string            `json:"unread,omitempty"`   // what could not be read of the registries
}

func runExposure(ctx context.Context, io stdio, o exposureOptions) error {
	query, err := o.query()
	if err != nil {
		return err
	}
	if query.Empty() && o.pods == "" && o.images == "" {
		return errors.New("there is nothing to look for: give --cve, --package, --license, --pods or --images")
	}
	if o.output != "text" && o.output != "json" && o.output != "csv" {
		return fmt.Errorf("output %q is none of text, json, csv", o.output)
	}
	index, err := o.index(ctx, io)
	if err != nil {
		return err
	}
	uses, err := o.uses(io.in)
	if err != nil {
		return err
	}
	a := exposed{Built: index.Built, Commit: index.Commit, Images: len(index.Images), Matches: orNone(index.Find(query)), Unlisted: index.Unlisted(), Unread: index.Unread}
	if o.pods != "" || o.images != "" {
		a.Workloads = index.Workloads(uses, query, a.Matches)
	}
	switch o.output {
	case "json":
		e := json.NewEncoder(io.out)
		e.SetIndent("", "  ")
		return e.Encode(a)
	case "csv":
		return a.csv(io.out)
	}
	return a.text(io.out)
}

func orNone[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// index reads the index of this catalog, or builds it from the registries.
func (o *exposureOptions) index(ctx context.Context, io stdio) (*exposure.Index, error) {
	cache, err := o.folder()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(cache, "exposure", o.fileName())
	if !o.refresh {
		x, err := exposure.Read(file)
		if err == nil || !errors.Is(err, exposure.ErrNoIndex) {
			return x, err
		}
	}
	run, err := openRun(ctx, io, o.runOptions, "")
	if err != nil {
		return nil, err
	}
	defer run.close()
	sensors, err := run.readers(ctx)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	holdings, gaps := reconcile.Survey(ctx, run.desired, sensors, now)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	x := exposure.Build(run.desired, holdings, gaps, now)
	return x, x.Write(file)
}

func (o *exposureOptions) query() (exposure.Query, error) {
	q := exposure.Query{ID: o.cve}
	if o.pkg != "" {
		match, err := policy.PackageMatcher(o.pkg)
		if err != nil {
			return q, err
		}
		q.Package = func(p exposure.Package) bool {
			return match(reconcile.Package{Name: p.Name, Version: p.Version, Ecosystem: p.Ecosystem, PURL: p.PURL})
		}
	}
	if o.license != "" {
		match, err := policy.LicenseMatcher(o.license)
		if err != nil {
			return q, err
		}
		q.License = match
	}
	return q, nil
}

// fileName names the index by what it is an index of.
func (o *exposureOptions) fileName() string {
	location := o.location
	if abs, err := filepath.Abs(location); err == nil && catalogName(location) == "" {
		location = abs
	}
	h := sha256.Sum256([]byte(strings.Join([]string{location, o.ref, o.commit, o.path}, "\x00")))
	return hex.EncodeToString(h[:16]) + ".index"
}

func (o *exposureOptions) uses(in io.Reader) ([]exposure.Use, error) {
	var out []exposure.Use
	for _, x := range []struct {
		name string
		read func(io.Reader) ([]exposure.Use, error)
	}{{o.pods, exposure.ReadPods}, {o.images, exposure.ReadRefs}} {
		if x.name == "" {
			continue
		}
		r := in
		if x.name != "-" {
			f, err := os.Open(x.name)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			r = f
		}
		found, err := x.read(r)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

func (a exposed) text(w io.Writer) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	if len(a.Matches) > 0 {
		fmt.Fprintln(t, "IMAGE\tPACKAGE\tFINDING\tFIX\tPLATFORMS\tSINCE\tSCOPE\tOWNER\tWHERE\tMOVE TO")
		for _, m := range a.Matches {
			row(t, matchCells(m))
		}
	}
	if len(a.Workloads) > 0 {
		fmt.Fprintln(t, "STANDING\tWORKLOAD\tIMAGE\tAPPROVED AS\tOWNER\tWHY\tMOVE TO")
		for _, x := range a.Workloads {
			if x.Standing != exposure.IsApproved {
				row(t, workloadCells(x))
			}
		}
	}
	t.Flush()
	for _, u := range a.Unread {
		fmt.Fprintf(&b, "could not be read: %s\n", report.Plain(u))
	}
	if n := len(a.Unlisted); n > 0 {
		fmt.Fprintf(&b, "Nothing can be said about %s: no record says what is installed in them.\n", report.Plain(some(a.Unlisted)))
	}
	images := map[string]bool{}
	for _, m := range a.Matches {
		images[m.Image+":"+m.Version] = true
	}
	fmt.Fprintf(&b, "%d of %d approved images match", len(images), a.Images)
	if a.Workloads != nil {
		counts := map[exposure.Standing]int{}
		for _, x := range a.Workloads {
			counts[x.Standing]++
		}
		fmt.Fprintf(&b, "; of %d containers, %d run what is exposed, %d what is revoked, %d what was never approved", len(a.Workloads),
			counts[exposure.IsExposed], counts[exposure.IsRevoked], counts[exposure.NotApproved])
	}
	fmt.Fprintf(&b, ". (Registries as of %s; --refresh reads them again.)\n", a.Built.Format("2006-01-02 15:04 UTC"))
	_, err := io.WriteString(w, b.String())
	return err
}

// some names the first few of a list.
func some(list []string) string {
	const most = 5
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}

func row(w io.Writer, cells []string) {
	for i, c := range cells {
		if cells[i] = report.Plain(c); cells[i] == "" {
			cells[i] = "-"
		}
	}
	fmt.Fprintln(w, strings.Join(cells, "\t"))
}

func matchCells(m exposure.Match) []string {
	finding := m.License
	if m.ID != "" {
		finding = m.ID + " " + m.Severity
	}
	since := ""
	if !m.Since.IsZero() {
		since = m.Since.UTC().Format(time.DateOnly)
	}
	scope := m.Scope
	if scope == "" {
		scope = "organization"
	}
	return []string{m.Image + ":" + m.Version, m.Package + " " + m.Installed, finding, strings.Join(m.FixedIn, " "), strings.Join(m.Platforms, " "), since, scope, m.Owner,
		strings.Join(m.Places, " "), strings.Join(m.MoveTo, " ")}
}

func workloadCells(x exposure.Workload) []string {
	return []string{string(x.Standing), x.Where, x.Ref, x.Image, x.Owner, x.Why, strings.Join(x.MoveTo, " ")}
}

// csv writes the matches or, where workloads were asked about, those.
func (a exposed) csv(w io.Writer) error {
	c := csv.NewWriter(w)
	if a.Workloads != nil {
		write(c, []string{"standing", "workload", "image", "approved_as", "owner", "why", "move_to"})
		for _, x := range a.Workloads {
			write(c, workloadCells(x))
		}
	} else {
		write(c, []string{"image", "package", "finding", "fixed_in", "platforms", "since", "scope", "owner", "where", "move_to"})
		for _, m := range a.Matches {
			write(c, matchCells(m))
		}
	}
	c.Flush()
	return c.Error()
}

// write keeps a cell from being taken for a formula by the program that opens the table: package names come from images.
func write(c *csv.Writer, cells []string) {
	for i, s := range cells {
		s = report.Plain(s)
		if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
			s = "'" + s
		}
		cells[i] = s
	}
	_ = c.Write(cells) // Error tells
}
