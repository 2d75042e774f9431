package offline

import (
	"bytes"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/schemas"
)

func randomScalar(r *rand.Rand, k schemas.Kind) schemas.Value {
	switch k {
	case schemas.Bool:
		return schemas.BoolValue(r.IntN(2) == 0)
	case schemas.Int:
		return schemas.IntValue(int64(r.Uint64()) >> r.IntN(64))
	case schemas.Double:
		return schemas.DoubleValue(r.NormFloat64() * 1e9)
	case schemas.String:
		return schemas.StringValue(strings.Repeat("ü", r.IntN(4)))
	case schemas.Bytes:
		return schemas.BytesValue(strings.Repeat("\xff", r.IntN(4)))
	}
	return schemas.TimestampValue(schemas.Micros(r.Int64N(4e15) - 2e15))
}

// V9, §7: lists of every kind come back as they were written, null, empty and
// long ones, across pages and row groups; equal rows give equal bytes.
func TestListsRoundTrip(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		var cols []Column
		for k := schemas.Bool; k <= schemas.Timestamp; k++ {
			cols = append(cols, Column{Name: k.String(), Kind: schemas.List, Element: k, Nullable: r.IntN(3) > 0})
		}
		cols = append(cols, Column{Name: "plain", Kind: schemas.Int})
		rows := make([][]schemas.Value, r.IntN(400))
		most := []int{1, 3, 300}[r.IntN(3)]
		for i := range rows {
			for _, c := range cols[:len(cols)-1] {
				var list []schemas.Value
				for range r.IntN(most) {
					list = append(list, randomScalar(r, c.Element))
				}
				v := schemas.ListValue(list)
				if c.Nullable && r.IntN(5) == 0 {
					v = schemas.Value{}
				}
				rows[i] = append(rows[i], v)
			}
			rows[i] = append(rows[i], schemas.IntValue(int64(i)))
		}
		data := writeRowsOf(t, cols, rows)
		if !bytes.Equal(data, writeRowsOf(t, cols, rows)) {
			t.Fatal(seed, "B1: the same rows give other bytes")
		}
		checkRows(t, data, cols, rows)
	}
}

func checkRows(t *testing.T, data []byte, cols []Column, rows [][]schemas.Value) {
	t.Helper()
	r, err := NewRows(bytes.NewReader(data), int64(len(data)), "test")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(r.Columns(), cols) {
		t.Fatalf("columns %+v come back as %+v", cols, r.Columns())
	}
	for i, want := range rows {
		got, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		for j := range want {
			if !got[j].Equal(want[j]) {
				t.Fatalf("row %d, column %s: %v, want %v", i, cols[j].Name, got[j], want[j])
			}
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Fatal("rows too many:", err)
	}
}

func writeRowsOf(t *testing.T, cols []Column, rows [][]schemas.Value) []byte {
	var buf bytes.Buffer
	w, err := NewWriter(&buf, cols, WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if err := w.Write(row); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// A list's elements are of its column's kind.
func TestListsRefused(t *testing.T) {
	col := Column{Name: "x", Kind: schemas.List, Element: schemas.Int}
	w, err := NewWriter(io.Discard, []Column{col}, WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	err = w.Write([]schemas.Value{schemas.ListValue([]schemas.Value{schemas.DoubleValue(1)})})
	if err == nil || !strings.Contains(err.Error(), `column "x" is a list of kind int`) {
		t.Error(err)
	}
	if _, err := NewWriter(io.Discard, []Column{{Name: "x", Kind: schemas.List}}, WriterOptions{}); err == nil {
		t.Error("a list of nothing is a column")
	}
}

// §7: a Delta schema tells lists as arrays without nulls.
func TestListsInDelta(t *testing.T) {
	m, err := newMetadata("t", nil, []Column{{Name: "x", Kind: schemas.List, Element: schemas.Double, Nullable: true}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if want := `"type":{"type":"array","elementType":"double","containsNull":false}`; !strings.Contains(m.SchemaString, want) {
		t.Errorf("%s has no %s", m.SchemaString, want)
	}
}
