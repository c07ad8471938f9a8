package report

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText is the most characters that one piece of foreign text may take in a report.
const maxText = 500

// Plain makes text from images, registries and pull requests safe to print at a terminal and in a log: one line, no control or
// direction-changing characters, no invalid UTF-8, bounded in length.
func Plain(s string) string {
	if len(s) > 8*maxText {
		s = s[:8*maxText]
	}
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > maxText {
			b.WriteString("…")
			break
		}
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			b.WriteByte(' ')
		case r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r):
			b.WriteRune('\ufffd')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// code shows foreign text in Markdown. Inside of <code>, GitHub links no mention, issue or address; the entities keep the text
// from ending it.
func code(s string) string {
	if s == "" {
		return ""
	}
	return "<code>" + entities(Plain(s)) + "</code>"
}

func entities(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r == ' ' || r == ',' || r == '.' || r == ';' || unicode.IsLetter(r) || unicode.IsDigit(r) {
			b.WriteRune(r)
			continue
		}
		fmt.Fprintf(&b, "&#%d;", r)
	}
	return b.String()
}

// size writes bytes the way people read them.
func size(n int64) string {
	const unit = 1000
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, i := float64(n)/unit, 0
	for ; value >= unit && i < 4; i++ {
		value /= unit
	}
	return fmt.Sprintf("%.1f %cB", value, "kMGTP"[i])
}
