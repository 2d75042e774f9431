package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tallystick/tallystick/schemas/avro"
	"github.com/twmb/franz-go/pkg/sr"
)

// maxReferences bounds the schemas that one schema may refer to.
const maxReferences = 256

// Registry is a Resolver over a Schema Registry. What an id stands for never
// changes, so schemas found, usable or not, are kept for ever; an unknown id is
// asked for anew each time.
type Registry struct {
	client   *sr.Client
	where    string // URLs without user and password
	attempts int
	wait     time.Duration

	mu   sync.Mutex
	byID map[int]*lookup
}

// lookup is one id, asked for or known. done is closed when the rest is set.
type lookup struct {
	done   chan struct{}
	writer *Writer
	err    error
	gaveUp bool // the caller that asked did, not the registry
}

// Option adjusts FromRegistry.
type Option func(*settings)

type settings struct {
	client   *http.Client
	user     string
	password string
	token    string
	attempts int
	wait     time.Duration
}

// WithHTTPClient takes the place of a client with a timeout of 10 s, say for TLS.
func WithHTTPClient(c *http.Client) Option { return func(s *settings) { s.client = c } }

// WithBasicAuth sets user and password, which the URL may hold as well.
func WithBasicAuth(user, password string) Option {
	return func(s *settings) { s.user, s.password = user, password }
}

// WithBearerToken sets a token for the Authorization header.
func WithBearerToken(token string) Option { return func(s *settings) { s.token = token } }

// WithRetries sets how often a request is tried (default 4) and how long to wait
// after the first failure (default 200 ms), twice as long after each further one.
func WithRetries(attempts int, wait time.Duration) Option {
	return func(s *settings) { s.attempts, s.wait = attempts, wait }
}

// FromRegistry returns a resolver over the Schema Registry at a URL (http or
// https; several separated by commas are tried in turn). User and password in
// the URL are used and never shown. Nothing is asked before the first Writer.
func FromRegistry(addresses string, opts ...Option) (*Registry, error) {
	s := settings{client: &http.Client{Timeout: 10 * time.Second}, attempts: 4, wait: 200 * time.Millisecond}
	var urls []string
	for address := range strings.SplitSeq(addresses, ",") {
		u, err := url.Parse(strings.TrimSpace(address))
		// The error and the text may hold a password: neither is shown.
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, errors.New("schema registry: the address is not a URL such as http://localhost:8081 or https://user:password@registry.example.com")
		}
		if u.RawQuery != "" || u.Fragment != "" {
			return nil, fmt.Errorf("schema registry %s://%s: the URL has a query or fragment; give no more than a path", u.Scheme, u.Host)
		}
		if u.User != nil {
			s.user = u.User.Username()
			s.password, _ = u.User.Password()
			u.User = nil
		}
		urls = append(urls, u.String())
	}
	for _, o := range opts {
		o(&s)
	}
	bounded := *s.client
	bounded.Transport = boundedTransport{cmp.Or(bounded.Transport, http.DefaultTransport)}
	conf := []sr.ClientOpt{sr.URLs(urls...), sr.HTTPClient(&bounded), sr.UserAgent("tallystick")}
	if s.user != "" || s.password != "" {
		conf = append(conf, sr.BasicAuth(s.user, s.password))
	}
	if s.token != "" {
		conf = append(conf, sr.BearerToken(s.token))
	}
	client, err := sr.NewClient(conf...)
	if err != nil {
		return nil, fmt.Errorf("schema registry %s: %w", strings.Join(urls, ","), err)
	}
	return &Registry{client: client, where: strings.Join(urls, ","), attempts: max(1, s.attempts), wait: s.wait, byID: map[int]*lookup{}}, nil
}

// boundedTransport cuts responses off: franz-go reads them whole (S3).
type boundedTransport struct{ http.RoundTripper }

func (t boundedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(req)
	if err == nil {
		// JSON may escape each byte of a schema as two.
		resp.Body = limitedBody{io.LimitReader(resp.Body, 3*avro.MaxSchemaBytes), resp.Body}
	}
	return resp, err
}

type limitedBody struct {
	io.Reader
	io.Closer
}

// Writer implements Resolver. Callers that ask for one id at once share one
// request; if it ends because its caller gave up, another takes over.
func (r *Registry) Writer(ctx context.Context, id int) (*Writer, error) {
	for {
		r.mu.Lock()
		l := r.byID[id]
		if l == nil {
			l = &lookup{done: make(chan struct{})}
			r.byID[id] = l
			r.mu.Unlock()
			return r.lead(ctx, id, l)
		}
		r.mu.Unlock()
		select {
		case <-l.done:
		case <-ctx.Done():
			return nil, fmt.Errorf("schema registry %s, schema id %d: %w", r.where, id, ctx.Err())
		}
		if !l.gaveUp {
			return l.writer, l.err
		}
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("schema registry %s, schema id %d: %w", r.where, id, err)
		}
	}
}

func (r *Registry) lead(ctx context.Context, id int, l *lookup) (*Writer, error) {
	l.err = fmt.Errorf("schema registry %s, schema id %d: the request did not end", r.where, id) // should fetch panic
	defer func() {
		l.gaveUp = l.err != nil && ctx.Err() != nil
		if l.err != nil && !errors.Is(l.err, ErrUnusable) {
			r.mu.Lock()
			delete(r.byID, id)
			r.mu.Unlock()
		}
		close(l.done)
	}()
	l.writer, l.err = r.fetch(ctx, id)
	return l.writer, l.err
}

func (r *Registry) fetch(ctx context.Context, id int) (*Writer, error) {
	var found sr.Schema
	err := r.retry(ctx, func() (err error) {
		found, err = r.client.SchemaByID(ctx, id)
		return err
	})
	if missing(err) {
		return nil, &IDError{ID: id, Where: r.where, Kind: ErrUnknownID, Hint: "was the record written with another Schema Registry?"}
	}
	if err != nil {
		return nil, r.transient(id, err)
	}
	unusable := func(cause error) error {
		return &IDError{ID: id, Where: r.where, Kind: ErrUnusable, Cause: cause}
	}
	if found.Type != sr.TypeAvro {
		return nil, unusable(fmt.Errorf("its type is %s; Tallystick reads Avro", found.Type))
	}
	types := &avro.Types{}
	if err := r.references(ctx, id, types, found.References, map[string]bool{}); err != nil {
		return nil, err
	}
	schema, err := types.ParseAny(fmt.Sprintf("schema id %d", id), []byte(found.Schema))
	if err != nil {
		return nil, unusable(err)
	}
	name, err := r.name(ctx, id)
	if err != nil {
		return nil, r.transient(id, err)
	}
	return &Writer{ID: id, Name: cmp.Or(name, schema.FullName(), fmt.Sprintf("id %d", id)), Schema: schema}, nil
}

// references adds the types that a schema refers to, innermost first. seen holds
// false while a schema's own references are added.
func (r *Registry) references(ctx context.Context, id int, types *avro.Types, refs []sr.SchemaReference, seen map[string]bool) error {
	unusable := func(cause error) error {
		return &IDError{ID: id, Where: r.where, Kind: ErrUnusable, Cause: cause}
	}
	for _, ref := range refs {
		key := fmt.Sprintf("%s@%d", ref.Subject, ref.Version)
		if done, known := seen[key]; known && done {
			continue
		} else if known {
			return unusable(fmt.Errorf("its references run in a circle through %s", key))
		}
		if len(seen) == maxReferences {
			return unusable(fmt.Errorf("it refers to more than %d schemas", maxReferences))
		}
		seen[key] = false
		var found sr.SubjectSchema
		err := r.retry(ctx, func() (err error) {
			// Deleted softly, a version still belongs to the schemas that name it.
			found, err = r.client.SchemaByVersion(sr.WithParams(ctx, sr.ShowDeleted), ref.Subject, ref.Version)
			return err
		})
		if missing(err) {
			return unusable(fmt.Errorf("it refers to %s, which the registry does not have", key))
		}
		if err != nil {
			return r.transient(id, err)
		}
		if err := r.references(ctx, id, types, found.References, seen); err != nil {
			return err
		}
		if err := types.Add(key, []byte(found.Schema.Schema)); err != nil {
			return unusable(err)
		}
		seen[key] = true
	}
	return nil
}

// name returns "subject@version", the first in order, or "" where the registry
// knows none.
func (r *Registry) name(ctx context.Context, id int) (string, error) {
	var uses []sr.SubjectVersion
	err := r.retry(ctx, func() (err error) {
		uses, err = r.client.SchemaVersionsByID(ctx, id)
		return err
	})
	var resp *sr.ResponseError
	if errors.As(err, &resp) && resp.StatusCode == http.StatusNotFound {
		return "", nil // registries before 5.5 do not have the request
	}
	if err != nil || len(uses) == 0 {
		return "", err
	}
	first := slices.MinFunc(uses, func(a, b sr.SubjectVersion) int {
		return cmp.Or(strings.Compare(a.Subject, b.Subject), cmp.Compare(a.Version, b.Version))
	})
	return fmt.Sprintf("%s@%d", first.Subject, first.Version), nil
}

// missing tells whether a registry says that there is no such schema, subject
// or version. A 404 without such a code comes from something else, a wrong URL
// or a proxy, and must not condemn records.
func missing(err error) bool {
	var resp *sr.ResponseError
	return errors.As(err, &resp) && resp.StatusCode == http.StatusNotFound && resp.ErrorCode >= 40401 && resp.ErrorCode <= 40403
}

func (r *Registry) transient(id int, err error) error {
	hint := ""
	var resp *sr.ResponseError
	var get *url.Error // says the address once more
	switch {
	case errors.As(err, &get):
		err, hint = get.Err, "; is the registry there, and this its address?"
	case errors.As(err, &resp):
		switch resp.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden:
			hint = "; give a user and password, or a token, that may read schemas"
		case http.StatusNotFound:
			hint = "; is this the URL of a Schema Registry?"
		}
		short := *resp // what answers may be a page of HTML
		short.Raw, short.Message = short.Raw[:min(len(short.Raw), 200)], short.Message[:min(len(short.Message), 200)]
		err = fmt.Errorf("HTTP status %d: %w", resp.StatusCode, &short)
		if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
			err = fmt.Errorf("%w: %w", ErrDenied, err)
		}
	}
	return fmt.Errorf("schema registry %s, schema id %d: %w%s", r.where, id, err, hint)
}

// retry calls once again what failed for a reason that may pass.
func (r *Registry) retry(ctx context.Context, call func() error) error {
	wait := r.wait
	for attempt := 1; ; attempt++ {
		err := call()
		if err == nil || attempt >= r.attempts || !passing(err) || ctx.Err() != nil {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		wait *= 2
	}
}

func passing(err error) bool {
	var resp *sr.ResponseError
	if !errors.As(err, &resp) {
		return true // no answer, or not one from a registry
	}
	return resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusRequestTimeout
}
