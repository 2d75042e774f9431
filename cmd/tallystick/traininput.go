package main

import (
	"errors"
	"os"
	"strings"

	"github.com/tallystick/tallystick/batch"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/offline"
)

// checkFlags refuses flags that are not sound by themselves.
func (t *trainFlags) checkFlags() error {
	if t.labels == "" || t.output == "" {
		return usagef("name the label file with --labels and the file to write with --output")
	}
	if k := batch.Knowledge(t.knowledge); k != batch.Complete && k != batch.Arrival {
		return usagef("--knowledge: %q is neither complete nor arrival", t.knowledge)
	}
	switch t.read.Unit {
	case "", "s", "ms", "us":
	default:
		return usagef("--timestamp-unit: %q is none of s, ms and us", t.read.Unit)
	}
	if t.read.Zone != "" {
		if _, err := schemas.NewLocalParser(t.read.Zone, "", "", ""); err != nil {
			return usagef("--timezone: %w", err)
		}
	}
	if err := t.startFlags.check(false); err != nil {
		return err
	}
	inputs := []input{t.definition(), {"label file", t.labels}}
	if err := checkFile("--save-cut", t.saveCut, inputs...); err != nil {
		return err
	}
	if err := checkFile("--output", t.output, append(inputs, input{"cut file", t.cut})...); err != nil {
		return err
	}
	if sameFile(t.output, t.saveCut) {
		return usagef("--save-cut: %s is the file that --output writes: name another", t.saveCut)
	}
	return t.limits.check()
}

// readLabels reads the label file. What is wrong names the flag and the file.
func (t *trainFlags) readLabels(a *asked) (*offline.Labels, error) {
	if err := checkReadable("--labels", t.labels); err != nil {
		return nil, err
	}
	if st, err := os.Stat(t.labels); err == nil && !st.Mode().IsRegular() {
		return nil, usagef("--labels: %s is a pipe or a device, and is read twice: write it to a file first", t.labels)
	}
	t.read.Keys = a.keys
	l, err := offline.ReadLabels(t.labels, t.read)
	if err != nil {
		return nil, labelFault(err)
	}
	if len(l.T) == 0 {
		return nil, usagef("--labels %s: it has no rows, so there is nothing to answer; add some", t.labels)
	}
	return l, a.checkColumns(t.labels, l)
}

// labelFault begins with the flag in the place of the word labels.
func labelFault(err error) error {
	var e *offline.LabelError
	if !errors.As(err, &e) {
		return usagef("--labels: %w", err)
	}
	return &exitError{exitUsage, &flagFault{"--labels " + strings.TrimPrefix(e.Error(), "labels "), err}}
}

// flagFault is an error told in other words.
type flagFault struct {
	text string
	err  error
}

func (e *flagFault) Error() string { return e.text }
func (e *flagFault) Unwrap() error { return e.err }

// checkColumns refuses labels with a column that the answer would write too.
func (a *asked) checkColumns(path string, l *offline.Labels) error {
	have := map[string]bool{}
	for _, c := range l.Columns {
		have[c.Name] = true
	}
	for _, c := range a.columns {
		for _, n := range []string{c.name, c.name + "__status"} {
			if have[n] {
				return usagef("--labels %s: its column %s is also a column of the answer: rename it", path, n)
			}
		}
	}
	return nil
}
