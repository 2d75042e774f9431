// Package flights holds the example of the README and of `tallystick demo`: a
// year of departures from JFK with their corrections, the weather, and a
// definition of features over them. data/README.md says where they come from.
package flights

import (
	"compress/gzip"
	"embed"
	"encoding/binary"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/linkedin/goavro/v2"
)

// Files are the definition (tallystick.yaml) and its schemas.
//
//go:embed tallystick.yaml schemas data/flights.csv.gz data/weather.csv.gz
var Files embed.FS

// Message is one Kafka record.
type Message struct {
	Time  time.Time // the record's timestamp
	Key   []byte
	Value []byte // Confluent wire format
}

// schemaChange is when producers went from schema flight.v1 (delays in
// seconds) to flight.v2.
var schemaChange = time.Date(2013, 7, 1, 0, 0, 0, 0, time.UTC)

// column says how a CSV column becomes an Avro field.
type column struct {
	name     string
	kind     string // string, int, double, time
	nullable bool
}

// Flights calls fn with every message about a flight, in the order of the log.
func Flights(fn func(Message) error) error {
	v1, err := codec("schemas/flight.v1.avsc")
	if err != nil {
		return err
	}
	v2, err := codec("schemas/flight.v2.avsc")
	if err != nil {
		return err
	}
	return rows("data/flights.csv.gz", flightColumns, func(at time.Time, rec map[string]any) error {
		c, id := v2, 2
		if at.Before(schemaChange) {
			c, id = v1, 1
			rec["dep_delay_s"] = nil
			if u, ok := rec["dep_delay_min"].(map[string]any); ok {
				rec["dep_delay_s"] = map[string]any{"int": int32(u["double"].(float64) * 60)}
			}
			delete(rec, "dep_delay_min")
		}
		return emit(c, id, at, rec, fn)
	})
}

// Weather calls fn with every weather report, in the order of the log.
func Weather(fn func(Message) error) error {
	c, err := codec("schemas/weather.avsc")
	if err != nil {
		return err
	}
	return rows("data/weather.csv.gz", weatherColumns, func(at time.Time, rec map[string]any) error {
		return emit(c, 3, at, rec, fn)
	})
}

func codec(path string) (*goavro.Codec, error) {
	text, err := Files.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return goavro.NewCodec(string(text))
}

func emit(c *goavro.Codec, id int, at time.Time, rec map[string]any, fn func(Message) error) error {
	value := binary.BigEndian.AppendUint32([]byte{0}, uint32(id))
	value, err := c.BinaryFromNative(value, rec)
	if err != nil {
		return err
	}
	return fn(Message{Time: at, Key: []byte(rec["event_id"].(string)), Value: value})
}

var flightColumns = []column{
	{"event_id", "string", false}, {"version", "int", false}, {"status", "string", false}, {"event_time", "time", false},
	{"sched_dep_local", "string", false}, {"carrier", "string", false}, {"flight", "string", false},
	{"tailnum", "string", true}, {"origin", "string", false}, {"dest", "string", false}, {"distance_mi", "int", false},
	{"dep_delay_min", "double", true}, {"arr_delay_min", "double", true}, {"air_time_min", "int", true}, {"landed_local", "string", true},
}

var weatherColumns = []column{
	{"event_id", "string", false}, {"version", "int", false}, {"event_time", "time", false}, {"observed_local", "string", false},
	{"origin", "string", false}, {"temp_f", "double", true}, {"dewp_f", "double", true}, {"humid_pct", "double", true},
	{"wind_dir_deg", "double", true}, {"wind_speed_mph", "double", true}, {"wind_gust_mph", "double", true},
	{"precip_in", "double", true}, {"pressure_mb", "double", true}, {"visib_mi", "double", true},
}

// rows reads a data file whose first column is arrival_time.
func rows(path string, columns []column, fn func(at time.Time, rec map[string]any) error) error {
	f, err := Files.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	r := csv.NewReader(z)
	r.ReuseRecord = true
	if _, err := r.Read(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for line := 2; ; line++ {
		row, err := r.Read()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = one(row, columns, fn)
		}
		if err != nil {
			return fmt.Errorf("%s line %d: %w", path, line, err)
		}
	}
}

func one(row []string, columns []column, fn func(at time.Time, rec map[string]any) error) error {
	at, err := time.Parse(time.RFC3339, row[0])
	if err != nil {
		return err
	}
	rec := make(map[string]any, len(columns))
	for i, c := range columns {
		x, err := c.value(row[i+1])
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		rec[c.name] = x
	}
	return fn(at, rec)
}

func (c column) value(text string) (any, error) {
	if text == "" && c.nullable {
		return nil, nil
	}
	var x any = text
	var err error
	switch c.kind {
	case "int":
		var n int64
		n, err = strconv.ParseInt(text, 10, 32)
		x = int32(n)
	case "double":
		x, err = strconv.ParseFloat(text, 64)
	case "time":
		x, err = time.Parse(time.RFC3339, text)
	}
	if err == nil && c.nullable {
		x = map[string]any{c.kind: x}
	}
	return x, err
}
