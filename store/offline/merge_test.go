package offline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/tallystick/tallystick/transforms/definition"
)

// openFiles is a store that counts the files that are open.
type openFiles struct {
	Store
	now, most *int
}

func (o openFiles) Open(ctx context.Context, name string) (Blob, error) {
	b, err := o.Store.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	*o.now++
	*o.most = max(*o.most, *o.now)
	return openFile{b, o.now}, nil
}

type openFile struct {
	Blob
	now *int
}

func (o openFile) Close() error { *o.now--; return o.Blob.Close() }

// publishedCounting is what is published, and counts the files of features that are open.
func publishedCounting(t *testing.T, root string, v *definition.View, now, most *int) *Published {
	t.Helper()
	tables := openTables(t, root, v)
	features := tables.tables[Features]
	features.store = openFiles{features.store, now, most}
	p, err := tables.Published(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// B3: who reads features has the files of one shard open, not those of all, and its rows
// come in the order of all; whoever stops early, or is stopped, leaves none open.
func TestFeaturesAreReadShardByShard(t *testing.T) {
	v := testView(t, testDefinition)
	for seed := range uint64(10) {
		root := t.TempDir()
		r := randomRun(v, seed, int(1+seed*3))
		if _, err := r.publish(t, openTables(t, root, v), publishOptions{end: 3}); err != nil {
			t.Fatal(err)
		}
		now, most := 0, 0
		p := publishedCounting(t, root, v, &now, &most)
		ofShard, bound := map[string]int{}, 0
		for i := range p.snaps[Features].Files {
			shard := p.snaps[Features].Files[i].partitionValue("shard")
			ofShard[shard]++
			bound = max(bound, ofShard[shard])
		}
		if seed > 3 && len(ofShard) < 2 {
			t.Fatal("one shard: the test looks at nothing")
		}
		got := &run{tiles: r.tiles, open: r.open}
		for x, err := range p.Features(t.Context(), Select{}) {
			if err != nil {
				t.Fatal(err)
			}
			got.features = append(got.features, x)
		}
		if got.sorted().String() != r.sorted().String() || fmt.Sprint(got.features) != fmt.Sprint(r.sorted().features) {
			t.Errorf("seed %d: features read otherwise", seed)
		}
		if most != bound || now != 0 {
			t.Errorf("B3: seed %d: %d files of %d were open at once, %d are of one shard; %d stay open", seed, most, len(p.snaps[Features].Files), bound, now)
		}
		for range p.Features(t.Context(), Select{}) {
			break
		}
		ctx, cancel := context.WithCancel(t.Context())
		for _, err := range p.Features(ctx, Select{}) {
			cancel()
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		cancel()
		if now != 0 {
			t.Errorf("B3: seed %d: %d files stay open", seed, now)
		}
	}
}

// B2: a file that is gone is told by whoever gets to it, once, after the rows of the
// shards before it, and leaves no file open.
func TestLaterFileIsGone(t *testing.T) {
	v := testView(t, testDefinition)
	root := t.TempDir()
	r := randomRun(v, 7, 20)
	if _, err := r.publish(t, openTables(t, root, v), publishOptions{end: 3}); err != nil {
		t.Fatal(err)
	}
	now, most := 0, 0
	p := publishedCounting(t, root, v, &now, &most)
	gone, err := filepath.Glob(filepath.Join(root, "v", "features", "*", "shard=3", "*"))
	if err != nil || len(gone) == 0 {
		t.Fatal(gone, err)
	}
	truncate(t, gone[0])
	rows, told := 0, []error{}
	for x, err := range p.Features(t.Context(), Select{}) {
		if err != nil {
			told = append(told, err)
		} else if rows++; x.Shard == 3 {
			t.Error("B2: rows of a shard that lacks a file")
		}
	}
	if len(told) != 1 || !errors.Is(told[0], errDamaged) || errors.Is(told[0], fs.ErrNotExist) || rows == 0 || now != 0 {
		t.Errorf("B2: %d rows, %v, %d files stay open", rows, told, now)
	}
}
