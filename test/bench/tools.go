package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Versions of the others, built from their modules.
var modules = map[string]string{
	"crane":   "github.com/google/go-containerregistry/cmd/crane@v0.22.1",
	"regsync": "github.com/regclient/regclient/cmd/regsync@v0.11.7",
}

// A job is what a tool has to do once.
type job struct {
	source, target string // hosts
	list           string // file of entries
	before         string // file of the entries that the target has, if that is another one
	dir            string // for the tool's own files, new for each job
	auth           bool   // the target asks for a password
}

const (
	user     = "robot"
	password = "bench"
)

// A tool is a program that can do the job. Its command is given the job's files.
type tool struct {
	name    string
	command func(j job, bin string) (*exec.Cmd, error)
}

var tools = []tool{
	{"assay", assay},
	{"assay+scan", assayScanning},
	{sinceName, assaySince},
	{"crane", crane},
	{"regsync", regsync},
	{"skopeo", skopeo},
}

func repos(j job) ([]string, error) {
	entries, err := readList(j.list)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.repo)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// crane copies all tags of a repository with one call. Sixteen calls run at a time; its peak memory is that of one of them.
func crane(j job, bin string) (*exec.Cmd, error) {
	repos, err := repos(j)
	if err != nil {
		return nil, err
	}
	return exec.Command("sh", "-c", fmt.Sprintf(`printf '%%s\n' %s | xargs -P 16 -I{} %s copy -a -j 16 %s/{} %s/{}`,
		strings.Join(repos, " "), filepath.Join(bin, "crane"), j.source, j.target)), nil
}

func regsync(j job, bin string) (*exec.Cmd, error) {
	repos, err := repos(j)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\ncreds:\n")
	for _, host := range []string{j.source, j.target} {
		fmt.Fprintf(&b, "  - registry: %s\n    tls: disabled\n    reqConcurrent: 64\n", host)
		if j.auth && host == j.target {
			fmt.Fprintf(&b, "    user: %s\n    pass: %s\n", user, password)
		}
	}
	fmt.Fprintf(&b, "defaults:\n  parallel: 64\nsync:\n")
	for _, r := range repos {
		fmt.Fprintf(&b, "  - source: %s/%s\n    target: %s/%s\n    type: repository\n", j.source, r, j.target, r)
	}
	file := filepath.Join(j.dir, "regsync.yml")
	return exec.Command(filepath.Join(bin, "regsync"), "once", "-v", "error", "-c", file), os.WriteFile(file, []byte(b.String()), 0o600)
}

func skopeo(j job, _ string) (*exec.Cmd, error) {
	repos, err := repos(j)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s:\n  tls-verify: false\n  images:\n", j.source)
	for _, r := range repos {
		fmt.Fprintf(&b, "    %s: []\n", r)
	}
	file := filepath.Join(j.dir, "skopeo.yml")
	return exec.Command("skopeo", "--insecure-policy", "sync", "--all", "--src", "yaml", "--dest", "docker", "--dest-tls-verify=false",
		file, j.target), os.WriteFile(file, []byte(b.String()), 0o600)
}

// install builds the others, unless they are there, and assay as it is now.
func install(bin string, names []string) error {
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	for _, n := range names {
		module, ok := modules[n]
		if _, err := os.Stat(filepath.Join(bin, n)); !ok || err == nil {
			continue
		}
		cmd := exec.Command("go", "install", module)
		cmd.Env = append(os.Environ(), "GOBIN="+bin)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w: %s", module, err, out)
		}
	}
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", filepath.Join(bin, "assay"), "github.com/assay-oci/assay/cmd/assay")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build assay: %w: %s", err, out)
	}
	return nil
}

// environment is what a tool is started with: no configuration of the person's own, and the password where one is asked for.
func environment(j job) ([]string, error) {
	docker := filepath.Join(j.dir, "docker")
	if err := os.MkdirAll(docker, 0o700); err != nil {
		return nil, err
	}
	config := `{}`
	if j.auth {
		config = fmt.Sprintf(`{"auths":{%q:{"username":%q,"password":%q,"auth":%q}}}`, j.target, user, password, basic)
	}
	if err := os.WriteFile(filepath.Join(docker, "config.json"), []byte(config), 0o600); err != nil {
		return nil, err
	}
	return append(os.Environ(), "HOME="+j.dir, "DOCKER_CONFIG="+docker, "XDG_RUNTIME_DIR="+j.dir, "XDG_CACHE_HOME="+j.dir,
		"REGISTRY_AUTH_FILE="+filepath.Join(docker, "config.json")), nil
}

const basic = "cm9ib3Q6YmVuY2g=" // user:password

const tooLong = 3 * time.Minute
