package builtin

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

// A Database says what an imported database holds.
type Database struct {
	Imported   time.Time      `json:"imported"`
	Newest     time.Time      `json:"newest"`     // when its newest record was modified: the data's own age, however often it is copied
	Records    int            `json:"records"`    // advisories, without those withdrawn
	Ecosystems map[string]int `json:"ecosystems"` // number of affected packages that records name, by ecosystem, such as "Debian:12"
	Digest     string         `json:"digest"`     // sha256 over the digests of the files that it was made from, in their order
}

// Names returns the ecosystems, sorted.
func (d Database) Names() []string { return slices.Sorted(maps.Keys(d.Ecosystems)) }

// The file, in bbolt's format. A new layout of it gets a new name, so that an old program never reads it.
const databaseFile = "advisories-2.db"

var (
	metaBucket    = []byte("meta")     // "database": a Database as JSON
	recordBucket  = []byte("records")  // id: an advisory as JSON
	packageBucket = []byte("packages") // ecosystem, NUL, name, NUL, id of a record: an entry as JSON
	databaseKey   = []byte("database")
)

type database struct {
	db   *bbolt.DB
	info Database
}

// Info describes the database in a directory. If there is none, the error is fs.ErrNotExist.
func Info(dir string) (Database, error) {
	d, err := openDatabase(dir)
	if err != nil {
		return Database{}, err
	}
	return d.info, d.close()
}

// openDatabase opens the database that is there now. Another import doesn't touch it: it puts a new file in its place.
func openDatabase(dir string) (_ *database, err error) {
	path := filepath.Join(dir, databaseFile)
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("open advisory database: %w", err) // bbolt would make one
	}
	defer func() {
		if v := recover(); v != nil { // bbolt panics on a damaged file
			err = fmt.Errorf("open advisory database %s: it is damaged; import it again", path)
		}
	}()
	db, size, err := openFile(path)
	if err != nil {
		return nil, fmt.Errorf("open advisory database %s: %w; import it again", path, err)
	}
	d := &database{db: db}
	err = db.View(func(tx *bbolt.Tx) error {
		if size < tx.Size() { // the system kills who reads behind the end of a mapped file
			return errors.New("it is cut off")
		}
		return d.readInfo(tx)
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open advisory database %s: %w; import it again", path, err), db.Close())
	}
	return d, nil
}

func openFile(path string) (db *bbolt.DB, size int64, err error) {
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{
		ReadOnly: true, Timeout: 10 * time.Second,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			f, err := os.OpenFile(name, flag, mode)
			if err != nil {
				return nil, err
			}
			info, err := f.Stat()
			if err != nil {
				return nil, errors.Join(err, f.Close())
			}
			size = info.Size()
			return f, nil
		},
	})
	return db, size, err
}

func (d *database) readInfo(tx *bbolt.Tx) error {
	meta := tx.Bucket(metaBucket)
	if meta == nil || tx.Bucket(recordBucket) == nil || tx.Bucket(packageBucket) == nil {
		return errors.New("it is damaged")
	}
	if err := json.Unmarshal(meta.Get(databaseKey), &d.info); err != nil {
		return errors.New("it is damaged")
	}
	return nil
}

func (d *database) close() error { return d.db.Close() }
