package builtin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	cpb "github.com/google/osv-scalibr/binary/proto/config_go_proto"
	"github.com/google/osv-scalibr/extractor"
	"github.com/google/osv-scalibr/extractor/filesystem"
	"github.com/google/osv-scalibr/extractor/filesystem/language/dotnet/depsjson"
	"github.com/google/osv-scalibr/extractor/filesystem/language/dotnet/packagesconfig"
	"github.com/google/osv-scalibr/extractor/filesystem/language/dotnet/packageslockjson"
	"github.com/google/osv-scalibr/extractor/filesystem/language/golang/gobinary"
	"github.com/google/osv-scalibr/extractor/filesystem/language/java/archive"
	javameta "github.com/google/osv-scalibr/extractor/filesystem/language/java/archive/metadata"
	jsmeta "github.com/google/osv-scalibr/extractor/filesystem/language/javascript/metadata"
	"github.com/google/osv-scalibr/extractor/filesystem/language/javascript/packagejson"
	"github.com/google/osv-scalibr/extractor/filesystem/language/javascript/packagelockjson"
	"github.com/google/osv-scalibr/extractor/filesystem/language/php/composerlock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/python/wheelegg"
	"github.com/google/osv-scalibr/extractor/filesystem/language/ruby/gemspec"
	"github.com/google/osv-scalibr/extractor/filesystem/language/rust/cargoauditable"
	"github.com/google/osv-scalibr/extractor/filesystem/language/rust/cargolock"
	"github.com/google/osv-scalibr/extractor/filesystem/os/apk"
	apkmeta "github.com/google/osv-scalibr/extractor/filesystem/os/apk/metadata"
	"github.com/google/osv-scalibr/extractor/filesystem/os/dpkg"
	dpkgmeta "github.com/google/osv-scalibr/extractor/filesystem/os/dpkg/metadata"
	"github.com/google/osv-scalibr/extractor/filesystem/os/rpm"
	rpmmeta "github.com/google/osv-scalibr/extractor/filesystem/os/rpm/metadata"
	"github.com/google/osv-scalibr/extractor/filesystem/osv"
	"github.com/google/osv-scalibr/extractor/filesystem/simplefileapi"
	"github.com/google/osv-scalibr/log"
	"github.com/google/osv-scalibr/purl"
)

// A found is a package as one file tells of it. What belongs to an operating system gets its ecosystem when the image is known as a whole.
type found struct {
	Name          string `json:"name"`
	Version       string `json:"version"`
	Source        string `json:"source,omitempty"`         // the source package
	SourceVersion string `json:"source_version,omitempty"` // its version, if that is another one
	System        string `json:"system,omitempty"`         // the kind of a package of the operating system: deb, apk or rpm
	Eco           string `json:"eco,omitempty"`            // of any other package
	PURL          string `json:"purl,omitempty"`           // of any other package
	Arch          string `json:"arch,omitempty"`           // of a system's package
	Epoch         int    `json:"epoch,omitempty"`          // of an rpm package
	License       string `json:"license,omitempty"`        // SPDX expression
	Layer         string `json:"-"`                        // diffID of the layer that brought it, once layers are merged
}

// A reader of one kind of file.
type reader struct {
	filesystem.Extractor
	system bool // it reads a database of the operating system, which must not be unreadable
}

// readers are used concurrently; they hold settings only.
var readers = sync.OnceValue(func() []reader {
	c := &cpb.PluginConfig{}
	var out []reader
	for _, r := range []struct {
		make   func(*cpb.PluginConfig) (filesystem.Extractor, error)
		system bool
	}{
		{dpkg.New, true}, {apk.New, true}, {rpm.New, true},
		{gobinary.New, false}, {packagejson.New, false}, {packagelockjson.New, false}, {wheelegg.New, false}, {archive.New, false},
		{gemspec.New, false}, {depsjson.New, false}, {packagesconfig.New, false}, {packageslockjson.New, false},
		{composerlock.New, false}, {newComposerInstalled, false}, {cargoauditable.New, false}, {cargolock.New, false},
	} {
		e, err := r.make(c)
		if err != nil {
			panic("builtin: " + err.Error()) // its own default settings
		}
		out = append(out, reader{e, r.system})
	}
	return out
})

// readersOf returns those that want a file.
func readersOf(p string, info fs.FileInfo) []reader {
	// a project's own package.json says nothing of what is installed
	if path.Base(p) == "package.json" && !strings.Contains("/"+p, "/node_modules/") {
		return nil
	}
	api := simplefileapi.New(p, info)
	return slices.DeleteFunc(slices.Clone(readers()), func(r reader) bool { return !r.FileRequired(api) })
}

var silence = sync.OnceFunc(func() { log.SetLogger(quiet{}) })

// quiet drops what scalibr logs: it holds text from images.
type quiet struct{}

func (quiet) Errorf(string, ...any) {}
func (quiet) Error(...any)          {}
func (quiet) Warnf(string, ...any)  {}
func (quiet) Warn(...any)           {}
func (quiet) Infof(string, ...any)  {}
func (quiet) Info(...any)           {}
func (quiet) Debugf(string, ...any) {}
func (quiet) Debug(...any)          {}

// nothing is a file system without files: a file is read by itself.
type nothing struct{}

func (nothing) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}
func (nothing) Stat(name string) (fs.FileInfo, error) {
	return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
}
func (nothing) ReadDir(name string) ([]fs.DirEntry, error) {
	return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
}

// read lets one reader read one file. The error says that the file holds packages which can't be known.
func (r reader) read(ctx context.Context, p string, info fs.FileInfo, content io.ReadSeeker) (out []found, err error) {
	defer func() {
		if v := recover(); v != nil { // these parsers see hostile files
			out, err = nil, fmt.Errorf("%s can't be parsed", p)
		}
	}()
	inv, err := r.Extract(ctx, &filesystem.ScanInput{FS: nothing{}, Path: p, Info: info, Reader: content})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil && (r.system || errors.Is(err, filesystem.ErrExtractorMemoryLimitExceeded)) {
		return nil, fmt.Errorf("%s can't be read", p)
	}
	// any other error is of a file that only looks like a package: a damaged archive, a test's broken package.json
	license := func(found) string { return "" }
	if len(inv.Packages) > 0 && !r.system {
		license = licensesIn(p, content, info.Size())
	}
	for _, x := range inv.Packages {
		if f, ok := convert(x); ok {
			if f.License == "" {
				f.License = license(f)
			}
			out = append(out, f)
		}
	}
	if r.system && len(out) == 0 && info.Size() > 0 && strings.Contains(p, "status.d/") {
		return nil, fmt.Errorf("%s can't be read", p) // scalibr passes such a file over in silence
	}
	return out, nil
}

// convert leaves out what is not installed.
func convert(x *extractor.Package) (found, bool) {
	f := found{Name: x.Name, Version: x.Version, License: spdxAny(x.Licenses)}
	switch m := x.Metadata.(type) {
	case *dpkgmeta.Metadata:
		f.System, f.Arch, f.Source, f.SourceVersion = "deb", m.Architecture, m.SourceName, m.SourceVersion
		return f.withoutRepetition(), true
	case *apkmeta.Metadata:
		f.System, f.Arch, f.Source = "apk", m.Architecture, m.OriginName
		return f.withoutRepetition(), true
	case *rpmmeta.Metadata:
		f.System, f.Arch, f.Epoch, f.Source = "rpm", m.Architecture, m.Epoch, sourceOfRPM(m.SourceRPM)
		return f.withoutRepetition(), f.Name != "gpg-pubkey" // keys, kept as if they were packages
	case *javameta.Metadata:
		if m.GroupID != "" && m.ArtifactID != "" {
			f.Name = m.GroupID + ":" + m.ArtifactID
		}
	case *jsmeta.JavascriptPackageMetadata:
		if onlyForDevelopment(m.DepGroups()) || m.Source == jsmeta.Local {
			return found{}, false
		}
	case *osv.DepGroupMetadata:
		if onlyForDevelopment(m.DepGroups()) {
			return found{}, false
		}
	case *depsjson.Metadata:
		if m.Type == "project" { // the program itself
			return found{}, false
		}
	}
	if x.PURLType == purl.TypeGolang && x.Name == "go" {
		f.Name = "stdlib"
	}
	f.Eco = x.Ecosystem().String()
	if u := x.PURL(); u != nil {
		if x.PURLType == purl.TypeGolang && x.Name == "go" {
			u.Name = "stdlib"
		}
		u.Qualifiers = nil // where it was found doesn't make it another package
		f.PURL = u.String()
	}
	return f, f.Eco != "" // packages from a Git commit belong to no ecosystem
}

func onlyForDevelopment(groups []string) bool {
	return len(groups) > 0 && !slices.ContainsFunc(groups, func(g string) bool { return g != "dev" })
}

// withoutRepetition forgets the source's name and version where they are the package's own.
func (f found) withoutRepetition() found {
	if f.SourceVersion == f.Version {
		f.SourceVersion = ""
	}
	if f.Source == f.Name && f.SourceVersion == "" {
		f.Source = ""
	}
	return f
}

// sourceOfRPM returns the name in "name-version-release.src.rpm".
func sourceOfRPM(file string) string {
	name := strings.TrimSuffix(file, ".src.rpm")
	for range 2 {
		i := strings.LastIndex(name, "-")
		if i <= 0 {
			return ""
		}
		name = name[:i]
	}
	return name
}

const inMemory = 16 << 20 // bytes of a file above which it is put on disk

// spool makes a file of a layer readable at any place. The function frees it.
func spool(r io.Reader, size int64) (io.ReadSeeker, func(), error) {
	if size <= inMemory {
		b, err := io.ReadAll(r)
		return bytes.NewReader(b), func() {}, err
	}
	f, err := os.CreateTemp("", "assay-scan-")
	if err != nil {
		return nil, nil, err
	}
	free := func() {
		f.Close()
		os.Remove(f.Name())
	}
	if _, err := io.Copy(f, r); err != nil {
		free()
		return nil, nil, err
	}
	_, err = f.Seek(0, io.SeekStart)
	return f, free, err
}
