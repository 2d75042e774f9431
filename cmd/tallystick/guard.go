package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/store/gate"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/stream"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
)

// guardFlags say what a stream is guarded by (B6).
type guardFlags struct {
	from   string // "" = it is not
	mode   string // "" = guardAlarm
	limits string // the file
	root   *offline.Root
	every  time.Duration // no flag: 0 = guardEvery
}

// The modes of the guard.
const (
	guardAlarm = "alarm"
	guardHold  = "hold"
)

// guardEvery is the distance of two looks for a new publication.
const guardEvery = time.Minute

func (g *guardFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&g.from, "guard", "", "hold what is folded against the figures that were accepted with the tables in `DIR`, or at a URL, as given to replay --out: docs/gate.md")
	f.StringVar(&g.mode, "guard-mode", guardAlarm, "with --guard: what happens when figures lie far outside, a `MODE`: alarm: it is told; hold: what has them does not become visible, until replay accept")
	f.StringVar(&g.limits, "gate-limits", "", "with --guard: YAML `FILE` with limits in place of the defaults, as of replay")
}

// check refuses what are no tables of these views.
func (g *guardFlags) check(vs []*definition.View, scratch string) (err error) {
	if g.mode != "" && !slices.Contains([]string{guardAlarm, guardHold}, g.mode) {
		return usagef("--guard-mode: %q is neither alarm nor hold", g.mode)
	}
	if g.from == "" {
		if g.limits != "" || g.mode == guardHold {
			return usagef("--guard-mode, --gate-limits: they go with --guard: name the directory that was given to replay --out")
		}
		return nil
	}
	if _, err := g.options(); err != nil {
		return err
	}
	g.root, err = openTablesOf("--guard", g.from, scratch, vs)
	return err
}

func (g *guardFlags) options() (gate.Options, error) {
	return (&gateFlags{limits: g.limits}).options()
}

func (g *guardFlags) close() {
	if g.root != nil {
		g.root.Close()
	}
}

// heldStore keeps what holds a view, beside its states: a process that is started again
// must not let through what the one before held.
type heldStore interface {
	Held(ctx context.Context) ([]byte, error)
	SetHeld(ctx context.Context, b []byte) error
}

// guard returns the guard of a view, which has looked at the tables once; nil where
// none is asked for.
func (g *guardFlags) guard(ctx context.Context, v *definition.View, store heldStore, notices io.Writer) (*viewGuard, error) {
	if g.root == nil {
		return nil, nil
	}
	o, err := g.options()
	if err != nil {
		return nil, err
	}
	tables, err := g.root.Tables(v)
	if err != nil {
		return nil, usagef("--guard: %w", err)
	}
	engine, err := transforms.NewView(v.Spec)
	if err != nil {
		return nil, err
	}
	vg := &viewGuard{gate: gate.NewGuard(engine, v.Snapshots, o), view: v, from: g.from, least: o.Least, hold: g.mode == guardHold, version: -1,
		features: tables.Table(offline.Features), store: store, notices: notices, moved: make(chan struct{}, 1)}
	if err := vg.refresh(ctx); err != nil {
		if bad, _ := errors.AsType[*exitError](err); vg.hold || bad != nil || ctx.Err() != nil {
			return nil, err
		}
		vg.say(fmt.Sprintf("the guard guards nothing yet, and looks again: %v", err)) // an alarm stops nobody
	}
	return vg, vg.keep(ctx)
}

// viewGuard is the guard of one view's worker: it looks at the tables, and tells.
type viewGuard struct {
	gate     *gate.Guard
	view     *definition.View
	from     string
	least    int
	hold     bool
	features *offline.Table
	notices  io.Writer

	version int64  // of the table, as last looked at
	said    string // what was told last: once is enough

	store    heldStore
	moved    chan struct{} // what stands is another one than before
	keeping  sync.Mutex    // of what the store has
	mu       sync.Mutex    // of lines
	breaches atomic.Int64  // told so far
	held     atomic.Bool
	dates    atomic.Int64 // of the baseline; 0 = nothing is guarded
}

// follow looks for new publications, and keeps what stands as soon as it changes, until
// ctx ends.
func (g *viewGuard) follow(ctx context.Context, interval time.Duration) {
	if g == nil {
		return
	}
	if interval == 0 {
		interval = guardEvery
	}
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-g.moved:
		case <-t.C:
			err = g.refresh(ctx)
		}
		if err = errors.Join(err, g.keep(ctx)); err != nil && ctx.Err() == nil {
			g.say(fmt.Sprintf("the guard goes on with what it has: %v", err))
		}
	}
}

// keep makes what the store has what stands, also by what other processes have put
// there. An alarm lets go of it.
func (g *viewGuard) keep(ctx context.Context) error {
	g.keeping.Lock()
	defer g.keeping.Unlock()
	there, err := g.store.Held(ctx)
	if err != nil {
		return err
	}
	var now []byte
	if g.hold {
		var breaches []gate.Breach
		if there != nil {
			if err := json.Unmarshal(there, &breaches); err != nil {
				return fmt.Errorf("what holds view %s in Redis does not decode: %w; `tallystick stream --guard-mode alarm` removes it", g.view.Name, err)
			}
		}
		g.gate.Resume(breaches)
		if standing := g.gate.Standing(); len(standing) > 0 {
			if now, err = json.Marshal(standing); err != nil {
				return err
			}
		}
	}
	if bytes.Equal(now, there) {
		return nil
	}
	return g.store.SetHeld(ctx, now)
}

// end keeps what stands when the worker has ended.
func (g *viewGuard) end(ctx context.Context) {
	if g == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), partingTime)
	defer cancel()
	if err := g.keep(ctx); err != nil {
		g.tell(fmt.Sprintf("what holds it could not be kept, so the next start begins to count anew: %v", err))
	}
}

// say tells something, unless it was the last thing that was told.
func (g *viewGuard) say(text string) {
	if text != g.said {
		g.said = text
		g.tell(text)
	}
}

func (g *viewGuard) tell(text string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	fmt.Fprintf(g.notices, "%s: %s\n", g.view.Name, printable(text))
}

// refresh takes up the newest publication, unless it is known.
func (g *viewGuard) refresh(ctx context.Context) error {
	newer, err := g.features.Newer(ctx, g.version)
	if err != nil {
		return err
	}
	if !newer {
		if g.version < 0 {
			g.say(fmt.Sprintf("the guard guards nothing: nothing has been published in %s yet; `tallystick replay` writes it", g.from))
		}
		return nil
	}
	s, err := g.features.Snapshot(ctx, offline.Latest)
	if err != nil {
		return err
	}
	info, err := g.features.Ours(s)
	if err != nil {
		return fmt.Errorf("%s: %w", g.from, err)
	}
	if info == nil || info.Gate == nil {
		g.version = s.Version
		g.say(fmt.Sprintf("the guard guards nothing: the publication in %s has no figures of the gate; `tallystick replay` writes them", g.from))
		return nil
	}
	if info.Fingerprint != g.view.Fingerprint {
		return usagef("--guard: the figures in %s are of definition %.8s of view %s, the stream's is %.8s: publish this one with `tallystick replay`, or name the directory that has it", g.from, info.Fingerprint, g.view.Name, g.view.Fingerprint)
	}
	if info.Entities != nil {
		return usagef("--guard: the figures in %s are of %v alone: name the directory of tables of all", g.from, info.Entities)
	}
	rec, err := gate.Decode(info.Gate)
	if err != nil {
		return fmt.Errorf("table features of view %s in %s, version %d: %w", g.view.Name, g.from, s.InfoVersion, err)
	}
	g.accept(rec, info)
	g.version = s.Version
	return nil
}

// accept makes a publication's figures what is usual.
func (g *viewGuard) accept(rec *gate.Record, info *offline.Info) {
	read := map[int32]int64{}
	for i := range info.Ledgers {
		read[info.Ledgers[i].Partition] += info.Ledgers[i].Read()
	}
	dates := g.gate.Accept(rec, read)
	if dates < g.least {
		g.dates.Store(0)
		g.say(fmt.Sprintf("the guard guards nothing: %s has the figures of %d dates, and it needs %d", g.from, dates, g.least))
		return
	}
	g.dates.Store(int64(dates))
	g.say(fmt.Sprintf("guarded by the figures of %d dates in %s, the newest %v", dates, g.from, rec.Profiles[len(rec.Profiles)-1].Day))
}

// Watch implements stream.Guard. Who had the partition before may have been held.
func (g *viewGuard) Watch(partition int32) stream.Watch {
	if g.hold {
		ctx, cancel := context.WithTimeout(context.Background(), partingTime)
		defer cancel()
		if err := g.keep(ctx); err != nil {
			g.tell(fmt.Sprintf("what holds it could not be read: %v", err))
		}
	}
	return &partitionGuard{g.gate.Watch(partition), g}
}

// Leave implements stream.Guard.
func (g *viewGuard) Leave(partition int32) { g.gate.Leave(partition) }

// partitionGuard is a stream.Watch.
type partitionGuard struct {
	*gate.Watch
	g *viewGuard
}

// Hold implements stream.Watch: it tells each breach once.
func (p *partitionGuard) Hold() string {
	standing, fresh := p.g.gate.Judge(p.Watch)
	p.g.breaches.Add(int64(fresh))
	for i := range standing[:fresh] {
		p.g.tell("the guard: " + standing[i].String())
	}
	if !p.g.hold {
		return ""
	}
	if was := p.g.held.Swap(len(standing) > 0); fresh > 0 || was != (len(standing) > 0) {
		select {
		case p.g.moved <- struct{}{}:
		default: // it will be looked at
		}
	}
	if len(standing) == 0 {
		return ""
	}
	text := standing[0].String()
	if n := len(standing) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more)", n)
	}
	return fmt.Sprintf("%s; if that is right, `tallystick replay` and then `tallystick replay accept --out %s` let it go on, or --guard-mode alarm at once; if not, mend the source", text, p.g.from)
}
