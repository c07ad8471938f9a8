package report

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// A document is Markdown in sections. It is shortened by leaving out whole items, never inside of one.
type document struct {
	title    string
	sections []*section // in the order in which they stand
}

// A section is a heading with items. Without an item it isn't written.
type section struct {
	rank    rank
	head    string
	items   []string
	tail    string
	noun    [2]string // what an item is called, one and many
	biggest bool      // of its items the biggest goes first, not the last

	left int // how many items were left out
	size int // characters
}

// rank says in what order sections lose their items to a limit.
type rank int

// The ranks, from what goes first.
const (
	rankFolded rank = iota
	rankAside
	rankAdvice
	rankRow
	rankOutcome
	rankPolicy
)

func (s *section) add(item string) {
	if item != "" {
		s.items = append(s.items, item)
	}
}

func (s *section) measure() {
	s.size = 0
	if len(s.items) == 0 {
		return
	}
	s.size = utf8.RuneCountInString(s.head) + utf8.RuneCountInString(s.tail)
	for _, item := range s.items {
		s.size += utf8.RuneCountInString(item)
	}
}

// shorten leaves out as many items as it takes to need no more than room characters.
func (s *section) shorten(room int) {
	order := make([]int, len(s.items)) // of items, those that stay longest first
	size := make([]int, len(s.items))
	for i, item := range s.items {
		order[i], size[i] = i, utf8.RuneCountInString(item)
	}
	if s.biggest {
		slices.SortStableFunc(order, func(a, b int) int { return size[a] - size[b] })
	}
	total := s.size
	keep := len(order)
	for ; keep > 0 && total > room; keep-- {
		total -= size[order[keep-1]]
	}
	s.left += len(order) - keep
	kept := slices.Sorted(slices.Values(order[:keep]))
	items := make([]string, 0, keep)
	for _, i := range kept {
		items = append(items, s.items[i])
	}
	s.items = items
	s.measure()
}

// render writes the document in at most limit characters; 0 is no limit. What is left out is said at the end, with a link to the whole.
func (d *document) render(limit int, link string) string {
	total := utf8.RuneCountInString(d.title)
	note := 0
	for _, s := range d.sections {
		s.measure()
		total += s.size
		note += 2 * (len(s.noun[1]) + 24)
	}
	if limit == 0 || total <= limit {
		return d.text() // nothing is left out
	}
	end := shortened(link, nil)
	room := limit - note - utf8.RuneCountInString(end)
	for r := rankFolded; r <= rankPolicy && total > room; r++ {
		for _, s := range slices.Backward(d.sections) {
			if s.rank == r && total > room {
				had := s.size
				s.shorten(room - (total - had))
				total += s.size - had
			}
		}
	}
	for _, out := range []string{d.text() + shortened(link, d.sections), d.title + end, d.title} {
		if utf8.RuneCountInString(out) <= limit {
			return out
		}
	}
	return ""
}

func (d *document) text() string {
	var b strings.Builder
	b.WriteString(d.title)
	for _, s := range d.sections {
		if len(s.items) > 0 {
			b.WriteString(s.head + strings.Join(s.items, "") + s.tail)
		}
	}
	return b.String()
}

// shortened says what was left out.
func shortened(link string, sections []*section) string {
	var parts []string
	for _, s := range sections {
		if s.left > 0 {
			parts = append(parts, fmt.Sprintf("%d of %s", s.left, counted(s.left+len(s.items), s.noun[0], s.noun[1])))
		}
	}
	out := "**Shortened.**"
	if len(parts) > 0 {
		out = "**Shortened:** without " + strings.Join(parts, ", ") + "."
	}
	if address := web(link); address != "" {
		out += " [The whole report](" + address + ")"
	}
	return out + "\n"
}
