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
	"strconv"
	"strings"
	"sync"

	cpb "github.com/google/osv-scalibr/binary/proto/config_go_proto"
	"github.com/google/osv-scalibr/extractor"
	"github.com/google/osv-scalibr/extractor/filesystem"
	"github.com/google/osv-scalibr/extractor/filesystem/language/golang/gobinary"
	"github.com/google/osv-scalibr/extractor/filesystem/language/java/archive"
	javameta "github.com/google/osv-scalibr/extractor/filesystem/language/java/archive/metadata"
	jsmeta "github.com/google/osv-scalibr/extractor/filesystem/language/javascript/metadata"
	"github.com/google/osv-scalibr/extractor/filesystem/language/javascript/packagejson"
	"github.com/google/osv-scalibr/extractor/filesystem/language/javascript/packagelockjson"
	"github.com/google/osv-scalibr/extractor/filesystem/language/python/wheelegg"
	"github.com/google/osv-scalibr/extractor/filesystem/os/apk"
	apkmeta "github.com/google/osv-scalibr/extractor/filesystem/os/apk/metadata"
	"github.com/google/osv-scalibr/extractor/filesystem/os/dpkg"
	dpkgmeta "github.com/google/osv-scalibr/extractor/filesystem/os/dpkg/metadata"
	"github.com/google/osv-scalibr/extractor/filesystem/os/rpm"
	rpmmeta "github.com/google/osv-scalibr/extractor/filesystem/os/rpm/metadata"
	"github.com/google/osv-scalibr/extractor/filesystem/simplefileapi"
	"github.com/google/osv-scalibr/log"
	"github.com/google/osv-scalibr/purl"
)

// A found is a package as one file tells of it. What belongs to an operating system gets its ecosystem when the image is known as a whole.
type found struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Match   string `json:"match,omitempty"`  // the name under which advisories speak of it, if it is another one
	Source  string `json:"source,omitempty"` // the version under which advisories speak of it, if it is another one
	System  string `json:"system,omitempty"` // the kind of a package of the operating system: deb, apk or rpm
	Eco     string `json:"eco,omitempty"`    // of any other package
	PURL    string `json:"purl,omitempty"`   // of any other package
	Arch    string `json:"arch,omitempty"`   // of a system's package
	Epoch   int    `json:"epoch,omitempty"`  // of an rpm package
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
	for _, x := range inv.Packages {
		if f, ok := convert(x); ok {
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
	f := found{Name: x.Name, Version: x.Version}
	switch m := x.Metadata.(type) {
	case *dpkgmeta.Metadata:
		f.System, f.Arch, f.Match, f.Source = "deb", m.Architecture, m.SourceName, m.SourceVersion
		return f, true
	case *apkmeta.Metadata:
		f.System, f.Arch, f.Match = "apk", m.Architecture, m.OriginName
		return f, true
	case *rpmmeta.Metadata:
		f.System, f.Arch, f.Epoch = "rpm", m.Architecture, m.Epoch
		return f, f.Name != "gpg-pubkey" // keys, kept as if they were packages
	case *javameta.Metadata:
		if m.GroupID != "" && m.ArtifactID != "" {
			f.Match = m.GroupID + ":" + m.ArtifactID
		}
	case *jsmeta.JavascriptPackageMetadata:
		groups := m.DepGroups()
		if len(groups) > 0 && !slices.ContainsFunc(groups, func(g string) bool { return g != "dev" }) || m.Source == jsmeta.Local {
			return found{}, false
		}
	}
	if x.PURLType == purl.TypePyPi {
		f.Match = normalPython(x.Name)
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

// normalPython spells a name as PyPI does: PEP 503.
func normalPython(name string) string {
	parts := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == '-' || r == '_' || r == '.' })
	return strings.Join(parts, "-")
}

// purlOf makes the package URL of a system's package: package-url specification, types deb, apk and rpm.
func (f found) purlOf(os osRelease) string {
	q := map[string]string{}
	for k, v := range map[string]string{"arch": f.Arch, "distro": os.id + "-" + os.version} {
		if v != "" {
			q[k] = v
		}
	}
	if f.Epoch > 0 {
		q["epoch"] = strconv.Itoa(f.Epoch)
	}
	u := purl.PackageURL{Type: f.System, Namespace: os.id, Name: f.Name, Version: f.Version, Qualifiers: purl.QualifiersFromMap(q)}
	return u.String()
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
