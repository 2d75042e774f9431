//go:build real

package real

import (
	"fmt"
	"maps"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/tallystick/tallystick/integration/servers"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/online"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
)

// O2, K3, K8: a Redis that comes back empty while the log no longer reaches back is
// restored from tables, by the worker that runs; in the end it holds what a stream
// from the start holds. A worker without tables is refused, and told what heals.
func TestRedisRestoredFromTables(t *testing.T) {
	x := newRig(t, setup{fault: "Redis killed -9 and started again empty, its log truncated up to the tables' cut"})
	whole, err := servers.StartRedis(x.ctx, true)
	servers.Check(t, err)
	t.Cleanup(whole.Close)
	fromStart := append([]string{"stream", "--until", "end"}, whole.Flags()...)
	tables := filepath.Join(x.dir, "tables")
	x.produce(6_000)
	x.ok("replay", "--out", tables)
	cut := map[int32]int64{}
	for _, p := range x.partitions() {
		cut[p] = x.end(p)
	}
	w := x.start("--from-tables", tables)
	events := x.live(200)
	x.following()
	x.ok(fromStart...)
	gone := kadm.Offsets{x.topic: {}}
	for p, at := range cut {
		gone[x.topic][p] = kadm.Offset{Topic: x.topic, Partition: p, At: at}
	}
	rs, err := x.admin().DeleteRecords(x.ctx, gone)
	x.must(err)
	x.must(rs.Error())
	restored := func() int64 { return w.said("bootstrapped 4 shards, from offset") }
	before, node := restored(), x.redis.Nodes()[0]
	lost, err := x.node(node).DBSize(x.ctx).Result()
	x.must(err)
	node.Kill()
	x.must(node.Start(x.ctx))
	x.until("the worker to restore Redis", func() bool { return restored() >= before+int64(len(cut)*len(x.views)) })
	events.end()
	x.last()
	w.stop()
	x.ok(fromStart...)
	x.ok(x.stream("--until", "end", "--from-tables", tables)...) // idle shards, to the same end
	states := 0
	for _, v := range x.views {
		states += x.alike(v, whole)
	}
	x.figure("states equal byte for byte", int64(states))
	x.equalTo(tables)
	x.evidence("acknowledged keys lost", lost)
	x.evidence("shards restored from tables", 4*(restored()-before))

	x.must(x.node(node).FlushAll(x.ctx).Err())
	x.refused(fmt.Sprintf(" has no marker, and the log starts at offset %d: offsets 0 to %d are lost to the online store; "+
		"restore the states from the tables of `tallystick replay --out DIR` with `tallystick stream --from-tables DIR`; where the tables end before the log starts, let replay write them anew first, with --adopt-start",
		cut[0], cut[0]-1), x.stream("--view", "plain")...)
	if n, err := x.node(node).DBSize(x.ctx).Result(); err != nil || n > 0 {
		x.Errorf("a worker that was refused wrote %d keys, %v", n, err)
	}
}

// alike: two Redis hold the same of a view: markers but for their tokens, states byte
// for byte after Trim at the closed boundary. It returns how many states these are.
func (x *rig) alike(v *definition.View, other *servers.Redis) (compared int) {
	x.Helper()
	client, err := online.Open(x.ctx, online.Options{Addrs: other.Addrs, Master: other.Master, Cluster: other.Cluster})
	x.must(err)
	defer client.Close()
	engine, err := transforms.NewView(v.Spec)
	x.must(err)
	b := schemas.Forever
	for _, p := range x.partitions() {
		marks, err := client.Store(v).Marks(x.ctx, p)
		x.must(err)
		b = min(b, marks[0].Clock.SubSat(v.Spec.Lateness))
	}
	b = b.Floor(engine.Hops()[0])
	for _, p := range x.partitions() {
		got, err := x.online.Store(v).Marks(x.ctx, p)
		x.must(err)
		want, err := client.Store(v).Marks(x.ctx, p)
		x.must(err)
		for shard := range want {
			if got[shard].Token, want[shard].Token = 0, 0; got[shard] != want[shard] {
				x.Errorf("view %s partition %d shard %d: marker %+v, of a stream from the start %+v", v.Name, p, shard, got[shard], want[shard])
			}
			a, c := x.trimmed(engine, x.online.Store(v), shard, p, b), x.trimmed(engine, client.Store(v), shard, p, b)
			if !maps.Equal(a, c) {
				x.Errorf("view %s partition %d shard %d: states differ from those of a stream from the start, trimmed at %v", v.Name, p, shard, b)
			}
			compared += len(c)
		}
	}
	if compared == 0 {
		x.Errorf("view %s: no state was compared", v.Name)
	}
	return compared
}

// trimmed returns the states of a (shard, partition) after a Trim at b, as text; those
// that hold nothing are left out.
func (x *rig) trimmed(engine *transforms.View, store *online.Store, shard int, p int32, b schemas.Micros) map[string]string {
	x.Helper()
	out := map[string]string{}
	for cursor, first := "", true; first || cursor != ""; first = false {
		page, err := store.Scan(x.ctx, shard, p, cursor)
		x.must(err)
		for _, st := range page.States {
			s, err := engine.Parse(st.Stored)
			x.must(err)
			if engine.Trim(s, b); s.Empty() {
				continue
			}
			out[st.Entity] = fmt.Sprintf("%x", engine.Encode(s))
		}
		cursor = page.Next
	}
	return out
}
