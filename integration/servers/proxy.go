//go:build real

package servers

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// Point is a place on the way of a transaction.
type Point int

// The points. At Sent the EXEC has been read from the client and not forwarded: the
// server discards what it has queued. At Done the server has done it, and the
// client has not heard of it.
const (
	Sent Point = iota
	Done
)

// Proxy stands between a client and one Redis and sees its transactions. It can
// hold one up at either point, and lose it there: the failpoints of a program
// that has none.
type Proxy struct {
	Addr string

	// Execs counts transactions forwarded, Refused those that the server refused
	// because a watched key had changed.
	Execs, Refused atomic.Int64

	to    string
	l     net.Listener
	mu    sync.Mutex
	at    func(point Point, n int64) bool // nil = none
	seen  int64                           // EXECs met
	conns map[net.Conn]struct{}
	done  sync.WaitGroup
}

// NewProxy listens on loopback for clients of the server at an address.
func NewProxy(to string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{Addr: l.Addr().String(), to: to, l: l, conns: map[net.Conn]struct{}{}}
	p.done.Go(p.accept)
	return p, nil
}

// At lets fn be called at both points of every transaction; n counts those that
// clients have sent since, from 1 on. It may wait. Where it returns true, the
// connection is cut there: the transaction, or its reply, is lost.
func (p *Proxy) At(fn func(point Point, n int64) (lose bool)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at, p.seen = fn, 0
}

// Close cuts all connections and waits until nothing runs any more.
func (p *Proxy) Close() {
	p.l.Close()
	p.Cut()
	p.done.Wait()
}

// Cut cuts all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

func (p *Proxy) accept() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		p.done.Go(func() { p.serve(c) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	if err := loopback(p.to); err != nil {
		return
	}
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer server.Close()
	p.keep(client, server)
	defer p.drop(client, server)
	sent := make(chan int64, 1<<16) // for each command on its way: which EXEC it is, 0 for another
	var both sync.WaitGroup
	both.Go(func() {
		_ = p.forward(client, server, sent) // an end is an end
		client.Close()
		server.Close()
		close(sent)
	})
	both.Go(func() {
		_ = p.back(server, client, sent)
		client.Close()
		server.Close()
		for range sent { // let forward go on to its end
		}
	})
	both.Wait()
}

func (p *Proxy) keep(cs ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range cs {
		p.conns[c] = struct{}{}
	}
}

func (p *Proxy) drop(cs ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range cs {
		delete(p.conns, c)
	}
}

var errLost = errors.New("lost on purpose")

// point asks whether the transaction is to be lost here. At Sent it numbers it.
func (p *Proxy) point(at Point, n int64) (int64, error) {
	p.mu.Lock()
	fn := p.at
	if at == Sent {
		p.seen++
		n = p.seen
	}
	p.mu.Unlock()
	if fn != nil && fn(at, n) {
		return n, errLost
	}
	return n, nil
}

// forward passes commands on.
func (p *Proxy) forward(client, server net.Conn, sent chan<- int64) error {
	r, w := bufio.NewReaderSize(client, 1<<16), bufio.NewWriterSize(server, 1<<16)
	var raw []byte
	for {
		var err error
		if raw, err = readValue(r, raw[:0]); err != nil {
			return err
		}
		exec := int64(0)
		if isExec(raw) {
			if err := w.Flush(); err != nil { // what comes before it is on its way
				return err
			}
			if exec, err = p.point(Sent, 0); err != nil {
				return err
			}
			p.Execs.Add(1)
		}
		sent <- exec
		if _, err := w.Write(raw); err != nil {
			return err
		}
		if r.Buffered() == 0 {
			if err := w.Flush(); err != nil {
				return err
			}
		}
	}
}

// back passes replies on.
func (p *Proxy) back(server, client net.Conn, sent <-chan int64) error {
	r, w := bufio.NewReaderSize(server, 1<<16), bufio.NewWriterSize(client, 1<<16)
	var raw []byte
	for {
		var err error
		if raw, err = readValue(r, raw[:0]); err != nil {
			return err
		}
		if raw[0] != '>' { // a push answers nothing
			exec, ok := <-sent
			if !ok {
				return io.EOF
			}
			if exec > 0 {
				if raw[0] == '_' || string(raw) == "*-1\r\n" {
					p.Refused.Add(1)
				}
				if _, err := p.point(Done, exec); err != nil {
					return err
				}
			}
		}
		if _, err := w.Write(raw); err != nil {
			return err
		}
		if r.Buffered() == 0 {
			if err := w.Flush(); err != nil {
				return err
			}
		}
	}
}

func isExec(raw []byte) bool {
	return len(raw) < 20 && strings.EqualFold(string(raw), "*1\r\n$4\r\nexec\r\n")
}

// readValue appends the bytes of one value of the protocol, RESP2 or RESP3.
func readValue(r *bufio.Reader, raw []byte) ([]byte, error) {
	from := len(raw)
	line, err := r.ReadSlice('\n')
	for errors.Is(err, bufio.ErrBufferFull) {
		raw = append(raw, line...)
		line, err = r.ReadSlice('\n')
	}
	if raw = append(raw, line...); err != nil {
		return raw, err
	}
	head := raw[from:]
	switch head[0] {
	case '+', '-', ':', '_', '#', ',', '(':
		return raw, nil
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(head[1:])))
	if err != nil {
		return raw, fmt.Errorf("not the Redis protocol: %q", head)
	}
	switch head[0] {
	case '$', '=', '!':
		if n < 0 {
			return raw, nil
		}
		at := len(raw)
		raw = append(raw, make([]byte, n+2)...)
		_, err := io.ReadFull(r, raw[at:])
		return raw, err
	case '%', '|':
		n *= 2
	case '*', '~', '>':
	default:
		return raw, fmt.Errorf("not the Redis protocol: %q", head)
	}
	if head[0] == '|' { // attributes come before the value that they belong to
		n++
	}
	for range n {
		if raw, err = readValue(r, raw); err != nil {
			return raw, err
		}
	}
	return raw, nil
}
