package main

import (
	"runtime/debug"
)

// memoryFlag bounds the memory of a process that works for ever.
type memoryFlag struct {
	memory bytesFlag // 0 = unbounded
}

// leastMemory is what the program takes with next to nothing in its caches.
const leastMemory = 64_000_000

func (m *memoryFlag) check() error {
	if m.memory != 0 && m.memory < leastMemory {
		return usagef("--memory: %v is too little for the program itself: name 64MB or more", &m.memory)
	}
	return nil
}

// bound makes the Go runtime keep below the limit, until the returned function is
// called. The rest is for what it does not count: the program's own pages.
func (m *memoryFlag) bound() (restore func()) {
	if m.memory == 0 {
		return func() {}
	}
	was := debug.SetMemoryLimit(int64(m.memory) - max(int64(m.memory)/10, 24_000_000))
	return func() { debug.SetMemoryLimit(was) }
}

// budget is what one view may hold.
type budget struct {
	states int   // bytes of states in memory
	fetch  int64 // bytes fetched from the log and not looked at yet, as compressed
}

// budget divides the memory over views. States may take 2/5: what is encoded for a
// flush and what the garbage collector has not taken back come on top. A fetch
// may take 1/64, as it is held up to three times (on its way, waiting, being
// worked on) and unpacks to several times its size.
func (m *memoryFlag) budget(views int) budget {
	if m.memory == 0 {
		return budget{}
	}
	share := int64(m.memory) / int64(max(1, views))
	return budget{int(share * 2 / 5), share / 64}
}
