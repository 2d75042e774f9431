//go:build real

package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// releaseProfile is what the compiler is told of where the program spends its time.
const releaseProfile = "cmd/tallystick/release.pgo"

// profile measures that anew: replay, training sets of both knowledges, and the stream
// catching up, once each.
func (b *bench) profile(ctx context.Context) error {
	b.build = []string{"-trimpath", "-tags", "cpuprofile"}
	b.runs, b.live, b.identified = 1, 0, b.events/20
	dir, err := os.MkdirTemp("", "tallystick-profiles-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Setenv("CPUPROFILE", dir); err != nil {
		return err
	}
	for _, m := range []struct {
		memory string
		run    func(context.Context) error
	}{{replayMemory, b.replay}, {trainMemory, b.train}, {"1GB", b.stream}} {
		b.memory = m.memory
		if err := m.run(ctx); err != nil {
			return err
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.pprof"))
	if err != nil {
		return err
	}
	merged, err := output(exec.CommandContext(ctx, "go", append([]string{"tool", "pprof", "-proto"}, files...)...))
	if err != nil {
		return err
	}
	plain, err := withoutPlaces([]byte(merged))
	if err != nil {
		return fmt.Errorf("the merged profile: %w", err)
	}
	return os.WriteFile(releaseProfile, plain, 0o644)
}

// stringTable is the field of texts in a profile, as pprof's profile.proto has it.
const stringTable = 6

// withoutPlaces returns a profile without the places of files on this machine.
func withoutPlaces(profile []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(profile))
	if err != nil {
		return nil, err
	}
	in, err := io.ReadAll(z)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	for len(in) > 0 {
		tag, n := binary.Uvarint(in)
		size, m := binary.Uvarint(in[max(0, n):])
		if n <= 0 || m <= 0 {
			return nil, errors.New("it does not decode")
		}
		field, rest := in[:n+m], in[n+m:]
		if tag&7 == 2 { // has bytes
			if size > uint64(len(rest)) {
				return nil, errors.New("it is cut short")
			}
			field, rest = in[:n+m+int(size)], rest[size:]
			if tag>>3 == stringTable && size > 0 && field[n+m] == '/' {
				field = binary.AppendUvarint(binary.AppendUvarint(nil, tag), uint64(len("tallystick")))
				field = append(field, "tallystick"...)
			}
		}
		if _, err := w.Write(field); err != nil {
			return nil, err
		}
		in = rest
	}
	err = w.Close() // before what it has written is looked at
	return out.Bytes(), err
}
