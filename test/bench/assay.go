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
	return assayWith(j, bin, "scanner \"builtin\" {\n  max_age = \"36500d\"\n}\n")
}

// sinceName is the tool that is told the commit that the target matches.
const sinceName = "assay --since"

// assaySince looks only at what differs between two commits of the catalog, as after a merge.
func assaySince(j job, bin string) (*exec.Cmd, error) {
	if err := writeCatalog(j, j.before, ""); err != nil {
		return nil, err
	}
	out, err := exec.Command("git", "-C", filepath.Join(j.dir, "catalog"), "rev-parse", "HEAD").Output()
	if err != nil {
		return nil, fmt.Errorf("git rev-parse: %w", err)
	}
	cmd, err := assayWith(j, bin, "")
	if err == nil {
		cmd.Args = append(cmd.Args, "--since", strings.TrimSpace(string(out)))
	}
	return cmd, err
}

func assayWith(j job, bin, more string) (*exec.Cmd, error) {
	if err := writeCatalog(j, j.list, more); err != nil {
		return nil, err
	}
	return exec.Command(filepath.Join(bin, "assay"), "reconcile", "--catalog", filepath.Join(j.dir, "catalog"), "--cache", filepath.Join(j.dir, "cache")), nil
}

// writeCatalog commits a catalog that approves every entry of a list.
func writeCatalog(j job, list, more string) error {
	entries, err := readList(list)
	if err != nil {
		return err
	}
	catalog := filepath.Join(j.dir, "catalog")
	if err := os.MkdirAll(catalog, 0o755); err != nil {
		return err
	}
	organization := fmt.Sprintf("scope \"acme\" {\n  level = \"organization\"\n}\n\nregistry \"target\" {\n  address = %q\n}\n%s", j.target, more)
	if err := os.WriteFile(filepath.Join(catalog, "catalog.hcl"), []byte(organization), 0o644); err != nil {
		return err
	}
	images := map[string]*strings.Builder{}
	for _, e := range entries {
		b, ok := images[e.repo]
		if !ok {
			b = &strings.Builder{}
			images[e.repo] = b
			fmt.Fprintf(b, "image %q {\n  source     = \"%s/%s\"\n  repository = %q\n", strings.ReplaceAll(e.repo, "/", "-"), j.source, e.repo, e.repo)
		}
		fmt.Fprintf(b, "\n  version %q {\n    digest  = %q\n    mutable = true\n  }\n", e.tag, e.digest)
	}
	for repo, b := range images {
		b.WriteString("}\n")
		if err := os.WriteFile(filepath.Join(catalog, strings.ReplaceAll(repo, "/", "-")+".hcl"), []byte(b.String()), 0o644); err != nil {
			return err
		}
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "-A"}, {"-c", "user.name=bench", "-c", "user.email=bench@example.com", "commit", "-q", "-m", "bench"}} {
		if out, err := exec.Command("git", append([]string{"-C", catalog}, args...)...).CombinedOutput(); err != nil {
			return fmt.Errorf("git %v: %w: %s", args, err, out)
		}
	}
	return nil
}
