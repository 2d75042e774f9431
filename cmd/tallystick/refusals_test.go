package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/tallystick/tallystick/integration/testbed"
)

// guarded is a Kafka with users who may do more or less, filled by one who may do
// all, and a Redis.
type guarded struct {
	*testing.T
	file  string
	addr  string
	redis *miniredis.Miniredis
	kc    *kgo.Client // of the admin
	admin *kadm.Client
	flags []string // of who streams
	until []string // flags that end it
}

// user is who streams; all are the rights that it takes.
const user = "worker"

func right(kind kmsg.ACLResourceType, name string, op kmsg.ACLOperation) kfake.ACL {
	return kfake.ACL{Resource: kind, Name: name, Pattern: kmsg.ACLResourcePatternTypePrefixed, Operation: op, Allow: true}
}

var allRights = map[string]kfake.ACL{
	"describe":          right(kmsg.ACLResourceTypeTopic, "orders", kmsg.ACLOperationDescribe),
	"configuration":     right(kmsg.ACLResourceTypeTopic, "orders", kmsg.ACLOperationDescribeConfigs),
	"read":              right(kmsg.ACLResourceTypeTopic, "orders", kmsg.ACLOperationRead),
	"quarantine":        right(kmsg.ACLResourceTypeTopic, "orders.quarantine", kmsg.ACLOperationWrite),
	"create quarantine": right(kmsg.ACLResourceTypeTopic, "orders.quarantine", kmsg.ACLOperationCreate),
	"group":             right(kmsg.ACLResourceTypeGroup, "tallystick.", kmsg.ACLOperationRead),
}

// newGuarded gives the user all rights but some.
func newGuarded(t *testing.T, lacks ...string) *guarded {
	t.Helper()
	var acls []kfake.ACL
	for name, a := range allRights {
		if !slices.Contains(lacks, name) {
			acls = append(acls, a)
		}
	}
	kafka := testbed.Kafka(t, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "admin", "of-admin"), kfake.User("PLAIN", user, "of-worker", acls...))
	g := &guarded{T: t, file: initialised(t), addr: kafka.ListenAddrs()[0], redis: testbed.Redis(t), until: []string{"--until", "end"}}
	g.flags = []string{"--kafka-sasl", "plain", "--kafka-user", user, "--kafka-password-file", written(t, "password", "of-worker")}
	tally(t, exitOK, "fill", "--events", "20", "-f", g.file, "--brokers", g.addr, "--kafka-sasl", "plain", "--kafka-user", "admin", "--kafka-password-file", written(t, "password", "of-admin"))
	kc, err := kgo.NewClient(append(testbed.KafkaOptions(), kgo.SeedBrokers(g.addr), kgo.SASL(plain.Auth{User: "admin", Pass: "of-admin"}.AsMechanism()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kc.Close)
	g.kc, g.admin = kc, kadm.NewClient(kc)
	return g
}

func (g *guarded) args() []string {
	return slices.Concat([]string{"stream", "-f", g.file, "--brokers", g.addr, "--redis", g.redis.Addr()}, g.until, g.flags)
}

// state is everything that Redis holds and what topics and groups there are.
func (g *guarded) state() string {
	g.Helper()
	resp, err := kmsg.NewPtrMetadataRequest().RequestWith(g.Context(), g.kc) // the admin's client would remember
	if err != nil {
		g.Fatal(err)
	}
	var topics []string
	for _, t := range resp.Topics {
		topics = append(topics, *t.Topic)
	}
	slices.Sort(topics)
	groups, err := g.admin.ListGroups(g.Context())
	if err != nil {
		g.Fatal(err)
	}
	return fmt.Sprint(topics, groups.Groups(), "\n", g.redis.Dump())
}

// Each thing that a stream cannot go on from is told in one sentence, and nothing
// is written: neither to Redis nor to Kafka.
func TestNothingIsWritten(t *testing.T) {
	streamed := func(g *guarded) { tally(g.T, exitOK, g.args()...) }
	follow := func(g *guarded) { g.until = nil }
	for name, c := range map[string]struct {
		lacks []string
		spoil func(*guarded)
		want  string
	}{
		"wrong eviction policy": {nil, func(g *guarded) {
			g.redis.Server().SetPreHook(func(c *server.Peer, cmd string, _ ...string) bool {
				if info := strings.EqualFold(cmd, "INFO"); info {
					c.WriteBulk("# Memory\r\nmaxmemory_policy:allkeys-lru\r\n")
					return true
				}
				return false
			})
		}, "set it: CONFIG SET maxmemory-policy noeviction"},
		"broker that is not there":  {nil, func(g *guarded) { g.flags = append(g.flags, "--brokers", "127.0.0.1:1") }, "check --brokers"},
		"Redis that is not there":   {nil, func(g *guarded) { g.flags = append(g.flags, "--redis", "127.0.0.1:1") }, "check --redis"},
		"group not allowed":         {[]string{"group"}, follow, "grant this client Read on it"},
		"no quarantine, in a group": {[]string{"create quarantine"}, follow, "grant this client Create on it"},
		"Redis that reads its file": {nil, func(g *guarded) {
			g.redis.Server().SetPreHook(func(c *server.Peer, cmd string, _ ...string) bool {
				switch {
				case strings.EqualFold(cmd, "INFO"):
					c.WriteBulk("# Memory\r\nmaxmemory_policy:noeviction\r\n")
				case strings.EqualFold(cmd, "SMEMBERS"):
					c.WriteError("LOADING Redis is loading the dataset in memory")
				default:
					return false
				}
				return true
			})
		}, "LOADING"},
		"topic missing":       {nil, func(g *guarded) { edit(g.T, g.file, "topic: orders", "topic: orders2") }, "topic orders2 does not exist"},
		"topic not allowed":   {[]string{"describe", "configuration", "read", "quarantine", "create quarantine"}, nil, "topic orders"},
		"not allowed to read": {[]string{"read", "quarantine", "create quarantine"}, nil, "grant this client Read on it"},
		"no quarantine":       {[]string{"create quarantine"}, nil, "grant this client Create on it"},
		"topic created again": {nil, func(g *guarded) {
			streamed(g)
			if _, err := g.admin.DeleteTopics(g.Context(), "orders"); err != nil {
				g.Fatal(err)
			}
			if _, err := g.admin.CreateTopics(g.Context(), 2, 1, nil, "orders"); err != nil {
				g.Fatal(err)
			}
		}, "it was deleted and created again"},
		"fewer partitions": {nil, func(g *guarded) {
			streamed(g)
			for _, k := range g.redis.Keys() {
				if strings.HasPrefix(k, "{customers:") && strings.HasSuffix(k, ":0}:p") {
					g.redis.SAdd(k, "7")
				}
			}
		}, "the topic has 2 partitions and lacks [7]"},
		"keys of others": {nil, func(g *guarded) {
			streamed(g)
			fp := ""
			for _, k := range g.redis.Keys() {
				if rest, ok := strings.CutPrefix(k, "{customers:"); ok && strings.HasSuffix(k, ":0}:p") {
					fp, _, _ = strings.Cut(rest, ":")
				}
			}
			g.redis.FlushAll()
			if err := g.redis.Set("{customers:"+fp+":1}:cache", "theirs"); err != nil {
				g.Fatal(err)
			}
		}, "it is another program's"},
		"a marker of others": {nil, func(g *guarded) {
			streamed(g)
			for _, k := range g.redis.Keys() {
				if strings.HasPrefix(k, "{customers:") && strings.HasSuffix(k, ":1}:m:0") {
					g.redis.Del(k)
					g.redis.HSet(k, "theirs", "1")
				}
			}
		}, "WRONGTYPE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGuarded(t, c.lacks...)
			if c.spoil != nil {
				c.spoil(g)
			}
			before := g.state()
			var out bytes.Buffer
			code := run(t.Context(), append(g.args(), "--view", "customers"), &out, &out)
			var said []string
			for line := range strings.Lines(out.String()) {
				if !strings.Contains(line, ": warning: ") {
					said = append(said, line)
				}
			}
			if code == exitOK || len(said) != 1 || !strings.Contains(said[0], c.want) || !strings.HasPrefix(said[0], "tallystick: ") {
				t.Errorf("exit %d, want %q: %q", code, c.want, said)
			}
			if after := g.state(); after != before {
				t.Errorf("it wrote\n%s\nbefore there was\n%s", after, before)
			}
		})
	}
}

// The rights that docs/operations.md lists are enough.
func TestRights(t *testing.T) {
	g := newGuarded(t)
	_, errs := tally(t, exitOK, g.args()...)
	if strings.Contains(errs, "not allowed") || strings.Contains(errs, "AUTHORIZATION") {
		t.Error(errs)
	}
}
