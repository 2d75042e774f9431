package log

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
)

// kfake's own goroutine may wait for ever where a cluster is closed while a control
// function of it sleeps.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/twmb/franz-go/pkg/kfake.(*Cluster).continueSleptControl"))
}

// rig is a fake cluster with a client.
type rig struct {
	*testing.T
	ctx context.Context
	k   *kfake.Cluster
	c   *Client
}

func newRig(t *testing.T, opts ...kfake.Opt) *rig {
	t.Helper()
	k := testbed.Kafka(t, opts...)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	r := &rig{T: t, ctx: ctx, k: k}
	r.c = r.open(Options{RetryFor: 5 * time.Second})
	return r
}

func (r *rig) open(o Options) *Client {
	r.Helper()
	o.Brokers = r.k.ListenAddrs()
	o.Extra = append(o.Extra, testbed.KafkaOptions()...)
	c, err := Open(r.ctx, o)
	r.must(err)
	r.Cleanup(c.Close)
	return c
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) create(topic string, partitions int32, configs map[string]string) {
	r.Helper()
	r.must(r.c.EnsureTopic(r.ctx, topic, partitions, configs))
}

// produce appends one record with the given value.
func (r *rig) produce(topic string, p int32, value string) int64 {
	r.Helper()
	at, err := r.c.Produce(r.ctx, topic, p, Message{Value: []byte(value), Timestamp: time.UnixMilli(1000)})
	r.must(err)
	return at[0]
}

// txn opens a transactional producer with a transaction begun.
func (r *rig) txn(id string) *kgo.Client {
	r.Helper()
	kc := testbed.Producer(r.T, r.k, id)
	r.must(kc.BeginTransaction())
	return kc
}

func (r *rig) end(kc *kgo.Client, how kgo.TransactionEndTry) {
	r.Helper()
	r.must(kc.EndTransaction(r.ctx, how))
}

func (r *rig) send(kc *kgo.Client, rs ...*kgo.Record) {
	r.Helper()
	r.must(kc.ProduceSync(r.ctx, rs...).FirstErr())
}

// read collects what Read delivers, as "offset:value" or "offset:tick".
func (r *rig) read(topic string, p int32, from, to int64) ([]string, error) {
	var got []string
	err := r.c.Read(r.ctx, Ref{Name: topic}, p, from, to, func(rs []schemas.Record) error {
		for i := range rs {
			got = append(got, show(&rs[i]))
		}
		return nil
	})
	return got, err
}

func show(r *schemas.Record) string {
	switch {
	case r.Tick:
		return fmt.Sprintf("%d:tick", r.Offset)
	case r.Value == nil:
		return fmt.Sprintf("%d:null", r.Offset)
	}
	return fmt.Sprintf("%d:%s", r.Offset, r.Value)
}

// wantErr asserts that err is an E and returns it.
func wantErr[E error](t testing.TB, err error) E {
	t.Helper()
	e, ok := errors.AsType[E](err)
	if !ok {
		t.Fatalf("error %T %v, want %T", err, err, e)
	}
	return e
}

func equal(t testing.TB, got, want any) {
	t.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		t.Errorf("got  %s\nwant %s", g, w)
	}
}
