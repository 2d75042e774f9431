package dial

import "testing"

func TestIsHostPort(t *testing.T) {
	for addr, want := range map[string]bool{
		"localhost:6379": true, "127.0.0.1:1": true, "[::1]:9092": true, "h:65535": true,
		"": false, "localhost": false, "h:": false, "h:0": false, "h:65536": false, "h:-1": false, "h:http": false, "::1:9092": false,
	} {
		if got := IsHostPort(addr); got != want {
			t.Errorf("IsHostPort(%q) = %v", addr, got)
		}
	}
}
