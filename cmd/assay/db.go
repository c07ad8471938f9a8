package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-oci/assay/reconcile/scan/builtin"
	"github.com/assay-oci/assay/reconcile/scan/download"
	"github.com/assay-oci/assay/reconcile/scan/feeds"
)

// mirror is where OSV publishes its records.
const mirror = "https://osv-vulnerabilities.storage.googleapis.com"

func newDB(io stdio) *cobra.Command {
	c := &cobra.Command{Use: "db", Short: "Manage the advisory database of the built-in scanner, and feeds"}
	c.AddCommand(newDBUpdate(io), newDBStatus(io))
	return c
}

type dbOptions struct {
	runOptions
	ecosystems []string
	feeds      map[feeds.Kind]*[]string
}

func newDBUpdate(io stdio) *cobra.Command {
	o := dbOptions{feeds: map[feeds.Kind]*[]string{}}
	c := &cobra.Command{
		Use:   "update [SOURCE...]",
		Short: "Import OSV advisories and feeds, replacing each at once",
		Long: `Update imports advisories in the OSV format from its sources: zip files, folders of them, or the http(s) URL of a zip file or of a mirror that
has <ecosystem>/all.zip for each --ecosystem. With --ecosystem and without a source the mirror is ` + mirror + `.
The new database replaces the old one as a whole, so name all that it should hold.

Feeds are imported with --epss, --kev and --support, each from its home or from =FILE or =URL: FIRST.org's scores, CISA's known exploited
vulnerabilities, and the end of support of distributions (endoflife.date's JSON, distro-info-data's debian.csv and ubuntu.csv).

One bad record fails an import, and what was there stays. What a server says has not changed is not fetched again.`,
		Example: `  assay db update --ecosystem Debian --ecosystem npm --epss --kev --support
  assay db update https://mirror.example.com/osv --ecosystem Debian
  assay db update Debian/all.zip npm/all.zip --support=debian.csv --support=ubuntu.csv`,
		RunE: func(c *cobra.Command, args []string) error { return runDBUpdate(c.Context(), io, o, args) },
	}
	c.Flags().StringVar(&o.cache, "cache", "", "the `folder` for what may vanish; default: assay in the user's cache folder")
	c.Flags().StringSliceVar(&o.ecosystems, "ecosystem", nil, "an `ecosystem` to fetch from a mirror, such as Debian, npm, Go, PyPI")
	for _, k := range feeds.Kinds {
		o.feeds[k] = c.Flags().StringArray(string(k), nil, "import this feed from its home, or from =`SOURCE`")
		c.Flags().Lookup(string(k)).NoOptDefVal = k.Home()
	}
	return c
}

func runDBUpdate(ctx context.Context, io stdio, o dbOptions, sources []string) error {
	if len(o.ecosystems) > 0 && len(sources) == 0 {
		sources = []string{mirror}
	}
	asked := len(sources)
	for _, from := range o.feeds {
		asked += len(*from)
	}
	if asked == 0 {
		return errors.New("nothing to import; name a source, an --ecosystem, or a feed (--epss, --kev, --support)")
	}
	cache, err := o.folder()
	if err != nil {
		return err
	}
	if len(sources) > 0 {
		if err := updateAdvisories(ctx, io, cache, sources, o.ecosystems); err != nil {
			return err
		}
	}
	for _, k := range feeds.Kinds {
		if err := updateFeed(ctx, io, cache, k, *o.feeds[k]); err != nil {
			return err
		}
	}
	return nil
}

func updateAdvisories(ctx context.Context, io stdio, cache string, sources, ecosystems []string) error {
	addresses, err := expand(sources, ecosystems)
	if err != nil {
		return err
	}
	files, err := local(ctx, io, cache, addresses)
	if err != nil {
		return err
	}
	dir := advisoryFolder(cache)
	info, same, err := builtin.Current(dir, files...)
	if err != nil {
		return err
	}
	if same {
		_, err = fmt.Fprintf(io.out, "The database holds these %d advisories already.\n", info.Records)
		return err
	}
	if info, err = builtin.Import(ctx, dir, files...); err != nil {
		return err
	}
	_, err = fmt.Fprintf(io.out, "Imported %d advisories for %d ecosystems.\n", info.Records, len(info.Ecosystems))
	return err
}

func updateFeed(ctx context.Context, io stdio, cache string, k feeds.Kind, sources []string) error {
	if len(sources) == 0 {
		return nil
	}
	files, err := local(ctx, io, cache, sources)
	if err != nil {
		return err
	}
	f, err := feeds.Import(ctx, advisoryFolder(cache), k, files...)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(io.out, "Imported feed %s: %d entries of %s.\n", k, f.Entries, f.Data.Format(time.DateOnly))
	return err
}

func isURL(s string) bool {
	return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://")
}

// expand names the zip files of mirrors.
func expand(sources, ecosystems []string) ([]string, error) {
	var out []string
	mirrors := 0
	for _, s := range sources {
		if !isURL(s) || strings.HasSuffix(s, ".zip") {
			out = append(out, s)
			continue
		}
		mirrors++
		for _, e := range ecosystems {
			out = append(out, strings.TrimSuffix(s, "/")+"/"+url.PathEscape(e)+"/all.zip")
		}
		if len(ecosystems) == 0 {
			return nil, fmt.Errorf("%s is a mirror; say which part of it with --ecosystem, such as Debian", redact(s))
		}
	}
	if len(ecosystems) > 0 && mirrors == 0 {
		return nil, errors.New("--ecosystem is for mirrors, and none of the sources is one")
	}
	return out, nil
}

func redact(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "the URL"
	}
	return u.Redacted()
}

// local fetches the URLs among the sources.
func local(ctx context.Context, io stdio, cache string, sources []string) ([]string, error) {
	out := make([]string, len(sources))
	for i, s := range sources {
		out[i] = s
		if !isURL(s) {
			continue
		}
		fmt.Fprintf(io.err, "fetching %s\n", redact(s))
		file, _, err := download.Get(ctx, download.Options{Dir: filepath.Join(cache, "downloads")}, s)
		if err != nil {
			return nil, err
		}
		out[i] = file
	}
	return out, nil
}

// dbStatus is what `db status -o json` prints.
type dbStatus struct {
	Database *builtin.Database `json:"database"` // null if there is none
	Days     *int              `json:"age_days"` // of the newest advisory
	Feeds    []feeds.Feed      `json:"feeds"`
}

func newDBStatus(io stdio) *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what the advisory database and the feeds hold, and how old they are",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if o.output != "text" && o.output != "json" {
				return fmt.Errorf("output %q is none of text, json", o.output)
			}
			cache, err := o.folder()
			if err != nil {
				return err
			}
			s, err := readStatus(advisoryFolder(cache), time.Now())
			if err != nil {
				return err
			}
			if o.output == "json" {
				e := json.NewEncoder(io.out)
				e.SetIndent("", "  ")
				return e.Encode(s)
			}
			return s.text(io, time.Now())
		},
	}
	c.Flags().StringVar(&o.cache, "cache", "", "the `folder` for what may vanish; default: assay in the user's cache folder")
	c.Flags().StringVarP(&o.output, "output", "o", "text", "text or json")
	return c
}

func readStatus(dir string, now time.Time) (dbStatus, error) {
	var s dbStatus
	info, err := builtin.Info(dir)
	switch {
	case err == nil:
		days := ageInDays(info.Newest, now)
		s.Database, s.Days = &info, &days
	case !errors.Is(err, fs.ErrNotExist):
		return s, err
	}
	s.Feeds, err = feeds.Info(dir)
	return s, err
}

func ageInDays(t, now time.Time) int { return max(int(now.Sub(t).Hours()/24), 0) }

func (s dbStatus) text(io stdio, now time.Time) error {
	t := tabwriter.NewWriter(io.out, 0, 0, 2, ' ', 0)
	if s.Database == nil {
		fmt.Fprintln(t, "advisories\tnone; run `assay db update`")
	} else {
		d := s.Database
		fmt.Fprintf(t, "advisories\t%d, the newest of %s (%d days old), imported %s\n", d.Records, d.Newest.Format(time.DateOnly), *s.Days, d.Imported.Format(time.DateOnly))
		for _, e := range d.Names() {
			fmt.Fprintf(t, "  %s\t%d packages\n", e, d.Ecosystems[e])
		}
	}
	for _, k := range feeds.Kinds {
		said := "none"
		if k == feeds.Support {
			said = "none; those that assay knows itself"
		}
		for _, f := range s.Feeds {
			if f.Kind == k {
				said = fmt.Sprintf("%d entries of %s (%d days old)", f.Entries, f.Data.Format(time.DateOnly), ageInDays(f.Data, now))
			}
		}
		fmt.Fprintf(t, "feed %s\t%s\n", k, said)
	}
	return t.Flush()
}
