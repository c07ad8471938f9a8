package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// The demo's images hold the metadata of real packages in real versions: what dpkg, npm and the Go linker leave in an image, which is what a
// scanner reads. The programs themselves are left out, but for one Go program: this one.

// debian is a Debian 12 base: package, source package and version.
type debian struct{ name, source, version string }

var soundBase = []debian{
	{"base-files", "base-files", "12.4+deb12u11"},
	{"libc6", "glibc", "2.36-9+deb12u10"},
	{"libssl3", "openssl", "3.0.22-1~deb12u2"},
	{"perl-base", "perl", "5.36.0-7+deb12u4"},
	{"tar", "tar", "1.34+dfsg-1.2+deb12u1"},
	{"zlib1g", "zlib", "1:1.2.13.dfsg-1"},
}

var staleBase = []debian{
	{"base-files", "base-files", "12.4+deb12u5"},
	{"libc6", "glibc", "2.36-9+deb12u4"},
	{"libssl3", "openssl", "3.0.11-1~deb12u2"},
	{"perl-base", "perl", "5.36.0-7+deb12u1"},
	{"tar", "tar", "1.34+dfsg-1.2"},
	{"zlib1g", "zlib", "1:1.2.13.dfsg-1"},
}

func dpkgStatus(packages []debian) string {
	var b strings.Builder
	for _, p := range packages {
		fmt.Fprintf(&b, "Package: %s\nStatus: install ok installed\nPriority: required\nSection: libs\nArchitecture: amd64\nSource: %s\nVersion: %s\nMaintainer: Debian\nDescription: %s\n\n",
			p.name, p.source, p.version, p.name)
	}
	return b.String()
}

const osRelease = `PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
VERSION="12 (bookworm)"
VERSION_CODENAME=bookworm
ID=debian
`

func npmPackage(module, version string) map[string]string {
	return map[string]string{
		"app/node_modules/" + module + "/package.json": fmt.Sprintf("{\"name\": %q, \"version\": %q, \"license\": \"MIT\"}\n", module, version),
		"app/package-lock.json": fmt.Sprintf(`{"name": "app", "version": "1.0.0", "lockfileVersion": 3, "packages": {
  "": {"name": "app", "version": "1.0.0", "dependencies": {%[1]q: %[2]q}},
  "node_modules/%[1]s": {"version": %[2]q}}}
`, module, version),
	}
}

// demoImage is one image of two platforms that share their layers.
type demoImage struct {
	name, tag string
	layers    []v1.Layer
}

func demoImages() ([]demoImage, error) {
	sound, err := layer(map[string]string{"etc/os-release": osRelease, "var/lib/dpkg/status": dpkgStatus(soundBase)})
	if err != nil {
		return nil, err
	}
	stale, err := layer(map[string]string{"etc/os-release": osRelease, "var/lib/dpkg/status": dpkgStatus(staleBase)})
	if err != nil {
		return nil, err
	}
	program, err := ownProgram()
	if err != nil {
		return nil, err
	}
	var out []demoImage
	for _, x := range []struct {
		name, tag, lodash string
		below             []v1.Layer
	}{
		{"web", "1.0", "4.17.20", []v1.Layer{sound}},
		{"web", "1.1", "4.17.21", []v1.Layer{sound}},
		{"tools", "3.2", "4.17.21", []v1.Layer{sound, program}},
		{"legacy", "0.9", "4.17.4", []v1.Layer{stale}},
	} {
		app, err := layer(npmPackage("lodash", x.lodash))
		if err != nil {
			return nil, err
		}
		out = append(out, demoImage{x.name, x.tag, append(x.below, app)})
	}
	return out, nil
}

// layer makes a layer of files by path and content.
func layer(files map[string]string) (v1.Layer, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, p := range sortedKeys(files) {
		h := &tar.Header{Name: p, Mode: 0o644, Size: int64(len(files[p])), ModTime: demoTime, Format: tar.FormatPAX}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := io.WriteString(w, files[p]); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer))
}

// ownProgram is a layer with this executable, whose build information names the modules that it is made of.
func ownProgram() (v1.Layer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	b, err := os.ReadFile(self)
	if err != nil {
		return nil, fmt.Errorf("read this program: %w", err)
	}
	return layer(map[string]string{"usr/local/bin/assay": string(b)})
}

var demoTime = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// index makes an image for two platforms.
func (d demoImage) index() (v1.ImageIndex, error) {
	idx := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range []string{"amd64", "arm64"} {
		img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
		img, err := mutate.AppendLayers(img, d.layers...)
		if err != nil {
			return nil, err
		}
		cfg, err := img.ConfigFile()
		if err != nil {
			return nil, err
		}
		cfg = cfg.DeepCopy()
		cfg.OS, cfg.Architecture, cfg.Created = "linux", arch, v1.Time{Time: demoTime}
		cfg.Config.User = "nobody"
		if img, err = mutate.ConfigFile(img, cfg); err != nil {
			return nil, err
		}
		idx = mutate.AppendManifests(idx, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	return idx, nil
}

// push writes the image to a registry and returns its digest.
func (d demoImage) push(registry string) (string, error) {
	ref, err := name.ParseReference(fmt.Sprintf("%s/%s:%s", registry, d.name, d.tag))
	if err != nil {
		return "", err
	}
	idx, err := d.index()
	if err != nil {
		return "", err
	}
	if err := remote.WriteIndex(ref, idx); err != nil {
		return "", fmt.Errorf("push %s: %w", ref, err)
	}
	digest, err := idx.Digest()
	return digest.String(), err
}
