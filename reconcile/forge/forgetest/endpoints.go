package forgetest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An endpoint is one of the API's, with the permission that it needs.
type endpoint struct {
	method, path string
	need         string // such as "contents=read"
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
	{"GET", "/repos/{repo}/commits/{sha}/pulls", "pull_requests=read", false, call.pullsOfCommit},
	{"GET", "/repos/{repo}/pulls/{number}", "pull_requests=read", false, call.pull},
	{"GET", "/repos/{repo}/pulls/{number}/reviews", "pull_requests=read", false, call.reviews},
	{"GET", "/repos/{repo}/git/commits/{sha}", "contents=read", false, call.commit},
	{"GET", "/repos/{repo}/compare/{range}", "contents=read", false, call.compare},
	{"GET", "/repos/{repo}/contents/{path...}", "contents=read", false, call.contents},
	{"GET", "/repos/{repo}/collaborators/{login}/permission", "metadata=read", false, call.role},
	{"GET", "/repos/{repo}/rules/branches/{branch}", "metadata=read", false, call.branchRules},
	{"GET", "/orgs/{org}/teams/{slug}/members", "members=read", true, call.members},
	{"GET", "/repos/{repo}/issues/{number}/comments", "issues=read", false, call.listComments},
	{"POST", "/repos/{repo}/issues/{number}/comments", "issues=write", false, call.createComment},
	{"PATCH", "/repos/{repo}/issues/comments/{id}", "issues=write", false, call.editComment},
	{"GET", "/repos/{repo}/issues", "issues=read", false, call.listIssues},
	{"POST", "/repos/{repo}/issues", "issues=write", false, call.createIssue},
	{"PATCH", "/repos/{repo}/issues/{number}", "issues=write", false, call.editIssue},
	{"POST", "/repos/{repo}/check-runs", "checks=write", false, call.createCheck},
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

// page answers one page of a list, and links to the next.
func (c call) page(all []any) {
	size, n := 30, 1
	if v, err := strconv.Atoi(c.r.URL.Query().Get("per_page")); err == nil {
		size = min(v, c.perPage)
	}
	if v, err := strconv.Atoi(c.r.URL.Query().Get("page")); err == nil {
		n = max(v, 1)
	}
	from, to := min((n-1)*size, len(all)), min(n*size, len(all))
	if to < len(all) {
		q := c.r.URL.Query()
		q.Set("page", strconv.Itoa(n+1))
		c.w.Header().Set("Link", fmt.Sprintf(`<%s%s?%s>; rel="next"`, c.URL, c.r.URL.Path, q.Encode()))
	}
	c.json(http.StatusOK, append([]any{}, all[from:to]...))
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

func person(login, kind string) any {
	if login == "" {
		return nil
	}
	return map[string]any{"login": login, "type": kind, "id": 1}
}

func (c call) repository() {
	c.json(http.StatusOK, map[string]any{"full_name": c.name, "default_branch": "main"})
}

// simple is a pull request as it stands in lists.
func (c call) simple(p *Pull) map[string]any {
	repo := map[string]any{"full_name": c.name}
	out := map[string]any{"number": p.Number, "state": "open", "user": person(p.Author, "User"), "html_url": fmt.Sprintf("https://github.com/%s/pull/%d", c.name, p.Number),
		"head": map[string]any{"ref": p.Branch, "sha": p.Head, "repo": repo}, "base": map[string]any{"ref": p.Into, "repo": repo}, "merged_at": nil, "merge_commit_sha": nil}
	if p.Merge != "" {
		out["state"], out["merged_at"], out["merge_commit_sha"] = "closed", p.merged.Format(time.RFC3339), p.Merge
	}
	return out
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
		full := c.simple(p)
		full["merged"] = p.Merge != ""
		c.json(http.StatusOK, full)
	}
}

func (c call) reviews() {
	p := c.find()
	if p == nil {
		return
	}
	out := []any{}
	for _, r := range p.Reviews {
		out = append(out, map[string]any{"id": r.ID, "user": person(r.Login, r.Type), "state": r.State, "commit_id": r.Commit, "submitted_at": r.At.Format(time.RFC3339), "body": ""})
	}
	c.page(out)
}

func (c call) commit() {
	out, err := c.tryGit("rev-parse", c.values["sha"]+"^@")
	if err != nil {
		refuse(c.w, http.StatusNotFound, "Not Found")
		return
	}
	parents := []any{}
	for _, p := range strings.Fields(out) {
		parents = append(parents, map[string]any{"sha": p})
	}
	c.json(http.StatusOK, map[string]any{"sha": c.values["sha"], "parents": parents})
}

func (c call) compare() {
	base, head, _ := strings.Cut(c.values["range"], "...")
	fork, err := c.tryGit("merge-base", base, head)
	if err != nil {
		refuse(c.w, http.StatusNotFound, "Not Found")
		return
	}
	c.json(http.StatusOK, map[string]any{"merge_base_commit": map[string]any{"sha": fork}, "commits": []any{}, "files": []any{}})
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
	c.json(http.StatusOK, map[string]any{"permission": role, "role_name": role, "user": person(c.values["login"], "User")})
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
	c.json(http.StatusOK, person(login, "User"))
}

func (c call) app() {
	if c.issuer() == "" {
		refuse(c.w, http.StatusUnauthorized, "A JSON web token could not be decoded")
		return
	}
	c.json(http.StatusOK, map[string]any{"slug": "assay-app"})
}

func (c call) body(into any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(c.w, c.r.Body, 1<<20)).Decode(into); err != nil {
		refuse(c.w, http.StatusBadRequest, "Problems parsing JSON")
		return false
	}
	return true
}

func shown(c *Comment) map[string]any {
	kind := "User"
	if strings.HasSuffix(c.Author, "[bot]") {
		kind = "Bot"
	}
	return map[string]any{"id": c.ID, "body": c.Body, "html_url": fmt.Sprintf("https://github.com/acme/catalog/pull/%d#issuecomment-%d", c.Number, c.ID), "user": person(c.Author, kind)}
}

func (c call) listComments() {
	out := []any{}
	for _, x := range c.comments {
		if x.Number == c.number() {
			out = append(out, shown(x))
		}
	}
	c.page(out)
}

// maxBody is the length of a comment that GitHub takes.
const maxBody = 65536

type written struct{ Title, Body, State *string }

func (c call) text(w written) bool {
	if w.Body != nil && len([]rune(*w.Body)) > maxBody {
		refuse(c.w, http.StatusUnprocessableEntity, "Validation Failed: body is too long (maximum is 65536 characters)")
		return false
	}
	return true
}

func (c call) createComment() {
	var in written
	if !c.body(&in) || !c.text(in) || in.Body == nil {
		return
	}
	c.Server.nextID++
	x := &Comment{ID: c.nextID, Number: c.number(), Author: c.author(), Body: *in.Body}
	c.Server.comments = append(c.comments, x)
	c.json(http.StatusCreated, shown(x))
}

func (c call) editComment() {
	var in written
	i := slices.IndexFunc(c.comments, func(x *Comment) bool { return strconv.FormatInt(x.ID, 10) == c.values["id"] })
	if i < 0 {
		refuse(c.w, http.StatusNotFound, "Not Found")
		return
	}
	if !c.body(&in) || !c.text(in) || in.Body == nil {
		return
	}
	x := c.comments[i]
	x.Body = *in.Body
	x.Edits++
	c.json(http.StatusOK, shown(x))
}

func issueShown(x *Issue) map[string]any {
	return map[string]any{"number": x.Number, "title": x.Title, "body": x.Body, "state": x.State, "user": person(x.Author, "Bot")}
}

func (c call) listIssues() {
	state := c.r.URL.Query().Get("state")
	out := []any{}
	for _, x := range c.issues {
		if state == "all" || x.State == state || state == "" && x.State == "open" {
			out = append(out, issueShown(x))
		}
	}
	c.page(out)
}

func (c call) createIssue() {
	var in written
	if !c.body(&in) || !c.text(in) || in.Title == nil || in.Body == nil {
		return
	}
	c.Server.nextID++
	x := &Issue{Number: int(c.nextID), Author: c.author(), Title: *in.Title, Body: *in.Body, State: "open"}
	c.Server.issues = append(c.issues, x)
	c.json(http.StatusCreated, issueShown(x))
}

func (c call) editIssue() {
	var in written
	i := slices.IndexFunc(c.issues, func(x *Issue) bool { return x.Number == c.number() })
	if i < 0 {
		refuse(c.w, http.StatusNotFound, "Not Found")
		return
	}
	if !c.body(&in) || !c.text(in) {
		return
	}
	x := c.issues[i]
	for to, v := range map[*string]*string{&x.Title: in.Title, &x.Body: in.Body, &x.State: in.State} {
		if v != nil {
			*to = *v
		}
	}
	c.json(http.StatusOK, issueShown(x))
}

func (c call) createCheck() {
	in := map[string]any{}
	if !c.body(&in) {
		return
	}
	if out, ok := in["output"].(map[string]any); ok {
		if list, ok := out["annotations"].([]any); ok && len(list) > 50 {
			refuse(c.w, http.StatusUnprocessableEntity, "Invalid request: no more than 50 annotations are allowed per request")
			return
		}
	}
	c.Server.nextID++
	in["id"] = c.nextID
	c.Server.checks = append(c.checks, in)
	c.json(http.StatusCreated, in)
}
