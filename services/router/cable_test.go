package router

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// cable is a TCP connection to the server that can be cut, while others stay.
type cable struct {
	t      *testing.T
	ln     net.Listener
	server string // host:port
	wg     sync.WaitGroup

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]struct{}
}

func newCable(t *testing.T, url string) *cable {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{t: t, ln: ln, server: strings.TrimPrefix(url, "nats://"), conns: map[net.Conn]struct{}{}}
	c.wg.Go(c.accept)
	t.Cleanup(func() {
		ln.Close()
		c.set(true)
		c.wg.Wait()
	})
	return c
}

func (c *cable) url() string { return "nats://" + c.ln.Addr().String() }

// set cuts the cable, or mends it.
func (c *cable) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	if cut {
		for conn := range c.conns {
			conn.Close()
		}
		clear(c.conns)
	}
}

func (c *cable) accept() {
	for {
		client, err := c.ln.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", c.server)
		if err != nil || !c.add(client, server) {
			client.Close()
			if server != nil {
				server.Close()
			}
			continue
		}
		c.wg.Go(func() { io.Copy(client, server); client.Close() })
		c.wg.Go(func() { io.Copy(server, client); server.Close() })
	}
}

func (c *cable) add(conns ...net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		return false
	}
	for _, conn := range conns {
		c.conns[conn] = struct{}{}
	}
	return true
}
