package catalog

import (
	"io/fs"

	"github.com/assay-oci/assay/reconcile"
)

// Approvals returns what the catalog of one commit approves, for its history. It is lenient where Load is strict: an image with a mistake
// elsewhere was approved all the same. The times of the approvals are left zero.
func Approvals(fsys fs.FS, opts Options) []reconcile.Approval {
	t := parse(fsys, "", opts.Limits)
	l := &loader{opts: opts, base: t, head: t, now: t}
	l.organization()
	var out []reconcile.Approval
	for _, x := range t.images {
		targets, _ := l.targets(x)
		var repos []reconcile.Repo
		for _, to := range targets {
			repos = append(repos, to.Repo)
		}
		for _, v := range x.Versions {
			if !v.Digest.IsZero() {
				out = append(out, reconcile.Approval{Image: x.label, Version: v.label, Digest: v.Digest, Repos: repos})
			}
		}
	}
	return out
}
