package main

import (
	"bytes"
	"io"
	"os"

	"golang.org/x/term"
)

// painter colours the lines of a terminal that tell a verdict.
type painter struct{ w io.Writer }

// verdicts are the beginnings of such lines, as reconcile, run and demo print them.
var verdicts = []struct{ begin, colour string }{
	{"equal, to the bit", "\x1b[32m"},
	{"verdict: EQUAL", "\x1b[32m"},
	{"DIFFER", "\x1b[31m"},
	{"ALERT", "\x1b[31m"},
	{"BUG:", "\x1b[31m"},
	{"verdict: differs", "\x1b[31m"},
}

// Write implements io.Writer for whole lines; anything else passes as it is.
func (p painter) Write(b []byte) (int, error) {
	for _, v := range verdicts {
		if line, whole := bytes.CutSuffix(b, []byte("\n")); whole && bytes.HasPrefix(b, []byte(v.begin)) {
			if _, err := io.WriteString(p.w, v.colour+string(line)+"\x1b[0m\n"); err != nil {
				return 0, err
			}
			return len(b), nil
		}
	}
	return p.w.Write(b)
}

// isTerminal tells whether people watch what is written.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// coloured returns w with colours where it is a terminal, unless NO_COLOR is set.
func coloured(w io.Writer) io.Writer {
	if !isTerminal(w) || os.Getenv("NO_COLOR") != "" {
		return w
	}
	return painter{w}
}
