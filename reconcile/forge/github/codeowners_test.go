package github

import (
	"strings"
	"testing"
	"time"
)

// The rows are those of "About code owners" in GitHub's documentation, and what its readers asked about.
func TestMatchesPath(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"*", "a.hcl", true},
		{"*", "deep/er/a.hcl", true},
		{"*.hcl", "images/a.hcl", true},
		{"*.hcl", "images/a.hcl.txt", false},
		{"/build/logs/", "build/logs/x/y.log", true},
		{"/build/logs/", "deep/build/logs/y.log", false},
		{"docs/*", "docs/a.md", true},
		{"docs/*", "docs/build/a.md", false},
		{"apps/", "x/apps/y/z.go", true},
		{"/docs/", "docs/a/b", true},
		{"/scripts", "scripts/x", true},
		{"/scripts", "scripts", true},
		{"/scripts", "deep/scripts/x", false},
		{"**/logs", "build/logs/x", true},
		{"**/logs", "logs/x", true},
		{"/apps/**/x.hcl", "apps/x.hcl", true},
		{"/apps/**/x.hcl", "apps/a/b/x.hcl", true},
		{"/apps/**/x.hcl", "b/apps/x.hcl", false},
		{"/apps/github", "apps/github/x", true},
		{"images/pay*", "images/payments/x.hcl", true},
		{"images/nginx.hcl", "deep/images/nginx.hcl", false},
		{"/a/**", "a", false},
		{"/a/**", "a/b", true},
		{"**", "a/b", true},
		{"/", "a", false},
		{`with\ space.hcl`, "with space.hcl", true},
		{"Images/", "images/x", false},
		{"?.hcl", "a.hcl", true},
		{"?.hcl", "ab.hcl", false},
		{"a*b*c", "aXbXbXc", true},
	} {
		if got := matchesPath(c.pattern, strings.Split(c.path, "/")); got != c.want {
			t.Errorf("%q on %q: %t, want %t", c.pattern, c.path, got, c.want)
		}
	}
}

func TestOwnersOf(t *testing.T) {
	file := "\ufeff# everything\n" +
		"*  @acme/platform # the platform team\r\n" +
		"/images/   @acme/edge @ann\n" +
		"/images/nginx.hcl @not!valid\n" + // skipped: the line before it counts
		"[a-z].hcl @bob\n!x.hcl @bob\n\\#x @bob\n" +
		strings.Repeat("#", 70_000) + "\n" + // a line of any length
		"/images/open.hcl\n" +
		"/images/mail.hcl ops@example.com\n"
	for path, want := range map[string]string{
		"catalog.hcl":      "* @acme/platform",
		"images/nginx.hcl": "/images/ @acme/edge @ann",
		"images/open.hcl":  "/images/open.hcl",
		"images/mail.hcl":  "/images/mail.hcl ops@example.com",
		"x.hcl":            "* @acme/platform",
	} {
		r, ok := ownersOf(file, path)
		if got := strings.Join(append([]string{r.Pattern}, r.Owners...), " "); !ok || got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if _, ok := ownersOf("", "a"); ok {
		t.Error("an empty file names an owner")
	}
}

// A file that is made to be slow takes no time worth naming.
func TestOwnersOfAHostileFileTakesNoTime(t *testing.T) {
	start := time.Now()
	ownersOf(strings.Repeat(strings.Repeat("**/*a", 200)+" @x\n", 2500), strings.Repeat("a/", 100)+"b")
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
}

func FuzzOwnersOf(f *testing.F) {
	f.Add("* @a\n/x/ @b/c # d\n\\", "x/y")
	f.Fuzz(func(t *testing.T, file, path string) {
		if r, ok := ownersOf(file, path); ok && r.Pattern == "" {
			t.Error("a rule without a pattern")
		}
	})
}
