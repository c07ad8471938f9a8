package catalog

import (
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/assay-oci/assay/reconcile"
)

// images builds the wants of head's images. One with a mistake is left out, alone.
func (l *loader) images() {
	targets := make([][]reconcile.Target, len(l.head.images))
	owner := map[reconcile.Repo]*imageBlock{}
	for i, x := range l.head.images {
		if x.bad() || l.broken(x.folder) != nil {
			continue
		}
		var diags hcl.Diagnostics
		targets[i], diags = l.targets(x)
		l.head.entry(&x.node, append(diags, l.checkImage(x, targets[i])...)...)
		for _, to := range targets[i] {
			first := owner[to.Repo]
			if first == nil {
				owner[to.Repo] = x
				continue
			}
			if first != x {
				d := mistake(x.attr("repository"), "Two images in one repository", "%s is where the image %q goes already (line %d of %s). Give one of them another repository.",
					to.Repo, first.label, first.def().Start.Line, first.def().Filename)
				l.head.entry(&x.node, d)
				first.fail(d)
				break
			}
		}
	}
	l.checkRevoked(targets)
	for i, x := range l.head.images {
		cause := l.broken(x.folder)
		switch {
		case x.bad():
			f := brokenBecause(x.cause)
			f.Image = x.label
			l.desired.Broken = append(l.desired.Broken, f)
		case cause != nil:
			l.desired.Broken = append(l.desired.Broken, unjudged(x, cause))
		default:
			l.want(x, targets[i])
			l.replaced(x, targets[i])
		}
	}
	l.takenOut()
}

// unjudged is the finding for an image that can't be judged while something else isn't mended.
func unjudged(x *imageBlock, cause *hcl.Diagnostic) reconcile.Finding {
	f := brokenBecause(cause)
	if at := f.Origin; at.File != "" {
		f.Detail = fmt.Sprintf("%s:%d: %s", at.File, at.Line, f.Detail)
	}
	f.Image, f.Origin, f.Unknown, f.Summary = x.label, origin(x.def()), true, "The image can't be judged: "+cause.Summary
	return f
}

func (l *loader) want(x *imageBlock, to []reconcile.Target) {
	rules := l.judges(x)
	for _, v := range x.Versions {
		l.desired.Wants = append(l.desired.Wants, reconcile.Want{
			Name: x.label, Version: v.label, From: reconcile.Image{Repo: x.Source, Digest: v.Digest}, To: to, Tags: v.allTags(),
			Mutable: v.Mutable, Scope: l.now.scopeOf(x.folder), Rules: rules, Owner: x.Owner, Purpose: x.Purpose,
			Review: time.Time(x.ReviewBy), Origin: origin(v.def()), Proposed: l.base != l.head && !l.stood(x.label, v),
			UpstreamRecords: l.now.upstreamOf(l.now.scopeOf(x.folder)),
		})
	}
}

// replaced are the versions of an image that a pull request takes out.
func (l *loader) replaced(x *imageBlock, to []reconcile.Target) {
	was := l.before[x.label]
	if was == nil {
		return
	}
	for _, v := range was.Versions {
		if !slices.ContainsFunc(x.Versions, func(h *versionBlock) bool { return h.Digest == v.Digest }) {
			l.desired.Replaced = append(l.desired.Replaced, reconcile.Want{Name: x.label, Version: v.label, From: reconcile.Image{Repo: was.Source, Digest: v.Digest}, To: to, Tags: v.allTags(),
				Scope: l.now.scopeOf(x.folder), Origin: origin(v.def())})
		}
	}
}

// takenOut are the versions of images that a pull request takes out whole, and of those that it moves the places where they were.
func (l *loader) takenOut() {
	was := *l // where images went before
	was.now = l.base
	for _, x := range l.base.images {
		is := l.labels[x.label]
		if l.base == l.head || x.bad() || l.base.broken(x.folder) != nil || is != nil && l.now.scopeOf(is.folder) == l.base.scopeOf(x.folder) {
			continue
		}
		to, diags := was.targets(x)
		if diags.HasErrors() {
			continue
		}
		for _, v := range x.Versions {
			l.desired.Replaced = append(l.desired.Replaced, reconcile.Want{Name: x.label, Version: v.label, From: reconcile.Image{Repo: x.Source, Digest: v.Digest}, To: to, Tags: v.allTags(),
				Scope: l.base.scopeOf(x.folder), Origin: origin(v.def())})
		}
	}
}

// stood tells whether base has a version already, with the same digest.
func (l *loader) stood(image string, v *versionBlock) bool {
	was := l.before[image]
	return was != nil && slices.ContainsFunc(was.Versions, func(b *versionBlock) bool { return b.label == v.label && b.Digest == v.Digest })
}

// allTags returns the version's tags, its own first, each once.
func (v *versionBlock) allTags() []reconcile.Tag {
	var out []reconcile.Tag
	if own, err := parseTag(v.label); err == nil {
		out = append(out, own)
	}
	for _, t := range v.Tags {
		if !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

// targets says where an image goes.
func (l *loader) targets(x *imageBlock) ([]reconcile.Target, hcl.Diagnostics) {
	scope := l.now.scopeOf(x.folder)
	diags := l.now.checkRegistryNames(&x.node, x.Registries)
	allowed := l.now.registriesOf(scope)
	names := x.Registries
	if names == nil {
		names = allowed
	} else if !diags.HasErrors() {
		diags = append(diags, narrower(&x.node, names, allowed)...)
	}
	below, d := x.below(l.now.pathOf(scope))
	if d != nil {
		return nil, append(diags, d)
	}
	var out []reconcile.Target
	for _, r := range l.desired.Registries {
		if names != nil && !slices.Contains(names, r.Name) {
			continue
		}
		if after := r.After.Registry; names != nil && after != "" && !slices.Contains(names, after) {
			diags = append(diags, mistake(x.attr("registries"), "Promotion can't happen", "The image goes to %q, which waits for %q, but not to %q. Add it.", r.Name, after, after))
		}
		to, err := r.Prefix.Repo(below)
		if err != nil {
			diags = append(diags, mistake(x.attr("repository"), "Invalid repository", "%s", sentence(err.Error())))
			continue
		}
		identity, err := r.Identity.Repo(below)
		if err != nil {
			diags = append(diags, mistake(x.attr("repository"), "Invalid repository", "%s", sentence(err.Error())))
			continue
		}
		out = append(out, reconcile.Target{Registry: r.Name, Repo: to, Identity: identity})
	}
	return out, diags
}

// below returns the image's path below a registry's prefix.
func (x *imageBlock) below(scopePath string) (string, *hcl.Diagnostic) {
	repository := string(x.Repository)
	if repository == "" {
		p, err := parsePath(x.label)
		if err != nil {
			return "", mistake(x.labelRange(), "Invalid repository", "The label %q is no repository path, so the image needs the attribute \"repository\".", clip(x.label))
		}
		repository = string(p)
	}
	return path.Join(scopePath, repository), nil
}

// checkImage reports mistakes that show when the image's versions are seen together.
func (l *loader) checkImage(x *imageBlock, to []reconcile.Target) hcl.Diagnostics {
	var diags hcl.Diagnostics
	if len(x.Versions) == 0 {
		diags = append(diags, warning(x.def(), "Image without a version", "Nothing of %q is approved: it has no version block.", x.label))
	}
	if !l.opts.Now.IsZero() && !time.Time(x.ReviewBy).IsZero() && !l.opts.Now.Before(time.Time(x.ReviewBy)) {
		diags = append(diags, warning(x.attr("review_by"), "Review is due", "The approval of %q was to be looked at again by %s.", x.label, time.Time(x.ReviewBy).Format(time.DateOnly)))
	}
	for _, t := range to {
		if t.Repo == x.Source {
			diags = append(diags, mistake(x.attr("source"), "Image comes from where it goes", "The source is also the place %s in the registry %q.", t.Repo, t.Registry))
		}
	}
	if len(l.desired.Registries) == 0 {
		diags = append(diags, warning(x.def(), "Image goes nowhere", "The catalog has no registry."))
	}
	return append(diags, checkVersions(x)...)
}

func checkVersions(x *imageBlock) hcl.Diagnostics {
	var diags hcl.Diagnostics
	labels, tagged := map[string]*versionBlock{}, map[reconcile.Tag]*versionBlock{}
	for _, v := range x.Versions {
		if _, err := parseTag(v.label); err != nil {
			diags = append(diags, mistake(v.labelRange(), "Invalid version", "A version's label is its tag. %s", sentence(err.Error())))
		}
		if first := labels[v.label]; first != nil {
			diags = append(diags, alreadyAt(&v.node, &first.node))
			continue
		}
		labels[v.label] = v
		for _, t := range v.allTags() {
			if first := tagged[t]; first != nil && first.Digest != v.Digest {
				at := v.attr("tags")
				if t.String() == v.label {
					at = v.labelRange()
				}
				diags = append(diags, mistake(at, "One tag for two digests", "The tag %q belongs to the version %q already (line %d), which has another digest.", t, first.label, first.def().Start.Line))
				continue
			}
			tagged[t] = v
		}
	}
	return diags
}
