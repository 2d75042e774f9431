package online

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// heldKey lies with shard 0, so that Drop removes it too.
func (s *Store) heldKey() string { return s.prefix(0) + "held" }

// Held returns what SetHeld wrote, nil where there is nothing.
func (s *Store) Held(ctx context.Context) ([]byte, error) {
	b, err := s.c.rc.Get(ctx, s.heldKey()).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, s.c.failed(ctx, "read what holds the view", err)
	}
	return b, nil
}

// SetHeld keeps what holds the writes of the view, for whichever process has it next;
// nil = nothing does. Its bytes are the caller's.
func (s *Store) SetHeld(ctx context.Context, b []byte) error {
	var err error
	if b == nil {
		err = s.c.rc.Del(ctx, s.heldKey()).Err()
	} else {
		err = s.c.rc.Set(ctx, s.heldKey(), b, 0).Err()
	}
	if err != nil {
		return s.c.failed(ctx, "write what holds the view", err)
	}
	return nil
}
