package bucket

import (
	"testing"
	"time"

	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// What one flush has no room for leaves in the next, also where no write gap brings it about.
func TestLongBacklogLeavesWithoutGap(t *testing.T) {
	b := bench(0)
	u := live(b, "X", control.Every)
	o := &outlet{}
	s := join(b, o)
	now := int64(time.Hour)
	publish(b, u, 1, now)
	request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}, Mode: session.Every})
	s.blocked = true
	o.writes = 0
	const last = 2 * ringSize // more than two flushes
	for seq := uint64(2); seq <= last; seq++ {
		d := tick.NewDecimal(seq, 12)
		b.take(u, &tick.Tick{Symbol: u.symbol, Position: tick.Position{Epoch: 1, Seq: seq}, Quote: tick.Quote{Price: d, Bid: d, Ask: d,
			Size: d, BidSize: d, AskSize: d, Open: d, High: d, Low: d, Volume: d, TS: int64(seq)}}, now)
	}
	b.unblock(s, now)
	for range 9 {
		b.flushDue(now)
	}
	if at := s.subs[0].every.at.Seq; at != last {
		t.Errorf("stays at %d of %d", at, last)
	}
	if bytes := int(b.o.Stats.Bytes.Load()); o.writes < bytes/(maxFlush+1<<10) {
		t.Errorf("%d bytes in %d writes", bytes, o.writes)
	}
}

// A socket that takes bytes again gets its outbox, also when what is dirty has to wait for a hole to close.
func TestOutboxLeavesBeforeAHoleCloses(t *testing.T) {
	b := bench(0)
	u := live(b, "X", control.Every)
	o := &outlet{}
	s := join(b, o)
	now := int64(time.Hour)
	publish(b, u, 1, now)
	request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}, Mode: session.Every})
	s.blocked = true
	publish(b, u, 3, now)
	before := o.writes
	b.unblock(s, now)
	if o.writes == before {
		t.Error("the outbox was not written")
	}
}

// advance lets time pass as the worker does, to the next millisecond.
func advance(b *Bucket, now *int64) {
	*now += int64(time.Millisecond)
	b.wheel.fire(*now, b.fired)
	b.flushDue(*now)
}

// A connection with a hundred rates costs no more writes than the wheel has turns: what is due at a time leaves together.
func TestRatesOfAConnectionLeaveTogether(t *testing.T) {
	b := bench(25 * time.Millisecond)
	o := &outlet{}
	s := join(b, o)
	now := int64(time.Hour)
	var all []*topic
	for i, sym := range symbols("X", session.MaxRate) {
		all = append(all, live(b, sym, control.Latest))
		request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{sym}, MaxRate: i + 1})
	}
	o.writes = 0
	for seq := uint64(1); seq <= 1000; seq++ {
		for _, u := range all {
			publish(b, u, seq, now)
		}
		advance(b, &now)
	}
	if most := int(time.Second / slot); o.writes > most+1 {
		t.Errorf("%d writes in a second, want %d", o.writes, most)
	}
}

// A subscribe writes at once, and what is sent with it counts: a clock that waited already waits from then on.
func TestSnapshotMovesTheClock(t *testing.T) {
	b := bench(25 * time.Millisecond)
	o := &outlet{}
	s := join(b, o)
	now := int64(time.Hour)
	u := live(b, "X", control.Latest)
	publish(b, u, 1, now)
	publish(b, live(b, "Y", control.Latest), 1, now)
	request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}, MaxRate: 1})
	publish(b, u, 2, now)
	for now < s.subs[0].clock.next-int64(10*time.Millisecond) {
		advance(b, &now)
	}
	request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"Y"}, MaxRate: 1})
	publish(b, u, 3, now)
	at, before := now, o.writes
	for o.writes == before {
		advance(b, &now)
	}
	if d := now - at; d < int64(750*time.Millisecond) || d > int64(1760*time.Millisecond) {
		t.Errorf("the next write comes after %s", time.Duration(d))
	}
}

// What is counted as delivered are ticks, and of what was taken back nothing.
func TestDeliveriesAreTicks(t *testing.T) {
	b := bench(0)
	n := 0
	s := join(b, &outlet{take: func() int { return n }})
	now := int64(time.Hour)
	for _, sym := range symbols("X", 5) {
		publish(b, live(b, sym, control.Latest), 1, now)
	}
	for n = range 7 { // the answer is one
		s.blocked = false
		b.o.Stats.Deliveries.Store(0)
		request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: symbols("X", 5)})
		if got := int(b.o.Stats.Deliveries.Load()); got != max(0, n-1) {
			t.Errorf("%d deliveries of %d frames", got, n)
		}
	}
}
