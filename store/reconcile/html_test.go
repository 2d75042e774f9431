package reconcile

import (
	"bytes"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// page is a report with one difference, whose key is no friend of HTML.
func page(t *testing.T) (*Report, string) {
	t.Helper()
	b := Instant(1_767_225_600_000_000)
	rep := &Report{View: "orders", Fingerprint: "f00d", Verdict: Differs, Alert: true, Boundary: b, TableAsOf: b, Sample: 1,
		Entities: 1234567, Compared: 1234560, States: 12, Skipped: 2, Tiles: 99, Values: 7000, Diverging: 77,
		Levels:   []LevelReport{{Hop: "1h", Boundary: b, Compared: 99, Different: 1}},
		Features: []FeatureReport{{Feature: "spent_7d", AsOf: b, Compared: 7000, Different: 1}},
		Causes:   map[Cause]int64{Corrupt: 1}, Differences: 1,
		Ledgers: Ledgers{Online: []LedgerEntry{{Ledger: transforms.Ledger{Applied: 41, Late: 3}}}},
		Days:    []DayLedger{{"2026-01-01", 50, 0}, {"2026-01-02", 60, 3}},
		Listed: []Difference{{Kind: ValueKind, Key: []string{`user=<script>alert("x")</script>`}, Feature: "spent_7d", AsOf: &b,
			Online: "1.5 PRESENT", Offline: "2.5 PRESENT", Cause: Corrupt, Evidence: noEvidence("a replay gives 2.5")}},
		Notes: []string{"a note"}}
	var buf bytes.Buffer
	if err := WriteHTML(&buf, []*Report{rep}); err != nil {
		t.Fatal(err)
	}
	return rep, buf.String()
}

// R1, R3: the page says what the report says, denominators and all, escapes what
// comes from the data, and loads nothing.
func TestHTML(t *testing.T) {
	_, text := page(t)
	for _, want := range []string{"The stores differ", "ALERT: 77 of 7,000", "of 1,234,567", "1,234,560", "spent_7d", "2026-01-01T00:00:00Z",
		"corrupt", "a replay gives 2.5", "1.5 PRESENT", "&lt;script&gt;", "superseded", "44", "2026-01-02: 3 late of 60", "a note",
		`name="viewport"`, "From served to eligible"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	for _, c := range Causes() {
		if !strings.Contains(text, "<td>"+string(c)+"</td>") {
			t.Errorf("R3: cause %s is not counted", c)
		}
	}
	for _, bad := range []string{"<script", "http://", "https://", "src=", "href=", "ZgotmplZ"} {
		if strings.Contains(text, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
}

// R1: the words of each verdict.
func TestHTMLVerdicts(t *testing.T) {
	for v, want := range map[Verdict]string{Equal: "Equal, to the bit", NothingCompared: "Nothing was compared"} {
		rep := &Report{Verdict: v, Sample: 1, Boundary: Instant(schemas.Never), TableAsOf: Instant(schemas.Never)}
		var buf bytes.Buffer
		if err := WriteHTML(&buf, []*Report{rep}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(buf.String(), want) || strings.Contains(buf.String(), "The stores differ") || !strings.Contains(buf.String(), "None is late") {
			t.Errorf("verdict %s reads:\n%s", v, buf.String())
		}
	}
}
