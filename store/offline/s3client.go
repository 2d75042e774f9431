package offline

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"
)

// How patient a client of an object store is.
const (
	s3Attempts = 6                // of one call, with 0.2 s to 1 s between them, in which the library draws lots
	s3Dial     = 5 * time.Second  // for a connection
	s3Stall    = 60 * time.Second // without a byte either way
	s3Idle     = 60 * time.Second // a connection is kept
)

// partSize is the size in bytes of the parts of an upload, of which one is held: an
// object may have 10,000, so that files up to 80 GB can be written.
const partSize = 8 << 20

// bucket is one bucket and how its server is reached.
type bucket struct {
	name    string
	place   string // for messages
	core    minio.Core
	creds   *credentials.Credentials
	base    *http.Transport
	scratch string
	parts   sync.Pool // *[]byte of partSize
	// attempts are how often a call is tried.
	attempts int

	mu          sync.Mutex
	conditional bool // If-None-Match is known to be heeded
}

// openBucket goes by the variables that the tools of AWS go by.
func openBucket(name string, opt RootOptions) (*bucket, error) {
	if err := s3utils.CheckValidBucketNameStrict(name); err != nil {
		return nil, fmt.Errorf("%q is no name of a bucket: %w", name, err)
	}
	host, secure, place, err := endpoint()
	if err != nil {
		return nil, err
	}
	base, err := newTransport()
	if err != nil {
		return nil, err
	}
	b := &bucket{name: name, place: fmt.Sprintf("s3://%s at %s", name, place), base: base, scratch: opt.Scratch, creds: credentialsChain(), attempts: cmp.Or(opt.attempts, s3Attempts),
		parts: sync.Pool{New: func() any { return new(make([]byte, 0, partSize)) }}}
	region := cmp.Or(os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"))
	if region == "" && !s3utils.IsAmazonEndpoint(url.URL{Host: host}) {
		region = "us-east-1" // which servers of one region go by; AWS is asked
	}
	core, err := minio.NewCore(host, &minio.Options{Creds: b.creds, Secure: secure, Region: region, MaxRetries: b.attempts,
		Transport: &watchedTransport{base, opt.Calls, s3Stall}})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.place, err)
	}
	b.core = *core
	return b, nil
}

func (b *bucket) close() { b.base.CloseIdleConnections() }

// endpoint returns the server that the environment names, that of AWS by default,
// and how it is told.
func endpoint() (host string, secure bool, place string, err error) {
	text := cmp.Or(os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL"))
	if text == "" {
		return "s3.amazonaws.com", true, "AWS", nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", false, "", errors.New("AWS_ENDPOINT_URL_S3, or AWS_ENDPOINT_URL, is no address of a server: write http://HOST:PORT or https://HOST:PORT, and nothing else")
	}
	return u.Host, u.Scheme == "https", u.Scheme + "://" + u.Host, nil
}

// credentialsChain takes the environment's credentials, those of the shared file,
// or those that the machine's role gives.
func credentialsChain() *credentials.Credentials {
	chain := []credentials.Provider{&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}}
	if !strings.EqualFold(os.Getenv("AWS_EC2_METADATA_DISABLED"), "true") {
		chain = append(chain, &credentials.IAM{Client: &http.Client{Timeout: s3Dial, Transport: http.DefaultTransport}})
	}
	return credentials.NewChainCredentials(chain)
}

func newTransport() (*http.Transport, error) {
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: s3Dial, KeepAlive: 30 * time.Second}).DialContext,
		MaxIdleConns: 2 * syncing, MaxIdleConnsPerHost: 2 * syncing, IdleConnTimeout: s3Idle, TLSHandshakeTimeout: s3Dial,
		ExpectContinueTimeout: time.Second, DisableCompression: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	file := os.Getenv("AWS_CA_BUNDLE")
	if file == "" {
		return t, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("AWS_CA_BUNDLE: %w", err)
	}
	t.TLSClientConfig.RootCAs = x509.NewCertPool()
	if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("AWS_CA_BUNDLE: %s holds no certificate in PEM", file)
	}
	return t, nil
}
