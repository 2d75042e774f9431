package reconcile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// R2: what diverges.
func TestDiverges(t *testing.T) {
	i, d, s := schemas.IntValue, schemas.DoubleValue, schemas.StringValue
	for _, x := range []struct {
		a, b schemas.Value
		want bool
	}{
		{d(100), d(101), false}, {d(100), d(101.02), true}, {d(-100), d(100), true}, {d(0), d(0), false}, {d(0), d(1e-300), true},
		{d(math.MaxFloat64), d(-math.MaxFloat64), true}, {d(math.MaxFloat64), d(math.MaxFloat64 * 0.995), false},
		{i(100), i(101), false}, {i(1), i(2), true}, {i(99), i(100), false}, {i(98), i(100), true}, {i(math.MinInt64), i(math.MaxInt64), true},
		{schemas.Value{}, d(0), true}, {schemas.Value{}, schemas.Value{}, false}, {i(1), d(1), true},
		{s("a"), s("a"), false}, {s("a"), s("b"), true}, {schemas.BoolValue(true), schemas.BoolValue(false), true},
		{schemas.TimestampValue(1), schemas.TimestampValue(2), true},
	} {
		if diverges(x.a, x.b) != x.want || diverges(x.b, x.a) != x.want {
			t.Errorf("R2: %v and %v: want %v", x.a, x.b, x.want)
		}
	}
	if beyond(1, 1000) || !beyond(2, 1000) || beyond(0, 0) || !beyond(1, 999) {
		t.Error("R2: more than 0.1 % alerts")
	}
}

// R2: the alert is apart from equality: a small difference differs without one,
// a great one alerts.
func TestAlert(t *testing.T) {
	with, without := 0, 0
	for seed := range uint64(*seeds) {
		w := newWorld(t, seed, nil)
		on, off := w.sides(false)
		list := w.targets(on, off)
		if len(list) == 0 {
			continue
		}
		changeTile(w, on, off, list[0])
		rep := w.compare(on, off, nil)
		var diverging int64
		for _, f := range rep.Features {
			diverging += f.Diverging
		}
		if rep.Verdict != Differs || diverging != rep.Diverging || rep.Alert != (diverging > 0) { // worlds are small: one unit is beyond 0.1 %
			rep.dump(t)
			t.Fatalf("seed %d: R2", seed)
		}
		if rep.Alert {
			with++
		} else {
			without++
		}
	}
	if min(with, without) == 0 {
		t.Errorf("%d with an alert, %d without", with, without)
	}
}

// R1: a verdict on nothing is a failure that says why and what to do.
func TestNothingCompared(t *testing.T) {
	cases := map[string]func(w *world, on *fakeOnline, off *fakeOffline){
		"let `stream` fill it": func(_ *world, on *fakeOnline, _ *fakeOffline) { on.parts = 0 },
		"append one or a tick": func(w *world, on *fakeOnline, off *fakeOffline) {
			*off = *w.replay(make([]int, len(w.logs)))
		},
		"replay up to a later cut": func(_ *world, _ *fakeOnline, off *fakeOffline) {
			off.info.Cut.Partitions = map[int32]schemas.PartitionCut{}
			off.info.Ledgers = nil
		},
		"neither store has an entity": func(w *world, on *fakeOnline, off *fakeOffline) {
			clear(on.states)
			off.open, off.tiles = nil, nil
			off.rowsAt = func(schemas.Micros) []FeatureRow { return nil }
		},
	}
	for want, do := range cases {
		found := false
		for seed := uint64(0); seed < 200 && !found; seed++ {
			w := newWorld(t, seed, nil)
			on, off := w.sides(false)
			if found = len(w.targets(on, off)) > 0; !found {
				continue
			}
			do(w, on, off)
			rep := w.compare(on, off, nil)
			if why := strings.Join(rep.Why, "\n"); rep.Verdict != NothingCompared || !strings.Contains(why, want) {
				rep.dump(t)
				t.Errorf("%s: verdict %s, why %q", want, rep.Verdict, why)
			}
		}
		if !found {
			t.Errorf("%s: no world", want)
		}
	}
}

// R2: a sample is part of the whole, and says so; a fraction of all samples are
// in it.
func TestSample(t *testing.T) {
	var all, part int64
	for seed := range uint64(200) {
		w := newWorld(t, seed, nil)
		on, off := w.sides(false)
		whole := w.compare(on, off, nil)
		on.seen = false
		rep, err := Run(context.Background(), w.view, on, off, nil, Options{Sample: 0.7})
		if err != nil || rep.Differences > 0 || rep.Sample != 0.7 || rep.Tiles > whole.Tiles || rep.Entities > whole.Entities {
			t.Fatalf("seed %d: %v %+v", seed, err, rep)
		}
		all, part = all+whole.Entities, part+rep.Entities
	}
	if part == 0 || part >= all {
		t.Errorf("%d of %d entities", part, all)
	}
	in := 0
	o := Options{Sample: 0.25}
	for i := range 10_000 {
		if o.sampled(transforms.EncodeEntity(nil, schemas.IntValue(int64(i)))) {
			in++
		}
	}
	if in < 2300 || in > 2700 {
		t.Errorf("%d of 10,000 in a sample of a quarter", in)
	}
	w := newWorld(t, 1, nil)
	on, off := w.sides(false)
	var bad *OptionsError
	if _, err := Run(context.Background(), w.view, on, off, nil, Options{Sample: 1.5}); !errors.As(err, &bad) {
		t.Errorf("a sample of 1.5: %v", err)
	}
}

// R1: the report prints its denominators on one screen, and says the same twice.
func TestPrint(t *testing.T) {
	printed := map[Verdict]bool{}
	for seed := range uint64(100) {
		w := newWorld(t, seed, nil)
		on, off := w.sides(false)
		if list := w.targets(on, off); seed%2 == 0 && len(list) > 0 {
			for at := range on.states { // many differences
				clear(on.states[at])
			}
		}
		rep := w.compare(on, off, w)
		on.seen = false
		if again := w.compare(on, off, w); !reflect.DeepEqual(rep, again) {
			t.Fatalf("seed %d: a second run reports something else", seed)
		}
		var b bytes.Buffer
		rep.Print(&b)
		text := b.String()
		if n := strings.Count(text, "\n"); n > 50 {
			t.Errorf("seed %d: %d lines", seed, n)
		}
		want := map[Verdict]string{Equal: "equal, to the bit: ", Differs: "DIFFERS in ", NothingCompared: "NOTHING WAS COMPARED"}[rep.Verdict]
		if !strings.Contains(text, want) || !strings.Contains(text, " tiles compared, ") || !strings.Contains(text, "ledgers: ") {
			t.Errorf("seed %d: %s\n%s", seed, rep.Verdict, text)
		}
		if rep.Verdict == Equal && min(rep.Tiles, rep.Values, rep.Entities, rep.Compared) == 0 {
			t.Errorf("seed %d: equal without a denominator", seed)
		}
		if _, err := json.Marshal(rep); err != nil {
			t.Error(err)
		}
		printed[rep.Verdict] = true
	}
	if len(printed) != 3 {
		t.Errorf("only %v", printed)
	}
	if got := count(1234567) + count(999) + count(-1000); got != "1,234,567999-1,000" {
		t.Error(got)
	}
}
