package forgetest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A Repository is a real Git repository with the pull requests into its branch "main".
type Repository struct {
	Dir string // a working tree; main is checked out between the methods

	t      testing.TB
	name   string // "owner/name"
	pulls  []*Pull
	queued []*Pull // as they will be once their group has landed
}

// A Pull is a pull request.
type Pull struct {
	Number  int
	Author  string
	Branch  string // its own
	Into    string // the one that it shall be merged into
	Head    string
	Fork    string // whose fork it comes from; empty: from the repository itself
	Merge   string // the commit that merged it; empty while it is open
	Reviews []Review

	commits []string // those on its branch, and those that the merge made
	from    string   // where its branch and the one that it was merged into parted
	merged  time.Time
}

// A Review is one of a pull request.
type Review struct {
	ID     int64
	Login  string // empty: the account is gone
	Type   string // "User" or "Bot"
	State  string
	Commit string
	At     time.Time
}

func newRepository(t testing.TB, name string) *Repository {
	t.Helper()
	r := &Repository{Dir: t.TempDir(), t: t, name: name}
	r.Git("init", "-q", "-b", "main")
	r.Git("commit", "-q", "--allow-empty", "-m", "begin")
	return r
}

// Git runs the git command in the working tree.
func (r *Repository) Git(args ...string) string {
	r.t.Helper()
	out, err := r.tryGit(args...)
	if err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return out
}

func (r *Repository) tryGit(args ...string) (string, error) {
	cmd := exec.CommandContext(context.Background(), "git", args...)
	cmd.Dir = r.Dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
		"GIT_AUTHOR_DATE=2026-01-02T00:00:00Z", "GIT_COMMITTER_DATE=2026-01-02T00:00:00Z")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// Push commits files to a branch, without a pull request. Empty content deletes a file.
func (r *Repository) Push(branch string, files map[string]string) string {
	r.t.Helper()
	r.Git("checkout", "-q", branch)
	for name, content := range files {
		p := filepath.Join(r.Dir, filepath.FromSlash(name))
		if content == "" {
			r.Git("rm", "-q", name)
			continue
		}
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
	r.Git("add", "-A")
	r.Git("commit", "-q", "--allow-empty", "-m", "change")
	head := r.Git("rev-parse", "HEAD")
	r.Git("checkout", "-q", "main")
	return head
}

// Propose opens a pull request into main with one commit.
func (r *Repository) Propose(author string, files map[string]string) *Pull {
	r.t.Helper()
	return r.ProposeInto("main", author, files)
}

// ProposeInto opens a pull request into another branch.
func (r *Repository) ProposeInto(branch, author string, files map[string]string) *Pull {
	r.t.Helper()
	p := &Pull{Number: len(r.pulls) + 1, Author: author, Into: branch}
	p.Branch = fmt.Sprintf("request-%d", p.Number)
	r.Git("branch", p.Branch, branch)
	r.pulls = append(r.pulls, p)
	r.Amend(p, files)
	return p
}

// ProposeFrom opens a pull request into main whose branch lies in somebody's fork.
func (r *Repository) ProposeFrom(owner, author string, files map[string]string) *Pull {
	r.t.Helper()
	p := r.Propose(author, files)
	p.Fork = owner
	return p
}

// repository is the full name of the one that a pull request's branch lies in.
func (p *Pull) repository(own string) string {
	if p.Fork == "" {
		return own
	}
	_, name, _ := strings.Cut(own, "/")
	return p.Fork + "/" + name
}

// Amend pushes one more commit to a pull request. Approvals stay, and are stale.
func (r *Repository) Amend(p *Pull, files map[string]string) {
	r.t.Helper()
	p.Head = r.Push(p.Branch, files)
	p.commits = append(p.commits, p.Head)
}

// Review adds a person's review of the head of a pull request: APPROVED, CHANGES_REQUESTED or COMMENTED.
func (r *Repository) Review(p *Pull, login, state string) {
	r.ReviewAs(p, login, "User", state)
}

// ReviewAs adds the review of a "User" or a "Bot"; an empty login is that of an account that is gone.
func (r *Repository) ReviewAs(p *Pull, login, kind, state string) {
	n := int64(len(p.Reviews) + 1)
	p.Reviews = append(p.Reviews, Review{ID: n, Login: login, Type: kind, State: state, Commit: p.Head, At: time.Date(2026, 1, 1, 0, 0, int(n), 0, time.UTC)})
}

// Dismiss dismisses the last review of a person.
func (r *Repository) Dismiss(p *Pull, login string) {
	for i, x := range slices.Backward(p.Reviews) {
		if x.Login == login {
			p.Reviews[i].State = "DISMISSED"
			return
		}
	}
	r.t.Fatalf("%s has reviewed nothing", login)
}

// Merge merges a pull request: by "merge", "squash" or "rebase". Nobody asks whether it may be.
func (r *Repository) Merge(p *Pull, how string) string {
	r.t.Helper()
	r.merge(p, p.Into, how)
	return p.Merge
}

// Group makes the merge group of a queue, as GitHub does: a branch on which pull requests are merged one after the other. It returns the branch.
func (r *Repository) Group(how string, pulls ...*Pull) string {
	r.t.Helper()
	branch := fmt.Sprintf("gh-readonly-queue/main/pr-%d-%s", pulls[0].Number, r.Git("rev-parse", "main"))
	r.Git("branch", branch, "main")
	for _, p := range pulls {
		open := *p
		r.merge(&open, branch, how)
		r.queued = append(r.queued, &open)
	}
	return branch
}

// Land moves main to a merge group, with one push: its pull requests are merged now. It returns the commits before and after.
func (r *Repository) Land(group string) (before, after string) {
	r.t.Helper()
	before = r.Git("rev-parse", "main")
	r.Git("merge", "-q", "--ff-only", group)
	r.Git("branch", "-q", "-D", group)
	for _, q := range r.queued {
		*r.pulls[q.Number-1] = *q
	}
	r.queued = nil
	return before, r.Git("rev-parse", "main")
}

func (r *Repository) merge(p *Pull, into, how string) {
	r.t.Helper()
	p.from = r.Git("merge-base", into, p.Branch)
	r.Git("checkout", "-q", into)
	before := r.Git("rev-parse", "HEAD")
	switch how {
	case "merge":
		r.Git("merge", "-q", "--no-ff", "-m", "merge", p.Branch)
	case "squash":
		r.Git("merge", "-q", "--squash", p.Branch)
		r.Git("commit", "-q", "--allow-empty", "-m", "squash")
		p.commits = nil // they are nowhere in the branch
	case "rebase":
		r.Git("checkout", "-q", "--detach", p.Branch)
		r.Git("rebase", "-q", "--force-rebase", "--onto", into, p.from)
		rebased := r.Git("rev-parse", "HEAD")
		r.Git("checkout", "-q", into)
		r.Git("merge", "-q", "--ff-only", rebased)
		p.commits = nil
	default:
		r.t.Fatalf("there is no way %q to merge", how)
	}
	r.Merged(p, r.Git("rev-list", "--first-parent", before+"..HEAD"))
	r.Git("checkout", "-q", "main")
}

// Merged notes that commits, one a line and the newest first, merged a pull request, as GitHub does of its own when somebody pushes them.
func (r *Repository) Merged(p *Pull, commits string) {
	list := strings.Fields(commits)
	p.Merge, p.merged = list[0], time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	p.commits = append(p.commits, list...)
}

// of lists the pull requests of a commit: merged ones if it is in their branch, else open ones.
func (r *Repository) of(commit string) []*Pull {
	var merged, open []*Pull
	for _, p := range r.pulls {
		switch {
		case !slices.Contains(p.commits, commit):
		case p.Merge != "":
			merged = append(merged, p)
		case p.Fork == "": // a fork's commits are not found
			open = append(open, p)
		}
	}
	return append(merged, open...)
}
