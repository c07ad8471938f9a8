package report

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText is the most characters that one piece of foreign text may take in a report.
const maxText = 500

// maxMarks is how many combining marks one character may bear: more reach into other lines.
const maxMarks = 3

// Plain makes text from images, registries and pull requests safe to print at a terminal and in a log: one line, no control, invisible or
// direction-changing characters, no invalid UTF-8, bounded in length.
func Plain(s string) string {
	if len(s) > 8*maxText {
		s = s[:8*maxText]
	}
	var b strings.Builder
	n, marks := 0, 0
	for _, r := range s {
		if n++; n > maxText {
			b.WriteString("…")
			break
		}
		if ' ' <= r && r <= '~' { // nearly all of it, and nothing to look up
			b.WriteByte(byte(r))
			marks = 0
			continue
		}
		if marks++; !unicode.Is(unicode.M, r) {
			marks = 0
		}
		switch {
		case r == '\n' || r == '\r' || r == '\t' || unicode.Is(unicode.Zs, r):
			b.WriteByte(' ')
		case marks > maxMarks || unicode.In(r, unseen...) || r == utf8.RuneError:
			b.WriteRune(utf8.RuneError)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// unseen are characters that show nothing of themselves, or change what is around them.
var unseen = []*unicode.RangeTable{unicode.C, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector,
	unicode.Noncharacter_Code_Point}

// code shows foreign text in Markdown: all of it passes here, but for what stands within HTML. In a code span nothing is markup, and GitHub links no
// mention, issue, commit or address. What has a meaning to those who read the text around it is shown as what looks like it: the backtick, which ends the
// span, the bar, which ends a table's cell, and the beginning of an HTML comment, in which comments keep what is to be found again.
func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + spanned.Replace(Plain(s)) + "`"
}

var spanned = strings.NewReplacer("`", "ˋ", "|", "¦", "<!", "‹!")

// htmlCode is code for what stands within an HTML block, where Markdown isn't read.
func htmlCode(s string) string {
	if s == "" {
		return ""
	}
	return "<code>" + entities(Plain(s)) + "</code>"
}

func entities(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r == ' ' || unicode.IsLetter(r) || unicode.IsDigit(r) {
			b.WriteRune(r)
			continue
		}
		fmt.Fprintf(&b, "&#%d;", r)
	}
	return b.String()
}

// web gives an address to link to as it may stand in Markdown; empty if it is none of http or https.
func web(link string) string {
	u, err := url.Parse(link)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || len(link) > 2000 {
		return ""
	}
	for _, r := range link {
		if r <= ' ' || r > '~' || strings.ContainsRune("()<>[]\\`|\"", r) {
			return ""
		}
	}
	return link
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
