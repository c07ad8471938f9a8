package forgetest

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// A Comment is one of an issue or of a pull request.
type Comment struct {
	ID     int64
	Number int
	Author string
	Body   string
	Edits  int
}

// An Issue is one that is no pull request.
type Issue struct {
	Number int
	Author string
	Title  string
	Body   string
	State  string
	Reason string // why it was closed
	Edits  int
}

// Comments returns the comments of an issue or a pull request.
func (s *Server) Comments(number int) []Comment {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Comment
	for _, c := range s.comments {
		if c.Number == number {
			out = append(out, *c)
		}
	}
	return out
}

// Issues returns all that are no pull requests.
func (s *Server) Issues() []Issue {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Issue
	for _, x := range s.issues {
		out = append(out, *x)
	}
	return out
}

// Labels returns those of an issue or a pull request.
func (s *Server) Labels(number int) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.labelled[number])
}

// Say adds a comment of a person.
func (s *Server) Say(number int, author, body string) {
	s.locked(func() {
		s.nextID++
		s.comments = append(s.comments, &Comment{ID: s.nextID, Number: number, Author: author, Body: body})
	})
}

// Unsay deletes a comment.
func (s *Server) Unsay(id int64) {
	s.locked(func() { s.comments = slices.DeleteFunc(s.comments, func(c *Comment) bool { return c.ID == id }) })
}

// File opens an issue of a person.
func (s *Server) File(author, title, body string) {
	s.locked(func() {
		s.nextID++
		s.issues = append(s.issues, &Issue{Number: int(s.nextID), Author: author, Title: title, Body: body, State: "open"})
	})
}

// LabelBy gives an issue or a pull request a label, as a person does.
func (s *Server) LabelBy(number int, name string) {
	s.locked(func() { s.labelled[number] = append(s.labelled[number], name) })
}

// known answers 404 for what is neither an issue nor a pull request.
func (c call) known() bool {
	n := c.number()
	if n >= 1 && n <= len(c.pulls) || slices.ContainsFunc(c.issues, func(x *Issue) bool { return x.Number == n }) {
		return true
	}
	refuse(c.w, http.StatusNotFound, "Not Found")
	return false
}

func (c call) listComments() {
	if !c.known() {
		return
	}
	out := []any{}
	for _, x := range c.comments {
		if x.Number == c.number() {
			out = append(out, c.commentShape(x))
		}
	}
	c.page(out)
}

// maxBody is the length of a comment that GitHub takes.
const maxBody = 65536

type written struct {
	Title, Body, State *string
	StateReason        *string `json:"state_reason"`
}

func (c call) text(w written) bool {
	if w.Body != nil && len([]rune(*w.Body)) > maxBody {
		refuse(c.w, http.StatusUnprocessableEntity, "Validation Failed: body is too long (maximum is 65536 characters)")
		return false
	}
	return true
}

func (c call) createComment() {
	var in written
	if !c.known() || !c.body(&in) || !c.text(in) {
		return
	}
	if in.Body == nil {
		refuse(c.w, http.StatusUnprocessableEntity, "Validation Failed: body is missing")
		return
	}
	c.Server.nextID++
	x := &Comment{ID: c.nextID, Number: c.number(), Author: c.author(), Body: strings.TrimSpace(*in.Body)}
	c.Server.comments = append(c.comments, x)
	c.json(http.StatusCreated, c.commentShape(x))
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
	x.Body = strings.TrimSpace(*in.Body)
	x.Edits++
	c.json(http.StatusOK, c.commentShape(x))
}

// listIssues lists pull requests too, as GitHub does.
func (c call) listIssues() {
	q := c.r.URL.Query()
	state, creator := q.Get("state"), q.Get("creator")
	out := []any{}
	for _, p := range c.pulls {
		x := &Issue{Number: p.Number, Author: p.Author, Title: "request", State: "open"}
		if p.Merge != "" {
			x.State = "closed"
		}
		if listed(x, state, creator) {
			shape := c.issueShape(x)
			shape["pull_request"] = urls(object{}, c.page1(p.Number), "url html_url diff_url patch_url")
			out = append(out, shape)
		}
	}
	for _, x := range c.issues {
		if listed(x, state, creator) {
			out = append(out, c.issueShape(x))
		}
	}
	if q.Get("direction") != "asc" {
		slices.Reverse(out)
	}
	c.page(out)
}

func listed(x *Issue, state, creator string) bool {
	if state == "" {
		state = "open"
	}
	return (state == "all" || x.State == state) && (creator == "" || strings.EqualFold(creator, x.Author))
}

func (c call) createIssue() {
	var in written
	if !c.body(&in) || !c.text(in) || in.Title == nil || in.Body == nil {
		return
	}
	c.Server.nextID++
	x := &Issue{Number: int(c.nextID), Author: c.author(), Title: *in.Title, Body: *in.Body, State: "open"}
	c.Server.issues = append(c.issues, x)
	c.json(http.StatusCreated, c.issueShape(x))
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
	x.Edits++
	for to, v := range map[*string]*string{&x.Title: in.Title, &x.Body: in.Body, &x.State: in.State, &x.Reason: in.StateReason} {
		if v != nil {
			*to = *v
		}
	}
	c.json(http.StatusOK, c.issueShape(x))
}

func (c call) listLabels() {
	if c.known() {
		c.page(c.labels(c.number()))
	}
}

func (c call) addLabels() {
	var in struct{ Labels []string }
	if !c.known() || !c.body(&in) {
		return
	}
	for _, l := range in.Labels {
		if !slices.Contains(c.labelled[c.number()], l) {
			c.labelled[c.number()] = append(c.labelled[c.number()], l)
		}
	}
	c.json(http.StatusOK, c.labels(c.number()))
}

func (c call) removeLabel() {
	n, name := c.number(), c.values["name"]
	if !slices.Contains(c.labelled[n], name) {
		refuse(c.w, http.StatusNotFound, "Label does not exist")
		return
	}
	c.labelled[n] = slices.DeleteFunc(c.labelled[n], func(s string) bool { return s == name })
	c.json(http.StatusOK, c.labels(n))
}
