package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/scan/builtin"
	"github.com/assay-oci/assay/reconcile/scan/scantest"
)

// The test's own binary is the other program: with this first argument it behaves as the second one says.
const actAs = "act-as-a-scanner"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == actAs {
		if err := act(os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const empty = `{"schema":"assay.scan/v1","version":"1","database":"2026-11-01T00:00:00Z","ecosystems":["npm"],"packages":1,"vulnerabilities":[]}`

func act(as string, args []string) error {
	switch as {
	case "scan": // a database's directory and a layout
		return scanAndPrint(args[0], args[1])
	case "print":
		fmt.Print(args[0])
	case "fail":
		fmt.Fprintln(os.Stderr, "some words\nthe \x1b[31mlast\x00 line")
		os.Exit(3)
	case "sleep":
		time.Sleep(time.Minute)
	case "flood":
		for {
			if _, err := os.Stdout.Write(make([]byte, 1<<16)); err != nil {
				return err
			}
		}
	case "read":
		b, err := os.ReadFile(strings.TrimPrefix(args[0], "--from="))
		if err != nil {
			return err
		}
		fmt.Print(string(b))
	}
	return nil
}

func scanAndPrint(db, layout string) error {
	b, err := os.ReadFile(filepath.Join(layout, "index.json"))
	if err != nil {
		return err
	}
	var index struct {
		Manifests []struct{ Digest reconcile.Digest }
	}
	if err := json.Unmarshal(b, &index); err != nil {
		return err
	}
	s, err := builtin.New(builtin.Options{Dir: db}).Scan(context.Background(), reconcile.Layout{Dir: layout, Manifest: index.Manifests[0].Digest}, reconcile.Image{})
	if err != nil {
		return err
	}
	if s.Vulnerabilities == nil {
		s.Vulnerabilities = []reconcile.Vulnerability{}
	}
	return json.NewEncoder(os.Stdout).Encode(document{Schema: Schema, Version: s.Version, Database: s.Database, Distribution: s.Distribution,
		Ecosystems: s.Ecosystems, Packages: &s.Packages, Vulnerabilities: s.Vulnerabilities, NoVerdict: s.NoVerdict})
}

func scanner(t testing.TB, o Options, args ...string) *Scanner {
	t.Helper()
	o.Name = "other"
	o.Command = append([]string{os.Args[0], actAs}, args...)
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func run(t testing.TB, o Options, args ...string) reconcile.Scan {
	t.Helper()
	got, err := scanner(t, o, args...).Scan(t.Context(), reconcile.Layout{Dir: "/nowhere"}, reconcile.Image{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Scanner != "other" || got.Finished.IsZero() {
		t.Errorf("scanner %q, finished %v", got.Scanner, got.Finished)
	}
	return got
}

func TestConformance(t *testing.T) {
	scantest.Run(t, func(t *testing.T) reconcile.Scanner {
		db := t.TempDir()
		if _, err := builtin.Import(t.Context(), db, scantest.OSV(t)); err != nil {
			t.Fatal(err)
		}
		return scanner(t, Options{}, "scan", db, Placeholder)
	})
}

func TestPrograms(t *testing.T) {
	tests := map[string]struct {
		o    Options
		args []string
		want string
	}{
		"that fail":                     {Options{}, []string{"fail"}, "it failed (exit status 3): the [31mlast line"},
		"that take too long":            {Options{Timeout: 300 * time.Millisecond}, []string{"sleep"}, "it took longer than 300ms"},
		"that print too much":           {Options{Output: 1 << 20}, []string{"flood"}, "it printed more than 1048576 bytes"},
		"that print nothing":            {Options{}, []string{"print", ""}, "its output is not what it should be: read it as assay.scan/v1: EOF"},
		"that print something else":     {Options{}, []string{"print", "0 vulnerabilities"}, "its output is not what it should be"},
		"that say something afterwards": {Options{}, []string{"print", empty + "{}"}, "something follows"},
		"that have no verdict":          {Options{}, []string{"print", `{"schema":"assay.scan/v1","version":"1","no_verdict":"no\ndatabase"}`}, "no database"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := run(t, test.o, test.args...)
			if !strings.Contains(got.NoVerdict, test.want) || len(got.Vulnerabilities) > 0 {
				t.Errorf("%+v, want %q", got, test.want)
			}
		})
	}
	if got := run(t, Options{}, "print", empty); got.NoVerdict != "" || got.Packages != 1 || got.Version != "1" {
		t.Errorf("%+v, want a verdict", got)
	}
}

func TestProgramReadsWhatItsCommandNames(t *testing.T) {
	dir := t.TempDir()
	answer := filepath.Join(dir, "answer")
	if err := os.WriteFile(answer, []byte(empty), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		o    Options
		args []string
	}{
		"an argument": {Options{}, []string{"read", answer}},
		"a flag":      {Options{}, []string{"read", "--from=" + answer}},
		"a database":  {Options{Database: answer}, []string{"read", Database}},
	} {
		if got := run(t, c.o, c.args...); got.NoVerdict != "" || got.Packages != 1 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestWhatTheCatalogAsksFor(t *testing.T) {
	at := func() time.Time { return time.Date(2026, 11, 11, 0, 0, 0, 0, time.UTC) }
	for want, o := range map[string]Options{
		"it is version 1, not 2 as the catalog says": {Version: "2"},
		"10 days old; at most 7 days is allowed":     {MaxAge: 7 * 24 * time.Hour, Now: at},
		"which is still to come":                     {MaxAge: time.Hour, Now: func() time.Time { return at().AddDate(-1, 0, 0) }},
		"it was not run":                             {Checksum: reconcile.MustDigest("sha256:" + strings.Repeat("0", 64))},
	} {
		if got := run(t, o, "print", empty); !strings.Contains(got.NoVerdict, want) || got.Vulnerabilities != nil {
			t.Errorf("%+v, want %q", got, want)
		}
	}
	if got := run(t, Options{Version: "v1", MaxAge: 11 * 24 * time.Hour, Now: at}, "print", empty); got.NoVerdict != "" {
		t.Errorf("%+v, want a verdict", got)
	}
}

func TestCancelledScan(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got, err := scanner(t, Options{}, "sleep").Scan(ctx, reconcile.Layout{Dir: "/nowhere"}, reconcile.Image{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestArguments(t *testing.T) {
	for want, args := range map[string][]string{
		"scan /l":        {"scan"},
		"oci:/l -o json": {"oci:{layout}", "-o", "json"},
		"--input=/l x/l": {"--input={layout}", "x{layout}"},
		"/l":             nil,
	} {
		s := &Scanner{o: Options{Command: append([]string{"x"}, args...)}}
		if got := strings.Join(s.arguments("/l"), " "); got != want {
			t.Errorf("%v: %q, want %q", args, got, want)
		}
	}
}

func TestUnusableCommands(t *testing.T) {
	for want, c := range map[string][]string{"has no command": nil, "is it installed?": {"no-such-scanner-anywhere"}} {
		if _, err := New(Options{Name: "x", Command: c}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
