package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/store/log"
)

// projectRun runs a definition through both stores, once.
type projectRun struct {
	loop
	redisFlags
	filler
	fill bool
}

func runCommand() *cobra.Command {
	p := &projectRun{}
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run a project once: fill its topic, stream, replay, reconcile; the verdict",
		Long: `Run a definition through both stores up to the end of the log: the stream worker
keeps its features in Redis, the replay writes them to Parquet, the reconciler
compares both. Then some values of both are shown.

Without --brokers Kafka runs inside this process, and the topics are filled with
samples: orders (made up, see --events and --seed), flights and weather. Without
--redis Redis runs inside this process too. On real servers only --fill writes
samples, into topics of these names that are missing or empty; readers of the
online store use this definition from then on.

Exit codes are those of reconcile.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p.w, p.notices, p.meter = cmd.OutOrStdout(), cmd.ErrOrStderr(), newMeter(cmd.ErrOrStderr())
			return p.run(cmd.Context())
		},
	}
	p.readFlags(cmd)
	p.redisFlags.add(cmd)
	p.storeFlags.add(cmd, 0)
	f := cmd.Flags()
	f.StringVar(&p.out, "out", "", "directory or URL `DIR` of the tables (default: "+tablesDir+", beside the definition)")
	f.BoolVar(&p.fill, "fill", false, "with --brokers: fill the samples' topics where they are missing or empty")
	p.filler.add(cmd)
	return cmd
}

// runOutput is what `run --json` prints.
type runOutput struct {
	Filled    map[string]int   `json:"filled"` // records appended, by topic
	Replay    *replayOutput    `json:"replay"`
	Reconcile *reconcileOutput `json:"reconcile"`
}

func (p *projectRun) run(ctx context.Context) error {
	if err := p.check(); err != nil {
		return err
	}
	text := p.w
	if p.json {
		p.w = io.Discard
	}
	defer boundMemory()()
	defer p.close()
	defer p.closeStore()
	if err := p.connect(ctx); err != nil {
		return err
	}
	if p.brokers == "" || p.fill {
		if err := p.fillTopics(ctx, &p.servers, p.vs, p.w, p.meter); err != nil {
			return err
		}
	}
	out, err := p.both(ctx)
	if out != nil && p.json {
		err = errors.Join(err, printJSON(text, out))
	}
	return err
}

// check refuses flags that are not sound, before anything is connected.
func (p *projectRun) check() error {
	var err error
	if p.vs, err = p.loadViews(nil); err != nil {
		return err
	}
	if p.out == "" {
		p.out = filepath.Join(filepath.Dir(p.file), tablesDir)
	}
	if err := checkTree("--out", p.out); err != nil {
		return err
	}
	if err := p.storeFlags.check(); err != nil {
		return err
	}
	for _, v := range p.vs {
		if _, err := p.tables(p.out, "", v); err != nil {
			return err
		}
	}
	if err := p.filler.check(); err != nil {
		return err
	}
	if p.addrs != "" {
		if err := p.redisFlags.check(); err != nil {
			return err
		}
	}
	if p.brokers != "" {
		return p.checkLog(p.vs)
	}
	return p.checkEmbedded()
}

// checkEmbedded refuses what a Kafka inside this process cannot be asked for.
func (p *projectRun) checkEmbedded() error {
	switch {
	case p.fill:
		return usagef("--fill: it goes with --brokers: a Kafka inside this process is filled anyhow")
	case p.addrs != "":
		return usagef("--redis: it goes with --brokers: the Kafka inside this process ends with it, and Redis would keep the features of a log that is gone")
	}
	known := samples(p.seed, p.events)
	for _, t := range topics(p.vs) {
		if _, ok := known[t]; !ok {
			return usagef("nothing is known to fill topic %s with, only %s: name the Kafka that holds it with --brokers",
				t, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
	}
	return p.checkSources(p.vs)
}

// connect opens the servers that are named and starts the others.
func (p *projectRun) connect(ctx context.Context) (err error) {
	if p.brokers == "" {
		p.notices = io.Discard // what the worker tells of an embedded log is of no use
		err = p.embedLog(ctx)
	} else {
		p.client, err = p.common.open(ctx)
	}
	if err != nil {
		return err
	}
	if p.addrs == "" {
		return p.embedRedis(ctx)
	}
	p.redis, err = p.redisFlags.open(ctx)
	return err
}

// both fills both stores from one cut and compares them.
func (p *projectRun) both(ctx context.Context) (*runOutput, error) {
	cut, err := p.cut(ctx)
	var missing *log.MissingTopicError
	if errors.As(err, &missing) && samples(0, 0)[missing.Topic].partitions > 0 {
		err = fmt.Errorf("%w; --fill creates it and fills it with samples", err)
	}
	if err != nil {
		return nil, err
	}
	m := p.meter.phase("stream", viewRecords(cut, p.vs))
	err = p.follow(ctx, cut, m, nil)
	m.end()
	if err != nil {
		return nil, err
	}
	for _, v := range p.vs { // an earlier definition may still be live: this one has caught up
		if _, err := p.redis.SetLive(ctx, v.Name, v.Fingerprint, false); err != nil {
			return nil, err
		}
	}
	fmt.Fprintf(p.w, "Redis    the features of %d views, kept by the stream worker (%.1f s)\n", len(p.vs), m.took().Seconds())
	out := &runOutput{Filled: p.filled}
	if out.Replay, err = p.replay(ctx, cut); err != nil {
		return nil, err
	}
	if out.Reconcile, err = p.judge(ctx); out.Reconcile == nil {
		return nil, err
	}
	return out, errors.Join(err, p.show(ctx, out.Reconcile))
}
