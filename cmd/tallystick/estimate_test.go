package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/transforms/definition"
)

// estimateRig is a log, and replays of it that are estimated.
type estimateRig struct {
	*testing.T
	common
	dir    string
	client *log.Client
	vs     []*definition.View
	cut    *schemas.Cut
}

func newEstimateRig(t *testing.T) *estimateRig {
	t.Helper()
	definition, brokers := killedProject(t)
	x := &estimateRig{T: t, common: common{file: definition, brokers: brokers}, dir: t.TempDir()}
	var err error
	if x.vs, err = x.loadViews(nil); err == nil {
		x.client, err = x.open(t.Context())
	}
	if err == nil {
		t.Cleanup(x.client.Close)
		x.cut, err = cutOf(t.Context(), x.client, nil, x.vs)
	}
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func (x *estimateRig) flags() *replayFlags {
	r := &replayFlags{common: x.common, limits: limits{memory: 64_000_000, parallel: 1, spill: x.TempDir()}, out: filepath.Join(x.dir, "tables"), units: defaultUnits()}
	r.estimate = true
	return r
}

// foresee estimates; nothing but what is told may come of it.
func (x *estimateRig) foresee(r *replayFlags) (said string, err error) {
	x.Helper()
	var b bytes.Buffer
	done, err := r.foresee(x.Context(), &b, io.Discard, x.client, x.cut, x.vs)
	if !done {
		x.Error("--estimate goes on")
	}
	return b.String(), err
}

// rows is how many bytes the read units of a replay leave.
func (x *estimateRig) rows(r *replayFlags) (n int64) {
	x.Helper()
	o := jobOptions{from: schemas.Never, records: r.units.records}
	_, err := r.inJob(x.Context(), x.client, x.vs[0], x.cut.Topics["ev"], o, func(j *viewJob) error {
		reads, err := j.replay.Reads()
		if err != nil {
			return err
		}
		return j.driver(1).Run(x.Context(), reads)
	})
	if err != nil {
		x.Fatal(err)
	}
	names, _ := filepath.Glob(filepath.Join(r.out, "_replay", "v", "*", "read-*.rows"))
	for _, name := range names {
		st, err := os.Stat(name)
		if err != nil {
			x.Fatal(err)
		}
		n += st.Size()
	}
	return n
}

// B3: the estimate is of all records of the cut, from a sample of few, and is what
// reading leaves, to a quarter; of what an earlier run has left, only the rest is
// wanted. It writes nothing.
func TestEstimateIsWhatReadingLeaves(t *testing.T) {
	x := newEstimateRig(t)
	estimated := func() estimate {
		t.Helper()
		r := x.flags()
		r.json = true
		said, err := x.foresee(r)
		if err != nil {
			t.Fatal(err)
		}
		checkPrinted(t, []string{"replay", "--estimate"}, said)
		var out estimateOutput
		if err := json.Unmarshal([]byte(said), &out); err != nil {
			t.Fatal(err)
		}
		return out.Views[0]
	}
	e := estimated()
	if _, err := os.Stat(x.flags().out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it writes: %v", err)
	}
	left := x.rows(x.flags())
	if e.Records != 12_000 || e.Sampled < 500 || e.Sampled > 1000 || e.Work < left*3/4 || e.Work > left*5/4 {
		t.Errorf("B3: %+v, reading leaves %d bytes", e, left)
	}
	if e := estimated(); e.Work > left/4 {
		t.Errorf("B3: %+v, and %d bytes are there already", e, left)
	}
	said, err := x.foresee(x.flags())
	if err != nil || !strings.Contains(said, "view v: 12000 records to read") {
		t.Errorf("%s, %v", said, err)
	}
}

// B3: what clearly cannot fit --disk or the volumes of the work area and --spill-dir is
// refused in one sentence. What is short by less than the estimate may err is not.
func TestRoom(t *testing.T) {
	out, spill, work := t.TempDir(), t.TempDir(), t.TempDir()
	e := &estimate{View: "v", Work: 10_000_000, Spill: 2_000_000}
	for name, c := range map[string]struct {
		set  func(r *replayFlags)
		want string // of the refusal, "" = none
	}{
		"room":                {func(r *replayFlags) { r.on(map[string]volume{"": {1, 20e6}}) }, ""},
		"no room":             {func(r *replayFlags) { r.on(map[string]volume{"": {1, 100_000}}) }, "about 12.0 MB of rows will go to " + out + ", and its volume has 100 KB free"},
		"a little short":      {func(r *replayFlags) { r.on(map[string]volume{"": {1, 11e6}}) }, ""},
		"clearly short":       {func(r *replayFlags) { r.on(map[string]volume{"": {1, 9e6}}) }, "has 9.0 MB free"},
		"two volumes":         {func(r *replayFlags) { r.on(map[string]volume{out: {1, 9e6}, spill: {2, 2e6}}) }, ""},
		"--spill-dir is full": {func(r *replayFlags) { r.on(map[string]volume{out: {1, 9e6}, spill: {2, 1e6}}) }, "about 2.0 MB of rows will go to " + spill},
		"work elsewhere":      {func(r *replayFlags) { r.units.work = work; r.on(map[string]volume{"": {1, 2e6}, work: {2, 10e6}}) }, ""},
		"--work is full":      {func(r *replayFlags) { r.units.work = work; r.on(map[string]volume{"": {1, 2e6}, work: {2, 1e6}}) }, "will go to " + work},
		"on S3":               {func(r *replayFlags) { r.out = "s3://bucket/p"; r.on(map[string]volume{spill: {1, 9e6}}) }, "will go to " + spill},
		"planned on S3": {func(r *replayFlags) {
			r.out, r.planning = "s3://bucket/p", true
			r.on(map[string]volume{spill: {1, 0}})
		}, ""},
		"no tables":    {func(r *replayFlags) { r.out = ""; r.on(map[string]volume{spill: {1, 9e6}}) }, "will go to " + spill},
		"small --disk": {func(r *replayFlags) { r.disk = 9_000_000; r.on(nil) }, "--disk is 9MB"},
		"large --disk": {func(r *replayFlags) { r.disk = 12_000_000; r.on(nil) }, ""},
		"nobody knows": {func(r *replayFlags) { r.on(nil) }, ""},
	} {
		r := &replayFlags{limits: limits{spill: spill}, out: out}
		c.set(r)
		err := r.checkRoom(e)
		var room *RoomError
		switch {
		case c.want == "" && err != nil:
			t.Errorf("B3: %s: %v", name, err)
		case c.want != "" && (!errors.As(err, &room) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "--force")):
			t.Errorf("B3: %s: %v", name, err)
		}
	}
}

// B3: a replay, and a plan, that cannot fit end before they have begun, with exit code 1,
// unless they are forced.
func TestEstimateRefuses(t *testing.T) {
	x := newEstimateRig(t)
	r := x.flags()
	r.on(map[string]volume{"": {1, 1000}})
	for _, planning := range []bool{false, true} {
		r.planning = planning
		if _, err := x.foresee(r); err == nil || !strings.Contains(err.Error(), "its volume has 1 KB free") {
			t.Errorf("B3: planning %v: %v", planning, err)
		}
	}
	r.force = true
	if _, err := x.foresee(r); err != nil {
		t.Errorf("forced: %v", err)
	}
	var said, errs bytes.Buffer
	args := []string{"replay", "--estimate", "-f", x.file, "--brokers", x.brokers, "--out", r.out}
	if code := run(t.Context(), append(args, "--disk", "100KB"), &said, &errs); code != exitFailed || !strings.Contains(errs.String(), "and --disk is 100000B: give it more, or begin anyway with --force") {
		t.Errorf("exit %d: %s", code, errs.String())
	}
	plan := append([]string{"replay", "plan"}, args[1:]...)
	if code := run(t.Context(), plan, &said, &errs); code != exitOK || !strings.Contains(said.String(), "view v: 12000 records to read") {
		t.Errorf("exit %d: %s", code, errs.String())
	}
	if _, err := os.Stat(r.out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an estimate writes: %v", err)
	}
}

// on puts directories on volumes; "" is that of all others.
func (e *estimateFlags) on(volumes map[string]volume) {
	e.volumeOf = func(dir string) (volume, bool) {
		v, ok := volumes[dir]
		if !ok {
			v, ok = volumes[""]
		}
		return v, ok
	}
}

// B3: a replay that is done as soon as its estimate is not estimated.
func TestSmallReplaysAreNotEstimated(t *testing.T) {
	x := newEstimateRig(t)
	r := x.flags()
	r.estimate = false
	if done, err := r.foresee(t.Context(), io.Discard, io.Discard, nil, x.cut, x.vs); done || err != nil { // it has no client
		t.Errorf("%v, %v", done, err)
	}
}

// B3: the volume of a directory that is there has some room, by the system's word.
func TestVolumeOf(t *testing.T) {
	v, ok := (&replayFlags{}).volume(filepath.Join(t.TempDir(), "not", "there"))
	if ok && v.free <= 0 {
		t.Error(fmt.Sprint(v))
	}
	t.Log(v, ok)
}
