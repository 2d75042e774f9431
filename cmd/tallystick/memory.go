package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
)

// memoryFlag bounds the memory of a process that works for ever.
type memoryFlag struct {
	memory bytesFlag // 0 = unbounded
}

// leastMemory is what the program takes with next to nothing in its caches.
// programPages is what of it are pages of the program's file, which the Go runtime
// does not count, and burst what may be allocated while a collection runs that has
// to wait for a processor.
const (
	leastMemory  = 100_000_000
	programPages = 32_000_000
	burst        = 20_000_000
)

func (m *memoryFlag) check() error {
	if m.memory != 0 && m.memory < leastMemory {
		return usagef("--memory: %v is too little for the program itself: name 100MB or more", &m.memory)
	}
	return nil
}

// heap is what the Go runtime may take: less than is left beside the program's
// pages, as it passes its limit for a moment before it gives memory back.
func (m *memoryFlag) heap() int64 {
	left := int64(m.memory) - programPages
	return min(left/5*4, left-burst)
}

// ownProcess is the context of a program that has its process to itself, so that
// --memory may bound it.
func ownProcess(ctx context.Context) context.Context {
	return context.WithValue(ctx, processKey{}, true)
}

type processKey struct{}

// bound makes the Go runtime keep below the limit, until the returned function is
// called, where the process is the program's own.
func (m *memoryFlag) bound(ctx context.Context) (restore func()) {
	if m.memory == 0 || ctx.Value(processKey{}) == nil {
		return func() {}
	}
	limit, percent := debug.SetMemoryLimit(m.heap()), 100
	if m.memory >= roomy {
		percent = 200 // room that has been given is there to save processor time
	}
	percent = debug.SetGCPercent(percent)
	return func() {
		debug.SetMemoryLimit(limit)
		debug.SetGCPercent(percent)
	}
}

// roomy is memory in which garbage may be twice what is in use, ample memory in
// which states may take half.
const (
	roomy = 800_000_000
	ample = 400_000_000
)

// budget is what one view may hold.
type budget struct {
	states int   // bytes of states in memory
	fetch  int64 // bytes fetched from the log and not looked at yet, as compressed
}

// budget divides the memory over views. States may take a third, half of what is
// ample: what is encoded for a flush and what the garbage collector has not taken
// back come on top, and both are bounded. A fetch may take 1/64, as it is held up to
// three times (on its way, waiting, being worked on) and unpacks to several times
// its size.
func (m *memoryFlag) budget(views int) budget {
	if m.memory == 0 {
		return budget{}
	}
	share := m.heap() / int64(max(1, views))
	states := share / 3
	if m.memory >= ample {
		states = share / 2
	}
	return budget{int(states), share / 64}
}

// brake returns what those who allocate call now and then: it waits for a collection
// where objects alone take more than the Go runtime may, as happens while one has to
// wait for a processor. What a collection has left is allowed, and a sixteenth more:
// where that much is in use, collecting again would not help. nil = nothing is bounded.
func (m *memoryFlag) brake() func() {
	if m.memory < leastMemory {
		return nil
	}
	least := uint64(m.heap())
	var mu sync.Mutex
	var limit atomic.Uint64
	limit.Store(least)
	return func() {
		if objects() <= limit.Load() {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if objects() > limit.Load() { // nobody has collected meanwhile
			runtime.GC()
			limit.Store(max(least, objects()+least/16))
		}
	}
}

// objects returns the bytes of objects, those that are not collected yet too.
func objects() uint64 {
	var s [1]metrics.Sample
	s[0].Name = "/memory/classes/heap/objects:bytes"
	metrics.Read(s[:])
	return s[0].Value.Uint64()
}
