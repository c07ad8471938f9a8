package osvscanner

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/scan/program"
)

// A database is what osv-scanner downloaded: a folder for each ecosystem with an archive of all its records. It may be used concurrently.
type database struct {
	dir string
	now func() time.Time

	mu   sync.Mutex
	seen map[string]archive // by ecosystem
}

// An archive is what was found out about one file, which had this size and time then.
type archive struct {
	size    int64
	changed time.Time
	newest  time.Time
}

// ecosystems lists what the database covers. A folder without any is no database.
func (d *database) ecosystems() ([]string, error) {
	entries, err := os.ReadDir(d.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if info, err := os.Stat(d.path(e.Name())); err == nil && info.Mode().IsRegular() {
			out = append(out, e.Name())
		}
	}
	if len(out) == 0 {
		return nil, program.Failf("there is no database in %s; run osv-scanner once with --download-offline-databases", d.dir)
	}
	return out, nil
}

func (d *database) path(ecosystem string) string {
	return filepath.Join(d.dir, ecosystem, "all.zip")
}

// newest returns when the records about an image's packages were last changed: of each ecosystem the newest record, and of those the oldest. An archive
// that was not updated isn't made fresh by another one that was.
func (d *database) newest(ctx context.Context, packages []reconcile.Package) (time.Time, error) {
	have, err := d.ecosystems()
	if err != nil {
		return time.Time{}, err
	}
	var oldest time.Time
	done := map[string]bool{}
	for _, p := range packages {
		base, _, _ := strings.Cut(p.Ecosystem, ":")
		i := slices.IndexFunc(have, func(e string) bool { return strings.EqualFold(e, p.Ecosystem) || strings.EqualFold(e, base) })
		if i < 0 || done[have[i]] {
			continue
		}
		done[have[i]] = true
		t, err := d.newestOf(ctx, have[i])
		if err != nil {
			return time.Time{}, err
		}
		if oldest.IsZero() || t.Before(oldest) {
			oldest = t
		}
	}
	return oldest, nil
}

// newestOf reads an archive once: 200,000 records take some seconds.
func (d *database) newestOf(ctx context.Context, ecosystem string) (time.Time, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	info, err := os.Stat(d.path(ecosystem))
	if err != nil {
		return time.Time{}, err
	}
	if a, ok := d.seen[ecosystem]; ok && a.size == info.Size() && a.changed.Equal(info.ModTime()) {
		return a.newest, nil
	}
	t, err := newestRecord(ctx, d.path(ecosystem), d.now().Add(24*time.Hour))
	if ctx.Err() != nil {
		return time.Time{}, ctx.Err()
	}
	if err != nil {
		return time.Time{}, program.Failf("its database %s can't be read: %v", d.path(ecosystem), err)
	}
	if d.seen == nil {
		d.seen = map[string]archive{}
	}
	d.seen[ecosystem] = archive{info.Size(), info.ModTime(), t}
	return t, nil
}

const maxRecord = 32 << 20 // bytes of one record

// modified finds the field of that name. Within a text its quotes would be escaped.
var modified = regexp.MustCompile(`"modified"\s*:\s*"([^"]{10,40})"`)

// newestRecord returns the latest time at which a record of an archive was changed. Times after the limit are a mistake of the record's, and don't count.
func newestRecord(ctx context.Context, path string, limit time.Time) (time.Time, error) {
	z, err := zip.OpenReader(path)
	if err != nil {
		return time.Time{}, err
	}
	defer z.Close()
	var newest time.Time
	for _, f := range z.File {
		if err := ctx.Err(); err != nil {
			return time.Time{}, err
		}
		b, err := read(f)
		if err != nil {
			return time.Time{}, fmt.Errorf("%s: %w", f.Name, err)
		}
		if m := modified.FindSubmatch(b); m != nil {
			if t, err := time.Parse(time.RFC3339, string(m[1])); err == nil && t.After(newest) && t.Before(limit) {
				newest = t
			}
		}
	}
	return newest, nil
}

func read(f *zip.File) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxRecord+1))
	if err == nil && len(b) > maxRecord {
		err = fmt.Errorf("it has more than %d bytes", maxRecord)
	}
	return b, err
}
