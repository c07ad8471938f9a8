package program

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"unicode"
)

const (
	maxErrors = 4 << 10 // bytes of standard error that are kept
	maxLine   = 200     // bytes of its last line that are shown
	maxReason = 400     // bytes of a reason
)

// Printable makes one short line of hostile words.
func Printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "") + "…"
	}
	return s
}

// A limitedBuffer keeps so much and no more.
type limitedBuffer struct {
	mu   sync.Mutex
	b    bytes.Buffer
	max  int64
	full func()
	more bool
}

func (l *limitedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if int64(l.b.Len())+int64(len(p)) > l.max {
		l.more = true
		l.full()
		return 0, io.ErrShortWrite
	}
	return l.b.Write(p)
}

func (l *limitedBuffer) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.more
}

// A tail keeps the end of what is written.
type tail struct {
	b   []byte
	max int
}

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p[max(0, len(p)-t.max):]...)
	t.b = t.b[max(0, len(t.b)-t.max):]
	return len(p), nil
}

func (t *tail) lastLine() string {
	lines := strings.Split(strings.TrimSpace(string(t.b)), "\n")
	last := lines[len(lines)-1]
	return last[max(0, len(last)-maxLine):]
}
