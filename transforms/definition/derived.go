package definition

import (
	"strings"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/expr"
)

// expand fills Spec.Features: each declared feature once per window, in the
// order of the file, except that a derived one stands after its inputs.
func (p *parser) expand(v *View) {
	d := &deriver{p: p, view: v, byName: map[string]*feature{}, slots: map[string]int{}}
	for _, f := range v.declared {
		for _, name := range f.names() {
			if d.byName[name] == nil {
				d.byName[name] = f
				d.names = append(d.names, name)
				d.slots[name] = len(d.slots)
			}
		}
	}
	for _, f := range v.declared {
		if f.derived != nil {
			d.compile(f)
		}
	}
	if len(p.errs) == 0 {
		d.emit()
	}
}

// deriver types and orders the derived features of a view.
type deriver struct {
	p      *parser
	view   *View
	byName map[string]*feature
	names  []string
	slots  map[string]int // name → slot; final once emit has ordered them
	path   []string       // of derived features being compiled, outermost first
}

// compile types f after its inputs.
func (d *deriver) compile(f *feature) {
	if f.programs != nil || f.visiting || f.spec.Kind != schemas.Null {
		return
	}
	f.visiting = true
	d.path = append(d.path, f.name)
	prog, err := expr.Compile(f.derived.Value, expr.ScopeFunc(d.resolve))
	d.path = d.path[:len(d.path)-1]
	f.visiting = false
	if err != nil {
		if !d.quiet(err) {
			d.p.exprErrors(f.derived, err)
		}
		f.spec.Input = -2 // unsound
		return
	}
	f.programs, f.spec.Kind = prog, prog.Type().Kind
	if f.deflt != nil {
		f.spec.Default = d.p.literal(f.deflt, f.spec.Kind, f.name)
	}
}

// silent marks faults that stem from one that is reported elsewhere.
const silent = "\x00"

// quiet drops silent faults; it tells whether nothing is left.
func (d *deriver) quiet(err error) bool {
	list, ok := err.(expr.Errors)
	if !ok {
		return false
	}
	for _, e := range list {
		if e.Message != silent {
			return false
		}
	}
	return true
}

// resolve finds a feature of the view by name; all may be null.
func (d *deriver) resolve(name string) (int, expr.Type, error) {
	f := d.byName[name]
	if f == nil {
		e := expr.UnknownField(name, "", d.names)
		e.Message = "unknown feature `" + name + "` in view " + d.view.Name
		if s := d.view.Source; e.Hint == "" || !strings.HasPrefix(e.Hint, "did") {
			if s != nil && s.Reader != nil && s.hasPath(name) {
				e.Hint = "an expr reads features of the view; aggregate the field first"
			}
		}
		return 0, expr.Type{}, e
	}
	if f.derived != nil && f.visiting {
		i := 0
		for d.path[i] != name {
			i++
		}
		cycle := strings.Join(append(d.path[i:len(d.path):len(d.path)], name), " → ")
		return 0, expr.Type{}, &expr.Error{Message: "feature " + name + " depends on itself: " + cycle}
	}
	if f.derived != nil && f.programs == nil && f.spec.Input != -2 {
		d.compile(f)
	}
	if f.spec.Kind == schemas.Null {
		return 0, expr.Type{}, &expr.Error{Message: silent}
	}
	if f.spec.Kind == schemas.List {
		return 0, expr.Type{}, &expr.Error{Message: "feature `" + name + "` is a list, which an expr cannot read", Hint: "use first, last, min or max"}
	}
	return d.slots[name], expr.Type{Kind: f.spec.Kind, Nullable: true}, nil
}

// emit orders the features: always the first one whose inputs all stand.
func (d *deriver) emit() {
	var waiting []transforms.Feature
	for _, f := range d.view.declared {
		if f.derived != nil {
			x := f.spec
			x.Name, x.Derived = f.name, f.programs
			waiting = append(waiting, x)
			continue
		}
		for _, w := range f.windows {
			x := f.spec
			x.Name, x.Window = f.column(w), w.Window
			waiting = append(waiting, x)
		}
	}
	out := &d.view.Spec.Features
	placed := make([]bool, len(d.slots)) // by the provisional slot
	ready := func(x transforms.Feature) bool {
		if x.Derived != nil {
			for _, s := range x.Derived.Slots() {
				if !placed[s] {
					return false
				}
			}
		}
		return true
	}
	for len(waiting) > 0 {
		rest := waiting[:0:0]
		for i, x := range waiting {
			if !ready(x) {
				rest = append(rest, x)
				continue
			}
			placed[d.slots[x.Name]] = true
			*out = append(*out, x)
			if len(rest) > 0 { // one that waited may be ready now, and comes first
				rest = append(rest, waiting[i+1:]...)
				break
			}
		}
		if len(rest) == len(waiting) {
			return // a cycle: reported
		}
		waiting = rest
	}
	d.rebind()
}

// rebind compiles the derived features anew, over their final order.
func (d *deriver) rebind() {
	features := d.view.Spec.Features
	for i := range features {
		d.slots[features[i].Name] = i
	}
	for i := range features {
		if features[i].Derived == nil {
			continue
		}
		prog, err := expr.Compile(d.byName[features[i].Name].derived.Value, expr.ScopeFunc(d.resolve))
		if err == nil {
			features[i].Derived = prog
		}
	}
}
