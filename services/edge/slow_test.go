package edge

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
)

// raw is a client that reads only when the test does, with a small receive buffer.
type rawClient struct {
	t  *testing.T
	nc net.Conn
	br *bufio.Reader
}

func dialRaw(t *testing.T, e *running) *rawClient {
	t.Helper()
	c, _ := handshake(t, e, "")
	return c
}

// handshake is dialRaw with more lines of header; it gives the answer too.
func handshake(t *testing.T, e *running, lines string) (*rawClient, *http.Response) {
	t.Helper()
	return upgrade(t, e.dial(4<<10), lines)
}

// upgrade is handshake over a connection that there is already.
func upgrade(t *testing.T, nc net.Conn, lines string) (*rawClient, *http.Response) {
	t.Helper()
	t.Cleanup(func() { _ = nc.Close() })
	fmt.Fprint(nc, "GET /v1/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+lines+"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	c := &rawClient{t: t, nc: nc, br: bufio.NewReaderSize(nc, 512)}
	resp, err := http.ReadResponse(c.br, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Fatalf("%v %v", resp, err)
	}
	return c, resp
}

func (c *rawClient) say(text string) {
	c.t.Helper()
	p := []byte{0x81, 0x80 | 126, byte(len(text) >> 8), byte(len(text)), 0, 0, 0, 0}
	if _, err := c.nc.Write(append(p, text...)); err != nil {
		c.t.Fatal(err)
	}
}

// next reads a text frame; control frames are passed over.
func (c *rawClient) next() session.Message {
	c.t.Helper()
	for {
		_ = c.nc.SetReadDeadline(time.Now().Add(wait))
		p, op := c.frame()
		if op != 1 {
			continue
		}
		var m session.Message
		if err := json.Unmarshal(p, &m); err != nil {
			c.t.Fatalf("%q: %v", p, err)
		}
		return m
	}
}

func (c *rawClient) frame() (p []byte, op byte) {
	c.t.Helper()
	first, p := c.whole()
	return p, first & 15
}

// whole is a frame with its first byte as it is.
func (c *rawClient) whole() (first byte, p []byte) {
	c.t.Helper()
	b := func() int {
		x, err := c.br.ReadByte()
		if err != nil {
			c.t.Fatal(err)
		}
		return int(x)
	}
	first = byte(b())
	n := b()
	if n == 126 {
		n = b()<<8 | b()
	}
	for range n {
		p = append(p, byte(b()))
	}
	return first, p
}

// A client that stops reading and then goes on is not closed, holds nobody up, and finds the newest values behind at most
// what the kernel had taken.
func TestStalledClientEndsOnNewest(t *testing.T) {
	r := newRegion(t)
	e := startEdge(t, r)
	const symbols, ticks = 50, 200
	var names []subject.Symbol
	for i := range symbols {
		names = append(names, subject.Symbol(fmt.Sprintf("S-%d", i)))
		r.publish(names[i], 1, "1")
	}
	slow := dialRaw(t, e)
	req := session.AppendRequest(session.JSON, nil, &session.Request{Op: session.OpSubscribe, Symbols: names})
	slow.say(string(req))
	fast := dial(t, e, session.MessagePack)
	fast.subscribe(names...)
	for seq := uint64(2); seq <= ticks; seq++ {
		for _, s := range names {
			r.publish(s, seq, fmt.Sprint(seq))
		}
	}
	last := map[subject.Symbol]uint64{}
	for done := 0; done < symbols; {
		m := fast.expect(session.OpTick)
		if m.Seq <= last[m.Symbol] {
			t.Fatalf("backwards: %+v", m)
		}
		if last[m.Symbol] = m.Seq; m.Seq == ticks {
			done++
		}
	}
	got := map[subject.Symbol]uint64{}
	n := 0
	for done := 0; done < symbols; {
		m := slow.next()
		if m.Op != session.OpTick {
			continue
		}
		n++
		if m.Seq <= got[m.Symbol] {
			t.Fatalf("backwards: %+v", m)
		}
		if got[m.Symbol] = m.Seq; m.Seq == ticks {
			done++
		}
	}
	// Two flushes of 50 or so lie in the kernel's buffers at most; without them one of each symbol is all there is.
	if n > 12*symbols {
		t.Errorf("the slow client got %d ticks, of %d published: a queue of old values", n, symbols*ticks)
	}
	t.Logf("slow client got %d of %d", n, symbols*ticks)
}

// A client that floods and does not read stops himself, and is served when he reads.
func TestFloodingClientStopsHimself(t *testing.T) {
	r := newRegion(t)
	e := startEdge(t, r)
	c := dialRaw(t, e)
	sent := make(chan int)
	stop := make(chan struct{})
	go func() {
		n := 0
		for {
			text := fmt.Sprintf(`{"op":"ping","id":%d}`, n)
			p := append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...)
			select {
			case <-stop:
				sent <- n
				return
			default:
			}
			_ = c.nc.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
			if w, err := c.nc.Write(p); err != nil {
				_ = w
				sent <- n
				return
			}
			n++
		}
	}()
	var n int
	select {
	case n = <-sent: // his own send buffer is full: the edge reads no further
	case <-time.After(2 * wait):
		close(stop)
		t.Fatalf("the edge took %d pings from a client that reads nothing", <-sent)
	}
	other := dial(t, e, session.JSON)
	other.subscribe("BTC-USD")
	r.publish("BTC-USD", 1, "1")
	price(t, other.next(), "1")
	for i := range n { // each that was taken whole is answered
		if m := c.next(); m.Op != session.OpPong || m.ID == nil || *m.ID != int64(i) {
			t.Fatalf("got %+v, want pong %d of %d", m, i, n)
		}
	}
}
