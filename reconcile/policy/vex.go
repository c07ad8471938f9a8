package policy

import (
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/openvex"
)

// A vex block says whose OpenVEX counts that is attached to an image where it comes from.
type vex struct {
	Key     string    `hcl:"key,optional" default:"none" doc:"The public key, in PEM, with which the OpenVEX must be signed."`
	Keyless []keyless `hcl:"keyless,block" doc:"Or who must have signed it with a certificate of Sigstore; where there are several, any of them."`
}

// vexTrusts are all those whom a rule's vex blocks trust.
func vexTrusts(body hcl.Body, blocks []vex) ([]reconcile.Trust, hcl.Diagnostics) {
	var out []reconcile.Trust
	var diags hcl.Diagnostics
	for _, b := range blocks {
		ts, more := trusted(body, b.Key, b.Keyless)
		out, diags = append(out, ts...), append(diags, more...)
	}
	return out, diags
}

// excuses is what the makers of an image say that it isn't affected by.
type excuses struct {
	list []reconcile.Waiver
	root reconcile.Digest
	name string // of the image where it comes from: the last part of its repository
}

// excusesOf reads the OpenVEX that trusted signers attached to an image, as one document: what one of them says later, or doesn't excuse, counts against an
// earlier excuse. A mistake in any of it, or a signer for whom nobody looked, might hide such a word: then nothing is excused.
func excusesOf(s reconcile.Subject, ts []reconcile.Trust) excuses {
	out := excuses{root: s.Want.From.Digest, name: s.Want.From.Repo.Path()}
	out.name = out.name[strings.LastIndex(out.name, "/")+1:]
	proofs, known := proofsBy(s.Evidence.Upstream, ts)
	if !known {
		return out
	}
	var all openvex.Document
	for _, p := range proofs {
		if !isVEX(p.PredicateType) {
			continue
		}
		d, err := openvex.Parse([]byte(p.Predicate))
		if err != nil {
			return out
		}
		for _, st := range d.Statements {
			if st.Timestamp == nil {
				st.Timestamp = &d.Timestamp
			}
			all.Statements = append(all.Statements, st)
		}
	}
	out.list = all.Waivers()
	return out
}

// isVEX tells OpenVEX's predicate types, with or without a version.
func isVEX(predicateType string) bool {
	return predicateType == "https://openvex.dev/ns" || strings.HasPrefix(predicateType, "https://openvex.dev/ns/")
}

// cover tells whether a vulnerability on one manifest of the image is excused: by a statement about the image itself, by digest or by the name that it has
// where it comes from. One about a package, wherever it may be, says nothing of this image.
func (e excuses) cover(v reconcile.Merged, manifest reconcile.Digest) bool {
	return slices.ContainsFunc(e.list, func(w reconcile.Waiver) bool {
		switch {
		case w.Digest.IsZero() && w.Image == "", w.Image != "" && w.Image != e.name, !w.Digest.IsZero() && w.Digest != e.root && w.Digest != manifest:
			return false
		}
		return w.ID == v.ID && (w.Package == "" || v.Package.Is(w.Package))
	})
}
