//go:build real

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// watched is what a replay took, and what was seen of its files.
type watched struct {
	usage
	disk     int64         // the most bytes in work area and spill directory at one time
	tables   int64         // bytes of the tables, in the end
	units    int           // the most files of rows that were being written at one time
	readTime time.Duration // until the last read unit was finished
	out      []byte        // what it printed
	said     string        // its errors
	err      error         // nil = it ended well
}

// places are the directories of a replay, each its own.
type places struct{ work, spill, out string }

// emptied returns the directories below one, without what runs before have left.
func emptied(dir string) (p places, err error) {
	p = places{filepath.Join(dir, "work"), filepath.Join(dir, "spill"), filepath.Join(dir, "tables")}
	for _, d := range []string{p.work, p.spill, p.out} {
		err = errors.Join(err, os.RemoveAll(d), os.MkdirAll(d, 0o755))
	}
	return p, err
}

// lookAt is how often the directories are looked at.
const lookAt = 100 * time.Millisecond

// watchReplay runs a replay to its end, whatever that is, and looks at its directories
// meanwhile.
func watchReplay(ctx context.Context, cmd *exec.Cmd, p places) (*watched, error) {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	w, ended := &watched{}, make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for running := true; running; {
		select {
		case w.err = <-ended:
			running = false
		case <-time.After(lookAt):
			w.look(p, time.Since(begun))
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	w.usage, w.out, w.said = used(cmd, time.Since(begun)), out.Bytes(), errs.String()
	var err error
	w.tables, err = sizeOf(p.out)
	return w, err
}

// look notes what the directories hold.
func (w *watched) look(p places, now time.Duration) {
	var bytes int64
	units, folds := 0, false
	for _, dir := range []string{p.work, p.spill} {
		eachFile(dir, func(name string, size int64) {
			bytes += size
			if strings.HasPrefix(name, ".tmp-") {
				units++
			}
			folds = folds || strings.HasPrefix(name, "fold-")
		})
	}
	w.disk, w.units = max(w.disk, bytes), max(w.units, units)
	if folds && w.readTime == 0 {
		w.readTime = now
	}
}

// eachFile calls fn with the files below a directory that are there.
func eachFile(dir string, fn func(name string, size int64)) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil // what has gone meanwhile takes nothing
		}
		if st, err := e.Info(); err == nil {
			fn(e.Name(), st.Size())
		}
		return nil
	})
}

// sizeOf is how many bytes the files below a directory have.
func sizeOf(dir string) (n int64, err error) {
	eachFile(dir, func(_ string, size int64) { n += size })
	if _, err = os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return n, err
}

// must is an error where the replay did not end well.
func (w *watched) must() error {
	if w.err != nil {
		return fmt.Errorf("replay: %w: %s", w.err, w.said)
	}
	return nil
}
