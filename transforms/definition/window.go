package definition

import (
	"fmt"
	"strings"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/expr"
	"gopkg.in/yaml.v3"
)

// window is a window as declared.
type window struct {
	transforms.Window
	suffix string // of feature names, "24h", "prev_7d"
	text   string // Sliding: the length as written, without blanks
	at     *yaml.Node
}

// defaultHop is the grid of a sliding window's tail (§3).
func defaultHop(length schemas.Micros) schemas.Micros {
	switch {
	case length < 12*schemas.Hour:
		return 5 * schemas.Minute
	case length < 12*schemas.Day:
		return schemas.Hour
	}
	return schemas.Day
}

// calendarUnits: the key, the suffix and how many units make 1,000 years.
var calendarUnits = []struct {
	key, suffix string
	kind        transforms.WindowKind
	most        int64
}{{"days", "d", transforms.Days, 365_000}, {"weeks", "w", transforms.Weeks, 52_000}, {"months", "mo", transforms.Months, 11_000}}

// window reads one entry of `over`. hop is the feature's own, nil = none.
func (p *parser) window(n *yaml.Node, hop *yaml.Node) (window, bool) {
	w := window{at: n}
	if n.Kind == yaml.MappingNode {
		return p.windowObject(n, hop)
	}
	text, ok := p.text(n, "a window")
	if !ok {
		return w, false
	}
	if text == "lifetime" {
		w.Window = transforms.Window{Kind: transforms.Lifetime, Hop: schemas.Day}
		w.suffix = "lifetime"
		return w, true
	}
	return p.sliding(n, hop)
}

func (p *parser) sliding(n, hop *yaml.Node) (window, bool) {
	w := window{at: n, text: strings.ReplaceAll(n.Value, " ", "")}
	length, ok := p.duration(n, "a window", 1)
	if !ok {
		return w, false
	}
	w.suffix = w.text
	w.Window = transforms.Window{Kind: transforms.Sliding, Length: length, Hop: defaultHop(length)}
	if hop != nil {
		if w.Hop, ok = p.duration(hop, "hop", 1); !ok {
			return w, false
		}
		if schemas.Day%w.Hop != 0 {
			p.fail(hop, "write one such as 1m, 5m, 15m, 1h, 6h or 1d", "hop %s does not divide a day", hop.Value)
			return w, false
		}
	}
	if length < w.Hop {
		p.fail(n, fmt.Sprintf("declare a shorter one: {window: %s, hop: %s}", w.text, hopFor(length)),
			"window %s is shorter than its hop %s", w.text, expr.FormatDuration(w.Hop))
		return w, false
	}
	return w, true
}

// hopFor proposes the longest common hop that is no longer than length.
func hopFor(length schemas.Micros) string {
	best := "1us"
	for _, s := range []string{"1ms", "1s", "10s", "1m", "5m", "15m", "1h", "6h", "1d"} {
		if d, err := expr.ParseDuration(s); err == nil && d <= length {
			best = s
		}
	}
	return best
}

func (p *parser) windowObject(n, hop *yaml.Node) (window, bool) {
	w := window{at: n}
	o := p.object(n, "a window", windowKeys)
	if x := o.get("window"); x != nil {
		for _, key := range []string{"days", "weeks", "months", "exclude_current"} {
			if y := o.byKey[key]; y.at != nil {
				p.fail(y.at, "remove it", "`%s` does not go with `window`", key)
			}
		}
		if h := o.get("hop"); h != nil {
			hop = h
		}
		if x.Value == "lifetime" {
			return p.window(x, nil)
		}
		if _, ok := p.text(x, "window"); !ok {
			return w, false
		}
		return p.sliding(x, hop)
	}
	units := 0
	ok := true
	for _, u := range calendarUnits {
		x := o.get(u.key)
		if x == nil {
			continue
		}
		units++
		var i int64
		if i, ok = p.integer(x, u.key, 1); ok && i > u.most {
			p.fail(x, "", "%s must be at most %d, this is %d", u.key, u.most, i)
			ok = false
		}
		w.Window = transforms.Window{Kind: u.kind, N: int(i), Hop: schemas.Day}
		w.suffix = fmt.Sprintf("cur_%d%s", i, u.suffix)
		if x := o.get("exclude_current"); x != nil && p.boolean(x, "exclude_current") {
			w.ExcludeCurrent = true
			w.suffix = fmt.Sprintf("prev_%d%s", i, u.suffix)
		}
	}
	if units != 1 {
		p.fail(n, "write {days: 7}, {weeks: 1}, {months: 1} or {window: 24h, hop: 1h}", "a window needs one of days, weeks, months, window")
		return w, false
	}
	if x := o.byKey["hop"]; x.at != nil {
		p.fail(x.at, "remove it", "calendar windows have a hop of 1d")
	}
	return w, ok
}
