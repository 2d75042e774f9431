package online

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"

	"github.com/tallystick/tallystick/store/dial"
	"github.com/tallystick/tallystick/transforms/marker"
)

// PolicyError says that a server may throw keys away when its memory is full, or
// does not tell ("") (O3).
type PolicyError struct {
	Addr   string
	Policy string
}

func (e *PolicyError) Error() string {
	if e.Policy == "" {
		return fmt.Sprintf("Redis at %s does not tell its maxmemory-policy, neither by INFO nor by CONFIG GET: allow this user one of them (in an ACL +info or +config|get)", e.Addr)
	}
	return fmt.Sprintf("Redis at %s has maxmemory-policy %s and would throw features away when its memory is full; set it: CONFIG SET maxmemory-policy noeviction, and in redis.conf", e.Addr, e.Policy)
}

const loginHint = "check --redis-username and TALLYSTICK_REDIS_PASSWORD or --redis-password-file"

// UnreachableError says that a server does not answer, or lets nobody in.
type UnreachableError struct {
	Addr string
	TLS  bool // was spoken
	Err  error
}

func (e *UnreachableError) Error() string {
	reason, hint := dial.Reason(e.Err), "check --redis"
	switch c := code(e.Err); {
	case c == "NOAUTH", c == "WRONGPASS", c == "NOPERM":
		hint = loginHint
	case dial.IsTLS(e.Err):
		hint = "check --redis-tls, --redis-ca and --redis-cert"
	case errors.Is(e.Err, io.EOF), errors.Is(e.Err, syscall.ECONNRESET):
		reason, hint = errors.New("it closes the connection at once, as if one side spoke TLS and the other did not"), "check --redis-tls"
	case e.TLS: // a server without TLS waits for the end of a line
		hint = "check --redis, and whether it speaks TLS there"
	}
	return fmt.Sprintf("cannot reach Redis at %s: %s; %s", e.Addr, strings.TrimSuffix(reason.Error(), "."), hint)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// NotServedError says that nothing of a view and fingerprint is in the store.
type NotServedError struct {
	View, Fingerprint string
}

func (e *NotServedError) Error() string {
	return fmt.Sprintf("view %s, fingerprint %s, is not in the online store; fill it with `tallystick stream`", e.View, e.Fingerprint)
}

// LiveError says that readers use the fingerprint that was to be dropped.
type LiveError struct {
	View, Fingerprint string
}

func (e *LiveError) Error() string {
	return fmt.Sprintf("readers of view %s use fingerprint %s: make another one live first, with `tallystick live`", e.View, e.Fingerprint)
}

// dropHint is what heals keys that hold what they should not.
const dropHint = "remove the view's states with `tallystick drop`, then `tallystick stream` folds it anew"

// KeyError says that a key holds what this package does not write there.
type KeyError struct {
	Key string
	Err error
}

func (e *KeyError) Error() string {
	if errors.Is(e.Err, ErrForeign) {
		return fmt.Sprintf("redis key %q: %v", e.Key, e.Err)
	}
	return fmt.Sprintf("redis key %q: %v; %s", e.Key, e.Err, dropHint)
}

func (e *KeyError) Unwrap() error { return e.Err }

// passing are the error codes of Redis that pass by themselves: nothing was done.
var passing = []string{"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK", "BUSY", "MISCONF", "NOREPLICAS"}

// code returns the first word of an error that Redis replied with, "" for other
// errors. Redis tells its errors apart by nothing else.
func code(err error) string {
	var re redis.Error
	if !errors.As(err, &re) || errors.Is(err, redis.Nil) {
		return ""
	}
	word, _, _ := strings.Cut(re.Error(), " ")
	return word
}

// unavailable gives a read or a write that was not done its error.
func unavailable(what string, err error) error {
	if c := code(err); c != "" && !isPassing(c) {
		return fmt.Errorf("%s: %w%s", what, err, advice(err))
	}
	return fmt.Errorf("%w: %s: %w", marker.ErrUnavailable, what, err)
}

// advice is what to do about a reply that does not pass by itself.
func advice(err error) string {
	switch text := err.Error(); {
	case strings.Contains(text, "NOPERM"): // also behind EXECABORT
		return "; its ACL must allow this user the commands and keys that docs/operations.md lists"
	case strings.Contains(text, "NOAUTH"), strings.Contains(text, "WRONGPASS"):
		return "; " + loginHint
	case strings.Contains(text, "WRONGTYPE"):
		return "; " + dropHint
	}
	return ""
}

func isPassing(c string) bool { return slices.Contains(passing, c) }

// outcome gives what became of an EXEC its error.
func outcome(cmds []redis.Cmder, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, redis.TxFailedErr):
		return marker.ErrMoved
	case code(err) == "":
		return fmt.Errorf("%w: %w", marker.ErrUnknown, err)
	}
	// Redis replied. EXECABORT means that nothing was done; why, stands in the
	// reply of the command it refused to queue, or behind EXECABORT itself.
	for _, c := range cmds {
		if code(c.Err()) != "" && code(c.Err()) != "EXECABORT" {
			err = fmt.Errorf("%w (%w)", err, c.Err())
			if c := code(c.Err()); isPassing(c) {
				return fmt.Errorf("%w: %w", marker.ErrUnavailable, err)
			}
			break
		}
	}
	switch {
	case strings.Contains(err.Error(), "OOM command not allowed"):
		return fmt.Errorf("%w: %w", marker.ErrFull, err)
	case isPassing(code(err)):
		return fmt.Errorf("%w: %w", marker.ErrUnavailable, err)
	}
	return fmt.Errorf("redis refused a write: %w%s", err, advice(err))
}
