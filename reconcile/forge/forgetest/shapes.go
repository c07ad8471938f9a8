package forgetest

import (
	"fmt"
	"maps"
	"strings"
	"time"
)

// object is one of the API's, with every field that GitHub's OpenAPI description requires of it.
type object = map[string]any

// began is when everything was made whose time says nothing.
var began = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Format(time.RFC3339)

// urls adds fields that are URLs below base.
func urls(o object, base string, names string) object {
	for name := range strings.FieldsSeq(names) {
		o[name] = base + "/" + strings.TrimSuffix(name, "_url")
	}
	return o
}

func with(o object, more object) object {
	maps.Copy(o, more)
	return o
}

func person(login, kind string) any {
	if login == "" {
		return nil
	}
	base := "https://api.github.com/users/" + login
	o := object{"login": login, "id": 1, "node_id": "U_1", "type": kind, "gravatar_id": "", "site_admin": false, "url": base, "html_url": "https://github.com/" + login,
		"avatar_url": "https://avatars.githubusercontent.com/u/1"}
	return urls(o, base, "events_url followers_url following_url gists_url organizations_url received_events_url repos_url starred_url subscriptions_url")
}

// kind is "Bot" for the logins of bots.
func kind(login string) string {
	if strings.HasSuffix(login, "[bot]") {
		return "Bot"
	}
	return "User"
}

func fullPerson(login string) object {
	return with(person(login, "User").(object), object{"bio": nil, "blog": nil, "company": nil, "email": nil, "followers": 0, "following": 0, "hireable": nil, "location": nil, "name": nil,
		"public_gists": 0, "public_repos": 1, "created_at": began, "updated_at": began})
}

// repo is a repository, of whoever stands before the slash in its name.
func repo(full string) object {
	owner, name, _ := strings.Cut(full, "/")
	base := "https://api.github.com/repos/" + full
	o := object{"id": 1, "node_id": "R_1", "name": name, "full_name": full, "owner": person(owner, "Organization"), "private": true, "fork": false, "url": base,
		"html_url": "https://github.com/" + full, "description": nil, "homepage": nil, "language": nil, "license": nil, "mirror_url": nil, "default_branch": "main",
		"forks": 0, "forks_count": 0, "stargazers_count": 0, "watchers": 0, "watchers_count": 0, "open_issues": 0, "open_issues_count": 0, "size": 1, "archived": false, "disabled": false,
		"has_downloads": true, "has_issues": true, "has_projects": false, "has_wiki": false, "has_pages": false, "has_discussions": false, "network_count": 0, "subscribers_count": 0,
		"pushed_at": began, "created_at": began, "updated_at": began}
	return urls(o, base, `archive_url assignees_url blobs_url branches_url collaborators_url comments_url commits_url compare_url contents_url contributors_url
		deployments_url downloads_url events_url forks_url git_commits_url git_refs_url git_tags_url hooks_url issue_comment_url issue_events_url issues_url keys_url labels_url languages_url
		merges_url milestones_url notifications_url pulls_url releases_url stargazers_url statuses_url subscribers_url subscription_url tags_url teams_url trees_url clone_url git_url
		ssh_url svn_url`)
}

// simple is a pull request as it stands in lists.
func (c call) simple(p *Pull) object {
	base, page := "https://api.github.com/repos/"+c.name+"/pulls/"+fmt.Sprint(p.Number), c.page1(p.Number)
	links := object{}
	for _, name := range []string{"comments", "commits", "statuses", "html", "issue", "review_comments", "review_comment", "self"} {
		links[name] = object{"href": base + "/" + name}
	}
	side := func(full, ref, sha string) object {
		owner, _, _ := strings.Cut(full, "/")
		return object{"label": owner + ":" + ref, "ref": ref, "sha": sha, "repo": repo(full), "user": person(owner, "Organization")}
	}
	o := object{"number": p.Number, "id": p.Number, "node_id": "PR_1", "state": "open", "locked": false, "title": "request", "body": nil, "user": person(p.Author, "User"), "assignee": nil,
		"labels": c.labels(p.Number), "milestone": nil, "author_association": "CONTRIBUTOR", "auto_merge": nil, "url": base, "html_url": page, "_links": links,
		"head": side(p.repository(c.name), p.Branch, p.Head), "base": side(c.name, p.Into, c.tip(p)), "created_at": began, "updated_at": began, "closed_at": nil, "merged_at": nil, "merge_commit_sha": nil}
	if p.Merge != "" {
		at := p.merged.Format(time.RFC3339)
		o = with(o, object{"state": "closed", "closed_at": at, "merged_at": at, "merge_commit_sha": p.Merge})
	}
	return urls(o, base, "comments_url commits_url diff_url issue_url patch_url review_comment_url review_comments_url statuses_url")
}

// tip is where the branch of a pull request is.
func (c call) tip(p *Pull) string {
	out, err := c.tryGit("rev-parse", p.Into)
	if err != nil {
		return p.Head
	}
	return out
}

func (c call) page1(number int) string {
	return fmt.Sprintf("https://github.com/%s/pull/%d", c.name, number)
}

// commitShape is a commit as it stands in comparisons.
func (c call) commitShape(sha string) object {
	base := "https://api.github.com/repos/" + c.name + "/commits/" + sha
	by := object{"name": "a", "email": "a@example.com", "date": began}
	return object{"sha": sha, "node_id": "C_1", "url": base, "html_url": base, "comments_url": base + "/comments", "author": nil, "committer": nil, "parents": c.parents(sha),
		"commit": object{"url": base, "author": by, "committer": by, "message": "change", "comment_count": 0, "tree": object{"sha": c.treeOf(sha), "url": base + "/tree"}}}
}

func (c call) treeOf(sha string) string {
	out, _ := c.tryGit("rev-parse", sha+"^{tree}")
	return out
}

func (c call) parents(sha string) []any {
	out, _ := c.tryGit("rev-parse", sha+"^@")
	parents := []any{}
	for p := range strings.FieldsSeq(out) {
		u := "https://api.github.com/repos/" + c.name + "/commits/" + p
		parents = append(parents, object{"sha": p, "url": u, "html_url": u})
	}
	return parents
}

func (c call) commentShape(x *Comment) object {
	base := "https://api.github.com/repos/" + c.name + "/issues"
	return object{"id": x.ID, "node_id": "IC_1", "body": x.Body, "url": fmt.Sprintf("%s/comments/%d", base, x.ID), "issue_url": fmt.Sprintf("%s/%d", base, x.Number),
		"html_url": fmt.Sprintf("%s#issuecomment-%d", c.page1(x.Number), x.ID), "user": person(x.Author, kind(x.Author)), "author_association": "CONTRIBUTOR", "created_at": began, "updated_at": began}
}

func (c call) issueShape(x *Issue) object {
	base := fmt.Sprintf("https://api.github.com/repos/%s/issues/%d", c.name, x.Number)
	o := object{"number": x.Number, "id": x.Number, "node_id": "I_1", "title": x.Title, "body": x.Body, "state": x.State, "locked": false, "user": person(x.Author, kind(x.Author)), "assignee": nil,
		"milestone": nil, "labels": c.labels(x.Number), "comments": 0, "author_association": "CONTRIBUTOR", "url": base, "html_url": fmt.Sprintf("https://github.com/%s/issues/%d", c.name, x.Number),
		"repository_url": "https://api.github.com/repos/" + c.name, "created_at": began, "updated_at": began, "closed_at": nil}
	if x.State == "closed" {
		o["closed_at"], o["state_reason"] = began, x.Reason
	}
	return urls(o, base, "comments_url events_url labels_url")
}

func (c call) labels(number int) []any {
	out := []any{}
	for _, name := range c.labelled[number] {
		out = append(out, object{"id": 1, "node_id": "L_1", "name": name, "description": "", "color": "ededed", "default": false, "url": "https://api.github.com/repos/" + c.name + "/labels/" + name})
	}
	return out
}

func (c call) checkShape(k *Check) object {
	base := fmt.Sprintf("https://api.github.com/repos/%s/check-runs/%d", c.name, k.ID)
	null := func(s string) any {
		if s == "" {
			return nil
		}
		return s
	}
	o := object{"id": k.ID, "node_id": "CR_1", "head_sha": k.Commit, "name": k.Name, "external_id": k.External, "status": k.Status, "conclusion": null(k.Conclusion), "url": base,
		"html_url": fmt.Sprintf("https://github.com/%s/runs/%d", c.name, k.ID), "details_url": null(k.Link), "started_at": began, "completed_at": nil, "check_suite": object{"id": 1}, "app": nil,
		"pull_requests": []any{},
		"output":        object{"title": null(k.Title), "summary": null(k.Summary), "text": nil, "annotations_count": len(k.Annotations), "annotations_url": base + "/annotations"}}
	if k.Status == "completed" {
		o["completed_at"] = began
	}
	return o
}
