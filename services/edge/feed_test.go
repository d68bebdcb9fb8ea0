package edge

import (
	"fmt"
	"testing"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

func formats(t *testing.T, f func(*testing.T, session.Format)) {
	for _, x := range []session.Format{session.JSON, session.MessagePack, session.Compact} {
		t.Run(x.String(), func(t *testing.T) { f(t, x) })
	}
}

func price(t *testing.T, m session.Message, want string) {
	t.Helper()
	if m.Op != session.OpTick || m.Price.String() != want {
		t.Fatalf("got %+v, want a tick of %s", m, want)
	}
}

func TestSnapshotThenLive(t *testing.T) {
	formats(t, func(t *testing.T, f session.Format) {
		r := newRegion(t)
		r.publish("BTC-USD", 1, "64123.50")
		e := startEdge(t, r)
		c := dial(t, e, f)
		if m := c.subscribe("BTC-USD", "NEW-USD"); len(m.Symbols) != 2 || len(m.NoPrice) != 1 || m.NoPrice[0] != "NEW-USD" {
			t.Fatalf("got %+v", m)
		}
		price(t, c.next(), "64123.50")
		r.publish("BTC-USD", 2, "64123.60")
		price(t, c.next(), "64123.60")
		r.publish("NEW-USD", 1, "1.000")
		price(t, c.next(), "1.000")
		r.publish("OTHER-USD", 1, "5")
		c.send(session.Request{Op: session.OpUnsubscribe, Symbols: []subject.Symbol{"BTC-USD", "NEVER-USD"}})
		c.expect(session.OpUnsubscribed)
		r.publish("BTC-USD", 3, "64123.70")
		r.publish("NEW-USD", 2, "2")
		price(t, c.next(), "2")
	})
}

// A second connection to what the bucket already has needs no registry and gets its snapshot at once.
func TestWarmSubscribeWritesNoInterest(t *testing.T) {
	r := newRegion(t)
	r.publish("BTC-USD", 1, "1")
	e := startEdge(t, r)
	for range 4 { // some in each bucket
		price(t, func() session.Message { c := dial(t, e, session.JSON); c.subscribe("BTC-USD"); return c.next() }(), "1")
	}
	var before int
	r.set(func() { before = r.changes })
	for range 20 {
		c := dial(t, e, session.JSON)
		c.subscribe("BTC-USD")
		price(t, c.next(), "1")
	}
	r.set(func() {
		if r.changes != before {
			t.Errorf("%d interest changes, want none", r.changes-before)
		}
	})
}

func TestOldTicksNeverTurnBack(t *testing.T) {
	r := newRegion(t)
	r.publish("BTC-USD", 5, "5")
	e := startEdge(t, r)
	c := dial(t, e, session.JSON)
	c.subscribe("BTC-USD")
	price(t, c.next(), "5")
	r.publish("BTC-USD", 4, "4")
	r.publish("BTC-USD", 5, "5")
	r.send(tick.Tick{Symbol: "BTC-USD", Position: tick.Position{Epoch: 6, Seq: 900}, Quote: tick.Quote{Price: tick.MustDecimal("3")}})
	r.publish("BTC-USD", 6, "6")
	price(t, c.next(), "6")
}

func TestEveryGetsEachTickInOrder(t *testing.T) {
	formats(t, func(t *testing.T, f session.Format) {
		r := newRegion(t)
		r.publish("BTC-USD", 1, "1")
		e := startEdge(t, r)
		c := dial(t, e, f)
		c.send(session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"BTC-USD"}, Mode: session.Every})
		c.expect(session.OpSubscribed)
		price(t, c.next(), "1")
		for i := uint64(2); i <= 300; i++ {
			r.publish("BTC-USD", i, fmt.Sprint(i))
		}
		for i := uint64(2); i <= 300; i++ {
			if m := c.next(); m.Op != session.OpTick || m.Seq != i {
				t.Fatalf("got %+v, want seq %d", m, i)
			}
		}
		r.set(func() {
			for _, b := range r.interest {
				if got := b.parts[subject.Part("BTC-USD")].Symbols["BTC-USD"]; got != control.Every {
					t.Errorf("interest is %q, want every", got)
				}
			}
		})
	})
}

func TestEveryTellsGaps(t *testing.T) {
	r := newRegion(t)
	r.publish("BTC-USD", 1, "1")
	e := startEdge(t, r)
	c := dial(t, e, session.JSON)
	c.send(session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"BTC-USD"}, Mode: session.Every})
	c.expect(session.OpSubscribed)
	price(t, c.next(), "1")
	// 3 comes late, within the wait: in order. 5 to 7 never come: a gap.
	r.publish("BTC-USD", 2, "2")
	r.publish("BTC-USD", 4, "4")
	r.publish("BTC-USD", 3, "3")
	for _, p := range []string{"2", "3", "4"} {
		price(t, c.next(), p)
	}
	r.publish("BTC-USD", 8, "8")
	if m := c.expect(session.OpGap); m.Epoch != 7 || m.From != 5 || m.To != 7 || m.URL != "" { // the history has none of it
		t.Fatalf("got %+v", m)
	}
	price(t, c.next(), "8")
	// A new epoch that says what came before it: ticks 9 and 10 of the old one are missing.
	r.send(tick.Tick{Symbol: "BTC-USD", Position: tick.Position{Epoch: 9, Seq: 1}, Prev: tick.Position{Epoch: 7, Seq: 10},
		Quote: tick.Quote{Price: tick.MustDecimal("11")}})
	if m := c.expect(session.OpGap); m.Epoch != 7 || m.From != 9 || m.To != 10 {
		t.Fatalf("got %+v", m)
	}
	price(t, c.next(), "11")
	r.send(tick.Tick{Symbol: "BTC-USD", Position: tick.Position{Epoch: 10, Seq: 1}, Prev: tick.Position{Epoch: 9, Seq: 1},
		Quote: tick.Quote{Price: tick.MustDecimal("12")}})
	price(t, c.next(), "12")
}

func TestEveryResumesAfter(t *testing.T) {
	r := newRegion(t)
	r.publish("BTC-USD", 1, "1")
	e := startEdge(t, r)
	keep := dial(t, e, session.JSON) // keeps the ring
	keep.send(session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"BTC-USD"}, Mode: session.Every})
	keep.expect(session.OpSubscribed)
	for i := uint64(2); i <= 5; i++ {
		r.publish("BTC-USD", i, fmt.Sprint(i))
	}
	for i := 1; i <= 5; i++ {
		price(t, keep.next(), fmt.Sprint(i))
	}
	resume := func(after uint64) *client {
		// A client of the same bucket: there are as many as cores, and connections go round.
		for {
			c := dial(t, e, session.JSON)
			c.send(session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"BTC-USD"}, Mode: session.Every,
				After: map[subject.Symbol]tick.Position{"BTC-USD": {Epoch: 7, Seq: after}}})
			c.expect(session.OpSubscribed)
			return c
		}
	}
	// In whichever bucket: what it does not have of 3 to 5 is fetched.
	for range 2 {
		c := resume(2)
		for _, p := range []string{"3", "4", "5"} {
			price(t, c.next(), p)
		}
	}
	c := resume(5)
	r.publish("BTC-USD", 6, "6")
	price(t, c.next(), "6")
}

func TestMaxRateEndsOnNewest(t *testing.T) {
	r := newRegion(t)
	r.publish("BTC-USD", 1, "1")
	e := startEdge(t, r)
	c := dial(t, e, session.JSON)
	c.send(session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"BTC-USD"}, MaxRate: 5})
	c.expect(session.OpSubscribed)
	const last = 400
	for i := uint64(2); i <= last; i++ {
		r.publish("BTC-USD", i, fmt.Sprint(i))
	}
	n := 0
	for m := c.next(); m.Seq != last; m = c.next() {
		if n++; n > 50 {
			t.Fatalf("%d ticks before the last of %d at 5 writes a second", n, last)
		}
	}
}

func TestTwoRatesOnOneConnection(t *testing.T) {
	r := newRegion(t)
	e := startEdge(t, r)
	c := dial(t, e, session.JSON)
	c.send(session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"A", "B"}, MaxRate: 10})
	c.expect(session.OpSubscribed)
	c.send(session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"C"}})
	c.expect(session.OpSubscribed)
	c.send(session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"B"}, MaxRate: 20}) // replaces
	c.expect(session.OpSubscribed)
	for i, s := range []subject.Symbol{"A", "B", "C"} {
		for k := uint64(1); k <= 20; k++ {
			r.publish(s, k, fmt.Sprint(100*(i+1)+int(k)))
		}
	}
	got := map[subject.Symbol]uint64{}
	for got["A"] < 20 || got["B"] < 20 || got["C"] < 20 {
		m := c.expect(session.OpTick)
		if m.Seq <= got[m.Symbol] {
			t.Fatalf("backwards: %+v after %d", m, got[m.Symbol])
		}
		got[m.Symbol] = m.Seq
	}
}

// A lost batch is seen by its number and mended by asking for the newest.
func TestLostBatchIsMended(t *testing.T) {
	r := newRegion(t)
	r.publish("BTC-USD", 1, "1")
	e := startEdge(t, r)
	c := dial(t, e, session.JSON)
	c.subscribe("BTC-USD")
	price(t, c.next(), "1")
	r.set(func() { r.skipBatch = true })
	r.publish("BTC-USD", 2, "2")
	r.beat()
	price(t, c.next(), "2")
}

// So are the first batches of a series, as many as there were in the one before.
func TestLostBeginOfASeriesIsMended(t *testing.T) {
	r := newRegion(t)
	r.publish("BTC-USD", 1, "1")
	e := startEdge(t, r)
	c := dial(t, e, session.JSON)
	c.subscribe("BTC-USD")
	price(t, c.next(), "1")
	r.set(func() {
		r.storeLocked(tick.Tick{Symbol: "BTC-USD", Position: tick.Position{Epoch: 7, Seq: 2}, Quote: tick.Quote{Price: tick.MustDecimal("2")}})
		for _, b := range r.interest {
			b.router = "r1.2" // the first ones, which told of tick 2, are lost
		}
	})
	r.beat()
	price(t, c.next(), "2")
}

// So is a server's death: what was published meanwhile is asked for when the connection is back.
func TestReconnectMends(t *testing.T) {
	r := newRegion(t)
	r.publish("BTC-USD", 1, "1")
	e := startEdge(t, r)
	c := dial(t, e, session.JSON)
	c.subscribe("BTC-USD")
	price(t, c.next(), "1")
	r.nats.Stop()
	r.set(func() {
		r.newest["BTC-USD"] = tick.Tick{Symbol: "BTC-USD", Position: tick.Position{Epoch: 7, Seq: 9}, Quote: tick.Quote{Price: tick.MustDecimal("9")}}
	})
	r.nats.Restart()
	price(t, c.next(), "9")
}

func TestStaleAndFresh(t *testing.T) {
	r := newRegion(t)
	r.publish("BTC-USD", 1, "1")
	e := startEdge(t, r)
	c := dialStale(t, e, session.JSON, true)
	c.subscribe("BTC-USD")
	price(t, c.next(), "1")
	if m := c.expect(session.OpStale); m.AgeMS < 3000 {
		t.Fatalf("got %+v", m)
	}
	r.beat()
	for m := c.next(); m.Op != session.OpFresh; m = c.next() {
	}
}

// With no router the answer comes after a second, and the first tick later is the snapshot.
func TestSubscribeWithoutRouter(t *testing.T) {
	r := newRegion(t)
	e := startEdge(t, r)
	r.set(func() { r.mute = true })
	c := dial(t, e, session.JSON)
	if m := c.subscribe("BTC-USD"); len(m.NoPrice) != 1 {
		t.Fatalf("got %+v", m)
	}
	r.set(func() { r.mute = false })
	r.publish("BTC-USD", 1, "1")
	price(t, c.next(), "1")
}

// The interest of those who left is withdrawn after the linger, as a whole set without them.
func TestInterestIsWithdrawn(t *testing.T) {
	r := newRegion(t)
	e := startEdge(t, r)
	c := dial(t, e, session.JSON)
	c.subscribe("BTC-USD")
	_ = c.conn.NetConn().Close()
	natstest.Eventually(t, 2*wait, func() bool {
		gone := true
		r.set(func() {
			for _, b := range r.interest {
				gone = gone && len(b.parts[subject.Part("BTC-USD")].Symbols) == 0
			}
		})
		return gone
	}, "interest is still there")
}

func TestLostInterestIsSentAgain(t *testing.T) {
	r := newRegion(t)
	e := startEdge(t, r)
	c := dial(t, e, session.JSON)
	c.subscribe("BTC-USD")
	r.set(func() {
		for id := range r.interest {
			r.lost = append(r.lost, id)
		}
		clear(r.interest)
	})
	natstest.Eventually(t, wait, func() bool {
		found := false
		r.set(func() {
			for _, b := range r.interest {
				found = found || b.parts[subject.Part("BTC-USD")].Symbols["BTC-USD"] == control.Latest
			}
		})
		return found
	}, "interest was not sent again")
	r.publish("BTC-USD", 1, "1")
	price(t, c.next(), "1")
}

// A change that routers have confirmed but the registry has not answered is repeated: it may not stand in KV. Only then
// do heartbeats name its parts, by which a registry sees that it has lost them.
func TestUnansweredChangeIsRepeated(t *testing.T) {
	r := newRegion(t)
	r.unanswered = 2
	e := startEdge(t, r)
	c := dial(t, e, session.JSON)
	c.subscribe("BTC-USD")
	natstest.Eventually(t, wait, func() bool {
		named := false
		r.set(func() {
			for _, h := range r.edges {
				for _, b := range h.Buckets {
					named = named || b.Parts[subject.Part("BTC-USD")] > 0
				}
			}
			named = named && r.changes > 2
		})
		return named
	}, "the change is not repeated, or not known to stand")
}
