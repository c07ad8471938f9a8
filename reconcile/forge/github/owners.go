package github

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-github/v60/github"

	"github.com/assay-oci/assay/reconcile"
)

// owners reads who owns a file, by the CODEOWNERS at a commit, or at the newest of a branch.
func (g *Gate) owners(ctx context.Context, file, at string) (ownerRule, error) {
	for _, name := range codeownersPlaces {
		f, err := g.file(ctx, name, at)
		if err != nil {
			return ownerRule{}, err
		}
		if !f.there {
			continue
		}
		if len(f.content) > maxCodeowners {
			return ownerRule{}, fmt.Errorf("%s has more than %d bytes, and GitHub doesn't read it; shorten it", name, maxCodeowners)
		}
		r, _ := ownersOf(string(f.content), file)
		return r, nil
	}
	return ownerRule{}, nil
}

// name notes which of the owners each approver is: the person, or else a team of the organization that the person is in. What could not be read, because
// the token may not, is told; it matters only where no owner is found among the approvers.
func (v verdict) name(ctx context.Context, approvers []reconcile.Approver, owners ownerRule) (missing string, err error) {
	found := false
	claim := func(a *reconcile.Approver, owner string) {
		if a.Owner == "" {
			a.Owner, a.Rule, found = owner, owners.Pattern, true
		}
	}
	for _, owner := range owners.Owners {
		for i := range approvers {
			if strings.EqualFold(owner, "@"+approvers[i].Login) {
				claim(&approvers[i], owner)
			}
		}
	}
	for _, owner := range owners.Owners {
		team, ok := v.gate.teamOf(owner)
		switch {
		case ok && v.gate.o.Mode == reconcile.GateRules: // the branch's rules have seen to it
		case ok:
			members, err := v.gate.members(ctx, team)
			if denied(err) {
				missing = err.Error()
				continue
			}
			if err != nil {
				return "", err
			}
			for i := range approvers {
				if slices.Contains(members, strings.ToLower(approvers[i].Login)) {
					claim(&approvers[i], owner)
				}
			}
		case ownerAddress.MatchString(owner):
			missing = fmt.Sprintf("whose address %s is can't be found out; write the person's login in CODEOWNERS", clean(owner, 100))
		}
	}
	if found {
		missing = ""
	}
	return missing, nil
}

// teamOf is the slug of a team of the repository's own organization; GitHub takes no other for an owner.
func (g *Gate) teamOf(owner string) (string, bool) {
	org, slug, ok := strings.Cut(strings.TrimPrefix(owner, "@"), "/")
	return strings.ToLower(slug), ok && strings.EqualFold(org, g.owner) && ownerTeam.MatchString(owner)
}

// members lists the logins of a team, those of the teams below it too, in lower case. Who may not read them is answered that there is no such team.
func (g *Gate) members(ctx context.Context, team string) ([]string, error) {
	return g.teams.get(team, func() ([]string, error) {
		what := fmt.Sprintf("list the members of the team %s/%s", g.owner, clean(team, 100))
		users, err := pages(func(o *github.ListOptions) ([]*github.User, *github.Response, error) {
			return g.api.Teams.ListTeamMembersBySlug(ctx, g.owner, team, &github.TeamListTeamMembersOptions{ListOptions: *o})
		})
		if err = failedOrNil(what, err); errors.Is(err, reconcile.ErrNotFound) {
			return nil, &PermissionError{What: what, Need: needMembers}
		}
		if err != nil {
			return nil, err
		}
		out := []string{}
		for _, u := range users {
			out = append(out, strings.ToLower(u.GetLogin()))
		}
		return out, nil
	})
}

func failedOrNil(what string, err error) error {
	if err == nil {
		return nil
	}
	return failed(what, needMembers, err)
}
