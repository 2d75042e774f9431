package transforms_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// What the stream's cache counts of a state that has just been written, twice its
// encoding and what is kept decoded, is about what it takes.
func TestFootprint(t *testing.T) {
	for _, cells := range []string{"small", "text", "large"} {
		v := tailView(t, transforms.Anonymous, cells, 10, 0)
		in, states := v.NewInput(), make([]*transforms.State, 2000)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		counted := 0
		for i := range states {
			s := v.NewState(1)
			for k := range 20 {
				at := 20_000*schemas.Day + schemas.Micros(k)
				e := &schemas.Event{Partition: 1, Offset: int64(k), Clock: at, EventTime: at, Fields: []schemas.Value{
					schemas.StringValue("a"), schemas.IntValue(int64(k)), schemas.DoubleValue(float64(k)), schemas.StringValue(fmt.Sprint(k))}}
				v.Prepare(in, e)
				v.Step(s, in)
			}
			counted += 2*len(v.AppendServed(nil, s)) + s.Decoded()
			states[i] = s
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		taken := int(after.HeapAlloc - before.HeapAlloc)
		t.Logf("%s: %d B a state, counted %d", cells, taken/len(states), counted/len(states))
		if counted*4 < taken*3 || counted > 2*taken {
			t.Errorf("%s: states take %d B, %d are counted", cells, taken, counted)
		}
		runtime.KeepAlive(states)
	}
}
