package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/batch"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/files"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
)

// trainFlags are the flags of `train`.
type trainFlags struct {
	common
	startFlags
	limits
	view, service string
	labels        string
	output        string
	knowledge     string
	cut, saveCut  string
	read          offline.LabelOptions
	meter         *meter // nil = no progress
}

// limits bound what a batch command takes.
type limits struct {
	memory   bytesFlag
	parallel int
	spill    string
}

func (l *limits) add(cmd *cobra.Command, memory string) {
	l.memory = 512_000_000
	cmd.Flags().Var(&l.memory, "memory", memory)
	cmd.Flags().IntVar(&l.parallel, "parallel", runtime.GOMAXPROCS(0), "work on `N` partitions and shards at once")
	cmd.Flags().StringVar(&l.spill, "spill-dir", os.TempDir(), "`DIR` where rows are spilled that do not fit into memory")
	cmd.Flags().Lookup("parallel").DefValue = "one per processor" // help says the same on every machine
	cmd.Flags().Lookup("spill-dir").DefValue = "the system's"
}

// check refuses limits that are none.
func (l *limits) check() error {
	if l.parallel < 1 {
		return usagef("--parallel: %d is too few: name 1 or more", l.parallel)
	}
	return checkDir("--spill-dir", l.spill)
}

// scratch returns a directory for one run's spill and how to remove it.
func (l *limits) scratch() (string, func(), error) {
	dir, err := os.MkdirTemp(l.spill, "tallystick-spill-")
	if err != nil {
		return "", nil, usagef("--spill-dir: %w", told(l.spill, "directory", err))
	}
	return dir, func() { os.RemoveAll(dir) }, nil
}

func trainCommand() *cobra.Command {
	var t trainFlags
	cmd := &cobra.Command{
		Use:   "train --labels FILE (--view NAME | --service NAME) -o FILE",
		Short: "Answer labels with point-in-time features, as Parquet",
		RunE:  func(cmd *cobra.Command, _ []string) error { return t.run(cmd) },
	}
	t.readFlags(cmd)
	t.startFlags.add(cmd)
	t.limits.add(cmd, "`SIZE` of the memory that holds the labels' records while they are folded; the rest is spilled")
	f := cmd.Flags()
	f.StringVar(&t.view, "view", "", "answer with the features of the view `NAME`")
	f.StringVar(&t.service, "service", "", "answer with the features of the service `NAME`")
	f.StringVar(&t.labels, "labels", "", "CSV or Parquet `FILE`: key fields, a timestamp, other columns carried through")
	f.StringVarP(&t.output, "output", "o", "", "Parquet `FILE` to write")
	f.StringVar(&t.knowledge, "knowledge", string(batch.Complete), "answer with `KNOWLEDGE` complete, what is true by the cut, or arrival, what the stream knew at the label's time")
	f.StringVar(&t.cut, "cut", "", "read up to this cut `FILE` (default: the log's end now)")
	f.StringVar(&t.saveCut, "save-cut", "", "write the cut that was used to this `FILE`")
	f.StringVar(&t.read.TimestampColumn, "timestamp-column", "", "`COLUMN` with the instants to answer as of (default: the only one with a name such as timestamp)")
	f.StringVar(&t.read.Unit, "timestamp-unit", "", "`UNIT` of instants given as integers: s, ms or us")
	f.StringVar(&t.read.Zone, "timezone", "", "IANA `ZONE`, such as Europe/Berlin, of instants that have none")
	return cmd
}

// asked is what labels are answered with: one view, or those of a service.
type asked struct {
	name    string
	keys    []definition.KeyField
	views   []*definition.View
	columns []askedColumn
}

type askedColumn struct {
	name    string
	view    int // index into views
	feature int
}

// ask finds the view or service that the flags name.
func (t *trainFlags) ask(def *definition.Definition) (*asked, error) {
	if (t.view == "") == (t.service == "") {
		return nil, usagef("name one of --view and --service")
	}
	if t.view != "" {
		v, err := def.View(t.view)
		if err != nil {
			return nil, usagef("--view: %w", err)
		}
		a := &asked{name: v.Name, keys: v.Key(), views: []*definition.View{v}}
		for i, n := range v.FeatureNames() {
			a.columns = append(a.columns, askedColumn{n, 0, i})
		}
		return a, nil
	}
	s, err := def.Service(t.service)
	if err != nil {
		return nil, usagef("--service: %w", err)
	}
	a := &asked{name: s.Name, keys: s.Key, views: s.Views()}
	for _, f := range s.Features {
		for i, v := range a.views {
			if v == f.View {
				a.columns = append(a.columns, askedColumn{v.Name + "__" + v.Spec.Features[f.Feature].Name, i, f.Feature})
			}
		}
	}
	return a, nil
}

func (t *trainFlags) run(cmd *cobra.Command) error {
	t.meter = newMeter(cmd.ErrOrStderr())
	ctx := cmd.Context()
	if err := t.checkFlags(); err != nil {
		return err
	}
	def, err := t.load()
	if err != nil {
		return err
	}
	a, err := t.ask(def)
	if err != nil {
		return err
	}
	if err := t.checkLog(a.views); err != nil {
		return err
	}
	cut, err := loadCut("--cut", t.cut, topics(a.views))
	if err != nil {
		return err
	}
	labels, err := t.readLabels(a)
	if err != nil {
		return err
	}
	client, err := t.open(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	cut, err = cutOf(ctx, client, cut, a.views)
	if err != nil {
		return err
	}
	answers, err := t.answer(ctx, client, cut, a, labels)
	if err != nil {
		return err
	}
	if err := writeTraining(t.output, a, labels, answers); err != nil {
		return err
	}
	if t.saveCut != "" {
		if err := files.SaveJSON(files.OS{}, t.saveCut, cut); err != nil {
			return fmt.Errorf("--save-cut: %w", err)
		}
	}
	return t.report(cmd.OutOrStdout(), cut, a, labels, answers)
}

// answer runs every view over the log.
func (t *trainFlags) answer(ctx context.Context, client *log.Client, cut *schemas.Cut, a *asked, l *offline.Labels) ([]*batch.Answers, error) {
	dir, remove, err := t.scratch()
	if err != nil {
		return nil, err
	}
	defer remove()
	var out []*batch.Answers
	for i, v := range a.views {
		tc := cut.Topics[v.Source.Topic]
		from, err := t.validFrom(ctx, client, v, tc)
		if err != nil {
			return nil, err
		}
		source, err := t.source(v)
		if err != nil {
			return nil, err
		}
		job := &batch.Train{View: v, Source: source, Log: client, Knowledge: batch.Knowledge(t.knowledge), Cut: tc,
			Parallel: t.parallel, Memory: int(t.memory), SpillDir: dir, ValidFrom: from}
		phase := t.meter.phase("train "+v.Name, cutRecords(tc))
		job.Progress = phase.done
		answers, err := job.Run(ctx, a.labelsOf(i, l))
		phase.end()
		if err != nil {
			return nil, fmt.Errorf("view %s: %w", v.Name, err)
		}
		out = append(out, answers)
	}
	return out, nil
}

// labelsOf returns the labels as one view sees them: its entity, t.
func (a *asked) labelsOf(view int, l *offline.Labels) []batch.Label {
	var at []int
	for _, k := range a.views[view].Key() {
		for i, f := range a.keys {
			if f.Name == k.Name {
				at = append(at, i)
			}
		}
	}
	out := make([]batch.Label, len(l.T))
	key := make([]schemas.Value, len(at))
	known := map[string]string{} // labels of an entity share its text
	var buf []byte
	for i := range out {
		for j, k := range at {
			key[j] = l.Key(i, k)
		}
		buf = transforms.EncodeEntity(buf[:0], key...)
		entity, ok := known[string(buf)]
		if !ok {
			entity = string(buf)
			known[entity] = entity
		}
		out[i] = batch.Label{Entity: entity, T: l.T[i]}
	}
	return out
}

// writeTraining writes the rows, whole or not at all.
func writeTraining(path string, a *asked, l *offline.Labels, answers []*batch.Answers) error {
	cols := append([]offline.Column(nil), l.Columns...)
	for _, c := range a.columns {
		f := a.views[c.view].Spec.Features[c.feature]
		cols = append(cols, offline.Column{Name: c.name, Kind: f.Kind, Element: f.Element, Nullable: true},
			offline.Column{Name: c.name + "__status", Kind: schemas.String})
	}
	return writeFile(path, func(w io.Writer) error {
		out, err := offline.NewWriter(w, cols, offline.WriterOptions{})
		if err != nil {
			return err
		}
		row := make([]schemas.Value, 0, len(cols))
		for i := range l.Rows {
			row = append(row[:0], l.Rows[i]...)
			for _, c := range a.columns {
				r := answers[c.view].Result(i, c.feature)
				row = append(row, r.Value, schemas.StringValue(r.Status.String()))
			}
			if err := out.Write(row); err != nil {
				return err
			}
		}
		_, err = out.Close()
		return err
	})
}

// writeFile writes a file through a temporary one beside it.
func writeFile(path string, fn func(io.Writer) error) error {
	if err := files.Save(files.OS{}, path, fn); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// trainOutput is what `train --json` prints.
type trainOutput struct {
	Output    string       `json:"output"`
	Rows      int          `json:"rows"`
	Knowledge string       `json:"knowledge"`
	Cut       *schemas.Cut `json:"cut"`
	// BeyondClock counts labels later than the least log clock at the cut: records
	// that concern them may be still to come.
	BeyondClock int                       `json:"beyond_clock"`
	Statuses    map[string]map[string]int `json:"statuses"` // column → status → rows
}

func (t *trainFlags) report(w io.Writer, cut *schemas.Cut, a *asked, l *offline.Labels, answers []*batch.Answers) error {
	out := trainOutput{Output: t.output, Rows: len(l.Rows), Knowledge: t.knowledge, Cut: cut, Statuses: map[string]map[string]int{}}
	clock := schemas.Forever
	for _, x := range answers {
		clock = min(clock, x.Clock)
	}
	for i := range l.T {
		if l.T[i] > clock {
			out.BeyondClock++
		}
	}
	for _, c := range a.columns {
		var of [transforms.Incomplete + 1]int
		for i := range answers[c.view].Len() {
			of[answers[c.view].Status(i, c.feature)]++
		}
		n := map[string]int{}
		for s, rows := range of {
			if rows > 0 {
				n[transforms.Status(s).String()] = rows
			}
		}
		out.Statuses[c.name] = n
	}
	if t.json {
		return printJSON(w, out)
	}
	fmt.Fprintf(w, "%s: %d rows, %d features, knowledge %s\n", t.output, out.Rows, len(a.columns), t.knowledge)
	for _, c := range a.columns {
		fmt.Fprintf(w, "  %-40s", c.name)
		for _, s := range slices.Sorted(maps.Keys(out.Statuses[c.name])) {
			fmt.Fprintf(w, " %s %d", s, out.Statuses[c.name][s])
		}
		fmt.Fprintln(w)
	}
	if out.BeyondClock > 0 {
		fmt.Fprintf(w, "%d labels lie beyond the log clock at the cut (%v): records that concern them may be still to come\n", out.BeyondClock, clock)
	}
	return nil
}
