package offline

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/minio/minio-go/v7"
)

// abortTime is how long the parts of an upload that is given up are removed for.
const abortTime = 10 * time.Second

// s3Upload holds one part. A file of one part is put under its name at once; a
// larger one is put together under a name of its own, as an upload in parts must
// have one before the first byte, and copied.
type s3Upload struct {
	s     *S3
	ctx   context.Context // of Create: Write has none
	dir   string
	buf   *[]byte // nil once it is done
	key   string
	id    string // of the upload in parts, "" = none has begun
	parts []minio.CompletePart
	size  int64
}

// Create implements Store.
func (s *S3) Create(ctx context.Context, dir string) (Upload, error) {
	if _, err := s.key(dir); err != nil {
		return nil, err
	}
	return &s3Upload{s: s, ctx: ctx, dir: dir, buf: s.bucket.parts.Get().(*[]byte)}, nil
}

// Write implements Upload.
func (u *s3Upload) Write(p []byte) (n int, err error) {
	if u.buf == nil {
		return 0, fs.ErrClosed
	}
	for len(p) > 0 {
		if len(*u.buf) == partSize {
			if err := u.part(u.ctx); err != nil {
				return n, err
			}
		}
		m := min(len(p), partSize-len(*u.buf))
		*u.buf = append(*u.buf, p[:m]...)
		n, p = n+m, p[m:]
	}
	return n, nil
}

// part uploads what is held as the next part.
func (u *s3Upload) part(ctx context.Context) error {
	b := u.s.bucket
	if u.id == "" {
		key, err := u.s.key(u.dir + "/" + temporaryPrefix + rand.Text())
		if err != nil {
			return err
		}
		if u.id, err = b.core.NewMultipartUpload(ctx, b.name, key, minio.PutObjectOptions{}); err != nil {
			u.id = ""
			return b.told("upload", key, err)
		}
		u.key = key
	}
	sum := sha256.Sum256(*u.buf)
	p, err := b.core.PutObjectPart(ctx, b.name, u.key, u.id, len(u.parts)+1, bytes.NewReader(*u.buf), int64(len(*u.buf)),
		minio.PutObjectPartOptions{Sha256Hex: hex.EncodeToString(sum[:])})
	if err != nil {
		return b.told("upload", u.key, err)
	}
	u.parts = append(u.parts, minio.CompletePart{PartNumber: p.PartNumber, ETag: p.ETag})
	u.size += int64(len(*u.buf))
	*u.buf = (*u.buf)[:0]
	return nil
}

// Commit implements Upload.
func (u *s3Upload) Commit(ctx context.Context, name string) error {
	if u.buf == nil {
		return fs.ErrClosed
	}
	to, err := u.s.key(name)
	if err != nil {
		return err
	}
	if u.id == "" {
		err = u.s.bucket.told("put", name, u.s.put(ctx, to, *u.buf, minio.PutObjectOptions{}))
	} else {
		err = u.complete(ctx, to)
	}
	if err == nil {
		u.release()
	}
	return err
}

func (u *s3Upload) complete(ctx context.Context, to string) error {
	if len(*u.buf) > 0 {
		if err := u.part(ctx); err != nil {
			return err
		}
	}
	b := u.s.bucket
	_, err := b.core.CompleteMultipartUpload(ctx, b.name, u.key, u.id, u.parts, minio.PutObjectOptions{})
	if err = b.told("upload", u.key, err); errors.Is(err, fs.ErrNotExist) { // put together by an attempt whose answer was lost
		var o minio.ObjectInfo
		o, err = b.core.StatObject(ctx, b.name, u.key, minio.StatObjectOptions{})
		if err = b.told("upload", u.key, err); err == nil && o.Size != u.size {
			err = fmt.Errorf("object store %s: %s has %d bytes, %d were written", b.place, u.key, o.Size, u.size)
		}
	}
	if err != nil {
		return err
	}
	u.id = ""
	return u.s.move(ctx, u.key, to, u.key)
}

func (u *s3Upload) release() {
	*u.buf = (*u.buf)[:0]
	u.s.bucket.parts.Put(u.buf)
	u.buf = nil
}

// Abort implements Upload. What it cannot remove GC does.
func (u *s3Upload) Abort() {
	if u.buf == nil {
		return
	}
	u.release()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), abortTime)
	defer cancel()
	switch b := u.s.bucket; {
	case u.id != "":
		_ = b.core.AbortMultipartUpload(ctx, b.name, u.key, u.id)
	case u.key != "": // put together and not moved
		_ = u.s.remove(ctx, u.key)
	}
}

// AbortUploads gives up uploads in parts below a directory that began before an
// instant and that nobody has ended: they are not seen, but paid for. It returns how
// many.
func (s *S3) AbortUploads(ctx context.Context, dir string, before time.Time, dryRun bool) (n int64, err error) {
	below, err := s.below(dir)
	if err != nil {
		return 0, err
	}
	b := s.bucket
	for key, id := "", ""; ; {
		page, err := b.core.ListMultipartUploads(ctx, b.name, below, key, id, "", 1000)
		var r minio.ErrorResponse
		if errors.As(err, &r) && r.Code == "NotImplemented" {
			return n, nil // then nothing is known of such
		}
		if err != nil {
			return n, b.told("list uploads of", below, err)
		}
		for _, u := range page.Uploads {
			if !u.Initiated.Before(before) || len(u.Key) <= len(below) || u.Key[:len(below)] != below {
				continue
			}
			if !dryRun {
				err := b.told("abort", u.Key, b.core.AbortMultipartUpload(ctx, b.name, u.Key, u.UploadID))
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					return n, err
				}
			}
			n++
		}
		if !page.IsTruncated {
			return n, nil
		}
		key, id = page.NextKeyMarker, page.NextUploadIDMarker
	}
}
