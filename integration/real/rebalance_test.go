//go:build real

package real

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/tallystick/tallystick/transforms/definition"
)

// Workers come and go, by either group protocol: partitions move with all that was
// written of them, and what a killed worker had not written is read again.
func TestRebalance(t *testing.T) {
	for _, protocol := range []string{"classic", "consumer"} {
		t.Run(protocol, func(t *testing.T) { rebalance(t, protocol) })
	}
}

// rebalance has 1 → 4 → 2 workers: two leave, one of them by kill -9.
func rebalance(t *testing.T, protocol string) {
	rate := 3_000
	if testing.Short() {
		rate = 500
	}
	x := newRig(t, setup{fault: fmt.Sprintf("1, 4 and then 2 workers by the group protocol %s, one of them killed -9, under load", protocol), partitions: 8, records: rate * 20})
	x.produce(1_000)
	flags := []string{"--group-protocol", protocol}
	if protocol == "classic" { // else the brokers say
		flags = append(flags, "--session-timeout", "3s")
	}
	g := &groups{rig: x, protocol: protocol, owner: map[string]map[int32]string{}}
	workers := []*worker{x.start(flags...)}
	events := x.live(rate)
	g.shared(1)
	x.following()
	for range 3 {
		workers = append(workers, x.start(flags...))
	}
	g.shared(4)
	x.following()
	workers[0].stop()
	workers[1].kill()
	g.shared(2)
	x.following()
	x.figure("events a second", events.end())
	x.last()
	workers[2].stop()
	workers[3].stop()
	x.evidence("partitions that moved", g.moved)
	x.verdict()
}

// groups look at who has which partition.
type groups struct {
	*rig
	protocol string
	owner    map[string]map[int32]string // by group and partition
	moved    int64
}

// shared waits until so many members share all partitions of every view, and counts
// those that have another owner than the last time.
func (g *groups) shared(members int) {
	g.Helper()
	adm := g.admin()
	for _, v := range g.views {
		group := groupOf(v)
		var owner map[int32]string
		g.until("the group to settle", func() bool {
			var err error
			owner, err = g.assigned(g.ctx, adm, group)
			seen := map[string]bool{}
			for _, m := range owner {
				seen[m] = true
			}
			return err == nil && len(owner) == len(g.gens) && len(seen) == members
		})
		for p, was := range g.owner[group] {
			if owner[p] != was {
				g.moved++
			}
		}
		g.owner[group] = owner
	}
}

// groupOf is the name of a view's group, as docs/failures.md has it.
func groupOf(v *definition.View) string { return "tallystick." + v.Name + "." + v.Fingerprint[:8] }

func (g *groups) assigned(ctx context.Context, adm *kadm.Client, group string) (map[int32]string, error) {
	owner := map[int32]string{}
	add := func(member string, ps kadm.TopicsSet) {
		for p := range ps[g.topic] {
			owner[p] = member
		}
	}
	if g.protocol == "consumer" {
		d, err := adm.DescribeConsumerGroups(ctx, group)
		for _, m := range d[group].Members {
			add(m.MemberID, m.Assignment)
		}
		return owner, err
	}
	d, err := adm.DescribeGroups(ctx, group)
	if !strings.EqualFold(d[group].State, "Stable") {
		return nil, err
	}
	for _, m := range d[group].Members {
		if a, ok := m.Assigned.AsConsumer(); ok {
			for _, topic := range a.Topics {
				set := kadm.TopicsSet{}
				set.Add(topic.Topic, topic.Partitions...)
				add(m.MemberID, set)
			}
		}
	}
	return owner, err
}
