package edge

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lxzan/gws"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
)

const offered = "permessage-deflate; client_max_window_bits" // by browsers

// deflated is a message's payload, compressed.
func deflated(t *testing.T, p []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(p)
	_ = w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff})
}

func inflated(t *testing.T, p []byte) []byte {
	t.Helper()
	got, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(p), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// dialOffering is dialRaw with extensions offered; it gives those that were agreed on.
func dialOffering(t *testing.T, e *running, extensions string) (*rawClient, string) {
	t.Helper()
	c, resp := handshake(t, e, "Sec-WebSocket-Extensions: "+extensions+"\r\n")
	return c, resp.Header.Get("Sec-WebSocket-Extensions")
}

// put sends a frame with any first byte.
func (c *rawClient) put(first byte, p []byte) {
	c.t.Helper()
	head := []byte{first, 0x80 | 127}
	head = append(binary.BigEndian.AppendUint64(head, uint64(len(p))), 0, 0, 0, 0)
	if len(p) <= 125 {
		head = []byte{first, 0x80 | byte(len(p)), 0, 0, 0, 0}
	}
	_, _ = c.nc.Write(append(head, p...)) // it may be cut off
}

// closed reads to the close frame and gives its code.
func (c *rawClient) closed() code.Close {
	c.t.Helper()
	_ = c.nc.SetReadDeadline(time.Now().Add(wait))
	for {
		if p, op := c.frame(); op == 8 {
			return code.Close(binary.BigEndian.Uint16(p))
		}
	}
}

func TestCompressionIsNegotiated(t *testing.T) {
	r := newRegion(t)
	e := startEdge(t, r)
	off := startEdge(t, newRegion(t), func(c *Config) { c.Compression = "off" })
	const agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	for _, x := range []struct {
		e           *running
		offer, want string
	}{
		{e, offered, agreed},
		{e, "permessage-deflate; server_max_window_bits=12, permessage-deflate", agreed},
		{e, "permessage-deflate; server_max_window_bits=12", ""},
		{e, "permessage-deflate; unknown", ""},
		{e, "x-webkit-deflate-frame", ""},
		{off, offered, ""},
	} {
		c, got := dialOffering(t, x.e, x.offer)
		if got != x.want {
			t.Errorf("%q: agreed on %q, want %q", x.offer, got, x.want)
		}
		if c.say(`{"op":"ping","id":7}`); c.next().Op != session.OpPong { // whatever was agreed on
			t.Errorf("%q: no pong", x.offer)
		}
	}
}

// With compression requests may be compressed, in pieces too, large answers are, and ticks are not.
func TestCompressedMessages(t *testing.T) {
	r := newRegion(t)
	var names []subject.Symbol
	for i := range 300 {
		names = append(names, subject.Symbol(fmt.Sprintf("SYMBOL-%d", i)))
		r.publish(names[i], 1, "1")
	}
	e := startEdge(t, r)
	c, _ := dialOffering(t, e, offered)
	p := deflated(t, session.AppendRequest(session.JSON, nil, &session.Request{Op: session.OpSubscribe, ID: new(int64), Symbols: names}))
	c.put(0x41, p[:100])
	c.put(0x89, []byte("ping between"))
	c.put(0x00, p[100:200])
	c.put(0x80, p[200:])
	answered, ticks := false, 0
	for ticks < len(names) {
		_ = c.nc.SetReadDeadline(time.Now().Add(wait))
		first, p := c.whole()
		switch {
		case first == 0xc1:
			if got := string(inflated(t, p)); answered || !strings.HasPrefix(got, `{"op":"subscribed"`) || strings.Count(got, "SYMBOL-") != 300 {
				t.Fatalf("compressed is %.100q", got)
			}
			answered = true
		case first == 0x81 && bytes.HasPrefix(p, []byte(`{"op":"tick"`)):
			ticks++
		case first == 0x8a, bytes.HasPrefix(p, []byte(`{"op":"stale"`)), bytes.HasPrefix(p, []byte(`{"op":"fresh"`)):
		default:
			t.Fatalf("got %x %.100q", first, p)
		}
	}
	if !answered {
		t.Error("the answer is not compressed")
	}
	c.put(0xc1, deflated(t, []byte(`{"op":"ping","id":8}`)))
	for m := c.next(); m.Op != session.OpPong; m = c.next() {
	}
}

// A client that somebody else wrote understands it.
func TestCompressionByAnotherLibrary(t *testing.T) {
	formats(t, func(t *testing.T, f session.Format) {
		r := newRegion(t)
		var names []subject.Symbol
		for i := range session.MaxSymbols {
			names = append(names, subject.Symbol(fmt.Sprintf("SYMBOL-%d", i)))
			r.publish(names[i], 1, "1")
		}
		e := startEdge(t, r)
		c := &client{t: t, format: f, in: make(chan session.Message, 100000), closed: make(chan error, 1)}
		var err error
		c.conn, _, err = gws.NewClientFromConn(c, &gws.ClientOption{Addr: "ws://" + e.url + session.PathWS,
			RequestHeader:     http.Header{"Sec-WebSocket-Protocol": {f.String()}},
			PermessageDeflate: gws.PermessageDeflate{Enabled: true, Threshold: 1}}, e.dial(0))
		if err != nil {
			t.Fatal(err)
		}
		go c.conn.ReadLoop()
		defer func() { _ = c.conn.NetConn().Close() }()
		if m := c.subscribe(names...); len(m.Symbols) != len(names) {
			t.Fatalf("%d symbols", len(m.Symbols))
		}
		for range names {
			c.expect(session.OpTick)
		}
	})
}

func TestCompressionFaults(t *testing.T) {
	r := newRegion(t)
	e := startEdge(t, r)
	other := dial(t, e, session.JSON)
	other.subscribe("BTC-USD")
	bomb := deflated(t, make([]byte, 40<<20)) // 40 KB
	ping := deflated(t, []byte(`{"op":"ping"}`))
	for _, x := range []struct {
		name, offer string
		do          func(*rawClient)
		want        code.Close
	}{
		{"bomb", offered, func(c *rawClient) { c.put(0xc1, bomb) }, code.TooBig},
		{"bomb in pieces", offered, func(c *rawClient) {
			c.put(0x41, bomb[:100])
			c.put(0x00, bomb[100:20000])
			c.put(0x80, bomb[20000:])
		}, code.TooBig},
		{"64 KB and one", offered, func(c *rawClient) { c.put(0xc1, deflated(t, bytes.Repeat([]byte("x"), session.MaxMessage+1))) }, code.TooBig},
		{"64 KB and one compressed", offered, func(c *rawClient) { c.put(0xc1, make([]byte, session.MaxMessage+1)) }, code.TooBig},
		{"nonsense", offered, func(c *rawClient) { c.put(0xc1, []byte("nonsense")) }, code.InvalidPayload},
		{"not UTF-8", offered, func(c *rawClient) { c.put(0xc1, deflated(t, []byte{0xff, 0xfe})) }, code.InvalidPayload},
		{"binary", offered, func(c *rawClient) { c.put(0xc2, ping) }, code.Unsupported},
		{"RSV1 on a ping", offered, func(c *rawClient) { c.put(0xc9, ping) }, code.ProtocolError},
		{"RSV1 on a continuation", offered, func(c *rawClient) { c.put(0x01, ping); c.put(0xc0, ping) }, code.ProtocolError},
		{"RSV2", offered, func(c *rawClient) { c.put(0xa1, ping) }, code.ProtocolError},
		{"unmasked", offered, func(c *rawClient) { _, _ = c.nc.Write([]byte{0x81, 2, '{', '}'}) }, code.ProtocolError},
		{"not negotiated", "x", func(c *rawClient) { c.put(0xc1, ping) }, code.ProtocolError},
		{"not negotiated, for its window", "permessage-deflate; server_max_window_bits=9", func(c *rawClient) { c.put(0xc1, ping) }, code.ProtocolError},
	} {
		t.Run(x.name, func(t *testing.T) {
			c, _ := dialOffering(t, e, x.offer)
			go x.do(c)
			if got := c.closed(); got != x.want {
				t.Errorf("closed with %d, want %d", got, x.want)
			}
		})
	}
	r.publish("BTC-USD", 1, "1") // nobody else noticed
	price(t, other.next(), "1")
}

// What follows a close frame, or what ends a connection, is not looked at (RFC 6455, 1.4).
func TestNothingFollowsTheEnd(t *testing.T) {
	for _, x := range []struct {
		name string
		last []byte
		want code.Close
	}{
		{"close frame", []byte{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8}, 1000},
		{"binary message", []byte{0x82, 0x82, 0, 0, 0, 0, '{', '}'}, code.Unsupported},
	} {
		for _, extensions := range []string{"x", offered} {
			t.Run(x.name+", "+extensions, func(t *testing.T) {
				e := startEdge(t, newRegion(t))
				c, _ := dialOffering(t, e, extensions)
				ping := []byte(`{"op":"ping"}`)
				p := append(append(bytes.Clone(x.last), 0x81, 0x80|byte(len(ping)), 0, 0, 0, 0), ping...)
				if _, err := c.nc.Write(p); err != nil {
					t.Fatal(err)
				}
				if got := c.closed(); got != x.want {
					t.Errorf("closed with %d, want %d", got, x.want)
				}
				_ = c.nc.Close()
				counted(t, e, "tickfan_edge_connections", "", 0)
				counted(t, e, "tickfan_edge_requests_total", "", 0)
			})
		}
	}
}

// Messages that are small until they are inflated are all answered, in order, however many come at once.
func TestHeavyMessages(t *testing.T) {
	e := startEdge(t, newRegion(t))
	c, _ := dialOffering(t, e, offered)
	const messages = 100
	go func() {
		var all []byte
		for i := range messages {
			p := deflated(t, fmt.Appendf(nil, `{"op":"ping","id":%d%s}`, i, strings.Repeat(" ", 60<<10)))
			all = append(append(all, 0xc1, 0x80|126, byte(len(p)>>8), byte(len(p)), 0, 0, 0, 0), p...)
		}
		_, _ = c.nc.Write(all)
	}()
	for i := range messages {
		if m := c.next(); m.Op != session.OpPong || *m.ID != int64(i) {
			t.Fatalf("message %d: got %+v", i, m)
		}
	}
}
