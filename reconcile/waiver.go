package reconcile

import "time"

// Covers tells whether the waiver excuses a finding about an image at a time. The finding's Rule, Scope, ID, Package and PURL count, and the
// waiver's scope must be the rule's own or one around it. A waiver of a package by its purl covers only findings whose purl is known.
func (v Waiver) Covers(f Finding, image string, digest Digest, now time.Time) bool {
	return v.Rule == f.Rule && encloses(v.Scope, f.Scope) &&
		(v.ID == "*" || v.ID == f.ID) &&
		(v.Image == "" || v.Image == image) &&
		(v.Digest.IsZero() || v.Digest == digest) &&
		(v.Package == "" || Package{Name: f.Package, PURL: f.PURL}.Is(v.Package)) &&
		now.Before(v.Expires)
}
