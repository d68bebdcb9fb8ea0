package edge

import (
	"fmt"
	"testing"

	"github.com/lxzan/gws"

	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// quoteOf is a tick with several fields, by its seq: what a client must have rebuilt of it.
func quoteOf(seq uint64) tick.Quote {
	q := tick.Quote{Price: tick.NewDecimal(6412350+seq%7, 2), Bid: tick.NewDecimal(64123500000000-seq, 9), TS: 1763769600123456 + int64(seq)*1717}
	if seq%5 > 0 {
		q.Size = tick.NewDecimal(seq*1000, int(seq%3)+1)
	}
	return q
}

func (r *region) publishQuote(s subject.Symbol, seq uint64) {
	r.send(tick.Tick{Symbol: s, Position: tick.Position{Epoch: 7, Seq: seq}, At: 1, Quote: quoteOf(seq)})
}

func rebuilt(t *testing.T, m session.Message) {
	t.Helper()
	if m.Op != session.OpTick || m.Quote() != quoteOf(m.Seq) {
		t.Fatalf("got %+v, want %+v", m, quoteOf(m.Seq))
	}
}

// Fifty symbols in Compact: ticks share messages, each is rebuilt exactly, and what was unsubscribed and is subscribed to
// again begins anew.
func TestCompact(t *testing.T) {
	r := newRegion(t)
	e := startEdge(t, r)
	const symbols, ticks = 50, 40
	var names []subject.Symbol
	for i := range symbols {
		names = append(names, subject.Symbol(fmt.Sprintf("S-%d", i)))
		r.publishQuote(names[i], 1)
	}
	a, b := dial(t, e, session.Compact), dial(t, e, session.Compact)
	a.subscribe(names...)
	b.send(session.Request{Op: session.OpSubscribe, Symbols: names, Mode: session.Every})
	b.expect(session.OpSubscribed)
	for seq := uint64(2); seq <= ticks; seq++ {
		for _, s := range names {
			r.publishQuote(s, seq)
		}
	}
	last := map[subject.Symbol]uint64{}
	for done := 0; done < symbols; {
		m := a.next()
		rebuilt(t, m)
		if m.Seq <= last[m.Symbol] {
			t.Fatalf("backwards: %+v", m)
		}
		if last[m.Symbol] = m.Seq; m.Seq == ticks {
			done++
		}
	}
	clear(last)
	for range symbols * ticks {
		m := b.next()
		rebuilt(t, m)
		if m.Seq != last[m.Symbol]+1 {
			t.Fatalf("after %d: %+v", last[m.Symbol], m)
		}
		last[m.Symbol] = m.Seq
	}
	if a.shared.Load() == 0 || b.shared.Load() == 0 {
		t.Error("no message held more than one tick")
	}
	a.send(session.Request{Op: session.OpUnsubscribe, Symbols: names[1:]})
	a.expect(session.OpUnsubscribed)
	a.subscribe(names[:2]...)
	for range 2 {
		rebuilt(t, a.next())
	}
	r.publishQuote(names[1], ticks+1)
	if m := a.next(); m.Symbol != names[1] || m.Seq != ticks+1 {
		t.Errorf("got %+v", m)
	}
}

// In mode every a late tick comes in its place and a missing one is told, in Compact too.
func TestCompactEveryLateAndMissing(t *testing.T) {
	r := newRegion(t)
	r.publishQuote("BTC-USD", 1)
	e := startEdge(t, r)
	c := dial(t, e, session.Compact)
	c.send(session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"BTC-USD"}, Mode: session.Every})
	c.expect(session.OpSubscribed)
	for _, seq := range []uint64{2, 4, 3, 8, 9} { // 3 is late, 5 to 7 are missing
		r.publishQuote("BTC-USD", seq)
	}
	for _, seq := range []uint64{1, 2, 3, 4} {
		m := c.next()
		rebuilt(t, m)
		if m.Seq != seq {
			t.Fatalf("got %+v, want seq %d", m, seq)
		}
	}
	if m := c.expect(session.OpGap); m.From != 5 || m.To != 7 {
		t.Fatalf("got %+v", m)
	}
	for _, seq := range []uint64{8, 9} {
		m := c.next()
		rebuilt(t, m)
		if m.Seq != seq {
			t.Fatalf("got %+v, want seq %d", m, seq)
		}
	}
}

// A client in Compact that stops reading finds, when it goes on, ticks that it can rebuild, and the newest at the end:
// whatever the kernel refused or cut in the middle.
func TestCompactStalledClient(t *testing.T) {
	r := newRegion(t)
	e := startEdge(t, r)
	const symbols, ticks = 200, 100
	var names []subject.Symbol
	for i := range symbols {
		names = append(names, subject.Symbol(fmt.Sprintf("S-%d", i)))
		r.publishQuote(names[i], 1)
	}
	stalled := &client{t: t, format: session.Compact, in: make(chan session.Message, 100000), closed: make(chan error, 1)}
	var err error
	nc := e.dial(4 << 10)
	t.Cleanup(func() { _ = nc.Close() })
	stalled.conn, _, err = gws.NewClientFromConn(stalled, &gws.ClientOption{Addr: "ws://" + e.url + session.PathWS, ReadBufferSize: 512,
		RequestHeader: map[string][]string{"Sec-WebSocket-Protocol": {session.Compact.String()}}}, nc)
	if err != nil {
		t.Fatal(err)
	}
	stalled.send(session.Request{Op: session.OpSubscribe, Symbols: names})
	fast := dial(t, e, session.Compact)
	fast.subscribe(names...)
	for seq := uint64(2); seq <= ticks; seq++ {
		for _, s := range names {
			r.publishQuote(s, seq)
		}
	}
	end := func(c *client) (n int) {
		last := map[subject.Symbol]uint64{}
		for done := 0; done < symbols; {
			m := c.next()
			if m.Op != session.OpTick {
				continue
			}
			n++
			rebuilt(t, m)
			if m.Seq <= last[m.Symbol] {
				t.Fatalf("backwards: %+v", m)
			}
			if last[m.Symbol] = m.Seq; m.Seq == ticks {
				done++
			}
		}
		return n
	}
	end(fast)
	go stalled.conn.ReadLoop()
	if n := end(stalled); n > symbols*ticks/4 {
		t.Errorf("the stalled client got %d ticks, of %d published: a queue of old values", n, symbols*ticks)
	}
}
