package offline

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/tallystick/tallystick/store/files"
)

// S3 is a Store of objects whose keys begin with a prefix. It needs of its server:
// reads that see what was written before, and If-None-Match of a PUT.
type S3 struct {
	bucket *bucket
	prefix string
}

func (s *S3) key(name string) (string, error) {
	if !fs.ValidPath(name) {
		return "", fmt.Errorf("%q is no path within a table", name)
	}
	return path.Join(s.prefix, name), nil
}

// Read implements Store.
func (s *S3) Read(ctx context.Context, name string) ([]byte, error) {
	var b bytes.Buffer
	_, err := s.download(ctx, name, &b)
	return b.Bytes(), err
}

// PutIfAbsent implements Store: If-None-Match lets one of those win who put at once.
func (s *S3) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	if err := s.heeds(ctx); err != nil {
		return err
	}
	return s.putIfAbsent(ctx, name, data)
}

func (s *S3) putIfAbsent(ctx context.Context, name string, data []byte) error {
	key, err := s.key(name)
	if err != nil {
		return err
	}
	var opt minio.PutObjectOptions
	opt.SetMatchETagExcept("*")
	for attempt := 0; ; attempt++ {
		err = s.put(ctx, key, data, opt)
		var r minio.ErrorResponse
		if !errors.As(err, &r) || r.StatusCode != http.StatusConflict || attempt >= s.bucket.attempts { // AWS: another put of the name is under way
			return s.bucket.told("put", name, err)
		}
		if err := pause(ctx, attempt); err != nil {
			return err
		}
	}
}

// put puts an object in one request.
func (s *S3) put(ctx context.Context, key string, data []byte, opt minio.PutObjectOptions) error {
	sum := sha256.Sum256(data)
	_, err := s.bucket.core.PutObject(ctx, s.bucket.name, key, bytes.NewReader(data), int64(len(data)), "", hex.EncodeToString(sum[:]), opt)
	return err
}

// heeds tries once whether the server heeds If-None-Match: one that does not would
// let two jobs overwrite each other's commits.
func (s *S3) heeds(ctx context.Context) error {
	s.bucket.mu.Lock()
	defer s.bucket.mu.Unlock()
	if s.bucket.conditional {
		return nil
	}
	name := staging + "/probe-" + rand.Text()
	if err := s.putIfAbsent(ctx, name, nil); err != nil {
		return err
	}
	switch err := s.putIfAbsent(ctx, name, nil); {
	case err == nil:
		return errors.Join(&StoreError{Place: s.bucket.place, Fault: Unconditional}, s.Remove(ctx, name))
	case !errors.Is(err, fs.ErrExist):
		return err
	}
	s.bucket.conditional = true
	return s.Remove(ctx, name)
}

// pause waits before another attempt.
func pause(ctx context.Context, attempt int) error {
	t := time.NewTimer(200 * time.Millisecond << min(attempt, 3))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Move implements Store. An object store has no renames: the server copies.
func (s *S3) Move(ctx context.Context, from, to string) error {
	a, err := s.key(from)
	if err != nil {
		return err
	}
	b, err := s.key(to)
	if err != nil {
		return err
	}
	return s.move(ctx, a, b, from)
}

// Touch implements Store. An object cannot be copied onto itself on all servers, and stays
// as old as it was on some that can: it is copied aside and back.
func (s *S3) Touch(ctx context.Context, name string) error {
	key, err := s.key(name)
	if err != nil {
		return err
	}
	aside, err := s.key(staging + "/" + temporaryPrefix + rand.Text())
	if err != nil {
		return err
	}
	if err := s.copy(ctx, key, aside, name); err != nil {
		return err
	}
	return s.move(ctx, aside, key, name)
}

func (s *S3) move(ctx context.Context, a, b, from string) error {
	if err := s.copy(ctx, a, b, from); err != nil {
		return err
	}
	return s.remove(ctx, a)
}

func (s *S3) copy(ctx context.Context, a, b, from string) error {
	src, dst := minio.CopySrcOptions{Bucket: s.bucket.name, Object: a}, minio.CopyDestOptions{Bucket: s.bucket.name, Object: b}
	_, err := s.bucket.core.Client.CopyObject(ctx, dst, src)
	if tooLarge(err) {
		_, err = s.bucket.core.ComposeObject(ctx, dst, src) // part by part
	}
	return s.bucket.told("copy", from, err)
}

// tooLarge tells whether an object is beyond the 5 GiB that one request copies.
func tooLarge(err error) bool {
	var r minio.ErrorResponse
	return errors.As(err, &r) && (r.Code == "EntityTooLarge" || r.Code == "InvalidRequest" && strings.Contains(r.Message, "larger than"))
}

// Sync implements Store: what a server has taken is durable.
func (s *S3) Sync(context.Context, []string) error { return nil }

// Stat implements Store.
func (s *S3) Stat(ctx context.Context, name string) (Entry, error) {
	key, err := s.key(name)
	if err != nil {
		return Entry{}, err
	}
	o, err := s.bucket.core.StatObject(ctx, s.bucket.name, key, minio.StatObjectOptions{})
	if err != nil {
		return Entry{}, s.bucket.told("stat", name, err)
	}
	return Entry{Name: path.Base(name), Size: o.Size, Modified: o.LastModified, Tag: o.ETag}, nil
}

// List implements Store.
func (s *S3) List(ctx context.Context, dir string) ([]Entry, error) {
	below, err := s.below(dir)
	if err != nil {
		return nil, err
	}
	var out []Entry
	err = s.each(ctx, below, false, func(o *minio.ObjectInfo) error {
		name, isDir := strings.CutSuffix(strings.TrimPrefix(o.Key, below), "/")
		if name != "" {
			out = append(out, Entry{Name: name, Dir: isDir, Size: o.Size, Modified: o.LastModified})
		}
		return nil
	})
	slices.SortFunc(out, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return out, err
}

// below is what the keys of a directory begin with.
func (s *S3) below(dir string) (string, error) {
	key, err := s.key(dir)
	if err != nil || key == "" || key == "." {
		return "", err
	}
	return key + "/", nil
}

// each calls fn with the objects whose keys begin with a prefix.
func (s *S3) each(ctx context.Context, prefix string, deep bool, fn func(*minio.ObjectInfo) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for o := range s.bucket.core.Client.ListObjectsIter(ctx, s.bucket.name, minio.ListObjectsOptions{Prefix: prefix, Recursive: deep}) {
		if o.Err != nil {
			return s.bucket.told("list", prefix, o.Err)
		}
		if err := fn(&o); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Remove implements Store.
func (s *S3) Remove(ctx context.Context, name string) error {
	key, err := s.key(name)
	if err != nil {
		return err
	}
	return s.remove(ctx, key)
}

func (s *S3) remove(ctx context.Context, key string) error {
	err := s.bucket.told("remove", key, s.bucket.core.RemoveObject(ctx, s.bucket.name, key, minio.RemoveObjectOptions{}))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// RemoveAll implements Store.
func (s *S3) RemoveAll(ctx context.Context, name string) error {
	below, err := s.below(name)
	if err != nil {
		return err
	}
	if err := s.each(ctx, below, true, func(o *minio.ObjectInfo) error { return s.remove(ctx, o.Key) }); err != nil {
		return err
	}
	return s.Remove(ctx, name)
}

// String returns the URL.
func (s *S3) String() string { return "s3://" + path.Join(s.bucket.name, s.prefix) }

// Open implements Store. It fetches the object once, into a file without a name:
// a Parquet file is read in thousands of small pieces, each of which would be a
// request.
func (s *S3) Open(ctx context.Context, name string) (_ Blob, err error) {
	defer func() { err = files.Told(err) }()
	f, err := os.CreateTemp(s.bucket.scratch, "tallystick-object-")
	if err != nil {
		return nil, err
	}
	b := &scratchBlob{localBlob{File: f}}
	defer func() {
		if err != nil {
			b.Close()
		}
	}()
	b.unnamed()
	if b.size, err = s.download(ctx, name, f); err != nil {
		return nil, err
	}
	return b, nil
}

// download writes an object, and goes on where a connection breaks.
func (s *S3) download(ctx context.Context, name string, w io.Writer) (at int64, err error) {
	key, err := s.key(name)
	if err != nil {
		return 0, err
	}
	etag := ""
	for attempt := 0; ; attempt++ {
		var opt minio.GetObjectOptions
		if at > 0 {
			if err := errors.Join(opt.SetRange(at, 0), opt.SetMatchETag(etag)); err != nil {
				return at, err
			}
		}
		body, info, _, err := s.bucket.core.GetObject(ctx, s.bucket.name, key, opt)
		if err != nil {
			return at, s.bucket.told("get", name, err)
		}
		etag = info.ETag
		out := &outWriter{w: w}
		n, err := io.Copy(out, body)
		body.Close()
		at += n
		switch {
		case err == nil && n == info.Size:
			return at, nil
		case out.err != nil:
			return at, out.err
		case ctx.Err() != nil:
			return at, ctx.Err()
		case err == nil:
			err = io.ErrUnexpectedEOF
		}
		if n > 0 {
			attempt = 0 // it moves
		} else if attempt >= s.bucket.attempts {
			return at, s.bucket.told("get", name, err)
		}
		if err := pause(ctx, attempt); err != nil {
			return at, err
		}
	}
}

// outWriter keeps the writer's own errors apart from the connection's.
type outWriter struct {
	w   io.Writer
	err error
}

func (o *outWriter) Write(p []byte) (n int, err error) {
	n, o.err = o.w.Write(p)
	return n, o.err
}
