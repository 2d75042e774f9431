package transforms_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/expr"
)

// fuzzView has every kind of cell, ids with versions and a lifetime base.
func fuzzView(tb testing.TB) *transforms.View {
	fields := expr.Fields{
		{Path: "k", Type: expr.Type{Kind: schemas.String}}, {Path: "i", Type: expr.Type{Kind: schemas.Int, Nullable: true}},
		{Path: "d", Type: expr.Type{Kind: schemas.Double, Nullable: true}}, {Path: "s", Type: expr.Type{Kind: schemas.String, Nullable: true}},
	}
	compile := func(src string) *expr.Program {
		p, err := expr.Compile(src, fields)
		if err != nil {
			tb.Fatal(err)
		}
		return p
	}
	spec := transforms.Spec{Name: "v", Lateness: schemas.Hour, MaxFuture: schemas.Minute, Identity: transforms.ByVersion, MaxOpen: 100,
		ID: compile("k"), Version: compile("i"), Key: []transforms.KeyField{{Name: "k", Kind: schemas.String, Expr: compile("k")}},
		Filters: []*expr.Program{compile("i > 2")}, Inputs: []*expr.Program{compile("i"), compile("d"), compile("s")}, Shards: 1, NewestTiles: 2}
	hour := transforms.Window{Kind: transforms.Sliding, Length: 3 * schemas.Hour, Hop: 5 * schemas.Minute}
	ever := transforms.Window{Kind: transforms.Lifetime, Hop: schemas.Day}
	for a := transforms.Count; a <= transforms.StddevSamp; a++ {
		for in, p := range spec.Inputs {
			if out, ok := a.OutputKind(p.Type().Kind); ok {
				for _, w := range []transforms.Window{hour, ever} {
					spec.Features = append(spec.Features, transforms.Feature{Aggregation: a, Input: in, Filter: in%2 - 1, Window: w, Kind: out})
				}
			}
		}
	}
	v, err := transforms.NewView(spec)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// fuzzState folds events described by bytes.
func fuzzState(v *transforms.View, script []byte) *transforms.State {
	s, in := v.NewState(0), v.NewInput()
	clock := schemas.Micros(1_700_000_000_000_000)
	for i := 0; i+3 < len(script); i += 4 {
		a, b, c, d := script[i], script[i+1], script[i+2], script[i+3]
		clock += schemas.Micros(a) * schemas.Minute
		e := &schemas.Event{Offset: int64(i), Clock: clock, EventTime: clock - schemas.Micros(b%64)*schemas.Minute + schemas.Micros(c%3)*20*schemas.Second,
			Fields: []schemas.Value{schemas.StringValue(string('a' + rune(c%16))), schemas.IntValue(int64(d)), schemas.DoubleValue(float64(d) / 7), schemas.StringValue(string(script[i : i+2]))}}
		if d%11 == 0 {
			e.Fields[2], e.Fields[3] = schemas.Value{}, schemas.Value{}
		}
		v.Prepare(in, e)
		v.Step(s, in)
	}
	return s
}

// FuzzParse: hostile bytes never panic, and what parses is what Encode writes
// (V11). The first byte says where the rest is split into the parts, or that it is a
// script for a state whose encoding is then damaged.
func FuzzParse(f *testing.F) { fuzzParse(f, fuzzView(f), fuzzState) }

// renamed is a served part with another length and checksum of its old part, which
// stand behind the format, partition, last offset, clock and boundary.
func renamed(served, old []byte) []byte {
	at := 2
	for served[at]&0x80 != 0 {
		at++
	}
	at += 1 + 16
	_, w := binary.Uvarint(served[at:])
	out := binary.AppendUvarint(slices.Clone(served[:at]), uint64(len(old)))
	if w > 0 && served[at] != 0 {
		w += 4
	}
	if len(old) > 0 {
		out = append(out, old[len(old)-4:]...)
	}
	return transforms.Checksummed(append(out, served[at+w:len(served)-4]...))
}

func fuzzParse(f *testing.F, v *transforms.View, fuzzState func(*transforms.View, []byte) *transforms.State) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
	f.Add([]byte{200, 1, 2, 3, 4, 255, 6, 7, 8, 9, 10, 11, 12, 0, 0, 1, 22})
	script := bytes.Repeat([]byte{3, 7, 9, 12, 200, 1, 4, 22}, 20)
	p := v.Encode(fuzzState(v, script))
	f.Add(append([]byte{1}, p.Served...))
	for _, o := range p.Open {
		f.Add(append([]byte{2}, o.Data...))
	}
	for at := range byte(40) {
		f.Add(append([]byte{4, at}, script...))
		f.Add(append([]byte{5, at}, script...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 3 {
			return
		}
		var p transforms.Parts
		switch b[0] % 6 {
		case 0: // a true state, one byte of it changed behind the checksum's back
			p = v.Encode(fuzzState(v, b[2:]))
			at := int(b[1]) % len(p.Served)
			p.Served[at] ^= 1
			p.Served = transforms.Checksummed(p.Served[:len(p.Served)-4])
		case 1:
			p.Served = b[1:]
		case 2:
			p = transforms.Parts{Served: transforms.Checksummed(b[1 : len(b)/2]), Open: []transforms.Open{{Data: transforms.Checksummed(b[len(b)/2:])}}}
		case 3:
			p = v.Encode(fuzzState(v, b[1:]))
		case 4: // as 0, the old part, and the served part names it
			if p = v.Encode(fuzzState(v, b[2:])); len(p.Old) > 0 {
				p.Old[int(b[1])%len(p.Old)] ^= 1
				p.Old = transforms.Checksummed(p.Old[:len(p.Old)-4])
				p.Served = renamed(p.Served, p.Old)
			}
		case 5: // the old part of an earlier state, and the served part names it
			p = v.Encode(fuzzState(v, b[2:]))
			if p.Old = v.Encode(fuzzState(v, b[2:2+int(b[1])%(len(b)-2)])).Old; b[1]%2 == 0 {
				p.Served = renamed(p.Served, p.Old)
			}
		}
		s, err := v.Parse(p)
		if err != nil {
			if b[0]%6 == 3 {
				t.Fatalf("a true state does not parse: %v", err)
			}
			return
		}
		if again := v.Encode(s); !bytes.Equal(again.Served, p.Served) || !bytes.Equal(again.Old, p.Old) || !sameOpen(again.Open, p.Open) {
			t.Fatalf("parsed, but encodes otherwise:\n%x\n%x", p, again)
		}
	})
}

func sameOpen(a, b []transforms.Open) bool {
	return slices.EqualFunc(a, b, func(a, b transforms.Open) bool { return a.Hour == b.Hour && bytes.Equal(a.Data, b.Data) })
}
