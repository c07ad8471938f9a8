package github

import (
	"regexp"
	"strings"
	"unicode"
)

// codeownersPlaces are where GitHub looks for the file; the first that there is counts ("About code owners" in GitHub's documentation).
var codeownersPlaces = []string{".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS"}

// maxCodeowners is the size from which on GitHub doesn't read the file.
const maxCodeowners = 3 << 20

// An ownerRule is one line of CODEOWNERS.
type ownerRule struct {
	Pattern string
	Owners  []string // "@person", "@organization/team" or an address; empty: the paths have no owner
}

var (
	ownerPerson  = regexp.MustCompile(`^@[A-Za-z0-9_-]+$`)
	ownerTeam    = regexp.MustCompile(`^@[A-Za-z0-9-]+/[A-Za-z0-9_.-]+$`)
	ownerAddress = regexp.MustCompile(`^[^@\s]+@[^@\s]+\.[^@\s]+$`)
)

// ownersOf returns the line that says who owns a file: the last whose pattern matches. Lines that GitHub finds invalid are skipped, as it skips them.
// The file may be hostile: the work is bounded by its length times that of the path.
func ownersOf(codeowners, path string) (ownerRule, bool) {
	var found ownerRule
	is := false
	parts := strings.Split(path, "/")
	for line := range strings.SplitSeq(strings.TrimPrefix(codeowners, "\ufeff"), "\n") {
		if r, ok := parseOwnerRule(line); ok && matchesPath(r.Pattern, parts) {
			found, is = r, true
		}
	}
	return found, is
}

func parseOwnerRule(line string) (ownerRule, bool) {
	words := ownerWords(line)
	if len(words) == 0 {
		return ownerRule{}, false
	}
	r := ownerRule{Pattern: words[0], Owners: words[1:]}
	if strings.HasPrefix(r.Pattern, "!") || strings.HasPrefix(r.Pattern, `\#`) || strings.ContainsAny(r.Pattern, "[]") || strings.Contains(r.Pattern, "***") {
		return ownerRule{}, false
	}
	for _, o := range r.Owners {
		if !ownerPerson.MatchString(o) && !ownerTeam.MatchString(o) && !ownerAddress.MatchString(o) {
			return ownerRule{}, false
		}
	}
	return r, true
}

// ownerWords splits a line at spaces that no backslash stands before, and ends where a word begins with "#".
func ownerWords(line string) []string {
	var words []string
	var word strings.Builder
	escaped := false
	end := func() {
		if word.Len() > 0 {
			words = append(words, word.String())
			word.Reset()
		}
	}
	for _, c := range line {
		switch {
		case escaped:
			word.WriteRune('\\')
			word.WriteRune(c)
			escaped = false
		case c == '\\':
			escaped = true
		case unicode.IsSpace(c):
			end()
		case c == '#' && word.Len() == 0:
			return words
		default:
			word.WriteRune(c)
		}
	}
	end()
	return words
}

// matchesPath tells whether a pattern covers a file. It is that of gitignore, but "/*" at its end doesn't reach into folders.
func matchesPath(pattern string, path []string) bool {
	segments := strings.Split(pattern, "/")
	if pattern == "/" || pattern == "" {
		return false
	}
	switch last := len(segments) - 1; {
	case segments[0] == "":
		segments = segments[1:]
	case last == 0, last == 1 && segments[1] == "":
		segments = append([]string{"**"}, segments...)
	}
	below := segments[len(segments)-1]
	if below == "" {
		below, segments[len(segments)-1] = "**", "**"
	}
	// reach[j]: the segments so far match path[:j]
	reach := make([]bool, len(path)+1)
	reach[0] = true
	for i, s := range segments {
		next := make([]bool, len(path)+1)
		for j := range reach {
			switch {
			case !reach[j]:
			case s != "**":
				if j < len(path) && matchesName(s, path[j]) {
					next[j+1] = true
				}
			case i == len(segments)-1:
				if j < len(path) {
					return true
				}
			default:
				for k := j; k < len(next); k++ {
					next[k] = true
				}
			}
			if s == "**" && reach[j] {
				break // what lies behind is reached already
			}
		}
		reach = next
	}
	if reach[len(path)] {
		return true
	}
	if below == "*" {
		return false
	}
	for _, r := range reach { // a folder was matched, which covers what is in it
		if r {
			return true
		}
	}
	return false
}

// matchesName matches one name of a path: "*" stands for any letters, "?" for one, and a backslash before a letter for that letter.
func matchesName(pattern, name string) bool {
	p, n := []rune(pattern), []rune(name)
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(n) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i+1 < len(p) && p[i] == '\\' && p[i+1] == n[j]:
			i += 2
			j++
		case i < len(p) && p[i] != '\\' && (p[i] == '?' || p[i] == n[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}
