package definition

import (
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/expr"
	"gopkg.in/yaml.v3"
)

// feature is one entry of `features`, before its windows are expanded.
type feature struct {
	name    string
	at      *yaml.Node
	spec    transforms.Feature // without Name and Window
	windows []window

	derived *yaml.Node // the expression of a derived feature
	deflt   *yaml.Node
	// While derived features are ordered:
	programs *expr.Program
	visiting bool
}

// parameters are the keys that go with one aggregation only, or two.
var parameters = map[string][]transforms.Aggregation{
	"k":  {transforms.FirstK, transforms.LastK},
	"q":  {transforms.Quantile},
	"by": {transforms.MinBy, transforms.MaxBy},
}

// notWithExpr are the keys that belong to aggregations.
var notWithExpr = []string{"over", "where", "hop", "k", "q", "by"}

func (p *parser) features(v *View, n *yaml.Node) {
	entries := p.mapping(n, "features")
	if len(entries) == 0 && n.Kind == yaml.MappingNode {
		p.fail(n, "write at least one", "view %s has no features", v.Name)
	}
	at := map[string]*yaml.Node{}
	for _, k := range v.Spec.Key {
		at[k.Name] = nil
	}
	for _, e := range entries {
		p.name(e.at, "feature")
		f := p.feature(v, e)
		if f == nil {
			continue
		}
		v.declared = append(v.declared, f)
		for _, name := range f.names() {
			first, taken := at[name]
			switch {
			case taken && first == nil:
				p.fail(e.at, "rename one of them", "`%s` is already a key field of view %s", name, v.Name)
			case taken:
				p.fail(e.at, "rename one of them", "feature `%s` arises twice, first in line %d", name, first.Line)
			default:
				at[name] = e.at
			}
		}
		if len(at) > maxFeatures {
			p.fail(e.at, "split the view", "view %s has more than %d features", v.Name, maxFeatures)
			return
		}
	}
	p.expand(v)
}

// names returns the names that f expands to.
func (f *feature) names() []string {
	if f.derived != nil {
		return []string{f.name}
	}
	var names []string
	for _, w := range f.windows {
		names = append(names, f.column(w))
	}
	return names
}

// column names the feature over one of its windows.
func (f *feature) column(w window) string {
	if w.suffix == "" { // a table's, without any
		return f.name
	}
	return f.name + "_" + w.suffix
}

func (p *parser) feature(v *View, e entry) *feature {
	before := len(p.errs)
	o := p.object(e.value, "feature "+e.key, featureKeys)
	f := &feature{name: e.key, at: e.at, deflt: o.get("default")}
	f.spec.Input, f.spec.Filter = -1, -1
	var whats []entry
	for _, x := range o.entries {
		if x.key == "expr" || transforms.ParseAggregation(x.key) != 0 {
			whats = append(whats, x)
		}
	}
	if x := o.get("description"); x != nil {
		p.text(x, "description")
	}
	switch {
	case len(whats) == 0:
		if len(p.errs) == before { // else a misspelt key may have been it
			p.fail(e.at, "add one of "+strings.Join(transforms.AggregationNames(), ", ")+", expr", "feature %s computes nothing", e.key)
		}
		return nil
	case len(whats) > 1:
		p.fail(whats[1].at, "write two features", "feature %s has both %s and %s", e.key, whats[0].key, whats[1].key)
		return nil
	case whats[0].key == "expr":
		return p.derivedFeature(f, whats[0].value, o)
	}
	return p.aggregate(v, f, whats[0], o)
}

func (p *parser) derivedFeature(f *feature, n *yaml.Node, o object) *feature {
	for _, key := range notWithExpr {
		if x := o.byKey[key]; x.at != nil {
			p.fail(x.at, "give it to the features that the expression reads", "`%s` does not go with expr", key)
		}
	}
	if _, ok := p.text(n, "expr"); !ok {
		return nil
	}
	f.derived = n
	return f
}

func (p *parser) aggregate(v *View, f *feature, what entry, o object) *feature {
	agg := transforms.ParseAggregation(what.key)
	f.spec.Aggregation = agg
	in, sound := schemas.Null, true
	if what.value.Kind == yaml.ScalarNode && what.value.Value == "*" {
		if agg != transforms.Count {
			p.fail(what.value, "name a field", "only count takes \"*\"")
			sound = false
		}
	} else if prog := p.expression(what.value, v.Source, what.key); prog != nil {
		in = prog.Type().Kind
		f.spec.Input = share(&v.Spec.Inputs, prog)
	} else {
		sound = false
	}
	if sound {
		kind, ok := agg.OutputKind(in)
		if !ok {
			p.fail(what.value, takes(agg, in), "%s does not take %s", agg, expr.Article(in))
			sound = false
		}
		if f.spec.Kind = kind; kind == schemas.List {
			f.spec.Element = in
		}
	}
	sound = p.parameters(v, f, what, o) && sound
	table := v.Source != nil && v.Source.Table
	if table && !p.tableFeature(agg, what, o) {
		return f // its windows would echo
	}
	if n := o.get("where"); n != nil {
		if prog := p.condition(n, v.Source, "where"); prog != nil {
			f.spec.Filter = share(&v.Spec.Filters, prog)
		} else {
			sound = false
		}
	}
	over := o.get("over")
	if over == nil && table {
		f.windows = []window{{Window: lifetimeWindow(), at: f.at}}
		return p.withDefault(f, sound)
	}
	if over == nil {
		p.fail(f.at, "add `over: 24h`, a list of windows, or `over: lifetime`", "feature %s has no window", f.name)
		return nil
	}
	list := p.list(over)
	if len(list) == 0 {
		p.fail(over, "write at least one window", "feature %s has no window", f.name)
	}
	for _, n := range list {
		if w, ok := p.window(n, o.get("hop")); ok {
			f.windows = append(f.windows, w)
		}
	}
	if h := o.get("hop"); h != nil && len(f.windows) > 0 && !slices.ContainsFunc(f.windows, func(w window) bool { return w.Kind == transforms.Sliding }) {
		p.fail(h, "remove it", "calendar windows and lifetime have a hop of 1d")
	}
	return p.withDefault(f, sound)
}

// withDefault reads the default of an aggregation.
func (p *parser) withDefault(f *feature, sound bool) *feature {
	if sound && f.deflt != nil {
		f.spec.Default = p.defaultOf(f)
	}
	if !sound {
		f.spec.Kind = schemas.Null // names stay known, so that nothing echoes
	}
	return f
}

// parameters reads k, q and by; false after a fault.
func (p *parser) parameters(v *View, f *feature, what entry, o object) bool {
	before := len(p.errs)
	agg := f.spec.Aggregation
	for _, key := range []string{"k", "q", "by"} {
		e, given := o.byKey[key]
		switch fits := slices.Contains(parameters[key], agg); {
		case given && !fits:
			p.fail(e.at, "leave it out", "`%s` does not go with %s", key, agg)
		case !fits:
		case !given:
			p.fail(what.at, parameterHints[key], "%s needs `%s`", agg, key)
		case key == "k":
			p.countOf(f, e.value)
		case key == "q":
			p.quantile(f, e.value)
		default:
			p.by(v, f, e.value)
		}
	}
	return len(p.errs) == before
}

var parameterHints = map[string]string{"k": "say how many, as in `k: 3`", "q": "say which, as in `q: 0.95`",
	"by": "name the field that is least or greatest, as in `by: amount`"}

func (p *parser) countOf(f *feature, n *yaml.Node) {
	k, ok := p.integer(n, "k", 1)
	if ok && k > transforms.MaxK {
		p.fail(n, "", "k must be at most %d, this is %d", transforms.MaxK, k)
	}
	f.spec.K = int(min(k, transforms.MaxK))
}

// quantile reads q exactly, as the decimal that it is written as.
func (p *parser) quantile(f *feature, n *yaml.Node) {
	q, ok := new(big.Rat).SetString(n.Value)
	if n.Kind != yaml.ScalarNode || n.Tag != "!!float" && n.Tag != "!!int" || !ok || q.Sign() < 0 || q.Cmp(big.NewRat(1, 1)) > 0 {
		p.fail(n, "the median is 0.5", "q must be a number from 0 to 1, this is %s", kindOf(n))
		return
	}
	if q.Mul(q, big.NewRat(transforms.QuantileUnit, 1)); !q.IsInt() {
		p.fail(n, "", "q takes up to 6 decimals, this is %s", kindOf(n))
		return
	}
	f.spec.Q = int(q.Num().Int64())
}

// by reads what min_by and max_by go by.
func (p *parser) by(v *View, f *feature, n *yaml.Node) {
	prog := p.expression(n, v.Source, "by")
	if prog == nil {
		return
	}
	if k := prog.Type().Kind; k == schemas.Bool {
		p.fail(n, "use `x ? 1 : 0` for bools", "%s does not go by %s", f.spec.Aggregation, expr.Article(k))
	}
	f.spec.By = share(&v.Spec.Inputs, prog)
}

func takes(a transforms.Aggregation, in schemas.Kind) string {
	switch {
	case a == transforms.Min || a == transforms.Max:
		return "use `x ? 1 : 0` for bools"
	case in == schemas.Bool:
		return "it takes numbers: write `x ? 1.0 : 0.0`"
	}
	return "it takes ints and doubles"
}

// share returns the index of prog in list, which holds each normal form once.
func share(list *[]*expr.Program, prog *expr.Program) int {
	for i, q := range *list {
		if q.Canonical() == prog.Canonical() {
			return i
		}
	}
	*list = append(*list, prog)
	return len(*list) - 1
}

// defaultOf reads the default of a feature: a literal of its kind, or a list of
// such (V9).
func (p *parser) defaultOf(f *feature) schemas.Value {
	if f.spec.Kind != schemas.List {
		return p.literal(f.deflt, f.spec.Kind, f.name)
	}
	if f.deflt.Kind != yaml.SequenceNode {
		p.fail(f.deflt, "write it in brackets, [] is the empty one", "the default of feature %s must be a list, this is %s", f.name, kindOf(f.deflt))
		return schemas.Value{}
	}
	list := make([]schemas.Value, 0, len(f.deflt.Content))
	for _, n := range f.deflt.Content {
		x := p.literal(n, f.spec.Element, f.name)
		if x.IsNull() {
			return x
		}
		list = append(list, x)
	}
	if len(list) > f.spec.K {
		p.fail(f.deflt, "", "the default of feature %s has more than k = %d elements", f.name, f.spec.K)
	}
	return schemas.ListValue(list)
}

// literal reads the default of a feature of kind k (V9).
func (p *parser) literal(n *yaml.Node, k schemas.Kind, name string) schemas.Value {
	bad := func(hint string) schemas.Value {
		p.fail(n, hint, "the default of feature %s must be %s, this is %s", name, expr.Article(k), kindOf(n))
		return schemas.Value{}
	}
	if n.Kind != yaml.ScalarNode {
		return bad("")
	}
	if n.Tag == "!!null" {
		p.fail(n, "leave out default: without events a feature is null anyhow", "null is no default")
		return schemas.Value{}
	}
	switch k {
	case schemas.Int:
		if i, err := strconv.ParseInt(n.Value, 0, 64); err == nil && n.Tag == "!!int" {
			return schemas.IntValue(i)
		}
	case schemas.Double:
		d, err := strconv.ParseFloat(n.Value, 64)
		if (n.Tag == "!!int" || n.Tag == "!!float") && err == nil && !math.IsInf(d, 0) && !math.IsNaN(d) {
			return schemas.DoubleValue(d)
		}
	case schemas.Bool:
		if n.Tag == "!!bool" {
			return schemas.BoolValue(strings.EqualFold(n.Value, "true"))
		}
	case schemas.String:
		if n.Tag == "!!str" {
			return schemas.StringValue(n.Value)
		}
		return bad("put it in quotes")
	case schemas.Bytes:
		if n.Tag == "!!str" {
			return schemas.BytesValue(n.Value)
		}
	case schemas.Timestamp:
		if m, err := schemas.ParseInstant(n.Value); err == nil {
			return schemas.TimestampValue(m)
		}
		return bad("write it as 2024-01-31T00:00:00Z")
	}
	return bad("")
}
