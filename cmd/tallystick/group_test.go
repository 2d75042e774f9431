package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/store/online"
	"github.com/tallystick/tallystick/transforms/definition"
)

// shared is a log of orders and a Redis that several streams keep.
type shared struct {
	*testing.T
	protocol string
	kafka    *kfake.Cluster
	client   *log.Client
	admin    *kadm.Client
	redis    *online.Client
	view     *definition.View
	args     []string // that name definition and log
	server   string   // of Redis
}

func newShared(t *testing.T, protocol string) *shared {
	t.Helper()
	file := initialised(t)
	s := &shared{T: t, protocol: protocol, kafka: testbed.Kafka(t, kfake.BrokerConfigs(map[string]string{
		"group.consumer.heartbeat.interval.ms": "100", "group.initial.rebalance.delay.ms": "0"}))}
	mini := testbed.Redis(t)
	brokers := s.kafka.ListenAddrs()
	s.args, s.server = []string{"-f", file, "--brokers", strings.Join(brokers, ",")}, mini.Addr()
	def, err := definition.Load(file)
	s.must(err)
	s.view, err = def.View("customers")
	s.must(err)
	s.client, err = log.Open(t.Context(), log.Options{Brokers: brokers, Extra: testbed.KafkaOptions()})
	s.must(err)
	t.Cleanup(s.client.Close)
	kc, err := kgo.NewClient(append(testbed.KafkaOptions(), kgo.SeedBrokers(brokers...))...)
	s.must(err)
	t.Cleanup(kc.Close)
	s.admin = kadm.NewClient(kc)
	s.redis, err = online.Open(t.Context(), online.Options{Addrs: []string{mini.Addr()}, AllowUnknownPolicy: true})
	s.must(err)
	t.Cleanup(func() { s.redis.Close() })
	tally(t, exitOK, slices.Concat([]string{"fill", "--events", "2000"}, s.args)...)
	return s
}

func (s *shared) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// process is an always-on stream.
type process struct {
	*shared
	out, errs testbed.Heard
	stop      context.CancelFunc
	code      chan int
}

func (s *shared) stream() *process {
	s.Helper()
	ctx, cancel := context.WithCancel(s.Context())
	p := &process{shared: s, stop: cancel, code: make(chan int, 1)}
	args := slices.Concat([]string{"stream", "--redis", s.server, "--view", "customers", "--group-protocol", s.protocol}, s.args)
	if s.protocol == log.ClassicProtocol {
		args = append(args, "--session-timeout", "6s") // a member hears of others with its next heartbeat
	}
	go func() { p.code <- run(ctx, args, &p.out, &p.errs) }()
	s.Cleanup(cancel)
	return p
}

// ends stops the process, which must end well and soon.
func (p *process) ends() {
	p.Helper()
	begun := time.Now()
	p.stop()
	select {
	case code := <-p.code:
		if took := time.Since(begun); code != exitOK || took > 5*time.Second {
			p.Errorf("it ended with %d after %v: %s", code, took, p.errs.String())
		}
	case <-time.After(time.Minute):
		p.Fatalf("it does not end: %s", p.errs.String())
	}
}

func (s *shared) until(what string, ok func() bool, ps ...*process) {
	s.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !ok(); <-tick.C {
		for _, p := range ps {
			if len(p.code) > 0 {
				s.Fatalf("waiting until %s, a stream ended: %s", what, p.errs.String())
			}
		}
		if time.Now().After(deadline) {
			for _, p := range ps {
				s.Log(p.errs.String())
			}
			s.Fatalf("never comes: %s", what)
		}
	}
}

// caughtUp waits until Redis holds the whole log.
func (s *shared) caughtUp(ps ...*process) {
	s.Helper()
	cut, err := s.client.Cut(s.Context(), "orders")
	s.must(err)
	s.until("all is in Redis", func() bool {
		v, err := streamed(s.Context(), s.redis, s.view)
		s.must(err)
		return v.Total.Read == cutRecords(cut.Topics["orders"])
	}, ps...)
}

// more appends records to each partition. They are no orders, which is as good as
// any: each moves a ledger.
func (s *shared) more() {
	s.Helper()
	for p := range int32(2) {
		for i := range 20 {
			_, err := s.client.Produce(s.Context(), "orders", p, log.Message{Key: []byte{byte(i)}, Value: []byte("no order"), Timestamp: time.UnixMilli(1_767_600_000_000)})
			s.must(err)
		}
	}
}

// has returns how many partitions each member of the group has, ascending.
func (s *shared) has() (n []int) {
	s.Helper()
	group := (&groupFlags{}).of(s.view)
	if s.protocol == log.ConsumerProtocol {
		ds, err := s.admin.DescribeConsumerGroups(s.Context(), group)
		s.must(err)
		for _, m := range ds[group].Members {
			parts := 0
			for _, ps := range m.Assignment.Sorted() {
				parts += len(ps.Partitions)
			}
			n = append(n, parts)
		}
	} else {
		ds, err := s.admin.DescribeGroups(s.Context(), group)
		s.must(err)
		d := ds[group]
		for i := range d.Members {
			parts := 0
			if a, ok := d.Members[i].Assigned.AsConsumer(); ok {
				for _, t := range a.Topics {
					parts += len(t.Partitions)
				}
			}
			n = append(n, parts)
		}
	}
	slices.Sort(n)
	return n
}

func (s *shared) shares(ps []*process, want ...int) {
	s.Helper()
	s.until(fmt.Sprintf("the members have %v partitions", want), func() bool { return slices.Equal(s.has(), want) }, ps...)
}

// Ownership: streams of one view share its partitions. One more takes its half,
// one that is given up on comes back, one that ends hands over at once. Every
// record is counted once (O1).
func TestStreamsShare(t *testing.T) {
	t.Parallel() // it waits, mostly
	for _, protocol := range []string{log.ClassicProtocol, log.ConsumerProtocol} {
		t.Run(protocol, func(t *testing.T) {
			s := newShared(t, protocol)
			a := s.stream()
			s.shares([]*process{a}, 2)
			s.caughtUp(a)
			both := []*process{a, s.stream()}
			s.shares(both, 1, 1)
			s.more()
			s.caughtUp(both...)
			s.fence(both)
			s.shares(both, 1, 1)
			s.more()
			s.caughtUp(both...)
			a.ends()
			s.shares(both[1:], 2)
			s.more()
			s.caughtUp(both[1:]...)
			both[1].ends()
			if n := s.has(); len(n) > 0 {
				t.Errorf("members are left: %v", n)
			}
			s.lag()
			for _, p := range both {
				if strings.Contains(p.errs.String(), "lag not told") {
					t.Errorf("its lag is not told: %s", p.errs.String())
				}
			}
			s.equal()
		})
	}
}

// equal replays the log and compares.
func (s *shared) equal() {
	s.Helper()
	out := filepath.Join(s.TempDir(), "tables")
	tally(s.T, exitOK, slices.Concat([]string{"replay", "--out", out, "--view", "customers"}, s.args)...)
	tally(s.T, exitOK, slices.Concat([]string{"reconcile", "--out", out, "--view", "customers", "--redis", s.server}, s.args)...)
}

// O1: a run with --until joins no group and works on all partitions, also beside
// one that does; neither harms the other, whoever writes first.
func TestBoundedRunBesideStream(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{log.ClassicProtocol, log.ConsumerProtocol} {
		s := newShared(t, protocol)
		a := s.stream()
		s.shares([]*process{a}, 2)
		for range 3 {
			s.more()
			_, text := tally(t, exitOK, slices.Concat([]string{"stream", "--redis", s.server, "--view", "customers", "--until", "end"}, s.args)...)
			if strings.Contains(text, "lag not told") {
				t.Errorf("it says %s", text)
			}
			s.shares([]*process{a}, 2)
		}
		s.caughtUp(a)
		a.ends()
		tally(t, exitOK, slices.Concat([]string{"stream", "--redis", s.server, "--view", "customers", "--until", "end"}, s.args)...)
		s.lag() // without members it tells
		s.equal()
	}
}

// fence has the group give up one of its members.
func (s *shared) fence(ps []*process) {
	s.Helper()
	f := kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID, TopLevel: true}
	if s.protocol == log.ConsumerProtocol {
		f.Keys, f.Err = []kmsg.Key{kmsg.ConsumerGroupHeartbeat}, kerr.FencedMemberEpoch
	}
	s.kafka.Fault(f)
	s.until("one hears of it", func() bool {
		return slices.ContainsFunc(ps, func(p *process) bool { return strings.Contains(p.errs.String(), "took it away unasked") })
	}, ps...)
}

// lag: the committed offsets stand where the markers do (K4).
func (s *shared) lag() {
	s.Helper()
	cut, err := s.client.Cut(s.Context(), "orders")
	s.must(err)
	offsets, err := s.admin.FetchOffsets(s.Context(), (&groupFlags{}).of(s.view))
	s.must(err)
	for p, bounds := range cut.Topics["orders"].Partitions {
		if o, ok := offsets.Lookup("orders", p); !ok || o.At != bounds.End {
			s.Errorf("partition %d: committed %d, the log ends at %d", p, o.At, bounds.End)
		}
	}
}

// A stream that its group does not take ends with one sentence that says why.
func TestStreamOutsideOfItsGroup(t *testing.T) {
	s := newShared(t, log.ClassicProtocol)
	s.kafka.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.FindCoordinator}, Group: (&groupFlags{}).of(s.view), Err: kerr.GroupAuthorizationFailed, Count: -1})
	args := slices.Concat([]string{"stream", "--redis", s.server, "--view", "customers"}, s.args)
	_, text := tally(t, exitFailed, args...)
	if want := "not allowed to access consumer group " + (&groupFlags{}).of(s.view); strings.Count(text, want) != 1 || !strings.Contains(text, "grant this client Read on it") {
		t.Errorf("it says %s", text)
	}
	_, text = tally(t, exitFailed, append(args, "--group-prefix", "mine", "--session-timeout", "1h")...)
	if !strings.Contains(text, "consumer group mine.customers.") || !strings.Contains(text, "change --session-timeout") {
		t.Errorf("it says %s", text)
	}
	for _, c := range [][]string{
		{"--until", "end", "--group-protocol", "classic"}, {"--until", "end", "--session-timeout", "9s"}, {"--group-protocol", "eager"},
		{"--group-protocol", "consumer", "--session-timeout", "9s"}, {"--session-timeout", "9ms"}, {"--group-prefix", "a b"},
	} {
		if _, text := tally(t, exitUsage, append(args, c...)...); !strings.Contains(text, c[len(c)-2]) {
			t.Errorf("%v: it says %s", c, text)
		}
	}
}
