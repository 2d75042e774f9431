package log

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The group protocols, as Kafka's own clients name them.
const (
	ClassicProtocol  = "classic"  // cooperative-sticky, by the members; all brokers
	ConsumerProtocol = "consumer" // by the brokers (KIP-848); Kafka 4.0 on
)

// GroupOptions say how a process joins a consumer group. Zero values mean the
// defaults.
type GroupOptions struct {
	Group, Topic string
	Protocol     string // ClassicProtocol or ConsumerProtocol; default classic
	// SessionTimeout is how long a member may be silent before its partitions go
	// to others: 45 s. With ConsumerProtocol the brokers set it.
	SessionTimeout time.Duration
	// RebalanceTimeout is how long the group waits for a member that is to give up
	// partitions: 60 s. Half of it goes to whoever uses them.
	RebalanceTimeout time.Duration
	// RefreshEvery is how often the classic protocol looks for new partitions: 1
	// minute. With ConsumerProtocol the brokers do.
	RefreshEvery time.Duration
}

func (o GroupOptions) withDefaults() GroupOptions {
	if o.Protocol == "" {
		o.Protocol = ClassicProtocol
	}
	if o.SessionTimeout == 0 {
		o.SessionTimeout = 45 * time.Second
	}
	if o.RebalanceTimeout == 0 {
		o.RebalanceTimeout = max(time.Minute, o.SessionTimeout)
	}
	if o.RefreshEvery == 0 {
		o.RefreshEvery = time.Minute
	}
	return o
}

// Validate reports every fault of the options at once.
func (o GroupOptions) Validate() error {
	var errs []error
	if o.Group == "" || o.Topic == "" {
		errs = append(errs, errors.New("a consumer group needs a name and a topic"))
	}
	if o.Protocol != "" && o.Protocol != ClassicProtocol && o.Protocol != ConsumerProtocol {
		errs = append(errs, fmt.Errorf("%q is no group protocol: it is %s or %s", o.Protocol, ClassicProtocol, ConsumerProtocol))
	}
	if o.SessionTimeout < 0 || o.RebalanceTimeout < 0 || o.RefreshEvery < 0 {
		errs = append(errs, errors.New("a timeout of the consumer group is negative"))
	}
	return errors.Join(errs...)
}

// Change is a decision of the group.
type Change struct {
	// Assigned partitions are this member's from now on.
	Assigned []int32
	// Revoked ones are to be given up: the group waits for Done, for at most half of
	// RebalanceTimeout; one that was not fetched by then has become Lost.
	Revoked []int32
	// Lost ones may be another's already.
	Lost []int32
	Done func() // nil = nobody waits
}

// Member is a process's place in a consumer group that shares the partitions of
// one topic. It is a client of its own, which only keeps the membership: it
// fetches no record and reads no committed offset (K4). Its methods may be called
// concurrently.
type Member struct {
	c     *Client
	kc    *kgo.Client
	o     GroupOptions
	stop  context.CancelFunc // of kc and watch
	ended chan struct{}      // watch is over

	mu      sync.Mutex
	queue   []*Change
	err     error
	leaving chan struct{} // nothing waits for Done any more
	closed  bool
}

// Join makes this process a member of the group. It does not wait for partitions:
// Changes tells of them. Errors: *GroupError.
func (c *Client) Join(ctx context.Context, o GroupOptions) (*Member, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	if err := c.checkProtocol(ctx, &o); err != nil {
		return nil, err
	}
	own, stop := context.WithCancel(context.WithoutCancel(ctx))
	m := &Member{c: c, o: o, stop: stop, ended: make(chan struct{}), leaving: make(chan struct{})}
	kc, err := kgo.NewClient(append(c.o.kgo(), m.options(own)...)...)
	if err != nil {
		stop()
		return nil, fmt.Errorf("group %s: %w", o.Group, err)
	}
	m.kc = kc
	// Paused before it is subscribed to: nothing is ever fetched.
	kc.PauseFetchTopics(o.Topic)
	kc.AddConsumeTopics(o.Topic)
	go m.watch(own)
	return m, nil
}

func (m *Member) options(ctx context.Context) []kgo.Opt {
	opts := []kgo.Opt{
		kgo.WithContext(ctx),
		kgo.ConsumerGroup(m.o.Group),
		// The first of them also says that the brokers may use their sticky one.
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.SessionTimeout(m.o.SessionTimeout),
		kgo.RebalanceTimeout(m.o.RebalanceTimeout),
		kgo.HeartbeatInterval(min(3*time.Second, m.o.SessionTimeout/3)),
		kgo.MetadataMaxAge(m.o.RefreshEvery),
		kgo.DisableAutoCommit(),
		// Where the group stands is of no interest: a fixed offset asks nobody.
		kgo.AdjustFetchOffsetsFn(func(_ context.Context, at map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
			for _, ps := range at {
				for p := range ps {
					ps[p] = kgo.NewOffset().At(0)
				}
			}
			return at, nil
		}),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, ps map[string][]int32) {
			m.push(&Change{Assigned: ps[m.o.Topic]})
		}),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, ps map[string][]int32) { m.revoke(ps[m.o.Topic]) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, ps map[string][]int32) {
			m.push(&Change{Lost: ps[m.o.Topic]})
		}),
	}
	if m.o.Protocol == ConsumerProtocol {
		opts = append(opts, kgo.ServerSideBalancer())
	}
	if m.o.RefreshEvery < 5*time.Second { // franz-go's least age is as much
		opts = append(opts, kgo.MetadataMinAge(m.o.RefreshEvery))
	}
	return opts
}

// CheckGroup tells whether this client may join the group, and changes nothing: to
// join, and to end for another reason, would cost the other members a rebalance.
// Errors: *GroupError, *UnauthorisedError. What may pass is none.
func (c *Client) CheckGroup(ctx context.Context, o GroupOptions) error {
	if err := o.Validate(); err != nil {
		return err
	}
	o = o.withDefaults()
	if err := c.checkProtocol(ctx, &o); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, groupCheckTime)
	defer cancel()
	req := kmsg.NewPtrHeartbeatRequest() // of a member that no group has
	req.Group, req.MemberID = o.Group, "nobody"
	resp, err := req.RequestWith(ctx, c.kc)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if errors.Is(err, kerr.GroupAuthorizationFailed) {
		return groupUnauthorised(o.Group)
	}
	return nil
}

// groupCheckTime bounds the wait for a group's coordinator.
const groupCheckTime = 5 * time.Second

func groupUnauthorised(group string) error {
	return &UnauthorisedError{What: "consumer group " + group, Need: "Read", Err: kerr.GroupAuthorizationFailed}
}

// checkProtocol refuses brokers that do not speak the protocol: franz-go would
// use the other one without a word.
func (c *Client) checkProtocol(ctx context.Context, o *GroupOptions) error {
	if o.Protocol == ClassicProtocol {
		return nil
	}
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "tallystick", "1"
	resp, err := req.RequestWith(ctx, c.kc)
	if err != nil {
		return c.callErr(ctx, "the brokers' versions", err)
	}
	for _, k := range resp.ApiKeys {
		if k.ApiKey == kmsg.ConsumerGroupHeartbeat.Int16() && k.MaxVersion >= 1 {
			return nil
		}
	}
	return &GroupError{Group: o.Group, Reason: "the brokers do not speak the protocol consumer, which begins with Kafka 4.0; use classic", Err: kerr.UnsupportedVersion}
}

func (m *Member) push(c *Change) {
	if len(c.Assigned)+len(c.Revoked)+len(c.Lost) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queue = append(m.queue, c)
}

// revoke waits until the partitions have been given up; the group's session is
// kept meanwhile. When it has waited long enough the group goes on, and what is
// written after that may be written over another's.
func (m *Member) revoke(ps []int32) {
	done := make(chan struct{})
	c := &Change{Revoked: ps, Done: sync.OnceFunc(func() { close(done) })}
	if m.push(c); len(ps) == 0 {
		return
	}
	t := time.NewTimer(m.o.RebalanceTimeout / 2)
	defer t.Stop()
	select {
	case <-done:
	case <-m.leaving:
	case <-t.C:
		m.mu.Lock()
		defer m.mu.Unlock()
		if slices.Contains(m.queue, c) {
			c.Lost, c.Revoked = c.Revoked, nil
		}
	}
}

// Changes returns what the group has decided since the last call, the oldest
// first; it does not wait. Errors: *UnauthorisedError, *GroupError; any other
// says what franz-go meets while it goes on trying.
func (m *Member) Changes() ([]Change, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Change
	for _, c := range m.queue {
		out = append(out, *c)
	}
	err := m.err
	m.queue, m.err = nil, nil
	return out, err
}

// watch takes note of what goes wrong: franz-go tells it where records would come.
func (m *Member) watch(ctx context.Context) {
	defer close(m.ended)
	for ctx.Err() == nil {
		fs := m.kc.PollFetches(ctx)
		if fs.IsClientClosed() {
			return
		}
		fs.EachError(func(_ string, _ int32, err error) {
			if err = m.fault(err); err != nil && ctx.Err() == nil {
				m.mu.Lock()
				m.err = err
				m.mu.Unlock()
			}
		})
	}
}

// fault gives an error its type, nil where it is not the group's.
func (m *Member) fault(err error) error {
	switch {
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		return groupUnauthorised(m.o.Group)
	case isAuth(err):
		return topicErr(m.o.Topic, "Read", err)
	}
	for ke, reason := range groupReasons {
		if errors.Is(err, ke) {
			return &GroupError{Group: m.o.Group, Reason: reason, Err: ke}
		}
	}
	for _, lost := range outdated { // Changes tells of it
		if errors.Is(err, lost) {
			return nil
		}
	}
	if _, ok := errors.AsType[*kgo.ErrGroupSession](err); ok {
		return fmt.Errorf("group %s: %w", m.o.Group, err)
	}
	return nil
}

// outdated are errors of a member that the group has moved on without. It joins
// again by itself.
var outdated = []error{kerr.RebalanceInProgress, kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.StaleMemberEpoch, kerr.FencedMemberEpoch}

// groupReasons are errors that waiting does not heal.
var groupReasons = map[error]string{
	kerr.InconsistentGroupProtocol: "it has members that share partitions in another way: another program uses this group, or processes of this view run with another --group-protocol",
	kerr.InvalidSessionTimeout:     "the brokers do not allow this session timeout (group.min.session.timeout.ms, group.max.session.timeout.ms): change --session-timeout",
	kerr.InvalidGroupID:            "the brokers do not accept its name",
	kerr.UnsupportedAssignor:       "the brokers do not offer the assignor uniform (group.consumer.assignors): use --group-protocol classic",
	kerr.UnsupportedVersion:        "the brokers do not speak this group protocol: use the other --group-protocol",
}

// Commit commits next offsets as a member, as a gauge of the group's lag (K4). A
// group that is rebalancing takes none, which is no error: the next commit tells.
func (m *Member) Commit(ctx context.Context, next map[int32]int64) error {
	at := make(map[int32]kgo.EpochOffset, len(next))
	for p, o := range next {
		at[p] = kgo.EpochOffset{Epoch: -1, Offset: o}
	}
	var fail error
	m.kc.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{m.o.Topic: at}, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		if fail = err; err == nil {
			fail = commitErr(resp)
		}
	})
	for _, passing := range outdated {
		if errors.Is(fail, passing) {
			return nil
		}
	}
	if fail != nil {
		return fmt.Errorf("group %s: commit offsets of topic %s: %w", m.o.Group, m.o.Topic, fail)
	}
	return nil
}

func commitErr(resp *kmsg.OffsetCommitResponse) error {
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("partition %d: %w", p.Partition, err)
			}
		}
	}
	return nil
}

// Close leaves the group, so that others get the partitions at once; they must
// have been given up. ctx bounds it: a group that is not left so forgets this
// member after the session timeout.
func (m *Member) Close(ctx context.Context) error {
	m.mu.Lock()
	again := m.closed
	m.closed = true
	m.mu.Unlock()
	if again {
		return nil
	}
	close(m.leaving)
	err := m.kc.LeaveGroupContext(ctx)
	m.stop() // ends what is still under way
	m.kc.Close()
	<-m.ended
	if err != nil {
		return fmt.Errorf("leave group %s: %w", m.o.Group, err)
	}
	return nil
}
