package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/batch"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/transforms/definition"
)

// estimateFlags say what is done with what a replay will take (B3).
type estimateFlags struct {
	estimate bool
	force    bool
	volumeOf func(dir string) (volume, bool) // nil = the system's
}

func (e *estimateFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&e.estimate, "estimate", false, "print about how much is to be read and how much disk that takes, and do nothing")
	f.BoolVar(&e.force, "force", false, "begin also where the estimate says that the disk will not do")
}

// volume is where files lie.
type volume struct {
	device uint64
	free   int64 // bytes, for this user
}

// estimatedFrom is from how many records on a replay is estimated without being asked:
// below, it is done as soon as its estimate.
const estimatedFrom = 250_000

// estimate is what the replay of a view will take.
type estimate struct {
	View    string `json:"view"`
	Records int64  `json:"records"` // offsets of the cut, of which transactions take some
	// Sampled of them were read as the replay does, and left BytesPerRecord.
	Sampled        int64   `json:"sampled_records"`
	BytesPerRecord float64 `json:"bytes_per_record"`
	// Work is what all of them leave in the work area, less what an earlier run has left
	// there.
	Work int64 `json:"work_bytes"`
	// Rows is what the rows of the tables take there besides, and Tables what they do as
	// Parquet: see batch.Foreseen.
	Rows     int64 `json:"row_bytes"`
	Tables   int64 `json:"table_bytes"`
	Features int64 `json:"feature_rows"`
	Tiles    int64 `json:"tile_rows"`
	// Spill is what sorting may take besides, at one time.
	Spill int64 `json:"spill_bytes"`

	had int64 // bytes of an earlier run
}

// estimateOutput is what `replay --estimate --json` prints.
type estimateOutput struct {
	Views []estimate `json:"views"`
}

// RoomError says that a replay will not find the disk that it needs.
type RoomError struct {
	View  string
	Need  int64  // bytes
	Where string // they go to
	Has   string // what there is
}

func (e *RoomError) Error() string {
	return fmt.Sprintf("view %s: about %s of rows will go to %s, and %s: give it more, or begin anyway with --force", e.View, sizeText(e.Need), e.Where, e.Has)
}

// sizeText tells a size for people.
func sizeText(n int64) string {
	for _, s := range []struct {
		size int64
		unit string
	}{{1e12, "TB"}, {1e9, "GB"}, {1e6, "MB"}} {
		if n >= s.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(s.size), s.unit)
		}
	}
	return fmt.Sprintf("%d KB", (n+999)/1000)
}

// foresee estimates what the views will take, tells of it, and refuses what cannot be.
// With --estimate it prints that instead, and done is true.
func (r *replayFlags) foresee(ctx context.Context, w, notices io.Writer, client *log.Client, cut *schemas.Cut, vs []*definition.View) (done bool, err error) {
	out := estimateOutput{Views: []estimate{}}
	for _, v := range vs {
		tc := cut.Topics[v.Source.Topic]
		if !r.estimate && cutRecords(tc) < estimatedFrom {
			continue
		}
		e, err := r.estimateOf(ctx, client, v, tc)
		if err != nil {
			return false, fmt.Errorf("view %s: %w", v.Name, err)
		}
		out.Views = append(out.Views, *e)
	}
	if r.estimate && r.json {
		err = printJSON(w, out)
	}
	for i := range out.Views {
		switch e := &out.Views[i]; {
		case !r.estimate:
			e.print(notices)
		case !r.json:
			e.print(w)
		}
	}
	for i := range out.Views {
		if err == nil && !r.force {
			err = r.checkRoom(&out.Views[i])
		}
	}
	return r.estimate, err
}

func (e *estimate) print(w io.Writer) {
	fmt.Fprintf(w, "view %s: %d records to read, which leave about %s of rows until they are published (%.0f bytes a record, of %d that were sampled), the rows of the tables about %s besides (%d of features, %d tiles), of which the files take %s",
		e.View, e.Records, sizeText(e.Work), e.BytesPerRecord, e.Sampled, sizeText(e.Rows), e.Features, e.Tiles, sizeText(e.Tables))
	if e.Spill > 0 {
		fmt.Fprintf(w, "; sorting spills up to %s", sizeText(e.Spill))
	}
	fmt.Fprintln(w)
}

// estimateOf samples a view's log.
func (r *replayFlags) estimateOf(ctx context.Context, client *log.Client, v *definition.View, tc schemas.TopicCut) (*estimate, error) {
	source, err := r.source(v)
	if err != nil {
		return nil, err
	}
	o, whole, _, err := r.startOf(ctx, client, v, tc)
	if err != nil {
		return nil, err
	}
	rest := whole
	if o.continued {
		rest = begunAt(tc, ends(o.upon.Info.Cut))
	}
	part := &batch.Replay{View: v, Source: source, Log: client, Cut: rest}
	sample, err := part.Sample(ctx)
	var tables batch.Foreseen
	if err == nil && r.out != "" {
		tables, err = part.Foresee(ctx)
	}
	if err != nil {
		return nil, err
	}
	e := &estimate{View: v.Name, Records: cutRecords(rest), Sampled: sample.Offsets, BytesPerRecord: sample.PerOffset(),
		Rows: tables.Work, Tables: tables.Tables, Features: tables.Features, Tiles: tables.Tiles}
	all := int64(e.BytesPerRecord * float64(e.Records))
	if e.had, err = r.left(ctx, v, whole, o); err != nil {
		return nil, err
	}
	e.Work = max(0, all-e.had)
	// Each of the folds that run at once sorts one shard after the other: in the worst case
	// that of the heaviest entity is among them.
	heaviest := int64(tables.Heaviest * float64(all))
	shard, memory := (all-heaviest)/int64(v.Spec.Shards), int64(r.rows())/2/int64(r.atOnce())/4*3
	if r.planning {
		return e, nil
	}
	if shard > memory {
		e.Spill = shard * int64(min(r.atOnce(), v.Spec.Shards)-1)
	}
	if shard+heaviest > memory {
		e.Spill += shard + heaviest
	}
	return e, nil
}

// ends is a cut of nothing where another one ends.
func ends(cut schemas.TopicCut) schemas.TopicCut {
	cut.Partitions = maps.Clone(cut.Partitions)
	for p, pc := range cut.Partitions {
		pc.Start = pc.End
		cut.Partitions[p] = pc
	}
	return cut
}

// left is how many bytes an earlier run of the same job has left.
func (r *replayFlags) left(ctx context.Context, v *definition.View, tc schemas.TopicCut, o jobOptions) (int64, error) {
	if r.out == "" {
		return 0, nil
	}
	id, err := r.idOf(v, tc, o)
	if err != nil {
		return 0, err
	}
	work, err := r.workOf(v, id, nil)
	if err != nil {
		return 0, err
	}
	return work.Size(ctx)
}

// margin: an estimate of what reading leaves is trusted to this part, one of the rows
// of tables to rowMargin.
const (
	margin    = 0.8
	rowMargin = 0.5
)

// least is what of the need there is at least.
func least(read, rows int64) int64 { return int64(margin*float64(read) + rowMargin*float64(rows)) }

// checkRoom refuses what --disk or a volume has clearly no room for.
func (r *replayFlags) checkRoom(e *estimate) error {
	if read := e.Work + e.had + e.Spill; r.disk > 0 && least(read, e.Rows) > int64(r.disk) {
		return &RoomError{e.View, read + e.Rows, "the work area and --spill-dir", fmt.Sprintf("--disk is %v", &r.disk)}
	}
	volumes := map[uint64]volume{}
	takes, first := map[uint64]place{}, map[uint64]string{}
	var order []uint64
	for _, p := range r.places(e) {
		v, ok := r.volume(p.dir)
		if !ok || p.read+p.rows == 0 {
			continue
		}
		if _, seen := volumes[v.device]; !seen {
			order, volumes[v.device], first[v.device] = append(order, v.device), v, p.dir
		}
		takes[v.device] = place{read: takes[v.device].read + p.read, rows: takes[v.device].rows + p.rows}
	}
	for _, d := range order {
		if t := takes[d]; least(t.read, t.rows) > volumes[d].free {
			return &RoomError{e.View, t.read + t.rows, first[d], fmt.Sprintf("its volume has %s free", sizeText(volumes[d].free))}
		}
	}
	return nil
}

// place is a directory that takes bytes.
type place struct {
	dir        string
	read, rows int64 // see least
}

// places says what goes where on this machine.
func (r *replayFlags) places(e *estimate) []place {
	work := r.units.work
	if work == "" {
		work = r.out
	}
	switch {
	case work == "": // nothing is published: units leave their rows where they spill
		work = r.spill
	case offline.IsURL(work): // what is read of it is copied
		work = r.spill
		if r.planning {
			return nil
		}
	}
	out := []place{{work, e.Work, e.Rows}, {r.spill, e.Spill, 0}}
	if r.out != "" && !offline.IsURL(r.out) {
		out = append(out, place{r.out, 0, e.Tables})
	}
	return out
}

// volume is that of a directory, or of the first one above it that there is.
func (r *replayFlags) volume(dir string) (volume, bool) {
	of := r.volumeOf
	if of == nil {
		of = volumeOf
	}
	dir, err := filepath.Abs(dir)
	for err == nil {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	return of(dir)
}
