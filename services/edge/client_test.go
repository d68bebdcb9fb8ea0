package edge

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lxzan/gws"

	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
)

// client is a WebSocket client over gws.
type client struct {
	gws.BuiltinEventHandler
	t      *testing.T
	format session.Format
	stale  bool // hand out stale and fresh
	conn   *gws.Conn
	in     chan session.Message
	closed chan error
	silent atomic.Bool // answer no pings
	pings  atomic.Int32
	pong   atomic.Value // string: payload of the last pong
	told   bool         // to go to another edge

	decoder session.Decoder // of the goroutine that reads
	shared  atomic.Int32    // messages of more than one tick
}

func (c *client) OnPing(conn *gws.Conn, payload []byte) {
	c.pings.Add(1)
	if !c.silent.Load() {
		_ = conn.WritePong(payload)
	}
}

func (c *client) OnPong(_ *gws.Conn, payload []byte) { c.pong.Store(string(payload)) }

func (c *client) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer m.Close()
	if c.format == session.Compact && session.IsTicks(m.Bytes()) {
		c.unpack(m.Bytes())
		return
	}
	msg, err := session.DecodeMessage(c.format, m.Bytes())
	if err != nil {
		c.t.Errorf("%s: %v", m.Bytes(), err)
		return
	}
	if c.format == session.Compact && msg.Op == session.OpSubscribed {
		if err := c.decoder.Subscribed(&msg); err != nil {
			c.t.Errorf("%x: %v", m.Bytes(), err)
		}
	} else if msg.Op == session.OpUnsubscribed {
		c.decoder.Unsubscribed(&msg)
	}
	if c.stale || msg.Op != session.OpStale && msg.Op != session.OpFresh { // no test but one is about how fast the region beats
		c.in <- msg
	}
}

// unpack hands out the ticks of a message in Compact as they would have come in JSON.
func (c *client) unpack(p []byte) {
	for n := 1; len(p) > 0; n++ {
		t, rest, err := c.decoder.Next(p)
		if err != nil {
			c.t.Errorf("%x: %v", p, err)
			return
		}
		if n == 2 {
			c.shared.Add(1)
		}
		msg, err := session.DecodeMessage(session.JSON, session.AppendTick(session.JSON, nil, t))
		if err != nil {
			c.t.Error(err)
		}
		c.in <- msg
		p = rest
	}
}

func (c *client) OnClose(_ *gws.Conn, err error) { c.closed <- err }

func dial(t *testing.T, e *running, f session.Format) *client {
	t.Helper()
	return dialStale(t, e, f, false)
}

func dialStale(t *testing.T, e *running, f session.Format, stale bool) *client {
	t.Helper()
	c := &client{t: t, format: f, stale: stale, in: make(chan session.Message, 100000), closed: make(chan error, 1)}
	var err error
	c.conn, _, err = gws.NewClientFromConn(c, &gws.ClientOption{Addr: "ws://" + e.url + session.PathWS,
		RequestHeader: map[string][]string{"Sec-WebSocket-Protocol": {f.String()}}}, e.dial(0))
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	go c.conn.ReadLoop()
	t.Cleanup(func() { _ = c.conn.NetConn().Close() })
	return c
}

// leave closes the connection.
func (c *client) leave() { _ = c.conn.WriteClose(1000, nil) }

func (c *client) send(r session.Request) {
	c.t.Helper()
	op := gws.OpcodeText
	if c.format != session.JSON {
		op = gws.OpcodeBinary
	}
	if err := c.conn.WriteMessage(op, session.AppendRequest(c.format, nil, &r)); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

func (c *client) text(s string) {
	c.t.Helper()
	if err := c.conn.WriteString(s); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

func (c *client) next() session.Message {
	c.t.Helper()
	select {
	case m := <-c.in:
		return m
	case err := <-c.closed:
		c.closed <- err
		select {
		case m := <-c.in:
			return m
		default:
		}
		c.t.Fatalf("closed: %v", err)
	case <-time.After(wait):
		c.t.Fatal("no message")
	}
	panic("unreachable")
}

// expect gives the next message, which must have this op.
func (c *client) expect(op string) session.Message {
	c.t.Helper()
	m := c.next()
	if m.Op != op {
		c.t.Fatalf("got %+v, want op %s", m, op)
	}
	return m
}

func (c *client) subscribe(symbols ...subject.Symbol) session.Message {
	c.t.Helper()
	c.send(session.Request{Op: session.OpSubscribe, ID: new(int64), Symbols: symbols})
	return c.expect(session.OpSubscribed)
}

// closeCode waits for the end and gives its code.
func (c *client) closeCode() uint16 {
	c.t.Helper()
	select {
	case err := <-c.closed:
		if closed, ok := errors.AsType[*gws.CloseError](err); ok {
			return closed.Code
		}
		c.t.Fatalf("closed without a code: %v", err)
	case <-time.After(wait):
		c.t.Fatal("not closed")
	}
	return 0
}
