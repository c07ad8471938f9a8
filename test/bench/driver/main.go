// Command driver is the smallest reconciler: it makes the tags of a list name their digests in another registry, with package
// registry alone. It shows what that package costs, without catalog, policy, scanners and signatures.
//
//	driver SOURCE TARGET LIST
//
// SOURCE and TARGET are hosts; LIST is a file with a line "repository tag digest" for each tag.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: driver SOURCE TARGET LIST")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "driver:", err)
		os.Exit(1)
	}
}

type want struct {
	from reconcile.Image
	to   reconcile.Repo
	tag  reconcile.Tag
}

func run(ctx context.Context, source, target, list string) error {
	wants, err := read(source, target, list)
	if err != nil {
		return err
	}
	r := registry.NewReader(registry.Options{})
	w := registry.NewWriter(r)
	byRepo := map[reconcile.Repo][]want{}
	for _, want := range wants {
		byRepo[want.to] = append(byRepo[want.to], want)
	}
	// everything is observed before anything is written, as a reconciler does it
	todo := make(chan want, len(wants))
	observe, octx := errgroup.WithContext(ctx)
	for repo, wants := range byRepo {
		observe.Go(func() error {
			have, err := r.Tags(octx, repo)
			if err != nil {
				return err
			}
			for _, want := range wants {
				if have[want.tag] != want.from.Digest {
					todo <- want
				}
			}
			return nil
		})
	}
	if err := observe.Wait(); err != nil {
		return err
	}
	close(todo)
	apply, actx := errgroup.WithContext(ctx)
	apply.SetLimit(32)
	for want := range todo {
		apply.Go(func() error {
			if _, err := w.Copy(actx, want.from, want.to); err != nil {
				return err
			}
			return w.Tag(actx, reconcile.Image{Repo: want.to, Digest: want.from.Digest}, want.tag)
		})
	}
	return apply.Wait()
}

func read(source, target, list string) ([]want, error) {
	f, err := os.Open(list)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []want
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) != 3 {
			return nil, fmt.Errorf("%s: %q is not repository, tag and digest", list, lines.Text())
		}
		from, err := reconcile.ParseRepo(source + "/" + fields[0])
		if err != nil {
			return nil, err
		}
		to, err := reconcile.ParseRepo(target + "/" + fields[0])
		if err != nil {
			return nil, err
		}
		tag, err := reconcile.ParseTag(fields[1])
		if err != nil {
			return nil, err
		}
		digest, err := reconcile.ParseDigest(fields[2])
		if err != nil {
			return nil, err
		}
		out = append(out, want{reconcile.Image{Repo: from, Digest: digest}, to, tag})
	}
	return out, nil
}
