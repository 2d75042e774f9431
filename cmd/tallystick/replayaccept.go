package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	osuser "os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/gate"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/transforms/definition"
)

// acceptFlags are those of the commands about publications that the gate holds.
type acceptFlags struct {
	partFlags
	id         string
	acceptance gate.Acceptance
}

func (r *acceptFlags) heldCommand(use, short string, run func(ctx context.Context, w io.Writer) error) *cobra.Command {
	r.limits, r.units = limits{memory: leastMemory, parallel: 1, spill: os.TempDir()}, defaultUnits()
	cmd := r.command(use, short, func(ctx context.Context, w, _ io.Writer) error { return run(ctx, w) })
	viewFlag(cmd, &r.views, "only the view")
	cmd.Flags().StringVar(&r.units.work, "work", "", workUsage)
	return cmd
}

func replayHeldCommand() *cobra.Command {
	r := &acceptFlags{}
	return r.heldCommand("held", "List the publications that the gate holds back, and why", r.runHeld)
}

func replayAcceptCommand() *cobra.Command {
	r := &acceptFlags{}
	cmd := r.heldCommand("accept", "Publish what the gate holds back, and record who did and why", r.runAccept)
	f := cmd.Flags()
	f.StringVar(&r.acceptance.Reason, "reason", "", "why the figures are right, a `TEXT` that the commit keeps")
	f.StringVar(&r.acceptance.By, "by", "", "`NAME` of who accepts (default: the user of this process)")
	f.StringVar(&r.id, "id", "", "only the publication that waits as `ID`, which replay held tells")
	return cmd
}

// heldView is a publication that waits.
type heldView struct {
	View string      `json:"view"`
	ID   string      `json:"id"`
	Gate *gateOutput `json:"gate"`
	held *held
	view *definition.View
}

// heldOutput is what `replay held --json` prints.
type heldOutput struct {
	Views []heldView `json:"views"`
}

// allHeld returns what waits of the views, in their order.
func (r *acceptFlags) allHeld(ctx context.Context) ([]heldView, error) {
	vs, err := r.loadViews(r.views)
	if _, missing := os.Stat(r.out); err == nil && !offline.IsURL(r.out) && errors.Is(missing, fs.ErrNotExist) {
		err = usagef("--out: there is no directory %s: name the one that replay was given", r.out)
	}
	if err == nil {
		err = r.checkPart()
	}
	if err == nil {
		err = r.checkTables(vs)
	}
	if err != nil {
		return nil, err
	}
	out := []heldView{}
	for _, v := range vs {
		hs, err := r.heldOf(ctx, v)
		if err != nil {
			return nil, fmt.Errorf("view %s: %w", v.Name, err)
		}
		out = append(out, hs...)
	}
	return out, nil
}

func (r *acceptFlags) heldOf(ctx context.Context, v *definition.View) (out []heldView, err error) {
	root, at, err := r.workRoots()
	if err != nil {
		return nil, err
	}
	ids, err := at.Works(ctx, root, v.Name)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		w, err := at.Work(root, v.Name, id, nil)
		if err != nil {
			return nil, err
		}
		var h held
		if ok, err := w.Record(ctx, heldUnit, &h); err != nil {
			return nil, err
		} else if !ok {
			continue
		}
		if h.View.View != v.Name || h.View.ID != id {
			return nil, fmt.Errorf("work area %s: its record is of another job: it is damaged", id)
		}
		out = append(out, heldView{View: v.Name, ID: id, Gate: h.Gate, held: &h, view: v})
	}
	return out, nil
}

func (r *acceptFlags) runHeld(ctx context.Context, w io.Writer) error {
	hs, err := r.allHeld(ctx)
	if err != nil {
		return err
	}
	if r.json {
		return printJSON(w, heldOutput{hs})
	}
	for _, h := range hs {
		fmt.Fprintf(w, "view %s (fingerprint %s)\n", h.View, h.held.View.Fingerprint)
		h.Gate.print(w)
	}
	if len(hs) == 0 {
		fmt.Fprintln(w, "nothing is held back")
	}
	return nil
}

func (r *acceptFlags) runAccept(ctx context.Context, w io.Writer) error {
	if strings.TrimSpace(r.acceptance.Reason) == "" {
		return usagef("--reason: say why the figures are right: the commit keeps it")
	}
	hs, err := r.allHeld(ctx)
	if err != nil {
		return err
	}
	if hs, err = r.chosen(hs); err != nil {
		return err
	}
	if r.acceptance.By == "" {
		if u, err := osuser.Current(); err == nil {
			r.acceptance.By = u.Username
		}
	}
	r.acceptance.At = time.Now().UTC().Truncate(time.Second)
	out, before := &replayOutput{Cut: &schemas.Cut{Topics: map[string]schemas.TopicCut{}}, Root: r.out, Views: []replayedView{}}, r.calls()
	for i := range hs {
		view, err := r.acceptOne(ctx, &hs[i])
		if err != nil {
			return fmt.Errorf("view %s: %w", hs[i].View, err)
		}
		out.Cut.Topics[hs[i].view.Source.Topic] = hs[i].held.Cut
		out.Views = append(out.Views, *view)
	}
	calls := r.calls().Since(before)
	out.Calls = &calls
	return out.tell(w, r.json)
}

// chosen returns those that are to be accepted: one of a view.
func (r *acceptFlags) chosen(hs []heldView) (out []heldView, err error) {
	ids := map[string][]string{}
	for _, h := range hs {
		if r.id == "" || r.id == h.ID {
			out = append(out, h)
			ids[h.View] = append(ids[h.View], h.ID)
		}
	}
	switch {
	case len(out) == 0 && r.id != "":
		return nil, usagef("--id: nothing waits as %s: `tallystick replay held` has what does", r.id)
	case len(out) == 0:
		return nil, fmt.Errorf("nothing is held back in %s: there is nothing to accept", r.out)
	}
	for view, list := range ids {
		if len(list) > 1 {
			return nil, usagef("--id: of view %s %d publications wait: name one of %s", view, len(list), strings.Join(list, ", "))
		}
	}
	return out, nil
}

// checkHeld refuses what waits with other rules than those of this command.
func (r *acceptFlags) checkHeld(h *heldView) error {
	plan := &h.held.View
	if plan.Fingerprint != h.view.Fingerprint {
		return usagef("%s waits with another definition (fingerprint %s, here %s): use that definition, or replay again", h.ID, plan.Fingerprint, h.view.Fingerprint)
	}
	rules, err := r.rulesOf(h.view)
	if err != nil {
		return err
	}
	if rules != plan.Rules {
		return usagef("%s waits with other names, writer schemas or another --registry: use the same, or replay again", h.ID)
	}
	now, err := build()
	if err == nil && h.held.Build != now {
		err = usagef("%s waits with another build (%s), this is %s: use that build, or replay again", h.ID, h.held.Build, now)
	}
	return err
}

// acceptOne publishes what waits, upon the versions that it was held on.
func (r *acceptFlags) acceptOne(ctx context.Context, h *heldView) (*replayedView, error) {
	if err := r.checkHeld(h); err != nil {
		return nil, err
	}
	rec, err := gate.Decode(h.held.Record)
	if err != nil {
		return nil, err
	}
	tables, err := r.tables(r.out, r.spill, h.view)
	if err != nil {
		return nil, err
	}
	plan, cut := &h.held.View, h.held.Cut
	standing, err := plan.published(ctx, tables, cut)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.ID, err)
	}
	o := jobOptions{id: h.ID, from: plan.from(), base: plan.Base, records: plan.UnitRecords, finalOnly: plan.FinalOnly, entities: plan.Entities}
	if !standing {
		if o, err = r.options(ctx, h.view, plan); err != nil {
			return nil, fmt.Errorf("%s: %w", h.ID, err)
		}
	}
	j, err := r.job(ctx, nil, h.view, cut, o)
	if err != nil {
		return nil, o.told(err)
	}
	defer j.close()
	done := fmt.Errorf("%s has been published already", h.ID)
	if standing { // whoever accepted it was killed before this
		j.clean(ctx)
		return nil, done
	}
	rec.Accept(r.acceptance)
	j.accepted = rec
	view, _, err := j.publish(ctx)
	unit := unfinished(err)
	if unit == "" && !errors.Is(err, offline.ErrConflict) {
		return view, err
	}
	if standing, other := plan.published(ctx, tables, cut); other == nil && standing { // somebody else has accepted it meanwhile
		return nil, done
	}
	if unit != "" {
		err = fmt.Errorf("what waited as %s is not all there any more (unit %s): replay again", h.ID, unit)
	}
	return nil, o.told(err)
}
