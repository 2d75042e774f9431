package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/cmd/wire"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/store/online"
	"github.com/tallystick/tallystick/stream"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/marker"
)

// streamFlags are the flags of `stream`.
type streamFlags struct {
	common
	redisFlags
	memoryFlag
	listenFlag
	logFlag
	groupFlags
	tables     tablesFlags
	guard      guardFlags
	views      []string
	until      string
	quarantine string
	rebuild    bool
	notices    io.Writer
	// Not flags: the bytes of a view's states (0 = the default), how long a poll
	// waits (0 = the default), and what stands between the worker and the store
	// (nil = nothing).
	cache    int
	pollWait time.Duration
	sink     func(*online.Store) stream.Sink
	monitor  *monitor // nil = nobody asks
	meter    *meter
	progress progress
}

// progress adds up how far the workers of all views have read.
type progress struct {
	mu   sync.Mutex
	read map[string]int64 // by view
}

// set notes how far a view has been read and returns the sum.
func (p *progress) set(view string, n int64) (sum int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.read == nil {
		p.read = map[string]int64{}
	}
	p.read[view] = n
	for _, x := range p.read {
		sum += x
	}
	return sum
}

func streamCommand() *cobra.Command { return new(streamFlags).command() }

func (s *streamFlags) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stream",
		Short: "Keep the features in Redis: the always-on worker",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s.notices, s.meter = s.logFlag.notices(cmd.ErrOrStderr()), s.logFlag.meter(cmd.ErrOrStderr())
			return s.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	s.readFlags(cmd)
	s.redisFlags.add(cmd)
	s.listenFlag.add(cmd, "")
	s.logFlag.add(cmd)
	s.memory = 1_000_000_000
	s.groupFlags.add(cmd)
	s.tables.add(cmd)
	s.guard.add(cmd)
	f := cmd.Flags()
	viewFlag(cmd, &s.views, "only the view")
	f.StringVar(&s.until, "until", "", "stop at the log's end as it is now, with the word end, or at the end of a cut `FILE`; it reads all partitions by itself then")
	f.StringVar(&s.quarantine, "quarantine-topic", "", "`TOPIC` for records that are not counted (default: the source's topic and .quarantine)")
	f.BoolVar(&s.rebuild, "rebuild", false, "fill shards anew whose marker is missing beside others, or lies before the log's start")
	f.Var(&s.memory, "memory", "`SIZE` that the process stays below: states and fetches of all views")
	return cmd
}

func (s *streamFlags) run(ctx context.Context, w io.Writer) error {
	vs, err := s.loadViews(s.views)
	if err != nil {
		return err
	}
	cut, err := s.check(vs)
	if err != nil {
		return err
	}
	defer s.tables.close()
	defer s.guard.close()
	defer s.bound(ctx)()
	s.cache, s.buffer = s.budget(len(vs)).states, s.budget(len(vs)).fetch
	s.monitor = newMonitor(vs)
	stop, err := s.start(s.monitor, s.monitor.registry(), s.notices)
	if err != nil {
		return err
	}
	defer stop()
	client, err := s.common.open(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	redis, err := s.redisFlags.open(ctx)
	if err != nil {
		return err
	}
	defer redis.Close()
	if err := s.checkEnd(ctx, client, vs, cut); err != nil {
		return err
	}
	phase, err := s.measured(ctx, client, vs, cut)
	if err != nil {
		return err
	}
	err = s.follow(ctx, client, redis, vs, cut, phase)
	phase.end()
	if err != nil {
		return err
	}
	return s.report(ctx, w, redis, vs)
}

// check refuses flags that are not sound, before anything is connected, and
// returns the cut at which the stream ends, if it is a file.
func (s *streamFlags) check(vs []*definition.View) (*schemas.Cut, error) {
	if err := s.checkLog(vs); err != nil {
		return nil, err
	}
	if err := cmp.Or(s.redisFlags.check(), s.listenFlag.check(), s.logFlag.check(), s.memoryFlag.check()); err != nil {
		return nil, err
	}
	if err := s.groupFlags.check(s.until); err != nil {
		return nil, err
	}
	if err := s.tables.check(vs); err != nil {
		return nil, err
	}
	if err := s.guard.check(vs, s.tables.spill); err != nil {
		return nil, err
	}
	for _, t := range topics(vs) {
		if t == s.quarantine {
			return nil, usagef("--quarantine-topic: %s is a source's topic, which would be fed with what it does not count: name another", t)
		}
	}
	if s.quarantine != "" && !definition.TopicName(s.quarantine) {
		return nil, usagef("--quarantine-topic: %q cannot name a Kafka topic: use letters, digits, . _ and -, at most 249 of them", s.quarantine)
	}
	if s.until == "end" {
		return nil, nil
	}
	return loadCut("--until", s.until, topics(vs))
}

// checkEnd holds topics and cut against the log, before anything is written.
func (s *streamFlags) checkEnd(ctx context.Context, client *log.Client, vs []*definition.View, cut *schemas.Cut) error {
	if cut == nil {
		return checkTopics(ctx, client, vs)
	}
	_, err := cutOf(ctx, client, cut, vs)
	return err
}

// measured begins the phase that shows progress; without an end there is none.
func (s *streamFlags) measured(ctx context.Context, client *log.Client, vs []*definition.View, cut *schemas.Cut) (*metered, error) {
	if s.until == "" {
		return (*meter)(nil).phase("stream", 0), nil
	}
	if cut == nil {
		var err error
		if cut, err = client.Cut(ctx, topics(vs)...); err != nil {
			return nil, err
		}
	}
	return s.meter.phase("stream", viewRecords(cut, vs)), nil
}

// watch tells the phase how far a worker has read, until ctx ends.
func (s *streamFlags) watch(ctx context.Context, view string, w *stream.Worker, phase *metered) {
	every(ctx, 200*time.Millisecond, func() {
		var n int64
		for _, p := range w.Status() {
			n += max(0, p.Read)
		}
		phase.done.Store(s.progress.set(view, n))
	})
}

// every calls fn at intervals, until ctx ends.
func every(ctx context.Context, interval time.Duration, fn func()) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			fn()
		}
	}
}

// follow runs a worker for every view until all are done or one fails.
func (s *streamFlags) follow(ctx context.Context, client *log.Client, redis *online.Client, vs []*definition.View, cut *schemas.Cut, phase *metered) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go s.monitor.follow(ctx, client, redis, s.notices)
	errs := make([]error, len(vs))
	var wg sync.WaitGroup
	for i, v := range vs {
		wg.Go(func() {
			if errs[i] = s.worker(ctx, client, redis, v, cut, phase); errs[i] != nil {
				errs[i] = fmt.Errorf("view %s: %w", v.Name, errs[i])
				cancel(errs[i])
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return errors.Join(errs...)
}

func (s *streamFlags) worker(ctx context.Context, client *log.Client, redis *online.Client, v *definition.View, cut *schemas.Cut, phase *metered) error {
	topic, err := client.Describe(ctx, v.Source.Topic)
	if err != nil {
		return err
	}
	warnings, err := checkTopic(topic, v.Source)
	if err != nil {
		return err
	}
	for _, x := range warnings {
		fmt.Fprintf(s.notices, "%s: warning: %s\n", v.Name, x)
	}
	quarantine := s.quarantine
	if quarantine == "" {
		quarantine = v.Source.Topic + ".quarantine"
	}
	records, err := s.source(v)
	if err != nil {
		return err
	}
	source, err := wire.NewSource(ctx, client, v.Source.Topic, topic.TimestampType)
	if err != nil {
		return err
	}
	defer source.Close()
	o := stream.Options{CacheBytes: s.cache, Rebuild: s.rebuild, UntilEnd: s.until == "end", PollWait: s.pollWait, DrainTimeout: drainTime,
		Notice: func(n stream.Notice) { notice(s.notices, v.Name, n) }, Flushed: s.monitor.flushed(v.Name)}
	if cut != nil {
		tc := cut.Topics[v.Source.Topic]
		o.Until = &tc
	}
	if o.Origin, err = s.tables.origin(v, s.cache); err != nil {
		return err
	}
	guard, err := s.guard.guard(ctx, v, redis.Store(v), s.notices)
	if err != nil {
		return err
	}
	if guard != nil {
		o.Guard = guard
	}
	member := s.join(client, v, &o)
	defer leave(ctx, member, v, s.notices)
	var sink stream.Sink = redis.Store(v)
	if s.sink != nil {
		sink = s.sink(redis.Store(v))
	}
	sink = &claiming{sink, redis, v}
	worker, err := stream.New(v, records, source, sink, &wire.Quarantine{Client: client, Topic: quarantine, View: v.Name}, o)
	if err != nil {
		return err
	}
	if err := prepare(ctx, v, client, redis, worker, member, quarantine); err != nil {
		return err
	}
	// Readers of a view that nobody reads yet use this fingerprint.
	if _, err := redis.SetLive(ctx, v.Name, v.Fingerprint, true); err != nil {
		return err
	}
	defer s.monitor.watch(v.Name, worker, guard)()
	watched, stop := context.WithCancel(ctx)
	defer stop()
	go s.watch(watched, v.Name, worker, phase)
	lag := &lagGauge{client: client, group: &s.groupFlags, member: member, view: v, worker: worker, notices: s.notices}
	go lag.run(watched)
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		guard.follow(watched, s.guard.every)
	}()
	err = worker.Run(ctx)
	stop()
	<-followed
	lag.last(ctx)
	guard.end(ctx)
	if _, held := errors.AsType[*stream.HeldError](err); held {
		return &exitError{exitHeld, err}
	}
	return err
}

// claiming is a sink whose view is read by its fingerprint wherever readers use
// none: a store that lost its markers, as one restarted empty, has lost that too.
type claiming struct {
	stream.Sink
	redis *online.Client
	view  *definition.View
}

// Commit implements stream.Sink.
func (c *claiming) Commit(ctx context.Context, shard int, partition int32, was, now marker.Mark, writes []marker.Write) error {
	if was.Phase == marker.Missing {
		if _, err := c.redis.SetLive(ctx, c.view.Name, c.view.Fingerprint, true); err != nil {
			return err
		}
	}
	return c.Sink.Commit(ctx, shard, partition, was, now, writes)
}

// lagGauge commits where a view's markers stand to a consumer group, so that
// Kafka's own tools show its lag. The truth is in the markers (K4).
type lagGauge struct {
	client  *log.Client
	group   *groupFlags
	member  *wire.Membership // nil = in no group
	view    *definition.View
	worker  *stream.Worker
	notices io.Writer
}

// gaugeEvery is the distance of two commits.
const gaugeEvery = 5 * time.Second

func (g *lagGauge) run(ctx context.Context) {
	every(ctx, gaugeEvery, func() {
		if err := g.commit(ctx); err != nil && ctx.Err() == nil {
			fmt.Fprintf(g.notices, "%s: lag not told: %v\n", g.view.Name, err)
		}
	})
}

// last commits where the worker stopped. A gauge that cannot be set is no
// reason to fail.
func (g *lagGauge) last(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), partingTime)
	defer cancel()
	if err := g.commit(ctx); err != nil {
		fmt.Fprintf(g.notices, "%s: lag not told: %v\n", g.view.Name, err)
	}
}

func (g *lagGauge) commit(ctx context.Context) error {
	next := map[int32]int64{}
	for _, p := range g.worker.Status() {
		if p.Written >= 0 && p.Phase != "opening" {
			next[p.Partition] = p.Written
		}
	}
	if len(next) == 0 {
		return nil
	}
	return g.group.commitLag(ctx, g.client, g.member, g.view, next)
}

func noticeText(n stream.Notice) string {
	if n.Err != nil {
		return n.Text + ": " + n.Err.Error()
	}
	return n.Text
}

// streamOutput is what `stream --json` prints when it ends.
type streamOutput struct {
	Views []streamedView `json:"views"`
}

type streamedView struct {
	View        string              `json:"view"`
	Fingerprint string              `json:"fingerprint"`
	Partitions  []streamedPartition `json:"partitions"`
	Total       ledgerOutput        `json:"total"`
}

type streamedPartition struct {
	Partition int32        `json:"partition"`
	Next      int64        `json:"next"` // the least position of its shards
	Clock     *string      `json:"clock" jsonschema:"nullable"`
	Ledger    ledgerOutput `json:"ledger"`
}

// report tells where the markers stand.
func (s *streamFlags) report(ctx context.Context, w io.Writer, redis *online.Client, vs []*definition.View) error {
	if ctx.Err() != nil { // stopped by a signal: what was flushed can still be read
		c, cancel := context.WithTimeout(context.WithoutCancel(ctx), partingTime)
		defer cancel()
		ctx = c
	}
	var out streamOutput
	for _, v := range vs {
		view, err := streamed(ctx, redis, v)
		if err != nil {
			return fmt.Errorf("view %s: it has ended, and how far Redis is cannot be told: %w", v.Name, err)
		}
		out.Views = append(out.Views, *view)
	}
	if s.json {
		return printJSON(w, out)
	}
	for _, v := range out.Views {
		fmt.Fprintf(w, "view %s (fingerprint %s)\n", v.View, v.Fingerprint)
		for _, p := range v.Partitions {
			fmt.Fprintf(w, "  partition %d, up to offset %d: %v\n", p.Partition, p.Next, &p.Ledger.Ledger)
		}
	}
	return nil
}

func streamed(ctx context.Context, redis *online.Client, v *definition.View) (*streamedView, error) {
	store := redis.Store(v)
	parts, err := store.Partitions(ctx)
	if err != nil {
		return nil, err
	}
	out := &streamedView{View: v.Name, Fingerprint: v.Fingerprint}
	var total transforms.Ledger
	for _, p := range parts {
		marks, err := store.Marks(ctx, p)
		if err != nil {
			return nil, err
		}
		row, ledger := streamedAt(p, marks)
		total.Merge(ledger)
		out.Partitions = append(out.Partitions, row)
	}
	out.Total = ledgerOf(&total)
	return out, nil
}

func streamedAt(p int32, marks []marker.Mark) (streamedPartition, *transforms.Ledger) {
	var ledger transforms.Ledger
	row := streamedPartition{Partition: p, Next: -1}
	clock := schemas.Never
	for i := range marks {
		if row.Next < 0 || marks[i].Next < row.Next {
			row.Next, clock = marks[i].Next, marks[i].Clock
		}
		ledger.Merge(&marks[i].Ledger)
	}
	row.Clock, row.Ledger = instant(clock), ledgerOf(&ledger)
	return row, &ledger
}
