package main

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Rules of the terminal: data goes to stdout, progress and messages to stderr. Messages begin in lower case and have no full stop.
// Colour is for terminals alone, and never with NO_COLOR (https://no-color.org).

// stdio is where a command reads and writes, so that tests can give their own.
type stdio struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func coloured(w io.Writer) bool {
	return terminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
