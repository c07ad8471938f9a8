package catalog

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/assay-oci/assay/reconcile"
)

// ownerFiles are the places of a repository's CODEOWNERS; the first that is there counts.
var ownerFiles = []string{".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS"}

// maxOwners bounds a CODEOWNERS file that is read, in bytes; GitHub reads none that is larger than 3 MB.
const maxOwners = 3 << 20

// owners are the code owners of a commit: the lines that say something, without layout and comments.
type owners struct {
	file    string // empty if there is none
	lines   []string
	at      map[string]int // of a line, its first place in the file
	trouble error
}

// readOwners reads them from a catalog that is the whole repository. One in a folder of it doesn't show the file.
func readOwners(fsys fs.FS) owners {
	for _, name := range ownerFiles {
		if _, err := fs.Stat(fsys, name); err != nil {
			continue
		}
		o := owners{file: name, at: map[string]int{}}
		text, err := readPlain(fsys, name, maxOwners)
		if err != nil {
			o.trouble = err
			return o
		}
		n := 0
		for line := range strings.Lines(string(text)) {
			n++
			line, _, _ = strings.Cut(line, " #")
			line = strings.Join(strings.Fields(line), " ")
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			o.lines = append(o.lines, line)
			if o.at[line] == 0 {
				o.at[line] = n
			}
		}
		return o
	}
	return owners{}
}

// ownersChange tells of code owners that the pull request changes. Those who must approve it are those of base.
func (l *loader) ownersChange() {
	was, is := readOwners(l.base.fsys), readOwners(l.head.fsys)
	if was.file == is.file && slices.Equal(was.lines, is.lines) && fmt.Sprint(was.trouble) == fmt.Sprint(is.trouble) {
		return
	}
	gained, lost := without(is.lines, was.lines), without(was.lines, is.lines)
	f := reconcile.Finding{Rule: "policy-change", Origin: reconcile.Origin{File: is.file, Line: 1},
		Detail: "Who must approve this pull request is what was merged before."}
	var said []string
	switch {
	case is.file == "":
		said, f.ID, f.Origin = append(said, "the file is removed"), string(loosened), reconcile.Origin{}
	case is.trouble != nil:
		said = append(said, fmt.Sprintf("the file can't be read: %v", is.trouble))
	case was.file == "":
		said, f.ID = append(said, "there are none so far"), string(tightened)
	case was.file != is.file:
		said = append(said, fmt.Sprintf("%s counts in place of %s", is.file, was.file))
	}
	if len(gained) > 0 {
		f.Origin.Line = is.at[gained[0]]
		said = append(said, "gains "+someLines(gained))
	}
	if len(lost) > 0 {
		said = append(said, "loses "+someLines(lost))
	}
	if len(said) == 0 {
		said = []string{"their order"}
	}
	f.Summary = "the code owners are changed: " + strings.Join(said, "; ")
	l.desired.Changes = append(l.desired.Changes, f)
}

func someLines(lines []string) string {
	const most = 5
	shown := make([]string, 0, most)
	for _, line := range lines[:min(len(lines), most)] {
		shown = append(shown, fmt.Sprintf("%q", brief(line)))
	}
	out := strings.Join(shown, ", ")
	if more := len(lines) - most; more > 0 {
		out += fmt.Sprintf(" and %d more", more)
	}
	return out
}
