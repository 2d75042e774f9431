package integration

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"
	"testing"

	"github.com/tallystick/tallystick/transforms"
)

// TestHostile: bytes that Encode would not write give a typed error, also when
// their checksum is right; whatever parses is written as it was read, and can be
// read and stepped without a panic (S3, V11).
func TestHostile(t *testing.T) {
	eachSeed(t, func(seed uint64) error {
		if seed%8 != 0 && *seedFlag < 0 {
			return nil
		}
		s := newScenario(t, seed, nil)
		s.generate(records)
		f := newFold(s)
		for _, p := range s.order[:len(s.order)*2/3] {
			f.step(p)
		}
		for _, k := range f.keys() {
			p := s.view.Encode(f.states[k])
			for range 30 {
				if err := s.hostile(k, p); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// hostile changes a part of an encoding and seals it with the right checksum.
func (s *scenario) hostile(k stateKey, p transforms.Parts) (err error) {
	p.Open = slices.Clone(p.Open)
	switch i := s.r.IntN(len(p.Open) + 1); {
	case len(p.Old) > 0 && s.r.IntN(3) == 0:
		p = s.mangleOld(p)
	case i == len(p.Open):
		p.Served = s.mangle(p.Served)
	case s.r.IntN(8) == 0:
		p.Open[i].Hour += pick[int64](s.r, -1, 1)
	default:
		p.Open[i].Data = s.mangle(p.Open[i].Data)
	}
	defer func() {
		if x := recover(); x != nil {
			err = fmt.Errorf("S3: state %v %x: panic: %v", k, p, x)
		}
	}()
	st, err := s.view.Parse(p)
	if err != nil {
		if !errors.As(err, new(*transforms.CorruptError)) {
			return fmt.Errorf("S3: Parse returns %T: %v", err, err)
		}
		return nil
	}
	if got, want := fmt.Sprintf("%x", s.view.Encode(st)), fmt.Sprintf("%x", p); got != want {
		return fmt.Errorf("S3: Parse accepts what Encode does not write:\n%s\n%s", want, got)
	}
	s.view.BoundaryValue(nil, st.Clock(), st)
	return nil
}

// mangleOld is mangle for the old part, which the served part then names.
func (s *scenario) mangleOld(p transforms.Parts) transforms.Parts {
	was := binary.AppendUvarint(nil, uint64(len(p.Old)))
	was = append(was, p.Old[len(p.Old)-4:]...)
	at := bytes.Index(p.Served, was)
	p.Old = s.mangle(p.Old)
	now := binary.AppendUvarint(slices.Clone(p.Served[:at]), uint64(len(p.Old)))
	now = append(append(now, p.Old[len(p.Old)-4:]...), p.Served[at+len(was):len(p.Served)-4]...)
	p.Served = binary.LittleEndian.AppendUint32(now, crc32.Checksum(now, crc32.MakeTable(crc32.Castagnoli)))
	return p
}

// mangle flips, cuts or repeats bytes before the checksum.
func (s *scenario) mangle(b []byte) []byte {
	b = slices.Clone(b[:len(b)-4])
	if len(b) == 0 {
		return b
	}
	for range 1 + s.r.IntN(2) {
		i := s.r.IntN(len(b))
		switch s.r.IntN(6) {
		case 0:
			b = b[:i+1]
		case 1:
			b = slices.Insert(b, i, b[i:min(len(b), i+1+s.r.IntN(4))]...)
		case 2:
			b = slices.Delete(b, i, min(len(b)-1, i+1))
		case 3:
			b[i] = byte(s.r.Uint32())
		default:
			b[i] += byte(pick(s.r, 1, 2, 255, 128))
		}
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// TestConcurrent: a view serves several readers at once; under -race (V1).
func TestConcurrent(t *testing.T) {
	for seed := range uint64(20) {
		s := newScenario(t, seed, nil)
		s.generate(records)
		folds := make([]*fold, 4)
		var wg sync.WaitGroup
		for i := range folds {
			folds[i] = newFold(s)
			wg.Go(func() {
				for _, p := range s.order {
					folds[i].step(p)
				}
			})
		}
		wg.Wait()
		for k, st := range folds[0].states {
			for _, f := range folds[1:] {
				if encoded(s.view, f.states[k]) != encoded(s.view, st) {
					t.Errorf("seed %d: readers at once have other states of %v", seed, k)
				}
			}
		}
	}
}
