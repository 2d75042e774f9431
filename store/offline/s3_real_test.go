//go:build real

package offline

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/tallystick/tallystick/integration/servers"
)

// TestS3 holds the conformance against a real S3 server.
func TestS3(t *testing.T) {
	server, err := servers.StartS3(t.Context())
	servers.Check(t, err)
	t.Cleanup(server.Close)
	server.Setenv(t)
	var n atomic.Int64
	root := func(t *testing.T, opt RootOptions) *Root {
		t.Helper()
		r, err := OpenRoot(fmt.Sprintf("s3://%s/run/%d", server.Bucket, n.Add(1)), opt)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		return r
	}
	t.Run("conforms", func(t *testing.T) {
		conformance(t, func(t *testing.T) Store {
			s, err := root(t, RootOptions{Calls: NewCalls(0)}).store("v", "features")
			if err != nil {
				t.Fatal(err)
			}
			return s
		})
	})
}
