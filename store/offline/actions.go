package offline

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tallystick/tallystick/schemas"
)

// The actions of a Delta log, as JSON objects of one line each. What we do not
// know of foreign ones is left out.

type action struct {
	CommitInfo *CommitInfo `json:"commitInfo,omitempty"`
	Protocol   *protocol   `json:"protocol,omitempty"`
	MetaData   *Metadata   `json:"metaData,omitempty"`
	Txn        *Txn        `json:"txn,omitempty"`
	Remove     *removeFile `json:"remove,omitempty"`
	Add        *addFile    `json:"add,omitempty"`
}

// ours tells whether it is what a commit of ours begins with.
func (a *action) ours() bool { return a.CommitInfo != nil && a.CommitInfo.Tallystick != nil }

// CommitInfo says who committed what. Its times come from the cut (B1).
type CommitInfo struct {
	Timestamp  int64             `json:"timestamp"` // ms
	Operation  string            `json:"operation"`
	Parameters map[string]string `json:"operationParameters"`
	EngineInfo string            `json:"engineInfo"`
	BlindAdd   bool              `json:"isBlindAppend"`
	// Tallystick holds what we keep of a commit; absent in foreign ones.
	Tallystick json.RawMessage `json:"tallystick,omitempty"`
}

// UnmarshalJSON reads the fields that matter, so that foreign types of the others are no
// error.
func (c *CommitInfo) UnmarshalJSON(b []byte) error {
	var only struct {
		EngineInfo json.RawMessage `json:"engineInfo"`
		Tallystick json.RawMessage `json:"tallystick"`
	}
	if err := json.Unmarshal(b, &only); err != nil {
		return err
	}
	c.Tallystick = only.Tallystick
	_ = json.Unmarshal(only.EngineInfo, &c.EngineInfo) // else it is not ours
	return nil
}

type protocol struct {
	MinReader int `json:"minReaderVersion"`
	MinWriter int `json:"minWriterVersion"`
}

// Metadata describes a table.
type Metadata struct {
	ID            string            `json:"id"`
	Format        fileFormat        `json:"format"`
	SchemaString  string            `json:"schemaString"`
	Partition     []string          `json:"partitionColumns"`
	Configuration map[string]string `json:"configuration"`
	CreatedTime   int64             `json:"createdTime"` // ms
}

type fileFormat struct {
	Provider string            `json:"provider"`
	Options  map[string]string `json:"options"`
}

// Txn says how far an application came.
type Txn struct {
	AppID       string `json:"appId"`
	Version     int64  `json:"version"`
	LastUpdated int64  `json:"lastUpdated,omitempty"` // ms
}

type addFile struct {
	Path             string             `json:"path"`
	PartitionValues  map[string]*string `json:"partitionValues"`
	Size             int64              `json:"size"`
	ModificationTime int64              `json:"modificationTime"`
	DataChange       bool               `json:"dataChange"`
	Stats            string             `json:"stats,omitempty"`
	Tags             map[string]string  `json:"tags,omitempty"`
	DeletionVector   json.RawMessage    `json:"deletionVector,omitempty"`
}

type removeFile struct {
	Path              string             `json:"path"`
	DeletionTimestamp int64              `json:"deletionTimestamp"`
	DataChange        bool               `json:"dataChange"`
	Extended          bool               `json:"extendedFileMetadata"`
	PartitionValues   map[string]*string `json:"partitionValues"`
	Size              int64              `json:"size"`
}

// appendAction appends an action as one line.
func appendAction(b *bytes.Buffer, a action) error {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	return enc.Encode(a)
}

// neverDelete keeps files and commits from being deleted by other engines: a
// checkpoint's clean-up would take our history, a vacuum the replaced files.
func neverDelete() map[string]string {
	return map[string]string{"delta.logRetentionDuration": "interval 36500 days",
		"delta.deletedFileRetentionDuration": "interval 36500 days"}
}

// newMetadata describes a table of these columns; the first are its partition
// columns. The id depends on name alone.
func newMetadata(name string, partition, cols []Column, createdMillis int64) (*Metadata, error) {
	m := &Metadata{ID: uuidOf("tallystick table " + name), Format: fileFormat{"parquet", map[string]string{}},
		Configuration: neverDelete(), CreatedTime: createdMillis, Partition: []string{}}
	for _, c := range partition {
		m.Partition = append(m.Partition, c.Name)
	}
	s := deltaSchema{Type: "struct"}
	for i, c := range append(append([]Column{}, partition...), cols...) {
		t := c.deltaType()
		if i < len(partition) && t == "long" { // shards and partitions fit
			t = "integer"
		}
		s.Fields = append(s.Fields, deltaField{c.Name, t, true, map[string]string{}})
	}
	b, err := json.Marshal(s)
	m.SchemaString = string(b)
	return m, err
}

type deltaSchema struct {
	Type   string       `json:"type"`
	Fields []deltaField `json:"fields"`
}

type deltaField struct {
	Name     string            `json:"name"`
	Type     any               `json:"type"`
	Nullable bool              `json:"nullable"`
	Metadata map[string]string `json:"metadata"`
}

// deltaType returns the type of a column as a Delta schema has it.
func (c *Column) deltaType() any {
	if c.Kind == schemas.List {
		return deltaArray{"array", c.deltaScalar(c.Element), false}
	}
	return c.deltaScalar(c.Kind)
}

type deltaArray struct {
	Type         string `json:"type"`
	Element      string `json:"elementType"`
	ContainsNull bool   `json:"containsNull"`
}

func (c *Column) deltaScalar(k schemas.Kind) string {
	switch k {
	case schemas.Bool:
		return "boolean"
	case schemas.Int:
		if c.Date {
			return "date"
		}
		return "long"
	case schemas.Double:
		return "double"
	case schemas.String:
		return "string"
	case schemas.Timestamp:
		return "timestamp"
	}
	return "binary"
}

// uuidOf returns a UUID (version 8) that depends on text alone.
func uuidOf(text string) string {
	h := sha256.Sum256([]byte(text))
	h[6] = h[6]&0x0f | 0x80
	h[8] = h[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

// hiveNull stands for null in a directory name.
const hiveNull = "__HIVE_DEFAULT_PARTITION__"

// hiveEscape escapes a partition value for a directory name, as Hive and Spark do.
func hiveEscape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c < ' ' || c == 0x7f || strings.IndexByte(`"#%'*/:=?\{[]^`, c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// partitionDir returns the directory of partition values: k=v/k=v. Readers
// exist that take the values from it and not from the log.
func partitionDir(cols []Column, values []*string) string {
	parts := make([]string, len(cols))
	for i, c := range cols {
		v := hiveNull
		if values[i] != nil && *values[i] != "" { // Delta reads "" as null
			v = hiveEscape(*values[i])
		}
		parts[i] = c.Name + "=" + v
	}
	return strings.Join(parts, "/")
}

// encodePath makes a URI of a path, decodePath the reverse.
func encodePath(p string) string { return (&url.URL{Path: p}).EscapedPath() }

func decodePath(p string) (string, error) {
	if i := strings.IndexByte(p, ':'); strings.HasPrefix(p, "/") || i > 0 && !strings.Contains(p[:i], "/") {
		return "", fmt.Errorf("its path %q lies outside the table", p)
	}
	return url.PathUnescape(p)
}

// statsMaxText is the length in bytes beyond which a text has no bounds.
const statsMaxText = 128

// deltaStats returns the statistics of a file as Delta has them.
func deltaStats(cols []Column, info *FileInfo) (string, error) {
	lo, hi, nulls := map[string]any{}, map[string]any{}, map[string]int64{}
	for i, c := range cols {
		s := &info.Columns[i]
		nulls[c.Name] = s.Nulls
		a, ok := c.statValue(s.Min)
		b, ok2 := c.statValue(s.Max)
		if ok && ok2 {
			lo[c.Name], hi[c.Name] = a, b
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(struct {
		Rows  int64            `json:"numRecords"`
		Min   map[string]any   `json:"minValues"`
		Max   map[string]any   `json:"maxValues"`
		Nulls map[string]int64 `json:"nullCount"`
	}{info.Rows, lo, hi, nulls})
	return strings.TrimSuffix(b.String(), "\n"), err
}

func (c *Column) statValue(v schemas.Value) (any, bool) {
	switch v.Kind() {
	case schemas.Int:
		if c.Date {
			return dateText(v.Int()), v.Int() >= minDay && v.Int() <= maxDay
		}
		return json.RawMessage(strconv.FormatInt(v.Int(), 10)), true
	case schemas.Double:
		return v.Double(), !math.IsInf(v.Double(), 0)
	case schemas.String:
		return v.Text(), len(v.Text()) <= statsMaxText
	case schemas.Timestamp:
		m := v.Micros()
		return m.Time().Format("2006-01-02T15:04:05.000000Z"), m >= minInstant && m <= maxInstant
	}
	return nil, false
}

// Days since the epoch that dates may hold: the years 1 to 9999.
const (
	minDay = int64(minInstant / schemas.Day)
	maxDay = int64((maxInstant+1)/schemas.Day) - 1
)

// dateText formats days since the epoch.
func dateText(day int64) string { return time.Unix(day*86400, 0).UTC().Format(time.DateOnly) }

// parseDate is the reverse of dateText.
func parseDate(s string) (int64, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return 0, fmt.Errorf("event_date %q is no date", s)
	}
	return t.Unix() / 86400, nil
}

// statedRows returns how many rows the statistics say that a file has, as deltaStats
// writes them; -1 where another engine has.
func statedRows(stats string) int64 {
	rest, ok := strings.CutPrefix(stats, `{"numRecords":`)
	digits, _, more := strings.Cut(rest, ",")
	n, err := strconv.ParseInt(digits, 10, 64)
	if !ok || !more || err != nil {
		return -1
	}
	return n
}
