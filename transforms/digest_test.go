package transforms_test

import (
	"bytes"
	"crypto/sha256"
	"testing"
)

func TestDigest(t *testing.T) {
	p := warm(t, 1_000_000)
	h := sha256.New()
	for _, s := range p.states {
		a, _ := p.v.Encode(s)
		h.Write(a)
		q, err := p.v.Parse(a, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := p.v.Encode(q)
		if !bytes.Equal(a, b) {
			t.Fatal("parse/encode")
		}
	}
	t.Logf("%x", h.Sum(nil))
}
