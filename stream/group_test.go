package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms/marker"
)

// orders is a group that decides what a test says.
type orders struct {
	queue []Change
	err   error
	asked int
}

func (o *orders) Changes(context.Context) ([]Change, error) {
	o.asked++
	q, err := o.queue, o.err
	o.queue, o.err = nil, nil
	return q, err
}

func (o *orders) say(c Change) { o.queue = append(o.queue, c) }

// member is a worker of a group beside the bench's own ports.
type member struct {
	*bench
	o *orders
	w *Worker
	// wrote counts the writes of this worker, by partition.
	wrote map[int32]int
}

func (b *bench) member(owner int) *member {
	b.Helper()
	m := &member{bench: b, o: &orders{}, wrote: map[int32]int{}}
	opt := b.opt
	opt.UntilEnd, opt.Membership = false, m.o
	own := b.owners[owner]
	sink := &meddling{port: port{b.sim, own}, each: func(_ int, p int32, _ Mark, _ []Write) { m.wrote[p]++ }}
	var err error
	m.w, err = New(b.view, b.records, &reader{b.sim, own}, sink, b.port, opt)
	b.must(err)
	return m
}

// runs steps for a while of simulated time.
func (m *member) runs(d time.Duration) {
	m.Helper()
	for begun := m.now; m.now.Sub(begun) < d; {
		_, err := m.w.Step(m.Context())
		m.must(err)
		m.must(m.failure)
	}
}

func (m *member) has(ps ...int32) {
	m.Helper()
	var got []int32
	for _, st := range m.w.Status() {
		got = append(got, st.Partition)
	}
	if !slices.Equal(got, ps) {
		m.Errorf("it has partitions %v, want %v", got, ps)
	}
}

// Ownership: a worker reads and writes what the group gave it, no more; one that
// has nothing stands ready.
func TestMembersShare(t *testing.T) {
	b := newBench(t, 2, 3)
	b.opt.RefreshEvery = time.Second
	x, y := b.member(0), b.member(1)
	x.o.say(Change{Assigned: []int32{0, 2}})
	x.runs(20 * time.Second)
	y.runs(20 * time.Second)
	x.has(0, 2)
	y.has()
	if len(y.wrote) > 0 || x.wrote[1] > 0 || x.wrote[0] == 0 || x.wrote[2] == 0 {
		t.Errorf("they wrote %v and %v", x.wrote, y.wrote)
	}
	y.o.say(Change{Assigned: []int32{1}})
	y.runs(20 * time.Second)
	b.whole()
	x.o.say(Change{Revoked: []int32{0, 2}})
	x.runs(time.Second)
	var told []string
	for _, n := range b.notices {
		if has, ok := strings.CutPrefix(n.Text, "the group's partitions that this process has: "); ok {
			told = append(told, has)
		}
	}
	if want := []string{"0, 2", "1", "none"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

// A revocation is written before the group hears that it is done, also where the
// write is not due; what is lost is not written at all.
func TestRevokedAndLost(t *testing.T) {
	b := newBench(t, 2, 2)
	b.opt.FlushEvery, b.opt.IdleEvery, b.opt.CatchUpEvery = time.Hour, time.Hour, time.Hour
	m := b.member(0)
	m.o.say(Change{Assigned: []int32{0, 1}})
	m.runs(5 * time.Second)
	if len(m.wrote) > 0 {
		t.Fatalf("written before it was due: %v", m.wrote)
	}
	done := false
	m.o.say(Change{Lost: []int32{1}, Revoked: []int32{0}, Done: func() {
		done = true
		for s := range 2 {
			if next := b.store.cells[s][0].mark.Next; next != b.visible[0] {
				t.Errorf("shard %d stands at %d when the group goes on, want %d", s, next, b.visible[0])
			}
		}
	}})
	m.runs(time.Second)
	m.has()
	if !done || m.wrote[0] != 2 || m.wrote[1] != 0 {
		t.Errorf("done %v, written %v", done, m.wrote)
	}
	if len(b.owners[0].pos) > 0 {
		t.Errorf("it still reads %v", b.owners[0].pos)
	}
}

// A revocation that cannot be written is done all the same, and noted.
func TestRevokedWhileTheStoreIsAway(t *testing.T) {
	b := newBench(t, 2, 1)
	b.opt.FlushEvery, b.opt.IdleEvery, b.opt.CatchUpEvery = time.Hour, time.Hour, time.Hour
	m := b.member(0)
	m.o.say(Change{Assigned: []int32{0}})
	m.runs(5 * time.Second)
	m.w.sink = &meddling{port: b.port, refuse: 1000, err: marker.ErrUnavailable}
	done := 0
	m.o.say(Change{Revoked: []int32{0}, Done: func() { done++ }})
	m.runs(time.Second)
	m.has()
	if done != 1 || !slices.ContainsFunc(b.notices, func(n Notice) bool { return strings.Contains(n.Text, "reads again from offset 0") }) {
		t.Errorf("done %d times, noted %v", done, b.notices)
	}
	next := b.member(1)
	next.o.say(Change{Assigned: []int32{0}})
	next.runs(5 * time.Second)
	b.must(next.w.Drain(b.Context()))
	b.whole()
}

// O1: a zombie, held up with changes in memory until its partitions were
// another's, writes nothing over them; told of it, it gives them up, and takes
// them again when the group says so.
func TestZombieMember(t *testing.T) {
	b := newBench(t, 2, 1)
	b.opt.FlushEvery, b.opt.IdleEvery, b.opt.CatchUpEvery = 10*time.Second, 10*time.Second, 10*time.Second
	zombie, other := b.member(0), b.member(1)
	zombie.o.say(Change{Assigned: []int32{0}})
	zombie.runs(4 * time.Second) // and is stopped there
	other.o.say(Change{Assigned: []int32{0}})
	other.runs(20 * time.Second)
	b.whole()
	stood := []Mark{b.store.cells[0][0].mark, b.store.cells[1][0].mark}
	zombie.runs(time.Second) // its write is due, and refused
	if !slices.ContainsFunc(b.notices, func(n Notice) bool { return errors.Is(n.Err, marker.ErrMoved) }) {
		t.Errorf("no write was refused: %v", b.notices)
	}
	for s, m := range stood {
		if now := b.store.cells[s][0].mark; now != m {
			t.Errorf("the zombie moved shard %d from %+v to %+v", s, m, now)
		}
	}
	zombie.o.say(Change{Lost: []int32{0}})
	zombie.runs(time.Second)
	zombie.has()
	if !slices.ContainsFunc(b.notices, func(n Notice) bool { return strings.Contains(n.Text, "unasked") }) {
		t.Errorf("the loss is not noted: %v", b.notices)
	}
	other.o.say(Change{Revoked: []int32{0}})
	other.runs(time.Second)
	zombie.o.say(Change{Assigned: []int32{0}})
	zombie.runs(30 * time.Second)
	zombie.has(0)
	b.whole()
}

// K3: a partition that the group hands out anew is adopted from offset 0, and
// noted, by the worker that gets it; not by the others, and not when it moves on.
func TestMemberAdoptsPartition(t *testing.T) {
	b := newBench(t, 2, 2)
	b.opt.RefreshEvery = time.Second
	all := b.visible
	b.visible = all[:1]
	x, y := b.member(0), b.member(1)
	x.o.say(Change{Assigned: []int32{0}})
	x.runs(5 * time.Second)
	y.runs(5 * time.Second)
	y.o.say(Change{Assigned: []int32{1}}) // the broker that it asks does not know of it yet
	y.runs(time.Second)
	b.visible = all
	x.runs(5 * time.Second)
	x.has(0)
	y.runs(20 * time.Second)
	y.has(1)
	b.whole()
	y.o.say(Change{Revoked: []int32{1}})
	y.runs(time.Second)
	x.o.say(Change{Assigned: []int32{1}})
	x.runs(5 * time.Second)
	x.has(0, 1)
	adopted := 0
	for _, n := range b.notices {
		if strings.Contains(n.Text, "adopted") {
			adopted++
		}
	}
	if adopted != 1 {
		t.Errorf("noted %d times: %v", adopted, b.notices)
	}
}

// K3: with a group too, a topic that was deleted and created again stops the
// worker, also one without partitions.
func TestMemberRefuses(t *testing.T) {
	b := newBench(t, 1, 1)
	b.opt.RefreshEvery = time.Second
	m := b.member(0)
	m.runs(time.Second)
	gone := errors.New("recreated")
	m.w.source = refusing{m.w.source, gone}
	for range 100 {
		if _, err := m.w.Step(b.Context()); err != nil {
			if !errors.Is(err, gone) {
				t.Errorf("it ended with %v", err)
			}
			return
		}
	}
	t.Error("it went on")
}

// A worker that is refused where it begins is no member: others keep what they have.
func TestRefusedBeforeItJoins(t *testing.T) {
	b := newBench(t, 1, 1)
	m := b.member(0)
	m.w.source = refusing{m.w.source, errors.New("recreated")}
	if _, err := m.w.Step(b.Context()); err == nil || m.o.asked > 0 {
		t.Errorf("asked the group %d times, it ended with %v", m.o.asked, err)
	}
}

// A group that cannot be joined for now is noted; what is final ends the worker,
// after what came with it was taken up.
func TestMembershipErrors(t *testing.T) {
	b := newBench(t, 1, 1)
	m := b.member(0)
	m.o.err = fmt.Errorf("%w: no coordinator", marker.ErrUnavailable)
	m.o.say(Change{Assigned: []int32{0}})
	m.runs(time.Second)
	m.has(0)
	if !slices.ContainsFunc(b.notices, func(n Notice) bool { return strings.Contains(n.Text, "for now") }) {
		t.Errorf("not noted: %v", b.notices)
	}
	final := errors.New("not allowed")
	m.o.err = final
	done := false
	m.o.say(Change{Revoked: []int32{0}, Done: func() { done = true }})
	if _, err := m.w.Step(b.Context()); !errors.Is(err, final) || !done {
		t.Errorf("done %v, it ended with %v", done, err)
	}
	m.o.say(Change{Assigned: []int32{0}})
	m.w.o.PollWait = time.Millisecond
	m.o.err = final
	if err := m.w.Run(b.Context()); !errors.Is(err, final) {
		t.Errorf("it ended with %v", err)
	}
}

// A stop that cannot be written in time says what is not written.
func TestStopWhileTheStoreIsAway(t *testing.T) {
	b := newBench(t, 1, 1)
	b.opt.UntilEnd = false
	b.opt.FlushEvery, b.opt.IdleEvery, b.opt.CatchUpEvery = time.Hour, time.Hour, time.Hour
	m := &meddling{port: b.port, err: marker.ErrUnavailable}
	b.start(m)
	for range 50 {
		_, err := b.w.Step(b.Context())
		b.must(err)
	}
	m.refuse = 1000
	stop, halt := context.WithCancel(b.Context())
	halt()
	b.must(b.w.Run(stop))
	if !slices.ContainsFunc(b.notices, func(n Notice) bool { return strings.Contains(n.Text, "reads again from offset") }) {
		t.Errorf("not noted: %v", b.notices)
	}
}

// refusing is a source of which the topic is another one now.
type refusing struct {
	Source
	err error
}

func (r refusing) Cut(context.Context) (schemas.TopicCut, error) {
	return schemas.TopicCut{}, r.err
}
