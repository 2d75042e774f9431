package definition

import (
	"github.com/tallystick/tallystick/transforms"
)

// key is a key that a mapping of the definition file may have. The parser and
// the JSON Schema go by the same tables.
type key struct {
	name     string
	about    string // for people, a sentence or less
	value    node   // the schema of its value
	required bool
}

// keys are those of one mapping, in the order in which messages list them.
type keys []key

func (ks keys) names() []string {
	names := make([]string, len(ks))
	for i, k := range ks {
		names[i] = k.name
	}
	return names
}

var definitionKeys = keys{
	{name: "sources", about: "Topics, and the rules by which their records become events.", value: named(ref("source"), 1), required: true},
	{name: "views", about: "Features of one source, by entity.", value: named(ref("view"), 0)},
	{name: "services", about: "Features of one or more views that are asked for together.", value: named(ref("service"), 0)},
}

var sourceKeys = keys{
	{name: "topic", about: "Kafka topic; the source's name where this is left out.", value: with(ref("text"), node{"pattern": topicName.String()})},
	{name: "schema", about: "Reader schema, an .avsc file: the fields that expressions see. The path is relative to this file.", value: ref("text"), required: true},
	{name: "writers", about: "Where the schemas that records were written with come from; the directory of `schema` where this is left out.",
		value: with(mappingOf(writersKeys), node{"minProperties": 1, "maxProperties": 1})},
	{name: "migrate", about: "Rules for writer schemas that differ in more than Avro allows: a writer's id, file or record, then reader field: expression over the writer's fields.",
		value: node{"type": "object", "propertyNames": node{"pattern": writerKey.String()}, "additionalProperties": node{"type": "object", "additionalProperties": ref("expression")}}},
	{name: "accept_defaults", about: "Reader fields whose Avro default may stand in where a writer lacks them.", value: oneOrMore(ref("text"))},
	{name: "incompatible", about: "For records of a writer schema that no rule makes readable: stop (the default), or quarantine them.", value: oneOf(string(Stop), string(Quarantine))},
	{name: "event_time", about: "When it happened: a field, or a mapping that says how to read it.", value: node{"anyOf": []node{ref("text"), mappingOf(eventTimeKeys)}}, required: true},
	{name: "id", about: "Tells copies of an event: the first one counts.", value: ref("expression")},
	{name: "version", about: "With id: the highest version replaces the others; of a table: decides between records of one event time. An int, or a string holding a PostgreSQL LSN.", value: ref("expression")},
	{name: "lateness", about: "An event older than the log clock by more than this is late: not applied, quarantined. Default 72h, at least 1s.", value: ref("duration")},
	{name: "max_future", about: "An event further than this ahead of the log clock is refused. Default 5m, at least 1s.", value: ref("duration")},
	{name: "max_open", about: "Remembered ids per entity and partition, 65536 by default; beyond it the oldest are sealed early.", value: atLeast(1)},
	{name: "expect", about: "Conditions; a record for which one is not true is invalid.", value: oneOrMore(ref("expression"))},
	{name: "history", about: "Partition: offset. Below it lies a load of old events, where event times drive the clock.",
		value: node{"type": "object", "propertyNames": node{"pattern": "^[0-9_]+$"}, "additionalProperties": atLeast(0)}},
	{name: "history_lateness", about: "The lateness of records below history, where the load is not sorted by event time; at least lateness.", value: ref("duration")},
	{name: "close_idle", about: "Lets an idle partition close its windows by the wall clock minus this, at least 1s; without it only records and ticks do.", value: ref("duration")},
	{name: "kind", about: "What the records are: events (the default), or the rows of a table, of which the newest of each key counts.", value: oneOf("events", "table")},
	{name: "key", about: "Of a table: how its keys are written, string, long, int, bytes, uuid or an .avsc file.", value: ref("text")},
	{name: "description", about: "For people.", value: ref("text")},
}

var writersKeys = keys{
	{name: "registry", about: "URL of a Schema Registry.", value: node{"type": "string", "pattern": "^https?://"}},
	{name: "directory", about: "Directory of .avsc files whose id stands in an `id` attribute or in the name.", value: ref("text")},
	{name: "files", about: "Schema id: .avsc file.", value: node{"type": "object", "minProperties": 1, "propertyNames": node{"pattern": "^[0-9_]+$"}, "additionalProperties": ref("text")}},
}

var eventTimeKeys = keys{
	{name: "field", about: "The field.", value: ref("text"), required: true},
	{name: "zone", about: "IANA zone of a local time, such as America/New_York.", value: ref("text")},
	{name: "layout", about: "Of a local time in a string, unless it is YYYY-MM-DDTHH:MM:SS: YYYY MM DD HH mm ss .SSS, signs and T.", value: ref("text")},
	{name: "fold", about: "How to read an hour that the clocks repeat: earlier by default.", value: oneOf("earlier", "later", "invalid")},
	{name: "gap", about: "How to read an hour that the clocks skip: forward by default.", value: oneOf("forward", "backward", "invalid")},
	{name: "unit", about: "Of a number without a logical type.", value: oneOf("ms", "s", "us")},
}

var viewKeys = keys{
	{name: "source", about: "Name of a source.", value: ref("text"), required: true},
	{name: "description", about: "For people.", value: ref("text")},
	{name: "entity", about: "Key fields in order; name: type, or name: {type, field} or {type, expr}.", value: named(node{"anyOf": []node{ref("key_type"), mappingOf(keyFieldKeys)}}, 1), required: true},
	{name: "where", about: "A condition; events for which it is not true are filtered.", value: ref("expression")},
	{name: "snapshots", about: "Distance of the instants in the features table; a multiple of the view's coarsest hop. Default 24h.", value: ref("duration")},
	{name: "shards", about: "Of the online store; 16 by default.", value: node{"type": "integer", "minimum": 1, "maximum": 65_536}},
	{name: "features", about: "Aggregations over windows, and expressions over them.", value: named(ref("feature"), 1), required: true},
}

var keyFieldKeys = keys{
	{name: "type", about: "Its type.", value: ref("key_type"), required: true},
	{name: "field", about: "The field, where it is named otherwise.", value: ref("expression")},
	{name: "expr", about: "An expression, in the place of a field.", value: ref("expression")},
}

// featureKeys are the aggregations and what goes with them.
var featureKeys = append(aggregationKeys(),
	key{name: "expr", about: "Computes from other features of the view; null in gives null out.", value: ref("expression")},
	key{name: "over", about: "A window or a list of windows.", value: oneOrMore(ref("window"))},
	key{name: "where", about: "A condition: only these events count.", value: ref("expression")},
	key{name: "default", about: "A literal read instead of null when no event has a value; of a list, a list.",
		value: node{"type": []string{"string", "number", "boolean", "array"}}},
	key{name: "hop", about: "Grid of the tail of the sliding windows; it divides a day.", value: ref("duration")},
	key{name: "k", about: "Of first_k and last_k: how many.", value: node{"type": "integer", "minimum": 1, "maximum": transforms.MaxK}},
	key{name: "q", about: "Of quantile: which one; 0.5 is the median.", value: node{"type": "number", "minimum": 0, "maximum": 1}},
	key{name: "by", about: "Of min_by and max_by: what is least or greatest.", value: ref("expression")},
	key{name: "description", about: "For people.", value: ref("text")},
)

func aggregationKeys() keys {
	var out keys
	for _, name := range transforms.AggregationNames() {
		out = append(out, key{name: name, about: aggregationAbout[transforms.ParseAggregation(name)], value: ref("expression")})
	}
	return out
}

var aggregationAbout = map[transforms.Aggregation]string{
	transforms.Count:         `"*": how many events; otherwise how many values that are not null.`,
	transforms.Sum:           "The exact sum of ints or doubles, rounded once.",
	transforms.Mean:          "The mean of ints or doubles.",
	transforms.Min:           "The least value.",
	transforms.Max:           "The greatest value.",
	transforms.First:         "The first value, by event time.",
	transforms.Last:          "The last value, by event time.",
	transforms.CountDistinct: "How many different values: exact below 1,024, then estimated.",
	transforms.VarPop:        "The variance of a population.",
	transforms.VarSamp:       "The variance of a sample; null for fewer than 2 values.",
	transforms.StddevPop:     "The standard deviation of a population.",
	transforms.StddevSamp:    "The standard deviation of a sample; null for fewer than 2 values.",
	transforms.FirstK:        "A list of the first k values, the earliest first.",
	transforms.LastK:         "A list of the last k values, the earliest first.",
	transforms.Quantile:      "The q-quantile of ints or doubles, within 0.8 %.",
	transforms.MinBy:         "The value where `by` is least.",
	transforms.MaxBy:         "The value where `by` is greatest.",
}

var windowKeys = keys{
	{name: "days", about: "UTC days.", value: atLeast(1)},
	{name: "weeks", about: "ISO weeks, from Monday.", value: atLeast(1)},
	{name: "months", about: "Calendar months.", value: atLeast(1)},
	{name: "exclude_current", about: "Whole units before the one that t lies in, instead of up to t.", value: node{"type": "boolean"}},
	{name: "window", about: "Length of a sliding window.", value: node{"anyOf": []node{ref("duration"), {"const": "lifetime"}}}},
	{name: "hop", about: "Grid of its tail; it divides a day.", value: ref("duration")},
}
