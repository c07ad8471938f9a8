package report

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
)

// gfm reads Markdown as GitHub does: CommonMark with tables and with addresses that become links by themselves.
var gfm = goldmark.New(goldmark.WithExtensions(extension.GFM))

// ours are all the HTML that a report may consist of; what is foreign in it are letters, digits, spaces and entities in a code element.
var ours = regexp.MustCompile(`^(<details><summary>(<code>(?:[\p{L}\p{Nd} ]|&#[0-9]+;)*</code>)?[A-Za-z0-9 ,:—]*</summary>|</details>|<sub>|</sub>)\n?$`)

// snippet is a line of a waiver to ask for.
var snippet = regexp.MustCompile(`^(waiver "[A-Za-z0-9._:@/+-]+" \{|  [a-z]+ += "[A-Za-z0-9._:@/+…-]+"|\})\n$`)

// skeleton is the structure of a report with all that we say, and without what is in code: what is foreign must not show in it.
func skeleton(t testing.TB, md string) string {
	t.Helper()
	source := []byte(md)
	var b strings.Builder
	depth := 0
	html := func(line string) {
		if depth += strings.Count(line, "<details>") - strings.Count(line, "</details>"); depth < 0 {
			t.Fatalf("it closes what isn't open:\n%.3000s", md)
		}
		if !ours.MatchString(line) {
			t.Fatalf("HTML that isn't ours: %q in\n%.3000s", line, md)
		}
		b.WriteString(regexp.MustCompile(`<code>.*</code>`).ReplaceAllString(line, "<code>"))
	}
	err := ast.Walk(gfm.Parser().Parse(text.NewReader(source)), func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			fmt.Fprintf(&b, "/%s ", n.Kind())
			return ast.WalkContinue, nil
		}
		fmt.Fprintf(&b, "%s ", n.Kind())
		switch n := n.(type) {
		case *ast.Document, *ast.Heading, *ast.Paragraph, *ast.TextBlock, *ast.Emphasis, *ast.List, *ast.ListItem, *ast.Blockquote,
			*extast.Table, *extast.TableHeader, *extast.TableRow, *extast.TableCell:
		case *ast.Text:
			b.Write(n.Segment.Value(source))
		case *ast.String:
			b.Write(n.Value)
		case *ast.CodeSpan:
			return ast.WalkSkipChildren, nil
		case *ast.FencedCodeBlock:
			for i := range n.Lines().Len() {
				line := n.Lines().At(i)
				if text := string(line.Value(source)); !snippet.MatchString(text) {
					t.Fatalf("code that isn't ours: %q in\n%.3000s", text, md)
				}
			}
		case *ast.HTMLBlock:
			for i := range n.Lines().Len() {
				line := n.Lines().At(i)
				html(string(line.Value(source)))
			}
			if n.HasClosure() {
				t.Fatalf("an HTML block with an end of its own in\n%.3000s", md)
			}
		case *ast.RawHTML:
			for i := range n.Segments.Len() {
				segment := n.Segments.At(i)
				html(string(segment.Value(source)))
			}
		case *ast.Link:
			if got := string(n.Destination); got != runLink {
				t.Fatalf("a link to %s in\n%.3000s", got, md)
			}
		default:
			t.Fatalf("%s in\n%.3000s", n.Kind(), md)
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if depth != 0 {
		t.Fatalf("%d folds stay open in\n%.3000s", depth, md)
	}
	return b.String()
}

// checkStructure asserts that a report is made of nothing but what we make, that each row has the cells of its table's head, and that
// nothing can be taken for the comment that is found again. It returns the skeleton.
func checkStructure(t testing.TB, md string) string {
	t.Helper()
	structure := skeleton(t, md)
	cells := 0
	for line := range strings.Lines(md) {
		if !strings.HasPrefix(line, "|") {
			cells = 0
			continue
		}
		n := strings.Count(line, "|")
		if cells == 0 {
			cells = n
		}
		if n != cells {
			t.Fatalf("%d bars in a table of %d: %s", n, cells, line)
		}
	}
	if strings.Contains(md, "<!") {
		t.Fatalf("it holds an HTML comment:\n%.3000s", md)
	}
	return structure
}
