package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tallystick/tallystick/cmd/wire"
	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/transforms/definition"
)

// jobRig is a log, and replays of it that can be stopped between their phases.
type jobRig struct {
	*reconcileRig
	client *log.Client
	view   *definition.View
	cut    *schemas.Cut
}

func newJobRig(t *testing.T, x *reconcileRig) *jobRig {
	t.Helper()
	c := x.common()
	vs, err := c.loadViews(nil)
	x.must(err)
	client, err := c.open(x.ctx)
	x.must(err)
	t.Cleanup(client.Close)
	cut, err := cutOf(x.ctx, client, nil, vs)
	x.must(err)
	return &jobRig{x, client, vs[0], cut}
}

// flags are those of a replay into a directory of this name.
func (j *jobRig) flags(out string) *replayFlags {
	return &replayFlags{common: j.common(), limits: limits{memory: 64_000_000, parallel: 1, spill: j.TempDir()}, out: filepath.Join(j.dir, out), units: defaultUnits()}
}

// to is the cut at these offsets less.
func (j *jobRig) to(less int64) schemas.TopicCut {
	tc := j.cut.Topics["ev"]
	tc.Partitions = maps.Clone(tc.Partitions)
	for p, pc := range tc.Partitions {
		pc.End -= less
		tc.Partitions[p] = pc
	}
	return tc
}

// begin runs a replay up to fn, as one that is killed then.
func (j *jobRig) begin(r *replayFlags, tc schemas.TopicCut, fn func(*viewJob) error) (id string) {
	j.Helper()
	id, err := r.inJob(j.ctx, j.client, j.view, tc, jobOptions{from: schemas.Never, records: r.units.records}, fn)
	j.must(err)
	return id
}

// whole replays to the end; found is how many units it found finished.
func (j *jobRig) whole(r *replayFlags, tc schemas.TopicCut) (found int64) {
	j.Helper()
	v, err := r.one(j.ctx, j.client, &schemas.Cut{Topics: map[string]schemas.TopicCut{"ev": tc}}, j.view)
	j.must(err)
	return v.Units.Found
}

// files returns the digests of the tables' files.
func (j *jobRig) files(out string) map[string]string {
	j.Helper()
	return (&killed{T: j.T, root: filepath.Join(j.dir, out)}).files()
}

// B2: whoever finds that another job has published first, wherever that is, is told what
// to do.
func TestOvertakenIsTold(t *testing.T) {
	x := newReconcileRig(t)
	x.fill()
	j := newJobRig(t, x)
	for i, want := range []string{"run it again", "plan, or replay, anew"} {
		o := jobOptions{from: schemas.Never, records: defaultUnitRecords, planned: i == 1}
		_, err := j.flags("tables").inJob(j.ctx, j.client, j.view, j.to(0), o, func(v *viewJob) error {
			if err := v.runUnits(j.ctx); err != nil {
				return err
			}
			cut, err := v.clocked(j.ctx)
			j.must(err)
			staged, err := v.run.Staged(j.ctx, cut)
			j.must(err)
			report, err := v.replay.Report(j.ctx)
			j.must(err)
			j.whole(j.flags("tables"), j.to(5-int64(i)))
			_, err = staged.Publish(j.ctx, wire.Publication("ev", schemas.Never, report))
			return err
		})
		if !errors.Is(err, offline.ErrConflict) || !strings.HasSuffix(err.Error(), "; nothing of this run is visible: "+want) {
			t.Error(err)
		}
	}
}

// B4: a replay that was killed before its publication goes on after another one has
// published, and removed what was staged, also where that one was killed before it
// removed the rest.
func TestReplayGoesOnAfterAnother(t *testing.T) {
	x := newReconcileRig(t)
	x.fill()
	j := newJobRig(t, x)
	r := j.flags("tables")
	j.begin(r, j.to(0), func(v *viewJob) error { return v.runUnits(j.ctx) })
	staged, _ := filepath.Glob(filepath.Join(r.out, "v", "*", "_staging", "*", "*.parquet"))
	j.begin(r, j.to(5), func(v *viewJob) error {
		if err := v.runUnits(j.ctx); err != nil {
			return err
		}
		cut, err := v.clocked(j.ctx)
		if err != nil {
			return err
		}
		s, err := v.run.Staged(j.ctx, cut)
		if err != nil {
			return err
		}
		report, err := v.replay.Report(j.ctx)
		if err == nil {
			_, err = s.Publish(j.ctx, wire.Publication("ev", schemas.Never, report))
		}
		return err
	})
	if left, _ := filepath.Glob(filepath.Join(r.out, "v", "*", "_staging", "*", "*.parquet")); len(staged) == 0 || len(left) > 0 {
		t.Fatalf("%d files were staged, %d still are: nothing was taken away", len(staged), len(left))
	}
	j.begin(r, j.to(0), func(v *viewJob) error { return v.runUnits(j.ctx) }) // as `replay run`, which does not publish
	j.begin(r, j.to(0), func(v *viewJob) error {
		_, err := v.run.Staged(j.ctx, j.to(0))
		return err
	})
	if found := j.whole(r, j.to(0)); found == 0 {
		t.Error("B4: it began anew")
	}
	other := j.flags("other")
	j.whole(other, j.to(0))
	parquet := func(files map[string]string) map[string]string {
		maps.DeleteFunc(files, func(name, _ string) bool { return !strings.HasSuffix(name, ".parquet") })
		return files
	}
	got := parquet(j.files("tables"))
	for name, sum := range parquet(j.files("other")) {
		if got[name] != sum {
			t.Errorf("B4: %s differs", name)
		}
	}
}

// B4: replays into several places that share --work neither take nor remove what
// another has left there, whatever their cuts.
func TestWorkIsOfOneTable(t *testing.T) {
	x := newReconcileRig(t)
	x.fill()
	j := newJobRig(t, x)
	a, b, own := j.flags("a"), j.flags("b"), j.flags("work")
	for _, r := range []*replayFlags{a, b} {
		r.units.work = filepath.Join(j.dir, "work")
	}
	j.begin(a, j.to(0), func(v *viewJob) error { return v.runUnits(j.ctx) })
	if found := j.whole(b, j.to(0)); found != 0 {
		t.Errorf("b found %d units of a", found)
	}
	j.whole(b, j.to(5))
	j.whole(own, j.to(5)) // its tables lie where the others work
	a.out = filepath.Join(j.dir, "b", "..", "a")
	if found := j.whole(a, j.to(0)); found < 16 {
		t.Errorf("of a %d units are left", found)
	}
}

// schemaRegistry knows schema 1, and 2 once it is told to.
func schemaRegistry(t *testing.T) (url string, second *atomic.Bool) {
	t.Helper()
	second = new(atomic.Bool)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.schemaregistry.v1+json")
		id, versions := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/schemas/ids/"), "/versions")
		switch {
		case id != "1" && (id != "2" || !second.Load()):
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"error_code":40403,"message":"Schema not found"}`)
		case versions:
			_, _ = io.WriteString(w, `[]`)
		default:
			_, _ = io.WriteString(w, `{"schema":`+strconv.Quote(testbed.EventSchema)+`}`)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, second
}

// B1, S2: a replay that is killed, and goes on when the registry has learnt of a
// schema, leaves what one from scratch does: no record counts as invalid in one unit
// whose like counts in another.
func TestRegisteredBetweenUnits(t *testing.T) {
	x := newReconcileRig(t)
	url, second := schemaRegistry(t)
	text := strings.Replace(reconcileDefinition, "writers: {files: {1: ev.avsc}}", "writers: {registry: \""+url+"\"}", 1)
	x.must(os.WriteFile(filepath.Join(x.dir, "v.yaml"), []byte(text), 0o600))
	client, err := log.Open(x.ctx, log.Options{Brokers: x.kafka.ListenAddrs(), Extra: testbed.KafkaOptions()})
	x.must(err)
	defer client.Close()
	x.must(client.EnsureTopic(x.ctx, "ev", 1, nil))
	for i := range 100 {
		at := time.Date(2026, 3, 1, 0, i*29, 0, 0, time.UTC)
		value := testbed.Event{Ent: fmt.Sprint("e", i%4), ID: fmt.Sprint("i", i), Ver: 1, ET: at.UnixMicro(), Amt: 1}.Bytes()
		binary.BigEndian.PutUint32(value[1:], uint32(1+i%2))
		_, err := client.Produce(x.ctx, "ev", 0, log.Message{Value: value, Timestamp: at})
		x.must(err)
	}
	j := newJobRig(t, x)
	r := j.flags("tables")
	r.units.records = 20
	stop := errors.New("killed")
	n := 0
	_, err = r.inJob(j.ctx, j.client, j.view, j.to(0), jobOptions{from: schemas.Never, records: 20}, func(v *viewJob) error {
		reads, err := v.replay.Reads()
		if err != nil {
			return err
		}
		for _, u := range reads[0] {
			if n++; n == 3 {
				return stop
			}
			if err := u.Run(j.ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
	second.Store(true)
	v, err := r.one(j.ctx, j.client, &schemas.Cut{Topics: map[string]schemas.TopicCut{"ev": j.to(0)}}, j.view)
	x.must(err)
	if v.Total.Applied != 100 || v.Total.Invalid != 0 {
		t.Errorf("B1: %+v, from scratch all 100 count", v.Total)
	}
	if left, _ := filepath.Glob(filepath.Join(r.out, "_replay", "v", "*")); len(left) > 0 {
		t.Errorf("work areas stay: %v", left)
	}
}
