package offline

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/tallystick/tallystick/schemas"
)

// fileRows is after how many rows a partition goes on in another file: a
// multiple of the row group, a constant of the layout (B1).
const fileRows = 128 * rowGroupRows

// staging is where files wait for their publication, in a directory for each
// run: what a run removes is its own. Vacuums of other engines spare directories
// that begin with _.
const staging = "_staging"

// Staged are the files of one run, written and not published yet.
type Staged struct {
	r     *Run
	cut   schemas.TopicCut
	Files map[TableName][]StagedFile // by date, shard or partition, number
}

// StagedFile is a file that waits for its publication.
type StagedFile struct {
	Table     TableName
	Path      string // in the table, once it is published
	Day       int64  // days since the epoch; NoDate = null
	Part      int32  // shard of features, else source partition
	Info      *FileInfo
	Partition map[string]*string // the date and the part as text, by column; nil = null
}

// NoDate is the Day of files whose event_date is null.
const NoDate = noDay

// DuplicateError says that two rows have the same primary key (B6).
type DuplicateError struct {
	Table string
	Key   []byte
}

func (e *DuplicateError) Error() string {
	return fmt.Sprintf("table %s: two rows have the key %x", e.Table, e.Key)
}

// digest is the content digest over the files of a table: it holds across
// builds (B1).
func digest(files []StagedFile) string {
	h := sha256.New()
	for _, f := range files {
		dir := f.Path[:strings.LastIndexByte(f.Path, '/')]
		fmt.Fprintf(h, "%s\n%s\n%d\n", dir, f.Info.Content, f.Info.Rows)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// validText replaces what is not UTF-8.
func validText(s string) schemas.Value { return schemas.StringValue(strings.ToValidUTF8(s, "\ufffd")) }

// Gone returns the dates of features, in order, that lie before the first one that is
// staged and are in the version that is built upon, which is returned too.
func (s *Staged) Gone() (dates []string, version int64) {
	first := ""
	for _, f := range s.Files[Features] {
		if date := (&DataFile{Partition: f.Partition}).partitionValue(dateColumn.Name); date != "" && (first == "" || date < first) {
			first = date
		}
	}
	base := s.r.base[Features]
	for i := range base.Files {
		if date := base.Files[i].partitionValue(dateColumn.Name); date != "" && (first == "" || date < first) {
			dates = append(dates, date)
		}
	}
	slices.Sort(dates)
	return slices.Compact(dates), base.Version
}
