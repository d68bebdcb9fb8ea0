package edge

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lxzan/gws"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
)

// Each refused message is answered with a code, counted, and disturbs nothing else.
func TestRefusedMessages(t *testing.T) {
	r := newRegion(t)
	r.publish("BTC-USD", 1, "1")
	e := startEdge(t, r)
	c := dial(t, e, session.JSON)
	c.subscribe("BTC-USD")
	price(t, c.next(), "1")
	two := make([]string, 2000)
	for i := range two {
		two[i] = fmt.Sprintf("S%d", i)
	}
	many, _ := json.Marshal(map[string]any{"op": "subscribe", "id": 9, "symbols": two})
	refusals := map[code.Code]int{}
	for _, x := range []struct {
		say  string
		want code.Code
		id   bool
	}{
		{`{"op":"jump","id":9}`, code.BadOp, true},
		{`{"id":9}`, code.BadOp, true},
		{`hello`, code.BadMessage, false},
		{`[]`, code.BadMessage, false},
		{`{"op":"subscribe","id":9,"symbols":"BTC-USD"}`, code.BadMessage, true},
		{`{"op":"subscribe","id":9,"symbols":[]}`, code.BadMessage, true},
		{`{"op":"subscribe","id":9,"symbols":["btc usd"]}`, code.BadSymbol, true},
		{`{"op":"subscribe","id":9,"symbols":["` + strings.Repeat("A", 33) + `"]}`, code.BadSymbol, true},
		{`{"op":"subscribe","id":9,"symbols":["X"],"mode":"sometimes"}`, code.BadMode, true},
		{`{"op":"subscribe","id":9,"symbols":["X"],"mode":"every","max_rate":1}`, code.BadMode, true},
		{`{"op":"subscribe","id":9,"symbols":["X"],"max_rate":0}`, code.BadRate, true},
		{`{"op":"subscribe","id":9,"symbols":["X"],"after":{"X":[1,2]}}`, code.BadAfter, true},
		{string(many), code.TooManySymbols, true},
	} {
		c.text(x.say)
		m := c.expect(session.OpError)
		if m.Code != x.want || m.Message == "" || (m.ID != nil) != x.id {
			t.Errorf("%.60s: got %+v, want %s", x.say, m, x.want)
		}
		refusals[x.want]++
	}
	c.text(`{"op":"ping","id":4}`)
	if m := c.expect(session.OpPong); *m.ID != 4 || m.TS < 1763769600000000 {
		t.Errorf("got %+v", m)
	}
	r.publish("BTC-USD", 2, "2")
	price(t, c.next(), "2")
	for code, n := range refusals {
		counted(t, e, "tickfan_edge_refused_total", fmt.Sprintf("code=%q", code), n)
	}
	c.subscribe("LAST-USD")
	if got, want := r.wanted(), []subject.Symbol{"BTC-USD", "LAST-USD"}; !slices.Equal(got, want) {
		t.Errorf("wanted upstream are %d symbols, %.100v, want only %v", len(got), got, want)
	}
}

// counted waits until the ops port shows a counter with this value.
func counted(t *testing.T, e *running, name, attr string, want int) {
	t.Helper()
	var last string
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(last)
		}
	})
	natstest.Eventually(t, wait, func() bool {
		w := &recorder{head: http.Header{}}
		req, _ := http.NewRequest("GET", "/metrics", nil)
		e.ops.Handler().ServeHTTP(w, req)
		last = w.body.String()
		for line := range strings.Lines(last) {
			if strings.HasPrefix(line, name) && strings.Contains(line, attr) && strings.HasSuffix(line, fmt.Sprintf(" %d\n", want)) {
				return true
			}
		}
		return false
	}, "no %s{%s} %d", name, attr, want)
}

type recorder struct {
	head http.Header
	body bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.head }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }
func (r *recorder) WriteHeader(int)             {}

func TestSubscribeIsAllOrNothing(t *testing.T) {
	r := newRegion(t)
	r.publish("BTC-USD", 1, "1")
	e := startEdge(t, r)
	c := dial(t, e, session.JSON)
	unpriced := []subject.Symbol{"BTC-USD"}
	for i := range session.MaxUnpriced + 1 {
		unpriced = append(unpriced, subject.Symbol(fmt.Sprintf("JUNK-%d", i)))
	}
	c.send(session.Request{Op: session.OpSubscribe, Symbols: unpriced})
	if m := c.expect(session.OpError); m.Code != code.TooManyUnpriced {
		t.Fatalf("got %+v", m)
	}
	c.send(session.Request{Op: session.OpSubscribe, Symbols: unpriced[1 : session.MaxUnpriced+1]})
	if m := c.expect(session.OpSubscribed); len(m.NoPrice) != session.MaxUnpriced {
		t.Fatalf("%d without a price", len(m.NoPrice))
	}
	r.publish("BTC-USD", 2, "2") // nobody subscribed to it
	c.subscribe("BTC-USD")
	for m := c.expect(session.OpTick); m.Seq != 2; m = c.expect(session.OpTick) {
	}
	many := make([]subject.Symbol, session.MaxSymbols)
	for i := range many {
		many[i] = subject.Symbol(fmt.Sprintf("M-%d", i))
	}
	c.send(session.Request{Op: session.OpSubscribe, Symbols: many})
	if m := c.expect(session.OpError); m.Code != code.TooManySymbols {
		t.Fatalf("got %+v", m)
	}
	r.publish("LAST-USD", 1, "1")
	c.subscribe("LAST-USD") // changes leave in order: what had been wanted before it would have left
	price(t, c.expect(session.OpTick), "1")
	for _, s := range r.wanted() {
		if s == many[0] {
			t.Errorf("a refused subscribe has %s asked for upstream", s)
		}
	}
}

func TestThousandSymbols(t *testing.T) {
	r := newRegion(t)
	e := startEdge(t, r)
	var all []subject.Symbol
	for i := range session.MaxSymbols {
		s := subject.Symbol(fmt.Sprintf("SYMBOL-NUMBER-%d-USD", i))
		all = append(all, s)
		r.publish(s, 1, "1")
	}
	formatted := dial(t, e, session.MessagePack)
	formatted.subscribe(all...)
	got := map[subject.Symbol]bool{}
	for range all {
		m := formatted.expect(session.OpTick)
		got[m.Symbol] = true
	}
	if len(got) != len(all) {
		t.Errorf("%d snapshots, want %d", len(got), len(all))
	}
	formatted.subscribe(all...) // again: none counts twice, each brings a snapshot
	for range all {
		formatted.expect(session.OpTick)
	}
	formatted.send(session.Request{Op: session.OpUnsubscribe, Symbols: all[1:]})
	formatted.expect(session.OpUnsubscribed)
	r.publish(all[500], 2, "2")
	r.publish(all[0], 2, "3")
	price(t, formatted.next(), "3")
}

// Requests that are sent before the first is answered are answered in their order; the odd ones among them are done.
func TestPipelinedRequests(t *testing.T) {
	r := newRegion(t)
	r.publish("BTC-USD", 1, "1")
	e := startEdge(t, r)
	c := dial(t, e, session.JSON)
	requests := []string{
		`{"op":"subscribe","id":1,"symbols":["BTC-USD"]}`,
		`{"op":"subscribe","id":2,"symbols":["ETH-USD","ETH-USD"]}`,
		`{"op":"unsubscribe","id":3,"symbols":["BTC-USD"]}`,
		`{"op":"unsubscribe","id":4,"symbols":["NEVER-USD"]}`,
		`{"op":"ping","id":5}`,
	}
	r.set(func() { // the region answers nothing before all of them are under way
		for _, q := range requests {
			c.text(q)
		}
	})
	var ids []int64
	for len(ids) < len(requests) {
		m := c.next()
		if m.ID == nil {
			price(t, m, "1")
			continue
		}
		ids = append(ids, *m.ID)
		if m.Op != session.OpPong && len(m.Symbols) != 1 {
			t.Errorf("got %+v, want its symbol once", m)
		}
	}
	if !slices.IsSorted(ids) {
		t.Errorf("answered in order %v", ids)
	}
	r.publish("BTC-USD", 2, "2")
	r.publish("ETH-USD", 1, "3")
	price(t, c.next(), "3")
	c.text(`{"op":"ping","id":6}`)
	if m := c.expect(session.OpPong); *m.ID != 6 {
		t.Errorf("got %+v", m)
	}
	counted(t, e, "tickfan_edge_requests_total", "", len(requests)+1)
}

func TestCloseCodes(t *testing.T) {
	r := newRegion(t)
	e := startEdge(t, r, func(c *Config) { c.Idle = 2 * time.Second })
	other := dial(t, e, session.JSON)
	other.subscribe("BTC-USD")
	big := strings.Repeat("x", session.MaxMessage+1)
	symbols := make([]string, 10_000)
	for i := range symbols {
		symbols[i] = fmt.Sprintf("S%d", i)
	}
	tenThousand, _ := json.Marshal(map[string]any{"op": "subscribe", "symbols": symbols})
	closed := map[code.Close]int{}
	for _, x := range []struct {
		name string
		do   func(*client)
		want code.Close
	}{
		{"binary frame on JSON", func(c *client) { _ = c.conn.WriteMessage(gws.OpcodeBinary, []byte("{}")) }, code.Unsupported},
		{"text frame on Compact", func(c *client) { _ = c.conn.WriteString("{}") }, code.Unsupported},
		{"text frame on MessagePack", func(c *client) { _ = c.conn.WriteString("{}") }, code.Unsupported},
		{"64 KB and one", func(c *client) { _ = c.conn.WriteString(big) }, code.TooBig},
		{"10,000 symbols", func(c *client) { _ = c.conn.WriteMessage(gws.OpcodeText, tenThousand) }, code.TooBig},
		{"not UTF-8", func(c *client) { c.raw(0x81, []byte{0xff, 0xfe}) }, code.InvalidPayload},
		{"unmasked", func(c *client) { _, _ = c.conn.NetConn().Write([]byte{0x81, 2, '{', '}'}) }, code.ProtocolError},
		{"reserved opcode", func(c *client) { c.raw(0x83, []byte("{}")) }, code.ProtocolError},
		{"hundred faults", func(c *client) {
			for range session.MaxErrors {
				c.text("junk")
			}
		}, code.TooManyErrors},
		{"says nothing", func(c *client) { c.mute() }, code.Idle},
	} {
		t.Run(x.name, func(t *testing.T) {
			format := session.JSON
			if strings.HasSuffix(x.name, "MessagePack") {
				format = session.MessagePack
			} else if strings.HasSuffix(x.name, "Compact") {
				format = session.Compact
			}
			c := dial(t, e, format)
			x.do(c)
			if got := c.closeCode(); got != uint16(x.want) {
				t.Errorf("closed with %d, want %d", got, x.want)
			}
		})
		closed[x.want]++
	}
	for code, n := range closed {
		counted(t, e, "tickfan_edge_closed_total", fmt.Sprintf("code=%q", fmt.Sprint(int(code))), n)
	}
	r.publish("BTC-USD", 1, "1") // nobody else noticed
	price(t, other.next(), "1")
}

// raw sends a masked frame past gws, with a mask of zeros.
func (c *client) raw(first byte, payload []byte) {
	_, _ = c.conn.NetConn().Write(append([]byte{first, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...))
}

// mute has the client answer pings no more.
func (c *client) mute() { c.silent.Store(true) }

// A client that only answers pings stays; so does one with nothing but a slow link.
func TestOnlyPongsStays(t *testing.T) {
	r := newRegion(t)
	e := startEdge(t, r, func(c *Config) { c.Idle = 2 * time.Second })
	c := dial(t, e, session.JSON)
	c.subscribe("BTC-USD")
	natstest.Eventually(t, 3*wait, func() bool { return c.pings.Load() >= 8 }, "no eight pings, which fill three idle times")
	r.publish("BTC-USD", 1, "1")
	price(t, c.next(), "1")
}

func TestPingPayloadComesBack(t *testing.T) {
	r := newRegion(t)
	e := startEdge(t, r)
	c := dial(t, e, session.JSON)
	if err := c.conn.WritePing([]byte("payload")); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, wait, func() bool { s, _ := c.pong.Load().(string); return s == "payload" }, "no pong")
}

func TestHugeFrameEndsOnlyItself(t *testing.T) {
	r := newRegion(t)
	e := startEdge(t, r)
	other := dial(t, e, session.JSON)
	other.subscribe("BTC-USD")
	for i, length := range []uint64{5 << 20, 1<<64 - 1} { // gws takes the second for a negative one
		c := dial(t, e, session.JSON)
		go func() { // it is cut off somewhere in the 5 MB
			head := []byte{0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
			binary.BigEndian.PutUint64(head[2:], length)
			_, _ = c.conn.NetConn().Write(append(head, make([]byte, 5<<20)...))
		}()
		if got := c.closeCode(); got != uint16(code.TooBig) {
			t.Errorf("closed with %d", got)
		}
		counted(t, e, "tickfan_edge_closed_total", `code="1009"`, i+1)
	}
	r.publish("BTC-USD", 1, "1")
	price(t, other.next(), "1")
}

// Bytes that come right behind the handshake are the first message.
func TestEarlyBytes(t *testing.T) {
	r := newRegion(t)
	e := startEdge(t, r)
	nc := e.dial(0)
	defer nc.Close()
	msg := `{"op":"ping","id":7}`
	fmt.Fprintf(nc, "GET /v1/ws HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n%s%s", []byte{0x81, 0x80 | byte(len(msg)), 0, 0, 0, 0}, msg)
	_ = nc.SetReadDeadline(time.Now().Add(wait))
	br := bufio.NewReader(nc)
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != 101 || resp.Header.Get("Sec-Websocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("%v %v", resp, err)
	}
	head := make([]byte, 2)
	if _, err := io.ReadFull(br, head); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, head[1])
	if _, err := io.ReadFull(br, body); err != nil || !strings.Contains(string(body), `"pong","id":7`) {
		t.Fatalf("%s %v", body, err)
	}
}
