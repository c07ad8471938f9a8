package action

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write the tables of the README anew")

// An entry is an input or an output.
type entry struct {
	name                        string
	Description, Default, Value string
}

// entries keep the order in which they stand.
type entries []entry

func (es *entries) UnmarshalYAML(n *yaml.Node) error {
	for i := 0; i+1 < len(n.Content); i += 2 {
		e := entry{name: n.Content[i].Value}
		if err := n.Content[i+1].Decode(&e); err != nil {
			return err
		}
		*es = append(*es, e)
	}
	return nil
}

type step struct {
	Name, ID, If, Uses, Run, Shell string
	With, Env                      map[string]string
}

type definition struct {
	Inputs, Outputs entries
	Runs            struct {
		Using string
		Steps []step
	}
}

func read(t *testing.T) definition {
	t.Helper()
	b, err := os.ReadFile("action.yml")
	if err != nil {
		t.Fatal(err)
	}
	var d definition
	if err := yaml.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func (es entries) table(kind string) string {
	var b strings.Builder
	if kind == "inputs" {
		b.WriteString("| input | default | |\n|---|---|---|\n")
	} else {
		b.WriteString("| output | |\n|---|---|\n")
	}
	for _, e := range es {
		fmt.Fprintf(&b, "| `%s` |", e.name)
		switch {
		case kind != "inputs":
		case e.Default == "":
			b.WriteString(" |")
		default:
			fmt.Fprintf(&b, " `%s` |", strings.Trim(e.Default, "${ }"))
		}
		fmt.Fprintf(&b, " %s |\n", e.Description)
	}
	return b.String()
}

func TestTheReadmeTellsTheInterface(t *testing.T) {
	d := read(t)
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	want := string(b)
	for kind, es := range map[string]entries{"inputs": d.Inputs, "outputs": d.Outputs} {
		begin := "<!-- " + kind + ": written by go generate ./action -->\n"
		before, rest, ok := strings.Cut(want, begin)
		_, after, ok2 := strings.Cut(rest, "<!-- end -->")
		if !ok || !ok2 {
			t.Fatalf("the README has no place for the %s", kind)
		}
		want = before + begin + es.table(kind) + "<!-- end -->" + after
	}
	if want == string(b) {
		return
	}
	if !*update {
		t.Error("the README's tables differ from action.yml: run go generate ./action")
	} else if err := os.WriteFile("README.md", []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

var (
	kebab  = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	pinned = regexp.MustCompile(`^[\w.-]+/[\w./-]+@[0-9a-f]{40}$`)
	reads  = regexp.MustCompile(`\$\{?([A-Z][A-Z0-9_]*)\b`)
)

func TestTheActionPassesInputsOnAndNothingElse(t *testing.T) {
	d := read(t)
	used := map[string]bool{}
	for _, s := range d.Runs.Steps {
		if strings.Contains(s.Run, "${{") {
			t.Errorf("step %q interpolates into its script: %s", s.Name, s.Run)
		}
		if s.Uses != "" && !pinned.MatchString(s.Uses) {
			t.Errorf("step %q uses %q, which is not pinned by a commit", s.Name, s.Uses)
		}
		for _, e := range append(values(s.Env), s.If) {
			for _, m := range regexp.MustCompile(`inputs\.([a-z0-9-]+)`).FindAllStringSubmatch(e, -1) {
				used[m[1]] = true
			}
		}
		for _, m := range regexp.MustCompile(`[a-z]+\.sh`).FindAllString(s.Run, -1) {
			script(t, m, s.Env)
		}
	}
	for _, e := range append(append(entries{}, d.Inputs...), d.Outputs...) {
		if !kebab.MatchString(e.name) || e.Description == "" {
			t.Errorf("%q is not in kebab-case, or nothing tells what it is", e.name)
		}
		if e.Value == "" && !used[e.name] {
			t.Errorf("nothing uses the input %q", e.name)
		}
	}
}

func values(m map[string]string) []string {
	var out []string
	for _, v := range m {
		out = append(out, v)
	}
	return out
}

// script checks that a script reads what its step gives it, all of it, and nothing else but what the runner sets.
func script(t *testing.T, name string, env map[string]string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, m := range reads.FindAllStringSubmatch(string(b), -1) {
		seen[m[1]] = true
		if _, ok := env[m[1]]; !ok && !strings.HasPrefix(m[1], "GITHUB_") && !strings.HasPrefix(m[1], "RUNNER_") {
			t.Errorf("%s reads %s, which its step doesn't give it", name, m[1])
		}
	}
	for v := range env {
		if !seen[v] && v != "GITHUB_TOKEN" && !strings.HasPrefix(v, "ASSAY_") { // these are the program's
			t.Errorf("%s doesn't read %s, which its step gives it", name, v)
		}
	}
}
