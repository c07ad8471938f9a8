package action

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// A release is served as GitHub serves them; its program says which version it is.
type release struct {
	files map[string]string
	asked []string
}

func (r *release) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.asked = append(r.asked, req.URL.Path)
	content, ok := r.files[req.URL.Path]
	if !ok {
		http.NotFound(w, req)
		return
	}
	fmt.Fprint(w, content)
}

const program = "#!/bin/sh\necho released \"$@\"\n"

func sum(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }

// install runs install.sh as the Action does, and returns the program that it names, what it printed and whether it succeeded.
func install(t *testing.T, env ...string) (installed, printed string, err error) {
	t.Helper()
	dir, action := t.TempDir(), must(os.Getwd())
	cmd := exec.CommandContext(t.Context(), "bash", filepath.Join(action, "install.sh"))
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "RUNNER_TEMP="+dir, "GITHUB_ACTION_PATH="+action, "GITHUB_OUTPUT="+filepath.Join(dir, "output"), "GITHUB_PATH="+filepath.Join(dir, "path"),
		"VERSION=", "SHA256=", "RELEASES=", "REVISION=")
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	output, _ := os.ReadFile(filepath.Join(dir, "output"))
	_, installed, _ = strings.Cut(strings.TrimSpace(string(output)), "program=")
	return installed, string(out), err
}

func must(s string, err error) string {
	if err != nil {
		panic(err)
	}
	return s
}

func TestAReleaseIsUsedOnlyWithItsChecksum(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("releases are for Linux")
	}
	file := "assay-linux-" + runtime.GOARCH
	for name, c := range map[string]struct {
		checksums, sha256, version, want string
	}{
		"the release's own":      {sum("other") + "  assay-plan9-386\n" + sum(program) + "  " + file + "\n", "", "v1.2.3", ""},
		"the caller's":           {"", sum(program), "v1.2.3", ""},
		"another program's":      {sum("other") + "  " + file + "\n", "", "v1.2.3", "does not have the checksum"},
		"the caller's differs":   {sum(program) + "  " + file + "\n", sum("other"), "v1.2.3", "does not have the checksum"},
		"it names another file":  {sum(program) + "  assay-linux\n", "", "v1.2.3", "does not name " + file},
		"it names it twice":      {strings.Repeat(sum(program)+"  "+file+"\n", 2), "", "v1.2.3", "does not name " + file},
		"no checksums":           {"", "", "v1.2.3", "checksums.txt can't be downloaded"},
		"no such release":        {sum(program) + "  " + file + "\n", "", "v9.9.9", "is there such a release?"},
		"a version with a path":  {sum(program) + "  " + file + "\n", "", "v1/../v2", "is no release such as"},
		"a checksum that is not": {"", "zz", "v1.2.3", "is no SHA-256"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &release{files: map[string]string{"/v1.2.3/" + file: program}}
			if c.checksums != "" {
				r.files["/v1.2.3/checksums.txt"] = c.checksums
			}
			s := httptest.NewServer(r)
			defer s.Close()
			installed, printed, err := install(t, "VERSION="+c.version, "SHA256="+c.sha256, "RELEASES="+s.URL)
			if c.want == "" {
				if err != nil || installed == "" || !strings.Contains(printed, "released version") {
					t.Errorf("%v\n%s%v", err, printed, r.asked)
				}
				return
			}
			if err == nil || !strings.Contains(printed, c.want) || !strings.Contains(printed, "::error::") || installed != "" || strings.Contains(printed, "released") {
				t.Errorf("%v: %q", err, printed)
			}
		})
	}
}
