package main

import (
	"archive/zip"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/spf13/cobra"

	"github.com/assay-oci/assay/reconcile/registry/serve"
	"github.com/assay-oci/assay/reconcile/sign"
)

//go:embed demo/osv/*.json
var demoAdvisories embed.FS

func newDemo(io stdio) *cobra.Command {
	var keep bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole way on this machine: request, plan, reconcile, verify, revoke, correct",
		Long: `Demo starts three registries on loopback, fills one with images of real package metadata, makes a catalog in Git, and runs
the commands that a user runs. Nothing outside of a temporary folder is touched, and nothing is left running.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runDemo(c.Context(), io, keep) },
	}
	c.Flags().BoolVar(&keep, "keep", false, "leave the registries up until interrupted, to look around")
	return c
}

// demo is the stage that the story plays on.
type demo struct {
	ctx            context.Context
	io             stdio
	dir            string
	source, eu, us string // addresses
	digests        map[string]string
	catalog        *demoCatalog
	step           int
}

func runDemo(ctx context.Context, io stdio, keep bool) (err error) {
	began := time.Now()
	dir, err := os.MkdirTemp("", "assay-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	d := &demo{ctx: ctx, io: io, dir: dir, digests: map[string]string{}}
	if err := d.prepare(); err != nil {
		return err
	}
	for _, chapter := range []func() error{d.request, d.merge, d.verify, d.revoke, d.correct} {
		if err := chapter(); err != nil {
			return err
		}
	}
	fmt.Fprintf(io.out, "\nThat was the whole way, in %.1f s.\n", time.Since(began).Seconds())
	if keep {
		fmt.Fprintf(io.out, "The registries are up until you press Ctrl-C: source %s, eu %s, us %s\nThe catalog is in %s\n", d.source, d.eu, d.us, d.catalog.dir)
		<-ctx.Done()
	}
	return nil
}

func (d *demo) prepare() error {
	d.say("Three registries, images with real package metadata, advisories, a key, and a catalog in Git that approves one image")
	for _, r := range []struct {
		name    string
		address *string
	}{{"source", &d.source}, {"eu", &d.eu}, {"us", &d.us}} {
		address, err := d.serve(r.name)
		if err != nil {
			return err
		}
		*r.address = address
	}
	images, err := demoImages()
	if err != nil {
		return err
	}
	for _, i := range images {
		digest, err := i.push(d.source)
		if err != nil {
			return err
		}
		d.digests[i.name+":"+i.tag] = digest
		fmt.Fprintf(d.io.out, "  %s/%s:%s@%.19s…\n", d.source, i.name, i.tag, digest)
	}
	key, err := d.key()
	if err != nil {
		return err
	}
	if d.catalog, err = newDemoCatalog(filepath.Join(d.dir, "catalog")); err != nil {
		return err
	}
	err = errors.Join(
		d.catalog.write("catalog.hcl", demoPolicy(d.source, d.eu, d.us, key)),
		d.catalog.write("images/tools.hcl", demoImageFile("tools", d.source, demoVersion("3.2", d.digests["tools:3.2"], ""))),
		d.catalog.commit("The policy, and a first image"),
		d.writeAdvisories(),
	)
	if err != nil {
		return err
	}
	if err := d.assay(exitOK, "db", "update", d.advisories(), "--cache", d.cache()); err != nil {
		return err
	}
	fmt.Fprintln(d.io.out)
	return d.reconcile()
}

// serve starts a registry that ends with the demo.
func (d *demo) serve(name string) (string, error) {
	ready := make(chan string, 1)
	failed := make(chan error, 1)
	go func() {
		failed <- serve.Serve(d.ctx, serve.Options{Dir: filepath.Join(d.dir, "registries", name), Ready: func(a string) { ready <- a }})
	}()
	select {
	case address := <-ready:
		return address, nil
	case err := <-failed:
		return "", fmt.Errorf("start the %s registry: %w", name, err)
	}
}

func (d *demo) key() (string, error) {
	const password = "demo"
	if err := os.Setenv("ASSAY_KEY_PASSWORD", password); err != nil {
		return "", err
	}
	private, _, err := sign.GenerateKeyPair(d.dir, []byte(password))
	return private, err
}

// writeAdvisories packs the advisories the way that OSV publishes them.
func (d *demo) writeAdvisories() error {
	sub, err := fs.Sub(demoAdvisories, "demo/osv")
	if err != nil {
		return err
	}
	f, err := os.Create(d.advisories())
	if err != nil {
		return err
	}
	z := zip.NewWriter(f)
	return errors.Join(z.AddFS(sub), z.Close(), f.Close())
}

func (d *demo) advisories() string { return filepath.Join(d.dir, "all.zip") }

func (d *demo) cache() string { return filepath.Join(d.dir, "cache") }

// request is a pull request that asks for two images. One is sound; the other has a critical vulnerability with a fix.
func (d *demo) request() error {
	d.say("A developer asks for two images on a branch. The plan admits one and says why not the other")
	err := errors.Join(
		d.catalog.branch("request"),
		d.catalog.write("images/web.hcl", demoImageFile("web", d.source, demoVersion("1.0", d.digests["web:1.0"], `"stable"`))),
		d.catalog.write("images/legacy.hcl", demoImageFile("legacy", d.source, demoVersion("0.9", d.digests["legacy:0.9"], ""))),
		d.catalog.commit("Ask for web 1.0 and legacy 0.9"),
	)
	if err != nil {
		return err
	}
	return d.assay(exitBlocked, "plan", "--catalog", d.catalog.dir, "--ref", "request", "--base", "main", "--cache", d.cache())
}

func (d *demo) merge() error {
	d.say("Without the blocked image the request is merged. Reconcile copies, scans, signs and tags")
	err := errors.Join(
		d.catalog.branch("main"),
		d.catalog.write("images/web.hcl", demoImageFile("web", d.source, demoVersion("1.0", d.digests["web:1.0"], `"stable"`))),
		d.catalog.commit("Approve web 1.0"),
	)
	if err != nil {
		return err
	}
	return d.reconcile()
}

func (d *demo) verify() error {
	d.say("Anyone with the public key can verify what stands in the registry")
	return d.assay(exitOK, "verify", d.eu+"/approved/web:stable", "--key", filepath.Join(d.dir, "cosign.pub"))
}

// revoke replaces a version in which a vulnerability was found later.
func (d *demo) revoke() error {
	d.say("Version 1.0 is revoked and replaced: its tag moves on, its content and records are deleted")
	err := errors.Join(
		d.catalog.write("images/web.hcl", demoImageFile("web", d.source, demoVersion("1.1", d.digests["web:1.1"], `"stable"`))+fmt.Sprintf(`
revoke "web" {
  digest      = %q
  reason      = "CVE-2021-23337: command injection in lodash before 4.17.21"
  replacement = "1.1"
}
`, d.digests["web:1.0"])),
		d.catalog.commit("Revoke web 1.0, approve 1.1"),
	)
	if err != nil {
		return err
	}
	return d.reconcile()
}

// correct changes a registry by hand, twice, and lets reconcile set it right.
func (d *demo) correct() error {
	d.say("Somebody pushes an image of their own over an approved tag, and adds another tag, by hand")
	foreign := d.source + "/legacy:0.9"
	for _, to := range []string{d.eu + "/approved/web:stable", d.eu + "/approved/web:backdoor"} {
		fmt.Fprintf(d.io.out, "$ crane copy %s %s\n", foreign, to)
		if err := crane.Copy(foreign, to, crane.Insecure, crane.WithContext(d.ctx)); err != nil {
			return fmt.Errorf("change the registry by hand: %w", err)
		}
	}
	if err := d.assay(exitChanges, "plan", "--detailed-exitcode", "--catalog", d.catalog.dir, "--cache", d.cache()); err != nil {
		return err
	}
	if err := d.reconcile(); err != nil {
		return err
	}
	return d.assay(exitOK, "plan", "--detailed-exitcode", "--catalog", d.catalog.dir, "--cache", d.cache())
}

func (d *demo) reconcile() error {
	return d.assay(exitOK, "reconcile", "--catalog", d.catalog.dir, "--cache", d.cache())
}

// assay runs a command the way its user would, and insists on its exit code.
func (d *demo) assay(code int, args ...string) error {
	shown := strings.ReplaceAll(strings.Join(args, " "), d.dir, "$DEMO")
	fmt.Fprintf(d.io.out, "$ assay %s\n", shown)
	got := run(d.ctx, args, d.io)
	if d.ctx.Err() != nil {
		return d.ctx.Err()
	}
	if got != code {
		return fmt.Errorf("assay %s: exit code %d, expected %d", shown, got, code)
	}
	if got != exitOK {
		fmt.Fprintf(d.io.out, "(exit code %d)\n", got)
	}
	return nil
}

func (d *demo) say(what string) {
	d.step++
	fmt.Fprintf(d.io.out, "\n%d. %s\n\n", d.step, what)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
