package trivy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/assay-oci/assay/reconcile/scan/external"
	"github.com/assay-oci/assay/reconcile/scan/program"
)

// A database is what trivy's says of itself.
type database struct {
	updated    time.Time
	ecosystems []string // sorted
}

const (
	schema      = 2       // of trivy's database
	maxMetadata = 1 << 20 // bytes
)

// readDatabase reads a database below trivy's cache folder: when it was made, from metadata.json, and what it covers, from its list of sources.
func readDatabase(cache string) (database, error) {
	path := filepath.Join(cache, "db", "metadata.json")
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return database{}, program.Failf("there is no database in %s; run `trivy image --download-db-only`", filepath.Dir(path))
	}
	if err != nil {
		return database{}, err
	}
	defer f.Close()
	var m struct {
		Version   int
		UpdatedAt time.Time
	}
	if err := json.NewDecoder(io.LimitReader(f, maxMetadata)).Decode(&m); err != nil {
		return database{}, program.Failf("%s can't be read: %v", path, err)
	}
	if m.Version != schema {
		return database{}, program.Failf("its database has schema %d, not %d", m.Version, schema)
	}
	sources, err := readSources(filepath.Join(cache, "db", "trivy.db"))
	if err != nil {
		return database{}, program.Failf("its database can't be read: %v", err)
	}
	d := database{updated: m.UpdatedAt}
	for _, s := range sources {
		d.ecosystems = append(d.ecosystems, ecosystemsOf(s)...)
	}
	slices.Sort(d.ecosystems)
	d.ecosystems = slices.Compact(d.ecosystems)
	return d, nil
}

// readSources lists the names that trivy's database has for where its advisories come from, such as "debian 12" or "npm::GitHub Security Advisory Npm".
func readSources(path string) (out []string, err error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err // bbolt would wait for a file that isn't there
	}
	defer func() {
		if v := recover(); v != nil { // bbolt panics on a damaged file
			err = fmt.Errorf("%s is damaged: %v", path, v)
		}
	}()
	db, err := bbolt.Open(path, 0o400, &bbolt.Options{ReadOnly: true, Timeout: 5 * time.Second})
	if err != nil {
		return nil, err
	}
	defer db.Close()
	err = db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("data-source"))
		if b == nil {
			return fmt.Errorf("%s names no sources of its advisories", path)
		}
		return b.ForEach(func(k, _ []byte) error {
			out = append(out, string(k))
			return nil
		})
	})
	return out, err
}

// languages gives OSV's ecosystem to the prefix of a source's name.
var languages = map[string]string{
	"npm": "npm", "go": "Go", "pip": "PyPI", "maven": "Maven", "rubygems": "RubyGems", "nuget": "NuGet", "composer": "Packagist", "cargo": "crates.io",
	"conan": "ConanCenter", "erlang": "Hex", "pub": "Pub", "swift": "SwiftURL", "cocoapods": "CocoaPods", "bitnami": "Bitnami", "julia": "Julia",
}

// systems gives the ID of a distribution's os-release to the words that stand before the version in a source's name.
var systems = map[string]string{
	"debian": "debian", "ubuntu": "ubuntu", "alpine": "alpine", "rocky": "rocky", "alma": "almalinux", "amazon linux": "amzn", "oracle linux": "ol",
	"red hat": "redhat", "photon os": "photon", "suse linux enterprise": "sles", "opensuse leap": "opensuse-leap", "cbl-mariner": "mariner",
	"azure linux": "azurelinux", "wolfi": "wolfi", "chainguard": "chainguard",
}

func ecosystemsOf(source string) []string {
	if prefix, _, ok := strings.Cut(source, "::"); ok {
		if e := languages[strings.ToLower(prefix)]; e != "" {
			return []string{e}
		}
		return nil
	}
	name, version := strings.ToLower(source), ""
	if systems[name] == "" {
		i := strings.LastIndex(name, " ")
		if i < 0 {
			return nil
		}
		name, version = name[:i], name[i+1:]
	}
	id := systems[name]
	if id == "" {
		return nil
	}
	out := []string{external.SystemEcosystem(id, version)}
	if id == "redhat" { // trivy judges CentOS by Red Hat's advisories
		out = append(out, "CentOS")
	}
	return out
}
