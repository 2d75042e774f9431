package definition

import (
	"slices"
	"sort"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/expr"
	"gopkg.in/yaml.v3"
)

const defaultShards = 16

// maxFeatures bounds the features of a view, after expansion.
const maxFeatures = 2_000

func (p *parser) view(e entry) *View {
	v := &View{Name: e.key, Snapshots: schemas.Day}
	o := p.object(e.value, "view "+e.key, viewKeys)
	s := p.viewSource(v, e, o)
	v.Source = s
	if n := o.get("description"); n != nil {
		v.Description, _ = p.text(n, "description")
	}
	v.Spec = transforms.Spec{Name: e.key, Shards: defaultShards}
	if s != nil {
		v.Spec.Lateness, v.Spec.MaxFuture, v.Spec.MaxOpen = s.Lateness, s.MaxFuture, s.MaxOpen
		v.Spec.HistoryLateness, v.Spec.History = s.HistoryLateness, s.History
		v.Spec.Identity, v.Spec.ID, v.Spec.Version, v.Spec.Expect = s.Identity, s.ID, s.Version, s.Expect
		v.Spec.Table = s.Table
	}
	if n := o.get("shards"); n != nil {
		if i, ok := p.integer(n, "shards", 1); ok {
			if i > 65_536 {
				p.fail(n, "", "shards must be at most 65536, this is %d", i)
			}
			v.Spec.Shards = int(i)
		}
	}
	if n := o.get("entity"); n != nil {
		p.entity(v, n)
		if s != nil && s.Table {
			p.wholeKey(v, n)
		}
	} else {
		p.fail(e.at, "add `entity: {field: string}`", "view %s has no entity", v.Name)
	}
	if n := o.get("where"); n != nil && s != nil && s.Table {
		p.fail(o.byKey["where"].at, "leave it out, or give the condition to an `expr` feature", "a table has one record per key, which `where` cannot choose among")
	} else if n != nil {
		v.Spec.Where = p.condition(n, s, "where")
	}
	if n := o.get("features"); n != nil {
		p.features(v, n)
	} else {
		p.fail(e.at, "add `features:`", "view %s has no features", v.Name)
	}
	p.hops(v, e)
	p.snapshots(v, o.get("snapshots"))
	return v
}

func (p *parser) viewSource(v *View, e entry, o object) *Source {
	n := o.get("source")
	if n == nil {
		if len(p.def.Sources) == 1 { // nothing else can be meant, but it is not guessed
			p.fail(e.at, "add `source: "+p.def.Sources[0].Name+"`", "view %s names no source", v.Name)
		} else {
			p.fail(e.at, "add `source:`", "view %s names no source", v.Name)
		}
		return nil
	}
	name, ok := p.text(n, "source")
	if !ok {
		return nil
	}
	var names []string
	for _, s := range p.def.Sources {
		if s.Name == name {
			return s
		}
		names = append(names, s.Name)
	}
	p.fail(n, expr.DidYouMean(name, names), "unknown source `%s`", name)
	return nil
}

var keyTypes = map[string]schemas.Kind{"string": schemas.String, "int": schemas.Int, "bool": schemas.Bool,
	"bytes": schemas.Bytes, "timestamp": schemas.Timestamp}

func (p *parser) entity(v *View, n *yaml.Node) {
	entries := p.mapping(n, "entity")
	if len(entries) == 0 && n.Kind == yaml.MappingNode {
		p.fail(n, "write `entity: {field: string}`", "entity names no key field")
	}
	for _, e := range entries {
		p.name(e.at, "key field")
		p.keyField(v, e)
	}
}

func (p *parser) keyField(v *View, e entry) {
	typ, input, what := e.value, e.at, "field"
	var f, x *yaml.Node
	if e.value.Kind == yaml.MappingNode {
		o := p.object(e.value, "key field "+e.key, keyFieldKeys)
		if typ = o.get("type"); typ == nil {
			p.fail(e.value, "add `type: string`", "key field %s has no type", e.key)
			return
		}
		f, x = o.get("field"), o.get("expr")
		switch {
		case f != nil && x != nil:
			p.fail(x, "keep one of them", "key field %s has both field and expr", e.key)
		case f != nil:
			input = f
		case x != nil:
			input, what = x, "expression"
		}
	}
	name, ok := p.text(typ, "the type of key field "+e.key)
	if !ok {
		return
	}
	kind, known := keyTypes[name]
	if !known {
		hint := "write string, int, bool, bytes or timestamp"
		if name == "double" || name == "float" {
			hint = "doubles compare badly: use string(int(…)) or another field"
		} else if name == "long" {
			hint = "write int"
		}
		p.fail(typ, hint, "a key field cannot be of type `%s`", name)
		return
	}
	var prog *expr.Program
	if v.Source != nil && v.Source.Table {
		prog = p.tableKeyField(v, e, f, x)
	} else {
		prog = p.expression(input, v.Source, "key field "+e.key)
	}
	if prog == nil {
		return
	}
	if got := prog.Type().Kind; got != kind {
		hint := "write " + got.String()
		if !keyKind(got) {
			hint = "choose another " + what
		}
		p.fail(typ, hint, "key field %s is declared as %s, but its %s is %s", e.key, name, what, expr.Article(got))
		return
	}
	v.Spec.Key = append(v.Spec.Key, transforms.KeyField{Name: e.key, Kind: kind, Expr: prog})
}

// hops checks that the hops of the view divide one another (§3).
func (p *parser) hops(v *View, e entry) {
	type hop struct {
		size schemas.Micros
		by   string
		at   *yaml.Node
	}
	var hops []hop
	for _, f := range v.declared {
		for _, w := range f.windows {
			h := hop{w.Hop, f.name, w.at}
			if !slices.ContainsFunc(hops, func(o hop) bool { return o.size == h.size }) {
				hops = append(hops, h)
			}
		}
	}
	sort.Slice(hops, func(i, j int) bool { return hops[i].size < hops[j].size })
	for i := 1; i < len(hops); i++ {
		if a, b := hops[i-1], hops[i]; b.size%a.size != 0 {
			p.fail(b.at, "declare hops of which each divides the next", "the hops of view %s must divide one another: %s of feature %s does not divide %s of %s",
				v.Name, expr.FormatDuration(a.size), a.by, expr.FormatDuration(b.size), b.by)
		}
	}
}

func (p *parser) snapshots(v *View, n *yaml.Node) {
	var coarsest schemas.Micros
	for _, f := range v.declared {
		for _, w := range f.windows {
			coarsest = max(coarsest, w.Hop)
		}
	}
	if n == nil {
		return
	}
	d, ok := p.duration(n, "snapshots", 1)
	if !ok {
		return
	}
	v.Snapshots = d
	if v.Spec.Table {
		if d < leastSnapshot {
			p.fail(n, "write `1m` or more", "snapshots of %s lie too close", expr.FormatDuration(d))
		}
		return
	}
	if coarsest > 0 && d%coarsest != 0 {
		p.fail(n, "write a multiple of it, or ask `tallystick train` for other instants",
			"snapshots of %s are not a multiple of the view's coarsest hop %s", expr.FormatDuration(d), expr.FormatDuration(coarsest))
	}
}
