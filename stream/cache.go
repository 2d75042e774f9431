package stream

import (
	"github.com/tallystick/tallystick/transforms"
)

// entry is a state in memory.
type entry struct {
	entity string
	shard  int
	state  *transforms.State
	size   int // bytes, estimated
	ids    int // of size, what remembered ids take
	// old is the version of the old part that an acknowledged write carries, oldSize
	// its length.
	old     int32
	oldSize int
	// hours of the open part that no acknowledged write carries yet, ascending
	hours []int64
	dirty bool
	prev  *entry // in the list of clean entries
	next  *entry
}

// What an entry takes beside its bytes, and by how much a state in memory
// outgrows its encoding, about.
const (
	entryOverhead = 512
	entryGrowth   = 2
)

// cache holds the states of one partition. Clean entries are in a list, the
// least recently used last; dirty ones are in none, so that they stay.
type cache struct {
	byEntity map[string]*entry
	bytes    int
	root     entry // of the list
}

func newCache() *cache {
	c := &cache{byEntity: map[string]*entry{}}
	c.root.prev, c.root.next = &c.root, &c.root
	return c
}

// get returns the entry of an entity, nil when it is not held.
func (c *cache) get(entity []byte) *entry {
	e := c.byEntity[string(entity)]
	if e != nil && !e.dirty {
		c.unlink(e)
		c.link(e)
	}
	return e
}

func (c *cache) add(e *entry) {
	c.byEntity[e.entity] = e
	c.bytes += e.size
	c.link(e)
}

// touch marks an entry as changed by a record of n bytes, beside what that did to
// its ids.
func (c *cache) touch(e *entry, n int) {
	if !e.dirty {
		e.dirty = true
		c.unlink(e)
	}
	ids := e.state.IDs()
	n += ids - e.ids
	e.ids = ids
	e.size += n
	c.bytes += n
}

// clean marks an entry as written, its served and old parts now being n bytes.
func (c *cache) clean(e *entry, n int) {
	c.resize(e, n)
	e.dirty = false
	e.hours = e.hours[:0]
	c.link(e)
}

func (c *cache) resize(e *entry, n int) {
	size := entryOverhead + entryGrowth*n + e.state.Decoded() + len(e.entity)
	e.ids = e.state.IDs()
	c.bytes += size - e.size
	e.size = size
}

func (c *cache) drop(e *entry) {
	if !e.dirty {
		c.unlink(e)
	}
	c.bytes -= e.size
	delete(c.byEntity, e.entity)
}

// dropShard forgets all states of a shard.
func (c *cache) dropShard(shard int) {
	for _, e := range c.byEntity {
		if e.shard == shard {
			c.drop(e)
		}
	}
}

// oldest returns the least recently used clean entry, nil when there is none.
func (c *cache) oldest() *entry {
	if c.root.prev == &c.root {
		return nil
	}
	return c.root.prev
}

func (c *cache) link(e *entry) {
	e.prev, e.next = &c.root, c.root.next
	e.prev.next, e.next.prev = e, e
}

func (c *cache) unlink(e *entry) {
	e.prev.next, e.next.prev = e.next, e.prev
	e.prev, e.next = nil, nil
}
