package catalog

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// The parser of hclsyntax calls itself for each bracket, each unary operator and each branch of a conditional, and a Go program can't recover from
// an exhausted stack. So we count these among the tokens before we parse. No honest catalog comes near the limits.
const (
	maxNesting   = 64      // brackets in brackets
	maxOperators = 1000    // operators, indexes and template sequences in one file
	maxMarks     = 350_000 // words and punctuation marks in one file: each may become a token of a hundred bytes
	maxNumber    = 18      // characters of a number: an exponent such as 1e999999999 costs a gigabyte once it is printed
)

// maxFileDiagnostics bounds the syntax errors that we keep of one file.
const maxFileDiagnostics = 20

// parseFile parses one file that may be hostile.
func parseFile(src []byte, name string) (*hcl.File, hcl.Diagnostics) {
	if d := checkText(src, name); d != nil {
		// no snippet: a terminal shall not see what was refused
		return nil, hcl.Diagnostics{d}
	}
	if d := checkTokens(src, name); d != nil {
		return nil, hcl.Diagnostics{d}
	}
	f, diags := hclsyntax.ParseConfig(src, name, hcl.InitialPos)
	if len(diags) > maxFileDiagnostics {
		diags = diags[:maxFileDiagnostics]
	}
	return f, diags
}

// checkText refuses bytes that would make a file look different from what it says.
func checkText(src []byte, name string) *hcl.Diagnostic {
	marks := 0
	for i, line := 0, 1; i < len(src); {
		if src[i] < utf8.RuneSelf {
			switch c := src[i]; {
			case c > ' ' && c < '0', c > '9' && c < 'A', c > 'Z' && c < 'a' && c != '_', c > 'z' && c < 0x7f:
				marks++
			case c == '\n':
				line++
			case c == ' ':
				if i+1 < len(src) && src[i+1] > ' ' { // a word begins
					marks++
				}
			case c < ' ' && c != '\t' && !bytes.HasPrefix(src[i:], []byte("\r\n")), c == 0x7f:
				return mistake(lineRange(name, line, i), "Control character", "The character U+%04X is not allowed in a catalog.", c)
			}
			if marks > maxMarks {
				return mistake(lineRange(name, line, i), "Too many words", "The file has more than %d words and punctuation marks. Split it.", maxMarks)
			}
			i++
			continue
		}
		r, n := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && n <= 1 {
			return mistake(lineRange(name, line, i), "Invalid character encoding", "The file is not UTF-8.")
		}
		if unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Cc, r) || r == '\u2028' || r == '\u2029' {
			return mistake(lineRange(name, line, i), "Invisible character",
				"The character U+%04X is invisible or changes the direction of text, so the file may say other things than a reviewer sees.", r)
		}
		i += n
	}
	return nil
}

func lineRange(name string, line, offset int) hcl.Range {
	p := hcl.Pos{Line: line, Column: 1, Byte: offset}
	return hcl.Range{Filename: name, Start: p, End: p}
}

// checkTokens refuses what would exhaust the parser.
func checkTokens(src []byte, name string) *hcl.Diagnostic {
	tokens, _ := hclsyntax.LexConfig(src, name, hcl.InitialPos)
	depth, operators := 0, 0
	for i, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl,
			hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc:
			depth++
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenTemplateSeqEnd,
			hclsyntax.TokenCQuote, hclsyntax.TokenCHeredoc:
			depth--
		case hclsyntax.TokenNumberLit:
			if len(t.Bytes) > maxNumber || bytes.ContainsAny(t.Bytes, "eE") {
				return mistake(t.Range, "Number out of range", "A number has at most %d digits and no exponent.", maxNumber)
			}
		}
		if isOperator(t, i, tokens) {
			operators++
		}
		if depth > maxNesting {
			return mistake(t.Range, "Nested too deep", "Brackets are nested more than %d deep.", maxNesting)
		}
		if operators > maxOperators {
			return mistake(t.Range, "Too many operators", "The file has more than %d operators.", maxOperators)
		}
	}
	return nil
}

func isOperator(t hclsyntax.Token, i int, all hclsyntax.Tokens) bool {
	switch t.Type {
	case hclsyntax.TokenStar, hclsyntax.TokenSlash, hclsyntax.TokenPlus, hclsyntax.TokenMinus, hclsyntax.TokenPercent,
		hclsyntax.TokenEqualOp, hclsyntax.TokenNotEqual, hclsyntax.TokenLessThan, hclsyntax.TokenLessThanEq, hclsyntax.TokenGreaterThan,
		hclsyntax.TokenGreaterThanEq, hclsyntax.TokenAnd, hclsyntax.TokenOr, hclsyntax.TokenBang, hclsyntax.TokenDot, hclsyntax.TokenQuestion,
		hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl, hclsyntax.TokenDoubleColon:
		return true
	case hclsyntax.TokenOBrack: // an index
		if i > 0 {
			switch all[i-1].Type {
			case hclsyntax.TokenIdent, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenCBrace, hclsyntax.TokenCQuote, hclsyntax.TokenNumberLit:
				return true
			}
		}
	}
	return false
}

// fingerprint says what a piece of HCL says, whatever its layout and comments: two pieces with one fingerprint mean the same.
func fingerprint(f *hcl.File, r hcl.Range) string {
	tokens, _ := hclsyntax.LexConfig(f.Bytes[r.Start.Byte:r.End.Byte], "", hcl.InitialPos)
	var b strings.Builder
	brackets := 0
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenOBrack, hclsyntax.TokenOParen:
			brackets++
		case hclsyntax.TokenCBrack, hclsyntax.TokenCParen:
			brackets--
		}
		switch {
		case t.Type == hclsyntax.TokenComment:
			if bytes.HasSuffix(t.Bytes, []byte("\n")) { // a comment to the end of the line takes the line's end with it
				b.WriteByte('\n')
			}
		case t.Type == hclsyntax.TokenEOF, t.Type == hclsyntax.TokenNewline && brackets > 0:
		case t.Type == hclsyntax.TokenNewline:
			b.WriteByte('\n')
		default:
			fmt.Fprintf(&b, "%d:%s ", len(t.Bytes), t.Bytes)
		}
	}
	return squeeze(b.String())
}

// squeeze drops empty lines.
func squeeze(s string) string {
	var out []string
	for l := range strings.SplitSeq(s, "\n") {
		if strings.TrimSpace(l) != "" {
			out = append(out, l)
		}
	}
	return strings.Join(out, "\n")
}

// literal refuses expressions that compute something. It walks no deeper than the parser did.
func literal(e hclsyntax.Expression) *hcl.Diagnostic {
	switch e := e.(type) {
	case *hclsyntax.LiteralValueExpr:
		return nil
	case *hclsyntax.TemplateExpr:
		for _, p := range e.Parts {
			if _, ok := p.(*hclsyntax.LiteralValueExpr); !ok {
				return computed(p)
			}
		}
		return nil
	case *hclsyntax.TupleConsExpr:
		for _, x := range e.Exprs {
			if d := literal(x); d != nil {
				return d
			}
		}
		return nil
	case *hclsyntax.ObjectConsExpr:
		for _, it := range e.Items {
			if hcl.ExprAsKeyword(it.KeyExpr) == "" {
				k, ok := it.KeyExpr.(*hclsyntax.ObjectConsKeyExpr)
				if !ok || k.ForceNonLiteral {
					return computed(it.KeyExpr)
				}
				if d := literal(k.Wrapped); d != nil {
					return d
				}
			}
			if d := literal(it.ValueExpr); d != nil {
				return d
			}
		}
		return nil
	}
	return computed(e)
}

func computed(e hclsyntax.Expression) *hcl.Diagnostic {
	return mistake(e.Range(), "Computed value", "Nothing is computed in a catalog: write the value itself. "+
		"Variables, functions, operators and templates are allowed inside rule blocks alone (write $${ for a literal ${).")
}
