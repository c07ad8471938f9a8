package forgetest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// An endpoint is one of the API's, with the permission that it needs.
type endpoint struct {
	method, path string
	need         string // such as "contents=read", or several of which one is enough: "issues=read; pull_requests=read"
	hidden       bool   // without the permission, it answers 404
	answer       func(call)
}

// A call is one request, authenticated.
type call struct {
	*Server
	w      http.ResponseWriter
	r      *http.Request
	values map[string]string
	token  string
}

var endpoints = []endpoint{
	{"GET", "/repos/{repo}", "metadata=read", false, call.repository},
	{"GET", "/repos/{repo}/commits", "contents=read", false, call.listCommits},
	{"GET", "/repos/{repo}/commits/{sha}/pulls", "pull_requests=read", false, call.pullsOfCommit},
	{"GET", "/repos/{repo}/pulls", "pull_requests=read", false, call.listPulls},
	{"GET", "/repos/{repo}/pulls/{number}", "pull_requests=read", false, call.pull},
	{"GET", "/repos/{repo}/pulls/{number}/files", "pull_requests=read", false, call.files},
	{"GET", "/repos/{repo}/pulls/{number}/reviews", "pull_requests=read", false, call.reviews},
	{"GET", "/repos/{repo}/git/commits/{sha}", "contents=read", false, call.commit},
	{"GET", "/repos/{repo}/compare/{range}", "contents=read", false, call.compare},
	{"GET", "/repos/{repo}/contents/{path...}", "contents=read", false, call.contents},
	{"GET", "/repos/{repo}/collaborators/{login}/permission", "metadata=read", false, call.role},
	{"GET", "/repos/{repo}/rules/branches/{branch}", "metadata=read", false, call.branchRules},
	{"GET", "/orgs/{org}/teams/{slug}/members", "members=read", true, call.members},
	{"GET", "/repos/{repo}/issues/{number}/comments", "issues=read; pull_requests=read", false, call.listComments},
	{"POST", "/repos/{repo}/issues/{number}/comments", "issues=write; pull_requests=write", false, call.createComment},
	{"PATCH", "/repos/{repo}/issues/comments/{id}", "issues=write; pull_requests=write", false, call.editComment},
	{"GET", "/repos/{repo}/issues/{number}/labels", "issues=read; pull_requests=read", false, call.listLabels},
	{"POST", "/repos/{repo}/issues/{number}/labels", "issues=write; pull_requests=write", false, call.addLabels},
	{"DELETE", "/repos/{repo}/issues/{number}/labels/{name}", "issues=write; pull_requests=write", false, call.removeLabel},
	{"GET", "/repos/{repo}/issues", "issues=read", false, call.listIssues},
	{"POST", "/repos/{repo}/issues", "issues=write", false, call.createIssue},
	{"PATCH", "/repos/{repo}/issues/{number}", "issues=write", false, call.editIssue},
	{"GET", "/repos/{repo}/commits/{sha}/check-runs", "checks=read", false, call.listChecks},
	{"POST", "/repos/{repo}/check-runs", "checks=write", false, call.createCheck},
	{"PATCH", "/repos/{repo}/check-runs/{id}", "checks=write", false, call.editCheck},
	{"POST", "/repos/{repo}/code-scanning/sarifs", "security_events=write", false, call.uploadSARIF},
	{"GET", "/user", "", false, call.user},
	{"GET", "/app", "", false, call.app},
	{"GET", "/repos/{repo}/installation", "", false, call.installation},
	{"POST", "/app/installations/{id}/access_tokens", "", false, call.accessToken},
}

func unescape(s string) string {
	u, err := url.PathUnescape(s)
	if err != nil {
		return s
	}
	return u
}

func (c call) json(status int, v any) {
	c.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	c.w.WriteHeader(status)
	_ = json.NewEncoder(c.w).Encode(v)
}

// page answers one page of a list.
func (c call) page(all []any) {
	from, to := c.window(len(all), 30)
	c.json(http.StatusOK, append([]any{}, all[from:to]...))
}

// window is the part of a list that is asked for, of usual entries where nothing is said; it links to the next.
func (c call) window(length, usual int) (from, to int) {
	size, n := min(usual, c.perPage), 1
	if v, err := strconv.Atoi(c.r.URL.Query().Get("per_page")); err == nil {
		size = min(v, c.perPage)
	}
	if v, err := strconv.Atoi(c.r.URL.Query().Get("page")); err == nil {
		n = max(v, 1)
	}
	from, to = min((n-1)*size, length), min(n*size, length)
	if to < length {
		q := c.r.URL.Query()
		q.Set("page", strconv.Itoa(n+1))
		c.w.Header().Set("Link", fmt.Sprintf(`<%s%s?%s>; rel="next"`, c.URL, c.r.URL.Path, q.Encode()))
	}
	return from, to
}

func (c call) number() int {
	n, _ := strconv.Atoi(c.values["number"])
	return n
}

func (c call) find() *Pull {
	if n := c.number(); n >= 1 && n <= len(c.pulls) {
		return c.pulls[n-1]
	}
	refuse(c.w, http.StatusNotFound, "Not Found")
	return nil
}

func (c call) repository() {
	c.json(http.StatusOK, repo(c.name))
}

func (c call) pullsOfCommit() {
	if _, err := c.tryGit("cat-file", "-e", c.values["sha"]+"^{commit}"); err != nil {
		refuse(c.w, http.StatusUnprocessableEntity, "No commit found for SHA: "+c.values["sha"])
		return
	}
	out := []any{}
	if c.lag > 0 {
		c.Server.lag--
		c.page(out)
		return
	}
	for _, p := range c.of(c.values["sha"]) {
		out = append(out, c.simple(p))
	}
	c.page(out)
}

func (c call) pull() {
	if p := c.find(); p != nil {
		c.json(http.StatusOK, with(c.simple(p), object{"merged": p.Merge != "", "merged_by": nil, "mergeable": nil, "mergeable_state": "unknown", "maintainer_can_modify": false, "comments": 0,
			"review_comments": 0, "commits": 1, "additions": 1, "deletions": 0, "changed_files": 1}))
	}
}

func (c call) reviews() {
	p := c.find()
	if p == nil {
		return
	}
	out := []any{}
	for _, r := range p.Reviews {
		link := object{"href": c.page1(p.Number)}
		out = append(out, object{"id": r.ID, "node_id": "PRR_1", "user": person(r.Login, r.Type), "state": r.State, "commit_id": r.Commit, "submitted_at": r.At.Format(time.RFC3339), "body": "",
			"html_url": c.page1(p.Number), "pull_request_url": c.page1(p.Number), "_links": object{"html": link, "pull_request": link}, "author_association": "MEMBER"})
	}
	c.page(out)
}

func (c call) commit() {
	sha := c.values["sha"]
	if _, err := c.tryGit("cat-file", "-e", sha+"^{commit}"); err != nil {
		refuse(c.w, http.StatusNotFound, "Not Found")
		return
	}
	u := "https://api.github.com/repos/" + c.name + "/git/commits/" + sha
	by := object{"name": "a", "email": "a@example.com", "date": began}
	c.json(http.StatusOK, object{"sha": sha, "node_id": "C_1", "url": u, "html_url": u, "author": by, "committer": by, "message": "change", "parents": c.parents(sha),
		"tree":         object{"sha": c.treeOf(sha), "url": u + "/tree"},
		"verification": object{"verified": false, "reason": "unsigned", "signature": nil, "payload": nil, "verified_at": nil}})
}

func (c call) listCommits() {
	list, err := c.tryGit("rev-list", c.r.URL.Query().Get("sha"), "--")
	if err != nil {
		refuse(c.w, http.StatusNotFound, "Not Found")
		return
	}
	out := []any{}
	for sha := range strings.FieldsSeq(list) {
		out = append(out, c.commitShape(sha))
	}
	c.page(out)
}

func (c call) compare() {
	base, head, _ := strings.Cut(c.values["range"], "...")
	fork, err := c.tryGit("merge-base", base, head)
	if err != nil {
		refuse(c.w, http.StatusNotFound, "Not Found")
		return
	}
	list, _ := c.tryGit("rev-list", "--reverse", base+".."+head)
	shas := strings.Fields(list)
	from, to := c.window(len(shas), 250)
	commits := []any{}
	for _, sha := range shas[from:to] {
		commits = append(commits, c.commitShape(sha))
	}
	u := "https://api.github.com/repos/" + c.name + "/compare/" + c.values["range"]
	c.json(http.StatusOK, urls(object{"url": u, "status": "ahead", "ahead_by": len(shas), "behind_by": 0, "total_commits": len(shas), "commits": commits, "files": []any{},
		"base_commit": c.commitShape(base), "merge_base_commit": c.commitShape(fork)}, u, "html_url permalink_url diff_url patch_url"))
}

func (c call) files() {
	p := c.find()
	if p == nil {
		return
	}
	from := p.from
	if p.Merge == "" {
		from = c.Git("merge-base", p.Into, p.Head)
	}
	out := []any{}
	for line := range strings.Lines(c.Git("diff", "--name-status", "-M", from, p.Head)) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		status := map[byte]string{'A': "added", 'M': "modified", 'D': "removed", 'R': "renamed"}[f[0][0]]
		u := "https://github.com/" + c.name + "/blob/" + p.Head + "/" + f[len(f)-1]
		o := object{"sha": p.Head, "filename": f[len(f)-1], "status": status, "additions": 1, "deletions": 0, "changes": 1, "blob_url": u, "raw_url": u, "contents_url": u}
		if status == "renamed" {
			o["previous_filename"] = f[1]
		}
		out = append(out, o)
	}
	c.page(out)
}

func (c call) listPulls() {
	q := c.r.URL.Query()
	out := []any{}
	for _, p := range c.pulls {
		owner, _, _ := strings.Cut(p.repository(c.name), "/")
		open := p.Merge == ""
		if h := q.Get("head"); (h == "" || !strings.Contains(h, ":") || h == owner+":"+p.Branch) && (q.Get("state") == "all" || open == (q.Get("state") != "closed")) {
			out = append(out, c.simple(p))
		}
	}
	c.page(out)
}

func (c call) contents() {
	content, err := c.tryGit("cat-file", "blob", c.r.URL.Query().Get("ref")+":"+c.values["path"])
	if err != nil {
		refuse(c.w, http.StatusNotFound, "Not Found")
		return
	}
	c.w.Header().Set("Content-Type", "application/vnd.github.raw+json; charset=utf-8")
	fmt.Fprintln(c.w, content)
}

func (c call) role() {
	role := c.roles[c.values["login"]]
	if role == "" {
		role = "none"
	}
	user := with(person(c.values["login"], "User").(object), object{"role_name": role})
	c.json(http.StatusOK, object{"permission": role, "role_name": role, "user": user})
}

func (c call) branchRules() { c.page(c.rules) }

func (c call) members() {
	owner, _, _ := strings.Cut(c.name, "/")
	team, ok := c.teams[c.values["slug"]]
	if !ok || c.values["org"] != owner {
		refuse(c.w, http.StatusNotFound, "Not Found")
		return
	}
	out := []any{}
	for _, login := range team {
		out = append(out, person(login, "User"))
	}
	c.page(out)
}

// author is who a token is: one that begins with "person-" is that of a person, one of an app that of its bot, and another one that of a workflow.
func (c call) author() string {
	if login, ok := strings.CutPrefix(c.token, "person-"); ok {
		return login
	}
	if strings.HasPrefix(c.token, "ghs_") {
		return "assay-app[bot]"
	}
	return "github-actions[bot]"
}

func (c call) user() {
	login, ok := strings.CutPrefix(strings.TrimPrefix(c.r.Header.Get("Authorization"), "Bearer "), "person-")
	if !ok {
		refuse(c.w, http.StatusForbidden, "Resource not accessible by integration")
		return
	}
	c.json(http.StatusOK, fullPerson(login))
}

func (c call) app() {
	if c.issuer() == "" {
		refuse(c.w, http.StatusUnauthorized, "A JSON web token could not be decoded")
		return
	}
	c.json(http.StatusOK, object{"id": 7, "slug": "assay-app", "node_id": "A_1", "owner": person("acme", "Organization"), "name": "Assay", "description": nil, "external_url": "https://example.com",
		"html_url": "https://github.com/apps/assay-app", "created_at": began, "updated_at": began, "permissions": object{}, "events": []any{}})
}

func (c call) body(into any) bool {
	if err := json.NewDecoder(c.r.Body).Decode(into); err != nil {
		refuse(c.w, http.StatusBadRequest, "Problems parsing JSON")
		return false
	}
	return true
}
