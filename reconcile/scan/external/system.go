package external

import (
	"archive/tar"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/scan/layer"
	"github.com/assay-oci/assay/reconcile/scan/program"
)

// databases are where distributions write down what is installed. One that ends with a slash is a folder.
var databases = []string{"var/lib/dpkg/status", "var/lib/dpkg/status.d/", "lib/apk/db/installed", "usr/lib/apk/db/installed", "var/lib/rpm/", "usr/lib/sysimage/rpm/"}

// Seen refuses a scan without any package of a system, where the image has such packages: the scanner didn't recognise the system then, and what it says about the
// rest sounds as if it were all. trivy, for one, doesn't know Debian without /etc/debian_version, which an image's author can leave out. Content is
// only read where no such package was seen.
func Seen(ctx context.Context, l reconcile.Layout, packages []reconcile.Package) error {
	if slices.ContainsFunc(packages, func(p reconcile.Package) bool {
		t, _, _ := strings.Cut(strings.TrimPrefix(p.PURL, "pkg:"), "/")
		return t == "deb" || t == "apk" || t == "rpm"
	}) {
		return nil
	}
	database, err := systemDatabase(ctx, l)
	if err != nil {
		return err
	}
	if database != "" {
		return program.Failf("the image has a system with packages (%s), of which it saw none", database)
	}
	return nil
}

// systemDatabase returns a path at which the image has a database of packages with something in it; empty if there is none.
func systemDatabase(ctx context.Context, l reconcile.Layout) (string, error) {
	p, _, err := blob(l, l.Manifest.String())
	if err != nil {
		return "", err
	}
	b, err := readSmall(p)
	if err != nil {
		return "", err
	}
	var m struct{ Layers []descriptor }
	if err := json.Unmarshal(b, &m); err != nil {
		return "", err
	}
	there := map[string]bool{} // by its place in databases
	for _, d := range m.Layers {
		if err := layerDatabases(ctx, l, d.Digest, there); err != nil {
			return "", fmt.Errorf("layer %s: %w", d.Digest, err)
		}
	}
	for _, place := range databases {
		if there[place] {
			return place, nil
		}
	}
	return "", nil
}

// layerDatabases applies one layer. Whiteouts take away what is below (OCI image specification v1.1, "Whiteouts"), also what their own layer has: which
// stands first in it doesn't matter for the question, and erring means a scan without a verdict.
func layerDatabases(ctx context.Context, l reconcile.Layout, digest string, there map[string]bool) error {
	p, _, err := blob(l, digest)
	if err != nil {
		return err
	}
	f, err := os.Open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	content, err := layer.Decompress(f, layer.DefaultLimits)
	if err != nil {
		return err
	}
	defer content.Close()
	added := map[string]bool{}
	for r := tar.NewReader(content); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return program.Failf("a layer can't be read: %v", err)
		}
		name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		for _, place := range databases {
			folder := strings.HasSuffix(place, "/")
			switch {
			case removes(name, place):
				delete(there, place)
			case h.Typeflag == tar.TypeReg && h.Size > 0 && (name == place || folder && strings.HasPrefix(name, place) && !strings.HasPrefix(path.Base(name), ".wh.")):
				added[place] = true
			}
		}
	}
	for place := range added {
		there[place] = true
	}
	return nil
}

// removes tells whether a file is the whiteout of a place or of a folder around it.
func removes(name, place string) bool {
	dir, base := path.Split(name)
	what, ok := strings.CutPrefix(base, ".wh.")
	if !ok {
		return false
	}
	if what == ".wh..opq" { // all that the folder had
		return strings.HasPrefix(place, dir)
	}
	gone := dir + what
	return strings.TrimSuffix(place, "/") == gone || strings.HasPrefix(place, gone+"/")
}
