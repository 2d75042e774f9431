package definition

import (
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestFingerprintIsStable fails when fingerprints change: every state in the
// field would have to be rebuilt (O5).
func TestFingerprintIsStable(t *testing.T) { // §3
	d := mustParse(t, example(t))
	for i, want := range []string{
		"a3276bcb45a71c5a03d1ca8ac7c17b6c", "cb80e53cfe6fd8561bc8dd999cd82475", "74bfe9da148df15554f7d8b3f31347e9",
	} {
		if got := d.Views[i].Fingerprint; got != want {
			t.Errorf("view %s: %s, want %s", d.Views[i].Name, got, want)
		}
	}
}

func TestFingerprintSensitivity(t *testing.T) { // §3
	text := example(t)
	want := mustParse(t, text).Views[0].Fingerprint
	for _, c := range []struct {
		name, old, new string
		same           bool
	}{
		{"view name", "dest_delays", "delays", true},
		{"source name", "source: flights\n    description", "source: air\n    description", true},
		{"topic", "topic: flights", "topic: air", true},
		{"description", "Delays by", "All delays by", true},
		{"feature name", "peak: {", "top: {", true},
		{"feature name that a derived one reads", "cancelled: {", "off: {", true},
		{"feature order", "", "", true},
		{"writers", "writers: {files: {1: schemas/flight.v1.avsc, 2: schemas/flight.v2.avsc}}\n", "writers: {registry: http://registry}\n", true},
		{"blanks in expressions", `status != "diverted"`, `( status  !=  'diverted' )`, true},
		{"other views", "  routes:\n    source: flights\n    entity: {route", "  routes:\n    source: flights\n    where: ontime\n    entity: {route", true},
		{"fields of others accept defaults", "accept_defaults: [gate, ", "accept_defaults: [", true},
		{"duration spelling", "lateness: 48h", "lateness: 2d", true},
		{"other source's zone", "zone: America/New_York", "zone: Europe/Paris", true},
		{"lateness", "lateness: 48h", "lateness: 24h", false},
		{"max_future", "max_future: 5m", "max_future: 6m", false},
		{"max_open", "version: version", "version: version\n    max_open: 9", false},
		{"id", "id: event_id\n    version: version", "id: flight\n    version: version", false},
		{"no version", "    version: version\n    lateness", "    lateness", false},
		{"expectation", "-120.0", "-60.0", false},
		{"migration", "/ 60.0", "/ 3600.0", false},
		{"incompatible", "incompatible: stop", "incompatible: quarantine", false},
		{"history", "max_future: 5m", "max_future: 5m\n    history: {0: 7}", false},
		{"where", `status != "diverted"`, `status != "cancelled"`, false},
		{"entity", "{dest: string}", "{dest: {type: string, field: origin}}", false},
		{"a window", "mean: dep_delay_min, over: [24h, 7d]", "mean: dep_delay_min, over: [24h, 8d]", false},
		{"a hop", "hop: 5m", "hop: 1h", false},
		{"exclude_current", "exclude_current: true}]}\n      dep_delay", "exclude_current: false}]}\n      dep_delay", false},
		{"an aggregation", "{max: \"dep", "{min: \"dep", false},
		{"an input", "dep_delay_min * 2.0", "dep_delay_min * 3.0", false},
		{"a filter", `status == "cancelled"`, `status == "landed"`, false},
		{"a default", "default: 0}", "default: 1}", false},
		{"no default", ", default: 0}", "}", false},
		{"a derived expression", "share_24h * 2.0", "share_24h * 3.0", false},
		{"a derived input", "double(flights_7d)", "double(flights_24h)", false},
		{"snapshots", "description: Delays by destination", "snapshots: 48h", false},
		{"shards", "description: Delays by destination", "shards: 8", false},
		{"event time", "event_time: event_time", "event_time: {field: sent_ms, unit: ms}", false},
		{"more features", "      peak:", "      n: {count: gate, over: 24h}\n      peak:", false},
	} {
		changed := strings.Replace(text, c.old, c.new, 1)
		switch c.name {
		case "view name", "feature name that a derived one reads", "source name":
			changed = strings.ReplaceAll(changed, "dest_delays", "delays")
			changed = strings.ReplaceAll(changed, "cancelled_30d", "off_30d")
			if c.name == "source name" {
				changed = strings.Replace(changed, "  flights:\n    topic", "  air:\n    topic", 1)
				changed = strings.ReplaceAll(changed, "source: flights", "source: air")
			}
			if c.name != "feature name that a derived one reads" {
				changed = strings.ReplaceAll(changed, "off_30d", "cancelled_30d")
			}
		case "feature order":
			line := "      planes: {count_distinct: tailnum, over: 7d}\n"
			changed = strings.Replace(strings.Replace(text, line, "", 1), "      share_24h", line+"      share_24h", 1)
		}
		if changed == text {
			t.Errorf("%s: nothing changed", c.name)
			continue
		}
		if got := mustParse(t, changed).Views[0].Fingerprint; (got == want) != c.same {
			t.Errorf("%s: same fingerprint = %t", c.name, got == want)
		}
	}
	d := mustParse(t, text)
	zoned := mustParse(t, strings.Replace(text, "zone: America/New_York", "zone: Europe/Paris", 1))
	if d.Views[2].Fingerprint == zoned.Views[2].Fingerprint {
		t.Error("the rules of the zone do not count")
	}
	same := mustParse(t, strings.Replace(text, "zone: America/New_York", "zone: US/Eastern", 1))
	if d.Views[2].Fingerprint != same.Views[2].Fingerprint {
		t.Error("the name of the zone counts, though its rules are the same")
	}
}

// TestFingerprintOfReaderSchema: docs, fields that nobody reads and the order
// of fields do not count; aliases, accepted defaults and types do.
func TestFingerprintOfReaderSchema(t *testing.T) { // §3, S2
	def := strings.Replace(base, "    event_time: event_time\n", "    event_time: event_time\n    accept_defaults: [gate]\n    id: meta.lsn\n", 1)
	def = strings.Replace(def, "count: \"*\"", "count: gate", 1)
	of := func(old, with string) string {
		d, err := Parse("f.yaml", []byte(def), func(path string) ([]byte, error) {
			text, err := read(path)
			changed := strings.Replace(string(text), old, with, 1)
			if changed == string(text) && old != "" {
				t.Errorf("nothing changed: %s", old)
			}
			return []byte(changed), err
		})
		if err != nil {
			t.Fatal(err)
		}
		return d.Views[0].Fingerprint
	}
	want := of("", "")
	for _, c := range []struct {
		old, with string
		same      bool
	}{
		{`"name": "dest",`, `"doc": "where to", "name": "dest",`, true},
		{`{"name": "ontime", "type": "boolean", "default": false},`, ``, true},
		{`"name": "ontime", "type": "boolean", "default": false`, `"name": "ontime", "type": "boolean", "default": true`, true},
		{`"name": "dest",`, `"aliases": ["destination"], "name": "dest",`, false},
		{`"name": "gate", "type": "string", "default": "?"`, `"name": "gate", "type": "string", "default": "-"`, false},
		{`"name": "dest", "type": "string"`, `"name": "dest", "type": ["null", "string"]`, false},
		{`"name": "lsn", "type": "string", "default": "0/0"`, `"name": "lsn", "type": "string", "default": "0/1"`, false},
		{`timestamp-micros`, `timestamp-millis`, false},
	} {
		if got := of(c.old, c.with); (got == want) != c.same {
			t.Errorf("%s → %s: same fingerprint = %t", c.old, c.with, got == want)
		}
	}
}

// TestFormattingDoesNotMatter shuffles the keys of feature maps, and adds
// blanks and comments.
func TestFormattingDoesNotMatter(t *testing.T) {
	features := [][]string{{`count: "*"`, "over: [24h,  7d]", `where: status   ==  "landed"`},
		{"max: dep_delay_min", "over: 12h", "default: 1", "description: a text"},
		{`last: "origin+dest"`, "over:  lifetime", `where: "ontime&&status!='x'"`}}
	want := ""
	rapid.Check(t, func(rt *rapid.T) {
		var b strings.Builder
		b.WriteString(strings.Split(base, "      n:")[0])
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		for i, f := range features {
			keys := append([]string(nil), f...)
			r.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
			name := string(rune('a' + i))
			if r.IntN(2) == 0 {
				b.WriteString("      # a comment\n\n      " + name + ": {" + strings.Join(keys, " , ") + "}\n")
			} else {
				b.WriteString("      " + name + ":\n          " + strings.Join(keys, "   # why\n          ") + "\n")
			}
		}
		v := mustParse(t, b.String()).Views[0]
		if want == "" {
			want = v.Fingerprint
		}
		if v.Fingerprint != want {
			rt.Fatalf("another fingerprint for\n%s", b.String())
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(base)
	f.Add(strings.Replace(base, `count: "*"`, `sum: "distance_mi * 2"`, 1))
	f.Add("sources: {a: {schema: schemas/weather.avsc, event_time: {field: observed_local, zone: UTC}}}\nviews: &x {}\nservices: *x")
	f.Add(strings.Replace(base, "24h}", "[{days: 7}, lifetime, {window: 1h30m, hop: 1m}], default: 3}\n      m: {expr: n_lifetime + m}", 1))
	f.Add(nested("accept_defaults: [tags, customer.address]", "{type: string, field: customer.id}", `'double(lines[0].price) > 1.0 && "k" in attributes'`))
	f.Fuzz(func(t *testing.T, text string) {
		d, err := Parse("f.yaml", []byte(text), read)
		if err != nil {
			if len(err.(*Errors).List) == 0 {
				t.Fatal("an error that says nothing")
			}
			return
		}
		for _, v := range d.Views {
			again, err := Parse("f.yaml", []byte(v.Canonical), read)
			if err != nil {
				t.Fatalf("%v\n%s\nfrom\n%s", err, v.Canonical, text)
			}
			if got := again.Views[0]; got.Canonical != v.Canonical || got.Fingerprint != v.Fingerprint {
				t.Fatalf("%s\nbecomes\n%s", v.Canonical, got.Canonical)
			}
		}
	})
}
