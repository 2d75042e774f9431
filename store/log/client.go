package log

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tallystick/tallystick/store/dial"
)

// Options say how to reach Kafka. Zero values mean the defaults.
type Options struct {
	// Brokers are the bootstrap addresses, host:port.
	Brokers  []string
	ClientID string // default "tallystick"
	// ConnectTimeout bounds Open where its context has no deadline; default 10 s.
	ConnectTimeout time.Duration
	// RetryFor bounds how long a one-shot call (all but a Tailer) keeps trying
	// without progress; default 30 s.
	RetryFor time.Duration
	// FetchBytes bounds one partition's fetch, in bytes as compressed; the
	// broker exceeds it for a single batch that is larger. Default 1 MiB.
	FetchBytes int32
	// TLS is spoken where it is not nil. The server's name is that of its address.
	TLS *tls.Config
	// SASL is how the client proves who it is; nil = not at all.
	SASL *SASL
	// BufferBytes bound what a Tailer has fetched and not handed out yet, in bytes
	// as compressed; 0 = franz-go's 50 MiB for each broker.
	BufferBytes int64
	// Extra is passed to every franz-go client: hooks, a dialer.
	Extra []kgo.Opt
}

func (o Options) withDefaults() Options {
	if o.ClientID == "" {
		o.ClientID = "tallystick"
	}
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = 10 * time.Second
	}
	if o.RetryFor == 0 {
		o.RetryFor = 30 * time.Second
	}
	if o.FetchBytes == 0 {
		o.FetchBytes = 1 << 20
	}
	return o
}

// Validate reports every fault of the options at once.
func (o Options) Validate() error {
	var errs []error
	if len(o.Brokers) == 0 {
		errs = append(errs, errors.New("no Kafka broker given; set --brokers host:port"))
	}
	for _, b := range o.Brokers {
		if !dial.IsHostPort(b) {
			errs = append(errs, fmt.Errorf("broker address %q is not host:port", b))
		}
	}
	if o.ConnectTimeout < 0 || o.RetryFor < 0 {
		errs = append(errs, errors.New("a Kafka timeout is negative"))
	}
	if o.FetchBytes < 0 || o.BufferBytes < 0 {
		errs = append(errs, errors.New("a Kafka fetch size is negative"))
	}
	if o.SASL != nil {
		errs = append(errs, o.SASL.validate())
	}
	return errors.Join(errs...)
}

// Client speaks to one Kafka cluster. Its methods may be called concurrently.
type Client struct {
	o   Options
	kc  *kgo.Client
	adm *kadm.Client
}

// Open connects to Kafka and waits until a broker answers. Where none does
// within ctx's deadline (or Options.ConnectTimeout) it returns an
// *UnreachableError.
func Open(ctx context.Context, o Options) (*Client, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	kc, err := kgo.NewClient(append(o.kgo(),
		// Produced records name their partition: ticks and quarantine do.
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		// Producing is bounded by contexts: RecordDeliveryTimeout counts from a
		// record's own timestamp, which may be old.
		kgo.AllowIdempotentProduceCancellation(),
		kgo.RetryTimeout(o.RetryFor),
	)...)
	if err != nil {
		return nil, fmt.Errorf("kafka client: %w", err)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.ConnectTimeout)
		defer cancel()
	}
	begun := time.Now()
	if err := kc.Ping(ctx); err != nil {
		kc.Close()
		return nil, &UnreachableError{Brokers: o.Brokers, TLS: o.TLS != nil, Waited: time.Since(begun), Err: err}
	}
	return &Client{o: o, kc: kc, adm: kadm.NewClient(kc)}, nil
}

// kgo returns the options that all clients of this cluster share.
func (o Options) kgo() []kgo.Opt {
	opts := []kgo.Opt{kgo.SeedBrokers(o.Brokers...), kgo.ClientID(o.ClientID)}
	if o.TLS != nil {
		opts = append(opts, kgo.DialTLSConfig(o.TLS))
	}
	if o.SASL != nil {
		opts = append(opts, kgo.SASL(o.SASL.mechanism()))
	}
	return append(opts, o.Extra...)
}

// Close drops all connections. Records being produced fail.
func (c *Client) Close() { c.kc.Close() }
