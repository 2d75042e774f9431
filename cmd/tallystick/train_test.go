package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/offline"
)

// flightsLog starts an embedded Kafka with the example's year.
func flightsLog(t *testing.T) *servers {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	e := &servers{}
	t.Cleanup(e.close)
	if err := e.embedLog(ctx); err != nil {
		t.Fatal(err)
	}
	testbed.Inside(t, e.bootstrap...)
	from := samples(0, 0)
	delete(from, "orders")
	if _, err := createAndFill(ctx, e.client, from, nil, func(int) {}); err != nil {
		t.Fatal(err)
	}
	return e
}

// tally runs the program and returns its output.
func tally(t *testing.T, wantCode int, args ...string) (stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	if code := run(ctx, args, &out, &errs); code != wantCode {
		t.Fatalf("tallystick %s: exit %d, want %d\n%s%s", strings.Join(args, " "), code, wantCode, &out, &errs)
	}
	if slices.Contains(args, "--json") && wantCode != exitUsage && wantCode != exitFailed {
		checkPrinted(t, args, out.String())
	}
	return out.String(), errs.String()
}

// Training rows equal, to the bit, values that a brute-force program in another
// language computed from the CSV files alone: testdata/flights_*.csv, with
// doubles in hexadecimal and null as nothing (V2-V9, S2, §10).
func TestTrainFlights(t *testing.T) {
	e := flightsLog(t)
	for _, knowledge := range []string{"complete", "arrival"} {
		golden := readCSV(t, filepath.Join("testdata", "flights_"+knowledge+".csv"))
		labels := filepath.Join(t.TempDir(), "labels.csv")
		writeLabels(t, labels, golden)
		out := filepath.Join(t.TempDir(), "out.parquet")
		tally(t, exitOK, "train", "-f", "../../examples/flights/tallystick.yaml", "--brokers", strings.Join(e.bootstrap, ","),
			"--service", "departure_model", "--labels", labels, "-o", out, "--knowledge", knowledge)
		compareTraining(t, knowledge, golden, out)
	}
}

// compareTraining compares the columns behind the key and the timestamp.
func compareTraining(t *testing.T, knowledge string, golden [][]string, path string) {
	t.Helper()
	rows, err := offline.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	at := map[string]int{}
	for i, c := range rows.Columns() {
		at[c.Name] = i
	}
	compared := 0
	for _, want := range golden[1:] {
		row, err := rows.Next()
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range golden[0][labelColumns:] {
			got := ""
			switch v := row[at[name]]; v.Kind() {
			case schemas.Null:
			case schemas.Double:
				got = strconv.FormatFloat(v.Double(), 'x', -1, 64)
			default:
				got = v.String()
			}
			compared++
			if w := normalHex(t, want[labelColumns+i]); got != w {
				t.Errorf("%s, %v: %s is %q, not %q", knowledge, want[:labelColumns], name, got, w)
			}
		}
	}
	if compared < 1000 {
		t.Errorf("only %d values compared", compared)
	}
}

// normalHex writes a hexadecimal double as Go does.
func normalHex(t *testing.T, text string) string {
	t.Helper()
	if !strings.Contains(text, "0x") {
		return text
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return strconv.FormatFloat(f, 'x', -1, 64)
}

// labelColumns are the key fields and the timestamp.
const labelColumns = 4

func readCSV(t *testing.T, path string) [][]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func writeLabels(t *testing.T, path string, golden [][]string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := csv.NewWriter(f)
	for _, row := range golden {
		if err := w.Write(row[:labelColumns]); err != nil {
			t.Fatal(err)
		}
	}
	if w.Flush(); w.Error() != nil {
		t.Fatal(w.Error())
	}
}
