package bucket

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/services/edge/internal/socket"
)

func symbols(prefix string, n int) (all []subject.Symbol) {
	for i := range n {
		all = append(all, subject.Symbol(fmt.Sprintf("%s-%d", prefix, i)))
	}
	return all
}

// A symbol that nobody told of is not one without a price: with no router there, a large subscribe is carried out, and
// its prices come when a router does.
func TestUnknownIsNotUnpriced(t *testing.T) {
	b := bench(0)
	o := &outlet{}
	s := join(b, o)
	now := int64(time.Hour)
	request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: symbols("S", session.MaxUnpriced+1)})
	b.completePending(now + int64(activation))
	if len(s.subs) != session.MaxUnpriced+1 || len(o.took) != 1 || !strings.Contains(o.took[0], `"subscribed"`) {
		t.Errorf("%d subscriptions, %q", len(s.subs), o.took)
	}
}

// The snapshot of mode every is the newest value, not one that the table remembers from before.
func TestEveryDoesNotStartOnARememberedValue(t *testing.T) {
	b := bench(0)
	o := &outlet{}
	s := join(b, o)
	now := int64(time.Hour)
	u := b.topic("X")
	publish(b, u, 10, now)
	request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}, Mode: session.Every})
	b.syncInterest(now)
	now += int64(activation)
	b.completePending(now) // no router yet
	publish(b, u, 100, now)
	b.goLive(u, now)
	b.flushDue(now)
	publish(b, u, 101, now)
	b.flushDue(now)
	var got []uint64
	for _, line := range o.took[1:] {
		for l := range splitLines(line) {
			m, err := session.DecodeMessage(session.JSON, []byte(l))
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, m.Seq)
		}
	}
	if fmt.Sprint(got) != "[100 101]" {
		t.Errorf("got %v", got)
	}
}

// A socket may refuse the handshake's answer and be ready again before the worker knows the session.
func TestWritableBeforeOpened(t *testing.T) {
	b := bench(0)
	s := b.Open(bare{})
	s.Writable()
	b.work()
	o := &outlet{}
	s.Start(o)
	b.work()
	if o.writes == 0 {
		t.Error("the outbox was not written")
	}
	s.Close()
	b.work()
}

// Symbols that nobody trades, taken and left by one client, do not fill a part beyond what the registry takes.
func TestPartsAreBounded(t *testing.T) {
	b := bench(0)
	o := &outlet{}
	s := join(b, o)
	now := int64(time.Hour)
	for i := range 1000 {
		all := symbols(fmt.Sprintf("J%d", i), session.MaxUnpriced)
		request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: all})
		b.completePending(now + int64(activation))
		request(b, s, now, session.Request{Op: session.OpUnsubscribe, Symbols: all})
	}
	for p := range b.interest.parts {
		if n := len(b.interest.parts[p]); n > control.MaxPartSymbols {
			t.Fatalf("part %d has %d symbols", p, n)
		}
	}
	if n := strings.Count(strings.Join(o.took, ""), `"unavailable"`); n < session.MaxErrors || o.ended {
		t.Errorf("%d refused, closed as if the client were at fault: %t", n, o.ended)
	}
}

// A ring is not kept for a reader that left before the routers were told of him.
func TestRingEndsWithItsReaders(t *testing.T) {
	b := bench(0)
	u := live(b, "X", control.Latest)
	s := join(b, &outlet{})
	now := int64(time.Hour)
	request(b, join(b, &outlet{}), now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}})
	request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}, Mode: session.Every})
	b.dropSession(s, now)
	b.completePending(now)
	b.syncInterest(now)
	if u.ring != nil || u.every != 0 {
		t.Errorf("ring %v, %d readers", u.ring, u.every)
	}
}

// A subscribe again changes the mode whole: what marks the subscription, what is wanted upstream, what is kept.
func TestModeIsReplaced(t *testing.T) {
	b := bench(0)
	u := live(b, "X", control.Every)
	o := &outlet{}
	s := join(b, o)
	now := int64(time.Hour)
	subscribe := func(m session.Mode) {
		request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}, Mode: m})
	}
	publish(b, u, 1, now)
	subscribe(session.Latest)
	subscribe(session.Every)
	publish(b, u, 3, now)
	b.flushDue(now)
	publish(b, u, 2, now)
	b.flushDue(now)
	if at := s.subs[0].every.at.Seq; at != 3 {
		t.Errorf("in mode every now, and a late tick has it go on to %d, want 3", at)
	}
	subscribe(session.Latest)
	publish(b, u, 5, now)
	b.flushDue(now)
	n := len(o.took)
	publish(b, u, 4, now)
	b.flushDue(now)
	if !strings.Contains(o.took[n-1], `"seq":5`) || len(o.took) != n {
		t.Errorf("in mode latest again: got %q", o.took[n-1:])
	}
	b.sweepTopics(now + int64(linger))
	if set := b.partSet(u.part, now); set["X"] != control.Latest || u.ring != nil {
		t.Errorf("wanted as %q, ring %v", set["X"], u.ring)
	}
}

// Nor does a client who changes its rate again and again leave clocks behind.
func TestRateIsReplaced(t *testing.T) {
	b := bench(25 * time.Millisecond)
	live(b, "X", control.Latest)
	s := join(b, &outlet{})
	for rate := range session.MaxRate + 1 {
		request(b, s, 0, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}, MaxRate: rate})
	}
	if c := s.plain.other; c == nil || c.rate != session.MaxRate || c.other != nil {
		t.Errorf("clocks %+v", c)
	}
}

// What nobody is subscribed to any more is withdrawn after a while, forgotten after another, and its number is free.
func TestUnsubscribedIsForgotten(t *testing.T) {
	b := bench(0)
	u := live(b, "X", control.Latest)
	s := joinAs(b, &outlet{}, bareCompact{})
	now := int64(time.Hour)
	publish(b, u, 1, now)
	request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}})
	request(b, s, now, session.Request{Op: session.OpUnsubscribe, Symbols: []subject.Symbol{"X"}})
	if set := b.partSet(u.part, now); set["X"] != control.Latest {
		t.Errorf("wanted as %q right after", set["X"])
	}
	now += int64(linger)
	b.sweepTopics(now)
	if set := b.partSet(u.part, now); len(set) != 0 {
		t.Errorf("wants %v", set)
	}
	now += int64(remember)
	b.sweepTopics(now)
	if len(b.topics)+len(b.interest.parts[u.part]) != 0 || len(b.numbers.free) != 1 {
		t.Errorf("topics %v, free numbers %v", b.topics, b.numbers.free)
	}
}

// Symbols without a price count once, however often they are subscribed to.
func TestUnpricedCountOnce(t *testing.T) {
	b := bench(0)
	o := &outlet{}
	s := join(b, o)
	all := symbols("S", session.MaxUnpriced+1)
	for _, sym := range all {
		live(b, sym, control.Latest)
	}
	for range 2 {
		request(b, s, 0, session.Request{Op: session.OpSubscribe, Symbols: all[1:]})
	}
	if len(s.subs) != session.MaxUnpriced || !strings.Contains(o.took[1], `"subscribed"`) {
		t.Errorf("%d subscriptions, %q", len(s.subs), o.took)
	}
	request(b, s, 0, session.Request{Op: session.OpSubscribe, Symbols: all[:1]})
	if len(s.subs) != session.MaxUnpriced || !strings.Contains(o.took[2], `"too_many_unpriced"`) {
		t.Errorf("%d subscriptions, %q", len(s.subs), o.took)
	}
}

// A subscribe is answered when its symbols are known, and in mode every not before a router sends each tick.
func TestSubscribeWaits(t *testing.T) {
	b := bench(0)
	o := &outlet{}
	s := join(b, o)
	now := int64(time.Hour)
	work := func() {
		b.syncInterest(now)
		if b.recheck {
			b.recheck = false
			b.completePending(now)
		}
	}
	request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}})
	work()
	if len(o.took) != 0 {
		t.Fatalf("before it is known: %q", o.took)
	}
	u := b.topics["X"]
	b.goLive(u, now)
	work()
	if len(o.took) != 1 {
		t.Fatalf("when it is known: %q", o.took)
	}
	b.feed.confirmed[u.part] = u.number
	request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}, Mode: session.Every})
	now += int64(confirmTime) / 2
	b.interest.change = nil // the registry has answered
	b.recheck = true
	work()
	b.recheck = true
	work()
	if len(o.took) != 1 || u.wanted != control.Every {
		t.Fatalf("wanted as %s, not confirmed: %q", u.wanted, o.took)
	}
	b.feed.confirmed[u.part] = u.number
	b.recheck = true
	work()
	if len(o.took) != 2 {
		t.Fatalf("confirmed: %q", o.took)
	}
}

// deaf is a client whose outbox is full.
type deaf struct{ outlet }

func (*deaf) Say([]byte) error { return socket.ErrFull }

// An answer that is lost ends the connection: what follows could not be understood.
func TestLostAnswerEnds(t *testing.T) {
	b := bench(0)
	o := &deaf{}
	s := join(b, o)
	request(b, s, 0, session.Request{Op: session.OpUnsubscribe, Symbols: []subject.Symbol{"X"}})
	if !o.ended {
		t.Error("goes on")
	}
}
