package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/spf13/cobra"
	"github.com/zclconf/go-cty/cty"

	"github.com/assay-oci/assay/examples"
	"github.com/assay-oci/assay/reconcile"
)

// initOptions are what differs between the example's repository and somebody's own. Their defaults are the example's.
type initOptions struct {
	organization string
	registry     string
	owner        string
	repository   string
	branch       string
	signer       string
	action       string
}

const (
	keyless = "keyless"
	nobodys = "OWNER/assay/action@<sha>" // the Action, as the examples name it
)

func newInit(io stdio) *cobra.Command {
	var o initOptions
	c := &cobra.Command{
		Use:   "init [FOLDER]",
		Short: "Write what a catalog's repository needs: policy, workflows, code owners, a template, and what to do next",
		Long: `Init writes a catalog with one registry and a baseline policy, the workflows that plan, comment, reconcile and watch for drift, CODEOWNERS, a
template for pull requests, and a README with what is left to do: permissions, secrets and the branch's rules. A file that is there already stays as it is.`,
		Example: `  assay init catalog --organization acme --repository acme/catalog --owner @acme/platform --registry registry.example.com/approved \
    --action acme/assay/action@4f2a…`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return runInit(io, o, append(args, ".")[0])
		},
	}
	f := c.Flags()
	f.StringVar(&o.organization, "organization", "acme", "the organization's `name`")
	f.StringVar(&o.registry, "registry", "registry.example.com/approved", "the `address` below which approved images go, and everything is owned")
	f.StringVar(&o.owner, "owner", "@acme/platform", "the `team` or person who owns the policy, as CODEOWNERS names them")
	f.StringVar(&o.repository, "repository", "acme/catalog", "the `repository` at GitHub, as owner/name")
	f.StringVar(&o.branch, "branch", "main", "the `branch` that holds the catalog")
	f.StringVar(&o.signer, "signer", keyless, "keyless, or a reference to a `key` such as awskms:///alias/approved-images")
	f.StringVar(&o.action, "action", nobodys, "the `Action` that the workflows use: the repository that Assay was cloned into, and the commit of a release")
	return c
}

var initGrammar = []struct {
	flag, grammar, like string
	value               func(initOptions) string
}{
	{"organization", `[a-z0-9][a-z0-9-]{0,62}`, "acme", func(o initOptions) string { return o.organization }},
	{"owner", `@[A-Za-z0-9-]{1,100}(/[A-Za-z0-9_-]{1,100})?`, "@acme/platform", func(o initOptions) string { return o.owner }},
	{"repository", `[A-Za-z0-9][A-Za-z0-9-]{0,99}/[A-Za-z0-9_.-]{1,100}`, "acme/catalog", func(o initOptions) string { return o.repository }},
	{"branch", `[A-Za-z0-9][A-Za-z0-9_/-]{0,99}`, "main", func(o initOptions) string { return o.branch }},
	{"signer", `[ -~]{1,500}`, "keyless, or awskms:///alias/approved-images", func(o initOptions) string { return o.signer }},
	{"action", `[A-Za-z0-9][A-Za-z0-9-]{0,99}/[A-Za-z0-9_.-]{1,100}/action@([0-9a-f]{40}|<sha>)`, "acme/assay/action@ and the 40 hexadecimal digits of a commit", func(o initOptions) string { return o.action }},
}

func (o initOptions) check() error {
	for _, g := range initGrammar {
		if !regexp.MustCompile("^" + g.grammar + "$").MatchString(g.value(o)) {
			return fmt.Errorf("--%s %q is not like %s", g.flag, g.value(o), g.like)
		}
	}
	_, err := reconcile.ParsePrefix(o.registry)
	return err
}

func runInit(std stdio, o initOptions, dir string) error {
	if err := o.check(); err != nil {
		return err
	}
	files, err := o.files()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the catalog's folder: %w", err)
	}
	root, err := os.OpenRoot(dir) // a link in it leads nowhere else
	if err != nil {
		return fmt.Errorf("open the catalog's folder: %w", err)
	}
	defer root.Close()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		word := "wrote"
		if err := writeNew(root, name, files[name]); errors.Is(err, fs.ErrExist) {
			word = "kept "
		} else if err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		fmt.Fprintf(std.out, "%s %s\n", word, name)
	}
	fmt.Fprintln(std.out, "What is left to do stands in README.md. To check what is there: assay validate "+dir)
	return nil
}

// writeNew writes a file that is not there yet; one that is there is fs.ErrExist.
func writeNew(root *os.Root, name, content string) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, content)
	return errors.Join(err, f.Close())
}

// files are those of the example's repository, with somebody's own names in them.
func (o initOptions) files() (map[string]string, error) {
	files, err := examples.Repository()
	if err != nil {
		return nil, err
	}
	prefix, err := reconcile.ParsePrefix(o.registry)
	if err != nil {
		return nil, err
	}
	subject := func(repository string) string { // a regular expression in an HCL string
		return "github\\\\.com/" + strings.ReplaceAll(regexp.QuoteMeta(repository), `\`, `\\`) + "/"
	}
	own := strings.NewReplacer(
		"registry.example.com/approved", prefix.String(), "registry.example.com", prefix.Host(),
		"@acme/platform", o.owner, subject("acme/catalog"), subject(o.repository),
		`scope "acme"`, fmt.Sprintf("scope %q", o.organization), "images of acme", "images of "+o.organization,
		"refs/heads/main", "refs/heads/"+o.branch, `branches: ["main"]`, fmt.Sprintf("branches: [%q]", o.branch),
		nobodys, o.action)
	for name, content := range files {
		files[name] = own.Replace(o.signs(content))
	}
	return files, nil
}

// keylessSigner and keylessRight are what only signing without a key needs.
var (
	keylessSigner = regexp.MustCompile(`(?s)# Who signs:.*?\n}\n`)
	keylessRight  = regexp.MustCompile(`\n *id-token: write[^\n]*`)
)

// signs puts a key in the place of the workflow's identity.
func (o initOptions) signs(content string) string {
	if o.signer == keyless {
		return content
	}
	key := string(hclwrite.TokensForValue(cty.StringVal(o.signer)).Bytes())
	content = keylessRight.ReplaceAllLiteralString(content, "")
	return keylessSigner.ReplaceAllLiteralString(content, "signer \"main\" {\n  key = "+key+"\n}\n")
}
