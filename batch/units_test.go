package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeUnits are lanes whose units note that they ran and record that they finished.
type fakeUnits struct {
	work *memoryWork
	mu   sync.Mutex
	ran  []string
	// run is called for a unit that runs for the nth time, from 0; nil = it succeeds.
	run func(ctx context.Context, name string, nth int) error
}

func newFakeUnits() *fakeUnits { return &fakeUnits{work: newMemoryWork(nil)} }

func (f *fakeUnits) lanes(lanes, units int) (out []Lane) {
	for i := range lanes {
		var l Lane
		for j := range units {
			name := fmt.Sprintf("%d/%d", i, j)
			l = append(l, Unit{name, func(ctx context.Context) error { return f.unit(ctx, name, i, j) }})
		}
		out = append(out, l)
	}
	return out
}

func (f *fakeUnits) unit(ctx context.Context, name string, lane, at int) error {
	if at > 0 {
		if ok, _ := f.work.Record(ctx, fmt.Sprintf("%d/%d", lane, at-1), nil); !ok {
			return fmt.Errorf("unit %s runs before the one that it needs", name)
		}
	}
	f.mu.Lock()
	nth := 0
	for _, r := range f.ran {
		if r == name {
			nth++
		}
	}
	f.ran = append(f.ran, name)
	f.mu.Unlock()
	if f.run != nil {
		if err := f.run(ctx, name, nth); err != nil {
			return err
		}
	}
	o, err := f.work.Begin(ctx, name, 0)
	if err != nil {
		return err
	}
	return o.Finish(ctx, 1)
}

func (f *fakeUnits) finish(t *testing.T, name string) {
	t.Helper()
	o, err := f.work.Begin(t.Context(), name, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Finish(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
}

// B4: what is finished is not run again, and every other unit once, in its lane's
// order, with any number of processes that share them.
func TestDriverRunsWhatIsLeft(t *testing.T) {
	for _, of := range []int{1, 2, 5} {
		f := newFakeUnits()
		for _, name := range []string{"0/0", "0/1", "2/0"} {
			f.finish(t, name)
		}
		lanes := f.lanes(4, 3)
		var found, ran sync.Map
		var wg sync.WaitGroup
		for share := range of {
			wg.Go(func() {
				d := Driver{Work: f.work, Share: share, Of: of, Parallel: 2, Poll: time.Millisecond, Timeout: time.Minute,
					Done: func(unit string, own bool) {
						if own {
							ran.Store(unit, true)
						} else {
							found.Store(unit, true)
						}
					}}
				if err := d.Run(t.Context(), lanes); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		count := func(m *sync.Map) (n int) {
			m.Range(func(any, any) bool { n++; return true })
			return n
		}
		if slices.Sort(f.ran); len(f.ran) != 9 || len(slices.Compact(f.ran)) != 9 || count(&ran) != 9 || count(&found) != 3 {
			t.Errorf("%d processes: ran %v, told %d run and %d found", of, f.ran, count(&ran), count(&found))
		}
	}
}

// B4: units of a process that is gone are run by those that wait for them.
func TestDriverTakesOver(t *testing.T) {
	f := newFakeUnits()
	lanes := f.lanes(4, 2)
	var told []string
	d := Driver{Work: f.work, Share: 0, Of: 2, Poll: time.Millisecond, Timeout: 100 * time.Millisecond,
		Waiting: func(unit string, more int) { told = append(told, fmt.Sprint(unit, " and ", more)) }}
	if err := d.Run(t.Context(), lanes); err != nil {
		t.Fatal(err)
	}
	if len(f.ran) != 8 {
		t.Errorf("ran %v", f.ran)
	}
	if want := lanes[1][0].Name + " and 1"; len(told) != 1 || told[0] != want {
		t.Errorf("what it waits for is told as %q, not %q", told, want)
	}
}

// B4: what stands still is taken over at once, not lane by lane, each after its time.
func TestDriverTakesOverTogether(t *testing.T) {
	f := newFakeUnits()
	d := Driver{Work: f.work, Share: 0, Of: 2, Parallel: 4, Poll: time.Millisecond, Timeout: 200 * time.Millisecond}
	var mu sync.Mutex
	var foreign []time.Time
	f.run = func(_ context.Context, name string, _ int) error {
		var lane int
		if _, err := fmt.Sscanf(name, "%d/", &lane); err == nil && lane%2 == 1 {
			mu.Lock()
			foreign = append(foreign, time.Now())
			mu.Unlock()
		}
		return nil
	}
	if err := d.Run(t.Context(), f.lanes(40, 1)); err != nil {
		t.Fatal(err)
	}
	waits := 0
	for i := range foreign {
		if i > 0 && foreign[i].Sub(foreign[i-1]) >= d.Timeout {
			waits++
		}
	}
	if len(foreign) != 20 || waits > 4 { // one by one there are 19
		t.Errorf("%d lanes were taken over, %d of them after another wait", len(foreign), waits)
	}
}

// B3: a unit is tried again after its timeout and after what may pass, as often as is
// allowed, and not after anything else.
func TestDriverTriesAgain(t *testing.T) {
	passing, final := errors.New("passing"), errors.New("final")
	hang := func(ctx context.Context) error {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	var late *TimeoutError
	for name, c := range map[string]struct {
		run  func(ctx context.Context, nth int) error
		runs int
		want func(error) bool
	}{
		"passes": {func(_ context.Context, nth int) error {
			if nth < 2 {
				return passing
			}
			return nil
		}, 3, func(err error) bool { return err == nil }},
		"stays": {func(context.Context, int) error { return passing }, 3, func(err error) bool { return errors.Is(err, passing) }},
		"final": {func(context.Context, int) error { return final }, 1, func(err error) bool { return errors.Is(err, final) }},
		"hangs once": {func(ctx context.Context, nth int) error {
			if nth == 0 {
				return hang(ctx)
			}
			return nil
		}, 2, func(err error) bool { return err == nil }},
		"hangs": {func(ctx context.Context, _ int) error { return hang(ctx) }, 3, func(err error) bool {
			return errors.As(err, &late) && late.Unit == "0/0" && strings.Contains(err.Error(), "0/0 has not finished within 50ms: give units longer with --unit-timeout")
		}},
	} {
		f := newFakeUnits()
		f.run = func(ctx context.Context, _ string, nth int) error { return c.run(ctx, nth) }
		d := Driver{Work: f.work, Timeout: 50 * time.Millisecond, Retries: 2, Transient: func(err error) bool { return errors.Is(err, passing) }}
		if err := d.Run(t.Context(), f.lanes(1, 1)); !c.want(err) || len(f.ran) != c.runs {
			t.Errorf("%s: ran %d times, want %d: %v", name, len(f.ran), c.runs, err)
		}
	}
}

// A process that is told to end does, whether it runs units or waits for those of
// others, and says why.
func TestDriverEnds(t *testing.T) {
	for share := range 2 {
		f := newFakeUnits()
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("stop")
		f.run = func(ctx context.Context, _ string, _ int) error {
			cancel(stop)
			return context.Cause(ctx)
		}
		if share == 1 { // it has no lane of its own and waits
			time.AfterFunc(10*time.Millisecond, func() { cancel(stop) })
		}
		d := Driver{Work: f.work, Share: share, Of: 2, Timeout: time.Minute, Retries: 5, Transient: func(error) bool { return true }, Poll: time.Millisecond}
		if err := d.Run(ctx, f.lanes(1, 3)); !errors.Is(err, stop) || len(f.ran) != 1-share {
			t.Errorf("share %d: %v, ran %v", share, err, f.ran)
		}
	}
}
