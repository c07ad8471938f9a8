package catalog

import (
	"bytes"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

// Format gives a file its canonical layout: indentation, alignment, line ends, at most one empty line between two others, and one
// line end at the end. Comments and the order of what is written stay, and so does the meaning. A file with a syntax error
// is refused. To format what is formatted changes nothing.
func Format(src []byte, filename string) ([]byte, hcl.Diagnostics) {
	if _, diags := parseFile(src, filename); diags.HasErrors() {
		return nil, diags
	}
	src = bytes.ReplaceAll(src, []byte("\r\n"), []byte("\n"))
	// hclwrite aligns a comment that follows a value with those of the lines around it, which one pass over lines that were not aligned
	// yet may not settle
	for range 4 {
		next := hclwrite.Format(fewerEmptyLines(src))
		if bytes.Equal(next, src) {
			break
		}
		src = next
	}
	return src, nil
}

// fewerEmptyLines drops empty lines at the file's ends and all but one elsewhere, save in strings and comments.
func fewerEmptyLines(src []byte) []byte {
	tokens, _ := hclsyntax.LexConfig(src, "", hcl.InitialPos)
	var out bytes.Buffer
	end, ends := 0, 2 // ends counts the line ends since the last word
	for _, t := range tokens {
		space := src[end:t.Range.Start.Byte]
		end = t.Range.End.Byte
		newline := t.Type == hclsyntax.TokenNewline
		if newline && ends >= 2 {
			continue
		}
		out.Write(space)
		out.Write(t.Bytes)
		switch {
		case newline:
			ends++
		case t.Type == hclsyntax.TokenComment && bytes.HasSuffix(t.Bytes, []byte("\n")):
			ends = 1
		case t.Type == hclsyntax.TokenEOF:
		default:
			ends = 0
		}
	}
	text := bytes.TrimRight(out.Bytes(), " \t\n")
	if len(text) == 0 {
		return nil
	}
	return append(text, '\n')
}
