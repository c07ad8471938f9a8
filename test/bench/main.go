// Command bench compares tools that bring images from one registry to another: requests, bytes, connections, seconds and memory, on two
// registries of this process (CNCF distribution on folders), behind handlers that count and can disturb.
//
//	go run ./test/bench [-cases "M cold,L nothing"] [-tools assay,crane] [-runs 3] [-dir .cache/bench]
//
// The first tool of a table is the one that the others are compared with.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/assay-oci/assay/reconcile/registry/registrytest"
)

// A scenario is one row of the comparison.
type scenario struct {
	name     string
	workload string
	target   string // what the target holds beforehand: "", "same", or "before" one tag changed
	faults   registrytest.Faults
	auth     bool
	without  []string // tools that can't do it in a reasonable time
}

const rtt = 30 * time.Millisecond

var scenarios = []scenario{
	{name: "S cold", workload: "S"},
	{name: "S cold, 30 ms", workload: "S", faults: registrytest.Faults{Latency: rtt}},
	{name: "S cold, tokens", workload: "S", auth: true},
	{name: "S cold, 2 % answer 500", workload: "S", faults: registrytest.Faults{Rate: 0.02, Kinds: []string{registrytest.Error500}}},
	{name: "S cold, 2 % dropped", workload: "S", faults: registrytest.Faults{Rate: 0.02, Kinds: []string{registrytest.Drop}}},
	{name: "S cold, 2 % answer 429", workload: "S", faults: registrytest.Faults{Rate: 0.02, Kinds: []string{registrytest.Error429}}},
	{name: "M cold", workload: "M"},
	{name: "M nothing to do", workload: "M", target: "same"},
	{name: "L nothing to do, 30 ms", workload: "L", target: "same", faults: registrytest.Faults{Latency: rtt}, without: []string{"skopeo"}},
	{name: "L one tag changed, 30 ms", workload: "L", target: "before", faults: registrytest.Faults{Latency: rtt}, without: []string{"skopeo"}},
	{name: "one layer of 2 GiB", workload: "big"},
}

func main() {
	cases := flag.String("cases", "", "beginnings of the names of the scenarios to run, separated by semicolons; empty for all")
	names := flag.String("tools", "assay,assay+scan,assay --since,crane,regsync,skopeo", "tools to compare")
	runs := flag.Int("runs", 3, "runs of each; the median counts")
	dir := flag.String("dir", ".cache/bench", "folder for programs and contents, kept for the next time")
	flag.Parse()
	if err := run(*cases, strings.Split(*names, ","), *runs, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(cases string, names []string, runs int, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	bin := filepath.Join(dir, "bin")
	if err := install(bin, names); err != nil {
		return err
	}
	for _, s := range scenarios {
		if !selected(s.name, cases) {
			continue
		}
		var rows []result
		for _, t := range tools {
			if !slices.Contains(names, t.name) || slices.Contains(s.without, t.name) || t.name == sinceName && s.target != "before" {
				continue
			}
			var all []result
			for range runs {
				r, err := once(s, t, dir, bin)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", s.name, t.name, err)
				}
				all = append(all, r)
			}
			rows = append(rows, median(all))
		}
		show(s, rows)
	}
	return nil
}

func selected(name, cases string) bool {
	if cases == "" {
		return true
	}
	return slices.ContainsFunc(strings.Split(cases, ";"), func(c string) bool { return strings.HasPrefix(name, strings.TrimSpace(c)) })
}

func median(all []result) result {
	slices.SortFunc(all, func(a, b result) int { return int(a.took - b.took) })
	m := all[len(all)/2]
	for _, r := range all {
		m.peak = max(m.peak, r.peak)
		if r.problem != "" {
			m.problem = r.problem
		}
	}
	return m
}

func show(s scenario, rows []result) {
	fmt.Printf("\n%s\n", s.name)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "tool\tseconds\tratio\trequests: source\ttarget\tMiB: source\ttarget\tconnections\tpeak MiB\tend\t")
	for _, r := range rows {
		end := r.problem
		if end == "" {
			end = "ok"
		}
		fmt.Fprintf(w, "%s\t%.2f\t%.1f\t%d\t%d\t%.0f\t%.0f\t%d\t%d\t%s\t\n", r.tool, r.took.Seconds(), r.took.Seconds()/rows[0].took.Seconds(),
			r.sourceRequests, r.targetRequests, mib(r.sourceBytes), mib(r.targetBytes), r.connections, r.peak>>20, end)
	}
	_ = w.Flush()
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }
