//go:build real

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
	"github.com/twmb/franz-go/pkg/kgo"
)

// copied is a row of the copy.
type copied struct {
	EventID  string  `parquet:"event_id,plain"`
	UserID   string  `parquet:"user_id,dict"`
	Merchant int32   `parquet:"merchant_id,plain"`
	Amount   float64 `parquet:"amount,plain"`
	Currency string  `parquet:"currency,dict"`
	At       int64   `parquet:"ts,timestamp(microsecond),delta"`
}

const (
	copyGroup = 1 << 18 // rows of a row group
	copyBatch = 1 << 10 // rows written at once
)

// copyFile is one partition's file.
type copyFile struct {
	f     *os.File
	w     *parquet.GenericWriter[copied]
	group *parquet.ConcurrentRowGroupWriter
	rows  int
	cols  [6][]parquet.Value
}

// copyTopic is the least that any backfill does, and what the ratios of replays are
// taken to: fetch, decode by hand, and write every row raw, a file a partition,
// with zstd. It sorts nothing and computes nothing.
func copyTopic(ctx context.Context, broker, topic, out string, events int) error {
	files := map[int32]*copyFile{}
	var d decoded
	err := consume(ctx, broker, topic, events, func(partition int32, rs []*kgo.Record) error {
		c := files[partition]
		if c == nil {
			f, err := os.Create(filepath.Join(out, fmt.Sprintf("%d.parquet", partition)))
			if err != nil {
				return err
			}
			c = &copyFile{f: f, w: parquet.NewGenericWriter[copied](f, parquet.Compression(&zstd.Codec{Level: zstd.SpeedFastest}),
				parquet.PageBufferSize(256<<10), parquet.WriteBufferSize(1<<20))}
			files[partition] = c
		}
		for _, r := range rs {
			err := d.decode(r.Value)
			if err == nil {
				err = c.add(&d)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	for _, c := range files {
		err = errors.Join(err, c.flush(), c.commit(), c.w.Close(), c.f.Close())
	}
	return err
}

func (c *copyFile) add(d *decoded) error {
	for i, v := range [...]parquet.Value{parquet.ByteArrayValue(d.id), parquet.ByteArrayValue(d.user), parquet.Int32Value(int32(d.merchant)),
		parquet.DoubleValue(d.amount), parquet.ByteArrayValue(d.currency), parquet.Int64Value(d.at)} {
		c.cols[i] = append(c.cols[i], v.Level(0, 0, i))
	}
	if len(c.cols[0]) < copyBatch {
		return nil
	}
	return c.flush()
}

func (c *copyFile) flush() (err error) {
	if len(c.cols[0]) == 0 {
		return nil
	}
	if c.group == nil {
		c.group = c.w.BeginRowGroup()
	}
	for i, w := range c.group.ColumnWriters() {
		_, e := w.WriteRowValues(c.cols[i])
		err = errors.Join(err, e)
	}
	c.rows += len(c.cols[0])
	for i := range c.cols {
		c.cols[i] = c.cols[i][:0]
	}
	if err != nil || c.rows < copyGroup {
		return err
	}
	return c.commit()
}

func (c *copyFile) commit() (err error) {
	if c.group == nil {
		return nil
	}
	for _, w := range c.group.ColumnWriters() {
		err = errors.Join(err, w.Close())
	}
	_, e := c.group.Commit()
	c.group, c.rows = nil, 0
	return errors.Join(err, e)
}
