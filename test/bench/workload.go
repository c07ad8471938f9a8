package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/assay-oci/assay/reconcile/registry/registrytest"
	"github.com/assay-oci/assay/reconcile/registry/serve"
)

// A workload is what a source holds.
type workload struct {
	name  string
	about string
	fill  func(host, dir string) ([]entry, error)
}

// An entry is one tag that the target shall have.
type entry struct{ repo, tag, digest string }

var workloads = map[string]workload{
	"S":   {"S", "20 images of 2 platforms in 20 repositories, 200 MiB unique", fillShared(20, 1, 2, 2, 20<<20, 1<<20)},
	"M":   {"M", "200 images of 2 platforms in 40 repositories, 1,012 MiB unique", fillShared(40, 5, 10, 5, 8<<20, 543<<10)},
	"L":   {"L", "2,000 tags in 100 repositories, tiny layers", fillTiny},
	"big": {"big", "one layer of 2 GiB", fillBig},
}

// prepare makes the folder that a registry serves as the workload, once, and its list.
func prepare(dir, name string) (data, list string, err error) {
	w := workloads[name]
	data, list = filepath.Join(dir, "data-"+name), filepath.Join(dir, "list-"+name)
	if _, err := os.Stat(list); err == nil {
		return data, list, nil
	}
	fmt.Fprintf(os.Stderr, "making workload %s: %s\n", name, w.about)
	if err := os.RemoveAll(data); err != nil {
		return "", "", err
	}
	return data, list, filling(data, func(host string) error {
		entries, err := w.fill(host, dir)
		if err != nil {
			return err
		}
		return writeList(list, entries)
	})
}

// prepareChanged makes a copy of a workload in which one tag names another image.
func prepareChanged(dir, name string) (data, list string, err error) {
	before, oldList, err := prepare(dir, name)
	if err != nil {
		return "", "", err
	}
	data, list = before+"-changed", oldList+"-changed"
	if _, err := os.Stat(list); err == nil {
		return data, list, nil
	}
	if err := clone(before, data); err != nil {
		return "", "", err
	}
	return data, list, filling(data, func(host string) error {
		entries, err := readList(oldList)
		if err != nil {
			return err
		}
		image, err := registrytest.Write(host, entries[0].repo, registrytest.Image("amd64", registrytest.Layer(1<<31, 100)), entries[0].tag)
		if err != nil {
			return err
		}
		entries[0].digest = image.Digest.String()
		return writeList(list, entries)
	})
}

// filling runs a registry on a folder.
func filling(dir string, fill func(host string) error) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() { ended <- serve.Serve(ctx, serve.Options{Dir: dir, Ready: func(a string) { ready <- a }}) }()
	select {
	case host := <-ready:
		if err := fill(host); err != nil {
			return err
		}
	case err := <-ended:
		return err
	}
	cancel()
	return <-ended
}

// clone copies a folder with hard links: registries replace files, they don't change them.
func clone(from, to string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	out, err := exec.Command("cp", "-al", from, to).CombinedOutput()
	if err != nil {
		return fmt.Errorf("copy %s: %s", from, out)
	}
	return nil
}

// fillShared makes repositories of images for two platforms. Families of repositories share base layers; each image has a layer of
// its own for each platform.
func fillShared(repos, tags, families, bases int, baseSize, ownSize int64) func(string, string) ([]entry, error) {
	return func(host, _ string) ([]entry, error) {
		var layers = map[string][]v1.Layer{}
		for f := range families {
			for p := range 2 {
				key := fmt.Sprint(f, p)
				for b := range bases {
					layers[key] = append(layers[key], registrytest.Layer(uint64(1_000_000+f*1000+p*100+b), baseSize))
				}
			}
		}
		var entries []entry
		for r := range repos {
			for t := range tags {
				n := uint64(2_000_000 + (r*tags+t)*2)
				f := r % families
				index := registrytest.IndexOf(
					registrytest.Image("amd64", append(layers[fmt.Sprint(f, 0)][:bases:bases], registrytest.Layer(n, ownSize))...),
					registrytest.Image("arm64", append(layers[fmt.Sprint(f, 1)][:bases:bases], registrytest.Layer(n+1, ownSize))...))
				e, err := push(host, fmt.Sprintf("app%03d", r), index, fmt.Sprintf("v%d", t))
				if err != nil {
					return nil, err
				}
				entries = append(entries, e)
			}
		}
		return entries, nil
	}
}

func fillTiny(host, _ string) ([]entry, error) {
	entries := make([]entry, 2000)
	var group errgroup.Group
	group.SetLimit(8)
	for r := range 100 {
		group.Go(func() error {
			base := registrytest.Layer(uint64(3_000_000+r%10), 1000)
			for t := range 20 {
				n := r*20 + t
				e, err := push(host, fmt.Sprintf("tiny%03d", r), registrytest.Image("amd64", base, registrytest.Layer(uint64(4_000_000+n), 100)), fmt.Sprintf("v%d", t))
				if err != nil {
					return err
				}
				entries[n] = e
			}
			return nil
		})
	}
	return entries, group.Wait()
}

func fillBig(host, dir string) ([]entry, error) {
	file := filepath.Join(dir, "big.tar.gz")
	defer os.Remove(file)
	if err := bigTar(file, 2<<30); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromFile(file, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	e, err := push(host, "big", registrytest.Image("amd64", layer), "v1")
	return []entry{e}, err
}

// bigTar writes a gzipped tar file with one file of so many random bytes.
func bigTar(name string, size int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	zip, err := gzip.NewWriterLevel(f, gzip.NoCompression)
	if err != nil {
		return err
	}
	tape := tar.NewWriter(zip)
	if err := tape.WriteHeader(&tar.Header{Name: "data", Mode: 0o644, Size: size, ModTime: time.Unix(0, 0)}); err != nil {
		return err
	}
	if _, err := io.CopyN(tape, rand.NewChaCha8([32]byte{1}), size); err != nil {
		return err
	}
	if err := tape.Close(); err != nil {
		return err
	}
	return zip.Close()
}

func push(host, repo string, what remote.Taggable, tag string) (entry, error) {
	image, err := registrytest.Write(host, repo, what, tag)
	return entry{repo, tag, image.Digest.String()}, err
}

func writeList(file string, entries []entry) error {
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintln(&b, e.repo, e.tag, e.digest)
	}
	return os.WriteFile(file, []byte(b.String()), 0o644)
}

func readList(file string) ([]entry, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var out []entry
	for _, line := range strings.Split(strings.TrimSpace(string(content)), "\n") {
		f := strings.Fields(line)
		if len(f) != 3 {
			return nil, fmt.Errorf("%s: %q is not repository, tag and digest", file, line)
		}
		out = append(out, entry{f[0], f[1], f[2]})
	}
	return out, nil
}
