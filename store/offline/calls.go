package offline

import (
	"context"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// callKind is what a store is asked for.
type callKind int

const (
	callGet callKind = iota
	callPut
	callCopy
	callHead
	callList
	callDelete
	callKinds
)

// Calls counts what stores are asked, and spaces it where a rate is set. One
// value may serve any number of stores. A nil *Calls neither counts nor waits.
type Calls struct {
	limit *rate.Limiter // nil = none
	n     [callKinds]atomic.Int64
}

// NewCalls allows this many calls per second, in any number at once when it is 0.
// The bucket holds one token, so that no second sees more than a rate's worth and
// one.
func NewCalls(perSecond float64) *Calls {
	c := &Calls{}
	if perSecond > 0 {
		c.limit = rate.NewLimiter(rate.Limit(perSecond), 1)
	}
	return c
}

// take waits until a call is allowed, and counts it.
func (c *Calls) take(ctx context.Context, k callKind) error {
	if c == nil {
		return nil
	}
	if c.limit != nil {
		if err := c.limit.Wait(ctx); err != nil {
			return err
		}
	}
	c.n[k].Add(1)
	return nil
}

// CallCounts are the calls to a store by kind. Of an object store they are its
// requests: each part of an upload, each page of a list, each further attempt.
type CallCounts struct {
	Get    int64 `json:"get"`
	Put    int64 `json:"put"`
	Copy   int64 `json:"copy"` // on the server; of a directory, files renamed or made young
	Head   int64 `json:"head"`
	List   int64 `json:"list"`
	Delete int64 `json:"delete"`
}

// Counts returns the calls so far.
func (c *Calls) Counts() CallCounts {
	if c == nil {
		return CallCounts{}
	}
	n := func(k callKind) int64 { return c.n[k].Load() }
	return CallCounts{Get: n(callGet), Put: n(callPut), Copy: n(callCopy), Head: n(callHead), List: n(callList), Delete: n(callDelete)}
}

// Since returns the calls after before.
func (n CallCounts) Since(before CallCounts) CallCounts {
	return CallCounts{n.Get - before.Get, n.Put - before.Put, n.Copy - before.Copy, n.Head - before.Head, n.List - before.List, n.Delete - before.Delete}
}

// Total is the sum of all kinds.
func (n CallCounts) Total() int64 { return n.Get + n.Put + n.Copy + n.Head + n.List + n.Delete }

// counted counts the calls to a store that is no server's; S3 counts its requests
// by itself.
type counted struct {
	store Store
	calls *Calls
}

// Read implements Store.
func (c *counted) Read(ctx context.Context, name string) ([]byte, error) {
	if err := c.calls.take(ctx, callGet); err != nil {
		return nil, err
	}
	return c.store.Read(ctx, name)
}

// PutIfAbsent implements Store.
func (c *counted) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	if err := c.calls.take(ctx, callPut); err != nil {
		return err
	}
	return c.store.PutIfAbsent(ctx, name, data)
}

// Create implements Store.
func (c *counted) Create(ctx context.Context, dir string) (Upload, error) {
	u, err := c.store.Create(ctx, dir)
	if err != nil {
		return nil, err
	}
	return &countedUpload{u, c.calls}, nil
}

type countedUpload struct {
	Upload
	calls *Calls
}

// Commit implements Upload.
func (u *countedUpload) Commit(ctx context.Context, name string) error {
	if err := u.calls.take(ctx, callPut); err != nil {
		return err
	}
	return u.Upload.Commit(ctx, name)
}

// Move implements Store.
func (c *counted) Move(ctx context.Context, from, to string) error {
	if err := c.calls.take(ctx, callCopy); err != nil {
		return err
	}
	return c.store.Move(ctx, from, to)
}

// Touch implements Store.
func (c *counted) Touch(ctx context.Context, name string) error {
	if err := c.calls.take(ctx, callCopy); err != nil {
		return err
	}
	return c.store.Touch(ctx, name)
}

// Sync implements Store.
func (c *counted) Sync(ctx context.Context, names []string) error { return c.store.Sync(ctx, names) }

// Open implements Store.
func (c *counted) Open(ctx context.Context, name string) (Blob, error) {
	if err := c.calls.take(ctx, callGet); err != nil {
		return nil, err
	}
	return c.store.Open(ctx, name)
}

// Stat implements Store.
func (c *counted) Stat(ctx context.Context, name string) (Entry, error) {
	if err := c.calls.take(ctx, callHead); err != nil {
		return Entry{}, err
	}
	return c.store.Stat(ctx, name)
}

// List implements Store.
func (c *counted) List(ctx context.Context, dir string) ([]Entry, error) {
	if err := c.calls.take(ctx, callList); err != nil {
		return nil, err
	}
	return c.store.List(ctx, dir)
}

// Remove implements Store.
func (c *counted) Remove(ctx context.Context, name string) error {
	if err := c.calls.take(ctx, callDelete); err != nil {
		return err
	}
	return c.store.Remove(ctx, name)
}

// RemoveAll implements Store.
func (c *counted) RemoveAll(ctx context.Context, name string) error {
	if err := c.calls.take(ctx, callDelete); err != nil {
		return err
	}
	return c.store.RemoveAll(ctx, name)
}
