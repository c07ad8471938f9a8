package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry"
	"github.com/assay-oci/assay/reconcile/sign"
)

type verifyOptions struct {
	key      string
	output   string
	insecure []string
}

func newVerify(io stdio) *cobra.Command {
	var o verifyOptions
	c := &cobra.Command{
		Use:     "verify IMAGE",
		Short:   "Verify the signatures and attestations beside an image in a registry",
		Example: "  assay verify registry.example.com/approved/nginx:1.27.3 --key cosign.pub",
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return runVerify(c.Context(), io, o, args[0]) },
	}
	c.Flags().StringVar(&o.key, "key", "", "the signer's public key, a PEM `file`")
	c.Flags().StringVarP(&o.output, "output", "o", "text", "text or json")
	c.Flags().StringSliceVar(&o.insecure, "insecure-registry", nil, "a `host` to speak plain http with")
	if err := c.MarkFlagRequired("key"); err != nil {
		panic(err)
	}
	return c
}

// verified is what stands beside one manifest of an image.
type verified struct {
	Digest   reconcile.Digest   `json:"digest"`
	Platform reconcile.Platform `json:"platform,omitzero"`
	Signed   bool               `json:"signed"`
	Records  []verifiedRecord   `json:"records"`
}

type verifiedRecord struct {
	Format    reconcile.Format `json:"format"`
	Identity  reconcile.Repo   `json:"identity,omitzero"`
	Predicate string           `json:"predicate_type,omitempty"`
	About     string           `json:"about,omitempty"`
	Time      string           `json:"time,omitempty"`
	Problem   string           `json:"problem,omitempty"`
}

func runVerify(ctx context.Context, io stdio, o verifyOptions, ref string) error {
	key, err := sign.ReadPublicKey(o.key)
	if err != nil {
		return err
	}
	reader := registry.NewReader(registry.Options{Insecure: o.insecure})
	image, err := resolve(ctx, reader, ref)
	if err != nil {
		return err
	}
	found, err := readVerified(ctx, reader, sign.NewVerifier(map[string]sign.PublicKey{"key": key}, reader), image)
	if err != nil {
		return err
	}
	switch o.output {
	case "json":
		e := json.NewEncoder(io.out)
		e.SetIndent("", "  ")
		err = e.Encode(found)
	case "text":
		err = printVerified(io, image, found)
	default:
		err = fmt.Errorf("output %q is none of text, json", o.output)
	}
	if err != nil {
		return err
	}
	for _, v := range found {
		if !v.Signed {
			return fmt.Errorf("%s bears no valid signature by %s", reconcile.Image{Repo: image.Repo, Digest: v.Digest}, o.key)
		}
	}
	return nil
}

// resolve finds the digest that an image reference names.
func resolve(ctx context.Context, r *registry.Reader, ref string) (reconcile.Image, error) {
	if name, digest, ok := strings.Cut(ref, "@"); ok {
		repo, err := reconcile.ParseRepo(name)
		if err != nil {
			return reconcile.Image{}, err
		}
		d, err := reconcile.ParseDigest(digest)
		return reconcile.Image{Repo: repo, Digest: d}, err
	}
	name, label := ref, "latest"
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		name, label = ref[:i], ref[i+1:]
	}
	repo, err := reconcile.ParseRepo(name)
	if err != nil {
		return reconcile.Image{}, err
	}
	tag, err := reconcile.ParseTag(label)
	if err != nil {
		return reconcile.Image{}, err
	}
	d, err := r.Current(ctx, repo, tag)
	if err == nil && d.IsZero() {
		err = fmt.Errorf("%s has no tag %s", repo, tag)
	}
	return reconcile.Image{Repo: repo, Digest: d}, err
}

func readVerified(ctx context.Context, reader *registry.Reader, v *sign.Verifier, image reconcile.Image) ([]verified, error) {
	tree, err := reader.Tree(ctx, image)
	if err != nil {
		return nil, err
	}
	platforms := map[reconcile.Digest]reconcile.Platform{}
	for _, m := range tree.Manifests {
		platforms[m.Digest] = m.Platform
	}
	var out []verified
	for _, d := range tree.Signed() {
		records, err := v.Records(ctx, reconcile.Image{Repo: image.Repo, Digest: d})
		if err != nil {
			return nil, err
		}
		x := verified{Digest: d, Platform: platforms[d], Records: []verifiedRecord{}}
		for _, r := range records {
			st := r.Statement
			x.Signed = x.Signed || r.Problem == "" && st.PredicateType == ""
			rec := verifiedRecord{Format: st.Format, Problem: r.Problem}
			if r.Problem == "" {
				rec.Identity, rec.Predicate, rec.About, rec.Time = st.Identity, st.PredicateType, st.About, st.Time.UTC().Format("2006-01-02 15:04 UTC")
			}
			x.Records = append(x.Records, rec)
		}
		out = append(out, x)
	}
	return out, nil
}

func printVerified(io stdio, image reconcile.Image, found []verified) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", image)
	for _, v := range found {
		what := "index"
		if v.Platform.Runnable() {
			what = v.Platform.String()
		}
		fmt.Fprintf(&b, "  %s %s\n", v.Digest.Short(), what)
		for _, r := range v.Records {
			switch {
			case r.Problem != "":
				fmt.Fprintf(&b, "    ✗ %s: %q\n", r.Format, r.Problem)
			case r.Predicate == "":
				fmt.Fprintf(&b, "    ✓ signature (%s) as %s, %s\n", r.Format, r.Identity, r.Time)
			default:
				fmt.Fprintf(&b, "    ✓ attestation %q by %q, %s\n", r.Predicate, r.About, r.Time)
			}
		}
	}
	_, err := fmt.Fprint(io.out, b.String())
	return err
}
