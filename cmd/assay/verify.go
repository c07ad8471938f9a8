package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry"
)

type verifyOptions struct {
	catalogOptions
	key         string
	trust       reconcile.Trust
	trustedRoot string
	identity    string
	maxAge      time.Duration
	require     []string
	output      string
	cache       string
	insecure    []string
}

// Links that a chain may be required to have, besides those that it always must.
const (
	requireApproval  = "approval"
	requireScans     = "scans"
	requireInventory = "inventory"
)

func newVerify(std stdio) *cobra.Command {
	var o verifyOptions
	c := &cobra.Command{
		Use:   "verify IMAGE",
		Short: "Verify and tell the chain of records beside an image: who approved it, on what evidence, who signed it",
		Long: `Verify reads the signed records beside an image in a registry and tells, in this order: who approved it, where and when; on which scans and by
which policy it was judged; what is in it; who signed it, in which formats. Only records that the given key or identity, or the catalog's signers, signed count.

Always demanded are a signature of the index and of each platform, and a verdict that passed: the newest one counts, and none that is older
than --max-age (with --catalog: than the catalog's rescan expires). --require demands more: "approval" a recorded review that
approved the entry, "scans" an attested scan of each platform, "inventory" an attested inventory or bill of materials of each. A record that was changed, or that
speaks of another digest in the signer's name, is refused. That and somebody else's records are told, and count for nothing: the image is proven if nothing is missing without them.

With --key, nothing but the registry is read; with --certificate-identity also the trusted root of Sigstore's public instance, unless --trusted-root
names another one's. Nobody needs access to the catalog's repository for either.`,
		Example: `  assay verify registry.example.com/approved/nginx:1.27.3 --key cosign.pub
  assay verify registry.example.com/approved/nginx:1.27.3 --catalog https://git.example.com/acme/catalog --require approval,scans
  assay verify registry.example.com/approved/nginx:1.27.3 --certificate-oidc-issuer https://token.actions.githubusercontent.com \
    --certificate-identity https://github.com/acme/catalog/.github/workflows/reconcile.yml@refs/heads/main`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return runVerify(c.Context(), std, o, args[0]) },
	}
	f := c.Flags()
	f.StringVar(&o.key, "key", "", "the signer's public key, a PEM `file`")
	f.StringVar(&o.trust.Subject, "certificate-identity", "", "the signer's `identity` in a certificate of Sigstore: exactly, or a regular expression between ^ and $")
	f.StringVar(&o.trust.Issuer, "certificate-oidc-issuer", "", "the `issuer` of that identity, exactly")
	f.StringVar(&o.trustedRoot, "trusted-root", "", "with --certificate-identity: a `file` such as trusted_root.json; default: that of Sigstore's public instance")
	f.StringVar(&o.location, "catalog", "", "the catalog whose signers count: a `folder`, a bare repository, or a URL (https, ssh, file)")
	f.StringVar(&o.ref, "ref", "", "with --catalog: the branch or tag that holds it")
	f.StringVar(&o.path, "path", "", "with --catalog: the `folder` within the repository that holds it")
	f.StringVar(&o.identity, "identity", "", "the canonical `name` that records must bear, such as images.example.com/approved/nginx; default: with --catalog its own, else any one name, which is told")
	f.DurationVar(&o.maxAge, "max-age", 0, "how old the verdict may be, such as 720h; default: with --catalog its rescan expires, else any age")
	f.StringSliceVar(&o.require, "require", nil, "what else must be on record: approval, scans, inventory")
	f.StringVarP(&o.output, "output", "o", "text", "text or json")
	f.StringVar(&o.cache, "cache", "", "the `folder` for what may vanish; default: assay in the user's cache folder")
	f.StringSliceVar(&o.insecure, "insecure-registry", nil, "a `host` to speak plain http with")
	c.MarkFlagsOneRequired("key", "certificate-identity", "catalog")
	c.MarkFlagsMutuallyExclusive("key", "certificate-identity", "catalog")
	c.MarkFlagsRequiredTogether("certificate-identity", "certificate-oidc-issuer")
	return c
}

func (o verifyOptions) check() error {
	if o.output != "text" && o.output != "json" {
		return fmt.Errorf("output %q is none of text, json", o.output)
	}
	for _, r := range o.require {
		if !slices.Contains([]string{requireApproval, requireScans, requireInventory}, r) {
			return fmt.Errorf("--require %q is none of approval, scans, inventory", r)
		}
	}
	if o.trustedRoot != "" && o.trust.Subject == "" {
		return errors.New("--trusted-root needs --certificate-identity")
	}
	if o.trust != (reconcile.Trust{}) {
		if err := o.trust.CheckIdentity(); err != nil {
			return fmt.Errorf("--certificate-identity: %w", err)
		}
	}
	if o.maxAge < 0 {
		return errors.New("--max-age must be positive")
	}
	return nil
}

func runVerify(ctx context.Context, std stdio, o verifyOptions, ref string) error {
	if err := o.check(); err != nil {
		return err
	}
	v, err := openVerify(ctx, std, o, ref)
	if err != nil {
		return err
	}
	image, err := resolve(ctx, v.reader, ref)
	if err != nil {
		return err
	}
	e, err := v.expect(o, image.Repo)
	if err != nil {
		return err
	}
	c, err := readChain(ctx, v, image)
	if err != nil {
		return err
	}
	c.judge(e, time.Now())
	if o.output == "json" {
		enc := json.NewEncoder(std.out)
		enc.SetIndent("", "  ")
		err = enc.Encode(c)
	} else {
		_, err = fmt.Fprint(std.out, c.text())
	}
	if err != nil {
		return err
	}
	if len(c.Problems) > 0 {
		return fmt.Errorf("%s is not proven: %s", image, strings.Join(c.Problems, "; "))
	}
	return nil
}

// maxTrustedRoot bounds the file of --trusted-root, in bytes.
const maxTrustedRoot = 1 << 20

func readTrustedRoot(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxTrustedRoot+1))
	if err == nil && len(b) > maxTrustedRoot {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxTrustedRoot)
	}
	return b, err
}

// expected is what a chain must be like.
type expected struct {
	by       string // whose records count, for people
	identity reconcile.Repo
	maxAge   time.Duration
	require  []string
}

// expect completes the options with what the catalog says.
func (v verifying) expect(o verifyOptions, repo reconcile.Repo) (expected, error) {
	e := expected{by: v.by, maxAge: o.maxAge, require: o.require}
	if e.maxAge == 0 {
		e.maxAge = v.desired.Rescan.Expires
	}
	if o.identity != "" {
		var err error
		e.identity, err = reconcile.ParseRepo(o.identity)
		return e, err
	}
	for _, r := range v.desired.Registries {
		if !r.Prefix.Owns(repo) {
			continue
		}
		rest := strings.TrimPrefix(repo.String(), r.Prefix.String())
		var err error
		e.identity, err = reconcile.ParseRepo(r.Identity.String() + rest)
		return e, err
	}
	return e, nil
}

// resolve finds the digest that an image reference names: by itself or, where there is none, by its tag. Beside a digest, a tag means nothing, as for whoever pulls it.
func resolve(ctx context.Context, r *registry.Reader, ref string) (reconcile.Image, error) {
	name, digest, exact := strings.Cut(ref, "@")
	label := "latest"
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name, label = name[:i], name[i+1:]
	}
	repo, err := reconcile.ParseRepo(name)
	if err != nil {
		return reconcile.Image{}, err
	}
	tag, err := reconcile.ParseTag(label)
	if err != nil {
		return reconcile.Image{}, err
	}
	if exact {
		d, err := reconcile.ParseDigest(digest)
		return reconcile.Image{Repo: repo, Digest: d}, err
	}
	d, err := r.Current(ctx, repo, tag)
	if err == nil && d.IsZero() {
		err = fmt.Errorf("%s has no tag %s", repo, tag)
	}
	return reconcile.Image{Repo: repo, Digest: d}, err
}
