//go:build real

package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// slotCount is how many slots a Cluster has.
const slotCount = 16384

// StartCluster returns a Cluster of three masters and three replicas.
func StartCluster(ctx context.Context) (*Redis, error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	b, err := newRedis()
	if err != nil {
		return nil, err
	}
	b.Cluster = true
	if err := b.cluster(ctx); err != nil {
		b.Close()
		return nil, err
	}
	for _, n := range b.nodes {
		b.Addrs = append(b.Addrs, n.Addr)
	}
	return b.Redis, loopback(b.Addrs...)
}

const masters, clusterNodes = 3, 6

func (b *builder) cluster(ctx context.Context) error {
	ports, err := freePorts(2 * clusterNodes) // clients', and the nodes' own
	if err != nil {
		return err
	}
	for i := range clusterNodes {
		if _, err := b.add(ctx, ports[i], "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(ports[clusterNodes+i]),
			"--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "2000"); err != nil {
			return err
		}
	}
	for i, n := range b.nodes {
		if err := b.meet(ctx, i, n, ports); err != nil {
			return err
		}
	}
	for i, n := range b.nodes[masters:] {
		if err := b.replicate(ctx, n, b.nodes[i]); err != nil {
			return err
		}
	}
	for _, n := range b.nodes {
		if err := joined(ctx, n); err != nil {
			return err
		}
	}
	for _, n := range b.nodes[masters:] {
		if err := linked(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// meet gives a master its share of the slots and makes a node known to the first.
func (b *builder) meet(ctx context.Context, i int, n *RedisNode, ports []int) error {
	c := Client(n.Addr)
	defer c.Close()
	if i < masters {
		if err := c.ClusterAddSlotsRange(ctx, i*slotCount/masters, (i+1)*slotCount/masters-1).Err(); err != nil {
			return err
		}
	}
	if i == 0 {
		return nil
	}
	return c.Do(ctx, "CLUSTER", "MEET", "127.0.0.1", ports[0], ports[clusterNodes]).Err()
}

// replicate makes a node the replica of a master, once it has heard of it.
func (b *builder) replicate(ctx context.Context, n, master *RedisNode) error {
	m, c := Client(master.Addr), Client(n.Addr)
	defer m.Close()
	defer c.Close()
	id, err := m.Do(ctx, "CLUSTER", "MYID").Text()
	if err != nil {
		return err
	}
	return wait(ctx, func() error { return c.ClusterReplicate(ctx, id).Err() })
}

// joined waits until a node knows all nodes and finds all slots served.
func joined(ctx context.Context, n *RedisNode) error {
	c := Client(n.Addr)
	defer c.Close()
	return n.ready(ctx, func(ctx context.Context) error {
		nodes, err := c.ClusterNodes(ctx).Result()
		if err == nil && strings.Count(nodes, "slave") != clusterNodes-masters {
			err = errors.New("it does not know all replicas")
		}
		if err != nil {
			return err
		}
		info, err := c.ClusterInfo(ctx).Result()
		if err == nil && !strings.Contains(info, "cluster_state:ok") {
			err = errors.New("its cluster is not ok")
		}
		return err
	})
}

// Owner returns which of the nodes serves a slot.
func (r *Redis) Owner(ctx context.Context, slot int) (*RedisNode, error) {
	return r.ownerAt(ctx, r.nodes[0], slot)
}

// ownerAt is what one node knows.
func (r *Redis) ownerAt(ctx context.Context, asked *RedisNode, slot int) (*RedisNode, error) {
	c := Client(asked.Addr)
	defer c.Close()
	shards, err := c.ClusterShards(ctx).Result()
	if err != nil {
		return nil, err
	}
	for _, shard := range shards {
		if !slices.ContainsFunc(shard.Slots, func(s redis.SlotRange) bool { return int(s.Start) <= slot && slot <= int(s.End) }) {
			continue
		}
		for _, n := range r.nodes {
			if slices.ContainsFunc(shard.Nodes, func(x redis.Node) bool { return x.Role == "master" && local(int(x.Port)) == n.Addr }) {
				return n, nil
			}
		}
	}
	return nil, fmt.Errorf("slot %d is served by no node of %v", slot, r.Addrs)
}

// MoveSlot moves a slot and its keys from one master to another, as `redis-cli
// --cluster reshard` does, waits until all nodes know of it, and returns how many
// keys it held.
func (r *Redis) MoveSlot(ctx context.Context, slot int, from, to *RedisNode) (keys int, err error) {
	f, t := Client(from.Addr), Client(to.Addr)
	defer f.Close()
	defer t.Close()
	fromID, err := f.Do(ctx, "CLUSTER", "MYID").Text()
	if err != nil {
		return 0, err
	}
	toID, err := t.Do(ctx, "CLUSTER", "MYID").Text()
	if err != nil {
		return 0, err
	}
	if err := t.Do(ctx, "CLUSTER", "SETSLOT", slot, "IMPORTING", fromID).Err(); err != nil {
		return 0, err
	}
	if err := f.Do(ctx, "CLUSTER", "SETSLOT", slot, "MIGRATING", toID).Err(); err != nil {
		return 0, err
	}
	host, port, err := net.SplitHostPort(to.Addr)
	if err != nil {
		return 0, err
	}
	for {
		ks, err := f.ClusterGetKeysInSlot(ctx, slot, 10).Result()
		if err != nil || len(ks) == 0 {
			return keys, errors.Join(err, r.assign(ctx, slot, toID, to))
		}
		args := []any{"MIGRATE", host, port, "", 0, 5000, "KEYS"}
		for _, k := range ks {
			args = append(args, k)
		}
		if err := f.Do(ctx, args...).Err(); err != nil {
			return keys, err
		}
		keys += len(ks)
	}
}

// assign tells all masters who serves a slot now, its new owner first, and waits
// until the others have heard of it.
func (r *Redis) assign(ctx context.Context, slot int, id string, owner *RedisNode) error {
	for _, n := range append([]*RedisNode{owner}, r.nodes[:masters]...) {
		c := Client(n.Addr)
		err := c.Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", id).Err()
		c.Close()
		if err != nil {
			return err
		}
	}
	return wait(ctx, func() error {
		for _, n := range r.nodes {
			if now, err := r.ownerAt(ctx, n, slot); err != nil || now != owner {
				return errors.Join(fmt.Errorf("%s does not know yet who serves slot %d", n.Addr, slot), err)
			}
		}
		return nil
	})
}
