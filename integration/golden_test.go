package integration

import (
	"encoding/csv"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tallystick/tallystick/integration/oracle"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/expr"
)

// TestGolden holds the engine, the oracle and the parsers of local times against
// a file worked out by hand (V3, V10).
func TestGolden(t *testing.T) {
	f, err := os.Open("testdata/boundaries.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comment, r.FieldsPerRecord = '#', 5
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if zone, ok := strings.CutPrefix(row[0], "local "); ok {
			err = goldenLocal(strings.Fields(zone), row[1], row[2])
		} else {
			err = goldenWindow(row[0], instant(t, row[1]), instant(t, row[2]), row[3] == "yes")
		}
		if err != nil {
			t.Errorf("%s: %v", strings.Join(row, ", "), err)
		}
	}
	if len(rows) < 150 {
		t.Errorf("only %d rows", len(rows))
	}
}

func instant(tb testing.TB, s string) int64 {
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		tb.Fatal(err)
	}
	return at.UnixMicro()
}

func goldenLocal(zone []string, text, want string) error {
	choice := func(s string) string { return strings.Trim(s, "-") }
	p, err := schemas.NewLocalParser(zone[0], "", choice(zone[1]), choice(zone[2]))
	if err != nil {
		return err
	}
	got, err := p.Parse(text)
	if err != nil {
		if want == "refused" {
			return nil
		}
		return err
	}
	if s := got.Time().Format(time.RFC3339Nano); s != want {
		return fmt.Errorf("it is read as %s", s)
	}
	return nil
}

// parseWindow reads the file's notation of windows.
func parseWindow(s string) (oracle.Window, error) {
	w := oracle.Window{}
	f := strings.Fields(s)
	switch f[0] {
	case "lifetime":
		w.Kind = oracle.Lifetime
		return w, nil
	case "sliding":
		length, hop, _ := strings.Cut(f[1], "/")
		l, err := expr.ParseDuration(length)
		if err != nil {
			return w, err
		}
		h, err := expr.ParseDuration(hop)
		return oracle.Window{Length: int64(l), Hop: int64(h)}, err
	}
	w.Kind = map[string]oracle.WindowKind{"days": oracle.Days, "weeks": oracle.Weeks, "months": oracle.Months}[f[0]]
	n, err := strconv.Atoi(f[1])
	w.N, w.ExcludeCurrent = n, len(f) == 3 && f[2] == "excl"
	return w, err
}

// goldenWindow asks everybody whether an event at event counts as of t.
func goldenWindow(window string, t, event int64, counts bool) error {
	w, err := parseWindow(window)
	if err != nil {
		return err
	}
	if lo, hi := w.Span(t); (lo <= event && event < hi) != counts {
		return fmt.Errorf("the oracle's window is [%d, %d)", lo, hi)
	}
	if lo, hi := engineWindow(w).Span(schemas.Micros(t)); (lo <= schemas.Micros(event) && schemas.Micros(event) < hi) != counts {
		return fmt.Errorf("the engine's window is [%s, %s)", lo, hi)
	}
	for _, id := range []transforms.Identity{transforms.Anonymous, transforms.ByVersion} {
		v, err := goldenView(w, id)
		if err != nil {
			return err
		}
		if err := goldenFold(v, t, event, counts); err != nil {
			return fmt.Errorf("identity %d: %w", id, err)
		}
	}
	return nil
}

// goldenView counts events in one window, never late and never too far ahead.
func goldenView(w oracle.Window, id transforms.Identity) (*transforms.View, error) {
	spec := transforms.Spec{Name: "golden", Lateness: 1000 * schemas.Day, MaxFuture: 1000 * schemas.Day, MaxOpen: 10, Shards: 1, Identity: id,
		Features: []transforms.Feature{{Name: "n", Aggregation: transforms.Count, Input: -1, Filter: -1, Window: engineWindow(w), Kind: schemas.Int}}}
	var err error
	compile := func(src string) *expr.Program {
		p, e := expr.Compile(src, sourceFields)
		if e != nil {
			err = e
		}
		return p
	}
	spec.Key = []transforms.KeyField{{Name: "entity", Kind: schemas.String, Expr: compile("entity")}}
	if id == transforms.ByVersion {
		spec.ID, spec.Version = compile("id"), compile("version")
	}
	if err != nil {
		return nil, err
	}
	return transforms.NewView(spec)
}

// goldenFold folds the event and asks for its count: live, where the clock stands
// right before t; of a training state whose clock is t; and, where t is a
// boundary, after a Trim.
func goldenFold(v *transforms.View, t, event int64, counts bool) error {
	at := schemas.Micros(t)
	ask := func(what string, s *transforms.State, clock int64, boundary bool) error {
		e := schemas.Event{Clock: schemas.Micros(clock), Timestamp: schemas.Micros(clock), EventTime: schemas.Micros(event),
			Fields: make([]schemas.Value, len(sourceFields))}
		e.Fields[fEntity], e.Fields[fID], e.Fields[fVersion] = schemas.StringValue("a"), schemas.StringValue("i"), schemas.IntValue(1)
		in := v.NewInput()
		v.Prepare(in, &e)
		if r := v.Step(s, in); r.Outcome != transforms.Applied {
			return fmt.Errorf("%s: %v, %s", what, r.Outcome, r.Reason)
		}
		var got []transforms.Result
		if boundary {
			v.Trim(s, at)
			got = v.BoundaryValue(nil, at, s)
		} else {
			var err error
			if got, err = v.Value(nil, at, s); err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
		}
		want := transforms.Result{Value: schemas.IntValue(1), Status: transforms.Present}
		if !counts {
			want = transforms.Result{Status: transforms.Absent}
		}
		if got[0] != want {
			return fmt.Errorf("%s: the count is %v %v", what, got[0].Value, got[0].Status)
		}
		return nil
	}
	if err := ask("live", v.NewState(0), t-1, false); err != nil {
		return err
	}
	if err := ask("training", v.NewTrainingState(0), t, false); err != nil {
		return err
	}
	if at.Floor(v.Hops()[0]) != at {
		return nil
	}
	return ask("boundary", v.NewState(0), event, true)
}
