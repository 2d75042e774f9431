package spill

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// A run is pages, so that no row of it is looked at that is not the one that was written:
// one that has changed need not even parse.
//
//	page    CRC-32C of its place in the file and of its bytes (4 bytes, little-endian),
//	        4092 bytes; of the last page fewer
const (
	pageSize = 1 << 12
	pageHead = 4
)

// pagesSize is what n bytes take in pages.
func pagesSize(n int64) int64 {
	const room = pageSize - pageHead
	return n + pageHead*((n+room-1)/room)
}

// pageSum tells a page from one that belongs elsewhere, too.
func pageSum(at int64, b []byte) uint32 { return crc32.Update(uint32(at), castagnoli, b) }

// pageWriter writes pages from a place in the file on. Errors stick to w.
type pageWriter struct {
	w    *bufio.Writer
	at   int64
	page []byte // begins with room for the sum
}

func newPageWriter(w io.WriterAt, at int64) *pageWriter {
	return &pageWriter{bufio.NewWriterSize(io.NewOffsetWriter(w, at), 1<<18), at, make([]byte, pageHead, pageSize)}
}

func (p *pageWriter) write(b []byte) {
	for len(b) > 0 {
		n := copy(p.page[len(p.page):pageSize], b)
		p.page, b = p.page[:len(p.page)+n], b[n:]
		if len(p.page) == pageSize {
			p.end()
		}
	}
}

// end ends a page.
func (p *pageWriter) end() {
	binary.LittleEndian.PutUint32(p.page, pageSum(p.at, p.page[pageHead:]))
	p.w.Write(p.page)
	p.at += int64(len(p.page))
	p.page = p.page[:pageHead]
}

// flush ends the last page.
func (p *pageWriter) flush() error {
	if len(p.page) > pageHead {
		p.end()
	}
	if err := p.w.Flush(); err != nil {
		return fmt.Errorf("spill: %w", err)
	}
	return nil
}

// pageReader reads the pages between two places of the file.
type pageReader struct {
	src    io.ReaderAt
	at, to int64
	page   [pageSize]byte
	rest   []byte // of page
}

// Read implements io.Reader. The error is a *DamagedError where a page is to blame.
func (p *pageReader) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		if p.at == p.to {
			return 0, io.EOF
		}
		page := p.page[:min(pageSize, p.to-p.at)]
		if n, err := p.src.ReadAt(page, p.at); n < len(page) && err == io.EOF {
			return 0, &DamagedError{"a run is cut short"}
		} else if n < len(page) {
			return 0, err
		}
		if pageSum(p.at, page[pageHead:]) != binary.LittleEndian.Uint32(page) {
			return 0, &DamagedError{"a run has changed"}
		}
		p.at += int64(len(page))
		p.rest = page[pageHead:]
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}
