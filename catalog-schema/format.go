package catalog

import (
	"bytes"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

// Format gives a file its canonical layout: indentation, alignment, line ends, one empty line at most between two others, one line end at the end. Comments and the
// order of what is written stay. A file with a syntax error is refused. Formatting what is formatted changes nothing.
func Format(src []byte, filename string) ([]byte, hcl.Diagnostics) {
	if _, diags := parseFile(src, filename); diags.HasErrors() {
		return nil, diags
	}
	return hclwrite.Format(bytes.ReplaceAll(src, []byte("\r\n"), []byte("\n"))), nil
}
