package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// assay reconciles a catalog that approves every entry of the list, the way its user would.
func assay(j job, bin string) (*exec.Cmd, error) { return assayWith(j, bin, "") }

// assayScanning does the same with the built-in scanner, which reads what is staged on disk. Nothing is refused: the images hold no packages.
func assayScanning(j job, bin string) (*exec.Cmd, error) {
	return assayWith(j, bin, "scanner \"builtin\" {}\n")
}

func assayWith(j job, bin, more string) (*exec.Cmd, error) {
	entries, err := readList(j.list)
	if err != nil {
		return nil, err
	}
	catalog := filepath.Join(j.dir, "catalog")
	if err := os.MkdirAll(catalog, 0o755); err != nil {
		return nil, err
	}
	organization := fmt.Sprintf("scope \"acme\" {\n  level = \"organization\"\n}\n\nregistry \"target\" {\n  address = %q\n}\n%s", j.target, more)
	if err := os.WriteFile(filepath.Join(catalog, "catalog.hcl"), []byte(organization), 0o644); err != nil {
		return nil, err
	}
	images := map[string]*strings.Builder{}
	for _, e := range entries {
		b, ok := images[e.repo]
		if !ok {
			b = &strings.Builder{}
			images[e.repo] = b
			fmt.Fprintf(b, "image %q {\n  source     = \"%s/%s\"\n  repository = %q\n", strings.ReplaceAll(e.repo, "/", "-"), j.source, e.repo, e.repo)
		}
		fmt.Fprintf(b, "\n  version %q {\n    digest = %q\n  }\n", e.tag, e.digest)
	}
	for repo, b := range images {
		b.WriteString("}\n")
		if err := os.WriteFile(filepath.Join(catalog, strings.ReplaceAll(repo, "/", "-")+".hcl"), []byte(b.String()), 0o644); err != nil {
			return nil, err
		}
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "-A"}, {"-c", "user.name=bench", "-c", "user.email=bench@example.com", "commit", "-q", "-m", "bench"}} {
		if out, err := exec.Command("git", append([]string{"-C", catalog}, args...)...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("git %v: %w: %s", args, err, out)
		}
	}
	return exec.Command(filepath.Join(bin, "assay"), "reconcile", "--catalog", catalog, "--cache", filepath.Join(j.dir, "cache")), nil
}
