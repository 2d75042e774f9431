package definition

import (
	"errors"
	"io"
	"sort"
	"strings"

	"gopkg.in/yaml.v3"
)

// faultLine returns the line, from 1, that spoils a file that is no YAML: the
// one after the longest run of lines from the top that is YAML by itself. The
// YAML library tells, by kind of fault, that line, the one before it, or where
// the block around it begins. told stands where the file is too long for this.
func (p *parser) faultLine(told int) int {
	const (
		maxBytes = 200_000 // a search parses the file some hundred times
		beyond   = 100     // lines that one bracket or quoted text may span
	)
	size := 0
	for _, l := range p.lines {
		size += len(l) + 1
	}
	if size > maxBytes {
		return told
	}
	good := 0
	for next := true; next; {
		good += sort.Search(len(p.lines)-good, func(n int) bool { return !p.soundUpTo(good + n + 1) })
		next = false
		for n := good + 2; n <= min(good+beyond, len(p.lines)); n++ {
			if p.soundUpTo(n) { // the lines between are one bracket's or text's, and in order
				good, next = n, true
				break
			}
		}
	}
	return min(good+1, len(p.lines))
}

// soundUpTo tells whether the first n lines are YAML by themselves.
func (p *parser) soundUpTo(n int) bool {
	dec := yaml.NewDecoder(strings.NewReader(strings.Join(p.lines[:n], "\n") + "\n"))
	var err error
	for err == nil {
		var doc yaml.Node
		err = dec.Decode(&doc)
	}
	return errors.Is(err, io.EOF)
}
