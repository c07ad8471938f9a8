package reconcile

import (
	"reflect"
	"slices"
)

// Changed narrows what is desired to the repositories in which two commits of a catalog differ, so that the work after a merge is in
// proportion to the change. A repository is taken whole or not at all: what is left of it is all that the catalog wants there. Where anything
// else than images and revocations differs, or a part of either catalog could not be read, nothing is narrowed.
//
// Rules are code and can't be compared, so policy is what the catalog's loader calls a change of it.
//
// What was changed by hand elsewhere isn't seen, and what is absent isn't looked for: that is for the runs that sweep everything.
func Changed(before, after Desired, policy []Finding) Desired {
	if len(policy)+len(before.Broken)+len(after.Broken) > 0 || !sameOrganization(before, after) {
		return after
	}
	touched := map[Repo]bool{}
	mark := func(a, b []Want) {
		known := map[string][]Want{}
		for _, w := range b {
			known[w.Title()] = append(known[w.Title()], w.unplaced())
		}
		for _, w := range a {
			plain := w.unplaced()
			if slices.ContainsFunc(known[w.Title()], func(x Want) bool { return reflect.DeepEqual(x, plain) }) {
				continue
			}
			for _, t := range w.To {
				touched[t.Repo] = true
			}
		}
	}
	mark(after.Wants, before.Wants)
	mark(before.Wants, after.Wants)
	for _, v := range after.Revoked {
		if !slices.ContainsFunc(before.Revoked, func(x Revocation) bool { return x.Digest == v.Digest && reflect.DeepEqual(x.Repos, v.Repos) }) {
			for _, r := range v.Repos {
				touched[r] = true
			}
		}
	}
	return after.within(touched)
}

// within keeps what concerns the given repositories.
func (d Desired) within(repos map[Repo]bool) Desired {
	all := d.Wants
	d.Wants = nil
	for _, w := range all {
		if !slices.ContainsFunc(w.To, func(t Target) bool { return repos[t.Repo] }) {
			d.Elsewhere++
			continue
		}
		d.Wants = append(d.Wants, w)
		for _, t := range w.To { // its other places too: they may hold it, and staged promotion looks at them
			repos[t.Repo] = true
		}
	}
	if again := d.closed(all, repos); again {
		d.Wants, d.Elsewhere = all, 0
		return d.within(repos)
	}
	revoked := d.Revoked
	d.Revoked = nil
	for _, v := range revoked {
		v.Repos = slices.DeleteFunc(slices.Clone(v.Repos), func(r Repo) bool { return !repos[r] })
		if len(v.Repos) > 0 {
			d.Revoked = append(d.Revoked, v)
		}
	}
	d.Prune.Absent = false
	return d
}

// closed tells whether a version that was left out goes to one of the repositories after all, which a later one has added.
func (d Desired) closed(all []Want, repos map[Repo]bool) bool {
	kept := len(d.Wants)
	n := 0
	for _, w := range all {
		if slices.ContainsFunc(w.To, func(t Target) bool { return repos[t.Repo] }) {
			n++
		}
	}
	return n != kept
}

// unplaced is the version without its rules, and without its line in the catalog, which moves when something above it changes.
func (w Want) unplaced() Want {
	w.Origin, w.Rules = Origin{}, nil
	return w
}

func sameOrganization(a, b Desired) bool {
	for _, d := range []*Desired{&a, &b} {
		d.Commit, d.Wants, d.Revoked, d.Replaced, d.Changes, d.Warnings, d.Elsewhere = "", nil, nil, nil, nil, nil, 0
		d.Waivers, d.Scanners, d.Signers = slices.Clone(d.Waivers), slices.Clone(d.Scanners), slices.Clone(d.Signers)
		for i := range d.Waivers {
			d.Waivers[i].Origin = Origin{}
		}
		for i := range d.Scanners {
			d.Scanners[i].Origin = Origin{}
		}
		for i := range d.Signers {
			d.Signers[i].Origin = Origin{}
		}
	}
	return reflect.DeepEqual(a, b)
}
