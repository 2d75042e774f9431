package stream

import (
	"testing"
	"time"
)

// O2: a store that came back empty is filled again also while no records come,
// and one that went back is read after, whatever the view's windows.
func TestQuietPartitionsLookAtTheirMarkers(t *testing.T) {
	for _, lifetime := range []bool{false, true} {
		for name, spoil := range map[string]func(*bench, map[int]*cell){
			"empty": func(b *bench, _ map[int]*cell) {
				b.each(func(*cell) *cell { return &cell{states: map[string]*refState{}} })
			},
			"went back": func(b *bench, early map[int]*cell) { b.store.cells[0][0] = early[0] },
		} {
			b := newBench(t, 2, 1)
			b.shape.lifetime = lifetime
			var err error
			b.view, err = b.shape.definition()
			b.must(err)
			b.must(b.compile())
			early := map[int]*cell{}
			b.opt.UntilEnd = false
			b.start(&meddling{port: b.port, each: func(shard int, _ int32, _ Mark, _ []Write) {
				if c := b.store.cells[shard][0]; early[shard] == nil && c.mark.Next > 0 {
					early[shard] = c
				}
			}})
			b.until(func() bool { return b.stands() })
			if early[0] == nil {
				t.Fatal("no marker before the last was seen")
			}
			spoil(b, early)
			if b.stands() {
				t.Fatal("nothing was lost")
			}
			begun := b.now
			b.until(func() bool { return b.stands() })
			if took := b.now.Sub(begun); took > 15*time.Second {
				t.Errorf("%s, lifetime %v: after %v", name, lifetime, took)
			}
			b.must(b.failure)
		}
	}
}

// stands tells whether every shard stands at the end of what is visible.
func (b *bench) stands() bool {
	for s := range b.store.cells {
		if b.store.cells[s][0].mark.Next != b.visible[0] {
			return false
		}
	}
	return true
}

func (b *bench) each(f func(*cell) *cell) {
	for _, row := range b.store.cells {
		for p := range row {
			row[p] = f(row[p])
		}
	}
}

// until steps until something is so, for two minutes at most.
func (b *bench) until(so func() bool) {
	b.Helper()
	for end := b.now.Add(2 * time.Minute); !so(); {
		if b.now.After(end) {
			b.Fatalf("not after two minutes: shard 0 stands at %d of %d", b.store.cells[0][0].mark.Next, b.visible[0])
		}
		_, err := b.w.Step(b.Context())
		b.must(err)
	}
}
