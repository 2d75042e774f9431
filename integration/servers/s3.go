//go:build real

package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// gatewayVersion is that of versitygw, an S3 server over a directory.
const gatewayVersion = "v1.8.0"

// S3 is an object store with one bucket.
type S3 struct {
	*Process
	Endpoint string // http://127.0.0.1:PORT
	Bucket   string
	Key      string // access key
	Secret   string
	client   *minio.Client
	close    []func()
}

// Env is the environment of those who use it.
func (s *S3) Env() map[string]string {
	return map[string]string{"AWS_ENDPOINT_URL": s.Endpoint, "AWS_ENDPOINT_URL_S3": "", "AWS_ACCESS_KEY_ID": s.Key, "AWS_SECRET_ACCESS_KEY": s.Secret, "AWS_SESSION_TOKEN": "",
		"AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CA_BUNDLE": ""}
}

// Setenv makes it the store that this test's S3 URLs name.
func (s *S3) Setenv(t *testing.T) {
	for k, v := range s.Env() {
		t.Setenv(k, v)
	}
}

// Keys returns the keys that begin with a prefix.
func (s *S3) Keys(ctx context.Context, prefix string) (keys []string, err error) {
	for o := range s.client.ListObjectsIter(ctx, s.Bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
		if o.Err != nil {
			return nil, o.Err
		}
		keys = append(keys, o.Key)
	}
	return keys, nil
}

// Get returns an object.
func (s *S3) Get(ctx context.Context, key string) ([]byte, error) {
	o, err := s.client.GetObject(ctx, s.Bucket, key, minio.GetObjectOptions{})
	if err != nil {
		return nil, err
	}
	defer o.Close()
	return io.ReadAll(o)
}

// Put makes b an object.
func (s *S3) Put(ctx context.Context, key string, b []byte) error {
	_, err := s.client.PutObject(ctx, s.Bucket, key, bytes.NewReader(b), int64(len(b)), minio.PutObjectOptions{})
	return err
}

// Remove takes an object out of the bucket.
func (s *S3) Remove(ctx context.Context, key string) error {
	return s.client.RemoveObject(ctx, s.Bucket, key, minio.RemoveObjectOptions{})
}

// Close ends what was started.
func (s *S3) Close() {
	for _, f := range s.close {
		f()
	}
}

// StartS3 starts versitygw, which Go builds once into the user's cache directory.
func StartS3(ctx context.Context) (*S3, error) {
	ctx, cancel := context.WithTimeout(ctx, 4*startTime) // it builds for two minutes of a processor
	defer cancel()
	binary, err := gateway(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "tallystick-s3-")
	if err != nil {
		return nil, err
	}
	s := &S3{Bucket: "tables", Key: "test", Secret: "testsecret", close: []func(){func() { os.RemoveAll(dir) }}}
	if err := s.begin(ctx, binary, dir); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *S3) begin(ctx context.Context, binary, dir string) error {
	files := filepath.Join(dir, "files")
	if err := os.Mkdir(files, 0o755); err != nil {
		return err
	}
	ports, err := freePorts(1)
	if err != nil {
		return err
	}
	addr := local(ports[0])
	s.Endpoint = "http://" + addr
	s.Process = newProcess(dir, "versitygw", "env", "ROOT_ACCESS_KEY="+s.Key, "ROOT_SECRET_KEY="+s.Secret, binary, "--port", addr, "posix", files)
	if s.client, err = minio.New(addr, &minio.Options{Creds: credentials.NewStaticV4(s.Key, s.Secret, ""), Region: "us-east-1", MaxRetries: 1,
		Transport: &http.Transport{DialContext: dialLoopback}}); err != nil {
		return err
	}
	s.close = append([]func(){s.Kill}, s.close...)
	if err := s.start(); err != nil {
		return err
	}
	return s.ready(ctx, func(ctx context.Context) error {
		err := s.client.MakeBucket(ctx, s.Bucket, minio.MakeBucketOptions{})
		if r, ok := errors.AsType[minio.ErrorResponse](err); ok && r.Code == "BucketAlreadyOwnedByYou" {
			return nil
		}
		return err
	})
}

// gateway returns the binary, built where it is not there yet.
func gateway(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "tallystick-test", "versitygw-"+gatewayVersion)
	binary := filepath.Join(dir, "versitygw")
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	if _, err := exec.LookPath("go"); err != nil {
		return "", &MissingError{"S3", errors.New("no go on PATH, which builds versitygw")}
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "build-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	cmd := exec.CommandContext(ctx, "go", "install", "github.com/versity/versitygw/cmd/versitygw@"+gatewayVersion)
	cmd.Dir, cmd.Env = tmp, append(os.Environ(), "GOBIN="+filepath.Join(tmp, "bin"), "GOFLAGS=")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return "", &MissingError{"S3", fmt.Errorf("versitygw %s cannot be built: %w: %s", gatewayVersion, err, strings.TrimSpace(out.String()))}
	}
	if err := os.Rename(filepath.Join(tmp, "bin"), dir); err != nil {
		if _, there := os.Stat(binary); there != nil { // else another test run was first
			return "", err
		}
	}
	return binary, nil
}
