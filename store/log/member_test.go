package log

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/tallystick/tallystick/integration/testbed"
)

// groupRig is a fake cluster with a topic t and its members.
type groupRig struct {
	*rig
	protocol string
	asked    [100]atomic.Int32 // requests, by key
}

// eachProtocol runs a test with both.
func eachProtocol(t *testing.T, partitions int32, test func(*groupRig)) {
	for _, protocol := range []string{ClassicProtocol, ConsumerProtocol} {
		t.Run(protocol, func(t *testing.T) {
			g := &groupRig{protocol: protocol, rig: newRig(t, kfake.SeedTopics(partitions, "t"), kfake.BrokerConfigs(map[string]string{
				"group.consumer.heartbeat.interval.ms": "100", "group.initial.rebalance.delay.ms": "0"}))}
			g.k.Control(func(r kmsg.Request) (kmsg.Response, error, bool) {
				g.k.KeepControl()
				g.asked[r.Key()].Add(1)
				return nil, nil, false
			})
			test(g)
		})
	}
}

// holder is a member and what it has.
type holder struct {
	*groupRig
	m      *Member
	has    map[int32]bool
	lost   []int32
	err    error
	refuse bool // revocations are left alone
	undone []func()
}

func (g *groupRig) join(change func(*GroupOptions)) *holder {
	g.Helper()
	o := GroupOptions{Group: "g", Topic: "t", Protocol: g.protocol, SessionTimeout: 6 * time.Second, RefreshEvery: 100 * time.Millisecond}
	if change != nil {
		change(&o)
	}
	m, err := g.c.Join(g.ctx, o)
	g.must(err)
	h := &holder{groupRig: g, m: m, has: map[int32]bool{}}
	g.Cleanup(func() { _ = h.leave() })
	return h
}

func (h *holder) leave() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	clear(h.has)
	return h.m.Close(ctx)
}

// take takes up what the group has decided.
func (h *holder) take() {
	cs, err := h.m.Changes()
	if err != nil {
		h.err = err
	}
	for _, c := range cs {
		for _, p := range c.Assigned {
			h.has[p] = true
		}
		h.lost = append(h.lost, c.Lost...)
		if h.refuse && len(c.Revoked) > 0 {
			h.undone = append(h.undone, c.Done)
			continue
		}
		for _, p := range append(c.Revoked, c.Lost...) {
			delete(h.has, p)
		}
		if c.Done != nil {
			c.Done()
		}
	}
}

func (h *holder) list() []int32 { return slices.Sorted(maps.Keys(h.has)) }

// until lets the holders take what they get until a condition holds.
func (g *groupRig) until(what string, holds func() bool, hs ...*holder) {
	g.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, h := range hs {
			h.take()
		}
		if holds() {
			return
		}
		select {
		case <-tick.C:
		case <-g.ctx.Done():
			for _, h := range hs {
				g.Errorf("has %v, lost %v, error %v", h.list(), h.lost, h.err)
			}
			g.Fatalf("not so: %s", what)
		}
	}
}

// shared tells whether the holders have all n partitions, each one holder's, and
// no holder more than its share.
func shared(n int, hs ...*holder) func() bool {
	return func() bool {
		seen := map[int32]bool{}
		sum := 0
		for _, h := range hs {
			maps.Copy(seen, h.has)
			sum += len(h.has)
			if len(h.has) > (n+len(hs)-1)/len(hs) {
				return false
			}
		}
		return len(seen) == n && sum == n
	}
}

// Ownership: members share the partitions, each has its own; who leaves gives its
// own to the others. Nothing is fetched, and members alone commit (K4).
func TestMembersShare(t *testing.T) {
	t.Parallel()
	eachProtocol(t, 4, func(g *groupRig) {
		for p := range int32(4) {
			g.produce("t", p, "x")
		}
		a := g.join(nil)
		g.until("one has all", shared(4, a), a)
		b := g.join(nil)
		g.until("two have half each", shared(4, a, b), a, b)
		if err := g.c.CommitOffsets(g.ctx, "g", "t", map[int32]int64{0: 9}); !errors.Is(err, ErrGroupHasMembers) {
			g.Errorf("a commit from outside: %v", err)
		}
		for _, h := range []*holder{a, b} {
			next := map[int32]int64{}
			for p := range h.has {
				next[p] = int64(p) + 10
			}
			g.must(h.m.Commit(g.ctx, next))
		}
		got, err := g.c.adm.FetchOffsets(g.ctx, "g")
		g.must(err)
		for p := range int32(4) {
			if o, ok := got.Lookup("t", p); !ok || o.At != int64(p)+10 {
				g.Errorf("partition %d: committed %v", p, o.At)
			}
		}
		g.must(a.leave())
		g.until("one has all again", shared(4, b), b)
		c := g.join(nil) // it starts where there are committed offsets
		g.until("two have half each", shared(4, b, c), b, c)
		for _, h := range []*holder{b, c} {
			if len(h.lost) > 0 || h.err != nil {
				g.Errorf("lost %v, error %v", h.lost, h.err)
			}
		}
		if n := g.asked[kmsg.Fetch].Load(); n > 0 {
			g.Errorf("%d fetches", n)
		}
		if n := g.asked[kmsg.JoinGroup].Load(); n > 0 != (g.protocol == ClassicProtocol) {
			g.Errorf("%d joins of the classic protocol", n)
		}
	})
}

// A partition does not go on before its holder is done with it; a holder that is
// too slow loses it.
func TestRevokeWaits(t *testing.T) {
	t.Parallel()
	eachProtocol(t, 2, func(g *groupRig) {
		a := g.join(nil)
		g.until("one has all", shared(2, a), a)
		a.refuse = true
		b := g.join(nil)
		g.until("it is to give one up", func() bool { return len(a.undone) == 1 }, a, b)
		if len(b.has) > 0 {
			g.Errorf("the other has %v before", b.list())
		}
		a.undone[0]()
		g.until("the other has it", func() bool { return len(b.has) == 1 }, a, b)
	})
	eachProtocol(t, 2, func(g *groupRig) {
		a := g.join(func(o *GroupOptions) { o.RebalanceTimeout = time.Second })
		g.until("one has all", shared(2, a), a)
		b := g.join(nil)
		g.until("the other has one", func() bool { return len(b.has) == 1 }, b) // a asks for nothing
		a.take()
		if len(a.lost) != 1 || !shared(2, a, b)() {
			g.Errorf("the first has %v and lost %v, the other has %v", a.list(), a.lost, b.list())
		}
	})
}

// A member that the group has given up hears of it and comes back.
func TestLostMember(t *testing.T) {
	t.Parallel()
	eachProtocol(t, 2, func(g *groupRig) {
		a := g.join(nil)
		g.until("it has all", shared(2, a), a)
		fault := kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID, TopLevel: true, Group: "g"}
		if g.protocol == ConsumerProtocol {
			fault.Keys, fault.Err = []kmsg.Key{kmsg.ConsumerGroupHeartbeat}, kerr.FencedMemberEpoch
		}
		g.k.Fault(fault)
		g.until("it lost them", func() bool { return len(a.lost) == 2 }, a)
		g.until("it has all again", shared(2, a), a)
	})
}

// K3: partitions that the topic gets are handed out.
func TestMemberGetsNewPartitions(t *testing.T) {
	t.Parallel()
	eachProtocol(t, 1, func(g *groupRig) {
		a, b := g.join(nil), g.join(nil)
		g.until("one has it", func() bool { return len(a.has)+len(b.has) == 1 }, a, b)
		_, err := g.c.adm.CreatePartitions(g.ctx, 3, "t")
		g.must(err)
		g.until("they have four", shared(4, a, b), a, b)
	})
}

// What keeps a process out of its group is said in one sentence.
func TestGroupErrors(t *testing.T) {
	t.Parallel()
	eachProtocol(t, 1, func(g *groupRig) {
		final := func(h *holder, want ...string) {
			g.Helper()
			g.until("it is refused", func() bool { return h.err != nil }, h)
			for _, w := range want {
				if !strings.Contains(h.err.Error(), w) {
					g.Errorf("%v: it does not say %s", h.err, w)
				}
			}
		}
		faults := g.k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup, kmsg.ConsumerGroupHeartbeat, kmsg.FindCoordinator}, Group: "g", TopLevel: true, Err: kerr.GroupAuthorizationFailed, Count: -1},
			kfake.Fault{Keys: []kmsg.Key{kmsg.FindCoordinator}, Group: "g", Err: kerr.GroupAuthorizationFailed, Count: -1})
		h := g.join(nil)
		final(h, "consumer group g", "Read")
		wantErr[*UnauthorisedError](g, h.err)
		faults.Remove()
		o := GroupOptions{Group: "new", Topic: "t", Protocol: g.protocol}
		g.must(g.c.CheckGroup(g.ctx, o))
		faults = g.k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Group: "new", TopLevel: true, Err: kerr.GroupAuthorizationFailed, Count: -1})
		wantErr[*UnauthorisedError](g, g.c.CheckGroup(g.ctx, o))
		faults.Remove()
		if all, err := g.c.adm.ListGroups(g.ctx); err != nil || all["new"].Group != "" {
			g.Errorf("to ask whether a group may be joined made it: %v %v", all, err)
		}
		if g.protocol != ClassicProtocol {
			return
		}
		h = g.join(func(o *GroupOptions) { o.Group, o.SessionTimeout = "short", time.Second })
		final(h, "group short", "group.min.session.timeout.ms", "--session-timeout")
		other, err := kgo.NewClient(append(testbed.KafkaOptions(), kgo.SeedBrokers(g.k.ListenAddrs()...), kgo.ConsumerGroup("taken"), kgo.ConsumeTopics("t"), kgo.Balancers(kgo.RangeBalancer()))...)
		g.must(err)
		g.Cleanup(other.Close)
		g.until("another program has the group", func() bool { _, gen := other.GroupMetadata(); return gen > 0 })
		h = g.join(func(o *GroupOptions) { o.Group = "taken" })
		final(h, "group taken", "another program", "--group-protocol")
		wantErr[*GroupError](g, h.err)
	})
	old := newRig(t, kfake.SeedTopics(1, "t"), kfake.MaxVersions(kversion.V3_5_0()))
	_, err := old.c.Join(old.ctx, GroupOptions{Group: "g", Topic: "t", Protocol: ConsumerProtocol})
	if e := wantErr[*GroupError](t, err); !strings.Contains(e.Error(), "classic") {
		t.Error(e)
	}
	if err := (GroupOptions{Protocol: "eager", SessionTimeout: -1}).Validate(); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("not every fault is told: %v", err)
	}
}

// A group whose coordinator is away for a while is told, and joined later.
func TestGroupComesBack(t *testing.T) {
	t.Parallel()
	eachProtocol(t, 1, func(g *groupRig) {
		keys := []kmsg.Key{kmsg.JoinGroup, kmsg.ConsumerGroupHeartbeat}
		g.k.Fault(kfake.Fault{Keys: keys, Group: "g", TopLevel: true, Err: kerr.GroupMaxSizeReached, Count: 1})
		a := g.join(nil)
		g.until("it has all", shared(1, a), a)
		if g.protocol == ClassicProtocol && (a.err == nil || !strings.Contains(fmt.Sprint(a.err), "GROUP_MAX_SIZE_REACHED")) {
			g.Errorf("it is not told: %v", a.err)
		}
	})
}

// Leaving does not wait for a rebalance that others hold up.
func TestCloseDuringRebalance(t *testing.T) {
	t.Parallel()
	g := &groupRig{protocol: ClassicProtocol, rig: newRig(t, kfake.SeedTopics(1, "t"))}
	release, asked := make(chan struct{}), make(chan struct{}, 9)
	defer close(release)
	g.k.ControlKey(int16(kmsg.JoinGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
		asked <- struct{}{}
		g.k.SleepControl(func() { <-release })
		return nil, nil, false
	})
	a := g.join(nil)
	<-asked
	ctx, cancel := context.WithTimeout(g.ctx, 100*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if err := a.m.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 5*time.Second {
		t.Errorf("it took %v: %v", time.Since(begun), err)
	}
}

// Leaving is bounded where nobody answers, also with a revocation that is waited for.
func TestCloseIsBounded(t *testing.T) {
	t.Parallel()
	eachProtocol(t, 2, func(g *groupRig) {
		a := g.join(nil)
		g.until("one has all", shared(2, a), a)
		a.refuse = true
		b := g.join(nil)
		g.until("it is to give one up", func() bool { return len(a.undone) == 1 }, a, b)
		for _, key := range []kmsg.Key{kmsg.LeaveGroup, kmsg.ConsumerGroupHeartbeat, kmsg.JoinGroup} {
			g.k.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
				g.k.KeepControl()
				return nil, errors.New("gone"), true
			})
		}
		for _, h := range []*holder{a, b} {
			ctx, cancel := context.WithTimeout(g.ctx, 200*time.Millisecond)
			begun := time.Now()
			err := h.m.Close(ctx)
			cancel()
			if took := time.Since(begun); took > 5*time.Second {
				g.Errorf("it took %v to leave: %v", took, err)
			}
			g.must(h.m.Close(g.ctx)) // once is enough
		}
	})
}
