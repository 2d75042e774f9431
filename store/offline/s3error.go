package offline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/tallystick/tallystick/store/dial"
)

// Fault is why an object store does not do what it is asked for.
type Fault string

// The faults.
const (
	Unreachable Fault = "cannot be reached"
	Denied      Fault = "denies access"
	NoBucket    Fault = "does not exist"
	Busy        Fault = "does not serve at present"
	// Unconditional stores overwrite what must not be: two jobs could both win (B2).
	Unconditional Fault = "does not heed If-None-Match, by which jobs that publish at once are told apart"
)

var faultHints = map[Fault]string{
	Unreachable:   "check AWS_ENDPOINT_URL and the network, then run the command again",
	Denied:        "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and what the bucket's policy allows this user",
	NoBucket:      "create the bucket, or name another",
	Busy:          "run the command again later; --store-rate asks less of it",
	Unconditional: "take a store that does, or a local directory",
}

// StoreError says that an object store did not do what it was asked for, after
// the attempts that were worth making. It holds no secret.
type StoreError struct {
	Place string // bucket and server
	Fault Fault
	Err   error // nil = the fault says all
	// Anonymous: no credentials were found.
	Anonymous bool
}

func (e *StoreError) Error() string {
	text := fmt.Sprintf("object store %s %s", e.Place, e.Fault)
	if e.Err != nil {
		text += fmt.Sprintf(" (%v)", e.Err)
	}
	if e.Anonymous {
		return text + ": no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
	}
	return text + ": " + faultHints[e.Fault]
}

func (e *StoreError) Unwrap() error { return e.Err }

// told puts what the library says into our words: fs.ErrNotExist and fs.ErrExist
// of a file, or a *StoreError.
func (b *bucket) told(op, name string, err error) error {
	if err == nil {
		return nil
	}
	var r minio.ErrorResponse
	if !errors.As(err, &r) {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		return &StoreError{Place: b.place, Fault: Unreachable, Err: dial.Reason(err)}
	}
	because := errors.New(r.Code)
	if r.Message != "" {
		because = fmt.Errorf("%s: %s", r.Code, r.Message)
	}
	switch r.Code {
	case minio.NoSuchKey, minio.NoSuchUpload:
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	case minio.PreconditionFailed:
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrExist}
	case minio.NoSuchBucket:
		return &StoreError{Place: b.place, Fault: NoBucket}
	case "ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed": // with whatever status
		return b.denied(because)
	}
	switch {
	case r.StatusCode == http.StatusUnauthorized, r.StatusCode == http.StatusForbidden:
		return b.denied(because)
	case r.StatusCode == http.StatusTooManyRequests, r.StatusCode >= 500, r.Code == "SlowDown":
		return &StoreError{Place: b.place, Fault: Busy, Err: because}
	}
	return fmt.Errorf("object store %s: %s %s: %w", b.place, op, name, because)
}

func (b *bucket) denied(because error) error {
	v, err := b.creds.GetWithContext(b.core.CredContext())
	return &StoreError{Place: b.place, Fault: Denied, Err: because, Anonymous: err == nil && v.SignerType == credentials.SignatureAnonymous}
}
