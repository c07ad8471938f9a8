// Package feeds keeps what the world says about vulnerabilities and distributions beside advisories: how likely a vulnerability is
// exploited (EPSS), which ones are (KEV), and until when a distribution is maintained. Annotate adds it to what any scanner says.
//
// A feed is imported as a whole: one entry that isn't understood fails the import, and the one that was there stays.
package feeds

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// A Kind of feed.
type Kind string

// The kinds.
const (
	EPSS    Kind = "epss"    // FIRST.org's CSV, plain or gzipped: https://www.first.org/epss/data_stats
	KEV     Kind = "kev"     // CISA's JSON: https://www.cisa.gov/known-exploited-vulnerabilities-catalog
	Support Kind = "support" // endoflife.date's JSON (API v1, or the older one of one product), and distro-info-data's debian.csv and ubuntu.csv
)

// Kinds are all of them.
var Kinds = []Kind{EPSS, KEV, Support}

// Home is where a kind of feed is published.
func (k Kind) Home() string {
	switch k {
	case EPSS:
		return "https://epss.empiricalsecurity.com/epss_scores-current.csv.gz"
	case KEV:
		return "https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json"
	case Support:
		return "https://endoflife.date/api/v1/products/full"
	}
	return ""
}

// A Feed says what was imported.
type Feed struct {
	Kind     Kind      `json:"kind"`
	Imported time.Time `json:"imported"`
	Data     time.Time `json:"data"`    // when it was made, as it says itself; else when its file was
	Entries  int       `json:"entries"` // vulnerabilities, or releases of distributions
}

// Bounds on what is imported. EPSS had about 300,000 entries in 2026.
const (
	maxSource  = 512 << 20 // bytes, decompressed
	maxEntries = 5_000_000
)

// stored is a feed's file: gzipped JSON.
type stored struct {
	Feed     Feed               `json:"feed"`
	Scores   map[string]float64 `json:"scores,omitempty"`   // EPSS, by CVE
	CVEs     map[string]bool    `json:"cves,omitempty"`     // KEV
	Releases map[string]release `json:"releases,omitempty"` // by product and version, as "debian:12"
}

// path names the file. A new layout gets a new name, so that an old program never reads it.
func path(dir string, k Kind) string { return filepath.Join(dir, string(k)+"-1.json.gz") }

// Import replaces a feed in a folder with what files hold. Of EPSS and KEV there is one file; of dates of support several add up.
func Import(ctx context.Context, dir string, k Kind, files ...string) (Feed, error) {
	f, err := importAll(ctx, dir, k, files)
	if err != nil {
		return Feed{}, fmt.Errorf("import feed %s: %w", k, err)
	}
	return f, nil
}

func importAll(ctx context.Context, dir string, k Kind, files []string) (Feed, error) {
	parse, ok := map[Kind]func(*stored, string, io.Reader) error{EPSS: parseEPSS, KEV: parseKEV, Support: parseSupport}[k]
	switch {
	case !ok:
		return Feed{}, errors.New("there is no such kind; use epss, kev or support")
	case len(files) == 0:
		return Feed{}, errors.New("no file is named")
	case k != Support && len(files) > 1:
		return Feed{}, errors.New("several files are named; give one")
	}
	s := stored{Feed: Feed{Kind: k, Imported: time.Now().UTC()}, Scores: map[string]float64{}, CVEs: map[string]bool{}, Releases: map[string]release{}}
	for _, file := range files {
		if err := ctx.Err(); err != nil {
			return Feed{}, err
		}
		if err := read(&s, file, parse); err != nil {
			return Feed{}, fmt.Errorf("%s: %w", file, err)
		}
	}
	s.Feed.Entries = len(s.Scores) + len(s.CVEs) + len(s.Releases)
	if s.Feed.Entries == 0 {
		return Feed{}, errors.New("it has no entries")
	}
	if s.Feed.Data.After(s.Feed.Imported.Add(48 * time.Hour)) {
		return Feed{}, errors.New("it is from the future")
	}
	return s.Feed, write(dir, s)
}

func read(s *stored, file string, parse func(*stored, string, io.Reader) error) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	b := bufio.NewReader(f)
	var r io.Reader = b
	if magic, _ := b.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(b)
		if err != nil {
			return err
		}
		defer z.Close()
		r = z
	}
	before := s.Feed.Data
	s.Feed.Data = time.Time{}
	if err := parse(s, file, &bounded{r: r, left: maxSource}); err != nil {
		return err
	}
	if s.Feed.Data.IsZero() {
		s.Feed.Data = info.ModTime().UTC()
	}
	if !before.IsZero() && before.Before(s.Feed.Data) {
		s.Feed.Data = before // a list is as old as its oldest part
	}
	return nil
}

// bounded fails, and doesn't end, where a source is too long: a cut list would be a list that lacks entries.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("it is larger than %d bytes", maxSource)
	}
	return n, err
}

// write replaces the file at once.
func write(dir string, s stored) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "import-feed-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	z := gzip.NewWriter(f)
	if err := errors.Join(json.NewEncoder(z).Encode(s), z.Close(), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path(dir, s.Feed.Kind))
}

// load reads a feed. If it was not imported, the error is fs.ErrNotExist.
func load(dir string, k Kind) (stored, error) {
	var s stored
	f, err := os.Open(path(dir, k))
	if err != nil {
		return s, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err == nil {
		err = json.NewDecoder(&bounded{r: z, left: maxSource}).Decode(&s)
	}
	if err != nil || s.Feed.Kind != k {
		return s, fmt.Errorf("read feed %s: %s is damaged; import it again with `assay db update`", k, f.Name())
	}
	return s, nil
}

// Info describes the feeds in a folder that were imported.
func Info(dir string) ([]Feed, error) {
	out := []Feed{}
	for _, k := range Kinds {
		s, err := load(dir, k)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, s.Feed)
	}
	return out, nil
}

var cve = regexp.MustCompile(`^CVE-[0-9]{4}-[0-9]{4,19}$`)
