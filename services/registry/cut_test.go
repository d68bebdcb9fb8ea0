package registry

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// cut is a way to NATS that can be cut: to the other side, the process behind it is dead.
type cut struct {
	listener net.Listener
	all      sync.WaitGroup

	mu    sync.Mutex
	dead  bool
	conns []net.Conn
}

func newCut(t *testing.T, url string) *cut {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cut{listener: l}
	c.all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", strings.TrimPrefix(url, "nats://"))
			if err != nil {
				_ = in.Close()
				continue
			}
			c.join(in, out)
		}
	})
	t.Cleanup(c.kill)
	return c
}

func (c *cut) url() string { return "nats://" + c.listener.Addr().String() }

func (c *cut) join(in, out net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		_, _ = in.Close(), out.Close()
		return
	}
	c.conns = append(c.conns, in, out)
	for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
		c.all.Go(func() {
			_, _ = io.Copy(pair[0], pair[1])
			_, _ = in.Close(), out.Close()
		})
	}
}

// kill cuts it for good.
func (c *cut) kill() {
	c.mu.Lock()
	c.dead = true
	_ = c.listener.Close()
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.mu.Unlock()
	c.all.Wait()
}
