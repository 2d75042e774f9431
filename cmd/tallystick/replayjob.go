package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/batch"
	"github.com/tallystick/tallystick/cmd/wire"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/gate"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/store/spill"
	"github.com/tallystick/tallystick/transforms/definition"
)

// unitFlags say how a replay is divided into units, and run (B4).
type unitFlags struct {
	work      string
	records   int64
	publish   string // "" = publishProvisional
	timeout   time.Duration
	retries   int
	kafkaRate bytesFlag
}

func (u *unitFlags) add(cmd *cobra.Command) {
	u.addRun(cmd)
	u.addRecords(cmd)
}

func (u *unitFlags) addRun(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&u.work, "work", "", workUsage)
	f.DurationVar(&u.timeout, "unit-timeout", time.Hour, "give up a unit that takes longer than this `DURATION`")
	f.IntVar(&u.retries, "unit-retries", 3, "try a unit `N` times more that timed out, or could not reach a server")
	f.Var(&u.kafkaRate, "kafka-rate", "read at most this `SIZE` of keys and values a second from Kafka (default: no limit)")
}

const workUsage = "directory or URL `DIR` where units leave their rows until they are published (default: --out)"

const defaultUnitRecords = 250_000

// defaultUnits is for replays within other commands.
func defaultUnits() unitFlags {
	return unitFlags{records: defaultUnitRecords, timeout: time.Hour, retries: 3}
}

// What of table features is published.
const (
	publishFinal       = "final"
	publishProvisional = "provisional"
)

func (u *unitFlags) addRecords(cmd *cobra.Command) {
	cmd.Flags().StringVar(&u.publish, "publish", publishProvisional, "which rows of features, a `KIND`: provisional: up to the log's clock, those that can still change marked final = false; final: those alone that cannot")
	cmd.Flags().Int64Var(&u.records, "unit-records", defaultUnitRecords, "read about `N` records of a partition in one unit: after a kill, no more are read twice")
}

func (u *unitFlags) check() error {
	switch {
	case u.records < 1:
		return usagef("--unit-records: %d is too few: name 1 or more", u.records)
	case u.timeout <= 0:
		return usagef("--unit-timeout: %v is no time to do anything in: name 1m or more", u.timeout)
	case u.retries < 0:
		return usagef("--unit-retries: %d is no number of times: name 0 or more", u.retries)
	}
	if u.publish != "" && u.publish != publishFinal && u.publish != publishProvisional {
		return usagef("--publish: %q is neither final nor provisional", u.publish)
	}
	return checkTree("--work", u.work)
}

// viewJob is the replay of one view: its units, and what they write.
type viewJob struct {
	r      *replayFlags
	id     string
	view   *definition.View
	cut    schemas.TopicCut
	from   schemas.Micros // see batch.Replay.ValidFrom
	replay *batch.Replay
	work   *offline.Work
	tables *offline.Tables // nil = none are written
	run    *offline.Run    // the same
	units  []string        // of the replay
	remove func()          // the scratch directory
	// Of a run that others share: which of the processes this is.
	share, of int
	carried   *batch.From     // what the tables hold that the job goes on from, nil = the log's start
	earlier   json.RawMessage // what they carry besides, see carryNote
	entities  *offline.EntityRange
	upon      *offline.Published // what the job is built upon, see jobOptions
	accepted  *gate.Record       // of a run that was held; nil = the gate is asked
	read      int64              // records, by this process
	found     atomic.Int64       // units that were finished before
	ran       atomic.Int64
	waiting   func(unit string, more int) // see batch.Driver
}

// jobOptions say what a view's job goes on from.
type jobOptions struct {
	id        string // "" = it depends on what the job is of
	from      schemas.Micros
	base      map[offline.TableName]int64 // nil = the newest versions
	upon      *offline.Published          // what is gone on from, or whose dates are replaced; nil = nothing
	continued bool                        // upon is gone on from
	dates     *batch.Dates                // nil = all
	entities  *offline.EntityRange        // nil = all
	records   int64
	finalOnly bool
	share, of int
	planned   bool // what it builds upon is fixed
}

// job begins the replay of a view, or goes on with one that was killed. Close it.
func (r *replayFlags) job(ctx context.Context, client *log.Client, v *definition.View, tc schemas.TopicCut, o jobOptions) (_ *viewJob, err error) {
	source, err := r.source(v)
	if err != nil {
		return nil, err
	}
	dir, remove, err := r.scratch()
	if err != nil {
		return nil, err
	}
	j := &viewJob{r: r, view: v, cut: tc, from: o.from, upon: o.upon, entities: o.entities, remove: remove, share: o.share, of: o.of}
	defer func() {
		if err != nil {
			j.close()
		}
	}()
	if o.id == "" {
		if o.id, err = r.idOf(v, tc, o); err != nil {
			return nil, err
		}
	}
	j.id = o.id
	disk := spill.NewDisk(int64(r.disk))
	disk.Files = r.files
	keep := offline.Keep{Quarantine: r.quarantine != "" || r.out != ""}
	if r.out == "" {
		j.work = offline.NewWork(offline.NewScratch(dir).On(r.system()), "units", disk)
	} else {
		if keep.Tables, err = r.tables(r.out, r.spill, v); err != nil {
			return nil, err
		}
		if j.work, err = r.workOf(v, o.id, disk); err == nil && o.of <= 1 { // others answer for what they leave
			err = j.work.Account(ctx)
		}
		if err != nil {
			return nil, err
		}
	}
	brake := (&memoryFlag{r.memory}).brake()
	memory := r.rows() / 2 // the rest: what is read, folded, written and not collected yet
	j.replay = &batch.Replay{View: v, Source: source, Log: wire.Throttled(client, int64(r.units.kafkaRate)), Cut: tc, FinalOnly: o.finalOnly, Dates: o.dates, Work: wire.Work{Work: j.work, Keep: keep},
		Parallel: r.atOnce(), Memory: memory, Disk: disk, SpillDir: dir, ValidFrom: o.from, ReadRecords: o.records, Brake: brake}
	if j.replay.Entities, err = entitiesOf(v, o.entities); err != nil {
		return nil, err
	}
	if o.continued {
		carry := wire.Carry{Published: o.upon, Shards: v.Spec.Shards, Options: offline.RestoreOptions{SpillDir: dir, Memory: memory / r.atOnce() / 2, Disk: disk}}
		if j.carried, err = carry.From(); err != nil {
			return nil, err
		}
		j.replay.From, j.earlier = j.carried, o.upon.Info.Carry
	}
	if o.dates != nil && o.upon != nil {
		if j.replay.Was, err = (&wire.Carry{Published: o.upon}).From(); err != nil {
			return nil, err
		}
	}
	if j.units, err = j.replay.Units(); err != nil {
		return nil, err
	}
	if r.out != "" {
		j.tables = keep.Tables
		var figures func() offline.Figures
		if figures, err = gateFigures(v); err != nil {
			return nil, err
		}
		j.run, err = keep.Tables.NewRun(ctx, j.work, offline.RunOptions{ID: o.id, Units: j.units, Base: o.base, SpillDir: dir, Memory: memory / r.atOnce(), Disk: disk, Figures: figures, Brake: brake})
	}
	if err == nil && r.out != "" {
		err = j.checkEntities()
	}
	if err == nil && (o.continued || o.dates != nil) {
		err = j.goesOnFrom(o.publication())
	}
	return j, err
}

// publication returns the id of what the job is built upon, "" for nothing.
func (o *jobOptions) publication() string {
	if o.upon == nil {
		return ""
	}
	return o.upon.Info.ID
}

// goesOnFrom refuses tables that have moved on since they were looked at. Commits on
// top that are of no publication are built upon.
func (j *viewJob) goesOnFrom(id string) error {
	now, err := j.run.Before()
	if err == nil && (now == nil) != (id == "") || now != nil && now.ID != id {
		err = offline.ErrConflict
	}
	return err
}

// idOf names a view's job.
func (r *replayFlags) idOf(v *definition.View, tc schemas.TopicCut, o jobOptions) (string, error) {
	b, err := build()
	if err != nil {
		return "", err
	}
	rules, err := r.rulesOf(v)
	if err != nil {
		return "", err
	}
	id := jobID(b, rules, v, tc, o.from, o.records, o.finalOnly, o.base)
	return namedBy(id, o.publication(), o.dates, o.entities), nil
}

// namedBy is the id of a job that is built upon a publication, or is of dates or
// entities.
func namedBy(id, publication string, d *batch.Dates, e *offline.EntityRange) string {
	if publication == "" && d == nil && e == nil {
		return id
	}
	text := id + publication
	if d != nil {
		text = fmt.Sprint(text, *d)
	}
	if e != nil {
		text = fmt.Sprint(text, e)
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:10])
}

// workOf is the work area of a view's job.
func (r *replayFlags) workOf(v *definition.View, id string, disk *spill.Disk) (*offline.Work, error) {
	root, at, err := r.workRoots()
	if err != nil {
		return nil, err
	}
	return at.Work(root, v.Name, id, disk)
}

// workRoots returns where the tables lie, and where the work areas do.
func (r *replayFlags) workRoots() (root, at *offline.Root, err error) {
	if root, err = r.openRoot(r.out, r.spill); err != nil || r.units.work == "" {
		return root, root, err
	}
	if at, err = offline.OpenRoot(r.units.work, offline.RootOptions{Calls: root.Calls(), Scratch: r.spill, Files: r.files}); err != nil {
		err = usagef("--work: %w", err)
	}
	return root, at, err
}

func (j *viewJob) close() {
	if j.work != nil {
		j.work.Close()
	}
	j.remove()
}

// unfinished returns the unit whose rows an error says are missing, "" for others.
func unfinished(err error) string {
	var u *batch.UnfinishedError
	var o *offline.UnfinishedError
	switch {
	case errors.As(err, &u):
		return u.Unit
	case errors.As(err, &o):
		return o.Unit
	}
	return ""
}

// knownError says that writer schemas which units did not know are known now: the
// rows of these units and of later ones do not belong together.
type knownError struct{ ids []int }

func (e *knownError) Error() string {
	return fmt.Sprintf("writer schemas %v have been registered while the log was read", e.ids)
}

// maxRounds is how often a job is begun anew: what it had left may be removed by
// another one that has published, and schemas may be registered meanwhile.
const maxRounds = 4

// withJob calls fn with a view's job, anew where what it found has become void. Jobs
// that are shared come to the same areas: each goes on from the one before.
func (r *replayFlags) withJob(ctx context.Context, client *log.Client, v *definition.View, tc schemas.TopicCut, o jobOptions, fn func(j *viewJob) error) error {
	for round := 1; ; round++ {
		id, err := r.inJob(ctx, client, v, tc, o, fn)
		var known *knownError
		switch {
		case round == maxRounds:
			return err
		case errors.As(err, &known):
			sum := sha256.Sum256(fmt.Append(nil, id, known.ids))
			o.id = hex.EncodeToString(sum[:10])
		case unfinished(err) == "":
			return err
		}
	}
}

func (r *replayFlags) inJob(ctx context.Context, client *log.Client, v *definition.View, tc schemas.TopicCut, o jobOptions, fn func(j *viewJob) error) (id string, err error) {
	j, err := r.job(ctx, client, v, tc, o)
	if err != nil {
		return "", o.told(err)
	}
	defer j.close()
	return j.id, o.told(fn(j))
}

// told adds what to do to the error that another job has published first.
func (o *jobOptions) told(err error) error {
	if !errors.Is(err, offline.ErrConflict) {
		return err
	}
	again := "run it again"
	if o.planned {
		again = "plan, or replay, anew"
	}
	return fmt.Errorf("%w; nothing of this run is visible: %s", err, again)
}

// toRead returns how many offsets of the cut are the job's to read.
func (j *viewJob) toRead() int64 {
	n := cutRecords(j.cut)
	if j.carried != nil {
		n -= cutRecords(j.carried.Cut)
	}
	return n
}

// checkSchemas tells whether all that was read belongs together.
func (j *viewJob) checkSchemas(ctx context.Context) error {
	ids, err := j.replay.KnownNow(ctx)
	if err == nil && len(ids) > 0 {
		err = &knownError{ids}
	}
	return err
}

// runUnits runs what is not finished, phase by phase: reads, folds, writes.
func (j *viewJob) runUnits(ctx context.Context) error {
	reads, err := j.replay.Reads()
	if err != nil {
		return err
	}
	folds, err := j.replay.Folds()
	if err != nil {
		return err
	}
	phase := j.r.meter.phase("replay "+j.view.Name, j.toRead())
	j.replay.Progress = phase.done
	err = j.driver(j.r.atOnce()).Run(ctx, reads)
	j.read += phase.done.Load()
	phase.end()
	if err == nil {
		err = j.checkSchemas(ctx)
	}
	if err != nil {
		return err
	}
	j.r.free() // what reading took goes before folding takes its own (B3)
	phase = j.r.meter.phaseOf("fold "+j.view.Name, "units", int64(len(folds)))
	d := j.driver(j.r.atOnce())
	counted := d.Done
	d.Done = func(unit string, ran bool) { phase.done.Add(1); counted(unit, ran) }
	err = d.Run(ctx, folds)
	phase.end()
	j.r.free()
	if err == nil {
		err = j.work.Close() // nobody reads the read units' rows any more, but those of quarantine
	}
	if err != nil || j.run == nil {
		return err
	}
	cut, err := j.clocked(ctx)
	if err == nil {
		err = j.run.Recheck(ctx)
	}
	if err != nil {
		return err
	}
	return j.driver(j.r.writers()).Run(ctx, j.writes(cut))
}

// free gives back memory that nothing uses any more, where the process is bounded.
func (r *replayFlags) free() {
	if r.memory >= leastMemory {
		debug.FreeOSMemory()
	}
}

// atOnce is how many units run at once: of a small memory each would have too little for
// what it fetches and unpacks, on a machine of many processors, and pass it (B3).
func (r *replayFlags) atOnce() int {
	if r.memory < leastMemory {
		return max(1, r.parallel)
	}
	return max(1, min(r.parallel, int(r.memory)/unitMemory))
}

// writers is how many files are written at once: each holds a row group.
func (r *replayFlags) writers() int {
	return min(r.atOnce(), max(1, int(r.memory)/writerMemory))
}

const (
	unitMemory   = 40_000_000
	writerMemory = 128_000_000
)

func (j *viewJob) driver(parallel int) *batch.Driver {
	u := &j.r.units
	return &batch.Driver{Work: j.replay.Work, Share: j.share, Of: j.of, Parallel: parallel, Timeout: u.timeout, Retries: u.retries,
		Transient: log.Transient, Done: j.done, Waiting: j.waiting}
}

func (j *viewJob) done(_ string, ran bool) {
	if ran {
		j.ran.Add(1)
	} else {
		j.found.Add(1)
	}
}

// writes are the units that write files.
func (j *viewJob) writes(cut schemas.TopicCut) (lanes []batch.Lane) {
	for i := range offline.WriteUnits {
		lanes = append(lanes, batch.Lane{{Name: offline.WriteUnit(i), Run: func(ctx context.Context) error { return j.run.Write(ctx, i, cut) }}})
	}
	return lanes
}

// clocked returns the cut with the clocks at its end, all read units being finished.
func (j *viewJob) clocked(ctx context.Context) (schemas.TopicCut, error) {
	clocks, err := j.replay.Clocks(ctx)
	if err != nil {
		return schemas.TopicCut{}, err
	}
	cut := j.cut
	cut.Partitions = maps.Clone(cut.Partitions)
	(&batch.Report{Clocks: clocks}).Clocked(cut)
	return cut, nil
}

// whole runs a view's job from where it stands to its publication. The clocks are
// filled in to the cut.
func (r *replayFlags) whole(ctx context.Context, client *log.Client, v *definition.View, tc schemas.TopicCut, o jobOptions) (view *replayedView, err error) {
	err = r.withJob(ctx, client, v, tc, o, func(j *viewJob) error {
		if err := j.runUnits(ctx); err != nil {
			return err
		}
		var clocked schemas.TopicCut
		if view, clocked, err = j.publish(ctx); err == nil {
			maps.Copy(tc.Partitions, clocked.Partitions)
		}
		return err
	})
	return view, err
}
