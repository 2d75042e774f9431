package definition

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// read reads schemas from testdata, whatever the definition's name.
func read(path string) ([]byte, error) { return os.ReadFile(filepath.Join("testdata", path)) }

func mustParse(t *testing.T, text string) *Definition {
	t.Helper()
	d, err := Parse("f.yaml", []byte(text), read)
	if err != nil {
		t.Fatalf("%v\nin\n%s", err, text)
	}
	return d
}

func example(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("testdata/flights.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// V12: what an enum may hold can be compared with, and an enum with any text
// that is no constant.
func TestEnumSymbols(t *testing.T) {
	for _, where := range []string{"phase == 'landed'", "phase in ['scheduled', 'diverted'] || phase == null", "phase == status", "phase < 'zz'"} {
		mustParse(t, strings.Replace(base, "    source: flights\n", "    source: flights\n    where: \""+where+"\"\n", 1))
	}
}

func TestExample(t *testing.T) {
	d, err := Load("testdata/flights.yaml")
	if err != nil {
		t.Fatal(err)
	}
	v, err := d.View("dest_delays")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"flights_24h", "flights_7d", "flights_prev_7d", "dep_delay_24h", "dep_delay_7d", "planes_7d",
		"cancelled_30d", "share_24h", "last_delay_lifetime", "peak_7d", "twice"}
	if got := v.FeatureNames(); !slices.Equal(got, names) {
		t.Errorf("features %v", got)
	}
	for _, v := range d.Views { // what package transforms asks for
		if _, err := transforms.NewView(v.Spec); err != nil {
			t.Error(err)
		}
	}
	s := d.Sources[0]
	if want := []string{"event_time", "event_id", "version", "dep_delay_min", "dest", "status"}; !slices.Equal(s.Paths[:6], want) {
		t.Errorf("projection %v", s.Paths)
	}
	if s.Lateness != 48*schemas.Hour || s.MaxOpen != 65536 || s.Identity != transforms.ByVersion || len(s.Expect) != 1 {
		t.Errorf("source %+v", s)
	}
	if e := d.Sources[1].EventTime; e.Kind != TimeText || e.Parser == nil || e.Rules == "" {
		t.Errorf("event time %+v", e)
	}
	share := v.Spec.Features[v.Feature("share_24h")]
	if got := share.Derived.Slots(); !slices.Equal(got, []int{1, 6}) {
		t.Errorf("share_24h reads %v", got)
	}
	w := v.Spec.Features[v.Feature("peak_7d")].Window
	if w.Hop != 5*schemas.Minute || w.Length != 7*schemas.Day {
		t.Errorf("peak_7d over %+v", w)
	}
	if w := v.Spec.Features[v.Feature("cancelled_30d")].Window; w.Hop != schemas.Day { // §3
		t.Errorf("cancelled_30d over %+v", w)
	}
	if got := d.Views[1].FeatureNames(); !slices.Equal(got, []string{"flights_cur_2w", "flights_prev_1mo", "flights_cur_3mo", "flights_prev_1w", "flights_cur_7d"}) {
		t.Errorf("calendar names %v", got)
	}
	svc, err := d.Service("departure_model")
	if err != nil || len(svc.Features) != 12 || len(svc.Key) != 2 || svc.Features[11].Name() != "jfk_weather.wind_6h" {
		t.Errorf("service %+v, %v", svc, err)
	}
	if _, err := d.View("dest_delay"); err == nil || !strings.Contains(err.Error(), "did you mean `dest_delays`?") {
		t.Errorf("unknown view: %v", err)
	}
}

func TestMigrationBinds(t *testing.T) { // S2
	d, err := Load("testdata/flights.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p := &parser{readFile: os.ReadFile, file: "testdata/x.yaml"}
	m := d.Sources[0].Migrations[0]
	writers, _ := p.writersOf(d.Sources[0], m)
	b, err := m.Bind(writers[0])
	if err != nil || len(b.Rules) != 1 || b.Fields[0] != "dep_delay_min" || b.Paths[0] != "dep_delay_s" {
		t.Fatalf("%+v, %v", b, err)
	}
	got, err := b.Rules[0].Eval([]schemas.Value{schemas.IntValue(90)})
	if err != nil || got.Double() != 1.5 {
		t.Errorf("%v, %v", got, err)
	}
	for _, c := range []struct {
		id   int32
		file string
		want bool
	}{{1, "schemas/flight.v1.avsc", true}, {1, "", false}, {1, "flight.v2.avsc", false}} {
		if m.Matches(c.id, c.file, "demo.Flight") != c.want {
			t.Errorf("%+v", c)
		}
	}
	if _, err := m.Bind(d.Sources[0].Reader); err == nil || !strings.Contains(err.Error(), "source flights, migrate flight.v1, field dep_delay_min: 1:8: unknown field `dep_delay_s`") {
		t.Errorf("bound to a writer without the field: %v", err)
	}
}

func TestCanonicalIsIdempotent(t *testing.T) {
	d := mustParse(t, example(t))
	for _, v := range d.Views {
		again := mustParse(t, v.Canonical)
		if got := again.Views[0]; got.Canonical != v.Canonical || got.Fingerprint != v.Fingerprint {
			t.Errorf("%s\nbecomes\n%s", v.Canonical, got.Canonical)
		}
		if got := again.Views[0].FeatureNames(); !slices.Equal(got, v.FeatureNames()) {
			t.Errorf("features %v", got)
		}
	}
}
