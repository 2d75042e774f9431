package definition

import (
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/schemas/avro"
	"github.com/tallystick/tallystick/transforms/expr"
	"gopkg.in/yaml.v3"
)

// TimeKind says how a field becomes the event time.
type TimeKind string

// The kinds of event times.
const (
	TimeInstant TimeKind = "instant" // an Avro timestamp: the Value is it
	TimeLocal   TimeKind = "local"   // an Avro local-timestamp: Parser.FromWallClock
	TimeRFC3339 TimeKind = "rfc3339" // a string with Z or an offset: schemas.ParseInstant
	TimeText    TimeKind = "text"    // a string without offset: Parser
	TimeNumber  TimeKind = "number"  // an int counting Unit since the epoch
)

// EventTimeSpec says where the event time comes from (V10).
type EventTimeSpec struct {
	Field string // reader path
	Slot  int    // in Source.Paths
	Kind  TimeKind
	// Unit is how many µs one step of a TimeNumber is: 1,000,000, 1,000 or 1.
	Unit schemas.Micros
	// Zone, Layout, Fold and Gap are as given to schemas.NewLocalParser.
	Zone, Layout, Fold, Gap string
	Parser                  *schemas.LocalParser // TimeLocal and TimeText
	// Rules is a digest of the zone's rules; "" without a zone.
	Rules string
}

var timeUnits = map[string]schemas.Micros{"s": schemas.Second, "ms": 1000, "us": 1}

func (p *parser) eventTime(s *Source, e entry, n *yaml.Node) {
	if n == nil {
		p.fail(e.at, "add `event_time: field`", "source %s has no event_time", s.Name)
		return
	}
	spec := EventTimeSpec{Fold: "earlier", Gap: "forward"}
	field, o := n, object{}
	if n.Kind == yaml.MappingNode {
		o = p.object(n, "event_time", eventTimeKeys)
		if field = o.get("field"); field == nil {
			p.fail(n, "add `field:`", "event_time names no field")
			return
		}
	}
	text, ok := p.text(field, "event_time")
	if !ok {
		return
	}
	path, plain := plainPath(text)
	if !plain {
		p.fail(field, "name a field; what is computed can be a field of the source's schema and a `migrate` rule", "event_time is not an expression")
		return
	}
	spec.Field = path
	for _, w := range []struct {
		key string
		to  *string
	}{{"zone", &spec.Zone}, {"layout", &spec.Layout}} {
		if x := o.get(w.key); x != nil {
			*w.to, _ = p.text(x, w.key)
		}
	}
	if x := o.get("fold"); x != nil {
		spec.Fold, _ = p.oneOf(x, "fold", "earlier", "later", "invalid")
	}
	if x := o.get("gap"); x != nil {
		spec.Gap, _ = p.oneOf(x, "gap", "forward", "backward", "invalid")
	}
	if s.Reader == nil {
		return
	}
	t, err := s.Reader.Lookup(path)
	if err != nil {
		p.exprErrors(field, expr.Errors{s.unknown(path)})
		return
	}
	spec.Slot = s.slot(path, t)
	p.timeKind(&spec, t, field, o)
	if spec.Zone != "" && (spec.Kind == TimeText || spec.Kind == TimeLocal) {
		p.zone(&spec, o)
	}
	s.EventTime = spec
}

// timeKind decides by the field's type, and refuses keys that do not apply to it.
func (p *parser) timeKind(spec *EventTimeSpec, t avro.FieldType, field *yaml.Node, o object) {
	zoned, unit := false, false
	switch {
	case t.Kind == schemas.Timestamp && t.Local:
		spec.Kind, zoned = TimeLocal, true
		if spec.Zone == "" {
			p.fail(field, "write `event_time: {field: "+spec.Field+", zone: America/New_York}` with its zone",
				"`%s` is a local timestamp without a zone", spec.Field)
		}
	case t.Kind == schemas.Timestamp:
		spec.Kind = TimeInstant
	case t.Kind == schemas.String:
		spec.Kind, zoned = TimeRFC3339, true
		if spec.Zone != "" {
			spec.Kind = TimeText
		} else if spec.Layout != "" {
			p.fail(o.get("layout"), "add `zone:` with the IANA zone that it was written in", "a layout describes a local time, which needs a zone")
		}
	case t.Kind == schemas.Int && t.Unit == "":
		spec.Kind, unit = TimeNumber, true
		if x := o.get("unit"); x == nil {
			p.fail(field, "write `event_time: {field: "+spec.Field+", unit: ms}` with ms, s or us",
				"`%s` is a number, which says nothing of its unit", spec.Field)
		} else if u, ok := p.oneOf(x, "unit", "ms", "s", "us"); ok {
			spec.Unit = timeUnits[u]
		}
	default:
		p.fail(field, "name a timestamp, a long or a string", "event_time cannot be `%s`, a %s", spec.Field, typeName(t))
		return
	}
	for _, e := range o.entries {
		switch e.key {
		case "zone", "layout", "fold", "gap":
			if !zoned || e.key == "layout" && t.Kind != schemas.String {
				p.fail(e.at, "remove it", "`%s` does not apply to `%s`, a %s", e.key, spec.Field, typeName(t))
			} else if (e.key == "fold" || e.key == "gap") && spec.Zone == "" {
				p.fail(e.at, "add `zone:` or remove it", "`%s` applies to local times, which need a zone", e.key)
			}
		case "unit":
			if !unit {
				p.fail(e.at, "remove it", "`unit` does not apply to `%s`, a %s", spec.Field, typeName(t))
			}
		}
	}
}

// typeName names an Avro type as its author wrote it.
func typeName(t avro.FieldType) string {
	if t.Logical != "" {
		return t.Logical
	}
	return t.Avro
}

// zone prepares the parser of local times.
func (p *parser) zone(spec *EventTimeSpec, o object) {
	if _, err := schemas.LoadZone(spec.Zone); err != nil {
		p.fail(o.get("zone"), "write an IANA name such as America/New_York", "there is no time zone `%s`", spec.Zone)
		return
	}
	parser, err := schemas.NewLocalParser(spec.Zone, spec.Layout, spec.Fold, spec.Gap)
	if err != nil {
		at := o.get("layout")
		if at == nil {
			at = o.get("zone")
		}
		p.fail(at, "", "%v", err)
		return
	}
	spec.Parser, spec.Rules = parser, schemas.ZoneRules(spec.Zone)
}
