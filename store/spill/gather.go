package spill

// gathered is the rows of one stream that wait in memory, in chunks of whole rows.
type gathered struct {
	stream Stream
	chunks []chunk
	size   int // bytes of the chunks
}

// chunk is rows, each behind its length.
type chunk struct {
	b    []byte
	rows uint32
}

// Chunks of a stream grow with it up to the size of all: a stream of few rows takes
// little, and one of many is written in large pieces.
const (
	leastChunk = 512
	mostChunk  = 64 << 10
)

// chunks hands out memory of which a limit may be in use.
type chunks struct {
	limit int
	full  int      // size of the largest; a larger row gets one of its own
	used  int      // bytes handed out
	free  [][]byte // of the full size
}

func newChunks(limit int) chunks {
	return chunks{limit: limit, full: max(leastChunk, min(mostChunk, limit/64))}
}

// size is that of the next chunk of a stream, for a row of n bytes.
func (c *chunks) size(g *gathered, n int) int {
	return max(n, min(c.full, max(leastChunk, g.size)))
}

// take returns an empty chunk: the limit, whatever it is, is passed where nothing else
// is in use.
func (c *chunks) take(size int) []byte {
	if n := len(c.free); n > 0 && size == c.full {
		b := c.free[n-1]
		c.free = c.free[:n-1]
		c.used += size
		return b
	}
	for n := len(c.free); n > 0 && c.used+size+n*c.full > c.limit; n-- {
		c.free[n-1] = nil
		c.free = c.free[:n-1]
	}
	c.used += size
	return make([]byte, 0, size)
}

// give takes back chunks that hold nothing of use.
func (c *chunks) give(g *gathered) {
	for _, x := range g.chunks {
		c.used -= cap(x.b)
		if cap(x.b) == c.full {
			c.free = append(c.free, x.b[:0])
		}
	}
	clear(g.chunks)
	g.chunks, g.size = g.chunks[:0], 0
}
