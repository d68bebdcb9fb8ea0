package natstest

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// Cable is a TCP way to a server that can be cut or stalled while others stay. Its methods may be called from any
// goroutine.
type Cable struct {
	ln     net.Listener
	server string // host:port
	wg     sync.WaitGroup

	mu      sync.Mutex
	moves   sync.Cond
	cut     bool
	stalled bool
	conns   map[net.Conn]struct{}
}

// NewCable lays one to the server at url, nats://host:port or another scheme. It ends with the test.
func NewCable(t testing.TB, url string) *Cable {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("lay a cable: %v", err)
	}
	c := &Cable{ln: ln, server: url[strings.LastIndexByte(url, '/')+1:], conns: map[net.Conn]struct{}{}}
	c.moves.L = &c.mu
	c.wg.Go(c.accept)
	t.Cleanup(func() {
		_ = ln.Close()
		c.Cut()
		c.wg.Wait()
	})
	return c
}

// URL is where clients connect; it stays the same when the cable is cut and mended.
func (c *Cable) URL() string { return "nats://" + c.Address() }

// Address is the same without the scheme.
func (c *Cable) Address() string { return c.ln.Addr().String() }

// Cut ends all connections, and each new one, until Mend. To the server, the process behind it is dead.
func (c *Cable) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = true
	for conn := range c.conns {
		_ = conn.Close()
	}
	clear(c.conns)
	c.moves.Broadcast()
}

// Stall holds up what travels, and all that is sent from now on, until Mend. The connections stay: nobody is told.
func (c *Cable) Stall() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stalled = true
}

// Mend lets connections through again, and what was held up.
func (c *Cable) Mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut, c.stalled = false, false
	c.moves.Broadcast()
}

func (c *Cable) accept() {
	for {
		client, err := c.ln.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", c.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		if !c.add(client, server) {
			_, _ = client.Close(), server.Close()
			continue
		}
		c.wg.Go(func() { c.carry(client, server) })
		c.wg.Go(func() { c.carry(server, client) })
	}
}

func (c *Cable) add(ends ...net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		return false
	}
	for _, end := range ends {
		c.conns[end] = struct{}{}
	}
	return true
}

// carry is one direction; where one ends, so does the other.
func (c *Cable) carry(to, from net.Conn) {
	_, _ = io.Copy(way{c, to}, from)
	_, _ = to.Close(), from.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, to)
	delete(c.conns, from)
}

// way is one end of a connection, to which nothing comes while the cable is stalled.
type way struct {
	c  *Cable
	to net.Conn
}

func (w way) Write(p []byte) (int, error) {
	w.c.mu.Lock()
	for w.c.stalled && !w.c.cut {
		w.c.moves.Wait()
	}
	w.c.mu.Unlock()
	return w.to.Write(p)
}
