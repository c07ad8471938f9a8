package report

import (
	"bytes"
	"flag"
	"html"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	render "github.com/yuin/goldmark/renderer/html"
)

var look = flag.String("look", "", "write a page with all golden comments to this `file`, for a person to look at")

// style is plain, and near enough to how GitHub shows a comment.
const style = `body { font: 14px/1.5 -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; max-width: 920px; margin: 2em auto; color: #1f2328; }
section { border: 1px solid #d1d9e0; border-radius: 6px; margin: 1em 0 3em; padding: 0 16px 16px; overflow-x: auto; }
h2 { margin-top: 2em; } h3 { font-size: 1.25em; border-bottom: 1px solid #d1d9e0b3; padding-bottom: .3em; }
code { font: 85% ui-monospace, SFMono-Regular, Menlo, monospace; background: #818b981f; padding: .2em .4em; border-radius: 6px; }
table { border-collapse: collapse; display: block; width: max-content; max-width: 100%; overflow: auto; } th, td { border: 1px solid #d1d9e0; padding: 6px 13px; text-align: left; }
tr:nth-child(2n) { background: #f6f8fa; } blockquote { margin: 0; padding: 0 1em; color: #59636e; border-left: .25em solid #d1d9e0; } sub { color: #59636e; }`

// TestLook shows each golden comment as GitHub would.
func TestLook(t *testing.T) {
	if *look == "" {
		t.Skip("make look writes the page")
	}
	files, err := filepath.Glob("testdata/*.golden.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden comments, %v", err)
	}
	md := goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithRendererOptions(render.WithUnsafe()))
	var page bytes.Buffer
	page.WriteString("<!doctype html><meta charset=utf-8><title>Assay's comments</title><style>" + style + "</style>\n")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		page.WriteString("<h2>" + html.EscapeString(strings.TrimSuffix(filepath.Base(file), ".golden.md")) + "</h2><section>\n")
		if err := md.Convert(text, &page); err != nil {
			t.Fatal(err)
		}
		page.WriteString("</section>\n")
	}
	if err := os.WriteFile(*look, page.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
