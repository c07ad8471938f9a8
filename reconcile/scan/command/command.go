// Package command runs a scanner that is any program which prints the JSON described in reconcile/scan/README.md.
package command

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/scan/external"
	"github.com/assay-oci/assay/reconcile/scan/program"
)

// Placeholders in an argument stand for the layout's path and for the database's. Where no argument has the first, the layout's path is the last argument.
const (
	Placeholder = "{layout}"
	Database    = "{database}"
)

// Options say what to run. Zero limits stand for their defaults; without MaxAge the database may have any age.
type Options struct {
	Name     string           // the scanner's name in the catalog
	Command  []string         // program and arguments; the program is looked up in PATH, or relative to the working directory
	Version  string           // that it must say it has; empty for any
	Checksum reconcile.Digest // that the program's file must have; zero for any
	Database string           // a file or folder that it may read
	MaxAge   time.Duration    // how old its database may say it is
	Timeout  time.Duration    // of one scan; 10 minutes
	Output   int64            // bytes that it may print; 64 MiB
	Memory   int64            // bytes of memory that it may use; 4 GiB; on Linux only
	Required bool             // refuse to run where the system can't confine it entirely
	Now      func() time.Time // nil: time.Now
}

// A Scanner implements reconcile.Scanner. It may be used concurrently; each scan is a process.
type Scanner struct {
	o       Options
	shared  external.Options
	program *program.Program
}

var _ reconcile.Scanner = (*Scanner)(nil)

// New looks the program up.
func New(o Options) (*Scanner, error) {
	if len(o.Command) == 0 {
		return nil, fmt.Errorf("scanner %q has no command", o.Name)
	}
	p, err := program.Find(program.Options{Name: o.Name, Path: o.Command[0], Checksum: o.Checksum, Timeout: o.Timeout, Output: o.Output, Memory: o.Memory,
		Required: o.Required})
	if err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Database != "" {
		if o.Database, err = filepath.Abs(o.Database); err != nil {
			return nil, err
		}
	}
	o.Command = slices.Clone(o.Command)
	return &Scanner{o: o, program: p, shared: external.Options{Name: o.Name, Version: o.Version, MaxAge: o.MaxAge, Now: o.Now}}, nil
}

// Scan runs the program. Whatever it does wrong is no verdict; the error is the context's, or that it could not be started.
func (s *Scanner) Scan(ctx context.Context, l reconcile.Layout, _ reconcile.Image) (reconcile.Scan, error) {
	out, err := s.scan(ctx, l)
	return s.shared.Scan(out, err)
}

func (s *Scanner) scan(ctx context.Context, l reconcile.Layout) (reconcile.Scan, error) {
	r, err := s.program.Run(ctx, program.Job{Args: func(string) []string { return s.arguments(l.Dir) }, Read: s.readable(l.Dir)})
	if err != nil {
		return reconcile.Scan{}, err
	}
	out, err := Parse(r.Stdout)
	if err != nil {
		return reconcile.Scan{}, program.Failf("its output is not what it should be: %v", err)
	}
	if err := s.shared.Versioned(out.Version); err != nil {
		return out, err
	}
	if out.NoVerdict != "" {
		return out, program.Failf("%s", out.NoVerdict)
	}
	if out.Inventory != nil {
		out.Inventory.Lister = s.o.Name
	}
	if s.o.MaxAge > 0 {
		return out, s.shared.Fresh(out.Database)
	}
	return out, nil
}

func (s *Scanner) arguments(layout string) []string {
	args := slices.Clone(s.o.Command[1:])
	if !slices.ContainsFunc(args, func(a string) bool { return strings.Contains(a, Placeholder) }) {
		args = append(args, Placeholder)
	}
	places := strings.NewReplacer(Placeholder, layout, Database, s.o.Database)
	for i := range args {
		args[i] = places.Replace(args[i])
	}
	return args
}

// readable lists what the program may read: the layout, its database, and what the catalog's author names by an absolute path.
func (s *Scanner) readable(layout string) []string {
	out := []string{layout}
	if s.o.Database != "" {
		out = append(out, s.o.Database)
	}
	for _, a := range s.o.Command[1:] {
		if !filepath.IsAbs(a) {
			_, a, _ = strings.Cut(a, "=") // as in --config=/etc/scanner.toml
		}
		if filepath.IsAbs(a) && filepath.Clean(a) != "/" {
			if _, err := os.Stat(a); err == nil {
				out = append(out, a)
			}
		}
	}
	return out
}
