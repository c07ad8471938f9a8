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
	"maps"
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
	w, err := newWriter(path)
	if err != nil {
		return Database{}, err
	}
	for _, z := range zips {
		if err = w.addZip(ctx, z); err != nil {
			break
		}
	}
	if err == nil {
		err = w.finish()
	}
	if err := errors.Join(err, w.db.Close()); err != nil {
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

// A writer fills a new database.
type writer struct {
	db      *bbolt.DB
	info    Database
	pending map[string][]byte
	bytes   int      // of pending
	index   []string // keys of packageBucket that are not written yet
	digests []byte
}

func newWriter(path string) (*writer, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true, NoFreelistSync: true})
	if err != nil {
		return nil, err
	}
	w := &writer{db: db, pending: map[string][]byte{}}
	w.info = Database{Imported: time.Now().UTC(), Ecosystems: map[string]int{}}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, b := range [][]byte{metaBucket, recordBucket, packageBucket} {
			if _, err := tx.CreateBucket(b); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
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
	before, known, err := w.modified(r.ID)
	if err != nil || known && !r.Modified.After(before) {
		return err
	}
	if !known {
		w.info.Records++
	}
	if w.info.Records > maxRecords {
		return fmt.Errorf("there are more than %d records", maxRecords)
	}
	if r.Modified.After(w.info.Newest) {
		w.info.Newest = r.Modified
	}
	if r.Withdrawn != nil {
		r.Affected = nil // it may replace one that was read before
	}
	seen := map[string]bool{}
	for _, a := range r.Affected {
		key := packageKey(a.Package.Ecosystem, a.Package.Name) + r.ID
		if !seen[key] {
			seen[key] = true
			w.index = append(w.index, key)
			w.bytes += len(key)
		}
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	w.pending[r.ID] = b
	if w.bytes += len(b); w.bytes >= batch {
		return w.flush()
	}
	return nil
}

// modified tells of a record that was read before when it was modified: several ecosystems publish the same one.
func (w *writer) modified(id string) (at time.Time, known bool, err error) {
	b := w.pending[id]
	if b == nil {
		err = w.db.View(func(tx *bbolt.Tx) error {
			b = bytes.Clone(tx.Bucket(recordBucket).Get([]byte(id)))
			return nil
		})
	}
	if b == nil || err != nil {
		return at, false, err
	}
	var r record
	err = json.Unmarshal(b, &r)
	return r.Modified, true, err
}

// packageKey begins the keys of packageBucket; the record's id follows.
func packageKey(ecosystem, name string) string { return ecosystem + "\x00" + name + "\x00" }

// flush writes what is pending, sorted, so that few pages are touched.
func (w *writer) flush() error {
	slices.Sort(w.index)
	err := w.db.Update(func(tx *bbolt.Tx) error {
		for _, id := range slices.Sorted(maps.Keys(w.pending)) {
			if err := tx.Bucket(recordBucket).Put([]byte(id), w.pending[id]); err != nil {
				return err
			}
		}
		for _, k := range w.index {
			if err := tx.Bucket(packageBucket).Put([]byte(k), nil); err != nil {
				return err
			}
		}
		return nil
	})
	clear(w.pending)
	w.index, w.bytes = w.index[:0], 0
	return err
}

func (w *writer) finish() error {
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.countPackages(); err != nil {
		return err
	}
	sum := sha256.Sum256(w.digests)
	w.info.Digest = "sha256:" + hex.EncodeToString(sum[:])
	b, err := json.Marshal(w.info)
	if err != nil {
		return err
	}
	if err := w.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(metaBucket).Put(databaseKey, b) }); err != nil {
		return err
	}
	return w.db.Sync()
}

// countPackages counts the packages of each ecosystem that records name.
func (w *writer) countPackages() error {
	return w.db.View(func(tx *bbolt.Tx) error {
		last := ""
		return tx.Bucket(packageBucket).ForEach(func(k, _ []byte) error {
			pkg := string(k[:bytes.LastIndexByte(k, 0)])
			if ecosystem, _, _ := strings.Cut(pkg, "\x00"); pkg != last {
				w.info.Ecosystems[ecosystem]++
			}
			last = pkg
			return nil
		})
	})
}
