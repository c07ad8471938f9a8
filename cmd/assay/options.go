package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// catalogOptions say which catalog to read, at which commit.
type catalogOptions struct {
	location    string
	ref         string
	commit      string
	path        string
	workingTree bool
}

func (o *catalogOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.location, "catalog", ".", "the catalog's repository: a `folder`, a bare repository, or a URL (https, ssh, file)")
	f.StringVar(&o.ref, "ref", "", "the branch or tag that holds the catalog; default: the repository's current one")
	f.StringVar(&o.commit, "commit", "", "the commit to read; default: the newest of --ref. Only the newest may change registries")
	f.StringVar(&o.path, "path", "", "the `folder` within the repository that holds the catalog")
	f.BoolVar(&o.workingTree, "working-tree", false, "read the folder as it is, with what is not committed")
}

// runOptions are those of every command that looks at registries.
type runOptions struct {
	catalogOptions
	since    string
	output   string
	cache    string
	stage    bytesFlag
	insecure []string
}

func (o *runOptions) flags(c *cobra.Command) {
	o.catalogOptions.flags(c)
	o.stage = 20 << 30
	f := c.Flags()
	f.StringVar(&o.since, "since", "", "look only at repositories in which the catalog differs from that of this `commit`, as after a merge")
	f.StringVarP(&o.output, "output", "o", "text", "text, json, markdown or sarif")
	f.StringVar(&o.cache, "cache", "", "the `folder` for what may vanish: staged content, the advisory database; default: assay in the user's cache folder")
	f.Var(&o.stage, "stage", "how much `content` may be staged for scanners at a time, such as 20GiB")
	f.StringSliceVar(&o.insecure, "insecure-registry", nil, "a `host` to speak plain http with; loopback addresses need no mention")
}

// folder returns the cache folder, made.
func (o *runOptions) folder() (string, error) {
	if o.cache == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return "", errors.New("there is no home folder to keep a cache in; give --cache")
		}
		o.cache = filepath.Join(base, "assay")
	}
	if err := os.MkdirAll(o.cache, 0o700); err != nil {
		return "", fmt.Errorf("make cache folder: %w (--cache names another)", err)
	}
	abs, err := filepath.Abs(o.cache) // scanners run in folders of their own
	if err != nil {
		return "", fmt.Errorf("find cache folder: %w", err)
	}
	return abs, nil
}

func (o *runOptions) check() error {
	switch o.output {
	case "text", "json", "markdown", "sarif":
		return nil
	}
	return fmt.Errorf("output %q is none of text, json, markdown, sarif", o.output)
}

// bytesFlag is a number of bytes, written with an optional unit.
type bytesFlag int64

var units = []struct {
	suffix string
	bytes  int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}}

func (b *bytesFlag) Set(s string) error {
	factor := int64(1)
	number := s
	for _, u := range units {
		if n, ok := strings.CutSuffix(s, u.suffix); ok {
			number, factor = n, u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
	if err != nil || n <= 0 || n > (1<<62)/factor {
		return fmt.Errorf("%q is not a size such as 20GiB", s)
	}
	*b = bytesFlag(n * factor)
	return nil
}

func (b *bytesFlag) Type() string { return "size" }

func (b *bytesFlag) String() string {
	for _, u := range units {
		if n := int64(*b); n >= u.bytes && n%u.bytes == 0 {
			return fmt.Sprintf("%d%s", n/u.bytes, u.suffix)
		}
	}
	return "0B"
}
