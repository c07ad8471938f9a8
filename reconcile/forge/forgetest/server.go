package forgetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Permissions are those of a token, such as "pull_requests": "read", by the names that GitHub gives them.
type Permissions map[string]string

// Reader is what GITHUB_TOKEN can be given to verify approvals; it can't read teams.
func Reader() Permissions {
	return Permissions{"metadata": "read", "contents": "read", "pull_requests": "read"}
}

// allow tells whether they are enough for one of the permissions that are needed, which GitHub separates by semicolons.
func (p Permissions) allow(need string) bool {
	for one := range strings.SplitSeq(need, "; ") {
		if name, level, _ := strings.Cut(one, "="); p[name] == "write" || p[name] == level {
			return true
		}
	}
	return false
}

const maxRequest = 16 << 20

// A Limit is an answer that is given instead of the real one.
type Limit struct {
	Status int
	Header map[string]string
	Body   string
}

// A Server is a GitHub with one organization and one repository. Its fields may be changed between requests; its methods may be called concurrently with
// them.
type Server struct {
	*Repository
	URL string // of the API

	mu       sync.Mutex
	tokens   map[string]Permissions
	limits   []Limit
	teams    map[string][]string // by slug
	roles    map[string]string   // by login: admin, write, read
	rules    []any
	comments []*Comment
	issues   []*Issue
	labelled map[int][]string // by the number of an issue or a pull request
	checks   []*Check
	analyses []Analysis
	when     []event
	apps     map[string]app
	moved    string // where all requests are redirected to
	lag      int
	perPage  int
	requests []string
	nextID   int64
}

// New starts a server for a repository such as "acme/catalog", which is empty but for one commit.
func New(t testing.TB, repository string) *Server {
	t.Helper()
	s := &Server{Repository: newRepository(t, repository), tokens: map[string]Permissions{}, teams: map[string][]string{}, roles: map[string]string{}, apps: map[string]app{}, labelled: map[int][]string{}, nextID: 1000, perPage: 100}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	s.URL = h.URL
	return s
}

func (s *Server) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// Token gives a token permissions.
func (s *Server) Token(token string, p Permissions) { s.locked(func() { s.tokens[token] = p }) }

// Team sets the members of a team of the organization.
func (s *Server) Team(slug string, logins ...string) { s.locked(func() { s.teams[slug] = logins }) }

// Role sets what somebody may do in the repository: admin, write or read. Others may do nothing.
func (s *Server) Role(login, role string) { s.locked(func() { s.roles[login] = role }) }

// Rules sets the rules in force on the branch, as the API lists them.
func (s *Server) Rules(rules ...any) { s.locked(func() { s.rules = rules }) }

// Next answers the next requests with limits or failures, one each.
func (s *Server) Next(l ...Limit) { s.locked(func() { s.limits = append(s.limits, l...) }) }

// Lag makes the next answers about a commit's pull requests empty, as they are just after a merge.
func (s *Server) Lag(n int) { s.locked(func() { s.lag = n }) }

// PageSize makes pages shorter than is asked for.
func (s *Server) PageSize(n int) { s.locked(func() { s.perPage = n }) }

// Move redirects everything to another host.
func (s *Server) Move(to string) { s.locked(func() { s.moved = to }) }

// Requests returns what was asked so far, such as "GET /repos/acme/catalog/pulls/1".
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.requests...)
}

// An event is what happens once a request was answered.
type event struct {
	request string
	do      func()
}

// After does something once, when the next request such as "POST /repos/acme/catalog/issues/1/comments" was done, and before its answer is sent. It may call
// the server's methods.
func (s *Server) After(request string, do func()) {
	s.locked(func() { s.when = append(s.when, event{request, do}) })
}

// happened returns what is to be done after a request.
func (s *Server) happened(request string) func() {
	for i, e := range s.when {
		if e.request == request {
			s.when = append(s.when[:i:i], s.when[i+1:]...)
			return e.do
		}
	}
	return nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var rec *httptest.ResponseRecorder
	var then func()
	s.locked(func() {
		rec = httptest.NewRecorder()
		s.handle(rec, r)
		then = s.happened(r.Method + " " + r.URL.Path)
	})
	if then != nil {
		then()
	}
	maps.Copy(w.Header(), rec.Header())
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes())
}

func (s *Server) handle(w *httptest.ResponseRecorder, r *http.Request) {
	s.requests = append(s.requests, r.Method+" "+r.URL.Path)
	if s.moved != "" {
		http.Redirect(w, r, s.moved+r.URL.Path, http.StatusMovedPermanently)
		return
	}
	if len(s.limits) > 0 {
		l := s.limits[0]
		s.limits = s.limits[1:]
		for k, v := range l.Header {
			w.Header().Set(k, v)
		}
		w.WriteHeader(l.Status)
		fmt.Fprint(w, l.Body)
		return
	}
	w.Header().Set("X-RateLimit-Limit", "5000")
	w.Header().Set("X-RateLimit-Remaining", "0") // the last of the hour: the answer is good, and the next request may come too
	w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10))
	for _, e := range endpoints {
		if values, ok := match(e.path, s.name, r); ok && e.method == r.Method {
			sent, err := io.ReadAll(io.LimitReader(r.Body, maxRequest))
			if err != nil {
				refuse(w, http.StatusBadRequest, "Problems reading the request")
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(sent))
			s.serve(w, r, e, values)
			described(s.t, e, sent, w)
			return
		}
	}
	refuse(w, http.StatusNotFound, "Not Found")
}

// match compares a path with a pattern such as "/repos/{repo}/pulls/{number}"; a last "{path...}" takes the rest.
func match(pattern, repository string, r *http.Request) (map[string]string, bool) {
	want := strings.Split(strings.Replace(pattern, "{repo}", repository, 1), "/")
	got := strings.Split(r.URL.EscapedPath(), "/")
	values := map[string]string{}
	for i, part := range want {
		if name, ok := strings.CutPrefix(part, "{"); ok && strings.HasSuffix(name, "...}") && i < len(got) {
			values[strings.TrimSuffix(name, "...}")] = unescape(strings.Join(got[i:], "/"))
			return values, true
		}
		if i >= len(got) {
			return nil, false
		}
		if name, ok := strings.CutPrefix(part, "{"); ok {
			values[strings.TrimSuffix(name, "}")] = unescape(got[i])
		} else if !strings.EqualFold(part, got[i]) {
			return nil, false
		}
	}
	return values, len(want) == len(got)
}

// serve checks what the token may do before it answers.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, e endpoint, values map[string]string) {
	c := call{Server: s, w: w, r: r, values: values}
	if e.need != "" {
		token := strings.TrimPrefix(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), "token ")
		p, known := s.tokens[token]
		switch {
		case token != "" && !known:
			refuse(w, http.StatusUnauthorized, "Bad credentials")
			return
		case token == "", e.hidden && !p.allow(e.need): // whoever may not know is told that there is nothing
			refuse(w, http.StatusNotFound, "Not Found")
			return
		case !p.allow(e.need):
			w.Header().Set("X-Accepted-GitHub-Permissions", e.need)
			refuse(w, http.StatusForbidden, "Resource not accessible by integration")
			return
		}
		c.token = token
	}
	e.answer(c)
}

func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("X-RateLimit-Remaining", "4999") // with 0, it would be a limit
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"message": message, "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(status)})
}
