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
	s := join(b, &outlet{})
	now := int64(time.Hour)
	publish(b, u, 1, now)
	request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}, Mode: session.Every})
	s.blocked = true
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
