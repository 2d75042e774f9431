package definition

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/expr"
)

// Explanation says what one feature is: all that follows from the definition.
type Explanation struct {
	View    *View
	Feature *transforms.Feature
	// Computes is the aggregation, its input and filters, or the expression, in
	// normal form.
	Computes string
	// Window names the window; "" for a derived feature.
	Window string
	// From and To are the interval [From, To) of event time that the window covers
	// as of the instant asked for; From is schemas.Never for lifetime. Of a derived
	// feature it is the hull of its inputs'.
	From, To schemas.Micros
	// Hop is the view's level that the feature stands on, for a derived one the
	// coarsest of its inputs (V4): values at its multiples are compared and final.
	Hop, Retention schemas.Micros
	Tiles          int64 // that one entity may keep on that level, per partition
	// StateBytes is what the feature's cells take in them, at most about; 0 for a
	// derived feature and for a bare count, which tiles hold anyhow. Of a table it
	// is the whole record that the view keeps; there are no tiles.
	StateBytes int64
	Shares     []string // other features that read the same cells
	// Closes is the instant that every partition's log clock must reach for the
	// value as of To to be final.
	Closes   schemas.Micros
	Default  schemas.Value // Null = none is declared
	Statuses []transforms.Status
	Inputs   []*Explanation // of a derived feature, in the order of the view
}

// Find returns a feature by VIEW.FEATURE, or by FEATURE where only one view has
// one of that name.
func (d *Definition) Find(name string) (*View, int, error) {
	var found []ServiceFeature
	var known []string
	for _, v := range d.Views {
		for i, f := range v.FeatureNames() {
			full := v.Name + "." + f
			if name == f || name == full {
				found = append(found, ServiceFeature{v, i})
			}
			known = append(known, full, f)
		}
	}
	switch len(found) {
	case 1:
		return found[0].View, found[0].Feature, nil
	case 0:
		return nil, 0, fmt.Errorf("unknown feature `%s`%s", name, hinted(d.nearest(name, known)))
	}
	var names []string
	for _, f := range found {
		names = append(names, f.Name())
	}
	return nil, 0, fmt.Errorf("several views have a feature `%s`; name one of %s", name, strings.Join(names, ", "))
}

// nearest hints at what an unknown feature may have been: a name without its
// window, or a similar one.
func (d *Definition) nearest(name string, known []string) string {
	view, declared, dotted := strings.Cut(name, ".")
	if !dotted {
		view, declared = "", name
	}
	var names []string
	for _, v := range d.Views {
		if view != "" && v.Name != view {
			continue
		}
		for _, f := range v.declared {
			if f.name == declared {
				names = append(names, f.names()...)
			}
		}
	}
	if len(names) > 0 {
		return "its columns are " + strings.Join(names, ", ")
	}
	if hint := expr.DidYouMean(name, known); strings.HasPrefix(hint, "did you mean") {
		return hint
	}
	return "`tallystick check` lists them"
}

// Explain says what a feature is, and which event time it looks at as of t.
func (v *View) Explain(feature int, t schemas.Micros) (*Explanation, error) {
	compiled, err := transforms.NewView(v.Spec)
	if err != nil {
		return nil, fmt.Errorf("view %s: %w", v.Name, err)
	}
	return v.explain(compiled, feature, t), nil
}

func (v *View) explain(compiled *transforms.View, feature int, t schemas.Micros) *Explanation {
	f := &v.Spec.Features[feature]
	x := &Explanation{View: v, Feature: f, Computes: v.computes(f), Default: f.Default}
	if !v.Spec.Table {
		x.Hop = compiled.Hops()[compiled.Level(feature)]
		x.Retention = compiled.Retention(x.Hop)
		x.Tiles = tilesOf(x.Retention, x.Hop)
	}
	if f.Derived != nil {
		x.From, x.To = schemas.Forever, schemas.Never
		for _, in := range f.Derived.Slots() {
			y := v.explain(compiled, in, t)
			x.From, x.To = min(x.From, y.From), max(x.To, y.To)
			x.Inputs = append(x.Inputs, y)
		}
	} else {
		x.From, x.To = f.Window.Span(t)
		x.Window = windowText(f.Window)
		if v.Spec.Table {
			x.Window, x.StateBytes = "the newest record before t, whatever its age", v.rowBytes()
		} else {
			x.share(compiled)
		}
	}
	x.Closes = x.To.AddSat(v.Spec.Lateness)
	x.Statuses = x.statuses()
	return x
}

// computes is a feature's aggregation or expression in normal form.
func (v *View) computes(f *transforms.Feature) string {
	if f.Derived != nil {
		return f.Derived.Canonical()
	}
	text := f.Aggregation.String() + " of " + v.inputText(f.Input)
	if p := v.parameterText(f); p != "" {
		text += ", " + p
	}
	switch view := v.Spec.Where; {
	case view != nil && f.Filter >= 0:
		text += " where (" + view.Canonical() + ") && (" + v.Spec.Filters[f.Filter].Canonical() + ")"
	case view != nil:
		text += " where " + view.Canonical()
	case f.Filter >= 0:
		text += " where " + v.Spec.Filters[f.Filter].Canonical()
	}
	return text
}

func (v *View) inputText(input int) string {
	if input < 0 {
		return "events"
	}
	return v.Spec.Inputs[input].Canonical()
}

// share notes what the feature's cells take, and who else reads them.
func (x *Explanation) share(compiled *transforms.View) {
	name, bytes := x.View.cell(x.Feature)
	if name == "" {
		return
	}
	x.StateBytes = bytes * x.Tiles
	if compiled.HasLifetime() && x.Hop == schemas.Day {
		x.StateBytes += bytes // the base that tiles are absorbed by
	}
	for i := range x.View.Spec.Features {
		f := &x.View.Spec.Features[i]
		if f == x.Feature || f.Derived != nil || f.Window.Hop != x.Hop {
			continue
		}
		if other, _ := x.View.cell(f); other == name {
			x.Shares = append(x.Shares, f.Name)
		}
	}
}

// statuses lists those that the feature can have (V9, K8).
func (x *Explanation) statuses() []transforms.Status {
	f := x.Feature
	missing := transforms.IsNull // what a feature without a value is
	if !f.Default.IsNull() {
		missing = transforms.Present
	}
	can := []transforms.Status{transforms.Absent, transforms.Incomplete}
	switch f.Aggregation {
	case 0:
		can = append(can, transforms.Present, missing)
		for _, in := range x.Inputs {
			if slices.Contains(in.Statuses, transforms.Approximate) {
				can = append(can, transforms.Approximate)
			}
			if missing == transforms.IsNull && slices.Contains(in.Statuses, transforms.Overflow) {
				can = append(can, transforms.Overflow)
			}
		}
	case transforms.Count:
		can = append(can, transforms.Present)
	case transforms.CountDistinct:
		can = append(can, transforms.Present, transforms.Approximate)
	case transforms.Sum:
		can = append(can, transforms.Present, transforms.Overflow)
	case transforms.Quantile:
		can = append(can, transforms.Approximate, missing)
	case transforms.VarSamp, transforms.StddevSamp: // null for one value, default or not
		can = append(can, transforms.Present, transforms.IsNull, transforms.Overflow)
	case transforms.VarPop, transforms.StddevPop:
		can = append(can, transforms.Present, missing, transforms.Overflow)
	default:
		can = append(can, transforms.Present, missing)
	}
	slices.Sort(can)
	return slices.Compact(can)
}

// windowText says a window in words.
func windowText(w transforms.Window) string {
	switch w.Kind {
	case transforms.Sliding:
		return fmt.Sprintf("sliding, %s before t, its start rounded down to %s", expr.FormatDuration(w.Length), expr.FormatDuration(w.Hop))
	case transforms.Lifetime:
		return "lifetime, all before t"
	}
	for _, u := range calendarUnits {
		if u.kind != w.Kind {
			continue
		}
		unit := strings.TrimSuffix(u.key, "s")
		switch {
		case w.ExcludeCurrent && w.N == 1:
			return "calendar, the whole UTC " + unit + " before that of t"
		case w.ExcludeCurrent:
			return fmt.Sprintf("calendar, the %d whole UTC %s before the %s of t", w.N, u.key, unit)
		case w.N == 1:
			return "calendar, the UTC " + unit + " of t, up to t"
		}
		return fmt.Sprintf("calendar, the UTC %s of t, up to t, and the %d before it", unit, w.N-1)
	}
	return ""
}
