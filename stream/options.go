package stream

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"runtime"
	"time"

	"github.com/tallystick/tallystick/schemas"
)

// Options tune a worker. Zero values mean the defaults.
type Options struct {
	// FlushEvery is how long a change may wait to be written: 500 ms. While more
	// than CatchUpLag (10,000) offsets behind it is CatchUpEvery: 2 s.
	FlushEvery, CatchUpEvery time.Duration
	CatchUpLag               int64
	// MaxDirty changed entities (512), or MaxBytes of changed fields (1 MiB,
	// estimated), of a (shard, partition) make it write early; while catching up,
	// eight times as much.
	MaxDirty, MaxBytes int
	// IdleEvery is how often a shard without changes writes its marker, or, where
	// its position has not changed either, reads it: 10 s.
	IdleEvery time.Duration
	// CacheBytes bound the states held in memory and what is to be quarantined,
	// about: 256 MiB.
	CacheBytes int
	// Chunk is how many records are decoded before their states are loaded: 256.
	Chunk int
	// Parallel partitions are worked on at once: GOMAXPROCS. 1 works in order.
	Parallel int
	// PollWait bounds one wait for records: 500 ms.
	PollWait time.Duration
	// StandBy is how long a partition is left alone after two writes in a row
	// were lost to another's (30 s), MaxStandBys how often in a row that may
	// happen before the worker stops with a *StandByError; 0 = for ever.
	StandBy     time.Duration
	MaxStandBys int
	// What may pass is tried again after MinBackoff (100 ms), doubled up to
	// MaxBackoff (5 s).
	MinBackoff, MaxBackoff time.Duration
	// RefreshEvery is how often new partitions are looked for: 1 minute.
	RefreshEvery time.Duration
	// SweepEvery is the distance of the pages of the slow walk that removes
	// expired states (O3): 1 s. Negative = never.
	SweepEvery time.Duration
	// DrainTimeout bounds the last flush when Run ends, from the end of its context
	// on: 10 s.
	DrainTimeout time.Duration

	// Membership decides which partitions are worked on; nil = there is no group.
	// It excludes the three that follow.
	Membership Membership
	// Partitions are those to be worked on; nil = all that the topic has or gets.
	Partitions []int32
	// Until ends Run when every partition stands at the cut.
	Until *schemas.TopicCut
	// UntilEnd ends Run at the log's end as found at the start.
	UntilEnd bool
	// Rebuild allows the bootstrap of a shard whose marker is missing while others
	// of its partition are live, as after a failover to an empty replica.
	Rebuild bool
	// Origin of bootstraps: LogStart.
	Origin Origin
	// Guard is asked before what was folded becomes visible (B6); nil = nobody is.
	// While it holds, it is asked again every HoldEvery: 1 s.
	Guard     Guard
	HoldEvery time.Duration

	// Notice is told what an operator should know; one call at a time.
	Notice func(Notice)
	// Flushed is told of every write, from the goroutines that make them.
	Flushed func(Flushed)
	// Now, Sleep and Token are the worker's only ways to time and chance.
	Now   func() time.Time
	Sleep func(ctx context.Context, d time.Duration)
	Token func() uint64
}

// Notice is something that an operator should know.
type Notice struct {
	Partition int32
	Shard     int   // -1 = all
	Offset    int64 // up to which the partition was read; -1 = none
	Text      string
	Err       error // may be nil
}

func set[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func (o Options) withDefaults() Options {
	set(&o.FlushEvery, 500*time.Millisecond)
	set(&o.CatchUpEvery, 2*time.Second)
	set(&o.CatchUpLag, 10_000)
	set(&o.MaxDirty, 512)
	set(&o.MaxBytes, 1<<20)
	set(&o.IdleEvery, 10*time.Second)
	set(&o.CacheBytes, 256<<20)
	set(&o.Chunk, 256)
	set(&o.Parallel, runtime.GOMAXPROCS(0))
	set(&o.PollWait, 500*time.Millisecond)
	set(&o.StandBy, 30*time.Second)
	set(&o.MinBackoff, 100*time.Millisecond)
	set(&o.MaxBackoff, 5*time.Second)
	set(&o.RefreshEvery, time.Minute)
	set(&o.SweepEvery, time.Second)
	set(&o.DrainTimeout, 10*time.Second)
	set(&o.HoldEvery, time.Second)
	if o.Origin == nil {
		o.Origin = LogStart{}
	}
	if o.Notice == nil {
		o.Notice = func(Notice) {}
	}
	if o.Flushed == nil {
		o.Flushed = func(Flushed) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Token == nil {
		o.Token = randomToken
	}
	return o
}

// Validate reports every fault of the options at once.
func (o Options) Validate() error {
	var errs []error
	for _, d := range []time.Duration{o.FlushEvery, o.CatchUpEvery, o.IdleEvery, o.PollWait, o.StandBy, o.MinBackoff, o.MaxBackoff, o.RefreshEvery, o.DrainTimeout, o.HoldEvery} {
		if d < 0 {
			errs = append(errs, errors.New("stream: a duration is negative"))
			break
		}
	}
	for _, n := range []int{o.MaxDirty, o.MaxBytes, o.CacheBytes, o.Chunk, o.Parallel, o.MaxStandBys, int(min(o.CatchUpLag, 0))} {
		if n < 0 {
			errs = append(errs, errors.New("stream: a size is negative"))
			break
		}
	}
	if o.Until != nil && o.UntilEnd {
		errs = append(errs, errors.New("stream: Until and UntilEnd exclude each other"))
	}
	if o.Membership != nil && (o.Partitions != nil || o.Until != nil || o.UntilEnd) {
		errs = append(errs, errors.New("stream: a Membership excludes Partitions, Until and UntilEnd"))
	}
	return errors.Join(errs...)
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func randomToken() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails: crypto/rand ends the process instead
	return binary.LittleEndian.Uint64(b[:])
}
