package gate_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tallystick/tallystick/store/gate"
)

// written returns the record as the next run reads it.
func written(tb rapid.TB, r *gate.Record) *gate.Record {
	tb.Helper()
	b, err := r.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	again, err := gate.Decode(b)
	if err != nil {
		tb.Fatal(err)
	}
	return again
}

func judge(tb rapid.TB, before *gate.Record, now []gate.Profile) *gate.Record {
	tb.Helper()
	r, err := gate.Judge(before, "f", now, gate.DefaultOptions())
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// B6: a breach is held until it is accepted. From then on a replay that finds the same
// figure passes, however long ago it was and however many days are published at once;
// another figure of the same date is held again.
func TestAccepted(t *testing.T) {
	accepted := 0
	rapid.Check(t, func(t *rapid.T) {
		days := usual(1000, 120)
		honest := rapid.IntRange(10, 40).Draw(t, "days of the first run")
		first := honest + rapid.IntRange(1, 30).Draw(t, "days of the second run")
		bad := rapid.IntRange(honest, first-1).Draw(t, "the faulty date")
		double(&days[bad])
		begun := written(t, judge(t, nil, days[:honest]))
		r := judge(t, begun, days[:first])
		if !r.Held() || r.Report.Breaches[0].Date != days[bad].Day {
			t.Fatalf("the fault passes: %v", r.Report.Lines())
		}
		if again := judge(t, begun, days[:first]); !again.Held() {
			t.Fatal("what nobody has accepted passes at the second attempt")
		}
		r.Accept(gate.Acceptance{Reason: "a fair", At: time.Unix(0, 0).UTC()})
		if r.Held() {
			t.Fatal("it is held though it was accepted")
		}
		for n := first; n < len(days); {
			from, to := 0, min(len(days), n+rapid.IntRange(1, 30).Draw(t, "days later"))
			if rapid.Bool().Draw(t, "the new dates alone") {
				from = n
			}
			now := days[from:to]
			n = to
			r = judge(t, written(t, r), now)
			if r.Held() || from == 0 && r.Report.Settled == 0 {
				t.Fatalf("%d dates up to %d: %d settled, held for %v", len(now), n, r.Report.Settled, r.Report.Lines())
			}
			accepted += r.Report.Settled
		}
		days[bad].Ledger.Applied += 500
		for i := range days[bad].Tiles {
			days[bad].Tiles[i].Events += 500
		}
		if r = judge(t, r, days); !r.Held() {
			t.Fatal("another figure of the accepted date passes")
		}
	})
	if accepted == 0 {
		t.Error("nothing was accepted")
	}
}

// B6: where no commit came before, a run is accepted as it is and what looks wrong in
// it is on record; the same figures pass from then on, others do not. What needs no
// baseline is held in any case.
func TestFirst(t *testing.T) {
	days := usual(1000, 60)
	double(&days[30])
	r := judge(t, nil, days[:40])
	if r.Held() || !r.First || len(r.Report.Breaches) == 0 {
		t.Fatalf("the first publication: held %v, %+v", r.Held(), r.Report.Lines())
	}
	r = judge(t, written(t, r), days)
	if r.Held() || r.First || r.Report.Settled == 0 {
		t.Errorf("the next one: held %v for %+v, %d settled", r.Held(), r.Report.Lines(), r.Report.Settled)
	}
	days[31].Ledger.Applied++
	if r = judge(t, nil, days); !r.Held() || !r.First {
		t.Error("tiles that lack an event pass")
	}
	r.Accept(gate.Acceptance{})
	if r.Held() {
		t.Error("it is held though it was accepted")
	}
}

// B6: figures of another definition are no baseline, and what was accepted of them
// says nothing; a run of which the gate is not asked hands on what there was.
func TestOtherDefinition(t *testing.T) {
	r := judge(t, nil, usual(1000, 40))
	now := usual(1040, 1)
	double(&now[0])
	if !judge(t, r, now).Held() {
		t.Fatal("the fault passes")
	}
	if !judge(t, written(t, gate.Unasked(r, "f", nil, gate.DefaultOptions())), now).Held() {
		t.Error("a run of which the gate was not asked loses the baseline")
	}
	r.Fingerprint = "g"
	if next := judge(t, r, now); next.Held() || len(next.Report.NoBaseline) != 1 {
		t.Errorf("a date is held against those of another definition: %+v", next.Report)
	}
	if u := gate.Unasked(r, "f", nil, gate.DefaultOptions()); len(u.Profiles) > 0 || u.Held() {
		t.Errorf("%+v", u)
	}
}

// B6: what breached and was published all the same is no part of the baseline of later
// runs, though they do not publish its date again.
func TestBreachIsAside(t *testing.T) {
	days := usual(1000, 46)
	double(&days[44])
	double(&days[45])
	r := judge(t, nil, days[:40])
	for i := 40; i < 46; i++ {
		r = judge(t, written(t, r), days[i:i+1])
		if r.Held() != (i >= 44) {
			t.Errorf("day %d: held %v", i, r.Held())
		}
	}
	if len(r.Aside) < 2 {
		t.Errorf("aside are %v", r.Aside)
	}
}
