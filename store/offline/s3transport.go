package offline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// watchedTransport counts requests and spaces them, and ends those that stand
// still: a server that is gone without a word keeps its connections open.
type watchedTransport struct {
	base  http.RoundTripper
	calls *Calls
	stall time.Duration
}

var errStalled = fmt.Errorf("nothing came or went for a minute: %w", os.ErrDeadlineExceeded)

// RoundTrip implements http.RoundTripper.
func (t *watchedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := t.calls.take(req.Context(), requestKind(req)); err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	w := &watch{timer: time.AfterFunc(t.stall, func() { cancel(errStalled) }), stall: t.stall, ctx: ctx, cancel: cancel}
	req = req.Clone(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = &watchedBody{req.Body, w, false}
	}
	res, err := t.base.RoundTrip(req)
	if err != nil {
		err = w.told(err)
		w.end()
		return nil, err
	}
	w.moved()
	res.Body = &watchedBody{res.Body, w, true}
	return res, nil
}

// requestKind tells requests apart by their method and query: where the bucket is
// part of the host's name, the path does not tell.
func requestKind(req *http.Request) callKind {
	q := req.URL.Query()
	switch req.Method {
	case http.MethodGet:
		for _, about := range []string{"list-type", "uploads", "location"} {
			if q.Has(about) {
				return callList
			}
		}
		return callGet
	case http.MethodHead:
		return callHead
	case http.MethodDelete:
		return callDelete
	case http.MethodPost:
		if q.Has("delete") {
			return callDelete
		}
	}
	if req.Header.Get("X-Amz-Copy-Source") != "" {
		return callCopy
	}
	return callPut
}

// watch ends a request when nothing has moved for a while.
type watch struct {
	timer  *time.Timer
	stall  time.Duration
	ctx    context.Context
	cancel context.CancelCauseFunc
}

func (w *watch) moved() { w.timer.Reset(w.stall) }

func (w *watch) end() {
	w.timer.Stop()
	w.cancel(nil)
}

// told says that a request stood still, in the place of that it was cancelled.
func (w *watch) told(err error) error {
	if err != nil && err != io.EOF && errors.Is(context.Cause(w.ctx), errStalled) {
		return errStalled
	}
	return err
}

type watchedBody struct {
	io.ReadCloser
	w        *watch
	response bool // the request ends with it
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 && b.w.ctx.Err() == nil {
		b.w.moved()
	}
	return n, b.w.told(err)
}

func (b *watchedBody) Close() error {
	err := b.ReadCloser.Close()
	if b.response {
		b.w.end()
	}
	return err
}
