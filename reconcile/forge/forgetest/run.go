package forgetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/assay-oci/assay/reconcile"
)

// Setup says how a story's reviewer is to be made.
type Setup struct {
	Mode  reconcile.GateMode
	Token string
	// Introduced is the history of the catalog.
	Introduced func(context.Context, reconcile.Entry) (commit string, open, baseline bool, err error)
	// Declares reads a file of the catalog.
	Declares func(file string, content []byte) []reconcile.Entry
}

// The token of the stories: that of a GitHub App, which may read teams.
const storyToken = "story"

// A story is told on a repository and says how its entry was approved.
type story struct {
	name  string
	tell  func(*world)
	state reconcile.ReviewState
	says  string // part of the reason
}

// world is what a story acts on.
type world struct {
	*Server
	t        testing.TB
	mode     reconcile.GateMode
	baseline string
	open     bool
	check    func(reconcile.Review)
}

const (
	entryFile = "images/nginx.hcl"
	digest    = "sha256:6d9908724b4c7b03e4f86da9d0e7233423b466ec94dbf6e936a66731e9133535"
	line      = "nginx 1.0.0 " + digest + "\n"
)

// entry is what the stories are about. The catalogs here are plain lists; the language is the business of others.
func entry(t testing.TB) reconcile.Entry {
	d, err := reconcile.ParseDigest(digest)
	if err != nil {
		t.Fatal(err)
	}
	return reconcile.Entry{Image: "nginx", Version: "1.0.0", Digest: d, Origin: reconcile.Origin{File: entryFile, Line: 1}}
}

func declares(file string, content []byte) []reconcile.Entry {
	var out []reconcile.Entry
	for l := range strings.Lines(string(content)) {
		f := strings.Fields(l)
		if len(f) != 3 {
			continue
		}
		if d, err := reconcile.ParseDigest(f[2]); err == nil {
			out = append(out, reconcile.Entry{Image: f[0], Version: f[1], Digest: d, Origin: reconcile.Origin{File: file}})
		}
	}
	return out
}

// introduced walks main's first-parent line.
func (w *world) introduced(context.Context, reconcile.Entry) (string, bool, bool, error) {
	if w.open {
		return w.pulls[len(w.pulls)-1].Head, true, false, nil
	}
	last := ""
	for c := range strings.FieldsSeq(w.Git("rev-list", "--first-parent", "main")) {
		content, _ := w.tryGit("cat-file", "blob", c+":"+entryFile)
		if !strings.Contains(content, strings.TrimSpace(line)) {
			break
		}
		if last = c; c == w.baseline {
			return c, false, true, nil
		}
	}
	return last, false, false, nil
}

func (w *world) request() *Pull { return w.Propose("dev", map[string]string{entryFile: line}) }

// fix changes the request: its head is no longer what was approved.
func (w *world) fix(p *Pull) { w.Amend(p, map[string]string{"README.md": p.Head}) }

var stories = []story{
	{"merged", func(w *world) { p := w.request(); w.Review(p, "ann", "APPROVED"); w.Merge(p, "merge") }, reconcile.Approved, ""},
	{"squashed", func(w *world) {
		p := w.request()
		w.fix(p)
		w.Review(p, "ann", "APPROVED")
		w.Merge(p, "squash")
	}, reconcile.Approved, ""},
	{"rebased", func(w *world) {
		p := w.request()
		w.fix(p)
		w.fix(p)
		w.Push("main", map[string]string{"elsewhere": "x"})
		w.Review(p, "ann", "APPROVED")
		w.Merge(p, "rebase")
	}, reconcile.Approved, ""},
	{"two requests at once", func(w *world) {
		p, q := w.request(), w.Propose("dev", map[string]string{"images/other.hcl": "x"})
		w.Review(p, "ann", "APPROVED")
		w.Merge(q, "squash")
		w.Merge(p, "merge")
	}, reconcile.Approved, ""},
	{"two requests at once, the other one approved", func(w *world) {
		p, q := w.request(), w.Propose("dev", map[string]string{"images/other.hcl": "x"})
		w.Review(q, "ann", "APPROVED")
		w.Merge(p, "squash")
		w.Merge(q, "squash")
	}, reconcile.NotApproved, "without an approval"},
	{"blocked, fixed, approved", func(w *world) {
		p := w.request()
		w.Review(p, "ann", "CHANGES_REQUESTED")
		w.fix(p)
		w.Review(p, "ann", "APPROVED")
		w.Review(p, "ann", "COMMENTED")
		w.Merge(p, "merge")
	}, reconcile.Approved, ""},
	{"nobody approved", func(w *world) { w.Merge(w.request(), "merge") }, reconcile.NotApproved, "without an approval"},
	{"stale approval", func(w *world) { p := w.request(); w.Review(p, "ann", "APPROVED"); w.fix(p); w.Merge(p, "squash") }, reconcile.NotApproved, "stale"},
	{"dismissed", func(w *world) {
		p := w.request()
		w.Review(p, "ann", "APPROVED")
		w.Dismiss(p, "ann")
		w.Merge(p, "merge")
	}, reconcile.NotApproved, "without an approval"},
	{"the author's own", func(w *world) { p := w.request(); w.Review(p, "dev", "APPROVED"); w.Merge(p, "merge") }, reconcile.NotApproved, "without an approval"},
	{"a bot's", func(w *world) { p := w.request(); w.ReviewAs(p, "ann", "Bot", "APPROVED"); w.Merge(p, "merge") }, reconcile.NotApproved, "without an approval"},
	{"an account that is gone", func(w *world) { p := w.request(); w.ReviewAs(p, "", "User", "APPROVED"); w.Merge(p, "merge") }, reconcile.NotApproved, "without an approval"},
	{"who may not write", func(w *world) {
		w.Role("ann", "read")
		p := w.request()
		w.Review(p, "ann", "APPROVED")
		w.Merge(p, "merge")
	}, reconcile.NotApproved, "without an approval"},
	{"no code owner", func(w *world) { p := w.request(); w.Review(p, "bob", "APPROVED"); w.Merge(p, "merge") }, reconcile.NotApproved, "none of the code owners of images/nginx.hcl (@ann, @acme/edge)"},
	{"the last word", func(w *world) {
		p := w.request()
		w.Review(p, "ann", "APPROVED")
		w.Review(p, "ann", "CHANGES_REQUESTED")
		w.Review(p, "cid", "APPROVED")
		w.Merge(p, "merge")
	}, reconcile.NotApproved, "ann asked for changes"},
	{"a stranger objects", func(w *world) {
		p := w.request()
		w.Review(p, "stranger", "CHANGES_REQUESTED")
		w.Review(p, "ann", "APPROVED")
		w.Merge(p, "merge")
	}, reconcile.Approved, ""},
	{"a team's member", func(w *world) {
		w.PageSize(1)
		p := w.request()
		w.Review(p, "bob", "APPROVED")
		w.Review(p, "cid", "APPROVED")
		w.Merge(p, "merge")
		w.check = func(r reconcile.Review) {
			if len(r.Approvers) != 2 || r.Approvers[0].Owner != "" || r.Approvers[1] != (reconcile.Approver{Login: "cid", Owner: "@acme/edge", Rule: "/images/"}) {
				w.t.Errorf("approvers %+v", r.Approvers)
			}
		}
	}, reconcile.Approved, ""},
	{"a team that can't be read", func(w *world) {
		w.Token(storyToken, Reader())
		p := w.request()
		w.Review(p, "cid", "APPROVED")
		w.Merge(p, "merge")
	}, reconcile.UnknownReview, "members=read"},
	{"a team that need not be read", func(w *world) {
		w.Token(storyToken, Reader())
		p := w.request()
		w.Review(p, "ann", "APPROVED")
		w.Merge(p, "merge")
	}, reconcile.Approved, ""},
	{"no permission to read pull requests", func(w *world) {
		w.Token(storyToken, Permissions{"metadata": "read", "contents": "read"})
		p := w.request()
		w.Review(p, "ann", "APPROVED")
		w.Merge(p, "merge")
	}, reconcile.UnknownReview, "pull_requests=read"},
	{"a direct push", func(w *world) { w.Push("main", map[string]string{entryFile: line}) }, reconcile.NotApproved, "without a pull request"},
	{"a direct push of an open request", func(w *world) {
		p := w.request()
		w.Review(p, "ann", "APPROVED")
		w.Git("merge", "-q", "--ff-only", p.Branch)
	}, reconcile.NotApproved, "still open"},
	{"merged elsewhere first", func(w *world) {
		w.Git("branch", "backdoor")
		p := w.ProposeInto("backdoor", "dev", map[string]string{entryFile: line})
		w.Review(p, "ann", "APPROVED")
		w.Merge(p, "squash")
		w.Git("merge", "-q", "--ff-only", "backdoor")
	}, reconcile.NotApproved, "merged elsewhere"},
	{"a merge with something of its own", func(w *world) {
		p := w.Propose("dev", map[string]string{"README.md": "harmless"})
		w.Review(p, "ann", "APPROVED")
		w.Git("merge", "-q", "--no-commit", "--no-ff", p.Branch)
		w.Merged(p, w.Push("main", map[string]string{entryFile: line}))
	}, reconcile.NotApproved, "not what was reviewed"},
	{"a merge that brings something old back", func(w *world) {
		w.Push("main", map[string]string{entryFile: line})
		p := w.Propose("dev", map[string]string{"README.md": "harmless"})
		w.Push("main", map[string]string{entryFile: ""})
		w.Review(p, "ann", "APPROVED")
		w.Git("merge", "-q", "--no-commit", "--no-ff", p.Branch)
		w.Merged(p, w.Push("main", map[string]string{entryFile: line}))
	}, reconcile.NotApproved, "doesn't bring the entry in"},
	{"owners of its own", func(w *world) {
		p := w.Propose("dev", map[string]string{".github/CODEOWNERS": "* @bob\n"})
		w.Amend(p, map[string]string{entryFile: line})
		w.Review(p, "bob", "APPROVED")
		w.Merge(p, "rebase")
	}, reconcile.NotApproved, "none of the code owners"},
	{"owners of long ago", func(w *world) {
		w.Push("main", map[string]string{".github/CODEOWNERS": "* @bob\n"})
		p := w.request()
		w.Push("main", map[string]string{".github/CODEOWNERS": "* @ann\n"})
		w.Review(p, "bob", "APPROVED")
		w.Merge(p, "merge")
	}, reconcile.NotApproved, "none of the code owners"},
	{"nobody owns it", func(w *world) {
		w.Push("main", map[string]string{".github/CODEOWNERS": "/docs/ @ann\n"})
		p := w.request()
		w.Review(p, "bob", "APPROVED")
		w.Merge(p, "merge")
	}, reconcile.Approved, ""},
	{"just after the merge", func(w *world) {
		p := w.request()
		w.Review(p, "ann", "APPROVED")
		w.Merge(p, "merge")
		w.Lag(3)
	}, reconcile.Approved, ""},
	{"limits and failures in the middle", func(w *world) {
		p := w.request()
		w.Review(p, "ann", "APPROVED")
		w.Merge(p, "merge")
		w.Next(Limit{429, map[string]string{"Retry-After": "30"}, "{}"}, Limit{502, nil, "bad gateway"},
			Limit{403, nil, `{"message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}`},
			Limit{403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}, "{}"})
	}, reconcile.Approved, ""},
	{"still open", func(w *world) {
		w.request()
		w.open = true
		w.check = func(r reconcile.Review) {
			if !slices.Equal(r.Owners, []string{"@ann", "@acme/edge"}) {
				w.t.Errorf("owners %q", r.Owners)
			}
		}
	}, reconcile.Pending, "isn't merged"},
	{"older than the gate", func(w *world) {
		w.baseline = w.Push("main", map[string]string{entryFile: line})
		w.check = func(r reconcile.Review) {
			if !r.Baseline || r.Commit != w.baseline {
				w.t.Errorf("review %+v", r)
			}
		}
	}, reconcile.Approved, ""},
	{"taken out and back after the baseline", func(w *world) {
		w.baseline = w.Push("main", map[string]string{entryFile: line})
		w.Push("main", map[string]string{entryFile: ""})
		w.Push("main", map[string]string{entryFile: line})
	}, reconcile.NotApproved, "without a pull request"},
	{"rules that require a code owner", func(w *world) {
		w.byRules(rule(1, true, true))
		p := w.request()
		w.Review(p, "cid", "APPROVED")
		w.Merge(p, "merge")
	}, reconcile.Approved, ""},
	{"rules, read to the last page", func(w *world) {
		w.PageSize(1)
		w.byRules(map[string]any{"type": "deletion"}, map[string]any{"type": "of_next_year", "parameters": map[string]any{"x": 1}}, rule(0, false, false), rule(1, true, true))
		p := w.request()
		w.Review(p, "cid", "APPROVED")
		w.Merge(p, "merge")
	}, reconcile.Approved, ""},
	{"rules that require no code owner", func(w *world) {
		w.byRules(rule(1, false, true))
		p := w.request()
		w.Review(p, "cid", "APPROVED")
		w.Merge(p, "merge")
	}, reconcile.NotApproved, "don't require that a code owner"},
	{"rules that require nothing", func(w *world) {
		w.byRules()
		p := w.request()
		w.Review(p, "ann", "APPROVED")
		w.Merge(p, "merge")
	}, reconcile.NotApproved, "don't require an approval"},
	{"rules that an administrator went around", func(w *world) { w.byRules(rule(1, true, true)); w.Merge(w.request(), "squash") }, reconcile.NotApproved, "went around"},
}

// byRules makes the story one of the gate that reads the branch's rules, with a token that can't read teams.
func (w *world) byRules(rules ...any) {
	w.mode = reconcile.GateRules
	w.Token(storyToken, Reader())
	w.Rules(rules...)
}

func rule(approvals int, owner, dismiss bool) any {
	return map[string]any{"type": "pull_request", "ruleset_source_type": "Repository", "ruleset_id": 1, "parameters": map[string]any{
		"required_approving_review_count": approvals, "require_code_owner_review": owner, "dismiss_stale_reviews_on_push": dismiss, "require_last_push_approval": false, "required_review_thread_resolution": false}}
}

// Run tells whole stories, from the request to the merge, and asks the reviewer that open makes how the entry was approved. The reviewer's clock must not wait.
func Run(t *testing.T, open func(*testing.T, *Server, Setup) reconcile.Reviewer) {
	for _, s := range stories {
		t.Run(strings.ReplaceAll(s.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			w := &world{Server: New(t, "acme/catalog"), t: t, mode: reconcile.GateReviews}
			w.Push("main", map[string]string{".github/CODEOWNERS": "* @platform-lead\n/images/ @ann @acme/edge\n", "CODEOWNERS": "* @bob\n"})
			for _, login := range []string{"ann", "bob", "cid", "dev"} {
				w.Role(login, "write")
			}
			w.Team("edge", "someone", "Cid")
			p := Reader()
			p["members"] = "read"
			w.Token(storyToken, p)
			s.tell(w)
			got, err := open(t, w.Server, Setup{Mode: w.mode, Token: storyToken, Introduced: w.introduced, Declares: declares}).Review(t.Context(), entry(t))
			if err != nil {
				t.Fatal(err)
			}
			if got.State != s.state || !strings.Contains(got.Reason, s.says) || (s.state == reconcile.Approved) != (got.Reason == "") || strings.ContainsAny(got.Reason, "\n\r") {
				t.Errorf("review %+v\nwant %s, because of %q", got, s.state, s.says)
			}
			if got.Commit == "" || got.State == reconcile.Approved && !got.Baseline && (got.PullRequest == 0 || got.Author != "dev" || got.URL == "" || len(got.Approvers) == 0) {
				t.Errorf("the review doesn't tell who approved what: %+v", got)
			}
			if w.check != nil {
				w.check(got)
			}
		})
	}
}

// String names a pull request in failures.
func (p *Pull) String() string { return fmt.Sprintf("#%d", p.Number) }
