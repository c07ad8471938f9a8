package builtin

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"go.etcd.io/bbolt"
)

// Bounds on what is imported. All of OSV was about 800,000 records in 2026.
const (
	maxRecord  = 32 << 20 // bytes of one
	maxRecords = 10_000_000
	batch      = 8 << 20 // bytes of records in one transaction
	future     = 48 * time.Hour
)

// Import makes the database in a directory anew, from zip files as OSV publishes them for each ecosystem (all.zip), or folders with such
// files anywhere below. One record that isn't understood fails it all, and the database stays what it was.
func Import(ctx context.Context, into string, from ...string) (Database, error) {
	d, err := importAll(ctx, into, from)
	if err != nil {
		return Database{}, fmt.Errorf("import advisories: %w", err)
	}
	return d, nil
}

// Current tells whether the database in a directory was made from just these files, and describes it.
func Current(dir string, from ...string) (Database, bool, error) {
	info, err := Info(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Database{}, false, nil
	}
	zips, findErr := findZips(from)
	if err != nil || findErr != nil {
		return Database{}, false, nil //nolint:nilerr // Import says what is wrong with the files, and makes up for what is wrong with the database
	}
	var digests []byte
	for _, z := range zips {
		sum, err := fileDigest(z)
		if err != nil {
			return Database{}, false, fmt.Errorf("read advisories: %w", err)
		}
		digests = append(digests, sum...)
	}
	return info, info.Digest == digestOfAll(digests), nil
}

// digestOfAll is that of a database, from those of its files.
func digestOfAll(digests []byte) string {
	sum := sha256.Sum256(digests)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func importAll(ctx context.Context, into string, from []string) (Database, error) {
	zips, err := findZips(from)
	if err != nil {
		return Database{}, err
	}
	if err := os.MkdirAll(into, 0o700); err != nil {
		return Database{}, err
	}
	lock := flock.New(filepath.Join(into, "import.lock"))
	if _, err := lock.TryLockContext(ctx, 50*time.Millisecond); err != nil {
		return Database{}, fmt.Errorf("wait for another import: %w", err)
	}
	defer lock.Close()

	dir, err := os.MkdirTemp(into, "import-")
	if err != nil {
		return Database{}, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, databaseFile)
	w, err := newWriter(dir)
	if err != nil {
		return Database{}, err
	}
	for _, z := range zips {
		if err := w.addZip(ctx, z); err != nil {
			return Database{}, err
		}
	}
	if err := w.write(ctx, path); err != nil {
		return Database{}, err
	}
	if err := os.Rename(path, filepath.Join(into, databaseFile)); err != nil {
		return Database{}, err
	}
	return w.info, nil
}

// findZips returns the files to read, sorted, so that the same folder gives the same database.
func findZips(from []string) ([]string, error) {
	var out []string
	for _, f := range from {
		before := len(out)
		err := filepath.WalkDir(f, func(path string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() && (path == f || strings.HasSuffix(path, ".zip")) {
				out = append(out, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if len(out) == before {
			return nil, fmt.Errorf("%s holds no zip file", f)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("no file is named")
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// A writer gathers what a new database will hold.
type writer struct {
	info     Database
	records  runs // recordBucket
	packages runs // packageBucket
	digests  []byte
	read     int // records
}

func newWriter(dir string) (*writer, error) {
	w := &writer{}
	for r, name := range map[*runs]string{&w.records: "records", &w.packages: "packages"} {
		r.dir = filepath.Join(dir, name)
		if err := os.Mkdir(r.dir, 0o700); err != nil {
			return nil, err
		}
	}
	w.info = Database{Imported: time.Now().UTC(), Ecosystems: map[string]int{}}
	return w, nil
}

func (w *writer) addZip(ctx context.Context, path string) error {
	sum, err := fileDigest(path)
	if err != nil {
		return err
	}
	w.digests = append(w.digests, sum...)
	z, err := zip.OpenReader(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer z.Close()
	records := 0
	for _, f := range z.File {
		if !strings.HasSuffix(f.Name, ".json") {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.addFile(f); err != nil {
			return fmt.Errorf("%s, %q: %w", path, f.Name, err)
		}
		records++
	}
	if records == 0 {
		return fmt.Errorf("%s holds no records", path)
	}
	return nil
}

func fileDigest(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return nil, err
	}
	return h.Sum(nil), nil
}

func (w *writer) addFile(f *zip.File) error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxRecord+1))
	if err != nil {
		return err
	}
	if len(b) > maxRecord {
		return fmt.Errorf("it is larger than %d bytes", maxRecord)
	}
	rec, err := parseRecord(b)
	if err != nil {
		return err
	}
	return w.add(rec)
}

func (w *writer) add(r record) error {
	if r.Modified.After(w.info.Imported.Add(future)) {
		return errors.New("it was modified in the future")
	}
	if w.read++; w.read > maxRecords {
		return fmt.Errorf("there are more than %d records", maxRecords)
	}
	if r.Modified.After(w.info.Newest) {
		w.info.Newest = r.Modified
	}
	at := r.Modified.UnixNano()
	if r.Withdrawn != nil { // it may replace one that was read before
		return w.records.add(pair{[]byte(r.ID), nil, at})
	}
	b, err := json.Marshal(r.advisory)
	if err != nil {
		return err
	}
	if err := w.records.add(pair{[]byte(r.ID), b, at}); err != nil {
		return err
	}
	for key, e := range r.entries() {
		b, err := json.Marshal(e)
		if err != nil {
			return err
		}
		if err := w.packages.add(pair{[]byte(key + r.ID), b, at}); err != nil {
			return err
		}
	}
	return nil
}

// entries returns what a record says about each package, by packageKey.
func (r record) entries() map[string]entry {
	out := map[string]entry{}
	for _, a := range r.Affected {
		key := packageKey(a.Package.Ecosystem, a.Package.Name)
		e := out[key]
		e.Modified = r.Modified.UnixNano()
		e.Affected = append(e.Affected, versions{severityOf(r, a), a.Ranges, a.Versions})
		out[key] = e
	}
	return out
}

// packageKey begins the keys of packageBucket; the record's id follows.
func packageKey(ecosystem, name string) string { return ecosystem + "\x00" + name + "\x00" }

// write makes the file.
func (w *writer) write(ctx context.Context, path string) (err error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true, NoFreelistSync: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.Update(func(tx *bbolt.Tx) error {
		for _, b := range [][]byte{metaBucket, recordBucket, packageBucket} {
			if _, err := tx.CreateBucket(b); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	if err := w.writeBucket(ctx, db, recordBucket, &w.records, func(p pair) {
		w.info.Records++
	}); err != nil {
		return err
	}
	last := ""
	if err := w.writeBucket(ctx, db, packageBucket, &w.packages, func(p pair) {
		pkg := string(p.key[:bytes.LastIndexByte(p.key, 0)])
		if ecosystem, _, _ := strings.Cut(pkg, "\x00"); pkg != last {
			w.info.Ecosystems[ecosystem]++
		}
		last = pkg
	}); err != nil {
		return err
	}
	w.info.Digest = digestOfAll(w.digests)
	b, err := json.Marshal(w.info)
	if err != nil {
		return err
	}
	if err := db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(metaBucket).Put(databaseKey, b) }); err != nil {
		return err
	}
	return db.Sync()
}

// writeBucket fills a bucket in the order of its keys, in transactions of some megabytes. A pair without a value is left out.
func (w *writer) writeBucket(ctx context.Context, db *bbolt.DB, name []byte, from *runs, wrote func(pair)) error {
	var pending []pair
	size := 0
	flush := func() error {
		err := db.Update(func(tx *bbolt.Tx) error {
			b := tx.Bucket(name)
			b.FillPercent = 1 // nothing will be put between
			for _, p := range pending {
				if err := b.Put(p.key, p.value); err != nil {
					return err
				}
			}
			return nil
		})
		pending, size = pending[:0], 0
		return err
	}
	err := from.each(func(p pair) error {
		if len(p.value) == 0 {
			return nil
		}
		wrote(p)
		pending = append(pending, p)
		if size += len(p.key) + len(p.value); size < batch {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return flush()
	})
	return errors.Join(err, flush())
}
