package batch

import (
	"slices"
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// V9: what is packed comes out again, of every kind of feature, null or not.
func TestAnswersKeepEveryKind(t *testing.T) {
	rows := [][]transforms.Result{}
	features := []transforms.Feature{}
	for _, vs := range [][]schemas.Value{
		{schemas.BoolValue(true), schemas.BoolValue(false)}, {schemas.IntValue(-1), schemas.IntValue(1 << 62)},
		{schemas.DoubleValue(-2.5), schemas.DoubleValue(0)}, {schemas.TimestampValue(-7), schemas.TimestampValue(9)},
		{schemas.StringValue(""), schemas.StringValue("ü")}, {schemas.BytesValue("\x00"), schemas.BytesValue("")},
		{schemas.ListValue([]schemas.Value{schemas.IntValue(1)}), schemas.ListValue(nil)},
	} {
		features = append(features, transforms.Feature{Kind: vs[0].Kind()})
		rows = append(rows, []transforms.Result{{Value: vs[0], Status: transforms.Present}, {Value: vs[1], Status: transforms.Incomplete}, {Status: transforms.Absent}})
	}
	a := newAnswers(3, features)
	for label := range 3 {
		want := make([]transforms.Result, len(features))
		for i := range want {
			want[i] = rows[i][label]
		}
		if a.answered(label) {
			t.Errorf("label %d is answered before it is", label)
		}
		a.set(label, want)
		if got := a.Row(label); !a.answered(label) || !slices.Equal(got, want) {
			t.Errorf("label %d: %v, want %v", label, got, want)
		}
	}
}
