package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/tallystick/tallystick/batch"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/gate"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/transforms/definition"
)

// replayPlan is a file that says all on which the rows of a replay depend, so that
// many processes can share it (B4).
type replayPlan struct {
	Build  string        `json:"build"`  // of the program: another one may divide otherwise
	Tables string        `json:"tables"` // where: --out, however it is written
	Cut    *schemas.Cut  `json:"cut"`
	Views  []plannedView `json:"views"`
	// Sum is of all else: what was changed by hand is told from what was written.
	Sum string `json:"sum"`
}

// sum hashes the plan as it is written, without Sum.
func (p replayPlan) sum() (string, error) {
	p.Sum = ""
	b, err := json.Marshal(p)
	if err != nil {
		return "", err
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:16]), nil
}

type plannedView struct {
	View        string `json:"view"`
	Fingerprint string `json:"fingerprint"`
	Rules       string `json:"rules"` // see rulesOf
	ID          string `json:"id"`    // of the work area
	// ValidFrom is in µs since the epoch; null when the log begins at offset 0.
	ValidFrom   *schemas.Micros `json:"valid_from_us" jsonschema:"nullable"`
	UnitRecords int64           `json:"unit_records"`
	Units       int             `json:"units"`                // those that read and fold
	FinalOnly   bool            `json:"final_only,omitempty"` // --publish final
	// Upon is the publication that is gone on from, or whose dates are replaced.
	Upon      string               `json:"publication,omitempty"`
	Continued bool                 `json:"continued,omitempty"` // --continue
	Dates     *plannedDates        `json:"dates,omitempty"`     // --from-date
	Entities  *offline.EntityRange `json:"entities,omitempty"`  // --entities
	// Cut is where it is not the plan's.
	Cut  *schemas.TopicCut           `json:"cut,omitempty"`
	Base map[offline.TableName]int64 `json:"base_versions"`
}

// plannedDates are batch.Dates.
type plannedDates struct {
	From    string `json:"from"`         // YYYY-MM-DD
	To      string `json:"to,omitempty"` // "" = up to the cut
	Fresh   bool   `json:"fresh,omitempty"`
	Settled bool   `json:"settled,omitempty"`
}

func planDates(d *batch.Dates) *plannedDates {
	if d == nil {
		return nil
	}
	out := &plannedDates{From: gate.Day(d.From).String(), Fresh: d.Fresh, Settled: d.Settled}
	if d.To != batch.LastDay {
		out.To = gate.Day(d.To).String()
	}
	return out
}

// dates is the reverse.
func (v *plannedView) dates() (*batch.Dates, error) {
	if v.Dates == nil {
		return nil, nil
	}
	from, to, err := (&dateFlags{from: v.Dates.From, to: v.Dates.To}).days()
	return &batch.Dates{From: from, To: to, Fresh: v.Dates.Fresh, Settled: v.Dates.Settled}, err
}

// id names the job of a view; rules are what they are now.
func (v *plannedView) id(build, rules string, view *definition.View, tc schemas.TopicCut) (string, error) {
	d, err := v.dates()
	return namedBy(jobID(build, rules, view, tc, v.from(), v.UnitRecords, v.FinalOnly, v.Base), v.Upon, d, v.Entities), err
}

// cutOf returns the cut of one of the plan's views.
func (p *replayPlan) cutOf(i int, v *definition.View) schemas.TopicCut {
	if c := p.Views[i].Cut; c != nil {
		return *c
	}
	return p.Cut.Topics[v.Source.Topic]
}

// errReplaced says that what was planned, or is held, comes too late.
var errReplaced = errors.New("what it builds upon has been replaced by another publication since: plan, or replay, anew")

// published tells whether what was planned has been published, with the same rows. It
// is errReplaced where another publication has taken its place.
func (v *plannedView) published(ctx context.Context, tables *offline.Tables, cut schemas.TopicCut) (bool, error) {
	p, err := tables.Published(ctx)
	if errors.Is(err, offline.ErrNothingPublished) {
		return false, nil
	}
	if err != nil || p.Versions[offline.Features] <= v.Base[offline.Features] {
		return false, err
	}
	d, err := v.dates()
	if err != nil {
		return false, err
	}
	columns, err := p.SameColumns()
	if err != nil {
		return false, err
	}
	is, settled := &p.Info, d != nil && d.Settled // whose rules and start are those of the tables
	var note carryNote
	rules := settled || json.Unmarshal(is.Carry, &note) == nil && note.Rules == v.Rules
	dates := d == nil || is.Dates != nil && *is.Dates == *dateRange(d.From, d.To)
	upTo := is.Cut.TopicID == cut.TopicID && maps.EqualFunc(is.Cut.Partitions, cut.Partitions, func(a, b schemas.PartitionCut) bool {
		return a.End == b.End && (a.Start == b.Start || settled)
	})
	if !columns || !rules || !dates || !upTo || is.Fingerprint != v.Fingerprint || is.FinalOnly != v.FinalOnly || !is.Entities.Equal(v.Entities) {
		return false, errReplaced
	}
	return true, nil
}

// options are those of a job that was planned, or is held. The tables must stand where
// they stood then.
func (r *replayFlags) options(ctx context.Context, v *definition.View, pv *plannedView) (o jobOptions, err error) {
	o = jobOptions{id: pv.ID, from: pv.from(), base: pv.Base, records: pv.UnitRecords, finalOnly: pv.FinalOnly, entities: pv.Entities, planned: true}
	if o.dates, err = pv.dates(); err != nil || pv.Upon == "" {
		return o, err
	}
	tables, err := r.tables(r.out, r.spill, v)
	if err != nil {
		return o, err
	}
	p, err := tables.Published(ctx)
	if errors.Is(err, offline.ErrNothingPublished) || err == nil && p.Info.ID != pv.Upon {
		return o, errReplaced
	}
	o.upon, o.continued = p, pv.Continued
	return o, err
}

// build names the program that runs: its version, and its bytes where the version
// does not tell builds apart.
var build = sync.OnceValues(func() (string, error) {
	v := version()
	if strings.Contains(v, ", commit ") && !strings.Contains(v, " with changes") {
		return v, nil
	}
	f, err := openProgram()
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return v + ", " + hex.EncodeToString(h.Sum(nil)[:8]), nil
})

// openProgram opens the program that runs, which need not be what lies at its path now.
func openProgram() (*os.File, error) {
	if f, err := os.Open("/proc/self/exe"); err == nil {
		return f, nil
	}
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return os.Open(path)
}

// rulesOf hashes what a view's rows depend on besides the log: the fingerprint leaves
// out names and their order, close_idle, and what writer schemas say.
func (c *common) rulesOf(v *definition.View) (string, error) {
	h := sha256.New()
	s := v.Source
	fmt.Fprintf(h, "%s\n%s\n%q %d %v %d\n", v.Fingerprint, v.Canonical, c.registry, s.CloseIdle, s.History, s.HistoryLateness)
	w := s.Writers
	files := slices.Sorted(maps.Values(w.Files))
	if w.Directory != "" {
		var err error
		if files, err = filepath.Glob(filepath.Join(w.Directory, "*.avsc")); err != nil {
			return "", err
		}
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %x\n", filepath.Base(f), sha256.Sum256(b))
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

// jobID names what makes the rows of a job what they are, and what they are published
// upon, nil = the newest versions: a rerun of the same finds what was finished (B4).
func jobID(build, rules string, v *definition.View, tc schemas.TopicCut, from schemas.Micros, records int64, finalOnly bool, base map[offline.TableName]int64) string {
	h := sha256.New()
	fmt.Fprintln(h, build, rules, v.Name, tc.TopicID, from, records, finalOnly, base)
	for _, p := range tc.PartitionIDs() {
		pc := tc.Partitions[p]
		fmt.Fprintln(h, p, pc.Start, pc.End, pc.Idle != nil)
		if pc.Idle != nil {
			fmt.Fprintln(h, *pc.Idle)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:10])
}

// loadPlan reads a plan, which must be of this build and of the definition.
func (c *common) loadPlan(path string, def *definition.Definition) (*replayPlan, []*definition.View, error) {
	if path == "" {
		return nil, nil, usagef("--plan: name the file that `tallystick replay plan` wrote")
	}
	if err := checkReadable("--plan", path); err != nil {
		return nil, nil, err
	}
	b, err := schemas.ReadFile(path, 64<<20)
	if err != nil {
		return nil, nil, usagef("--plan: %w", err)
	}
	var p replayPlan
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err = d.Decode(&p); err == nil && d.More() {
		err = errors.New("something follows it")
	}
	if err == nil {
		err = p.validate()
	}
	if err != nil {
		return nil, nil, usagef("--plan: %s is not a plan: %w; write one with `tallystick replay plan`", path, err)
	}
	now, err := build()
	if err != nil {
		return nil, nil, err
	}
	if p.Build != now {
		return nil, nil, usagef("--plan: %s is of another build (%s), this is %s: run that build, or plan anew", path, p.Build, now)
	}
	var vs []*definition.View
	for i := range p.Views {
		pv := &p.Views[i]
		v, err := def.View(pv.View)
		if err != nil {
			return nil, nil, usagef("--plan: %s: %w", path, err)
		}
		if v.Fingerprint != pv.Fingerprint {
			return nil, nil, usagef("--plan: %s is of another definition of view %s (fingerprint %s, here %s): use that definition, or plan anew", path, v.Name, pv.Fingerprint, v.Fingerprint)
		}
		rules, err := c.rulesOf(v)
		if err != nil {
			return nil, nil, err
		}
		if rules != pv.Rules {
			return nil, nil, usagef("--plan: %s was made with other names, writer schemas or another --registry for view %s: use the same, or plan anew", path, v.Name)
		}
		vs = append(vs, v)
	}
	sum, err := p.sum()
	if err == nil && p.Sum != sum {
		err = usagef("--plan: %s was changed after it was written; write it anew with `tallystick replay plan`", path)
	}
	return &p, vs, err
}

func (p *replayPlan) validate() error {
	if p.Cut == nil || len(p.Views) == 0 {
		return errors.New("it has no cut, or no views")
	}
	for _, v := range p.Views {
		if v.UnitRecords < 1 {
			return fmt.Errorf("view %s: unit_records is %d", v.View, v.UnitRecords)
		}
	}
	return p.Cut.Validate()
}

func (v *plannedView) from() schemas.Micros {
	if v.ValidFrom == nil {
		return schemas.Never
	}
	return *v.ValidFrom
}

func (p *replayPlan) print(w io.Writer) {
	for _, v := range p.Views {
		fmt.Fprintf(w, "view %s (fingerprint %s): %d units that read and fold, %d that write\n", v.View, v.Fingerprint, v.Units, offline.WriteUnits)
	}
}

// parseShare reads i/n: which of how many processes, from 0.
func parseShare(text string) (share, of int, err error) {
	if text == "" {
		return 0, 0, usagef("--unit: say which of how many processes this is, such as 0/4 for the first of four")
	}
	a, b, found := strings.Cut(text, "/")
	share, err1 := strconv.Atoi(a)
	of, err2 := strconv.Atoi(b)
	if !found || err1 != nil || err2 != nil || share < 0 || of < 1 || share >= of {
		return 0, 0, usagef("--unit: %q is not I/N with I from 0 to N-1, such as 0/4 for the first of four", text)
	}
	return share, of, nil
}
