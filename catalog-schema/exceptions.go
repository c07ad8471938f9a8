package catalog

import (
	"maps"
	"path"
	"slices"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

// checkRevoked reports versions that are revoked too: the image is left out, the revocation stands.
func (l *loader) checkRevoked(targets [][]reconcile.Target) {
	type place struct {
		digest reconcile.Digest
		repo   reconcile.Repo
		label  string
	}
	revoked := map[place]*revokeBlock{}
	for _, r := range l.head.revokes {
		if r.Digest.IsZero() {
			continue
		}
		revoked[place{digest: r.Digest, label: r.label}] = r
		for _, repo := range l.revokedRepos(r) {
			revoked[place{digest: r.Digest, repo: repo}] = r
		}
	}
	for i, x := range l.head.images {
		for _, v := range x.Versions {
			r := revoked[place{digest: v.Digest, label: x.label}]
			for _, t := range targets[i] {
				if r == nil {
					r = revoked[place{digest: v.Digest, repo: t.Repo}]
				}
			}
			if r != nil {
				l.head.entry(&x.node, mistake(v.attr("digest"), "Revoked version", "The digest of %s:%s is revoked at line %d of %s. Remove the version, or the revocation.",
					x.label, v.label, r.def().Start.Line, r.def().Filename))
			}
		}
	}
}

func (l *loader) revocations() {
	known := slices.Collect(maps.Keys(l.labels))
	for _, r := range l.head.revokes {
		x := l.labels[r.label]
		switch {
		case r.bad():
		case x == nil && r.Repository == "" && !plainPath(r.label):
			l.head.entry(&r.node, mistake(r.labelRange(), "Invalid repository", "The label %q is no repository path, and no image has it. Add the attribute \"repository\".", clip(r.label)))
		case x == nil && r.Replacement != "":
			l.head.entry(&r.node, mistake(r.attr("replacement"), "Unknown version", "There is no image %q in the catalog, so it has no version %q.%s", r.label, clip(r.Replacement), l.head.hint(r.label, known)))
		case x == nil && r.Repository == "":
			l.head.own = append(l.head.own, warning(r.labelRange(), "Unknown image", "There is no image %q; its digest is removed from the repository of that name.%s", r.label, l.head.hint(r.label, known)))
		case r.Replacement != "" && !slices.ContainsFunc(x.Versions, func(v *versionBlock) bool { return v.label == r.Replacement }):
			var versions []string
			for _, v := range x.Versions {
				versions = append(versions, v.label)
			}
			l.head.entry(&r.node, mistake(r.attr("replacement"), "Unknown version", "The image %q has no version %q.%s", r.label, clip(r.Replacement), l.head.hint(r.Replacement, versions)))
		}
		cause := r.cause
		if cause == nil {
			cause = l.broken(r.folder)
		}
		if cause != nil {
			f := brokenBecause(cause)
			f.Image, f.Digest, f.Origin = r.label, r.Digest, origin(r.def())
			l.desired.Broken = append(l.desired.Broken, f)
			continue
		}
		l.desired.Revoked = append(l.desired.Revoked, reconcile.Revocation{Name: r.label, Digest: r.Digest, Repos: l.revokedRepos(r),
			From: l.sourceOf(r.label), Reason: r.Reason, Replacement: r.Replacement, Origin: origin(r.def())})
	}
}

// sourceOf returns where an image comes from, if the catalog still has it.
func (l *loader) sourceOf(label string) reconcile.Repo {
	if x := l.labels[label]; x != nil {
		return x.Source
	}
	return reconcile.Repo{}
}

func plainPath(s string) bool { _, err := parsePath(s); return err == nil }

// revokedRepos lists where a revoked digest must not be: on every registry, whichever the image goes to now.
func (l *loader) revokedRepos(r *revokeBlock) []reconcile.Repo {
	folder, repository := r.folder, string(r.Repository)
	if repository == "" {
		repository = r.label
		if x := l.labels[r.label]; x != nil {
			folder = x.folder
			if x.Repository != "" {
				repository = string(x.Repository)
			}
		}
	}
	below := path.Join(l.now.pathOf(l.now.scopeOf(folder)), repository)
	var out []reconcile.Repo
	for _, reg := range l.desired.Registries {
		if repo, err := reg.Prefix.Repo(below); err == nil {
			out = append(out, repo)
		}
	}
	return out
}

// waivers takes over base's waivers. What a pull request adds counts once it is merged.
func (l *loader) waivers() {
	images := map[string]*imageBlock{}
	var known []string
	for _, t := range l.trees() {
		for _, x := range t.images {
			images[x.label] = x
			known = append(known, x.label)
		}
	}
	for _, w := range l.base.waivers {
		if w.bad() {
			continue
		}
		scope := l.base.scopeOf(w.folder)
		if x := images[w.Image]; w.Image != "" && x == nil {
			l.base.diags = append(l.base.diags, warning(w.attr("image"), "Unknown image", "There is no image %q.%s", clip(w.Image), l.head.hint(w.Image, known)))
		} else if w.Image != "" && !encloses(scope, l.now.scopeOf(x.folder)) {
			l.base.diags = append(l.base.diags, warning(w.attr("image"), "Waiver without effect", "The image %q lies outside the waiver's scope, the folder %q.", x.label, scope))
		}
		if !l.opts.Now.IsZero() && !l.opts.Now.Before(w.Expires.endOf()) {
			l.base.diags = append(l.base.diags, warning(w.attr("expires"), "Expired waiver", "It expired on %s and has no effect. Remove it, or have it reviewed again.", time.Time(w.Expires).Format(time.DateOnly)))
		}
		l.desired.Waivers = append(l.desired.Waivers, reconcile.Waiver{ID: w.label, Rule: w.Rule, Image: w.Image, Digest: w.Digest, Package: w.Package,
			Justification: string(w.Justification), Reason: w.Reason, Expires: w.Expires.endOf(), Scope: scope, Origin: origin(w.def())})
	}
}
